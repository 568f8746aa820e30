//! Everything that talks to nodes.

pub mod body;
pub mod documents;
pub mod spool;

/// SEAM: the cluster proper is helper E's; this stands in until main is merged.
pub struct Cluster;

pub mod reconcile;
pub mod task_host;
pub mod task_metrics;
pub mod task_ops;
