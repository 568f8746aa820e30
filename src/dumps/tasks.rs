//! The tasks of the cluster that have ended, as lines of a dump's queue: a node that starts from it shows them under their integers,
//! and hands out integers after them. Pure.
//!
//! A dump's queue has for each task what it was to do and, apart from that, its details. Of a task that has ended only the details
//! are ever shown, and Miroir keeps nothing else; so what it was to do is said as far as details tell it.

use serde_json::{Map, Value, json};

use crate::meili::task::{TaskKind, TaskStatus};
use crate::tasks::entry::MiroirTask;
use crate::tasks::view::rfc3339;

/// The line of `task`; `None` while it goes on, and for what a cluster has no tasks of.
pub fn line(task: &MiroirTask) -> Option<String> {
    if !task.status.is_final() {
        return None;
    }
    let shown = task.details.clone().unwrap_or_default();
    let (kind, details) = told(task, &shown)?;
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| line.insert(name.to_owned(), value);
    put("uid", task.uid.into());
    // A cluster's batches are its tasks; the engine's have members that a cluster cannot fill in.
    put("batchUid", Value::Null);
    put("indexUid", json!(task.index_uid));
    put("status", json!(task.status));
    put("type", kind);
    if let (TaskStatus::Canceled, Some(by)) = (task.status, task.canceled_by) {
        put("canceledBy", by.into());
    }
    if task.details.is_some() {
        put("details", details);
    }
    if let Some(error) = &task.error {
        put("error", json!(error));
    }
    put("enqueuedAt", rfc3339(task.enqueued_at).into());
    for (name, date) in [("startedAt", task.started_at), ("finishedAt", task.finished_at)] {
        if let Some(date) = date {
            put(name, rfc3339(date).into());
        }
    }
    if let Some(metadata) = &task.custom_metadata {
        put("customMetadata", metadata.clone().into());
    }
    Some(Value::Object(line).to_string())
}

/// What a task was to do, and its details, each in the words of a dump.
fn told(task: &MiroirTask, shown: &Map<String, Value>) -> Option<(Value, Value)> {
    let of = |name: &str| shown.get(name).cloned().unwrap_or(Value::Null);
    let count = |name: &str| shown.get(name).and_then(Value::as_u64).unwrap_or(0);
    Some(match task.kind {
        TaskKind::DocumentAdditionOrUpdate => {
            let kind = json!({ "documentImport": {
                "primary_key": null, "method": "ReplaceDocuments", "documents_count": count("receivedDocuments"),
                "allow_index_creation": true,
            } });
            let details = json!({ "received_documents": count("receivedDocuments"), "indexed_documents": of("indexedDocuments") });
            (kind, json!({ "DocumentAdditionOrUpdate": details }))
        }
        TaskKind::DocumentDeletion => deletion(&of),
        TaskKind::DocumentEdition => {
            let (context, function) = (of("context"), of("function"));
            let function = if function.is_string() { function } else { "".into() };
            let filter = of("originalFilter").as_str().map_or(Value::Null, parsed);
            let details = json!({
                "deleted_documents": of("deletedDocuments"), "edited_documents": of("editedDocuments"),
                "original_filter": of("originalFilter"), "context": context, "function": function,
            });
            let kind = json!({ "filter": filter, "context": context, "function": function });
            (json!({ "documentEdition": kind }), json!({ "DocumentEdition": details }))
        }
        TaskKind::SettingsUpdate => {
            let kind = json!({ "settings": {}, "is_deletion": false, "allow_index_creation": true });
            (json!({ "settings": kind }), json!({ "SettingsUpdate": { "settings": shown } }))
        }
        TaskKind::IndexCreation => (json!({ "indexCreation": { "primary_key": of("primaryKey") } }), index(&of)),
        TaskKind::IndexUpdate => {
            let kind = json!({ "primary_key": of("primaryKey"), "uid": of("newIndexUid") });
            (json!({ "indexUpdate": kind }), index(&of))
        }
        TaskKind::IndexDeletion => {
            (json!("indexDeletion"), json!({ "ClearAll": { "deleted_documents": of("deletedDocuments") } }))
        }
        TaskKind::IndexSwap => {
            let swaps = json!({ "swaps": of("swaps") });
            (json!({ "indexSwap": swaps.clone() }), json!({ "IndexSwap": swaps }))
        }
        TaskKind::TaskCancelation => about_tasks(("taskCancelation", "TaskCancelation"), "canceled_tasks", &of),
        TaskKind::TaskDeletion => about_tasks(("tasksDeletion", "TaskDeletion"), "deleted_tasks", &of),
        TaskKind::DumpCreation => {
            let kind = json!({ "dumpCreation": { "keys": [], "instance_uid": null } });
            (kind, json!({ "Dump": { "dump_uid": of("dumpUid") } }))
        }
        TaskKind::Export => {
            // The key is masked already.
            let told = json!({
                "url": of("url"), "api_key": of("apiKey"), "payload_size": of("payloadSize"), "indexes": of("indexes"),
            });
            (json!({ "export": told.clone() }), json!({ "Export": told }))
        }
        TaskKind::IndexCompaction => {
            let uid = json!({ "index_uid": task.index_uid });
            let sizes = json!({
                "index_uid": task.index_uid, "pre_compaction_size": null, "post_compaction_size": null,
            });
            (json!({ "indexCompaction": uid }), json!({ "IndexCompaction": sizes }))
        }
        TaskKind::SnapshotCreation => (json!("snapshotCreation"), Value::Null),
        // Each node's own, or none that a cluster has.
        TaskKind::UpgradeDatabase | TaskKind::NetworkTopologyChange | TaskKind::DsrUpdate | TaskKind::DsrClear => {
            return None;
        }
    })
}

