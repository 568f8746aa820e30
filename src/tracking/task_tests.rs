//! The task loops and routes against nodes that are made up.

use std::sync::Arc;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::resume::resume;
use super::task_ops;
use crate::meili::error::ResponseError;
use crate::meili::task::{TaskKind, TaskStatus};
use crate::placement::topology::NodeId;
use crate::tasks::entry::{Company, MiroirTask, NodeTaskState};
use crate::tasks::filter::{IndexAccess, TaskRef};
use crate::tasks::query::{Asking, parse_cancel, parse_delete, parse_list};
use crate::tasks::view::UidFormat;

use super::task_fleet::{Fleet, NODES};

fn asked_by(access: IndexAccess) -> Asking {
    Asking { access, release: (1, 15) }
}

/// `GET /tasks` of a client that may see all.
async fn list(fleet: &Arc<Fleet>, query: &str) -> Result<Value, ResponseError> {
    task_ops::list(fleet, parse_list(query, asked_by(IndexAccess::All))?, UidFormat::Integer).await
}

/// `POST /tasks/cancel` of the same.
async fn cancel(fleet: &Arc<Fleet>, query: &str) -> Result<Value, ResponseError> {
    task_ops::cancel(fleet, parse_cancel(query, asked_by(IndexAccess::All))?, query, UidFormat::Integer).await
}

/// `DELETE /tasks` of the same.
async fn delete(fleet: &Arc<Fleet>, query: &str) -> Result<Value, ResponseError> {
    task_ops::delete(fleet, parse_delete(query, asked_by(IndexAccess::All))?, query, UidFormat::Integer).await
}

#[tokio::test(start_paused = true)]
async fn a_task_is_polled_to_its_end_and_what_follows_comes_before_its_row_says_so() {
    let fleet = Fleet::new();
    let task = fleet.accepted(NodeTaskState::Processing).await;
    fleet.reconciler.watch(&fleet, task.clone());
    fleet.reconciler.poll_now(0).await;
    assert_eq!(fleet.row(0).await.status, TaskStatus::Processing);
    fleet.say("a", 10, NodeTaskState::Succeeded);
    fleet.say("b", 10, NodeTaskState::Succeeded);
    fleet.reconciler.ended(0).await;
    let row = fleet.row(0).await;
    assert_eq!(row.status, TaskStatus::Succeeded);
    assert_eq!(row.details.unwrap()["indexedDocuments"], 4);
    assert_eq!(*fleet.ended.lock(), [(0, TaskStatus::Processing, TaskStatus::Succeeded)]);
    assert_eq!(fleet.reconciler.live(TaskRef::Uid(0)), None);
}

/// Whether the tasks have ended, as their rows say.
async fn have_ended(fleet: &Arc<Fleet>, uids: &[u32]) -> Vec<bool> {
    let mut ended = Vec::new();
    for uid in uids {
        ended.push(fleet.row(*uid).await.status.is_final());
    }
    ended
}

