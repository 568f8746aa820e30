//! Sends a write's steps to all nodes at once, each node's in order, and gives up on who is slow.

use std::collections::HashMap;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use prometheus::IntGauge;
use tokio::time::Instant;

use crate::ledger::{maintenance, settle};
use crate::nodes::health;
use crate::nodes::spool::Spool;
use crate::placement::shard::ShardId;
use crate::placement::topology::{NodeId, NodeIx};
use crate::plan::write::{StepBody, WriteIntent};
use crate::tasks::entry::{NodeTask, NodeTaskState, Purpose};
use crate::write::coalesce::{self, Way};
use crate::write::parcel::{Answer, Cargo, Load, OfWrite, StepResult, Turn};
use crate::write::planned::Planned;
use crate::write::send::{self, Sending};

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
    let write = &sending.writes.settings.keep();
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
        for (part, answer) in results {
            apply(&mut parts[part], answer);
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
async fn send_run(sending: &Sending<'_>, mut run: Run) -> Vec<(usize, Answer)> {
    let _queued = Queued::new(
        sending.writes.nodes.metrics.lane_jobs.with_label_values(&[sending.topology.node(run.node).id.as_str()]),
    );
    match cargo_of(sending, &run) {
        Some((index, part, cargo)) => {
            let way = Way { writes: sending.writes, node: run.node, index, trace: sending.trace };
            if let Some(answer) = coalesce::send(way, &mut run.turn, cargo).await {
                return vec![(part, answer)];
            }
        }
        None => run.turn.wait().await,
    }
    if !sending.writes.nodes.topology().node(run.node).state.finishes_writes() {
        return run.steps.iter().map(|planned| (planned.part, Answer::alone(StepResult::Lost))).collect();
    }
    let mut results: Vec<(usize, Answer)> = Vec::with_capacity(run.steps.len());
    for planned in &run.steps {
        let result = match results.last().map(|(_, answer)| &answer.result) {
            None | Some(StepResult::Accepted(_)) => send::step(sending, run.node, planned).await,
            Some(StepResult::Refused(error)) => StepResult::Refused(error.clone()),
            Some(StepResult::Lost) => StepResult::Lost,
        };
        results.push((planned.part, Answer::alone(result)));
    }
    results
}

/// What the node is sent, with its index and its part of the task, if it may travel with other writes.
fn cargo_of<'a>(sending: &Sending<'a>, run: &Run) -> Option<(&'a str, usize, Cargo)> {
    let [planned] = run.steps.as_slice() else { return None };
    let (Purpose::Main, Some(0), StepBody::Spool(spool)) = (planned.purpose, planned.stamped, &planned.step.body)
    else {
        return None;
    };
    let (task, rules) = (sending.task, sending.judged?);
    let lines = coalesce::small(sending.writes, sending.spools.get(*spool)?)?;
    let own = |shard: &ShardId| planned.step.shards.contains(*shard);
    let documents = task.documents.iter().filter(|(shard, _)| own(shard)).map(|(_, count)| count).sum();
    let write = OfWrite {
        row: sending.durable.clone(),
        uuid: task.uuid,
        stamp: task.id(),
        method: planned.step.method,
        documents,
        rules: rules.clone(),
    };
    let path = send::without_stamp(&planned.step.path, &task.id())?.to_owned();
    Some((task.index_uid.as_deref()?, planned.part, Cargo { path, lines, load: Load::Write(write) }))
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

fn apply(part: &mut NodeTask, answer: Answer) {
    match answer.result {
        StepResult::Accepted(uid) => {
            part.state = NodeTaskState::Enqueued;
            part.task_uid = Some(uid);
            part.company = answer.company;
        }
        StepResult::Refused(error) => {
            part.state = NodeTaskState::Failed;
            part.error = Some(error);
        }
        StepResult::Lost => part.state = NodeTaskState::Lost,
    }
}
