//! What the task loops need of the cluster, as a trait so that tests need no nodes.

use std::sync::Arc;

use async_trait::async_trait;

use super::reconcile::Reconciler;
use crate::placement::topology::NodeId;
use crate::store::Store;
use crate::tasks::entry::{MiroirTask, NodeReport};

/// A node's answer to a question about one of its tasks.
#[derive(Debug, Clone, PartialEq)]
pub enum Polled {
    Known(NodeReport),
    /// The node does not know the task.
    Unknown,
    /// The node does not answer; it may later.
    Unreachable,
    /// The node is no part of the cluster any more.
    Gone,
}

/// What the task loops need of the cluster.
#[async_trait]
pub trait TaskHost: Send + Sync + 'static {
    fn store(&self) -> &Arc<dyn Store>;
    fn reconciler(&self) -> &Reconciler;
    fn next_uid(&self) -> u32;
    /// The state of one node task.
    async fn poll(&self, node: &NodeId, task_uid: u32) -> Polled;
    /// The tasks on a node that carry `stamp`, oldest first; `None` when the node does not answer.
    async fn find(&self, node: &NodeId, stamp: &str) -> Option<Vec<NodeReport>>;
    /// Asks a node to cancel tasks; the uid of the node's cancelation task, `None` when it does not answer.
    async fn cancel(&self, node: &NodeId, task_uids: &[u32]) -> Option<u32>;
    /// True when the node is still part of the cluster.
    fn knows(&self, node: &NodeId) -> bool;
    /// A task has reached its end, and its row says so.
    async fn ended(self: Arc<Self>, task: &MiroirTask);
}
