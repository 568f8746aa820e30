//! What Miroir keeps of a task: its own row, and one part for each node task that it needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::meili::error::{Code, ResponseError};
use crate::meili::task::{TaskKind, TaskStatus};
use crate::placement::few_ids::IdsByShard;
use crate::placement::shard::{ShardId, ShardSet};
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
    /// The integer of the task that canceled it.
    pub canceled_by: Option<u32>,
    /// The client's own `customMetadata`.
    pub custom_metadata: Option<String>,
    /// True once the write was acknowledged to the client.
    pub acknowledged: bool,
    /// How many replicas of each document the parts of this task touch: node counts are divided by it.
    pub copies: u8,
    /// Of an addition that is under way: how many documents, each once, it writes to each shard.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub documents: BTreeMap<ShardId, u64>,
    /// Of an addition or deletion that is under way: the ids of its documents, unless they are many.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ids: IdsByShard,
    /// Why it fails, where that was found before any node saw a document of it: all that is under way is its index, and tasks of that
    /// which end before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreseen: Option<ResponseError>,
    #[serde(with = "time::serde::rfc3339")]
    pub enqueued_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    pub parts: Vec<NodeTask>,
    /// What a task that the gateway itself carries out was asked, until it has ended. It may hold keys: no view shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Value>,
    /// The tasks that a cancelation or deletion of tasks is about; empty for all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<u32>,
}

/// One request to one node on behalf of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeTask {
    pub node: NodeId,
    pub purpose: Purpose,
    /// The shards whose replicas this part writes; empty for what concerns the whole index.
    pub shards: ShardSet,
    /// Those of `shards` whose replica was stale when the write took its place: it gets the write, but what becomes of it
    /// there decides nothing, because the replica is brought in sync from another.
    #[serde(default, skip_serializing_if = "ShardSet::is_empty")]
    pub behind: ShardSet,
    #[serde(default, skip_serializing_if = "Say::is_full")]
    pub say: Say,
    pub state: NodeTaskState,
    /// The node's own task id, once the node has accepted.
    pub task_uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Company::is_none")]
    pub company: Company,
    pub details: Option<Map<String, Value>>,
    pub error: Option<ResponseError>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

/// Whether what a node makes of a part that concerns a whole index counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Say {
    #[default]
    Full,
    /// The index was not as the cluster's on the node: what it refuses others may take, and it is repaired anyway.
    None,
}

/// Which other tasks of clients the node's task carries out as well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Company {
    #[default]
    None,
    /// By their uids.
    Tasks(Vec<u32>),
    /// Some, but the gateway was stopped before it was noted which.
    Unknown,
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
    /// The node's own.
    pub task_uid: u32,
    /// It carries out several tasks of clients.
    pub is_shared: bool,
    pub kind: TaskKind,
    pub state: NodeTaskState,
    pub details: Option<Map<String, Value>>,
    pub error: Option<ResponseError>,
    pub started_at: Option<OffsetDateTime>,
    pub finished_at: Option<OffsetDateTime>,
}

// === impl MiroirTask ===

impl MiroirTask {
    /// A task that has just taken its place in the order: nothing sent, nothing acknowledged.
    pub fn new(uid: u32, kind: TaskKind, index_uid: Option<String>, enqueued_at: OffsetDateTime) -> Self {
        Self {
            uid,
            uuid: Uuid::now_v7(),
            kind,
            index_uid,
            status: TaskStatus::Enqueued,
            details: None,
            error: None,
            canceled_by: None,
            custom_metadata: None,
            acknowledged: false,
            copies: 1,
            documents: BTreeMap::new(),
            ids: IdsByShard::new(),
            foreseen: None,
            enqueued_at,
            started_at: None,
            finished_at: None,
            parts: Vec::new(),
            request: None,
            subjects: Vec::new(),
        }
    }

    /// `mtask-<uuid>`.
    pub fn id(&self) -> String {
        format!("mtask-{}", self.uuid)
    }
}

// === impl NodeTask ===

impl NodeTask {
    /// A part that is durable here and not sent yet.
    pub fn unsent(node: NodeId, purpose: Purpose, shards: ShardSet) -> Self {
        Self {
            node,
            purpose,
            shards,
            behind: ShardSet::new(),
            say: Say::Full,
            state: NodeTaskState::Unsent,
            task_uid: None,
            company: Company::None,
            details: None,
            error: None,
            started_at: None,
            finished_at: None,
        }
    }

    /// Takes over what the node says. Of the details only counts are kept: the rest is the task's own.
    pub fn apply(&mut self, report: NodeReport) {
        const COUNTS: [&str; 3] = ["indexedDocuments", "editedDocuments", "deletedDocuments"];
        self.state = report.state;
        self.task_uid = Some(report.task_uid);
        if report.is_shared && self.company == Company::None {
            self.company = Company::Unknown;
        }
        self.details = report
            .details
            .map(|details| details.into_iter().filter(|(key, _)| COUNTS.contains(&key.as_str())).collect::<Map<_, _>>())
            .filter(|details| !details.is_empty());
        self.error = report.error;
        self.started_at = report.started_at;
        self.finished_at = report.finished_at;
    }

    /// The part's state for the task: that an index is there already is what `EnsureIndex` wants, and the refusal of a node that
    /// has no say is a change that the node has missed.
    pub fn outcome(&self) -> NodeTaskState {
        let exists_already = self.purpose == Purpose::EnsureIndex
            && self.state == NodeTaskState::Failed
            && self.error.as_ref().is_some_and(|error| error.is(Code::IndexAlreadyExists));
        match (self.state, self.say) {
            _ if exists_already => NodeTaskState::Succeeded,
            (NodeTaskState::Failed, Say::None) => NodeTaskState::Lost,
            (state, Say::Full | Say::None) => state,
        }
    }
}

// === impl Company ===

impl Company {
    fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// True if a node's task may be canceled for the sake of `tasks`: it carries out nothing else.
    pub fn is_within(&self, tasks: &[u32]) -> bool {
        match self {
            Self::None => true,
            Self::Tasks(others) => others.iter().all(|other| tasks.contains(other)),
            Self::Unknown => false,
        }
    }
}

// === impl Say ===

impl Say {
    fn is_full(&self) -> bool {
        *self == Self::Full
    }
}

// === impl NodeTaskState ===

impl NodeTaskState {
    /// True if the node will not change its mind. A part that is unreachable may still end either way.
    pub fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Canceled | Self::Lost => true,
            Self::Unsent | Self::Enqueued | Self::Processing | Self::Unreachable => false,
        }
    }
}
