//! Durable state behind a trait: in an SQLite file by default, on a PostgreSQL server where `state` names one.
//!
//! | module | what lives there |
//! |---|---|
//! | `blocks` | blocks of uids in which tasks are counted |
//! | [`failsafe`] | what gateways promise each other while the database is away |
//! | [`leadership`] | who leads, and until when that may be trusted |
//! | [`moving`] | a state moved from one store to another |
//! | [`open`] | the store that a configuration names |
//! | `open_tasks` | the rows of tasks that have not ended |
//! | `postgres` | state on a PostgreSQL server |
//! | [`rows`] | all that a state holds, as rows |
//! | [`settings`] | how a gateway shows itself to others on the same state |
//! | [`sqlite`] | state in an SQLite file |
//! | `terms` | what a filter of tasks asks of rows |
//! | `told` | who listens hears of what has become of tasks |
//! | [`trust`] | until when a process may act by what it knows |

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::meili::task::{TaskKind, TaskStatus};
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeId;
use crate::tasks::entry::MiroirTask;
use leadership::Loss;

pub use crate::tasks::filter::{IndexAccess, TaskFilter, TaskList, TaskPage, TaskRef};

mod blocks;
pub mod failsafe;
pub mod leadership;
pub mod moving;
pub mod open;
mod open_tasks;
mod postgres;
pub mod rows;
pub mod settings;
pub mod sqlite;
mod terms;
#[cfg(test)]
mod tests;
mod told;
pub mod trust;

/// The fact that holds how many shards the cluster has. It is there from the moment when the state is made.
const SHARDS: &str = "shards";

/// A failure of the state.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot open state {path}: {source}")]
    Open { path: String, source: rusqlite::Error },
    #[error("state query failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("stored {what} cannot be read: {source}")]
    Corrupt { what: &'static str, source: serde_json::Error },
    #[error("stored {what} `{value}` is none that this version knows")]
    Unknown { what: &'static str, value: String },
    #[error("cannot make the folder of state {path}: {source}")]
    Folder { path: String, source: std::io::Error },
    #[error("changes were not committed: {0}")]
    Commit(String),
    #[error("state has schema version {found}, this version of miroir knows up to {known}")]
    Newer { found: i64, known: i64 },
    #[error("cannot start the state thread: {0}")]
    Thread(std::io::Error),
    #[error("the state thread has stopped")]
    Stopped,
    #[error("state: {0}")]
    Address(String),
    #[error("state query failed: {0}")]
    Postgres(String),
    /// The server could not be reached for as long as one waits for it.
    #[error("state cannot be reached: {0}")]
    Away(String),
    #[error("{0}")]
    Lost(#[from] Loss),
    #[error("state belongs to a cluster of {stored} shards, the configuration says {configured}")]
    ShardsChanged { stored: u16, configured: u16 },
}

/// What the registry knows of an index. Durable, because a cluster that forgot an index would create it again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IndexEntry {
    pub uid: String,
    pub primary_key: Option<String>,
    /// The fields before the key in the document that it was guessed from. Nodes are told the key, and show it before them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leading: Vec<String>,
}

/// Entries of the registry as a write leaves them, by uid; `None` where the index is gone.
pub type IndexChanges = Vec<(String, Option<IndexEntry>)>;

/// The row of a write is on disk. Who sends a write to nodes shows it: a row that no node has heard of can be taken up or left, a
/// write that no row knows of could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    uid: u32,
}

/// The table of tasks in figures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskTableStats {
    pub by_status: Vec<(TaskStatus, u64)>,
    pub oldest_unfinished: Option<time::OffsetDateTime>,
}

// === impl Durable ===

impl Durable {
    /// The row that is meant.
    pub fn uid(&self) -> u32 {
        self.uid
    }
}

/// How many shards the cluster of this state has.
pub async fn shards(store: &dyn Store) -> Result<u16, StoreError> {
    let stored = store.get_meta(SHARDS).await?;
    number_of_shards(&stored.unwrap_or_default())
}

fn number_of_shards(stored: &str) -> Result<u16, StoreError> {
    stored.parse().map_err(|_| StoreError::Unknown { what: "number of shards", value: stored.to_owned() })
}

/// As a column of a table. Saturates outside the years 1677 to 2262, which only filters can name.
fn nanos(date: time::OffsetDateTime) -> i64 {
    let nanos = date.unix_timestamp_nanos();
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

/// What the cluster remembers. Every method that changes something returns once the change is on disk.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The first uid never handed out; called once at start.
    async fn next_task_uid(&self) -> Result<u32, StoreError>;
    async fn insert_task(&self, task: MiroirTask) -> Result<(), StoreError>;
    /// The row of a write and what it changes of the registry (`None` removes an index), both or neither.
    async fn begin_write(&self, task: MiroirTask, indexes: IndexChanges) -> Result<Durable, StoreError>;
    /// Writes a row anew; one that was deleted meanwhile does not come back.
    async fn update_task(&self, task: MiroirTask) -> Result<(), StoreError>;
    /// Writes the row of a task that has ended. Where it swapped indexes, the rows of older tasks follow them.
    async fn finish_task(&self, task: MiroirTask, swaps: Vec<(String, String)>) -> Result<(), StoreError>;
    /// Brings each task whose end is on disk from now on, once.
    fn ended_tasks(&self) -> broadcast::Receiver<Arc<MiroirTask>>;
    /// Brings each state of a task that is on disk from now on, until its end; some of them more than once.
    fn changed_tasks(&self) -> broadcast::Receiver<Arc<MiroirTask>>;
    /// Frees what deleted rows have left of the disk; how many bytes the state took before and takes now. Writes wait meanwhile.
    async fn compact(&self) -> Result<(u64, u64), StoreError>;
    /// Whether ends are kept from now on, so that they can be told of later.
    fn keep_ends(&self, keep: bool);
    /// The place of the last end that was kept; 0 before the first.
    async fn last_end(&self) -> Result<u64, StoreError>;
    /// The tasks whose ends were kept after `place`, the first of them, each with its own place, in order.
    async fn ends_after(&self, place: u64, limit: u32) -> Result<Vec<(u64, MiroirTask)>, StoreError>;
    /// Forgets the ends up to `place`.
    async fn forget_ends(&self, place: u64) -> Result<(), StoreError>;
    async fn get_task(&self, id: TaskRef) -> Result<Option<MiroirTask>, StoreError>;
    async fn list_tasks(&self, page: TaskPage) -> Result<TaskList, StoreError>;
    /// The uids of all the tasks that meet the filter, oldest first.
    async fn task_uids(&self, filter: TaskFilter) -> Result<Vec<u32>, StoreError>;
    /// Tasks that are not final, oldest first.
    async fn unfinished_tasks(&self) -> Result<Vec<MiroirTask>, StoreError>;
    /// True if a task of `index` has not ended yet, of these kinds or of any, or a swap or a new name that names it. A task that
    /// is about to be written has not. Asks no disk.
    fn has_open_tasks(&self, index: &str, kinds: Option<&[TaskKind]>) -> bool;
    /// Deletes final tasks that meet the filter; returns how many.
    async fn delete_tasks(&self, filter: TaskFilter) -> Result<u64, StoreError>;
    /// Removes one row whatever its state: a write that no node took, refused to the client.
    async fn remove_task(&self, uid: u32) -> Result<(), StoreError>;
    /// Deletes final tasks that finished before `cutoff`; returns how many.
    async fn purge_tasks(&self, cutoff: time::OffsetDateTime) -> Result<u64, StoreError>;
    async fn task_stats(&self) -> Result<TaskTableStats, StoreError>;

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
