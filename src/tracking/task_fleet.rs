//! Nodes that are made up, for the tests of the task loops and routes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::reconcile::Reconciler;
use super::task_host::{Polled, TaskHost};
use super::task_ops;
use super::works::Works;
use crate::meili::task::{TaskKind, TaskStatus};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::NodeId;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use crate::tasks::entry::{MiroirTask, NodeReport, NodeTask, NodeTaskState, Purpose};
use crate::tasks::filter::{IndexAccess, TaskRef};
use crate::tasks::view::UidFormat;

pub const NODES: [&str; 2] = ["a", "b"];

/// Two nodes whose tasks do what the test says.
pub struct Fleet {
    pub store: Arc<dyn Store>,
    pub reconciler: Reconciler,
    pub works: Works,
    pub next_uid: AtomicU32,
    pub tasks: Mutex<BTreeMap<(String, u32), NodeReport>>,
    pub silent: Mutex<BTreeSet<String>>,
    pub stamps: Mutex<BTreeMap<String, Vec<(String, u32)>>>,
    /// Status of the task's row at the moment of its end, and the status it ended with.
    pub ended: Mutex<Vec<(u32, TaskStatus, TaskStatus)>>,
}

impl Fleet {
    pub fn new() -> Arc<Self> {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(":memory:", 8).unwrap());
        Self::over(store, 0)
    }

    pub fn over(store: Arc<dyn Store>, next_uid: u32) -> Arc<Self> {
        Arc::new(Self {
            reconciler: Reconciler::new(store.clone(), &prometheus::Registry::new()).unwrap(),
            works: Works::default(),
            store,
            next_uid: AtomicU32::new(next_uid),
            tasks: Mutex::default(),
            silent: Mutex::default(),
            stamps: Mutex::default(),
            ended: Mutex::default(),
        })
    }

    pub fn say(&self, node: &str, task_uid: u32, state: NodeTaskState) {
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

    pub fn silence(&self, node: &str, silent: bool) {
        let mut nodes = self.silent.lock();
        if silent {
            nodes.insert(node.to_owned())
        } else {
            nodes.remove(node)
        };
    }

    /// A task that both nodes have taken as their task `10 + uid`, with one shard on both.
    pub async fn accepted(self: &Arc<Self>, state: NodeTaskState) -> MiroirTask {
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
    pub async fn watched(self: &Arc<Self>, states: &[NodeTaskState]) {
        for state in states {
            let task = self.accepted(*state).await;
            self.reconciler.watch(self, task);
        }
    }

    pub async fn unsent(self: &Arc<Self>) -> MiroirTask {
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

    pub async fn row(&self, uid: u32) -> MiroirTask {
        self.store.get_task(TaskRef::Uid(uid)).await.unwrap().unwrap()
    }

    pub async fn view(self: &Arc<Self>, uid: u32) -> Value {
        task_ops::get(self, TaskRef::Uid(uid), IndexAccess::All, UidFormat::Integer).await.unwrap()
    }

    /// Waits for a task that no poll follows: a cancelation or deletion.
    pub async fn finished(&self, uid: u32) -> MiroirTask {
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

    fn works(&self) -> &Works {
        &self.works
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
