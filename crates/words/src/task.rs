//! A task as Meilisearch's API shows it.

use serde::{Deserialize, Serialize};

use super::error::listed;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TaskStatus {
    /// It waits for its turn.
    Enqueued,
    /// It is being carried out.
    Processing,
    /// It was carried out.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// It was ended by another task.
    Canceled,
}

/// What a task does, the field `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TaskKind {
    /// Documents are added, replaced or changed in part.
    DocumentAdditionOrUpdate,
    /// Documents are edited by a function.
    DocumentEdition,
    /// Documents are deleted: by ids, by a filter, or all.
    DocumentDeletion,
    /// Settings of an index are changed or reset.
    SettingsUpdate,
    /// An index is made.
    IndexCreation,
    /// An index is deleted with its documents.
    IndexDeletion,
    /// An index gets another primary key or uid.
    IndexUpdate,
    /// Pairs of indexes take each other's names.
    IndexSwap,
    /// Other tasks are canceled.
    TaskCancelation,
    /// Other tasks that have ended are forgotten.
    TaskDeletion,
    /// A dump is written.
    DumpCreation,
    /// A snapshot is written.
    SnapshotCreation,
    /// Indexes are copied to another Meilisearch.
    Export,
    /// The database is brought to the format of a newer engine.
    UpgradeDatabase,
    /// An index is rewritten into less space.
    IndexCompaction,
    /// Of the engine's own network, which a cluster has no tasks of.
    NetworkTopologyChange,
    /// A dynamic search rule is written or deleted.
    DsrUpdate,
    /// All dynamic search rules are deleted.
    DsrClear,
}

fn unknown_kind(text: &str, release: (u32, u32)) -> String {
    let known = TaskKind::ALL.iter().filter(|kind| kind.since() <= release);
    let known: Vec<&str> = known.map(|kind| kind.as_str()).collect();
    format!("`{text}` is not a valid task type. Available types are {}.", listed(&known))
}

// === impl TaskStatus ===

impl TaskStatus {
    /// Every status.
    pub const ALL: &'static [TaskStatus] =
        &[Self::Enqueued, Self::Processing, Self::Succeeded, Self::Failed, Self::Canceled];

    /// As a task shows it: `enqueued`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enqueued => "enqueued",
            Self::Processing => "processing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// `Err` holds the engine's message.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|status| status.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|status| status.as_str()).collect();
            format!("`{text}` is not a valid task status. Available statuses are {}.", listed(&known))
        })
    }

    /// True when the task will not change any more.
    pub fn is_final(self) -> bool {
        match self {
            Self::Enqueued | Self::Processing => false,
            Self::Succeeded | Self::Failed | Self::Canceled => true,
        }
    }
}

/// A change of documents, as the kind of its task tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentsChange {
    /// Documents as they are, or laid over those that are there.
    Addition,
    /// By a function.
    Edition,
    /// By ids, by a filter, or of all.
    Deletion,
}

/// What tasks of a kind are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Documents of an index.
    Documents,
    /// Settings of an index.
    Settings,
    /// An index as a whole.
    Index,
    /// Other tasks.
    Tasks,
    /// The engine and its files.
    Database,
}

// === impl TaskKind ===

impl TaskKind {
    /// Every kind.
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
        Self::NetworkTopologyChange,
        Self::DsrUpdate,
        Self::DsrClear,
    ];

    /// Major and minor version of the engine from which on its messages list the kind: seen of 1.15 and of 1.50 only.
    fn since(self) -> (u32, u32) {
        match self {
            Self::DocumentAdditionOrUpdate
            | Self::DocumentEdition
            | Self::DocumentDeletion
            | Self::SettingsUpdate
            | Self::IndexCreation
            | Self::IndexDeletion
            | Self::IndexUpdate
            | Self::IndexSwap
            | Self::TaskCancelation
            | Self::TaskDeletion
            | Self::DumpCreation
            | Self::SnapshotCreation
            | Self::UpgradeDatabase => (1, 15),
            Self::Export | Self::IndexCompaction | Self::NetworkTopologyChange | Self::DsrUpdate | Self::DsrClear => {
                (1, 50)
            }
        }
    }

    /// What a task of this kind is about.
    pub fn subject(self) -> Subject {
        match self {
            Self::DocumentAdditionOrUpdate | Self::DocumentEdition | Self::DocumentDeletion => Subject::Documents,
            Self::SettingsUpdate => Subject::Settings,
            Self::IndexCreation | Self::IndexDeletion | Self::IndexUpdate | Self::IndexSwap => Subject::Index,
            Self::TaskCancelation | Self::TaskDeletion => Subject::Tasks,
            Self::DumpCreation
            | Self::SnapshotCreation
            | Self::Export
            | Self::UpgradeDatabase
            | Self::IndexCompaction
            | Self::NetworkTopologyChange
            | Self::DsrUpdate
            | Self::DsrClear => Subject::Database,
        }
    }

    /// Which change of documents a task of this kind is; `None` for what is about something else.
    pub fn change_of_documents(self) -> Option<DocumentsChange> {
        match self {
            Self::DocumentAdditionOrUpdate => Some(DocumentsChange::Addition),
            Self::DocumentEdition => Some(DocumentsChange::Edition),
            Self::DocumentDeletion => Some(DocumentsChange::Deletion),
            Self::SettingsUpdate
            | Self::IndexCreation
            | Self::IndexDeletion
            | Self::IndexUpdate
            | Self::IndexSwap
            | Self::TaskCancelation
            | Self::TaskDeletion
            | Self::DumpCreation
            | Self::SnapshotCreation
            | Self::Export
            | Self::UpgradeDatabase
            | Self::IndexCompaction
            | Self::NetworkTopologyChange
            | Self::DsrUpdate
            | Self::DsrClear => None,
        }
    }

    /// Reads any kind, newer ones too; `Err` holds the message of an engine of this major and minor version.
    pub fn parse(text: &str, release: (u32, u32)) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| unknown_kind(text, release))
    }

    /// Reads a kind as an engine of this major and minor version does.
    pub fn parse_known(text: &str, release: (u32, u32)) -> Result<Self, String> {
        let kind = Self::parse(text, release)?;
        if kind.since() <= release { Ok(kind) } else { Err(unknown_kind(text, release)) }
    }

    /// As a task shows it: `documentAdditionOrUpdate`.
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
            Self::NetworkTopologyChange => "networkTopologyChange",
            Self::DsrUpdate => "dsrUpdate",
            Self::DsrClear => "dsrClear",
        }
    }
}
