//! What this room holds: the works that wait, and what carrying them out takes.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;

use super::settings::DumpSettings;
use crate::meili::error::ResponseError;
use crate::plan::work::Work;
use crate::read::Reads;
use crate::tasks::entry::MiroirTask;
use crate::tracking::task_ops;
use crate::tracking::works::Cancelation;
use crate::write::Writes;

/// Carries out dumps and exports.
pub struct Dumps {
    pub(super) reads: Arc<Reads>,
    pub(super) writes: Arc<Writes>,
    pub(super) settings: DumpSettings,
    waiting: Mutex<VecDeque<(MiroirTask, Cancelation)>>,
    due: Notify,
}

// === impl Dumps ===

impl Dumps {
    /// Without a task to carry out.
    pub fn new(reads: Arc<Reads>, writes: Arc<Writes>, settings: DumpSettings) -> Arc<Self> {
        Arc::new(Self { reads, writes, settings, waiting: Mutex::default(), due: Notify::new() })
    }

    /// Where dumps are.
    pub fn folder(&self) -> &Path {
        &self.settings.dir
    }

    /// A new task, carried out after those before it. Returns once its row is durable.
    pub async fn submit(&self, work: &Work) -> Result<MiroirTask, ResponseError> {
        let tracking = &self.writes.tracking;
        let mut task = task_ops::own_task(tracking, work.kind(), Vec::new());
        match work {
            Work::Dump => task.details = json!({ "dumpUid": null }).as_object().cloned(),
            Work::Snapshot => {}
            Work::Export(export) => {
                task.details = Some(export.details());
                task.request = Some(export.body());
            }
        }
        task_ops::insert(tracking, &task).await?;
        self.take_up(task.clone());
        Ok(task)
    }

    /// Lets a task whose row is stored wait for its turn, unless it does so already.
    pub(super) fn take_up(&self, task: MiroirTask) {
        if let Some(canceled) = self.writes.tracking.works.begin(task.uid) {
            self.waiting.lock().push_back((task, canceled));
            self.due.notify_one();
        }
    }

    /// The next one, once there is one.
    pub(super) async fn next(&self) -> (MiroirTask, Cancelation) {
        loop {
            if let Some(next) = self.waiting.lock().pop_front() {
                return next;
            }
            self.due.notified().await;
        }
    }
}
