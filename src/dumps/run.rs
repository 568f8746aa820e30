//! Takes works one after the other, and says how they ended.

use std::sync::Arc;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::error::WorkError;
use super::part::Dumps;
use super::{dump, export};
use crate::meili::error::{Code, ResponseError};
use crate::meili::task::{TaskKind, TaskStatus};
use crate::nodes::shutdown::stopped;
use crate::tasks::entry::MiroirTask;
use crate::tracking::task_ops;

/// Ends when `shutdown` turns true. What is under way then is begun anew by the next run, as is what a crash interrupts: nothing
/// of it stands under a final name.
pub async fn run(dumps: Arc<Dumps>, mut shutdown: watch::Receiver<bool>) {
    dump::sweep(&dumps.settings.dir);
    match dumps.writes.ledger.store.unfinished_tasks().await {
        Ok(tasks) => tasks.into_iter().filter(is_work).for_each(|task| dumps.take_up(task)),
        Err(error) => tracing::error!(%error, "unfinished dumps, snapshots and exports could not be read"),
    }
    loop {
        let (mut task, mut canceled) = tokio::select! {
            () = stopped(&mut shutdown) => return,
            next = dumps.next() => next,
        };
        let outcome = tokio::select! {
            () = stopped(&mut shutdown) => return,
            by = canceled.asked() => Err(WorkError::Canceled(by)),
            outcome = carry_out(&dumps, &mut task) => outcome,
        };
        conclude(&dumps, task, outcome).await;
    }
}

fn is_work(task: &MiroirTask) -> bool {
    matches!(task.kind, TaskKind::DumpCreation | TaskKind::SnapshotCreation | TaskKind::Export)
}

/// The details of the task in the end.
async fn carry_out(dumps: &Dumps, task: &mut MiroirTask) -> Result<Option<Map<String, Value>>, WorkError> {
    task_ops::begin(&dumps.writes.tracking, task).await;
    match task.kind {
        TaskKind::DumpCreation => dump::make(dumps, task).await.map(Some),
        TaskKind::SnapshotCreation => dump::renew(dumps, task).await.map(|()| None),
        TaskKind::Export => export::send(dumps, task).await.map(Some),
        TaskKind::DocumentAdditionOrUpdate
        | TaskKind::DocumentEdition
        | TaskKind::DocumentDeletion
        | TaskKind::SettingsUpdate
        | TaskKind::IndexCreation
        | TaskKind::IndexDeletion
        | TaskKind::IndexUpdate
        | TaskKind::IndexSwap
        | TaskKind::TaskCancelation
        | TaskKind::TaskDeletion
        | TaskKind::UpgradeDatabase
        | TaskKind::IndexCompaction
        | TaskKind::NetworkTopologyChange
        | TaskKind::DsrUpdate
        | TaskKind::DsrClear => {
            Err(ResponseError::new(Code::Internal, "The gateway does not carry out such tasks itself.").into())
        }
    }
}

async fn conclude(dumps: &Dumps, mut task: MiroirTask, outcome: Result<Option<Map<String, Value>>, WorkError>) {
    let tracking = &dumps.writes.tracking;
    let now = OffsetDateTime::now_utc();
    task.started_at.get_or_insert(now);
    task.finished_at = Some(now);
    // It may hold a key.
    task.request = None;
    task.status = match outcome {
        Ok(details) => {
            task.details = details;
            TaskStatus::Succeeded
        }
        Err(WorkError::Canceled(by)) => {
            task.canceled_by = Some(by);
            TaskStatus::Canceled
        }
        Err(error) => {
            let error = error.shown();
            tracing::error!(task = %task.id(), code = error.code.as_str(), reason = error.message.as_str(), "work of the gateway's failed");
            task.error = Some(error);
            TaskStatus::Failed
        }
    };
    let uid = task.uid;
    task_ops::store_end(tracking, task).await;
    tracking.works.end(uid);
}
