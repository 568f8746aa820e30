//! The durable queue of tasks: accepted in order, run in order, one batch at a time.
//!
//! | module | what lives there |
//! |---|---|
//! | `filter` | which tasks a request means |
//! | `scheduler` | the one thread that runs tasks |
//! | `store` | the queue's rows in SQLite |
//! | `task` | what a task is to do, and how far it is |
//! | `view` | tasks and batches as the API shows them |

pub mod filter;
pub mod scheduler;
pub mod store;
pub mod task;
pub mod view;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

use self::filter::{TaskFilter, TaskPage};
use self::store::{QueueError, TaskStore};
use self::task::{Task, TaskContent};
use super::payload::PayloadStore;
use crate::error::{Code, ResponseError};

/// The queue of a node.
pub struct Queue {
    pub store: TaskStore,
    pub payloads: PayloadStore,
    /// Guards what the scheduler's thread and the requests tell each other.
    signals: Mutex<Signals>,
    /// Told whenever `signals` changes.
    changed: Condvar,
    /// Asks the running batch to stop without committing.
    must_stop: AtomicBool,
}

/// What the scheduler's thread and the requests tell each other.
#[derive(Debug, Default)]
struct Signals {
    work: bool,
    closing: bool,
    running: BTreeSet<u32>,
    running_index: Option<String>,
}

/// Why a data folder's queue could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenQueueError {
    #[error(transparent)]
    Tasks(#[from] QueueError),
    #[error("the folder of payloads failed: {0}")]
    Payloads(#[from] std::io::Error),
}

// === impl Queue ===

impl Queue {
    pub fn open(data_dir: &Path) -> Result<Self, OpenQueueError> {
        let store = TaskStore::open(&data_dir.join("tasks.db"))?;
        let payloads = PayloadStore::open(data_dir.join("payloads"), &store.needed_payloads()?)?;
        Ok(Self {
            store,
            payloads,
            // Tasks of an earlier run may be waiting.
            signals: Mutex::new(Signals { work: true, ..Signals::default() }),
            changed: Condvar::new(),
            must_stop: AtomicBool::new(false),
        })
    }

    /// Accepts a task; durable when this is back. Blocks on the disk.
    pub fn register(
        &self,
        index_uid: Option<String>,
        content: TaskContent,
        custom_metadata: Option<String>,
    ) -> Result<Task, ResponseError> {
        let task = self.store.register(index_uid, content, custom_metadata)?;
        let mut signals = self.signals.lock();
        if let TaskContent::TaskCancelation { tasks, .. } = &task.content
            && tasks.iter().any(|uid| signals.running.contains(uid))
        {
            self.must_stop.store(true, Ordering::Release);
        }
        signals.work = true;
        self.changed.notify_all();
        Ok(task)
    }

    /// The task `uid`, or `task_not_found`.
    pub fn get(&self, uid: u32, filter: TaskFilter) -> Result<Task, ResponseError> {
        let filter = TaskFilter { uids: Some(vec![uid]), ..filter };
        let (mut tasks, _) = self.store.list(&filter, TaskPage { limit: 1, from: None, reverse: false })?;
        tasks.pop().ok_or_else(|| ResponseError::new(Code::TaskNotFound, format!("Task `{uid}` not found.")))
    }

    /// True while a task of the index runs.
    pub fn is_indexing(&self, index: &str) -> bool {
        self.signals.lock().running_index.as_deref() == Some(index)
    }

    /// The index that is being changed now.
    pub fn running_index(&self) -> Option<String> {
        self.signals.lock().running_index.clone()
    }

    /// Lets the scheduler's thread end; a running batch stops without committing and runs again at the next start.
    pub fn close(&self) {
        self.signals.lock().closing = true;
        self.must_stop.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    /// Waits until the task has ended.
    #[cfg(test)]
    pub fn wait_for(&self, uid: u32) -> Task {
        let mut signals = self.signals.lock();
        loop {
            let task = self.get(uid, TaskFilter::default()).unwrap();
            if task.status.is_final() {
                return task;
            }
            let waited = self.changed.wait_for(&mut signals, std::time::Duration::from_secs(60));
            assert!(!waited.timed_out(), "task {uid} is still {}", task.status.as_str());
        }
    }
}

// === impl errors ===

impl From<QueueError> for ResponseError {
    fn from(error: QueueError) -> Self {
        tracing::error!(%error, "the task queue failed");
        ResponseError::new(Code::Internal, error.to_string())
    }
}
