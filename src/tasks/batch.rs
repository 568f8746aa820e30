//! Batches as the client sees them: each task that has begun is one of its own, with the tasks that it has canceled.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::entry::MiroirTask;
use super::filter::TaskList;
use super::view::{batch_of, details, index_of, rfc3339, span};
use crate::meili::task::TaskKind;

/// What is done in a batch, in the engine's words.
const STEP: &str = "processing tasks";

/// Why a batch holds no more tasks, in the words of an engine for which nothing else waits.
fn strategy(task: &MiroirTask) -> String {
    let kind = task.kind.as_str();
    match task.kind {
        TaskKind::IndexCreation
        | TaskKind::IndexUpdate
        | TaskKind::IndexSwap
        | TaskKind::DocumentEdition
        | TaskKind::TaskCancelation
        | TaskKind::DumpCreation
        | TaskKind::IndexCompaction
        | TaskKind::Export => {
            let id = task.uid;
            format!(
                "created batch containing only task with id {id} of type `{kind}` that cannot be batched with any other task."
            )
        }
        TaskKind::TaskDeletion | TaskKind::SnapshotCreation | TaskKind::UpgradeDatabase => {
            format!(
                "stopped after the last task of type `{kind}` because they cannot be batched with tasks of any other type."
            )
        }
        TaskKind::IndexDeletion => format!("stopped after task with id {} because it deletes the index", task.uid),
        TaskKind::NetworkTopologyChange => {
            format!("stopped after task with id {} because it is a network topology change task", task.uid)
        }
        TaskKind::DocumentAdditionOrUpdate
        | TaskKind::DocumentDeletion
        | TaskKind::SettingsUpdate
        | TaskKind::DsrUpdate
        | TaskKind::DsrClear => "batched all enqueued tasks".to_owned(),
    }
}

/// What `GET /batches/{id}` shows of the batch that `task` leads; `canceled` are the tasks that it has kept from beginning.
pub fn batch_view(task: &MiroirTask, canceled: &[MiroirTask]) -> Value {
    let members = || std::iter::once(task).chain(canceled.iter().filter(|other| other.uid != task.uid));
    let progress = if task.status.is_final() {
        Value::Null
    } else {
        let step = json!({ "currentStep": STEP, "finished": 0, "total": 1 });
        json!({ "steps": [step], "percentage": 0.0 })
    };
    let mut stats = json!({
        "totalNbTasks": members().count(),
        "status": counted(members().map(|task| task.status.as_str())),
        "types": counted(members().map(|task| task.kind.as_str())),
        "indexUids": counted(members().filter_map(index_of)),
    });
    // The one step that a batch of ours has; steps of nodes are those of their own batches.
    if let Some(took) = task.finished_at.map(|end| end - task.started_at.unwrap_or(task.enqueued_at)) {
        stats["progressTrace"] = json!({ STEP: format!("{:.2?}", took.unsigned_abs()) });
    }
    json!({
        "uid": task.uid,
        "progress": progress,
        "details": batch_details(task),
        "stats": stats,
        "duration": span(task.started_at, task.finished_at),
        "startedAt": rfc3339(task.started_at.unwrap_or(task.enqueued_at)),
        "finishedAt": task.finished_at.map(rfc3339),
        "batchStrategy": strategy(task),
    })
}

/// Whether the task has a batch of its own: one that was canceled before it began has none.
pub fn leads_batch(task: &MiroirTask) -> bool {
    batch_of(task) == Some(task.uid)
}

/// The engine reads the details of a batch that has ended from its disk, and what is null there is not shown, but for settings
/// that were reset.
fn batch_details(task: &MiroirTask) -> Map<String, Value> {
    let mut details = details(task).unwrap_or_default();
    if task.status.is_final() && task.kind != TaskKind::SettingsUpdate {
        details.retain(|_, value| !value.is_null());
    }
    details
}

/// What `GET /batches` shows; `views` are those of the tasks of `list`.
pub fn batches_view(list: &TaskList, views: Vec<Value>, limit: u32) -> Value {
    json!({
        "results": views,
        "total": list.total,
        "limit": limit,
        "from": list.tasks.first().map(|task| task.uid),
        "next": list.next.map(|key| key.uid),
    })
}

fn counted<'a>(names: impl Iterator<Item = &'a str>) -> Map<String, Value> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meili::task::TaskStatus;
    use crate::tasks::entry::NodeTaskState;
    use crate::tasks::fold::samples::{T0, folded, part};

    #[test]
    fn a_task_is_a_batch_of_its_own() {
        let task = folded(vec![part("a", &[1], NodeTaskState::Succeeded)]);
        assert_eq!(
            batch_view(&task, &[]).to_string(),
            r#"{"uid":3,"progress":null,"details":{"receivedDocuments":10,"indexedDocuments":10},"stats":{"totalNbTasks":1,"status":{"succeeded":1},"types":{"documentAdditionOrUpdate":1},"indexUids":{"cities":1},"progressTrace":{"processing tasks":"0.00ns"}},"duration":"PT0S","startedAt":"2026-01-02T03:04:06Z","finishedAt":"2026-01-02T03:04:06Z","batchStrategy":"batched all enqueued tasks"}"#
        );
    }

    #[test]
    fn a_batch_that_has_ended_shows_no_detail_that_is_null_but_settings() {
        let mut task = MiroirTask::new(9, TaskKind::IndexUpdate, None, T0);
        task.details = json!({"primaryKey": null, "newIndexUid": "b"}).as_object().cloned();
        assert_eq!(batch_view(&task, &[])["details"], json!({"primaryKey": null, "newIndexUid": "b"}));
        task.status = TaskStatus::Succeeded;
        assert_eq!(batch_view(&task, &[])["details"], json!({"newIndexUid": "b"}));
        (task.kind, task.details) = (TaskKind::SettingsUpdate, json!({"stopWords": null}).as_object().cloned());
        assert_eq!(batch_view(&task, &[])["details"], json!({"stopWords": null}));
    }

    #[test]
    fn a_cancelation_has_what_it_canceled_in_its_batch() {
        let mut cancelation = MiroirTask::new(9, TaskKind::TaskCancelation, None, T0);
        cancelation.status = TaskStatus::Processing;
        let mut canceled = folded(vec![part("a", &[1], NodeTaskState::Canceled)]);
        canceled.status = TaskStatus::Canceled;
        let view = batch_view(&cancelation, &[canceled, cancelation.clone()]);
        assert_eq!(view["stats"]["totalNbTasks"], 2);
        assert_eq!(view["stats"]["status"], json!({"canceled": 1, "processing": 1}));
        assert_eq!(view["stats"]["types"], json!({"documentAdditionOrUpdate": 1, "taskCancelation": 1}));
        assert_eq!(view["progress"]["percentage"], 0.0);
        assert_eq!(
            view["batchStrategy"],
            "created batch containing only task with id 9 of type `taskCancelation` that cannot be batched with any other task."
        );
    }
}
