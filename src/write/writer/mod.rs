//! Writes: one order for all replicas, durable before anything leaves, acknowledged when every live replica accepted.
//!
//! A write takes its place under one lock: its uid, its change of the registry and its turns in the lanes belong together.
//! Then registry and row are made durable, and only then do the turns begin. What is refused as invalid must not create an
//! index: a document write is checked before it comes here and may create first; settings create the index by being carried
//! out, and an explicit creation is itself the creation, so for these two the hidden field is made filterable afterwards.
//!
//! | module | what lives there |
//! |---|---|
//! | `runs` | sends a write's steps to all nodes at once, each node's in order, and gives up on who is slow |
//! | `steps` | what each node is sent for one write, in order |

mod runs;
pub(crate) mod steps;

use std::sync::Arc;

use futures::future::Either;
use time::OffsetDateTime;
use uuid::Uuid;

use self::runs::{Run, send_all};
use self::steps::{extra_steps, steps_for};
use super::send::Sending;
use crate::ledger::insync;
use crate::ledger::registry::Undo;
use crate::ledger::settle::{self, Settled};
use crate::ledger::watch::Flight;
use crate::meili::error::{Code, ResponseError};
use crate::meili::task::{TaskKind, TaskStatus};
use crate::nodes::client::Trace;
use crate::nodes::error::store_failed;
use crate::nodes::health::{self, Need};
use crate::nodes::lanes::Hold;
use crate::nodes::spool::Spool;
use crate::placement::topology::Topology;
use crate::plan::write::{RegistryChange, WriteIntent};
use crate::split::rules::DocumentRules;
use crate::tasks::entry::{MiroirTask, NodeTaskState};
use crate::write::pace;
use crate::write::part::Writes;

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
    /// With the documents that it can touch, where that is known, and the rules by which they were judged, where it may travel with
    /// other writes.
    CarryOut(Vec<Spool>, Option<Vec<String>>, Option<DocumentRules>),
    /// The other writers of its index are held back already.
    CarryOutHeld(Vec<Spool>, Option<Vec<String>>, Hold),
    Fail(ResponseError),
}

// === impl Writes ===

impl Writes {
    /// Carries out a write up to its acknowledgement. The error is for the client: nothing half-written remains. A
    /// client that goes away meanwhile changes nothing.
    pub async fn submit(
        self: &Arc<Self>,
        intent: WriteIntent,
        spools: Vec<Spool>,
        trace: &Trace,
    ) -> Result<MiroirTask, ResponseError> {
        self.submit_keys(intent, spools, None, trace).await
    }

    /// [`Writes::submit`] for a write that can say which documents it touches. It must where its index is watched, or it
    /// counts as touching everything.
    pub async fn submit_keys(
        self: &Arc<Self>,
        intent: WriteIntent,
        spools: Vec<Spool>,
        keys: Option<Vec<String>>,
        trace: &Trace,
    ) -> Result<MiroirTask, ResponseError> {
        spawn(self, intent, Intention::CarryOut(spools, keys, None), trace).await
    }

    /// [`Writes::submit_keys`] for documents that were judged by `rules`: small ones may travel with those of other writes.
    pub(crate) async fn submit_judged(
        self: &Arc<Self>,
        intent: WriteIntent,
        spools: Vec<Spool>,
        keys: Option<Vec<String>>,
        rules: DocumentRules,
        trace: &Trace,
    ) -> Result<MiroirTask, ResponseError> {
        spawn(self, intent, Intention::CarryOut(spools, keys, Some(rules)), trace).await
    }

    /// [`Writes::submit`] by who holds the only index that the write concerns: nothing comes in between.
    pub(crate) async fn submit_held(
        self: &Arc<Self>,
        intent: WriteIntent,
        hold: Hold,
        trace: &Trace,
    ) -> Result<MiroirTask, ResponseError> {
        spawn(self, intent, Intention::CarryOutHeld(Vec::new(), None, hold), trace).await
    }

