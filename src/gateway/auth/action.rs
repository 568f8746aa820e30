//! What an API key can allow, and which action each operation asks for.

use serde::{Deserialize, Serialize};

use crate::meili::operation::Operation;

macro_rules! actions {
    ($($name:ident => $word:literal;)+) => {
        /// Something that an API key can allow.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Action {
            $(#[serde(rename = $word)] $name),+
        }

        impl Action {
            pub const ALL: &'static [Action] = &[$(Action::$name),+];

            pub fn as_str(self) -> &'static str {
                match self { $(Action::$name => $word),+ }
            }
        }
    };
}

actions! {
    Any => "*";
    Search => "search";
    DocumentsAny => "documents.*";
    DocumentsAdd => "documents.add";
    DocumentsGet => "documents.get";
    DocumentsDelete => "documents.delete";
    IndexesAny => "indexes.*";
    IndexesCreate => "indexes.create";
    IndexesGet => "indexes.get";
    IndexesUpdate => "indexes.update";
    IndexesDelete => "indexes.delete";
    IndexesSwap => "indexes.swap";
    TasksAny => "tasks.*";
    TasksCancel => "tasks.cancel";
    TasksDelete => "tasks.delete";
    TasksGet => "tasks.get";
    SettingsAny => "settings.*";
    SettingsGet => "settings.get";
    SettingsUpdate => "settings.update";
    StatsAny => "stats.*";
    StatsGet => "stats.get";
    MetricsAny => "metrics.*";
    MetricsGet => "metrics.get";
    DumpsAny => "dumps.*";
    DumpsCreate => "dumps.create";
    SnapshotsAny => "snapshots.*";
    SnapshotsCreate => "snapshots.create";
    Version => "version";
    KeysCreate => "keys.create";
    KeysGet => "keys.get";
    KeysUpdate => "keys.update";
    KeysDelete => "keys.delete";
    ExperimentalGet => "experimental.get";
    ExperimentalUpdate => "experimental.update";
    NetworkGet => "network.get";
    NetworkUpdate => "network.update";
    ChatCompletions => "chatCompletions";
    ChatsAny => "chats.*";
    ChatsGet => "chats.get";
    ChatsDelete => "chats.delete";
    ChatsSettingsAny => "chatsSettings.*";
    ChatsSettingsGet => "chatsSettings.get";
    ChatsSettingsUpdate => "chatsSettings.update";
}

impl Action {
    /// The action that `operation` asks for; `None` where no key is needed.
    pub fn of(operation: &Operation) -> Option<Self> {
        let action = match operation {
            Operation::Health => return None,
            Operation::Version => Self::Version,
            Operation::Stats | Operation::IndexStats { .. } => Self::StatsGet,
            Operation::ListIndexes | Operation::GetIndex { .. } => Self::IndexesGet,
            Operation::CreateIndex => Self::IndexesCreate,
            Operation::UpdateIndex { .. } => Self::IndexesUpdate,
            Operation::DeleteIndex { .. } => Self::IndexesDelete,
            Operation::SwapIndexes => Self::IndexesSwap,
            Operation::AddDocuments { .. } => Self::DocumentsAdd,
            Operation::GetDocument { .. } | Operation::ListDocuments { .. } | Operation::FetchDocuments { .. } => {
                Self::DocumentsGet
            }
            Operation::DeleteDocument { .. }
            | Operation::DeleteDocumentsBatch { .. }
            | Operation::DeleteDocumentsByFilter { .. }
            | Operation::DeleteAllDocuments { .. } => Self::DocumentsDelete,
            Operation::EditDocuments { .. } => Self::DocumentsAny,
            Operation::SearchGet { .. }
            | Operation::SearchPost { .. }
            | Operation::FacetSearch { .. }
            | Operation::MultiSearch
            | Operation::SimilarGet { .. }
            | Operation::SimilarPost { .. } => Self::Search,
            Operation::GetSettings { .. } | Operation::GetSetting { .. } => Self::SettingsGet,
            Operation::UpdateSettings { .. }
            | Operation::ResetSettings { .. }
            | Operation::UpdateSetting { .. }
            | Operation::ResetSetting { .. } => Self::SettingsUpdate,
            Operation::ListTasks | Operation::GetTask { .. } => Self::TasksGet,
            Operation::CancelTasks => Self::TasksCancel,
            Operation::DeleteTasks | Operation::DeleteTask { .. } => Self::TasksDelete,
            Operation::ListKeys | Operation::GetKey { .. } => Self::KeysGet,
            Operation::CreateKey => Self::KeysCreate,
            Operation::UpdateKey { .. } => Self::KeysUpdate,
            Operation::DeleteKey { .. } => Self::KeysDelete,
            Operation::GetExperimentalFeatures => Self::ExperimentalGet,
            Operation::UpdateExperimentalFeatures => Self::ExperimentalUpdate,
            // What Miroir does not serve is not described to those who may do little.
            Operation::Unsupported { .. } => Self::Any,
        };
        Some(action)
    }

