//! Copies between nodes in memory.