#[tokio::test(start_paused = true)]
async fn tasks_of_an_index_end_in_their_order() {
    let fleet = Fleet::new();
    fleet.watched(&[NodeTaskState::Processing, NodeTaskState::Succeeded, NodeTaskState::Failed]).await;
    for uid in [2, 1, 2] {
        fleet.reconciler.poll_now(uid).await;
    }
    assert_eq!(have_ended(&fleet, &[0, 1, 2]).await, [false; 3], "those behind the first wait for it");
    let view = fleet.view(1).await;
    assert_eq!((&view["status"], &view["finishedAt"]), (&json!("enqueued"), &Value::Null));
    for node in NODES {
        fleet.say(node, 10, NodeTaskState::Succeeded);
    }
    fleet.reconciler.ended(2).await;
    assert_eq!(have_ended(&fleet, &[0, 1, 2]).await, [true; 3]);
    let ended: Vec<u32> = fleet.ended.lock().iter().map(|(uid, ..)| *uid).collect();
    assert_eq!(ended, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_nodes_that_cannot_be_reached_nor_a_canceled_task_for_anybody() {
    let fleet = Fleet::new();
    fleet.watched(&[NodeTaskState::Processing, NodeTaskState::Canceled, NodeTaskState::Succeeded]).await;
    fleet.reconciler.ended(1).await;
    assert_eq!(have_ended(&fleet, &[0, 1, 2]).await, [false, true, false]);
    // Its own nodes have said that it is done.
    fleet.reconciler.poll_now(2).await;
    NODES.iter().for_each(|node| fleet.silence(node, true));
    fleet.reconciler.ended(2).await;
    assert_eq!(have_ended(&fleet, &[0, 1, 2]).await, [false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_shows_in_the_task_until_it_answers_again() {
    let fleet = Fleet::new();
    let task = fleet.accepted(NodeTaskState::Succeeded).await;
    fleet.silence("b", true);
    fleet.reconciler.watch(&fleet, task);
    fleet.reconciler.poll_now(0).await;
    let view = fleet.view(0).await;
    assert_eq!((&view["status"], &view["details"]["unreachableNodes"]), (&json!("processing"), &json!(["b"])));
    let list = list(&fleet, "").await.unwrap();
    assert_eq!(list["results"][0], view);
    fleet.silence("b", false);
    fleet.reconciler.ended(0).await;
    assert_eq!(fleet.view(0).await["details"], json!({ "receivedDocuments": 4, "indexedDocuments": 4 }));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_know_its_task_loses_it() {
    let fleet = Fleet::new();
    let task = fleet.accepted(NodeTaskState::Succeeded).await;
    fleet.tasks.lock().remove(&("b".to_owned(), 10));
    fleet.reconciler.watch(&fleet, task);
    fleet.reconciler.ended(0).await;
    let row = fleet.row(0).await;
    assert_eq!((row.status, row.parts[1].state), (TaskStatus::Succeeded, NodeTaskState::Lost));
}

#[tokio::test(start_paused = true)]
async fn a_task_on_a_node_that_left_the_cluster_is_lost() {
    let fleet = Fleet::new();
    let mut task = fleet.accepted(NodeTaskState::Succeeded).await;
    task.parts.remove(0);
    task.parts[0].node = NodeId::new("gone");
    fleet.reconciler.watch(&fleet, task);
    fleet.reconciler.ended(0).await;
    let error = fleet.row(0).await.error.unwrap();
    assert_eq!(error.code, "miroir_node_unavailable");
}

#[tokio::test(start_paused = true)]
async fn the_next_run_leaves_unacknowledged_documents_to_those_who_decide_about_them() {
    let fleet = Fleet::new();
    fleet.unsent().await;
    let fleet = Fleet::over(fleet.store.clone(), 1);
    assert_eq!(resume(&fleet).await.unwrap(), 0);
    assert_eq!(fleet.row(0).await.status, TaskStatus::Enqueued);
}

#[tokio::test(start_paused = true)]
async fn the_next_run_takes_up_what_this_one_left() {
    let fleet = Fleet::new();
    fleet.accepted(NodeTaskState::Succeeded).await;
    let mut crashed = fleet.unsent().await;
    crashed.kind = TaskKind::SettingsUpdate;
    fleet.store.update_task(crashed.clone()).await.unwrap();

    let fleet = Fleet::over(fleet.store.clone(), 2);
    for node in NODES {
        fleet.say(node, 10, NodeTaskState::Succeeded);
    }
    // Node a had taken the second task, its answer came too late; node b never saw it, and sleeps for now.
    fleet.say("a", 33, NodeTaskState::Succeeded);
    fleet.tasks.lock().get_mut(&("a".to_owned(), 33)).unwrap().kind = TaskKind::SettingsUpdate;
    fleet.stamps.lock().insert(crashed.id(), vec![("a".to_owned(), 33)]);
    fleet.silence("b", true);
    assert_eq!(resume(&fleet).await.unwrap(), 2);
    fleet.reconciler.poll_now(1).await;
    fleet.reconciler.poll_now(1).await;
    let parts = fleet.reconciler.live(TaskRef::Uid(1)).unwrap().parts;
    assert_eq!((parts[0].task_uid, parts[1].state), (Some(33), NodeTaskState::Unsent));
    fleet.silence("b", false);
    fleet.reconciler.ended(0).await;
    fleet.reconciler.ended(1).await;
    assert_eq!(fleet.row(0).await.status, TaskStatus::Succeeded);
    let row = fleet.row(1).await;
    assert_eq!((row.status, row.parts[1].state), (TaskStatus::Succeeded, NodeTaskState::Lost));
    assert_eq!(resume(&fleet).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelation_ends_tasks_and_counts_them() {
    let fleet = Fleet::new();
    for state in [NodeTaskState::Succeeded, NodeTaskState::Enqueued, NodeTaskState::Processing] {
        let task = fleet.accepted(state).await;
        fleet.reconciler.watch(&fleet, task);
    }
    fleet.reconciler.ended(0).await;
    let summary = cancel(&fleet, "uids=0,1,2").await.unwrap();
    assert_eq!(
        (&summary["taskUid"], &summary["status"], &summary["type"]),
        (&json!(3), &json!("enqueued"), &json!("taskCancelation"))
    );
    let cancelation = fleet.finished(3).await;
    let details = json!({ "matchedTasks": 3, "canceledTasks": 2, "originalFilter": "?uids=0,1,2" });
    assert_eq!(Value::Object(cancelation.details.unwrap()), details);
    for uid in [1, 2] {
        let view = fleet.view(uid).await;
        assert_eq!((&view["status"], &view["canceledBy"]), (&json!("canceled"), &json!(3)));
        assert_eq!(view["details"]["indexedDocuments"], 0);
    }
    let list = list(&fleet, "canceledBy=3").await.unwrap();
    assert_eq!((&list["total"], &list["from"], &list["next"]), (&json!(2), &json!(2), &json!(null)));
}

#[tokio::test(start_paused = true)]
async fn what_others_want_as_well_is_not_canceled() {
    let fleet = Fleet::new();
    for (other, state) in [(1, NodeTaskState::Enqueued), (0, NodeTaskState::Enqueued)] {
        let mut task = fleet.accepted(state).await;
        // Both travelled to node `b` as its task 50; on `a` each has its own.
        task.parts[1].task_uid = Some(50);
        task.parts[1].company = Company::Tasks(vec![other]);
        fleet.say("b", 50, NodeTaskState::Enqueued);
        fleet.reconciler.watch(&fleet, task);
    }
    cancel(&fleet, "uids=0").await.unwrap();
    assert_eq!(fleet.finished(2).await.details.unwrap()["canceledTasks"], 0);
    assert_eq!(
        (&fleet.view(0).await["status"], &fleet.view(1).await["status"]),
        (&json!("enqueued"), &json!("enqueued"))
    );
    cancel(&fleet, "uids=0,1").await.unwrap();
    assert_eq!(fleet.finished(3).await.details.unwrap()["canceledTasks"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_cancelation_does_not_wait_for_a_node_that_is_away() {
    let fleet = Fleet::new();
    let task = fleet.accepted(NodeTaskState::Processing).await;
    fleet.reconciler.watch(&fleet, task);
    fleet.silence("b", true);
    cancel(&fleet, "statuses=*").await.unwrap();
    assert_eq!(fleet.finished(1).await.details.unwrap()["canceledTasks"], 0);
    fleet.silence("b", false);
    fleet.say("b", 10, NodeTaskState::Succeeded);
    fleet.reconciler.ended(0).await;
    let row = fleet.row(0).await;
    assert_eq!((row.status, row.canceled_by), (TaskStatus::Succeeded, None), "one replica carried it out");
}

#[tokio::test(start_paused = true)]
async fn only_tasks_that_ended_are_deleted() {
    let fleet = Fleet::new();
    fleet.watched(&[NodeTaskState::Succeeded, NodeTaskState::Enqueued]).await;
    fleet.reconciler.ended(0).await;
    delete(&fleet, "types=*").await.unwrap();
    let details = json!({ "matchedTasks": 2, "deletedTasks": 1, "originalFilter": "?types=*" });
    assert_eq!(Value::Object(fleet.finished(2).await.details.unwrap()), details);
    let error = task_ops::get(&fleet, TaskRef::Uid(0), IndexAccess::All, UidFormat::Integer).await.unwrap_err();
    assert_eq!((error.status, error.message.as_str()), (404, "Task `0` not found."));
    assert_eq!(fleet.view(1).await["status"], "enqueued");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_of_tasks_waits_for_what_nodes_work_on() {
    let fleet = Fleet::new();
    fleet.watched(&[NodeTaskState::Processing, NodeTaskState::Enqueued]).await;
    fleet.reconciler.poll_now(0).await;
    delete(&fleet, "types=*").await.unwrap();
    for _ in 0..3 {
        fleet.reconciler.poll_now(0).await;
        assert!(!fleet.row(2).await.status.is_final());
    }
    NODES.iter().for_each(|node| fleet.say(node, 10, NodeTaskState::Succeeded));
    assert_eq!(fleet.finished(2).await.details.unwrap()["deletedTasks"], 1);
    assert_eq!(fleet.store.get_task(TaskRef::Uid(0)).await.unwrap(), None);
    assert_eq!(fleet.view(1).await["status"], "enqueued");
}

#[tokio::test(start_paused = true)]
async fn what_nodes_would_begin_with_at_once_comes_before_a_deletion_of_tasks() {
    let fleet = Fleet::new();
    fleet.watched(&[NodeTaskState::Enqueued; 2]).await;
    delete(&fleet, "types=*").await.unwrap();
    NODES.iter().for_each(|node| fleet.say(node, 10, NodeTaskState::Processing));
    for _ in 0..3 {
        fleet.reconciler.poll_now(0).await;
        assert!(!fleet.row(2).await.status.is_final());
    }
    NODES.iter().for_each(|node| fleet.say(node, 10, NodeTaskState::Succeeded));
    assert_eq!(fleet.finished(2).await.details.unwrap()["deletedTasks"], 1);
    assert_eq!(fleet.view(1).await["status"], "enqueued");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_of_tasks_does_not_wait_for_a_node_that_is_away() {
    let fleet = Fleet::new();
    let task = fleet.accepted(NodeTaskState::Processing).await;
    fleet.silence("b", true);
    fleet.reconciler.watch(&fleet, task);
    fleet.reconciler.poll_now(0).await;
    delete(&fleet, "types=*").await.unwrap();
    assert_eq!(fleet.finished(1).await.details.unwrap()["deletedTasks"], 0);
    assert_eq!(fleet.view(0).await["status"], "processing");
}

#[tokio::test(start_paused = true)]
async fn a_running_task_is_canceled_before_it_is_deleted() {
    let fleet = Fleet::new();
    let task = fleet.accepted(NodeTaskState::Processing).await;
    fleet.reconciler.watch(&fleet, task.clone());
    let summary =
        task_ops::delete_one(&fleet, (TaskRef::Uuid(task.uuid), &task.id()), IndexAccess::All, UidFormat::Integer)
            .await
            .unwrap();
    assert_eq!(summary["type"], "taskDeletion");
    let deletion = fleet.finished(1).await;
    assert_eq!(deletion.details.unwrap()["deletedTasks"], 1);
    let ended: Vec<_> = fleet.ended.lock().iter().map(|(uid, _, status)| (*uid, *status)).collect();
    assert_eq!(ended, [(0, TaskStatus::Canceled)]);
    assert_eq!(fleet.store.get_task(TaskRef::Uid(0)).await.unwrap(), None);
    assert_eq!(fleet.view(1).await["canceledBy"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn cancelations_and_deletions_of_the_last_run_are_carried_on() {
    let fleet = Fleet::new();
    let task = fleet.accepted(NodeTaskState::Processing).await;
    let mut cancelation = MiroirTask::new(1, TaskKind::TaskCancelation, None, OffsetDateTime::now_utc());
    cancelation.details =
        json!({ "matchedTasks": 1, "canceledTasks": null, "originalFilter": "?uids=0" }).as_object().cloned();
    cancelation.subjects = vec![task.uid];
    fleet.store.insert_task(cancelation).await.unwrap();
    assert_eq!(resume(&fleet).await.unwrap(), 2);
    assert_eq!(fleet.finished(1).await.details.unwrap()["canceledTasks"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_restricted_client_does_not_learn_of_other_indexes_tasks() {
    let fleet = Fleet::new();
    fleet.accepted(NodeTaskState::Enqueued).await;
    let only = |index: &str| IndexAccess::Only(vec![index.to_owned()]);
    let get = async |access| task_ops::get(&fleet, TaskRef::Uid(0), access, UidFormat::Integer).await;
    assert!(get(only("cit*")).await.is_ok());
    assert_eq!(get(only("towns")).await.unwrap_err().code, "task_not_found");
    let list =
        task_ops::list(&fleet, parse_list("", asked_by(only("towns"))).unwrap(), UidFormat::Integer).await.unwrap();
    assert_eq!(list, json!({ "results": [], "total": 0, "limit": 20, "from": null, "next": null }));
    assert_eq!(
        task_ops::delete_one(&fleet, (TaskRef::Uid(0), "0"), only("towns"), UidFormat::Integer).await.unwrap_err().code,
        "task_not_found"
    );
}
