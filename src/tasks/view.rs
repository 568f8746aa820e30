//! A task as the client sees it, in Meilisearch's JSON.

use serde::Deserialize;
use serde_json::Value;

use super::entry::MiroirTask;

/// How ids of tasks are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UidFormat {
    Integer,
    Mtask,
}

/// The setting `tasks.uid_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UidFormatSetting {
    /// Integers for clients that name themselves as a Meilisearch SDK, `mtask-…` for others.
    #[default]
    Auto,
    Integer,
    Mtask,
}

impl UidFormat {
    pub fn choose(setting: UidFormatSetting, user_agent: Option<&str>, client_header: Option<&str>) -> Self {
        let _ = (setting, user_agent, client_header);
        todo!()
    }
}

/// What `GET /tasks/{id}` shows.
pub fn task_view(task: &MiroirTask, format: UidFormat) -> Value {
    let _ = (task, format);
    todo!()
}

/// What the answer to a write shows.
pub fn summary_view(task: &MiroirTask, format: UidFormat) -> Value {
    let _ = (task, format);
    todo!()
}
