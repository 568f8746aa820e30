//! A write as the lanes will carry it out: which requests go to which nodes, in what order, as which task.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::meili::error::ResponseError;
use crate::meili::task::TaskKind;
use crate::placement::few_ids::IdsByShard;
use crate::placement::shard::ShardId;
use crate::placement::topology::Topology;

/// A write before it has taken its place in the order.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteIntent {
    pub kind: TaskKind,
    /// The index in the task's view, `None` for swaps.
    pub index_uid: Option<String>,
    /// Every index whose lanes the write passes through.
    pub indexes: Vec<String>,
    pub details: Option<Map<String, Value>>,
    pub custom_metadata: Option<String>,
    /// True when the index is created first where the registry does not know it. Example: settings for an index that is not there create
    /// it; a deletion of documents does not.
    pub ensure_index: bool,
    /// How the registry of indexes changes once the write has its place.
    pub registry: RegistryChange,
    /// How many replicas of each document the steps touch.
    pub copies: u8,
    /// Of an addition: how many documents, each once, are written to each shard.
    #[serde(skip)]
    pub documents: BTreeMap<ShardId, u64>,
    /// The ids of the documents that it adds or deletes, where they are known and few.
    #[serde(skip)]
    pub ids: IdsByShard,
    pub steps: Vec<Step>,
}

/// A write that is known to fail: it becomes a task that no node sees.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedWrite {
    /// Without steps.
    pub intent: WriteIntent,
    pub error: ResponseError,
}

// === impl WriteIntent ===

impl WriteIntent {
    /// The write where it fails before any node sees it; `counted` names the detail that says how many documents it has changed.
    pub fn failed(mut self, counted: &str) -> Self {
        if let Some(details) = &mut self.details {
            details.insert(counted.to_owned(), 0.into());
        }
        Self { steps: Vec::new(), ..self }
    }

    /// The write where it fails because its index is not there, and does not come to be.
    pub fn creating_nothing(self) -> Self {
        Self { steps: Vec::new(), ensure_index: false, registry: RegistryChange::None, ..self }
    }
}

/// One request to one node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub to: Target,
    pub method: &'static str,
    /// Path and query, `/indexes/cities/documents?primaryKey=id`.
    pub path: String,
    pub content_type: Option<&'static str>,
    pub body: StepBody,
    /// The shards whose replicas this step writes; empty for what concerns the whole index.
    pub shards: crate::placement::shard::ShardSet,
}

/// How many nodes hold each document.
pub fn copies(topology: &Topology) -> u8 {
    let owners = topology.owners.first().map_or(1, Vec::len);
    u8::try_from(owners).unwrap_or(topology.replication_factor).max(1)
}

/// Whom a step is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    Node(crate::placement::topology::NodeIx),
    /// Every node of the topology.
    AllNodes,
}

/// What a step sends.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StepBody {
    Empty,
    Json(Value),
    /// The n-th spool of the write: NDJSON collected outside the plan.
    Spool(usize),
}

/// A change of the registry of indexes that belongs to a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RegistryChange {
    None,
    /// The index exists from here on, with this primary key if it is known.
    Create {
        index: String,
        primary_key: Option<String>,
    },
    /// The primary key is known from here on.
    SetPrimaryKey {
        index: String,
        primary_key: String,
        /// The fields before it in the document that it was guessed from.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        leading: Vec<String>,
    },
    Delete {
        index: String,
    },
    /// Of each pair the indexes change places. Those of `renamed` go by the second name instead, where nothing goes by that.
    Swap {
        pairs: Vec<(String, String)>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        renamed: Vec<(String, String)>,
    },
    /// An index goes by another name from here on.
    Rename {
        from: String,
        to: String,
        /// Set with it where the index has none.
        primary_key: Option<String>,
    },
    /// Settings change: what is cached of them is read again when the task has ended.
    Settings {
        index: String,
    },
    /// Dynamic search rules change: what is known of any index is read again when the task has ended.
    DynamicSearchRules,
}

// === impl RegistryChange ===

impl RegistryChange {
    /// The pairs of names under which indexes were and are, where whole indexes change them.
    pub fn moved(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Swap { pairs, renamed } => {
                pairs.iter().chain(renamed).map(|(left, right)| (left.as_str(), right.as_str())).collect()
            }
            Self::Rename { from, to, .. } => vec![(from, to)],
            Self::None
            | Self::Create { .. }
            | Self::SetPrimaryKey { .. }
            | Self::Delete { .. }
            | Self::Settings { .. }
            | Self::DynamicSearchRules => Vec::new(),
        }
    }
}
