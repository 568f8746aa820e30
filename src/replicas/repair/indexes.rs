//! Indexes that are apart: repaired each for itself, while their nodes serve all the others.
//!
//! What a node has missed of an index is durable ([`crate::ledger::marks::Missed`]); the topology says it to reads
//! ([`Apart`]); the [`super::board`] says when to try. Whatever ends a try badly (the engine refuses a setting, its queue does not run
//! empty, nobody is there to compare with) is a matter of that index alone.
//!
//! Example: node-0 holds a `_geo` that is no point, so it cannot have `sortableAttributes: ["_geo"]`, which the others have. It is
//! up, `shops` is apart on it: reads of `shops` ask the others, writes of `shops` reach it as ever, `status` shows the engine's
//! words and the next try. The document is deleted; the next try succeeds.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::board::{Key, News, Step};
use super::error::RepairError;
use super::index::{TASK_LIMIT, deleted, done, enqueue_deletion, is_there, mark_all_gone, repair_index};
use super::state::Repairs;
use crate::ledger::bookkeeping::Held;
use crate::ledger::marks::Missed;
use crate::ledger::older_reads;
use crate::meili::task::{TaskKind, TaskStatus};
use crate::nodes::client::Trace;
use crate::nodes::health;
use crate::nodes::node_queue::drain;
use crate::placement::topology::{Apart, ApartSets, Node, NodeId, NodeIx, NodeState, Topology};
use crate::read::Remembered as _;
use crate::replicas::part::Replicas;
use crate::store::StoreError;
use crate::tasks::entry::MiroirTask;

/// How long the writes of an index are held back for one try.
const HELD_LIMIT: Duration = Duration::from_secs(15);
/// How long an index whose right settings nobody has at the moment is not asked; then it serves as it is.
const REFERENCE_LIMIT: Duration = Duration::from_secs(30);
/// A message may quote much.
const LONGEST_REFUSAL: usize = 1000;

/// A node has missed a change of an index, which is durable: it is repaired now if the node serves, else when it returns.
pub fn missed(replicas: &Arc<Replicas>, node: &NodeId, index: &str) {
    let key = (node.clone(), index.to_owned());
    replicas.repairs.indexes.board.lock().missed(&key, Instant::now());
    replicas.repairs.indexes.changed.notify_waiters();
    follow(replicas, key);
}

/// A task of `index` has ended: what was refused before may be taken now.
pub fn touched(replicas: &Replicas, index: &str, task: &MiroirTask) {
    let news = match task.kind {
        TaskKind::SettingsUpdate if task.status == TaskStatus::Succeeded => News::Changed,
        TaskKind::IndexCreation | TaskKind::IndexDeletion | TaskKind::IndexUpdate | TaskKind::IndexSwap => {
            News::Changed
        }
        TaskKind::SettingsUpdate
        | TaskKind::DocumentAdditionOrUpdate
        | TaskKind::DocumentEdition
        | TaskKind::DocumentDeletion
        | TaskKind::IndexCompaction => News::Written,
        TaskKind::TaskCancelation
        | TaskKind::TaskDeletion
        | TaskKind::DumpCreation
        | TaskKind::SnapshotCreation
        | TaskKind::Export
        | TaskKind::UpgradeDatabase
        | TaskKind::NetworkTopologyChange
        | TaskKind::DsrUpdate
        | TaskKind::DsrClear => return,
    };
    hear(&replicas.repairs, index, news);
}

/// Replicas of `index` were copied somewhere: a document that forbade a setting may be gone.
pub fn copied(repairs: &Repairs, index: &str) {
    hear(repairs, index, News::Written);
}

/// Wakes the repairs if the index is apart on some node.
pub(super) fn hear(repairs: &Repairs, index: &str, news: News) {
    if repairs.indexes.board.lock().hear(index, news, Instant::now()) {
        repairs.indexes.changed.notify_waiters();
    }
}

/// A node serves (again): what is apart on it is looked after, and others may wait for it to compare with.
pub(super) fn node_is_up(replicas: &Arc<Replicas>, node: &NodeId) {
    let (topology, now) = (replicas.nodes.topology(), Instant::now());
    replicas.repairs.indexes.board.lock().hear_all(now);
    replicas.repairs.indexes.changed.notify_waiters();
    for (_, index) in topology.apart.keys().filter(|(ix, _)| topology.node(*ix).id == *node) {
        let key = (node.clone(), index.clone());
        replicas.repairs.indexes.board.lock().note(&key, now);
        follow(replicas, key);
    }
}

