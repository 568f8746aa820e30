//! What an API key can allow.

use serde::{Deserialize, Serialize};

macro_rules! actions {
    ($($name:ident => $word:literal;)+) => {
        /// Something that an API key can allow.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Action {
            $(#[doc = concat!("`", $word, "`")] #[serde(rename = $word)] $name),+
        }

        impl Action {
            /// Every action, in the order of the table.
            pub const ALL: &'static [Action] = &[$(Action::$name),+];

            /// As a key lists it: `documents.add`.
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
    Export => "export";
    NetworkGet => "network.get";
    NetworkUpdate => "network.update";
    ChatCompletions => "chatCompletions";
    ChatsAny => "chats.*";
    ChatsGet => "chats.get";
    ChatsDelete => "chats.delete";
    ChatsSettingsAny => "chatsSettings.*";
    ChatsSettingsGet => "chatsSettings.get";
    ChatsSettingsUpdate => "chatsSettings.update";
    AnyGet => "*.get";
    WebhooksGet => "webhooks.get";
    WebhooksUpdate => "webhooks.update";
    WebhooksDelete => "webhooks.delete";
    WebhooksCreate => "webhooks.create";
    WebhooksAny => "webhooks.*";
    IndexesCompact => "indexes.compact";
    FieldsPost => "fields.post";
    TasksCompact => "tasks.compact";
    DynamicSearchRulesGet => "dynamicSearchRules.get";
    DynamicSearchRulesCreate => "dynamicSearchRules.create";
    DynamicSearchRulesUpdate => "dynamicSearchRules.update";
    DynamicSearchRulesDelete => "dynamicSearchRules.delete";
    DynamicSearchRulesAny => "dynamicSearchRules.*";
}

impl Action {
    /// True for the actions that need a master key to exist at all.
    pub fn concerns_keys(self) -> bool {
        matches!(self, Self::KeysGet | Self::KeysCreate | Self::KeysUpdate | Self::KeysDelete)
    }

    /// True for actions that concern no index, so that a key for some indexes cannot have them.
    pub fn concerns_no_index(self) -> bool {
        match self {
            Self::MetricsAny
            | Self::MetricsGet
            | Self::DumpsAny
            | Self::DumpsCreate
            | Self::SnapshotsAny
            | Self::SnapshotsCreate
            | Self::Version
            | Self::KeysCreate
            | Self::KeysGet
            | Self::KeysUpdate
            | Self::KeysDelete
            | Self::ExperimentalGet
            | Self::ExperimentalUpdate
            | Self::Export
            | Self::NetworkGet
            | Self::NetworkUpdate
            | Self::ChatsAny
            | Self::ChatsGet
            | Self::ChatsDelete
            | Self::ChatsSettingsAny
            | Self::ChatsSettingsGet
            | Self::ChatsSettingsUpdate
            | Self::WebhooksGet
            | Self::WebhooksUpdate
            | Self::WebhooksDelete
            | Self::WebhooksCreate
            | Self::WebhooksAny
            | Self::TasksCompact
            | Self::DynamicSearchRulesGet
            | Self::DynamicSearchRulesCreate
            | Self::DynamicSearchRulesUpdate
            | Self::DynamicSearchRulesDelete
            | Self::DynamicSearchRulesAny => true,
            // Groups stand for actions of both kinds.
            Self::Any
            | Self::AnyGet
            | Self::Search
            | Self::DocumentsAny
            | Self::DocumentsAdd
            | Self::DocumentsGet
            | Self::DocumentsDelete
            | Self::IndexesAny
            | Self::IndexesCreate
            | Self::IndexesGet
            | Self::IndexesUpdate
            | Self::IndexesDelete
            | Self::IndexesSwap
            | Self::IndexesCompact
            | Self::FieldsPost
            | Self::TasksAny
            | Self::TasksCancel
            | Self::TasksDelete
            | Self::TasksGet
            | Self::SettingsAny
            | Self::SettingsGet
            | Self::SettingsUpdate
            | Self::StatsAny
            | Self::StatsGet
            | Self::ChatCompletions => false,
        }
    }

    /// True when a key that holds `self` may do `wanted`. As in the engine, `documents.*` and its like stand for their
    /// members and not for themselves: editing documents by function, which asks for `documents.*`, takes `*`.
    pub fn grants(self, wanted: Self) -> bool {
        if self == Self::AnyGet {
            return wanted.only_reads();
        }
        match self.as_str().strip_suffix('*') {
            Some("") => true,
            Some(group) => self != wanted && wanted.as_str().starts_with(group),
            None => self == wanted,
        }
    }

    /// What `*.get` stands for: what changes nothing, but for reading keys, which could give more than it has, and chats, which
    /// may make new ones. Groups are asked for by what changes.
    fn only_reads(self) -> bool {
        match self {
            Self::Search
            | Self::DocumentsGet
            | Self::IndexesGet
            | Self::TasksGet
            | Self::SettingsGet
            | Self::StatsGet
            | Self::MetricsGet
            | Self::Version
            | Self::ExperimentalGet
            | Self::Export
            | Self::NetworkGet
            | Self::ChatsGet
            | Self::ChatsSettingsGet
            | Self::WebhooksGet
            | Self::FieldsPost
            | Self::DynamicSearchRulesGet => true,
            Self::Any
            | Self::AnyGet
            | Self::DocumentsAny
            | Self::DocumentsAdd
            | Self::DocumentsDelete
            | Self::IndexesAny
            | Self::IndexesCreate
            | Self::IndexesUpdate
            | Self::IndexesDelete
            | Self::IndexesSwap
            | Self::IndexesCompact
            | Self::TasksAny
            | Self::TasksCancel
            | Self::TasksDelete
            | Self::TasksCompact
            | Self::SettingsAny
            | Self::SettingsUpdate
            | Self::StatsAny
            | Self::MetricsAny
            | Self::DumpsAny
            | Self::DumpsCreate
            | Self::SnapshotsAny
            | Self::SnapshotsCreate
            | Self::KeysCreate
            | Self::KeysGet
            | Self::KeysUpdate
            | Self::KeysDelete
            | Self::ExperimentalUpdate
            | Self::NetworkUpdate
            | Self::ChatCompletions
            | Self::ChatsAny
            | Self::ChatsDelete
            | Self::ChatsSettingsAny
            | Self::ChatsSettingsUpdate
            | Self::WebhooksUpdate
            | Self::WebhooksDelete
            | Self::WebhooksCreate
            | Self::WebhooksAny
            | Self::DynamicSearchRulesCreate
            | Self::DynamicSearchRulesUpdate
            | Self::DynamicSearchRulesDelete
            | Self::DynamicSearchRulesAny => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_all_is_not_reading_keys() {
        let granted: Vec<&str> =
            Action::ALL.iter().filter(|action| Action::AnyGet.grants(**action)).map(|action| action.as_str()).collect();
        assert_eq!(
            granted,
            [
                "search",
                "documents.get",
                "indexes.get",
                "tasks.get",
                "settings.get",
                "stats.get",
                "metrics.get",
                "version",
                "experimental.get",
                "export",
                "network.get",
                "chats.get",
                "chatsSettings.get",
                "webhooks.get",
                "fields.post",
                "dynamicSearchRules.get",
            ]
        );
    }

    #[test]
    fn a_group_grants_its_members_only() {
        assert!(Action::DocumentsAny.grants(Action::DocumentsAdd));
        assert!(!Action::DocumentsAny.grants(Action::DocumentsAny));
        assert!(!Action::DocumentsAny.grants(Action::IndexesGet));
        assert!(Action::ALL.iter().all(|action| Action::Any.grants(*action)));
        assert!(!Action::Search.grants(Action::DocumentsGet));
        assert!(!Action::ChatsAny.grants(Action::ChatsSettingsGet));
    }
}
