//! Talks to nodes and keeps what the cluster must remember.

pub mod reconcile;
pub mod task_host;
pub mod task_metrics;
pub mod task_ops;
