//! Deletes tasks that have ended.

use std::sync::Arc;

use super::poll::Backoff;
use super::task_cancel::ask_nodes;
use super::task_host::TaskHost;
use super::task_ops::{begin, finish};
use crate::meili::task::TaskStatus;
use crate::tasks::entry::{MiroirTask, NodeTaskState};
use crate::tasks::filter::{TaskFilter, TaskRef};

/// How often it is looked whether nodes have begun with a task; all in all 4 s.
const LOOKS: usize = 8;

/// Carries out a deletion whose row is stored: a new one, or one of the last run.
pub fn start<H: TaskHost>(host: &Arc<H>, task: MiroirTask) {
    tokio::spawn(run(host.clone(), task));
}

/// Returns when no node works on a task. One node carries a deletion of tasks out once the batch at hand is done, and then
/// deletes that too. Who waits for a node that cannot be reached is not waited for.
async fn at_rest<H: TaskHost>(host: &Arc<H>, subject: u32) {
    let mut backoff = Backoff::new();
    while let Some(live) = host.reconciler().live(TaskRef::Uid(subject))
        && live.status == TaskStatus::Processing
        && live.parts.iter().all(|part| part.state != NodeTaskState::Unreachable)
    {
        tokio::time::sleep(backoff.step()).await;
    }
}

/// Returns when nodes have begun with a task that nothing is before, or do not for a while: one node begins at once with what it is
/// given next, so it comes before a deletion that comes later.
async fn begun<H: TaskHost>(host: &Arc<H>, subject: u32) {
    let mut backoff = Backoff::new();
    for _ in 0..LOOKS {
        match host.reconciler().live(TaskRef::Uid(subject)) {
            Some(live) if live.status == TaskStatus::Enqueued => tokio::time::sleep(backoff.step()).await,
            Some(_) | None => return,
        }
        host.reconciler().poll_now(subject).await;
    }
}

async fn run<H: TaskHost>(host: Arc<H>, mut task: MiroirTask) {
    // Set for the deletion of one task by its id: that one is canceled, and its end awaited.
    let awaits_end = task.canceled_by == Some(task.uid);
    let next = host.reconciler().oldest();
    begin(&host, &mut task).await;
    if awaits_end {
        ask_nodes(&host, &task.subjects, task.uid).await;
        for subject in &task.subjects {
            host.reconciler().ended(*subject).await;
            host.works().ended(*subject).await;
        }
    }
    for subject in &task.subjects {
        if next == Some(*subject) {
            begun(&host, *subject).await;
        }
        at_rest(&host, *subject).await;
    }
    let subjects = task.subjects.iter().copied().map(TaskRef::Uid).collect();
    let filter = TaskFilter { uids: Some(subjects), ..TaskFilter::default() };
    match host.store().delete_tasks(filter).await {
        Ok(deleted) => finish(&host, task, "deletedTasks", deleted).await,
        // Unfinished in the store, it is taken up by the next run.
        Err(error) => tracing::error!(task = %task.id(), %error, "tasks could not be deleted"),
    }
}
