//! Durable state behind a trait: SQLite embedded by default; a shared database can take its place later.

use async_trait::async_trait;

use crate::meili::task::{TaskKind, TaskStatus};
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeId;
use crate::tasks::entry::MiroirTask;

/// A failure of the state file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot open state {path}: {source}")]
    Open { path: String, source: rusqlite::Error },
    #[error("state query failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("stored {what} cannot be read: {source}")]
    Corrupt { what: &'static str, source: serde_json::Error },
    #[error("the state thread has stopped")]
    Stopped,
    #[error("state belongs to a cluster of {stored} shards, the configuration says {configured}")]
    ShardsChanged { stored: u16, configured: u16 },
}

/// What the registry knows of an index. Durable, because a cluster that forgot an index would create it again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IndexEntry {
    pub uid: String,
    pub primary_key: Option<String>,
}

/// Which tasks are meant; `None` or an empty list leaves a field open.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskFilter {
    pub uids: Option<Vec<TaskRef>>,
    pub statuses: Option<Vec<TaskStatus>>,
    pub kinds: Option<Vec<TaskKind>>,
    pub index_uids: Option<Vec<String>>,
    pub canceled_by: Option<Vec<TaskRef>>,
    pub before_enqueued_at: Option<time::OffsetDateTime>,
    pub after_enqueued_at: Option<time::OffsetDateTime>,
    pub before_started_at: Option<time::OffsetDateTime>,
    pub after_started_at: Option<time::OffsetDateTime>,
    pub before_finished_at: Option<time::OffsetDateTime>,
    pub after_finished_at: Option<time::OffsetDateTime>,
}

/// Either form of a task's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskRef {
    Uid(u32),
    Uuid(uuid::Uuid),
}

/// A page of tasks, newest first unless `reverse`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskPage {
    pub filter: TaskFilter,
    pub from: Option<u32>,
    pub limit: usize,
    pub reverse: bool,
}

/// How many tasks a filter meets, and those of the page asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskList {
    pub total: u64,
    /// At most `limit`.
    pub tasks: Vec<MiroirTask>,
    /// The uid to ask for next.
    pub next: Option<u32>,
}

/// What the cluster remembers. Every method that changes something returns once the change is on disk.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The first uid never handed out; called once at start.
    async fn next_task_uid(&self) -> Result<u32, StoreError>;
    async fn insert_task(&self, task: MiroirTask) -> Result<(), StoreError>;
    async fn update_task(&self, task: MiroirTask) -> Result<(), StoreError>;
    async fn get_task(&self, id: TaskRef) -> Result<Option<MiroirTask>, StoreError>;
    async fn list_tasks(&self, page: TaskPage) -> Result<TaskList, StoreError>;
    /// Tasks that are not final, oldest first.
    async fn unfinished_tasks(&self) -> Result<Vec<MiroirTask>, StoreError>;
    /// Deletes final tasks that meet the filter; returns how many.
    async fn delete_tasks(&self, filter: TaskFilter) -> Result<u64, StoreError>;

    async fn indexes(&self) -> Result<Vec<IndexEntry>, StoreError>;
    async fn put_index(&self, entry: IndexEntry) -> Result<(), StoreError>;
    async fn delete_index(&self, uid: String) -> Result<(), StoreError>;

    async fn stale(&self) -> Result<Vec<(NodeId, String, ShardSet)>, StoreError>;
    /// Replaces the stale set of (node, index); an empty set removes it.
    async fn put_stale(&self, node: NodeId, index: String, shards: ShardSet) -> Result<(), StoreError>;

    /// API keys as JSON objects by uid.
    async fn keys(&self) -> Result<Vec<serde_json::Value>, StoreError>;
    async fn put_key(&self, uid: uuid::Uuid, key: serde_json::Value) -> Result<(), StoreError>;
    async fn delete_key(&self, uid: uuid::Uuid) -> Result<(), StoreError>;

    /// Small facts by name: cluster id, shard count, a node's identity.
    async fn get_meta(&self, name: &'static str) -> Result<Option<String>, StoreError>;
    async fn put_meta(&self, name: &'static str, value: String) -> Result<(), StoreError>;
}
