//! Talks to nodes and keeps what the cluster must remember.

pub mod body;
pub mod documents;
pub mod reconcile;
pub mod spool;
pub mod task_host;
pub mod task_metrics;
pub mod task_ops;

/// SEAM: the cluster proper is helper E's; this stands in until main is merged.
pub struct Cluster;
