//! The unfinished tasks of the last run of the gateway.

use std::sync::Arc;

use super::task_host::TaskHost;
use super::{task_cancel, task_delete};
use crate::meili::task::TaskKind;
use crate::store::StoreError;
use crate::tasks::interrupted::is_interrupted;

/// Takes up the unfinished tasks of the last run, but for those that must be decided first; returns how many there are.
pub async fn resume<H: TaskHost>(host: &Arc<H>) -> Result<usize, StoreError> {
    let mut tasks = host.store().unfinished_tasks().await?;
    tasks.retain(|task| !is_interrupted(task));
    let count = tasks.len();
    for task in tasks {
        match task.kind {
            TaskKind::TaskCancelation => task_cancel::start(host, task),
            TaskKind::TaskDeletion => task_delete::start(host, task),
            // Who carries them out takes them up.
            TaskKind::DumpCreation | TaskKind::SnapshotCreation | TaskKind::Export => {}
            TaskKind::DocumentAdditionOrUpdate
            | TaskKind::DocumentEdition
            | TaskKind::DocumentDeletion
            | TaskKind::SettingsUpdate
            | TaskKind::IndexCreation
            | TaskKind::IndexDeletion
            | TaskKind::IndexUpdate
            | TaskKind::IndexSwap
            | TaskKind::UpgradeDatabase
            | TaskKind::IndexCompaction
            | TaskKind::NetworkTopologyChange
            | TaskKind::DsrUpdate
            | TaskKind::DsrClear => host.reconciler().watch(host, task),
        }
    }
    Ok(count)
}