    /// [`Writes::submit_keys`] by who holds the only index that the write concerns.
    pub(crate) async fn submit_keys_held(
        self: &Arc<Self>,
        intent: WriteIntent,
        spools: Vec<Spool>,
        keys: Option<Vec<String>>,
        hold: Hold,
        trace: &Trace,
    ) -> Result<MiroirTask, ResponseError> {
        spawn(self, intent, Intention::CarryOutHeld(spools, keys, hold), trace).await
    }

    /// Records a write that failed before any node saw its documents: the client gets a task, final from the start.
    /// `intent` has no steps; with `ensure_index` the index is created all the same, as the engine does.
    pub async fn record_failed(
        self: &Arc<Self>,
        intent: WriteIntent,
        error: ResponseError,
        trace: &Trace,
    ) -> Result<MiroirTask, ResponseError> {
        spawn(self, intent, Intention::Fail(error), trace).await
    }

    fn place(
        &self,
        intent: &WriteIntent,
        keys: Option<&[String]>,
        uuid: Option<Uuid>,
    ) -> Result<Placed, ResponseError> {
        let order = self.order.hold();
        let topology = self.nodes.topology();
        self.ledger.founding.check()?;
        settle::shared_out(&topology, intent)?;
        settle::available(&topology, intent, self.ledger.settings.get().min_in_sync)?;
        self.ledger.founding.mark_founded();
        let ensure = if intent.ensure_index { intent.index_uid.as_deref() } else { None };
        let undo = self.ledger.registry.apply(&intent.registry, ensure);
        let created = intent.index_uid.as_deref().filter(|index| undo.created(index));
        // An index that is given the name that it has is as it was.
        if intent.kind != TaskKind::IndexUpdate || intent.registry != RegistryChange::None {
            self.ledger.registry.written(&intent.indexes, created);
        }
        self.vocabularies.saw(intent, created);
        let mut task =
            MiroirTask::new(self.tracking.next_uid(), intent.kind, intent.index_uid.clone(), OffsetDateTime::now_utc());
        if let Some(uuid) = uuid {
            task.uuid = uuid;
        }
        task.details = intent.details.clone();
        task.custom_metadata = intent.custom_metadata.clone();
        task.copies = intent.copies.max(1);
        task.documents = intent.documents.clone();
        task.ids = intent.ids.clone();
        let extra = extra_steps(self, intent, &undo);
        let lanes = lane_names(&intent.indexes);
        let flight = self.ledger.watchers.place(task.uid, &lanes, told_apart(intent.kind, keys));
        let mut runs = Vec::new();
        for node in topology.members() {
            let steps = steps_for(node, intent, &extra, &topology, &mut task);
            if !topology.node(node).state.takes_writes() {
                for planned in &steps {
                    task.parts[planned.part].state = NodeTaskState::Lost;
                }
            } else if !steps.is_empty() {
                runs.push(Run { node, turn: order.turn(&lanes, node), steps });
            }
        }
        Ok(Placed { task, topology, undo, runs, flight })
    }
}

async fn spawn(
    writes: &Arc<Writes>,
    intent: WriteIntent,
    intention: Intention,
    trace: &Trace,
) -> Result<MiroirTask, ResponseError> {
    let (writes, trace) = (Arc::clone(writes), trace.clone());
    let work = tokio::spawn(async move {
        writes.nodes.metrics.writes_waiting.inc();
        let result = carry_out(&writes, &intent, intention, &trace).await;
        writes.nodes.metrics.writes_waiting.dec();
        result
    });
    work.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a write broke off");
        Err(ResponseError::new(Code::Internal, "The write broke off."))
    })
}

