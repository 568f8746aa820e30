//! Writes: one order for all replicas, durable before anything leaves, acknowledged when every live replica accepted.
//!
//! A write takes its place under one lock: its uid, its change of the registry and its turns in the lanes belong together.
//! Then registry and row are made durable, and only then do the turns begin. What is refused as invalid must not create an
//! index: a document write is checked before it comes here and may create first; settings create the index by being carried
//! out, and an explicit creation is itself the creation, so for these two the hidden field is made filterable afterwards.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use prometheus::IntGauge;
use serde_json::json;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::Cluster;
use super::client::Trace;
use super::error::store_failed;
use super::health;
use super::insync;
use super::lanes::{Gates, Lanes, Turn};
use super::maintenance;
use super::registry::{Undo, roll_back};
use super::resilver::watch::{Flight, Watchers};
use super::send::{self, Sending, StepResult};
use super::settle::{self, Settled};
use super::spool::Spool;
use crate::meili::error::{Code, ResponseError};
use crate::meili::settings::Setting;
use crate::meili::task::{TaskKind, TaskStatus};
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeIx, Topology};
use crate::placement::written::Places;
use crate::plan::write::{RegistryChange, Step, StepBody, Target, WriteIntent};
use crate::tasks::entry::{MiroirTask, NodeTask, NodeTaskState, Purpose};

/// Gives writes their place in the order and sees them accepted.
pub struct Writer {
    next_uid: AtomicU32,
    /// Where the documents of a body stand among all that were written.
    pub(super) batches: Batches,
    /// Held while a write takes its place, so that all lanes, the registry and the uids see one order.
    order: Mutex<()>,
    lanes: Lanes,
    /// Closed by who must have an index to himself.
    pub(super) gates: Gates,
    /// Told what each write touches.
    pub(super) watchers: Arc<Watchers>,
    /// The newest task uid that each node has answered with; a newer one found there belongs to a step under way.
    pub(super) last_uids: Mutex<HashMap<NodeIx, u32>>,
}

/// Numbers bodies in the order in which they begin: by the clock in milliseconds, so that the numbers go on after a
/// restart without being stored, and by at least one more than the last, so that no two bodies share one.
#[derive(Debug, Default)]
pub(super) struct Batches {
    last: AtomicU64,
}

/// A write that has its place in the order.
struct Placed {
    task: MiroirTask,
    topology: Arc<Topology>,
    undo: Undo,
    runs: Vec<Run>,
    /// Held until the write is over.
    flight: Flight,
}

/// What one node is sent, in order, when its turn comes.
struct Run {
    node: NodeIx,
    turn: Turn,
    steps: Vec<Planned>,
}

/// One request of a run, and the part of the task that it is.
pub(super) struct Planned {
    pub part: usize,
    pub purpose: Purpose,
    pub step: Step,
    /// How many stamped steps of the same task the node was sent before this one; `None` where there is no stamp.
    pub stamped: Option<usize>,
}

/// Counts a job in a lane for as long as it lives.
struct Queued(IntGauge);

/// Whether the write is to be carried out, or was found to fail already.
enum Intention {
    /// With the documents that it can touch, where that is known.
    CarryOut(Vec<Spool>, Option<Vec<String>>),
    Fail(ResponseError),
}

// === impl Batches ===

impl Batches {
    pub(super) fn next(&self) -> Places {
        let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let number = |last: u64| now.max(last + 1);
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(number(last)));
        Places::of_batch(number(last.unwrap_or_default()))
    }
}

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

// === impl Writer ===

impl Writer {
    pub fn new(next_uid: u32) -> Self {
        Self {
            next_uid: AtomicU32::new(next_uid),
            batches: Batches::default(),
            order: Mutex::default(),
            lanes: Lanes::default(),
            gates: Gates::default(),
            watchers: Arc::default(),
            last_uids: Mutex::default(),
        }
    }

    /// Carries out a write up to its acknowledgement. The error is for the client: nothing half-written remains. A
    /// client that goes away meanwhile changes nothing.
    pub async fn submit(
        &self,
        cluster: &Arc<Cluster>,
        intent: WriteIntent,
        spools: Vec<Spool>,
        trace: &Trace,
    ) -> Result<MiroirTask, ResponseError> {
        self.submit_keys(cluster, intent, spools, None, trace).await
    }

    /// [`Writer::submit`] for a write that can say which documents it touches. It must where its index is watched, or it
    /// counts as touching everything.
    pub async fn submit_keys(
        &self,
        cluster: &Arc<Cluster>,
        intent: WriteIntent,
        spools: Vec<Spool>,
        keys: Option<Vec<String>>,
        trace: &Trace,
    ) -> Result<MiroirTask, ResponseError> {
        spawn(cluster, intent, Intention::CarryOut(spools, keys), trace).await
    }

