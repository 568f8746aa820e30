//! What the task loops need of the cluster, as a trait so that tests need no nodes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::reconcile::Reconciler;
use crate::cluster::Cluster;
use crate::merge::error::shown;
use crate::nodes::client::{Subrequest, TaskStatusResponse, Trace};
use crate::placement::topology::NodeId;
use crate::store::Store;
use crate::tasks::entry::{MiroirTask, NodeReport};

/// How long a node may take to accept a cancelation.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

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

#[async_trait]
impl TaskHost for Cluster {
    fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn reconciler(&self) -> &Reconciler {
        &self.reconciler
    }

    fn next_uid(&self) -> u32 {
        self.writer.next_uid()
    }

    fn knows(&self, node: &NodeId) -> bool {
        self.topology().find(node.as_str()).is_some()
    }

    async fn poll(&self, node: &NodeId, task_uid: u32) -> Polled {
        let topology = self.topology();
        let Some(ix) = topology.find(node.as_str()) else { return Polled::Gone };
        // One that hangs would keep the few polls that run at once from others.
        if !topology.node(ix).state.finishes_writes() {
            return Polled::Unreachable;
        }
        match self.client.get_task_status(topology.node(ix), task_uid).await {
            Ok(Some(response)) => Polled::Known(report(response)),
            Ok(None) => Polled::Unknown,
            Err(error) => {
                tracing::debug!(%error, task_uid, "node task could not be polled");
                Polled::Unreachable
            }
        }
    }

    async fn find(&self, node: &NodeId, stamp: &str) -> Option<Vec<NodeReport>> {
        let topology = self.topology();
        let ix = topology.find(node.as_str())?;
        match self.client.find_by_stamp(topology.node(ix), stamp).await {
            Ok(found) => Some(found.into_iter().map(report).collect()),
            Err(error) => {
                tracing::debug!(%error, stamp, "node tasks could not be looked up");
                None
            }
        }
    }

    async fn cancel(&self, node: &NodeId, task_uids: &[u32]) -> Option<u32> {
        let topology = self.topology();
        let ix = topology.find(node.as_str())?;
        let uids: Vec<String> = task_uids.iter().map(u32::to_string).collect();
        let path = format!("/tasks/cancel?uids={}", uids.join(","));
        let request = Subrequest { method: http::Method::POST, ..Subrequest::get(path, CANCEL_TIMEOUT) };
        let reply = match self.client.send(topology.node(ix), request, &Trace::background("cancel")).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!(%error, "cancelation did not reach a node");
                return None;
            }
        };
        match serde_json::from_slice::<TaskStatusResponse>(&reply.body) {
            Ok(task) if reply.is_success() => Some(task.uid),
            _ => {
                tracing::warn!(%node, status = reply.status, "a node refused a cancelation");
                None
            }
        }
    }

    async fn ended(self: Arc<Self>, task: &mut MiroirTask) {
        self.task_ended(task).await;
    }
}

/// A node's task in the task's own terms, without the hidden field in its error.
pub(crate) fn report(response: TaskStatusResponse) -> NodeReport {
    let state = response.to_node_status();
    let error = response.error.map(shown);
    NodeReport {
        task_uid: response.uid,
        kind: response.kind,
        state,
        details: response.details,
        error,
        started_at: response.started_at,
        finished_at: response.finished_at,
    }
}