/// Tries until the index is as the cluster's or its node does not serve any more.
fn follow(replicas: &Arc<Replicas>, key: Key) {
    if !serves(replicas, &key.0) || !replicas.repairs.indexes.followed.lock().insert(key.clone()) {
        return;
    }
    let replicas = Arc::clone(replicas);
    tokio::spawn(async move {
        let indexes = &replicas.repairs.indexes;
        while serves(&replicas, &key.0) {
            let changed = indexes.changed.notified();
            let step = indexes.board.lock().step(&key, Instant::now());
            match step {
                Step::Nothing => break,
                Step::Try => {
                    let _permit = indexes.tries.acquire().await;
                    try_now(&replicas, &key, TASK_LIMIT).await;
                }
                Step::Wait(until) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
                Step::UnderWay => changed.await,
            }
        }
        indexes.followed.lock().remove(&key);
        // What came between the last look and this moment.
        if indexes.board.lock().of(&key).is_some() {
            follow(&replicas, key);
        }
    });
}

fn serves(replicas: &Replicas, node: &NodeId) -> bool {
    let topology = replicas.nodes.topology();
    topology.find(node.as_str()).is_some_and(|ix| topology.node(ix).state == NodeState::Up)
}

/// One try out of turn, for a node that returns. `Err` only for what concerns the node as a whole.
pub(super) async fn look_at(
    replicas: &Arc<Replicas>,
    node: &NodeId,
    index: &str,
    limit: Duration,
) -> Result<bool, RepairError> {
    let key = (node.clone(), index.to_owned());
    if !replicas.repairs.indexes.board.lock().begin(&key, Instant::now()) {
        return Ok(true);
    }
    match try_now(replicas, &key, limit).await {
        Some(error) if error.concerns_node(node) => Err(error),
        Some(_) => Ok(false),
        None => Ok(true),
    }
}

/// A try that the board knows of; the error of one that failed.
async fn try_now(replicas: &Arc<Replicas>, key: &Key, limit: Duration) -> Option<RepairError> {
    let (node, index) = key;
    let mut absent = false;
    let tried = match tokio::time::timeout(limit, attempt(replicas, key, &mut absent)).await {
        Ok(tried) => tried,
        Err(_) => Err(RepairError::Busy { index: index.clone(), limit }),
    };
    let failed = match tried {
        Ok(()) => mark_repaired(replicas, key).await.err().map(RepairError::from),
        Err(error) => Some(error),
    };
    let is_apart = {
        let topology = replicas.nodes.topology();
        topology.find(node.as_str()).is_some_and(|ix| topology.apart_of(ix, index).is_some())
    };
    if failed.as_ref().is_some_and(|error| error.concerns_node(node)) && !is_apart {
        // It says nothing of the index.
        replicas.repairs.indexes.board.lock().forget(key);
    } else if let Some(error) = &failed {
        fail(replicas, key, error, absent).await;
        tracing::warn!(node = %node, index, %error, "an index could not be made as the cluster's yet; the node serves the others");
    }
    replicas.repairs.indexes.changed.notify_waiters();
    failed
}

/// `absent` is set when the index is not there, or not any more.
async fn attempt(replicas: &Arc<Replicas>, (id, index): &Key, absent: &mut bool) -> Result<(), RepairError> {
    let trace = Trace::background("repair");
    let topology = replicas.nodes.topology().detached();
    let Some(ix) = topology.find(id.as_str()) else { return Ok(()) };
    let node = topology.node(ix);
    let missed = replicas.ledger.bookkeeping.missed_by(id).await;
    let suspected = missed.concerns(index);
    if missed.outdated.contains(index) {
        *absent = true;
        clear_away(replicas, ix, index, &trace).await?;
    }
    if !replicas.ledger.registry.exists(index) {
        return Ok(());
    }
    if suspected {
        // Most of the waiting is done while writes go on.
        if let Ok(measure) = reference(replicas, ix, index).await {
            for other in std::iter::once(node).chain(&measure) {
                drain(&replicas.nodes, other, index, &trace).await?;
            }
        }
    }
    let patching = patch(replicas, ix, index, suspected, absent, &trace);
    let patched = tokio::time::timeout(HELD_LIMIT, patching)
        .await
        .map_err(|_| RepairError::Busy { index: index.clone(), limit: HELD_LIMIT })??;
    // The patch has its place in the node's queue, so writes may come after it.
    if let Some(uid) = patched {
        done(replicas.nodes.client.wait(node, uid, TASK_LIMIT).await?)?;
    }
    Ok(())
}

