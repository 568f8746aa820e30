//! A task of the node: what it is to do, and how far it is.

use miroir_words::task::{TaskKind, TaskStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::error::ResponseError;

/// A row of the queue.
#[derive(Debug, Clone)]
pub struct Task {
    pub uid: u32,
    pub batch_uid: Option<u32>,
    pub index_uid: Option<String>,
    pub status: TaskStatus,
    pub canceled_by: Option<u32>,
    pub details: Option<Value>,
    pub error: Option<ResponseError>,
    pub enqueued_at: OffsetDateTime,
    pub started_at: Option<OffsetDateTime>,
    pub finished_at: Option<OffsetDateTime>,
    pub custom_metadata: Option<String>,
    /// True when an earlier run of the node had begun it and never told how it ended.
    pub resumed: bool,
    pub content: TaskContent,
}

/// How documents meet those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AdditionMethod {
    Replace,
    Update,
}

/// What a task is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "do")]
pub enum TaskContent {
    DocumentAddition {
        method: AdditionMethod,
        primary_key: Option<String>,
        /// The payload's name in the payload store.
        payload: String,
        documents: u64,
        allow_index_creation: bool,
    },
    DocumentDeletion {
        ids: Vec<String>,
    },
    DocumentDeletionByFilter {
        filter: Value,
    },
    DocumentClear,
    DocumentEdition {
        filter: Option<Value>,
        context: Option<Map<String, Value>>,
        function: String,
    },
    Settings {
        settings: Value,
        is_deletion: bool,
        allow_index_creation: bool,
    },
    IndexCreation {
        primary_key: Option<String>,
    },
    IndexUpdate {
        primary_key: Option<String>,
    },
    IndexDeletion,
    IndexSwap {
        swaps: Vec<(String, String)>,
    },
    TaskCancelation {
        query: String,
        tasks: Vec<u32>,
    },
    TaskDeletion {
        query: String,
        tasks: Vec<u32>,
    },
}

/// How one task of a batch ended.
#[derive(Debug, Clone)]
pub struct TaskEnd {
    pub uid: u32,
    pub details: Option<Value>,
    pub error: Option<ResponseError>,
}

// === impl TaskContent ===

impl TaskContent {
    pub fn kind(&self) -> TaskKind {
        match self {
            Self::DocumentAddition { .. } => TaskKind::DocumentAdditionOrUpdate,
            Self::DocumentDeletion { .. } | Self::DocumentDeletionByFilter { .. } | Self::DocumentClear => {
                TaskKind::DocumentDeletion
            }
            Self::DocumentEdition { .. } => TaskKind::DocumentEdition,
            Self::Settings { .. } => TaskKind::SettingsUpdate,
            Self::IndexCreation { .. } => TaskKind::IndexCreation,
            Self::IndexUpdate { .. } => TaskKind::IndexUpdate,
            Self::IndexDeletion => TaskKind::IndexDeletion,
            Self::IndexSwap { .. } => TaskKind::IndexSwap,
            Self::TaskCancelation { .. } => TaskKind::TaskCancelation,
            Self::TaskDeletion { .. } => TaskKind::TaskDeletion,
        }
    }

    /// The details before the end: counts that are not known yet are null.
    pub fn first_details(&self) -> Value {
        match self {
            Self::DocumentAddition { documents, .. } => {
                json!({"receivedDocuments": documents, "indexedDocuments": null})
            }
            Self::DocumentDeletion { ids } => {
                json!({"providedIds": ids.len(), "deletedDocuments": null, "originalFilter": null})
            }
            Self::DocumentDeletionByFilter { filter } => {
                json!({"providedIds": 0, "deletedDocuments": null, "originalFilter": filter.to_string()})
            }
            Self::DocumentClear | Self::IndexDeletion => json!({"deletedDocuments": null}),
            Self::DocumentEdition { filter, context, function } => json!({
                "editedDocuments": null,
                "deletedDocuments": null,
                "originalFilter": filter.as_ref().map(Value::to_string),
                "context": context,
                "function": function,
            }),
            Self::Settings { settings, .. } => settings.clone(),
            Self::IndexCreation { primary_key } | Self::IndexUpdate { primary_key } => {
                json!({"primaryKey": primary_key})
            }
            Self::IndexSwap { swaps } => {
                let swaps: Vec<Value> = swaps.iter().map(|(left, right)| json!({"indexes": [left, right]})).collect();
                json!({"swaps": swaps})
            }
            Self::TaskCancelation { query, tasks } => {
                json!({"matchedTasks": tasks.len(), "canceledTasks": null, "originalFilter": query})
            }
            Self::TaskDeletion { query, tasks } => {
                json!({"matchedTasks": tasks.len(), "deletedTasks": null, "originalFilter": query})
            }
        }
    }

    /// The details of a task that failed or was canceled: nothing was done.
    pub fn failed_details(&self) -> Value {
        let counter = match self {
            Self::DocumentAddition { .. } => Some("indexedDocuments"),
            Self::DocumentDeletion { .. }
            | Self::DocumentDeletionByFilter { .. }
            | Self::DocumentClear
            | Self::IndexDeletion => Some("deletedDocuments"),
            Self::DocumentEdition { .. } => Some("editedDocuments"),
            Self::TaskCancelation { .. } => Some("canceledTasks"),
            Self::TaskDeletion { .. } => Some("deletedTasks"),
            Self::Settings { .. } | Self::IndexCreation { .. } | Self::IndexUpdate { .. } | Self::IndexSwap { .. } => {
                None
            }
        };
        match counter {
            Some(counter) => self.details_with(&[(counter, 0)]),
            None => self.first_details(),
        }
    }

    /// The details with counts filled in.
    pub fn details_with(&self, counts: &[(&str, u64)]) -> Value {
        let mut details = self.first_details();
        for (name, count) in counts {
            details[*name] = json!(count);
        }
        details
    }

    /// The payload file that must stay until the task has ended.
    pub fn payload(&self) -> Option<&str> {
        match self {
            Self::DocumentAddition { payload, .. } => Some(payload),
            Self::DocumentDeletion { .. }
            | Self::DocumentDeletionByFilter { .. }
            | Self::DocumentClear
            | Self::DocumentEdition { .. }
            | Self::Settings { .. }
            | Self::IndexCreation { .. }
            | Self::IndexUpdate { .. }
            | Self::IndexDeletion
            | Self::IndexSwap { .. }
            | Self::TaskCancelation { .. }
            | Self::TaskDeletion { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_null_before_the_end_and_zero_after_a_failure() {
        let content = TaskContent::DocumentDeletionByFilter { filter: json!("color = red") };
        assert_eq!(
            content.first_details(),
            json!({"providedIds": 0, "deletedDocuments": null, "originalFilter": "\"color = red\""})
        );
        assert_eq!(content.failed_details()["deletedDocuments"], 0);
    }

    #[test]
    fn content_is_the_same_after_a_round_through_json() {
        let contents = [
            TaskContent::DocumentClear,
            TaskContent::IndexSwap { swaps: vec![("a".into(), "b".into())] },
            TaskContent::DocumentAddition {
                method: AdditionMethod::Update,
                primary_key: None,
                payload: "p".into(),
                documents: 3,
                allow_index_creation: true,
            },
        ];
        for content in contents {
            let text = serde_json::to_string(&content).unwrap();
            assert_eq!(serde_json::from_str::<TaskContent>(&text).unwrap(), content);
        }
    }
}
