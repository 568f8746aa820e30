//! A task as Meilisearch's API shows it.

use serde::{Deserialize, Serialize};

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TaskStatus {
    Enqueued,
    Processing,
    Succeeded,
    Failed,
    Canceled,
}

/// What a task does, the field `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TaskKind {
    DocumentAdditionOrUpdate,
    DocumentEdition,
    DocumentDeletion,
    SettingsUpdate,
    IndexCreation,
    IndexDeletion,
    IndexUpdate,
    IndexSwap,
    TaskCancelation,
    TaskDeletion,
    DumpCreation,
    SnapshotCreation,
    Export,
    UpgradeDatabase,
    IndexCompaction,
}

// === impl TaskStatus ===

impl TaskStatus {
    pub const ALL: &'static [TaskStatus] =
        &[Self::Enqueued, Self::Processing, Self::Succeeded, Self::Failed, Self::Canceled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enqueued => "enqueued",
            Self::Processing => "processing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// True when the task will not change any more.
    pub fn is_final(self) -> bool {
        match self {
            Self::Enqueued | Self::Processing => false,
            Self::Succeeded | Self::Failed | Self::Canceled => true,
        }
    }
}

// === impl TaskKind ===

impl TaskKind {
    pub const ALL: &'static [TaskKind] = &[
        Self::DocumentAdditionOrUpdate,
        Self::DocumentEdition,
        Self::DocumentDeletion,
        Self::SettingsUpdate,
        Self::IndexCreation,
        Self::IndexDeletion,
        Self::IndexUpdate,
        Self::IndexSwap,
        Self::TaskCancelation,
        Self::TaskDeletion,
        Self::DumpCreation,
        Self::SnapshotCreation,
        Self::Export,
        Self::UpgradeDatabase,
        Self::IndexCompaction,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::DocumentAdditionOrUpdate => "documentAdditionOrUpdate",
            Self::DocumentEdition => "documentEdition",
            Self::DocumentDeletion => "documentDeletion",
            Self::SettingsUpdate => "settingsUpdate",
            Self::IndexCreation => "indexCreation",
            Self::IndexDeletion => "indexDeletion",
            Self::IndexUpdate => "indexUpdate",
            Self::IndexSwap => "indexSwap",
            Self::TaskCancelation => "taskCancelation",
            Self::TaskDeletion => "taskDeletion",
            Self::DumpCreation => "dumpCreation",
            Self::SnapshotCreation => "snapshotCreation",
            Self::Export => "export",
            Self::UpgradeDatabase => "upgradeDatabase",
            Self::IndexCompaction => "indexCompaction",
        }
    }
}
