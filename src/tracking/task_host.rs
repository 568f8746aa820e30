//! What the task loops need of the cluster, as a trait so that tests need no nodes.

use std::sync::Arc;

use async_trait::async_trait;

use super::reconcile::Reconciler;
use super::works::Works;
use crate::merge::error::shown;
use crate::nodes::client::TaskStatusResponse;
use crate::nodes::stamp::is_shared;
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
    /// The tasks that the gateway itself carries out.
    fn works(&self) -> &Works;
    /// The next integer id, for tasks that the cluster itself carries out.
    fn next_uid(&self) -> u32;
    /// True while the node is part of the cluster.
    fn knows(&self, node: &NodeId) -> bool;
    /// The state of one node task.
    async fn poll(&self, node: &NodeId, task_uid: u32) -> Polled;
    /// The tasks on a node that carry `stamp`, oldest first; `None` when the node does not answer or is gone.
    async fn find(&self, node: &NodeId, stamp: &str) -> Option<Vec<NodeReport>>;
    /// Asks a node to cancel tasks; the uid of the node's cancelation task, `None` when it took none.
    async fn cancel(&self, node: &NodeId, task_uids: &[u32]) -> Option<u32>;
    /// A task has reached its end, which its row will say once this returns; it may be made a failure yet. Called again
    /// for the same task if the gateway stops before that.
    async fn ended(self: Arc<Self>, task: &mut MiroirTask);
}

/// A node's task in the task's own terms, without the hidden field in its error.
pub(crate) fn report(response: TaskStatusResponse) -> NodeReport {
    let state = response.to_node_status();
    let error = response.error.map(shown);
    NodeReport {
        task_uid: response.uid,
        is_shared: response.custom_metadata.as_deref().is_some_and(is_shared),
        kind: response.kind,
        state,
        details: response.details,
        error,
        started_at: response.started_at,
        finished_at: response.finished_at,
    }
}
