//! Subrequests to nodes, and the few calls of Meilisearch's API that Miroir makes on its own account.

use std::sync::OnceLock;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tracing::Instrument as _;

use super::changes::Changes;
use super::changes::concerned::is_read;
use super::error::{NodeError, NodeErrorKind};
use super::fate::fate_of;
use super::fence::{Fence, Pass, Right};
use super::fencing::refuses_key;
use super::meaning::{ForHealth, Meaning};
pub use super::message::{NodeReply, SubBody, Subrequest, Trace};
use super::metrics::{ClusterMetrics, Outcome};
use super::stamp::{carries, with_epoch};
use super::transport::Transport;
use crate::meili::error::ResponseError;
use crate::meili::task::{TaskKind, TaskStatus};
use crate::placement::topology::{Node, NodeId};
use crate::settings::Secret;
use crate::tasks::entry::NodeTaskState;
use crate::traces;

/// How long a node may take for a question of the gateway's own, such as after a task.
pub(crate) const OWN_QUESTION: Duration = Duration::from_secs(5);

/// How far a node's clock may differ from the gateway's when its tasks are searched by time.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
const TASK_PAGE: usize = 500;
/// Bounds a search of a node's tasks, whatever its queue holds.
const MAX_TASK_PAGES: usize = 40;

/// A node's task, as its API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatusResponse {
    /// `uid`, or `taskUid` in the answer to a write.
    #[serde(alias = "taskUid")]
    pub uid: u32,
    #[serde(default)]
    pub index_uid: Option<String>,
    pub status: TaskStatus,
    #[serde(rename = "type")]
    pub kind: TaskKind,
    /// The node's own uid of the task that canceled it.
    #[serde(default)]
    pub canceled_by: Option<u32>,
    #[serde(default)]
    pub details: Option<Map<String, Value>>,
    #[serde(default)]
    pub error: Option<ResponseError>,
    #[serde(default)]
    pub custom_metadata: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub enqueued_at: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

/// Hears of every subrequest.
pub trait NodeObserver: Send + Sync + 'static {
    /// A node refuses connections: no other request has to find out for itself.
    fn connect_failed(&self, node: &NodeId);

    /// A node has answered, whatever it said.
    fn heard(&self, node: &NodeId);
}

/// Sends subrequests over one [`Transport`] and counts them.
pub struct NodeClient {
    transport: Box<dyn Transport>,
    metrics: ClusterMetrics,
    observer: OnceLock<Box<dyn NodeObserver>>,
    /// Told of every request that may change something.
    changes: Changes,
    /// For the gateway's own questions to nodes.
    pub(super) timeout: Duration,
    /// What may be done to nodes; anything, and for ever, if nobody has said.
    right: OnceLock<Right>,
}

/// By which key a node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// What changes it, by the key of this epoch; the rest by the configured one.
    Right,
    Configured,
}

// === impl TaskStatusResponse ===

impl TaskStatusResponse {
    /// Where the part of a task that this node task carries out stands.
    pub fn to_node_status(&self) -> NodeTaskState {
        match self.status {
            TaskStatus::Enqueued => NodeTaskState::Enqueued,
            TaskStatus::Processing => NodeTaskState::Processing,
            TaskStatus::Succeeded => NodeTaskState::Succeeded,
            TaskStatus::Failed => NodeTaskState::Failed,
            TaskStatus::Canceled => NodeTaskState::Canceled,
        }
    }
}

// === impl NodeClient ===

impl NodeClient {
    /// `timeout` bounds the gateway's own questions, such as [`NodeClient::get_task_status`].
    pub fn new(transport: Box<dyn Transport>, metrics: ClusterMetrics, timeout: Duration) -> Self {
        Self {
            transport,
            metrics,
            observer: OnceLock::new(),
            changes: Changes::default(),
            timeout,
            right: OnceLock::new(),
        }
    }

    /// To be called once, before the first subrequest.
    pub fn observe(&self, observer: Box<dyn NodeObserver>) {
        if self.observer.set(observer).is_err() {
            tracing::warn!("the node client has an observer already");
        }
    }

    /// This gateway is one of several: nothing that changes a node is sent but by `right`. To be called once, before the first
    /// subrequest.
    pub fn go_by(&self, right: Right) {
        if self.right.set(right).is_err() {
            tracing::warn!("the node client has been told what it may do already");
        }
    }

    pub(super) fn right(&self) -> Option<&Right> {
        self.right.get()
    }

