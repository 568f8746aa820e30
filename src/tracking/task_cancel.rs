//! Cancels tasks: asks the nodes, waits for them, and counts what ended canceled.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::poll::{Backoff, poll_parts};
use super::task_host::TaskHost;
use super::task_ops::{begin, finish, freshest, save};
use crate::meili::task::TaskStatus;
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeId;
use crate::tasks::entry::{MiroirTask, NodeTask, NodeTaskState, Purpose};
use crate::tasks::filter::TaskRef;

/// How many node tasks one request names, so that its path stays short.
const UIDS_PER_REQUEST: usize = 200;

/// Carries out a cancelation whose row is stored: a new one, or one of the last run.
pub fn start<H: TaskHost>(host: &Arc<H>, task: MiroirTask) {
    tokio::spawn(run(host.clone(), task));
}

async fn run<H: TaskHost>(host: Arc<H>, mut task: MiroirTask) {
    if task.status == TaskStatus::Enqueued {
        begin(&host, &mut task).await;
    }
    // Canceling twice does no harm, so a cancelation cut short by a crash begins anew.
    task.parts = ask_nodes(&host, &task.subjects, task.uid).await;
    save(&host, &task).await;
    wait_for_nodes(&host, &mut task).await;
    for subject in &task.subjects {
        host.reconciler().poll_now(*subject).await;
        host.works().ended(*subject).await;
    }
    let canceled = count_canceled(&host, &task).await;
    finish(&host, task, "canceledTasks", canceled).await;
}

/// Sends cancelations to every node that works on one of the tasks; a part for each that was taken.
pub(crate) async fn ask_nodes<H: TaskHost>(host: &Arc<H>, subjects: &[u32], by: u32) -> Vec<NodeTask> {
    let mut node_tasks: BTreeMap<NodeId, Vec<u32>> = BTreeMap::new();
    for subject in subjects {
        host.works().cancel(*subject, by);
        // Only tasks being polled have been accepted everywhere: of others it is not known yet what to cancel.
        let Some(live) = host.reconciler().live(TaskRef::Uid(*subject)) else { continue };
        let is_open = |part: &&NodeTask| part.purpose == Purpose::Main && !part.state.is_final();
        let open: Vec<&NodeTask> = live.parts.iter().filter(is_open).collect();
        // A node's task is canceled as a whole: one that others want as well is carried out, and so are this task's others.
        if !open.iter().all(|part| part.company.is_within(subjects)) {
            continue;
        }
        host.reconciler().mark_canceled(*subject, by);
        for part in open {
            node_tasks.entry(part.node.clone()).or_default().extend(part.task_uid);
        }
    }
    let mut parts = Vec::new();
    for (node, mut uids) in node_tasks {
        uids.sort_unstable();
        uids.dedup();
        for uids in uids.chunks(UIDS_PER_REQUEST) {
            let mut part = NodeTask::unsent(node.clone(), Purpose::Main, ShardSet::new());
            part.task_uid = host.cancel(&node, uids).await;
            // Best effort: what a node did not take, it will carry out instead.
            part.state = if part.task_uid.is_some() { NodeTaskState::Enqueued } else { NodeTaskState::Lost };
            parts.push(part);
        }
    }
    parts
}

async fn wait_for_nodes<H: TaskHost>(host: &Arc<H>, task: &mut MiroirTask) {
    let mut backoff = Backoff::new();
    loop {
        poll_parts(&**host, task, host.reconciler().metrics()).await;
        // A node that went away may be gone for long; its tasks end canceled or not when it is back.
        let waiting = |part: &NodeTask| match part.state {
            NodeTaskState::Unsent | NodeTaskState::Enqueued | NodeTaskState::Processing => true,
            NodeTaskState::Unreachable
            | NodeTaskState::Succeeded
            | NodeTaskState::Failed
            | NodeTaskState::Canceled
            | NodeTaskState::Lost => false,
        };
        if !task.parts.iter().any(waiting) {
            return;
        }
        tokio::time::sleep(backoff.step()).await;
    }
}

async fn count_canceled<H: TaskHost>(host: &Arc<H>, task: &MiroirTask) -> u64 {
    let mut canceled = 0;
    for subject in &task.subjects {
        match freshest(host, TaskRef::Uid(*subject)).await {
            Ok(Some(subject)) => {
                let by_us = subject.status == TaskStatus::Canceled && subject.canceled_by == Some(task.uid);
                canceled += u64::from(by_us);
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, subject, "a canceled task could not be read"),
        }
    }
    canceled
}