    /// Records a write that failed before any node saw its documents: the client gets a task, final from the start.
    /// `intent` has no steps; with `ensure_index` the index is created all the same, as the engine does.
    pub async fn record_failed(
        &self,
        cluster: &Arc<Cluster>,
        intent: WriteIntent,
        error: ResponseError,
        trace: &Trace,
    ) -> Result<MiroirTask, ResponseError> {
        spawn(cluster, intent, Intention::Fail(error), trace).await
    }

    /// The next integer task id. Also for tasks that no node sees, such as cancelations.
    pub fn next_uid(&self) -> u32 {
        self.next_uid.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs `work` while no write can take its place: what it publishes holds for all that come after.
    pub(super) fn in_order<T>(&self, work: impl FnOnce(&Lanes) -> T) -> T {
        let _order = self.order.lock();
        work(&self.lanes)
    }

    pub(super) fn saw_uid(&self, node: NodeIx, uid: u32) {
        let mut seen = self.last_uids.lock();
        let newest = seen.entry(node).or_insert(uid);
        *newest = (*newest).max(uid);
    }

    fn place(&self, cluster: &Cluster, intent: &WriteIntent, keys: Option<&[String]>) -> Result<Placed, ResponseError> {
        let _order = self.order.lock();
        let topology = cluster.topology();
        cluster.founding.check()?;
        settle::shared_out(&topology, intent)?;
        settle::available(&topology, intent, cluster.settings.write.min_in_sync)?;
        cluster.founding.found();
        let ensure = if intent.ensure_index { intent.index_uid.as_deref() } else { None };
        let undo = cluster.registry.apply(&intent.registry, ensure);
        let mut task =
            MiroirTask::new(self.next_uid(), intent.kind, intent.index_uid.clone(), OffsetDateTime::now_utc());
        task.details = intent.details.clone();
        task.custom_metadata = intent.custom_metadata.clone();
        task.copies = intent.copies.max(1);
        let extra = extra_steps(cluster, intent, &undo);
        let lanes = lane_names(&intent.indexes);
        let flight = self.watchers.place(task.uid, &lanes, keys);
        let mut runs = Vec::new();
        for node in topology.members() {
            let steps = steps_for(node, intent, &extra, &topology, &mut task);
            if !topology.node(node).state.takes_writes() {
                for planned in &steps {
                    task.parts[planned.part].state = NodeTaskState::Lost;
                }
            } else if !steps.is_empty() {
                runs.push(Run { node, turn: self.lanes.turn(&lanes, node), steps });
            }
        }
        Ok(Placed { task, topology, undo, runs, flight })
    }
}

async fn spawn(
    cluster: &Arc<Cluster>,
    intent: WriteIntent,
    intention: Intention,
    trace: &Trace,
) -> Result<MiroirTask, ResponseError> {
    let (cluster, trace) = (Arc::clone(cluster), trace.clone());
    let work = tokio::spawn(async move {
        cluster.metrics.writes_waiting.inc();
        let result = carry_out(&cluster, &intent, intention, &trace).await;
        cluster.metrics.writes_waiting.dec();
        result
    });
    work.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a write broke off");
        Err(ResponseError::new(Code::Internal, "The write broke off."))
    })
}

async fn carry_out(
    cluster: &Arc<Cluster>,
    intent: &WriteIntent,
    intention: Intention,
    trace: &Trace,
) -> Result<MiroirTask, ResponseError> {
    let writer = &cluster.writer;
    let _under_way = cluster.overload.admit_write(&lane_names(&intent.indexes))?;
    let _pass = writer.gates.pass(&lane_names(&intent.indexes)).await;
    let (spools, keys, failed) = match intention {
        Intention::CarryOut(spools, keys) => (spools, keys, None),
        // No node sees a document of it.
        Intention::Fail(error) => (Vec::new(), Some(Vec::new()), Some(error)),
    };
    let Placed { mut task, topology, undo, runs, flight: _flight } = writer.place(cluster, intent, keys.as_deref())?;
    let mut row = task.clone();
    if let Some(error) = &failed {
        fail(&mut row, error.clone());
        row.acknowledged = true;
        row.parts.clear();
    } else if row.parts.is_empty() {
        row.status = TaskStatus::Succeeded;
        row.started_at = Some(row.enqueued_at);
        row.finished_at = Some(row.enqueued_at);
        row.acknowledged = true;
    }
    // Both or neither: a row without its change of the registry, or the other way round, could not be told from a write
    // that was interrupted later.
    if let Err(error) = cluster.store.begin_write(row.clone(), cluster.registry.changes(&undo)).await {
        cluster.registry.undo(&undo);
        return Err(store_failed(&error));
    }

    let sending = Sending { cluster, topology: &topology, task: &task, spools: &spools, trace };
    task.parts = send_all(&sending, intent, runs).await;
    let settled =
        insync::settle(cluster, &topology, intent, &task.parts).await.map_err(|error| store_failed(&error))?;
    if row.status.is_final() {
        return Ok(row);
    }
    conclude(cluster, task, settled, &undo).await
}

