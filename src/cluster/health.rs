//! Health checks drive the states of nodes; every change is a new topology.