/// Of ids, by a filter, or of all: details have a filter, a number of ids, or neither.
fn deletion(of: &dyn Fn(&str) -> Value) -> (Value, Value) {
    let deleted = of("deletedDocuments");
    match (of("originalFilter"), of("providedIds")) {
        (Value::String(filter), _) => {
            let details = json!({ "original_filter": filter, "deleted_documents": deleted });
            let kind = json!({ "documentDeletionByFilter": { "filter": parsed(&filter) } });
            (kind, json!({ "DocumentDeletionByFilter": details }))
        }
        (_, Value::Number(ids)) => {
            let details = json!({ "provided_ids": ids, "deleted_documents": deleted });
            (json!({ "documentDeletion": { "documents_ids": [] } }), json!({ "DocumentDeletion": details }))
        }
        _ => (json!("documentClear"), json!({ "ClearAll": { "deleted_documents": deleted } })),
    }
}

fn index(of: &dyn Fn(&str) -> Value) -> Value {
    let (key, new, old) = (of("primaryKey"), of("newIndexUid"), of("oldIndexUid"));
    json!({ "IndexInfo": { "primary_key": key, "new_index_uid": new, "old_index_uid": old } })
}

/// A cancelation or deletion of tasks.
fn about_tasks((kind, details): (&str, &str), counted: &str, of: &dyn Fn(&str) -> Value) -> (Value, Value) {
    /// A set of tasks without any, as the engine writes one: which they were shows nowhere.
    const NONE: [u8; 8] = [0x3a, 0x30, 0, 0, 0, 0, 0, 0];
    let query = of("originalFilter");
    let name = if counted == "canceled_tasks" { "canceledTasks" } else { "deletedTasks" };
    let told = json!({ "matched_tasks": of("matchedTasks"), counted: of(name), "original_filter": query });
    (json!({ kind: { "query": query, "tasks": NONE } }), json!({ details: told }))
}

/// Filters stand in details as they are written: a text in quotes, an array.
fn parsed(filter: &str) -> Value {
    serde_json::from_str(filter).unwrap_or_else(|_| filter.into())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::meili::error::{Code, ResponseError};

    fn ended(kind: TaskKind, details: Value) -> MiroirTask {
        let mut task = MiroirTask::new(7, kind, Some("movies".to_owned()), datetime!(2026-01-02 03:04:05 UTC));
        task.status = TaskStatus::Succeeded;
        task.details = details.as_object().cloned();
        task.finished_at = Some(datetime!(2026-01-02 03:04:06 UTC));
        task
    }

    fn value(task: &MiroirTask) -> Value {
        serde_json::from_str(&line(task).unwrap()).unwrap()
    }

    #[test]
    fn a_task_that_has_ended_is_a_line_and_one_that_goes_on_is_none() {
        let mut task =
            ended(TaskKind::DocumentAdditionOrUpdate, json!({"receivedDocuments": 3, "indexedDocuments": 2}));
        task.custom_metadata = Some("mine".to_owned());
        let expected = json!({
            "uid": 7, "batchUid": null, "indexUid": "movies", "status": "succeeded",
            "type": {"documentImport": {"primary_key": null, "method": "ReplaceDocuments", "documents_count": 3, "allow_index_creation": true}},
            "details": {"DocumentAdditionOrUpdate": {"received_documents": 3, "indexed_documents": 2}},
            "enqueuedAt": "2026-01-02T03:04:05Z", "finishedAt": "2026-01-02T03:04:06Z", "customMetadata": "mine",
        });
        assert_eq!(value(&task), expected);
        task.status = TaskStatus::Failed;
        task.error = Some(ResponseError::new(Code::IndexNotFound, "Index `movies` not found."));
        assert_eq!(value(&task)["error"]["code"], "index_not_found");
        task.status = TaskStatus::Processing;
        assert_eq!(line(&task), None);
    }

    #[test]
    fn deletions_are_told_apart_by_their_details() {
        let kind = |details: Value| value(&ended(TaskKind::DocumentDeletion, details))["type"].clone();
        let by_filter = json!({"providedIds": 0, "originalFilter": "\"a = 1\"", "deletedDocuments": 2});
        assert_eq!(kind(by_filter), json!({"documentDeletionByFilter": {"filter": "a = 1"}}));
        let by_ids = json!({"providedIds": 2, "originalFilter": null, "deletedDocuments": 2});
        assert_eq!(kind(by_ids), json!({"documentDeletion": {"documents_ids": []}}));
        assert_eq!(kind(json!({"deletedDocuments": 9})), "documentClear");
    }
}