/// Tells store, reconciler and client how the write went.
async fn conclude(
    cluster: &Arc<Cluster>,
    mut task: MiroirTask,
    settled: Settled,
    undo: &Undo,
) -> Result<MiroirTask, ResponseError> {
    let nothing_accepted = task.parts.iter().all(|part| part.task_uid.is_none());
    if let Some(refusal) = settled.refused {
        // An index that was created first exists on the nodes now, and so it does here.
        if nothing_accepted {
            roll_back(cluster, undo).await?;
        }
        cluster.store.remove_task(task.uid).await.map_err(|error| store_failed(&error))?;
        return Err(refusal);
    }
    if let Some(error) = settled.no_replica {
        if nothing_accepted {
            roll_back(cluster, undo).await?;
            fail(&mut task, error.clone());
        }
        cluster.store.update_task(task.clone()).await.map_err(|error| store_failed(&error))?;
        // What some nodes have taken may yet fail on one of them and not on another.
        cluster.reconciler.watch(cluster, task);
        return Err(error);
    }
    task.acknowledged = true;
    cluster.store.update_task(task.clone()).await.map_err(|error| store_failed(&error))?;
    cluster.reconciler.watch(cluster, task.clone());
    Ok(task)
}

fn fail(task: &mut MiroirTask, error: ResponseError) {
    let now = OffsetDateTime::now_utc();
    task.status = TaskStatus::Failed;
    task.error = Some(error);
    task.started_at.get_or_insert(task.enqueued_at);
    task.finished_at = Some(now);
}

