//! What Miroir answers itself, from its own state.

use serde::Serialize;

/// An operation that needs no node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "answer")]
pub enum Answer {
    Health,
    ListTasks,
    GetTask { id: String },
    CancelTasks,
    DeleteTasks,
    DeleteTask { id: String },
    ListKeys,
    CreateKey,
    GetKey { key: String },
    UpdateKey { key: String },
    DeleteKey { key: String },
}
