//! What can be said on the command line, a file each.

pub mod check;
pub mod client;
pub mod cluster;
#[cfg(feature = "embedded")]
pub mod demo;
pub mod explain;
pub mod node;
pub mod plan;
pub mod rebalance;
pub mod scrub;
pub mod status;
pub mod tasks;