/// Compares with the writes of the index held back; the node's task that puts right what differs.
async fn patch(
    replicas: &Arc<Replicas>,
    ix: NodeIx,
    index: &str,
    suspected: bool,
    absent: &mut bool,
    trace: &Trace,
) -> Result<Option<u32>, RepairError> {
    let hold = replicas.writes.order.gates.hold(index).await;
    // It may have been deleted while this waited.
    let Some(entry) = replicas.ledger.registry.entry(index) else { return Ok(None) };
    let measure = match reference(replicas, ix, index).await {
        Ok(measure) => measure,
        Err(error) => {
            // No write may make one with settings of its own meanwhile.
            *absent |= !is_there(replicas, ix, index, trace).await?;
            return Err(error);
        }
    };
    repair_index(replicas, ix, suspected, (&entry, measure.as_ref()), absent, &hold, trace).await
}

/// Whose settings of an index are right, of the nodes that are up; `None` where there is nobody who could know better.
///
/// While a refused change is taken back, those who refused it are the measure of the others, and nobody is theirs.
async fn reference(replicas: &Replicas, ix: NodeIx, index: &str) -> Result<Option<Node>, RepairError> {
    let topology = replicas.nodes.topology().detached();
    let refused_by = replicas.ledger.refusals.refused_by(index);
    if refused_by.contains(&topology.node(ix).id) && topology.apart_of(ix, index).is_none() {
        return Ok(None);
    }
    let refused = |node: NodeIx| refused_by.contains(&topology.node(node).id);
    // One that refused it itself is compared with everybody, but for what is being taken back.
    let is_measure = |other: NodeIx| refused_by.is_empty() || refused(other) || refused(ix);
    let right = |other: &NodeIx| *other != ix && topology.apart_of(*other, index).is_none() && is_measure(*other);
    let others: Vec<NodeIx> = topology.members().filter(right).collect();
    if let Some(up) = others.iter().find(|other| topology.node(**other).state == NodeState::Up) {
        return Ok(Some(topology.node(*up).clone()));
    }
    if others.is_empty() {
        return Ok(None);
    }
    // Who has missed nothing is the measure of those who come later; so is one of those who have all missed something.
    if topology.apart_of(ix, index).is_none()
        && refused_by.is_empty()
        && !is_outranked(replicas, ix, index, &others).await
    {
        return Ok(None);
    }
    let nodes = others.iter().map(|other| topology.node(*other).id.as_str()).collect::<Vec<_>>().join(", ");
    Err(RepairError::Away { nodes })
}

/// True for a node that has missed something of the index where one of `others` has not. Example: node-0 was emptied and is the first
/// one to answer after a restart of the cluster; what it holds of settings is right for nobody, however long the others take.
async fn is_outranked(replicas: &Replicas, ix: NodeIx, index: &str, others: &[NodeIx]) -> bool {
    let topology = replicas.nodes.topology().detached();
    let bookkeeping = &replicas.ledger.bookkeeping;
    if !bookkeeping.missed_by(&topology.node(ix).id).await.concerns(index) {
        return false;
    }
    for other in others {
        if !bookkeeping.missed_by(&topology.node(*other).id).await.concerns(index) {
            return true;
        }
    }
    false
}

/// Deletes content that belongs to the past; what is to come in its place is stale. Writes are held back until the deletion has
/// its place in the node's queue; then they may come after it, however long that queue is.
async fn clear_away(replicas: &Arc<Replicas>, ix: NodeIx, index: &str, trace: &Trace) -> Result<(), RepairError> {
    // Nobody reads an absent index any more.
    let topology = replicas.nodes.topology().detached();
    older_reads::end(&replicas.ledger, ix, index, topology.shards_of(ix)).await;
    let (own, uid, own_trace) = (Arc::clone(replicas), index.to_owned(), trace.clone());
    // Not to be cut off between the node's answer and the note of it: the deletion would be sent again, over what is new.
    let begun = tokio::spawn(async move { begin_clearing(&own, ix, &uid, &own_trace).await });
    match begun.await?? {
        Some(task) => deleted(replicas, ix, task).await,
        None => Ok(()),
    }
}

