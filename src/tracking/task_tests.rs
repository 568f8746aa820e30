//! The task loops and routes against nodes that are made up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::reconcile::Reconciler;
use super::resume::resume;
use super::task_host::{Polled, TaskHost};
use super::task_ops;
use crate::meili::task::{TaskKind, TaskStatus};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::NodeId;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use crate::tasks::entry::{Company, MiroirTask, NodeReport, NodeTask, NodeTaskState, Purpose};
use crate::tasks::filter::{IndexAccess, TaskRef};
use crate::tasks::view::UidFormat;

const NODES: [&str; 2] = ["a", "b"];

/// Two nodes whose tasks do what the test says.
struct Fleet {
    store: Arc<dyn Store>,
    reconciler: Reconciler,
    next_uid: AtomicU32,
    tasks: Mutex<BTreeMap<(String, u32), NodeReport>>,
    silent: Mutex<BTreeSet<String>>,
    stamps: Mutex<BTreeMap<String, Vec<(String, u32)>>>,
    /// Status of the task's row at the moment of its end, and the status it ended with.
    ended: Mutex<Vec<(u32, TaskStatus, TaskStatus)>>,
}

impl Fleet {
    fn new() -> Arc<Self> {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(":memory:", 8).unwrap());
        Self::over(store, 0)
    }

    fn over(store: Arc<dyn Store>, next_uid: u32) -> Arc<Self> {
        Arc::new(Self {
            reconciler: Reconciler::new(store.clone(), &prometheus::Registry::new()).unwrap(),
            store,
            next_uid: AtomicU32::new(next_uid),
            tasks: Mutex::default(),
            silent: Mutex::default(),
            stamps: Mutex::default(),
            ended: Mutex::default(),
        })
    }

    fn say(&self, node: &str, task_uid: u32, state: NodeTaskState) {
        let report = NodeReport {
            task_uid,
            is_shared: false,
            kind: TaskKind::DocumentAdditionOrUpdate,
            state,
            details: None,
            error: None,
            started_at: None,
            finished_at: None,
        };
        self.tasks.lock().insert((node.to_owned(), task_uid), report);
    }

    fn silence(&self, node: &str, silent: bool) {
        let mut nodes = self.silent.lock();
        if silent {
            nodes.insert(node.to_owned())
        } else {
            nodes.remove(node)
        };
    }

    /// A task that both nodes have taken as their task `10 + uid`, with one shard on both.
    async fn accepted(self: &Arc<Self>, state: NodeTaskState) -> MiroirTask {
        let mut task = self.unsent().await;
        for part in &mut task.parts {
            part.state = NodeTaskState::Enqueued;
            part.task_uid = Some(10 + task.uid);
            self.say(part.node.as_str(), 10 + task.uid, state);
        }
        task.acknowledged = true;
        self.store.update_task(task.clone()).await.unwrap();
        task
    }

    /// A task for each of `states`, all of them followed.
    async fn watched(self: &Arc<Self>, states: &[NodeTaskState]) {
        for state in states {
            let task = self.accepted(*state).await;
            self.reconciler.watch(self, task);
        }
    }

    async fn unsent(self: &Arc<Self>) -> MiroirTask {
        let index = Some("cities".to_owned());
        let mut task =
            MiroirTask::new(self.next_uid(), TaskKind::DocumentAdditionOrUpdate, index, OffsetDateTime::now_utc());
        task.details = json!({ "receivedDocuments": 4, "indexedDocuments": null }).as_object().cloned();
        let shards: ShardSet = [ShardId(1)].into_iter().collect();
        task.parts =
            NODES.iter().map(|node| NodeTask::unsent(NodeId::new(node), Purpose::Main, shards.clone())).collect();
        self.store.insert_task(task.clone()).await.unwrap();
        task
    }

    async fn row(&self, uid: u32) -> MiroirTask {
        self.store.get_task(TaskRef::Uid(uid)).await.unwrap().unwrap()
    }

    async fn view(self: &Arc<Self>, uid: u32) -> Value {
        task_ops::get(self, &uid.to_string(), IndexAccess::All, UidFormat::Integer).await.unwrap()
    }

    /// Waits for a task that no poll follows: a cancelation or deletion.
    async fn finished(&self, uid: u32) -> MiroirTask {
        loop {
            let task = self.row(uid).await;
            if task.status.is_final() {
                return task;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

#[async_trait]
impl TaskHost for Fleet {
    fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn reconciler(&self) -> &Reconciler {
        &self.reconciler
    }

    fn next_uid(&self) -> u32 {
        self.next_uid.fetch_add(1, Ordering::Relaxed)
    }

    fn knows(&self, node: &NodeId) -> bool {
        NODES.contains(&node.as_str())
    }

    async fn poll(&self, node: &NodeId, task_uid: u32) -> Polled {
        if !self.knows(node) {
            return Polled::Gone;
        }
        if self.silent.lock().contains(node.as_str()) {
            return Polled::Unreachable;
        }
        let tasks = self.tasks.lock();
        tasks.get(&(node.as_str().to_owned(), task_uid)).cloned().map_or(Polled::Unknown, Polled::Known)
    }

    async fn find(&self, node: &NodeId, stamp: &str) -> Option<Vec<NodeReport>> {
        if !self.knows(node) || self.silent.lock().contains(node.as_str()) {
            return None;
        }
        let stamps = self.stamps.lock();
        let tasks = self.tasks.lock();
        let keys = stamps.get(stamp).into_iter().flatten().filter(|(owner, _)| owner == node.as_str());
        Some(keys.filter_map(|key| tasks.get(key).cloned()).collect())
    }

    async fn cancel(&self, node: &NodeId, task_uids: &[u32]) -> Option<u32> {
        if self.silent.lock().contains(node.as_str()) {
            return None;
        }
        for uid in task_uids {
            if let Some(task) = self.tasks.lock().get_mut(&(node.as_str().to_owned(), *uid))
                && !task.state.is_final()
            {
                task.state = NodeTaskState::Canceled;
            }
        }
        self.say(node.as_str(), 900, NodeTaskState::Succeeded);
        Some(900)
    }

    async fn ended(self: Arc<Self>, task: &mut MiroirTask) {
        let row = self.row(task.uid).await;
        self.ended.lock().push((task.uid, row.status, task.status));
    }
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

#[tokio::test(start_paused = true)]
async fn a_silent_node_shows_in_the_task_until_it_answers_again() {
    let fleet = Fleet::new();
    let task = fleet.accepted(NodeTaskState::Succeeded).await;
    fleet.silence("b", true);
    fleet.reconciler.watch(&fleet, task);
    fleet.reconciler.poll_now(0).await;
    let view = fleet.view(0).await;
    assert_eq!((&view["status"], &view["details"]["unreachableNodes"]), (&json!("processing"), &json!(["b"])));
    let list = task_ops::list(&fleet, "", IndexAccess::All, UidFormat::Integer).await.unwrap();
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
    let summary = task_ops::cancel(&fleet, "uids=0,1,2", IndexAccess::All, UidFormat::Integer).await.unwrap();
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
    let list = task_ops::list(&fleet, "canceledBy=3", IndexAccess::All, UidFormat::Integer).await.unwrap();
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
    task_ops::cancel(&fleet, "uids=0", IndexAccess::All, UidFormat::Integer).await.unwrap();
    assert_eq!(fleet.finished(2).await.details.unwrap()["canceledTasks"], 0);
    assert_eq!(
        (&fleet.view(0).await["status"], &fleet.view(1).await["status"]),
        (&json!("enqueued"), &json!("enqueued"))
    );
    task_ops::cancel(&fleet, "uids=0,1", IndexAccess::All, UidFormat::Integer).await.unwrap();
    assert_eq!(fleet.finished(3).await.details.unwrap()["canceledTasks"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_cancelation_does_not_wait_for_a_node_that_is_away() {
    let fleet = Fleet::new();
    let task = fleet.accepted(NodeTaskState::Processing).await;
    fleet.reconciler.watch(&fleet, task);
    fleet.silence("b", true);
    task_ops::cancel(&fleet, "statuses=*", IndexAccess::All, UidFormat::Integer).await.unwrap();
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
    task_ops::delete(&fleet, "types=*", IndexAccess::All, UidFormat::Integer).await.unwrap();
    let details = json!({ "matchedTasks": 2, "deletedTasks": 1, "originalFilter": "?types=*" });
    assert_eq!(Value::Object(fleet.finished(2).await.details.unwrap()), details);
    let error = task_ops::get(&fleet, "0", IndexAccess::All, UidFormat::Integer).await.unwrap_err();
    assert_eq!((error.status, error.message.as_str()), (404, "Task `0` not found."));
    assert_eq!(fleet.view(1).await["status"], "enqueued");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_of_tasks_waits_for_what_nodes_work_on() {
    let fleet = Fleet::new();
    fleet.watched(&[NodeTaskState::Processing, NodeTaskState::Enqueued]).await;
    fleet.reconciler.poll_now(0).await;
    task_ops::delete(&fleet, "types=*", IndexAccess::All, UidFormat::Integer).await.unwrap();
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
    task_ops::delete(&fleet, "types=*", IndexAccess::All, UidFormat::Integer).await.unwrap();
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
    task_ops::delete(&fleet, "types=*", IndexAccess::All, UidFormat::Integer).await.unwrap();
    assert_eq!(fleet.finished(1).await.details.unwrap()["deletedTasks"], 0);
    assert_eq!(fleet.view(0).await["status"], "processing");
}

#[tokio::test(start_paused = true)]
async fn a_running_task_is_canceled_before_it_is_deleted() {
    let fleet = Fleet::new();
    let task = fleet.accepted(NodeTaskState::Processing).await;
    fleet.reconciler.watch(&fleet, task.clone());
    let summary = task_ops::delete_one(&fleet, &task.id(), IndexAccess::All, UidFormat::Integer).await.unwrap();
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
    let get = async |access| task_ops::get(&fleet, "0", access, UidFormat::Integer).await;
    assert!(get(only("cit*")).await.is_ok());
    assert_eq!(get(only("towns")).await.unwrap_err().code, "task_not_found");
    let list = task_ops::list(&fleet, "", only("towns"), UidFormat::Integer).await.unwrap();
    assert_eq!(list, json!({ "results": [], "total": 0, "limit": 20, "from": null, "next": null }));
    assert_eq!(
        task_ops::delete_one(&fleet, "0", only("towns"), UidFormat::Integer).await.unwrap_err().code,
        "task_not_found"
    );
}
