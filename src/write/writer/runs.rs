//! Sends a write's steps to all nodes at once, each node's in order, and gives up on who is slow.

use std::collections::HashMap;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use prometheus::IntGauge;
use tokio::time::Instant;

use crate::ledger::{maintenance, settle};
use crate::nodes::health;
use crate::nodes::lanes::Turn;
use crate::nodes::spool::Spool;
use crate::placement::topology::{NodeId, NodeIx};
use crate::plan::write::WriteIntent;
use crate::tasks::entry::{NodeTask, NodeTaskState};
use crate::write::planned::Planned;
use crate::write::send::{self, Sending, StepResult};

/// What one node is sent, in order, when its turn comes.
pub(super) struct Run {
    pub node: NodeIx,
    pub turn: Turn,
    pub steps: Vec<Planned>,
}

/// Counts a job in a lane for as long as it lives.
struct Queued(IntGauge);

// === impl Queued ===

impl Queued {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Sends all runs, and returns the parts of the task with what became of them. Once enough nodes have taken the write,
/// the others have `write.slow_after`: one that has not taken it by then is given up, and counts as down if it can be spared.
/// One that was given a heavy read has as much more time as a search may take, and is not taken out for it.
pub(super) async fn send_all(sending: &Sending<'_>, intent: &WriteIntent, runs: Vec<Run>) -> Vec<NodeTask> {
    let write = &sending.writes.settings;
    let size: u64 = sending.spools.iter().map(Spool::len).sum();
    let patience = write.slow_after + send::allowance(size);
    let mut parts = sending.task.parts.clone();
    let mut waiting: HashMap<NodeIx, Vec<usize>> = HashMap::new();
    let mut open = FuturesUnordered::new();
    for run in runs {
        let node = run.node;
        waiting.insert(node, run.steps.iter().map(|planned| planned.part).collect());
        open.push(async move { (node, send_run(sending, run).await) });
    }
    let hard_limit = Instant::now() + send::time_for(sending.writes, nodes_of(sending, waiting.keys()), size);
    let mut slow_at = None;
    while !open.is_empty() {
        let next = match slow_at {
            None => open.next().await,
            Some(limit) => match tokio::time::timeout_at(limit, open.next()).await {
                Ok(next) => next,
                // One that works is waited for as long as any step may take: to leave it stale would cost more.
                Err(_) if limit < hard_limit && works(sending, waiting.keys(), limit - patience) => {
                    slow_at = Some(hard_limit);
                    continue;
                }
                Err(_) => break,
            },
        };
        let Some((node, results)) = next else { break };
        waiting.remove(&node);
        for (part, result) in results {
            apply(&mut parts[part], result);
        }
        if slow_at.is_none() && settle::suffices(sending.topology, intent, &parts, write.min_in_sync) {
            slow_at = Some(Instant::now() + patience);
        }
    }
    for (node, unanswered) in waiting {
        for part in unanswered {
            parts[part].state = NodeTaskState::Lost;
        }
        let id = &sending.topology.node(node).id;
        tracing::warn!(node = %id, task = %sending.task.id(), ?patience, "a node does not take a write that others have taken");
        sending.writes.nodes.overload.metrics.slow_writes.with_label_values(&[id.as_str()]).inc();
        // Where nobody else holds its shards, a slow node is better than none: only what it did not take is stale there.
        let is_laden = send::is_laden(sending.writes, id);
        if !is_laden && maintenance::needed(&sending.writes.nodes.topology(), node, 1).is_empty() {
            health::give_up(&sending.writes.nodes, id, health::Sign::Slow);
        }
    }
    parts
}

/// Sends a run's steps in order. After one that the node did not take, the rest stays unsent. A node that went down while
/// the write waited for its turn is not tried.
async fn send_run(sending: &Sending<'_>, mut run: Run) -> Vec<(usize, StepResult)> {
    let _queued = Queued::new(
        sending.writes.nodes.metrics.lane_jobs.with_label_values(&[sending.topology.node(run.node).id.as_str()]),
    );
    run.turn.wait().await;
    if !sending.writes.nodes.topology().node(run.node).state.finishes_writes() {
        return run.steps.iter().map(|planned| (planned.part, StepResult::Lost)).collect();
    }
    let mut results: Vec<(usize, StepResult)> = Vec::with_capacity(run.steps.len());
    for planned in &run.steps {
        let result = match results.last() {
            None | Some((_, StepResult::Accepted(_))) => send::step(sending, run.node, planned).await,
            Some((_, StepResult::Refused(error))) => StepResult::Refused(error.clone()),
            Some((_, StepResult::Lost)) => StepResult::Lost,
        };
        results.push((planned.part, result));
    }
    results
}

fn nodes_of<'a>(sending: &Sending<'a>, nodes: impl Iterator<Item = &'a NodeIx>) -> impl Iterator<Item = &'a NodeId> {
    let topology = sending.topology;
    nodes.map(|node| &topology.node(*node).id)
}

/// True when each of `nodes` has answered something since `since`, or has a heavy read to work on.
fn works<'a>(sending: &Sending<'a>, nodes: impl Iterator<Item = &'a NodeIx>, since: Instant) -> bool {
    let writes = sending.writes;
    let heard = |node: &NodeId| writes.nodes.life.signs(node).heard.is_some_and(|heard| heard > since);
    nodes_of(sending, nodes).all(|node| heard(node) || send::is_laden(writes, node))
}

fn apply(part: &mut NodeTask, result: StepResult) {
    match result {
        StepResult::Accepted(uid) => {
            part.state = NodeTaskState::Enqueued;
            part.task_uid = Some(uid);
        }
        StepResult::Refused(error) => {
            part.state = NodeTaskState::Failed;
            part.error = Some(error);
        }
        StepResult::Lost => part.state = NodeTaskState::Lost,
    }
}
