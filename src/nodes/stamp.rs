//! By what a node's task tells who gave it: the `customMetadata` that each of Miroir's own document writes carries.

use uuid::Uuid;

use super::client::TaskStatusResponse;

/// The query parameter that becomes a task's `customMetadata`.
pub const STAMP_PARAMETER: &str = "customMetadata";
/// The stamp of documents that are copied or removed to keep replicas as they should be, on behalf of no task.
pub const COPY_STAMP: &str = "miroir-copy";

/// Who gave a task to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client's write: the task's uuid.
    Task(Uuid),
    /// Miroir itself, for a copy.
    Copy,
    /// Nobody that Miroir knows.
    Foreign,
}

/// Who gave `task`, one of documents, to its node.
pub fn origin(task: &TaskStatusResponse) -> Origin {
    match task.custom_metadata.as_deref() {
        Some(COPY_STAMP) => Origin::Copy,
        Some(stamp) => match stamp.strip_prefix("mtask-").and_then(|uuid| Uuid::parse_str(uuid).ok()) {
            Some(uuid) => Origin::Task(uuid),
            None => Origin::Foreign,
        },
        None => Origin::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_tells_where_a_task_came_from() {
        let task = |stamp: Option<&str>| -> TaskStatusResponse {
            serde_json::from_value(serde_json::json!({
                "uid": 1, "status": "succeeded", "type": "documentDeletion", "customMetadata": stamp,
            }))
            .unwrap()
        };
        let uuid = Uuid::now_v7();
        assert_eq!(origin(&task(Some(&format!("mtask-{uuid}")))), Origin::Task(uuid));
        assert_eq!(origin(&task(Some(COPY_STAMP))), Origin::Copy);
        assert_eq!(origin(&task(Some("mine"))), Origin::Foreign);
        assert_eq!(origin(&task(None)), Origin::Foreign);
    }
}