/// Sends all runs, and returns the parts of the task with what became of them. Once enough nodes have taken the write,
/// the others have `write.slow_after`: one that has not taken it by then is given up, and counts as down if it can be spared.
async fn send_all(sending: &Sending<'_>, intent: &WriteIntent, runs: Vec<Run>) -> Vec<NodeTask> {
    let write = &sending.cluster.settings.write;
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
    let mut slow_at = None;
    while !open.is_empty() {
        let next = match slow_at {
            None => open.next().await,
            Some(slow_at) => match tokio::time::timeout_at(slow_at, open.next()).await {
                Ok(next) => next,
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
        sending.cluster.overload.metrics.slow_writes.with_label_values(&[id.as_str()]).inc();
        // Where nobody else holds its shards, a slow node is better than none: only what it did not take is stale there.
        if maintenance::needed(&sending.cluster.topology(), node, 1).is_empty() {
            health::give_up(sending.cluster, id, health::Sign::Slow);
        }
    }
    parts
}

/// Sends a run's steps in order. After one that the node did not take, the rest stays unsent. A node that went down while
/// the write waited for its turn is not tried.
async fn send_run(sending: &Sending<'_>, mut run: Run) -> Vec<(usize, StepResult)> {
    let _queued = Queued::new(
        sending.cluster.metrics.lane_jobs.with_label_values(&[sending.topology.node(run.node).id.as_str()]),
    );
    run.turn.wait().await;
    if !sending.cluster.topology().node(run.node).state.finishes_writes() {
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

/// Steps before and after what was asked for, on every node.
#[derive(Default)]
pub(super) struct Extra {
    before: Vec<(Purpose, Step)>,
    after: Vec<(Purpose, Step)>,
}

fn extra_steps(cluster: &Cluster, intent: &WriteIntent, undo: &Undo) -> Extra {
    let created = match (&intent.index_uid, &intent.registry) {
        (_, RegistryChange::Create { index, .. }) if undo.created(index) => index,
        (Some(index), _) if intent.ensure_index && undo.created(index) => index,
        _ => return Extra::default(),
    };
    let whole = |method, path: String, body| Step {
        to: Target::AllNodes,
        method,
        path,
        content_type: Some("application/json"),
        body: StepBody::Json(body),
        shards: ShardSet::new(),
    };
    let mut hidden = cluster.hidden_settings().of_new_index();
    hidden.retain(|key, _| !intent.steps.iter().any(|step| sets(step, key)));
    let path = format!("/indexes/{created}/settings");
    let hide = (Purpose::HideShardField, whole("PATCH", path, serde_json::Value::Object(hidden.clone())));
    match intent.kind {
        TaskKind::IndexCreation => Extra { before: Vec::new(), after: vec![hide] },
        TaskKind::SettingsUpdate if hidden.is_empty() => Extra::default(),
        TaskKind::SettingsUpdate => Extra { before: Vec::new(), after: vec![hide] },
        TaskKind::DocumentAdditionOrUpdate
        | TaskKind::DocumentEdition
        | TaskKind::DocumentDeletion
        | TaskKind::IndexDeletion
        | TaskKind::IndexUpdate
        | TaskKind::IndexSwap
        | TaskKind::TaskCancelation
        | TaskKind::TaskDeletion
        | TaskKind::DumpCreation
        | TaskKind::SnapshotCreation
        | TaskKind::Export
        | TaskKind::UpgradeDatabase
        | TaskKind::IndexCompaction => {
            let mut body = json!({"uid": created});
            if let Some(key) = cluster.registry.entry(created).and_then(|entry| entry.primary_key) {
                body["primaryKey"] = json!(key);
            }
            let create = (Purpose::EnsureIndex, whole("POST", "/indexes".to_owned(), body));
            Extra { before: vec![create, hide], after: Vec::new() }
        }
    }
}

/// True when a step of settings sets the one called `key`, and so brings its hidden part itself.
fn sets(step: &Step, key: &str) -> bool {
    let in_object = matches!(&step.body, StepBody::Json(body) if body.get(key).is_some());
    let setting = Setting::ALL.iter().find(|setting| setting.key() == key);
    in_object || setting.is_some_and(|setting| step.path.ends_with(&format!("/settings/{}", setting.route())))
}

/// What `node` is sent; each step becomes a part of `task`.
pub(super) fn steps_for(
    node: NodeIx,
    intent: &WriteIntent,
    extra: &Extra,
    topology: &Topology,
    task: &mut MiroirTask,
) -> Vec<Planned> {
    let id = &topology.node(node).id;
    let stamps = match intent.kind {
        TaskKind::DocumentAdditionOrUpdate | TaskKind::DocumentEdition | TaskKind::DocumentDeletion => true,
        TaskKind::SettingsUpdate
        | TaskKind::IndexCreation
        | TaskKind::IndexDeletion
        | TaskKind::IndexUpdate
        | TaskKind::IndexSwap
        | TaskKind::TaskCancelation
        | TaskKind::TaskDeletion
        | TaskKind::DumpCreation
        | TaskKind::SnapshotCreation
        | TaskKind::Export
        | TaskKind::UpgradeDatabase
        | TaskKind::IndexCompaction => false,
    };
    let mine = intent.steps.iter().filter(|step| match step.to {
        Target::AllNodes => true,
        Target::Node(target) => target == node,
    });
    let main = mine.filter_map(|step| Some((Purpose::Main, owned_part(step, node, topology)?)));
    let all = extra.before.iter().cloned().chain(main).chain(extra.after.iter().cloned());
    let mut stamped_before = 0;
    let mut planned = Vec::new();
    for (purpose, mut step) in all {
        let mut stamped = None;
        if stamps && purpose == Purpose::Main {
            step.path = send::with_stamp(&step.path, &task.id());
            stamped = Some(stamped_before);
            stamped_before += 1;
        }
        let mut part = NodeTask::unsent(id.clone(), purpose, step.shards.clone());
        if let Some(stale) = intent.index_uid.as_deref().and_then(|index| topology.stale_of(node, index)) {
            part.behind = step.shards.iter().filter(|shard| stale.contains(*shard)).collect();
        }
        task.parts.push(part);
        planned.push(Planned { part: task.parts.len() - 1, purpose, step, stamped });
    }
    planned
}

/// Of the shards of a step for all nodes, those that `node` owns. A change of documents is nothing to a node that owns none of
/// them: without shards it would count as a change of the whole index, which every node must carry out.
fn owned_part(step: &Step, node: NodeIx, topology: &Topology) -> Option<Step> {
    let mut part = step.clone();
    if step.to == Target::AllNodes {
        part.shards.intersect_with(topology.shards_of(node));
    }
    let is_nothing = part.shards.is_empty() && !step.shards.is_empty();
    (!is_nothing).then_some(part)
}

/// What concerns no index has a lane of its own.
fn lane_names(indexes: &[String]) -> Vec<String> {
    if indexes.is_empty() { vec![String::new()] } else { indexes.to_vec() }
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