    /// True where no other gateway can have changed a node.
    pub fn is_only(&self) -> bool {
        self.right().is_none()
    }

    /// True while what this process knows of the cluster may be gone by.
    pub fn is_trusted(&self) -> bool {
        match self.right() {
            Some(Right::Leads(fence)) => fence.trust.holds(),
            Some(Right::Follows) | None => true,
        }
    }

    /// As [`Transport::show`].
    pub(super) fn show_key(&self, key: Option<&Secret>) {
        self.transport.show(key);
    }

    /// What nodes were sent and may not have carried out yet.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Sends `request` to `node` and reads the whole reply. Cancel-safe: dropping it closes the connection.
    pub async fn send(&self, node: &Node, request: Subrequest, trace: &Trace) -> Result<NodeReply, NodeError> {
        self.carry(node, request, trace, By::Right).await
    }

    /// As [`NodeClient::send`], by the key that the operator has configured, whatever it is: for the keys of epochs.
    pub(super) async fn send_as_configured(
        &self,
        node: &Node,
        request: Subrequest,
        trace: &Trace,
    ) -> Result<NodeReply, NodeError> {
        self.carry(node, request, trace, By::Configured).await
    }

    async fn carry(&self, node: &Node, request: Subrequest, trace: &Trace, by: By) -> Result<NodeReply, NodeError> {
        let id = node.id.as_str();
        let started = tokio::time::Instant::now();
        let _asked = trace.times.as_ref().map(|times| times.ask(&node.id));
        let change = self.changes.begin(&node.id, &request.method, &request.path, request.body.at_hand());
        let span = traces::subrequest(&trace.parent, id, request.method.as_str(), &request.path);
        let exchange = async {
            match (by, self.right()) {
                (By::Right, Some(right)) if !is_read(&request.method, &request.path) => {
                    self.change(right, node, &request, trace).await
                }
                (By::Right | By::Configured, _) => self.transport.exchange(node, &request, trace).await,
            }
        };
        let exchange = exchange.instrument(span.clone());
        let result = match tokio::time::timeout(request.timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(NodeError::new(&node.id, NodeErrorKind::Timeout(request.timeout))),
        };
        if let Some(change) = change {
            change.is(fate_of(&result));
        }
        let outcome = match &result {
            Ok(reply) => Outcome::of_status(reply.status),
            Err(error) => error.outcome(),
        };
        self.metrics.subrequests.with_label_values(&[id, outcome.as_str()]).inc();
        self.metrics.subrequest_seconds.with_label_values(&[id]).observe(started.elapsed().as_secs_f64());
        match &result {
            Ok(reply) => {
                span.record("http.response.status_code", reply.status);
                self.metrics.bytes_sent.with_label_values(&[id]).inc_by(request.body.len());
                self.metrics.bytes_received.with_label_values(&[id]).inc_by(reply.body.len() as u64);
            }
            Err(error) => {
                span.record("error.type", error.outcome().as_str()).record("otel.status_code", "ERROR");
                tracing::debug!(node = id, request_id = %trace.request_id, path = %request.path, %error, "subrequest failed");
            }
        }
        if let Some(observer) = self.observer.get() {
            match Meaning::of(&result).policy().health {
                ForHealth::Heard => observer.heard(&node.id),
                ForHealth::Gone => observer.connect_failed(&node.id),
                ForHealth::Nothing => {}
            }
        }
        result
    }

