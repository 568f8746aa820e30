//! Repair: a returning node's indexes, primary keys and settings are made equal to the cluster's before it serves.
