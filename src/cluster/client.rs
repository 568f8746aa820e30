//! Subrequests to nodes, and the few calls of Meilisearch's API that Miroir makes on its own account.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::error::NodeError;
use super::metrics::ClusterMetrics;
use super::spool::Spool;
use super::transport::Transport;
use crate::meili::error::ResponseError;
use crate::meili::task::{TaskKind, TaskStatus};
use crate::placement::topology::Node;
use crate::tasks::entry::NodeTaskState;

/// What ties the subrequests of one client's request together in logs, here and on the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Sent as `x-request-id`.
    pub request_id: String,
}

/// One request to one node.
#[derive(Debug, Clone)]
pub struct Subrequest {
    pub method: http::Method,
    /// Path and query.
    pub path: String,
    pub content_type: Option<&'static str>,
    pub body: SubBody,
    /// For all of it, from resolving the address to the reply's last byte.
    pub timeout: Duration,
    /// True when carrying it out twice does no harm: it is repeated once if a kept-alive connection turns out closed.
    pub idempotent: bool,
}

/// What a subrequest sends.
#[derive(Debug, Clone)]
pub enum SubBody {
    Empty,
    Bytes(Bytes),
    /// A range of a spool's bytes.
    Spool(Spool, Range<u64>),
}

/// A node's whole answer, whatever its status.
#[derive(Debug, Clone)]
pub struct NodeReply {
    pub status: u16,
    pub body: Bytes,
    pub retry_after: Option<Duration>,
}

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

/// Sends subrequests over one [`Transport`] and counts them.
pub struct NodeClient {
    transport: Box<dyn Transport>,
    metrics: ClusterMetrics,
}

// === impl Trace ===

impl Trace {
    pub fn new(request_id: impl Into<String>) -> Self {
        Self { request_id: request_id.into() }
    }

    /// For work that no client asked for: `repair-<uuid>`.
    pub fn background(what: &str) -> Self {
        Self { request_id: format!("{what}-{}", uuid::Uuid::now_v7()) }
    }
}

// === impl Subrequest ===

impl Subrequest {
    /// A GET, which is idempotent.
    pub fn get(path: impl Into<String>, timeout: Duration) -> Self {
        Self {
            method: http::Method::GET,
            path: path.into(),
            content_type: None,
            body: SubBody::Empty,
            timeout,
            idempotent: true,
        }
    }

    /// A request with a JSON body; `idempotent` says whether it may be repeated (a POST that only reads may).
    pub fn json(
        method: http::Method,
        path: impl Into<String>,
        body: Bytes,
        timeout: Duration,
        idempotent: bool,
    ) -> Self {
        Self {
            method,
            path: path.into(),
            content_type: Some("application/json"),
            body: SubBody::Bytes(body),
            timeout,
            idempotent,
        }
    }
}

// === impl SubBody ===

impl SubBody {
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Spool(_, range) => range.end - range.start,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

// === impl NodeReply ===

impl NodeReply {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The node's error, if that is what the reply is.
    pub fn error(&self) -> Option<ResponseError> {
        if self.is_success() { None } else { ResponseError::from_node(self.status, &self.body) }
    }
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
    pub fn new(transport: Box<dyn Transport>, metrics: ClusterMetrics) -> Self {
        Self { transport, metrics }
    }

    /// Sends `request` to `node` and reads the whole reply. Cancel-safe: dropping it closes the connection.
    pub async fn send(&self, node: &Node, request: Subrequest, trace: &Trace) -> Result<NodeReply, NodeError> {
        let _ = (&self.transport, &self.metrics, node, request, trace);
        todo!()
    }

    /// `None` when the node does not know the task.
    pub async fn get_task_status(&self, node: &Node, task_uid: u32) -> Result<Option<TaskStatusResponse>, NodeError> {
        let _ = (node, task_uid);
        todo!()
    }

    /// The tasks on `node` that carry `stamp` as their `customMetadata`, oldest first.
    pub async fn find_by_stamp(&self, node: &Node, stamp: &str) -> Result<Vec<TaskStatusResponse>, NodeError> {
        let _ = (node, stamp);
        todo!()
    }
}