    /// True for the actions that need a master key to exist at all.
    pub fn concerns_keys(self) -> bool {
        matches!(self, Self::KeysGet | Self::KeysCreate | Self::KeysUpdate | Self::KeysDelete)
    }

    /// True when a key that holds `self` may do `wanted`. As in the engine, `documents.*` stands for the three actions
    /// on documents and not for itself: editing documents by function, which asks for it, takes `*`.
    pub fn grants(self, wanted: Self) -> bool {
        match self {
            Self::Any => true,
            Self::DocumentsAny => matches!(wanted, Self::DocumentsGet | Self::DocumentsAdd | Self::DocumentsDelete),
            Self::IndexesAny => matches!(
                wanted,
                Self::IndexesCreate | Self::IndexesDelete | Self::IndexesGet | Self::IndexesUpdate | Self::IndexesSwap
            ),
            Self::SettingsAny => matches!(wanted, Self::SettingsGet | Self::SettingsUpdate),
            Self::DumpsAny => wanted == Self::DumpsCreate,
            Self::SnapshotsAny => wanted == Self::SnapshotsCreate,
            Self::TasksAny => matches!(wanted, Self::TasksGet | Self::TasksDelete | Self::TasksCancel),
            Self::StatsAny => wanted == Self::StatsGet,
            Self::MetricsAny => wanted == Self::MetricsGet,
            Self::ChatsAny => matches!(wanted, Self::ChatsGet | Self::ChatsDelete),
            Self::ChatsSettingsAny => matches!(wanted, Self::ChatsSettingsGet | Self::ChatsSettingsUpdate),
            Self::Search
            | Self::DocumentsAdd
            | Self::DocumentsGet
            | Self::DocumentsDelete
            | Self::IndexesCreate
            | Self::IndexesGet
            | Self::IndexesUpdate
            | Self::IndexesDelete
            | Self::IndexesSwap
            | Self::TasksCancel
            | Self::TasksDelete
            | Self::TasksGet
            | Self::SettingsGet
            | Self::SettingsUpdate
            | Self::StatsGet
            | Self::MetricsGet
            | Self::DumpsCreate
            | Self::SnapshotsCreate
            | Self::Version
            | Self::KeysCreate
            | Self::KeysGet
            | Self::KeysUpdate
            | Self::KeysDelete
            | Self::ExperimentalGet
            | Self::ExperimentalUpdate
            | Self::NetworkGet
            | Self::NetworkUpdate
            | Self::ChatCompletions
            | Self::ChatsGet
            | Self::ChatsDelete
            | Self::ChatsSettingsGet
            | Self::ChatsSettingsUpdate => self == wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_grants_its_members_only() {
        assert!(Action::DocumentsAny.grants(Action::DocumentsAdd));
        assert!(!Action::DocumentsAny.grants(Action::DocumentsAny));
        assert!(!Action::DocumentsAny.grants(Action::IndexesGet));
        assert!(Action::ALL.iter().all(|action| Action::Any.grants(*action)));
        assert!(!Action::Search.grants(Action::DocumentsGet));
    }

    #[test]
    fn health_needs_no_key_and_searching_needs_search() {
        assert_eq!(Action::of(&Operation::Health), None);
        assert_eq!(Action::of(&Operation::MultiSearch), Some(Action::Search));
    }
}
