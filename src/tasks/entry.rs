//! What Miroir keeps of a task: its own row, and one part for each node task that it needs.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::meili::error::ResponseError;
use crate::meili::task::{TaskKind, TaskStatus};
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeId;

/// A client's task: one id, whatever number of nodes work on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MiroirTask {
    /// The integer alias, from a durable counter: grows in the order in which writes took their place.
    pub uid: u32,
    /// The id proper, written `mtask-<uuid>`. Every subrequest carries it to the nodes as `customMetadata`.
    pub uuid: Uuid,
    pub kind: TaskKind,
    pub index_uid: Option<String>,
    pub status: TaskStatus,
    /// As the client will see it; counts are filled in when the task ends.
    pub details: Option<Map<String, Value>>,
    pub error: Option<ResponseError>,
    pub canceled_by: Option<u32>,
    /// The client's own `customMetadata`.
    pub custom_metadata: Option<String>,
    /// True once the write was acknowledged to the client.
    pub acknowledged: bool,
    /// How many replicas of each document the parts of this task touch: node counts are divided by it.
    pub copies: u8,
    #[serde(with = "time::serde::rfc3339")]
    pub enqueued_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    pub parts: Vec<NodeTask>,
}

/// One request to one node on behalf of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeTask {
    pub node: NodeId,
    pub purpose: Purpose,
    /// The shards whose replicas this part writes; empty for what concerns the whole index.
    pub shards: ShardSet,
    pub state: NodeTaskState,
    /// The node's own task id, once the node has accepted.
    pub task_uid: Option<u32>,
    pub details: Option<Map<String, Value>>,
    pub error: Option<ResponseError>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

/// Why a part exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// Creates the index before its first documents or settings. Refusal because it exists already is a success.
    EnsureIndex,
    /// Makes the hidden shard field filterable.
    HideShardField,
    /// What the client asked for.
    Main,
}

/// Where a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeTaskState {
    /// Durable here, not yet accepted by the node.
    Unsent,
    /// In the node's queue.
    Enqueued,
    Processing,
    Succeeded,
    Failed,
    Canceled,
    /// Accepted by the node, which cannot be reached at the moment.
    Unreachable,
    /// The node does not know the task any more, was removed, or never accepted: the replica is stale.
    Lost,
}

/// What a node says of one of its tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeReport {
    pub task_uid: u32,
    pub kind: TaskKind,
    pub state: NodeTaskState,
    pub details: Option<Map<String, Value>>,
    pub error: Option<ResponseError>,
    pub started_at: Option<OffsetDateTime>,
    pub finished_at: Option<OffsetDateTime>,
}

// === impl MiroirTask ===

impl MiroirTask {
    /// `mtask-<uuid>`.
    pub fn id(&self) -> String {
        format!("mtask-{}", self.uuid)
    }
}

// === impl NodeTaskState ===

impl NodeTaskState {
    pub fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Canceled | Self::Lost => true,
            Self::Unsent | Self::Enqueued | Self::Processing | Self::Unreachable => false,
        }
    }
}
