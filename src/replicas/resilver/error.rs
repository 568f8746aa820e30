//! Why replicas stay stale for now.

use super::step::GaveUp;
use crate::nodes::error::NodeError;
use crate::store::StoreError;

/// Why a copy did not come to its end; what it brought so far stays.
#[derive(Debug, thiserror::Error)]
pub enum ResilverError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("node {node} does not come to an end with the writes of before")]
    Busy { node: String },
    #[error("task {uid} failed on node {node}: {message}")]
    Task { node: String, uid: u32, message: String },
    #[error("source has {source_count} documents, target {target_count}")]
    Counts { source_count: u64, target_count: u64 },
    #[error(transparent)]
    GaveUp(#[from] GaveUp),
    /// The target went down, was emptied, or gave the shards away.
    #[error("the target is not what it was when the copy began")]
    TargetChanged,
    /// The source went down, missed a write itself, or gave the shards away.
    #[error("the source is not what it was when the copy began")]
    SourceChanged,
    #[error("task {uid} has failed on the source, and is not settled yet")]
    SourceBehind { uid: u32 },
    #[error("the target has missed another write meanwhile")]
    MissedMore,
}

/// The label of `miroir_resilver_failures_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Node,
    Store,
    Busy,
    TaskFailed,
    Differs,
    GaveUp,
    Changed,
}

// === impl ResilverError ===

impl ResilverError {
    /// True where the target's engine has taken what it was sent and then refused it.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Task { .. })
    }

    /// The label under which metrics count it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Node(_) => Reason::Node,
            Self::Store(_) => Reason::Store,
            Self::Busy { .. } => Reason::Busy,
            Self::Task { .. } => Reason::TaskFailed,
            Self::Counts { .. } => Reason::Differs,
            Self::GaveUp(_) => Reason::GaveUp,
            Self::TargetChanged | Self::SourceChanged | Self::SourceBehind { .. } | Self::MissedMore => Reason::Changed,
        }
    }
}

// === impl Reason ===

impl Reason {
    /// Every reason: each label starts at zero.
    pub const ALL: &'static [Reason] =
        &[Self::Node, Self::Store, Self::Busy, Self::TaskFailed, Self::Differs, Self::GaveUp, Self::Changed];

    /// As the label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Store => "store",
            Self::Busy => "busy",
            Self::TaskFailed => "task_failed",
            Self::Differs => "differs",
            Self::GaveUp => "gave_up",
            Self::Changed => "changed",
        }
    }
}
