//! Which tasks are meant: the filter and the page that a store answers.

use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::serde::rfc3339;

use super::entry::MiroirTask;
use crate::meili::task::{TaskKind, TaskStatus};

/// Which tasks are meant; `None` leaves a field open, an empty list meets nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskFilter {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uids: Option<Vec<TaskRef>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statuses: Option<Vec<TaskStatus>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<TaskKind>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_uids: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canceled_by: Option<Vec<TaskRef>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339::option::serialize")]
    pub before_enqueued_at: Option<OffsetDateTime>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339::option::serialize")]
    pub after_enqueued_at: Option<OffsetDateTime>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339::option::serialize")]
    pub before_started_at: Option<OffsetDateTime>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339::option::serialize")]
    pub after_started_at: Option<OffsetDateTime>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339::option::serialize")]
    pub before_finished_at: Option<OffsetDateTime>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339::option::serialize")]
    pub after_finished_at: Option<OffsetDateTime>,
    /// No part of what is asked: it is the client's.
    #[serde(skip)]
    pub access: IndexAccess,
    /// The batches that tasks belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batches: Option<Vec<u32>>,
    pub unit: Unit,
}

/// What a filter meets: tasks, or the batches of the tasks that it meets. A task that has begun is a batch of its own, whose
/// uid is the task's; one that was canceled before belongs to the batch of the cancelation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    #[default]
    Task,
    Batch,
}

/// The indexes whose tasks the client may see. With a restriction, tasks that belong to no index stay hidden.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum IndexAccess {
    #[default]
    All,
    /// Index uids, or prefixes that end in `*`.
    Only(Vec<String>),
}

/// Either form of a task's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskRef {
    Uid(u32),
    Uuid(uuid::Uuid),
}

/// A page of tasks, newest first unless `reverse`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskPage {
    pub filter: TaskFilter,
    /// The first task of the page, itself included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<TaskRef>,
    /// How many tasks the page has at most.
    pub limit: u32,
    pub reverse: bool,
}

/// How many tasks a filter meets, and those of the page asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskList {
    /// Regardless of `from` and `limit`.
    pub total: u64,
    /// At most `limit`.
    pub tasks: Vec<MiroirTask>,
    /// Where the next page begins.
    pub next: Option<TaskKey>,
}

/// Both forms of a task's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaskKey {
    pub uid: u32,
    pub uuid: uuid::Uuid,
}

// === impl TaskFilter ===

impl TaskFilter {
    /// The same for a client that may see tasks of these indexes.
    pub fn seen_by(self, access: IndexAccess) -> Self {
        Self { access, ..self }
    }
}

// === impl TaskPage ===

impl TaskPage {
    /// See [`TaskFilter::seen_by`].
    pub fn seen_by(self, access: IndexAccess) -> Self {
        Self { filter: self.filter.seen_by(access), ..self }
    }
}

// === impl IndexAccess ===

impl IndexAccess {
    /// Before it is known who asks: no task is seen.
    pub fn nobodys() -> Self {
        Self::Only(Vec::new())
    }

    /// True when tasks of `index` may be seen; `None` is a task that belongs to no index.
    pub fn allows(&self, index: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Only(patterns) => {
                index.is_some_and(|index| patterns.iter().any(|pattern| pattern_meets(pattern, index)))
            }
        }
    }
}

fn pattern_meets(pattern: &str, index: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => index.starts_with(prefix),
        None => index == pattern,
    }
}

// === impl TaskKey ===

impl TaskKey {
    /// By both of its names.
    pub fn of(task: &MiroirTask) -> Self {
        Self { uid: task.uid, uuid: task.uuid }
    }
}

// === impl TaskRef ===

impl TaskRef {
    /// Reads either form: `12` or `mtask-<uuid>`.
    pub fn parse(id: &str) -> Option<Self> {
        match id.strip_prefix("mtask-") {
            Some(uuid) => uuid.parse().ok().map(Self::Uuid),
            None => id.parse().ok().map(Self::Uid),
        }
    }

    /// True if it names just this task.
    pub fn names(self, task: &MiroirTask) -> bool {
        match self {
            Self::Uid(uid) => task.uid == uid,
            Self::Uuid(uuid) => task.uuid == uuid,
        }
    }
}

impl Serialize for TaskRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for TaskRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "{uid}"),
            Self::Uuid(uuid) => write!(f, "mtask-{uuid}"),
        }
    }
}
