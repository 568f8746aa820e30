//! What the gateway alone answers, from its own state.

use serde::Serialize;

use super::facts::{Facts, Takes};
use crate::meili::action::Action;

/// An operation that needs no node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "answer")]
pub enum Own {
    Health,
    ListTasks,
    GetTask { id: String },
    CancelTasks,
    DeleteTasks,
    DeleteTask { id: String },
    TaskDocuments { id: String },
    ListBatches,
    GetBatch { id: String },
    CompactTasks,
    StreamTasks,
    StreamBatches,
    ListKeys,
    CreateKey,
    GetKey { key: String },
    UpdateKey { key: String },
    DeleteKey { key: String },
    ListWebhooks,
    CreateWebhook,
    GetWebhook { uuid: String },
    UpdateWebhook { uuid: String },
    DeleteWebhook { uuid: String },
    ListChats,
    GetChat { workspace: String },
    DeleteChat { workspace: String },
    GetChatSettings { workspace: String },
    UpdateChatSettings { workspace: String },
    ResetChatSettings { workspace: String },
    Metrics,
    StreamLogs,
    StopLogs,
    SetLogTargets,
}

// === impl Own ===

impl Own {
    /// See [`Facts`]; the one place where what Miroir answers itself says its name, key action and body.
    pub(super) fn facts(&self) -> Facts<'_> {
        match self {
            Self::Health => Facts { action: None, ..Facts::new("health", Action::Any) },

            Self::ListTasks => Facts::new("listTasks", Action::TasksGet),
            Self::GetTask { .. } => Facts::new("getTask", Action::TasksGet),
            Self::CancelTasks => Facts::new("cancelTasks", Action::TasksCancel),
            Self::DeleteTasks => Facts::new("deleteTasks", Action::TasksDelete),
            Self::DeleteTask { .. } => Facts::new("deleteTask", Action::TasksDelete),
            Self::TaskDocuments { .. } => Facts::new("taskDocuments", Action::TasksGet),
            Self::ListBatches => Facts::new("listBatches", Action::TasksGet),
            Self::GetBatch { .. } => Facts::new("getBatch", Action::TasksGet),
            Self::CompactTasks => Facts::new("compactTasks", Action::TasksCompact),
            Self::StreamTasks => Facts::new("streamTasks", Action::TasksGet),
            Self::StreamBatches => Facts::new("streamBatches", Action::TasksGet),

            Self::ListKeys => Facts::new("listKeys", Action::KeysGet),
            Self::CreateKey => Facts::new("createKey", Action::KeysCreate).taking(Takes::Json),
            Self::GetKey { .. } => Facts::new("getKey", Action::KeysGet),
            Self::UpdateKey { .. } => Facts::new("updateKey", Action::KeysUpdate).taking(Takes::Json),
            Self::DeleteKey { .. } => Facts::new("deleteKey", Action::KeysDelete),

            Self::ListWebhooks => Facts::new("listWebhooks", Action::WebhooksGet),
            Self::CreateWebhook => Facts::new("createWebhook", Action::WebhooksCreate).taking(Takes::Json),
            Self::GetWebhook { .. } => Facts::new("getWebhook", Action::WebhooksGet),
            Self::UpdateWebhook { .. } => Facts::new("updateWebhook", Action::WebhooksUpdate).taking(Takes::Json),
            Self::DeleteWebhook { .. } => Facts::new("deleteWebhook", Action::WebhooksDelete),

            Self::ListChats => Facts::new("listChats", Action::ChatsGet),
            Self::GetChat { .. } => Facts::new("getChat", Action::ChatsGet),
            Self::DeleteChat { .. } => Facts::new("deleteChat", Action::ChatsDelete),
            Self::GetChatSettings { .. } => Facts::new("getChatSettings", Action::ChatsSettingsGet),
            Self::UpdateChatSettings { .. } => {
                Facts::new("updateChatSettings", Action::ChatsSettingsUpdate).taking(Takes::Json)
            }
            Self::ResetChatSettings { .. } => Facts::new("resetChatSettings", Action::ChatsSettingsUpdate),

            Self::Metrics => Facts::new("metrics", Action::MetricsGet),
            Self::StreamLogs => Facts::new("streamLogs", Action::MetricsGet).taking(Takes::Json),
            Self::StopLogs => Facts::new("stopLogs", Action::MetricsGet),
            Self::SetLogTargets => Facts::new("setLogTargets", Action::MetricsGet).taking(Takes::Json),
        }
    }
}
