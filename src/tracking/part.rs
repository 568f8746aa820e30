//! What this room holds: the tasks that are followed, and the numbers that tasks get.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;

use super::questions::Questions;
use super::reconcile::Reconciler;
use super::task_host::{Polled, TaskHost, report};
use super::works::Works;
use crate::ledger::Ledger;
use crate::nodes::Nodes;
use crate::nodes::client::{Subrequest, TaskStatusResponse, Trace};
use crate::placement::topology::NodeId;
use crate::store::{Store, StoreError};
use crate::tasks::entry::{MiroirTask, NodeReport};

/// How long a node may take to accept a cancelation.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// Who draws the conclusions when a task has ended.
#[async_trait]
pub trait Heir: Send + Sync {
    /// Called when a task has reached its end, before its row says so. Being called twice does no harm.
    async fn task_ended(&self, task: &mut MiroirTask);
}

/// Follows tasks on the nodes until they have ended.
pub struct Tracking {
    pub nodes: Arc<Nodes>,
    pub ledger: Arc<Ledger>,
    pub reconciler: Reconciler,
    pub works: Works,
    questions: Arc<Questions>,
    next_uid: AtomicU32,
    heir: OnceLock<Weak<dyn Heir>>,
}

// === impl Tracking ===

impl Tracking {
    /// Reads from the store which integer the next task gets.
    pub async fn new(
        nodes: Arc<Nodes>,
        ledger: Arc<Ledger>,
        prometheus: &prometheus::Registry,
    ) -> Result<Arc<Self>, TrackingError> {
        let store = Arc::clone(&ledger.store);
        let next_uid = AtomicU32::new(store.next_task_uid().await?);
        let reconciler = Reconciler::new(store, prometheus)?;
        let (questions, works) = (Arc::default(), Works::default());
        Ok(Arc::new(Self { nodes, ledger, reconciler, works, questions, next_uid, heir: OnceLock::new() }))
    }

    /// Who is told of ends. Said once, before anything runs.
    pub fn leave_to(&self, heir: Weak<dyn Heir>) {
        assert!(self.heir.set(heir).is_ok(), "nobody else is told of ends");
    }

    /// The next integer task id. Also for tasks that no node sees, such as cancelations.
    pub fn next_uid(&self) -> u32 {
        self.next_uid.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts the poll of a task whose row is stored.
    pub fn watch(self: &Arc<Self>, task: MiroirTask) {
        self.reconciler.watch(self, task);
    }
}

/// A failure to start.
#[derive(Debug, thiserror::Error)]
pub enum TrackingError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

#[async_trait]
impl TaskHost for Tracking {
    fn store(&self) -> &Arc<dyn Store> {
        &self.ledger.store
    }

    fn reconciler(&self) -> &Reconciler {
        &self.reconciler
    }

    fn works(&self) -> &Works {
        &self.works
    }

    fn next_uid(&self) -> u32 {
        Tracking::next_uid(self)
    }

    fn knows(&self, node: &NodeId) -> bool {
        self.nodes.topology().find(node.as_str()).is_some()
    }

    async fn poll(&self, node: &NodeId, task_uid: u32) -> Polled {
        self.questions.ask(&self.nodes, node, task_uid).await
    }

    async fn find(&self, node: &NodeId, stamp: &str) -> Option<Vec<NodeReport>> {
        let topology = self.nodes.topology();
        let ix = topology.find(node.as_str())?;
        match self.nodes.client.find_by_stamp(topology.node(ix), stamp).await {
            Ok(found) => Some(found.into_iter().map(report).collect()),
            Err(error) => {
                tracing::debug!(%error, stamp, "node tasks could not be looked up");
                None
            }
        }
    }

    async fn cancel(&self, node: &NodeId, task_uids: &[u32]) -> Option<u32> {
        let topology = self.nodes.topology();
        let ix = topology.find(node.as_str())?;
        let uids: Vec<String> = task_uids.iter().map(u32::to_string).collect();
        let path = format!("/tasks/cancel?uids={}", uids.join(","));
        let request = Subrequest { method: http::Method::POST, ..Subrequest::get(path, CANCEL_TIMEOUT) };
        let reply = match self.nodes.client.send(topology.node(ix), request, &Trace::background("cancel")).await {
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
        match self.heir.get().and_then(Weak::upgrade) {
            Some(heir) => heir.task_ended(task).await,
            // The gateway is being taken down. An end without its conclusions must not be stored; the next run comes to it again.
            None => std::future::pending().await,
        }
    }
}
