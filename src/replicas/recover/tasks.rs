//! The task table, rebuilt from the stamps that the nodes' tasks carry. Pure.

use std::collections::BTreeMap;

use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::meili::task::TaskStatus;
use crate::nodes::client::TaskStatusResponse;
use crate::nodes::stamp::{Origin, Stamped, origin};
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeId;
use crate::tasks::entry::{MiroirTask, NodeTask, Purpose};
use crate::tasks::fold::fold;
use crate::tracking::task_host::report;

/// Counts that a fold fills in anew.
const FOLDED: [&str; 3] = ["indexedDocuments", "deletedDocuments", "editedDocuments"];

/// The newest of Miroir's tasks that a node has carried out on each index.
pub fn newest(tasks: &[TaskStatusResponse]) -> BTreeMap<String, Uuid> {
    let mut newest = BTreeMap::new();
    for task in tasks.iter().filter(|task| task.status == TaskStatus::Succeeded) {
        if let (Origin::Tasks(stamped), Some(index)) = (origin(task), &task.index_uid) {
            for Stamped { uuid, .. } in stamped {
                let known = newest.entry(index.clone()).or_insert(uuid);
                *known = uuid.max(*known);
            }
        }
    }
    newest
}

/// The tasks that the nodes know of, in the order in which they were made: their uuids say when. Each gets the next
/// integer, which need not be the one it had. `copies` is the replication factor.
pub fn rebuild(by_node: Vec<(NodeId, Vec<TaskStatusResponse>)>, copies: u8, now: OffsetDateTime) -> Vec<MiroirTask> {
    let mut parts: BTreeMap<Uuid, Vec<(NodeId, TaskStatusResponse)>> = BTreeMap::new();
    for (node, tasks) in by_node {
        for task in tasks {
            let Origin::Tasks(stamped) = origin(&task) else { continue };
            for Stamped { uuid, documents } in stamped {
                parts.entry(uuid).or_default().push((node.clone(), with_own_count(task.clone(), documents)));
            }
        }
    }
    let tasks = parts.into_iter().zip(0..).map(|((uuid, mut parts), uid)| {
        parts.sort_by(|left, right| (&left.0, left.1.uid).cmp(&(&right.0, right.1.uid)));
        let enqueued_at = parts.iter().filter_map(|(_, task)| task.enqueued_at).min().unwrap_or(now);
        let first = &parts[0].1;
        let mut task = MiroirTask::new(uid, first.kind, first.index_uid.clone(), enqueued_at);
        task.uuid = uuid;
        task.acknowledged = true;
        task.copies = copies.max(1);
        task.details = first.details.clone();
        if let Some(details) = &mut task.details {
            for name in FOLDED.iter().filter(|name| details.contains_key(**name)).collect::<Vec<_>>() {
                details.insert((*name).to_string(), Value::Null);
            }
            if details.contains_key("receivedDocuments") {
                let received = |task: &TaskStatusResponse| task.details.as_ref()?.get("receivedDocuments")?.as_u64();
                let sum: u64 = parts.iter().filter_map(|(_, task)| received(task)).sum();
                details.insert("receivedDocuments".to_owned(), sum.div_ceil(u64::from(copies.max(1))).into());
            }
        }
        for (node, response) in parts {
            let mut part = NodeTask::unsent(node, Purpose::Main, ShardSet::new());
            part.apply(report(response));
            task.parts.push(part);
        }
        fold(&mut task, now);
        task
    });
    tasks.collect()
}

/// What a node says of a task that several writes share, as far as it concerns one of them, which has so many of the documents.
fn with_own_count(mut task: TaskStatusResponse, documents: Option<u64>) -> TaskStatusResponse {
    if let (Some(details), Some(documents)) = (&mut task.details, documents) {
        details.insert("receivedDocuments".to_owned(), documents.into());
    }
    task
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::nodes::stamp::together;

    fn response(uid: u32, stamp: &str, status: &str, received: u64) -> TaskStatusResponse {
        serde_json::from_value(json!({
            "uid": uid, "indexUid": "a", "status": status, "type": "documentAdditionOrUpdate", "customMetadata": stamp,
            "details": {"receivedDocuments": received, "indexedDocuments": received},
            "enqueuedAt": "2026-01-01T00:00:00Z", "startedAt": "2026-01-01T00:00:01Z", "finishedAt": "2026-01-01T00:00:02Z",
        }))
        .unwrap()
    }

    #[test]
    fn parts_with_one_stamp_become_one_task_and_tasks_keep_their_order() {
        let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
        let stamp = |uuid: Uuid| format!("mtask-{uuid}");
        let one = vec![response(8, &stamp(second), "succeeded", 4), response(7, &stamp(first), "succeeded", 6)];
        let other = vec![response(3, &stamp(first), "succeeded", 4), response(9, "miroir-copy", "succeeded", 9)];
        assert_eq!(newest(&one)["a"], second);
        assert_eq!(newest(&other)["a"], first);
        let by_node = vec![(NodeId::new("n0"), one), (NodeId::new("n1"), other)];
        let tasks = rebuild(by_node, 2, OffsetDateTime::now_utc());
        assert_eq!(tasks.iter().map(|task| (task.uid, task.uuid)).collect::<Vec<_>>(), [(0, first), (1, second)]);
        assert!(tasks.iter().all(|task| task.status == TaskStatus::Succeeded && task.acknowledged));
        let details = tasks[0].details.as_ref().unwrap();
        assert_eq!((&details["receivedDocuments"], &details["indexedDocuments"]), (&json!(5), &json!(5)));
        assert_eq!(tasks[0].parts.iter().map(|part| part.task_uid).collect::<Vec<_>>(), [Some(7), Some(3)]);
    }

    #[test]
    fn writes_that_travelled_together_are_tasks_of_their_own_again() {
        let uuids = [Uuid::now_v7(), Uuid::now_v7()];
        let [first, second] = uuids.map(|uuid| format!("mtask-{uuid}"));
        let stamp = together([(first.as_str(), 1), (second.as_str(), 3)]);
        let by_node = vec![(NodeId::new("n0"), vec![response(1, &stamp, "succeeded", 9)])];
        assert_eq!(newest(&by_node[0].1)["a"], uuids[1]);
        let tasks = rebuild(by_node, 1, OffsetDateTime::now_utc());
        let received = |task: &MiroirTask| task.details.as_ref().unwrap()["receivedDocuments"].clone();
        assert_eq!(
            tasks.iter().map(|task| (task.uuid, received(task))).collect::<Vec<_>>(),
            [(uuids[0], json!(1)), (uuids[1], json!(3))]
        );
    }

    #[test]
    fn a_part_that_has_not_ended_keeps_its_task_open() {
        let uuid = Uuid::now_v7();
        let stamp = format!("mtask-{uuid}");
        let by_node = vec![
            (NodeId::new("n0"), vec![response(1, &stamp, "succeeded", 1)]),
            (NodeId::new("n1"), vec![response(1, &stamp, "enqueued", 1)]),
        ];
        assert!(!rebuild(by_node, 2, OffsetDateTime::now_utc())[0].status.is_final());
    }
}