async fn begin_clearing(
    replicas: &Arc<Replicas>,
    ix: NodeIx,
    index: &str,
    trace: &Trace,
) -> Result<Option<u32>, RepairError> {
    // Nobody may create it meanwhile.
    let _hold = replicas.writes.order.gates.hold(index).await;
    if replicas.ledger.registry.exists(index) {
        mark_all_gone(replicas, ix, index).await?;
    }
    let task = enqueue_deletion(replicas, ix, index, trace).await?;
    let id = replicas.nodes.topology().node(ix).id.clone();
    let mut held = replicas.ledger.bookkeeping.hold().await;
    held.add(replicas.ledger.store.as_ref(), |missed| {
        if let Some(own) = missed.get_mut(&id) {
            // Should the rest fail, what is new must not be deleted again.
            own.outdated.remove(index);
            own.indexes.insert(index.to_owned());
        }
    })
    .await?;
    Ok(task)
}

/// The index is as the cluster's: durable, then published. Where more was missed meanwhile it stays apart.
async fn mark_repaired(replicas: &Arc<Replicas>, key: &Key) -> Result<(), StoreError> {
    let mut held = replicas.ledger.bookkeeping.hold().await;
    let board = &replicas.repairs.indexes.board;
    let missed_it = |own: &Missed| own.outdated.contains(&key.1) || own.indexes.contains(&key.1);
    if !held.missed().get(&key.0).is_some_and(missed_it) || board.lock().has_news(key) {
        board.lock().succeeded(key, Instant::now());
        return Ok(());
    }
    held.take(replicas.ledger.store.as_ref(), |missed| {
        if let Some(own) = missed.get_mut(&key.0) {
            own.outdated.remove(&key.1);
            own.indexes.remove(&key.1);
        }
        missed.retain(|_, own| !own.is_nothing());
    })
    .await?;
    board.lock().succeeded(key, Instant::now());
    publish(replicas, &held, key, None);
    tracing::info!(node = %key.0, index = key.1, "the index is as the cluster's again");
    replicas.ledger.copies_due.notify_one();
    Ok(())
}

async fn fail(replicas: &Arc<Replicas>, key: &Key, error: &RepairError, absent: bool) {
    let mut held = replicas.ledger.bookkeeping.hold().await;
    let since = replicas.repairs.indexes.board.lock().of(key).map_or_else(Instant::now, |case| case.since);
    let noted = held.add(replicas.ledger.store.as_ref(), |missed| {
        let own = missed.entry(key.0.clone()).or_default();
        if !own.outdated.contains(&key.1) {
            own.indexes.insert(key.1.clone());
        }
    });
    if let Err(error) = noted.await {
        tracing::error!(%error, node = %key.0, index = key.1, "that an index is apart could not be stored");
    }
    let kind = match error {
        _ if absent => Apart::Absent,
        RepairError::Away { .. } if since.elapsed() < REFERENCE_LIMIT => Apart::Unknown,
        _ => Apart::Differs,
    };
    publish(replicas, &held, key, Some(kind));
    let refusal = error.to_string().chars().take(LONGEST_REFUSAL).collect();
    replicas.repairs.indexes.board.lock().failed(key, Instant::now(), refusal);
}

fn publish(replicas: &Replicas, _held: &Held<'_>, (node, index): &Key, apart: Option<Apart>) {
    let topology = replicas.nodes.topology();
    let Some(ix) = topology.find(node.as_str()) else { return };
    if topology.apart_of(ix, index) == apart {
        return;
    }
    health::publish(&replicas.nodes, |next| {
        let mut sets = ApartSets::clone(&next.apart);
        match apart {
            Some(kind) => sets.insert((ix, index.clone()), kind),
            None => sets.remove(&(ix, index.clone())),
        };
        next.apart = Arc::new(sets);
    });
}

/// For operators: what is being repaired on a node, what was refused last, and when it is tried next.
pub fn view(replicas: &Replicas, topology: &Topology, node: NodeIx) -> Value {
    let board = replicas.repairs.indexes.board.lock();
    let (now, clock) = (Instant::now(), OffsetDateTime::now_utc());
    let past = |at: Instant| (clock - now.saturating_duration_since(at)).format(&Rfc3339).ok();
    let to_come = |at: Instant| (clock + at.saturating_duration_since(now)).format(&Rfc3339).ok();
    let rows = topology.apart.iter().filter(|((ix, _), _)| *ix == node).map(|((_, index), kind)| {
        let case = board.of(&(topology.node(node).id.clone(), index.clone()));
        json!({
            "index": index,
            "state": kind,
            "since": case.and_then(|case| past(case.since)),
            "tries": case.map_or(0, |case| case.tries),
            "refusal": case.and_then(|case| case.refusal.as_deref()),
            "nextTry": case.filter(|case| !case.running).and_then(|case| to_come(case.due)),
        })
    });
    rows.collect()
}