async fn carry_out(
    writes: &Arc<Writes>,
    intent: &WriteIntent,
    intention: Intention,
    trace: &Trace,
) -> Result<MiroirTask, ResponseError> {
    health::wait_for(&writes.nodes, Need::Writes).await;
    let _under_way = writes.nodes.overload.admit_write(&lane_names(&intent.indexes))?;
    let mut judged = None;
    let (spools, keys, failed, hold) = match intention {
        Intention::CarryOut(spools, keys, rules) => {
            judged = rules;
            (spools, keys, None, None)
        }
        Intention::CarryOutHeld(spools, keys, hold) => (spools, keys, None, Some(hold)),
        // No node sees a document of it.
        Intention::Fail(error) => (Vec::new(), Some(Vec::new()), Some(error), None),
    };
    let _right = match hold {
        Some(hold) => Either::Left(hold),
        None => {
            pace::keep(writes, &intent.indexes).await;
            Either::Right(writes.order.gates.pass(&lane_names(&intent.indexes)).await)
        }
    };
    let Placed { mut task, topology, undo, runs, flight: _flight } =
        writes.place(intent, keys.as_deref(), trace.task)?;
    let mut row = task.clone();
    if let Some(error) = failed {
        row.acknowledged = true;
        row.parts.clear();
        if runs.is_empty() && !writes.tracking.reconciler.has_to_wait(&row) {
            fail(&mut row, error);
        } else {
            row.foreseen = Some(error);
        }
    } else if row.parts.is_empty() {
        row.status = TaskStatus::Succeeded;
        row.started_at = Some(row.enqueued_at);
        row.finished_at = Some(row.enqueued_at);
        row.acknowledged = true;
    }
    // Both or neither: a row without its change of the registry, or the other way round, could not be told from a write
    // that was interrupted later.
    let begun = writes.ledger.store.begin_write(row.clone(), writes.ledger.registry.changes(&undo)).await;
    let durable = begun.map_err(|error| {
        writes.ledger.registry.undo(&undo);
        store_failed(&error)
    })?;

    let sending = Sending {
        writes,
        topology: &topology,
        durable: &durable,
        task: &task,
        spools: &spools,
        trace,
        judged: judged.as_ref(),
    };
    task.parts = send_all(&sending, intent, runs).await;
    let settled =
        insync::settle(&writes.ledger, &topology, intent, &task.parts).await.map_err(|error| store_failed(&error))?;
    if row.foreseen.is_some() {
        return Ok(ends_in_order(writes, row, task));
    }
    if row.status.is_final() {
        return Ok(row);
    }
    conclude(writes, task, settled, &undo).await
}

/// A batch that fails has made its index all the same: it ends when the nodes have the index, so that who sees that it has
/// failed sees the index too; and it ends after the tasks of the index before it. `row`, which is stored, names no parts: should the
/// gateway stop meanwhile, it fails when the next one looks at it.
fn ends_in_order(writes: &Writes, row: MiroirTask, sent: MiroirTask) -> MiroirTask {
    let makes_index = sent.parts.iter().any(|part| part.task_uid.is_some());
    let open = if makes_index { MiroirTask { parts: sent.parts, ..row } } else { row };
    writes.tracking.watch(open.clone());
    open
}

/// Tells store, reconciler and client how the write went.
async fn conclude(
    writes: &Arc<Writes>,
    mut task: MiroirTask,
    settled: Settled,
    undo: &Undo,
) -> Result<MiroirTask, ResponseError> {
    let nothing_accepted = task.parts.iter().all(|part| part.task_uid.is_none());
    if let Some(refusal) = settled.refused {
        // An index that was created first exists on the nodes now, and so it does here.
        if nothing_accepted {
            writes.ledger.roll_back(undo).await?;
        }
        writes.ledger.store.remove_task(task.uid).await.map_err(|error| store_failed(&error))?;
        return Err(refusal);
    }
    if let Some(error) = settled.no_replica {
        if nothing_accepted {
            writes.ledger.roll_back(undo).await?;
            fail(&mut task, error.clone());
        }
        writes.ledger.store.update_task(task.clone()).await.map_err(|error| store_failed(&error))?;
        // What some nodes have taken may yet fail on one of them and not on another.
        writes.tracking.watch(task);
        return Err(error);
    }
    // Who has missed it is stale, on disk and here; and who is no owner any more was not sent it. No gateway may read there by what it
    // was told before.
    writes.nodes.elsewhere.heard().await;
    task.acknowledged = true;
    writes.ledger.store.update_task(task.clone()).await.map_err(|error| store_failed(&error))?;
    writes.tracking.watch(task.clone());
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
