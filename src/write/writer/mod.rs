//! Writes: one order for all replicas, durable before anything leaves, acknowledged when every live replica accepted.
//!
//! A write takes its place under one lock: its uid, its change of the registry and its turns in the lanes belong together.
//! Then registry and row are made durable, and only then do the turns begin. What is refused as invalid must not create an
//! index: a document write is checked before it comes here and may create first; settings create the index by being carried
//! out, and an explicit creation is itself the creation, so for these two the hidden field is made filterable afterwards.

mod runs;
pub(crate) mod steps;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::Either;
use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use self::runs::{Run, send_all};
use self::steps::{extra_steps, steps_for};
use super::send::Sending;
use crate::cluster::Cluster;
use crate::ledger::insync;
use crate::ledger::registry::{Undo, roll_back};
use crate::ledger::settle;
use crate::ledger::settle::Settled;
use crate::meili::error::{Code, ResponseError};
use crate::meili::task::{TaskKind, TaskStatus};
use crate::nodes::client::Trace;
use crate::nodes::error::store_failed;
use crate::nodes::health;
use crate::nodes::health::Need;
use crate::nodes::lanes::{Gates, Hold, Lanes};
use crate::nodes::spool::Spool;
use crate::placement::topology::{NodeIx, Topology};
use crate::placement::written::Places;
use crate::plan::write::WriteIntent;
use crate::replicas::resilver::watch::{Flight, Watchers};
use crate::tasks::entry::{MiroirTask, NodeTaskState};

/// So many edits by a function are tried at once.
const TRIALS_AT_ONCE: usize = 2;

/// How long a failed first write waits for its index.
const CREATION: Duration = Duration::from_secs(10);

/// Gives writes their place in the order and sees them accepted.
pub struct Writer {
    next_uid: AtomicU32,
    /// Where the documents of a body stand among all that were written.
    pub(crate) batches: Batches,
    /// Held while a write takes its place, so that all lanes, the registry and the uids see one order.
    order: Mutex<()>,
    lanes: Lanes,
    /// Closed by who must have an index to himself.
    pub(crate) gates: Gates,
    pub(crate) trials: Semaphore,
    /// Held while the rest of a task is sent, so that it is sent once.
    pub(crate) finishing: tokio::sync::Mutex<()>,
    /// Told what each write touches.
    pub(crate) watchers: Arc<Watchers>,
    /// The newest task uid that each node has answered with; a newer one found there belongs to a step under way.
    pub(crate) last_uids: Mutex<HashMap<NodeIx, u32>>,
}

/// Numbers bodies in the order in which they begin: by the clock in milliseconds, so that the numbers go on after a
/// restart without being stored, and by at least one more than the last, so that no two bodies share one.
#[derive(Debug, Default)]
pub(crate) struct Batches {
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

/// Whether the write is to be carried out, or was found to fail already.
enum Intention {
    /// With the documents that it can touch, where that is known.
    CarryOut(Vec<Spool>, Option<Vec<String>>),
    /// The other writers of its index are held back already.
    CarryOutHeld(Hold),
    Fail(ResponseError),
}

// === impl Batches ===

impl Batches {
    pub(crate) fn next(&self) -> Places {
        let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let number = |last: u64| now.max(last + 1);
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(number(last)));
        Places::of_batch(number(last.unwrap_or_default()))
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
            trials: Semaphore::new(TRIALS_AT_ONCE),
            finishing: tokio::sync::Mutex::default(),
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

    /// [`Writer::submit`] by who holds the only index that the write concerns: nothing comes in between.
    pub(crate) async fn submit_held(
        &self,
        cluster: &Arc<Cluster>,
        intent: WriteIntent,
        hold: Hold,
        trace: &Trace,
    ) -> Result<MiroirTask, ResponseError> {
        spawn(cluster, intent, Intention::CarryOutHeld(hold), trace).await
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
    pub(crate) fn in_order<T>(&self, work: impl FnOnce(&Lanes) -> T) -> T {
        let _order = self.order.lock();
        work(&self.lanes)
    }

    pub(crate) fn saw_uid(&self, node: NodeIx, uid: u32) {
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
        let created = intent.index_uid.as_deref().filter(|index| undo.created(index));
        cluster.vocabularies.saw(intent, created);
        let mut task =
            MiroirTask::new(self.next_uid(), intent.kind, intent.index_uid.clone(), OffsetDateTime::now_utc());
        task.details = intent.details.clone();
        task.custom_metadata = intent.custom_metadata.clone();
        task.copies = intent.copies.max(1);
        task.documents = intent.documents.clone();
        let extra = extra_steps(cluster, intent, &undo);
        let lanes = lane_names(&intent.indexes);
        let flight = self.watchers.place(task.uid, &lanes, told_apart(intent.kind, keys));
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
    health::settled(cluster, Need::Writes).await;
    let _under_way = cluster.overload.admit_write(&lane_names(&intent.indexes))?;
    let (spools, keys, failed, hold) = match intention {
        Intention::CarryOut(spools, keys) => (spools, keys, None, None),
        Intention::CarryOutHeld(hold) => (Vec::new(), None, None, Some(hold)),
        // No node sees a document of it.
        Intention::Fail(error) => (Vec::new(), Some(Vec::new()), Some(error), None),
    };
    let _right = match hold {
        Some(hold) => Either::Left(hold),
        None => Either::Right(writer.gates.pass(&lane_names(&intent.indexes)).await),
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
        created(cluster, &topology, &task).await;
        return Ok(row);
    }
    conclude(cluster, task, settled, &undo).await
}

/// A batch that fails has made its index all the same, and its task has ended already: waits, for a moment at most, until the
/// nodes have the index, so that who sees the task sees the index too.
async fn created(cluster: &Cluster, topology: &Topology, task: &MiroirTask) {
    let waits = task.parts.iter().filter_map(|part| {
        let node = topology.find(part.node.as_str())?;
        Some(cluster.client.wait(topology.node(node), part.task_uid?, CREATION))
    });
    for waited in futures::future::join_all(waits).await {
        if let Err(error) = waited {
            tracing::warn!(%error, task = %task.id(), "a node takes its time to make the index of a failed write");
        }
    }
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

/// The documents that a copy must look at again. None for a deletion that names none: what a filter takes away depends on the
/// documents alone, so those that two replicas have alike are alike afterwards, wherever in the nodes' queues it stands. Else
/// an index from which clients delete by filter all the time could never be copied to the end.
fn told_apart(kind: TaskKind, keys: Option<&[String]>) -> Option<&[String]> {
    match keys {
        None if kind == TaskKind::DocumentDeletion => Some(&[]),
        keys => keys,
    }
}

/// What concerns no index has a lane of its own.
fn lane_names(indexes: &[String]) -> Vec<String> {
    if indexes.is_empty() { vec![String::new()] } else { indexes.to_vec() }
}

#[cfg(test)]
mod tests;