    /// Sends what changes a node, by the key of this epoch. A node that has lost that is given it anew, if this gateway still leads.
    fn change<'a>(
        &'a self,
        right: &'a Right,
        node: &'a Node,
        request: &'a Subrequest,
        trace: &'a Trace,
    ) -> BoxFuture<'a, Result<NodeReply, NodeError>> {
        let unfenced = |why: &str| NodeError::new(&node.id, NodeErrorKind::Unfenced(why.to_owned()));
        let change = async move {
            let fence = match right {
                Right::Leads(fence) => fence,
                Right::Follows => return Err(unfenced("this gateway follows another one")),
            };
            let request = &match with_epoch(&request.path, fence.reign.epoch) {
                Some(path) => Subrequest { path, ..request.clone() },
                None => request.clone(),
            };
            let first = self.change_once(fence, node, request, trace).await;
            let (pass, answer) = first.ok_or_else(|| unfenced("it has no key of this epoch yet"))?;
            match pass {
                // Nothing of it was read.
                Pass::Key { uid, .. } if refuses_key(&answer) && self.renew(fence, node, uid, trace).await? => {
                    let second = self.change_once(fence, node, request, trace).await;
                    second.map_or(answer, |(_, answer)| answer)
                }
                Pass::Key { .. } | Pass::Unfenced => answer,
            }
        };
        change.boxed()
    }

    /// `None` where the node was not fenced yet.
    async fn change_once(
        &self,
        fence: &Fence,
        node: &Node,
        request: &Subrequest,
        trace: &Trace,
    ) -> Option<(Pass, Result<NodeReply, NodeError>)> {
        fence.trust.wait().await;
        let pass = fence.post(&node.id).pass()?;
        let answer = self.transport.exchange_as(node, request, trace, pass.secret()).await;
        Some((pass, answer))
    }

    /// `None` when the node does not know the task.
    pub async fn get_task_status(&self, node: &Node, task_uid: u32) -> Result<Option<TaskStatusResponse>, NodeError> {
        let request = Subrequest::get(format!("/tasks/{task_uid}"), self.timeout);
        let reply = self.send(node, request, &Trace::background("task")).await?;
        let task: Option<TaskStatusResponse> = self.read_known(node, &reply)?;
        if task.as_ref().is_none_or(|task| task.status.is_final()) {
            self.changes.ended(&node.id, task_uid);
        }
        Ok(task)
    }

    /// Those of some tasks, at least one, that the node lists, by one request. That one is not among them does not say that the
    /// node does not know it: only [`NodeClient::get_task_status`] does.
    pub async fn list_tasks(&self, node: &Node, task_uids: &[u32]) -> Result<Vec<TaskStatusResponse>, NodeError> {
        #[derive(Deserialize)]
        struct Page {
            results: Vec<TaskStatusResponse>,
        }
        let uids: Vec<String> = task_uids.iter().map(u32::to_string).collect();
        let path = format!("/tasks?limit={}&uids={}", uids.len(), uids.join(","));
        let reply = self.send(node, Subrequest::get(path, self.timeout), &Trace::background("task")).await?;
        let page: Page = self.read(node, &reply)?;
        for task in page.results.iter().filter(|task| task.status.is_final()) {
            self.changes.ended(&node.id, task.uid);
        }
        Ok(page.results)
    }

    /// The tasks on `node` that carry `stamp` (`mtask-<uuid>`) in their `customMetadata`, alone or among others, oldest first. Nodes cannot
    /// filter by it, so their newest tasks are read back to the moment that the stamp's uuid was made.
    pub async fn find_by_stamp(&self, node: &Node, stamp: &str) -> Result<Vec<TaskStatusResponse>, NodeError> {
        let since = stamp_time(stamp);
        let query = "types=documentAdditionOrUpdate,documentDeletion,documentEdition";
        let mut found = self
            .tasks_since(node, query, since)
            .await?
            .into_iter()
            .filter(|task| task.custom_metadata.as_deref().is_some_and(|metadata| carries(metadata, stamp)))
            .collect::<Vec<_>>();
        found.sort_by_key(|task| task.uid);
        Ok(found)
    }

    /// The node's tasks that meet `query` and were enqueued at `since` or later, give or take its clock; newest first.
    pub async fn tasks_since(
        &self,
        node: &Node,
        query: &str,
        since: Option<OffsetDateTime>,
    ) -> Result<Vec<TaskStatusResponse>, NodeError> {
        #[derive(Deserialize)]
        struct Page {
            results: Vec<TaskStatusResponse>,
            next: Option<u32>,
        }
        let earliest = since.map(|since| since - CLOCK_SKEW);
        let mut tasks = Vec::new();
        let mut from = String::new();
        for _ in 0..MAX_TASK_PAGES {
            let request = Subrequest::get(format!("/tasks?limit={TASK_PAGE}&{query}{from}"), self.timeout);
            let reply = self.send(node, request, &Trace::background("tasks")).await?;
            let page: Page = self.read(node, &reply)?;
            let reached = page.results.last().is_none_or(|last| match (last.enqueued_at, earliest) {
                (Some(enqueued), Some(earliest)) => enqueued < earliest,
                (None, _) | (_, None) => false,
            });
            tasks.extend(page.results);
            match page.next {
                Some(next) if !reached => from = format!("&from={next}"),
                Some(_) | None => break,
            }
        }
        tasks.retain(|task| match (task.enqueued_at, earliest) {
            (Some(enqueued), Some(earliest)) => enqueued >= earliest,
            (None, _) | (_, None) => true,
        });
        Ok(tasks)
    }

    /// A reply of the gateway's own question as JSON; any status but success is an error.
    pub fn read<T: serde::de::DeserializeOwned>(&self, node: &Node, reply: &NodeReply) -> Result<T, NodeError> {
        let malformed = |reason: String| NodeError::new(&node.id, NodeErrorKind::Malformed(reason));
        if !reply.is_success() {
            let said = reply.shown_error().map(|error| format!(": {}", error.message)).unwrap_or_default();
            return Err(malformed(format!("expected success, got status {}{said}", reply.status)));
        }
        serde_json::from_slice(&reply.body).map_err(|error| malformed(error.to_string()))
    }

    /// [`NodeClient::read`], `None` where the engine says that there is no such thing. A 404 of something in front of the
    /// node says nothing.
    fn read_known<T: serde::de::DeserializeOwned>(
        &self,
        node: &Node,
        reply: &NodeReply,
    ) -> Result<Option<T>, NodeError> {
        if matches!(Meaning::of_reply(reply), Meaning::NotHere | Meaning::NoSuch) {
            return Ok(None);
        }
        self.read(node, reply).map(Some)
    }

    /// GET as JSON; `None` where the engine answers 404.
    pub async fn get_json<T: serde::de::DeserializeOwned>(
        &self,
        node: &Node,
        path: &str,
        trace: &Trace,
    ) -> Result<Option<T>, NodeError> {
        let reply = self.send(node, Subrequest::get(path, self.timeout), trace).await?;
        self.read_known(node, &reply)
    }

    /// Sends a request that a node answers with a task, and waits until that task has ended.
    pub async fn carry_out(
        &self,
        node: &Node,
        request: Subrequest,
        trace: &Trace,
        limit: Duration,
    ) -> Result<TaskStatusResponse, NodeError> {
        let reply = self.send(node, request, trace).await?;
        let accepted: TaskStatusResponse = self.read(node, &reply)?;
        self.wait(node, accepted.uid, limit).await
    }

    /// Waits until a node's task has ended: 25 ms, doubling to 1 s.
    pub async fn wait(&self, node: &Node, task_uid: u32, limit: Duration) -> Result<TaskStatusResponse, NodeError> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut pause = Duration::from_millis(25);
        loop {
            let task = self.get_task_status(node, task_uid).await?;
            match task {
                Some(task) if task.status.is_final() => return Ok(task),
                Some(_) => {}
                None => {
                    let reason = format!("task {task_uid} is gone");
                    return Err(NodeError::new(&node.id, NodeErrorKind::Malformed(reason)));
                }
            }
            if tokio::time::Instant::now() + pause > deadline {
                return Err(NodeError::new(&node.id, NodeErrorKind::Timeout(limit)));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

/// When a stamp was made, as its uuid says.
fn stamp_time(stamp: &str) -> Option<OffsetDateTime> {
    let uuid = uuid::Uuid::parse_str(stamp.strip_prefix("mtask-")?).ok()?;
    let (seconds, nanos) = uuid.get_timestamp()?.to_unix();
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
    Some(time + Duration::from_nanos(u64::from(nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_tells_when_it_was_made() {
        let before = OffsetDateTime::now_utc() - Duration::from_secs(1);
        let made = stamp_time(&format!("mtask-{}", uuid::Uuid::now_v7())).unwrap();
        assert!(made > before && made < OffsetDateTime::now_utc() + Duration::from_secs(1));
        assert_eq!(stamp_time("someone's own metadata"), None);
    }

    #[test]
    fn both_forms_of_a_node_task_are_read() {
        let summary = r#"{"taskUid":3,"indexUid":"a","status":"enqueued","type":"settingsUpdate","enqueuedAt":"2026-01-01T00:00:00.5Z"}"#;
        let task: TaskStatusResponse = serde_json::from_str(summary).unwrap();
        assert_eq!((task.uid, task.to_node_status()), (3, NodeTaskState::Enqueued));
        let full = r#"{"uid":4,"batchUid":1,"indexUid":null,"status":"failed","type":"indexSwap","canceledBy":null,"details":{"swaps":[]},
            "error":{"message":"m","code":"index_not_found","type":"invalid_request","link":"l"},"duration":"PT1S",
            "enqueuedAt":"2026-01-01T00:00:00Z","startedAt":"2026-01-01T00:00:01Z","finishedAt":null}"#;
        let task: TaskStatusResponse = serde_json::from_str(full).unwrap();
        assert_eq!(task.error.unwrap().code, "index_not_found");
    }
}
