//! How bytes get to a node and back: one Pingora connector and its pool, behind a small trait.

use async_trait::async_trait;

use super::client::{NodeReply, Subrequest, Trace};
use super::error::NodeError;
use crate::placement::topology::Node;

/// Carries one subrequest to a node.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    async fn exchange(&self, node: &Node, request: &Subrequest, trace: &Trace) -> Result<NodeReply, NodeError>;
}
