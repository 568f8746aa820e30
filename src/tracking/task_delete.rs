//! Deletes tasks that have ended.

use std::sync::Arc;

use super::task_cancel::ask_nodes;
use super::task_host::TaskHost;
use super::task_ops::{begin, finish};
use crate::tasks::entry::MiroirTask;
use crate::tasks::filter::{TaskFilter, TaskRef};

/// Carries out a deletion whose row is stored: a new one, or one of the last run.
pub fn start<H: TaskHost>(host: &Arc<H>, task: MiroirTask) {
    tokio::spawn(run(host.clone(), task));
}

async fn run<H: TaskHost>(host: Arc<H>, mut task: MiroirTask) {
    // Set for the deletion of one task by its id: that one is canceled, and its end awaited.
    let awaits_end = task.canceled_by == Some(task.uid);
    begin(&host, &mut task).await;
    if awaits_end {
        ask_nodes(&host, &task.subjects, task.uid).await;
        for subject in &task.subjects {
            host.reconciler().ended(*subject).await;
            host.works().ended(*subject).await;
        }
    }
    let subjects = task.subjects.iter().copied().map(TaskRef::Uid).collect();
    let filter = TaskFilter { uids: Some(subjects), ..TaskFilter::default() };
    match host.store().delete_tasks(filter).await {
        Ok(deleted) => finish(&host, task, "deletedTasks", deleted).await,
        // Unfinished in the store, it is taken up by the next run.
        Err(error) => tracing::error!(task = %task.id(), %error, "tasks could not be deleted"),
    }
}
