//! Indexes that are apart: repaired each for itself, while their nodes serve all the others.
//!
//! What a node has missed of an index is durable ([`crate::ledger::insync::Missed`]); the topology says it to reads
//! ([`Apart`]); the [`super::board`] says when to try. Whatever ends a try badly (the engine refuses a setting, its queue does not run
//! empty, nobody is there to compare with) is a matter of that index alone.
//!
//! Example: node-0 holds a `_geo` that is no point, so it cannot have `sortableAttributes: ["_geo"]`, which the others have. It is
//! up, `shops` is apart on it: reads of `shops` ask the others, writes of `shops` reach it as ever, `status` shows the engine's
//! words and the next try. The document is deleted; the next try succeeds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::board::{Board, Key, News, Step};
use super::index::{delete_index, done, repair_index};
use super::{RepairError, TASK_LIMIT};
use crate::cluster::Cluster;
use crate::ledger::insync::{self, Marks};
use crate::meili::task::{TaskKind, TaskStatus};
use crate::nodes::client::Trace;
use crate::nodes::health;
use crate::nodes::node_queue::drain;
use crate::placement::topology::{Apart, ApartSets, Node, NodeId, NodeIx, NodeState, Topology};
use crate::store::StoreError;
use crate::tasks::entry::MiroirTask;

/// How long the writes of an index are held back for one try.
const HELD_LIMIT: Duration = Duration::from_secs(15);
/// How long an index whose right settings nobody has at the moment is not asked; then it serves as it is.
const REFERENCE_LIMIT: Duration = Duration::from_secs(30);
/// How many indexes are tried at the same moment.
const TRIES_AT_ONCE: usize = 4;
/// A message may quote much.
const LONGEST_REFUSAL: usize = 1000;

/// What is known of indexes that are apart.
pub(super) struct Indexes {
    board: parking_lot::Mutex<Board>,
    /// Who is looked after by a task of its own.
    followed: parking_lot::Mutex<BTreeSet<Key>>,
    /// The board has changed.
    changed: tokio::sync::Notify,
    tries: tokio::sync::Semaphore,
}

impl Default for Indexes {
    fn default() -> Self {
        Self {
            board: parking_lot::Mutex::default(),
            followed: parking_lot::Mutex::default(),
            changed: tokio::sync::Notify::new(),
            tries: tokio::sync::Semaphore::new(TRIES_AT_ONCE),
        }
    }
}

/// A node has missed a change of an index, which is durable: it is repaired now if the node serves, else when it returns.
pub fn missed(cluster: &Arc<Cluster>, node: &NodeId, index: &str) {
    let key = (node.clone(), index.to_owned());
    cluster.repairs.indexes.board.lock().missed(&key, Instant::now());
    cluster.repairs.indexes.changed.notify_waiters();
    follow(cluster, key);
}

/// A task of `index` has ended: what was refused before may be taken now.
pub fn touched(cluster: &Cluster, index: &str, task: &MiroirTask) {
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
        | TaskKind::UpgradeDatabase => return,
    };
    hear(cluster, index, news);
}

/// Replicas of `index` were copied somewhere: a document that forbade a setting may be gone.
pub fn copied(cluster: &Cluster, index: &str) {
    hear(cluster, index, News::Written);
}

pub(super) fn hear(cluster: &Cluster, index: &str, news: News) {
    if cluster.repairs.indexes.board.lock().hear(index, news, Instant::now()) {
        cluster.repairs.indexes.changed.notify_waiters();
    }
}

/// A node serves (again): what is apart on it is looked after, and others may wait for it to compare with.
pub(super) fn node_is_up(cluster: &Arc<Cluster>, node: &NodeId) {
    let (topology, now) = (cluster.topology(), Instant::now());
    cluster.repairs.indexes.board.lock().hear_all(now);
    cluster.repairs.indexes.changed.notify_waiters();
    for (_, index) in topology.apart.keys().filter(|(ix, _)| topology.node(*ix).id == *node) {
        let key = (node.clone(), index.clone());
        cluster.repairs.indexes.board.lock().note(&key, now);
        follow(cluster, key);
    }
}

/// Tries until the index is as the cluster's or its node does not serve any more.
fn follow(cluster: &Arc<Cluster>, key: Key) {
    if !serves(cluster, &key.0) || !cluster.repairs.indexes.followed.lock().insert(key.clone()) {
        return;
    }
    let cluster = Arc::clone(cluster);
    tokio::spawn(async move {
        let indexes = &cluster.repairs.indexes;
        while serves(&cluster, &key.0) {
            let changed = indexes.changed.notified();
            let step = indexes.board.lock().step(&key, Instant::now());
            match step {
                Step::Nothing => break,
                Step::Try => {
                    let _permit = indexes.tries.acquire().await;
                    try_now(&cluster, &key, TASK_LIMIT).await;
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
            follow(&cluster, key);
        }
    });
}

fn serves(cluster: &Cluster, node: &NodeId) -> bool {
    let topology = cluster.topology();
    topology.find(node.as_str()).is_some_and(|ix| topology.node(ix).state == NodeState::Up)
}

/// One try out of turn, for a node that returns. `Err` only for what concerns the node as a whole.
pub(super) async fn look_at(
    cluster: &Arc<Cluster>,
    node: &NodeId,
    index: &str,
    limit: Duration,
) -> Result<bool, RepairError> {
    let key = (node.clone(), index.to_owned());
    if !cluster.repairs.indexes.board.lock().begin(&key, Instant::now()) {
        return Ok(true);
    }
    match try_now(cluster, &key, limit).await {
        Some(error) if error.concerns_node(node) => Err(error),
        Some(_) => Ok(false),
        None => Ok(true),
    }
}

/// A try that the board knows of; the error of one that failed.
async fn try_now(cluster: &Arc<Cluster>, key: &Key, limit: Duration) -> Option<RepairError> {
    let (node, index) = key;
    let mut absent = false;
    let tried = match tokio::time::timeout(limit, attempt(cluster, key, &mut absent)).await {
        Ok(tried) => tried,
        Err(_) => Err(RepairError::Busy { index: index.clone(), limit }),
    };
    let failed = match tried {
        Ok(()) => settle(cluster, key).await.err().map(RepairError::from),
        Err(error) => Some(error),
    };
    let is_apart = {
        let topology = cluster.topology();
        topology.find(node.as_str()).is_some_and(|ix| topology.apart_of(ix, index).is_some())
    };
    if failed.as_ref().is_some_and(|error| error.concerns_node(node)) && !is_apart {
        // It says nothing of the index.
        cluster.repairs.indexes.board.lock().forget(key);
    } else if let Some(error) = &failed {
        fail(cluster, key, error, absent).await;
        tracing::warn!(node = %node, index, %error, "an index could not be made as the cluster's yet; the node serves the others");
    }
    cluster.repairs.indexes.changed.notify_waiters();
    failed
}

/// `absent` is set when the index is not there, or not any more.
async fn attempt(cluster: &Arc<Cluster>, (id, index): &Key, absent: &mut bool) -> Result<(), RepairError> {
    let trace = Trace::background("repair");
    let topology = cluster.topology().detached();
    let Some(ix) = topology.find(id.as_str()) else { return Ok(()) };
    let node = topology.node(ix);
    let missed = cluster.bookkeeping.missed_by(id).await;
    let suspected = missed.concerns(index);
    if missed.outdated.contains(index) {
        *absent = true;
        clear_away(cluster, ix, index, &trace).await?;
    }
    if !cluster.registry.exists(index) {
        return Ok(());
    }
    if suspected {
        // Most of the waiting is done while writes go on.
        let measure = reference(cluster, ix, index)?;
        for other in std::iter::once(node).chain(&measure) {
            drain(cluster, other, index, &trace).await?;
        }
    }
    let patching = patch(cluster, ix, index, suspected, absent, &trace);
    let patched = tokio::time::timeout(HELD_LIMIT, patching)
        .await
        .map_err(|_| RepairError::Busy { index: index.clone(), limit: HELD_LIMIT })??;
    // The patch has its place in the node's queue, so writes may come after it.
    if let Some(uid) = patched {
        done(cluster.client.wait(node, uid, TASK_LIMIT).await?)?;
    }
    Ok(())
}

/// Compares with the writes of the index held back; the node's task that puts right what differs.
async fn patch(
    cluster: &Arc<Cluster>,
    ix: NodeIx,
    index: &str,
    suspected: bool,
    absent: &mut bool,
    trace: &Trace,
) -> Result<Option<u32>, RepairError> {
    let _hold = cluster.writer.gates.hold(index).await;
    // It may have been deleted while this waited.
    let Some(entry) = cluster.registry.entry(index) else { return Ok(None) };
    let measure = reference(cluster, ix, index)?;
    repair_index(cluster, ix, suspected, &entry, measure.as_ref(), absent, trace).await
}

/// Whose settings of an index are right, of the nodes that are up; `None` where there is nobody who could know better.
///
/// While a refused change is taken back, those who refused it are the measure of the others, and nobody is theirs.
fn reference(cluster: &Cluster, ix: NodeIx, index: &str) -> Result<Option<Node>, RepairError> {
    let topology = cluster.topology();
    let refused_by = cluster.refusals.refused_by(index);
    if refused_by.contains(&topology.node(ix).id) && topology.apart_of(ix, index).is_none() {
        return Ok(None);
    }
    let right = |other: &NodeIx| {
        *other != ix
            && topology.apart_of(*other, index).is_none()
            && (refused_by.is_empty() || refused_by.contains(&topology.node(*other).id))
    };
    let others: Vec<NodeIx> = topology.members().filter(right).collect();
    if let Some(up) = others.iter().find(|other| topology.node(**other).state == NodeState::Up) {
        return Ok(Some(topology.node(*up).clone()));
    }
    // Who has missed nothing is the measure of those who come later.
    if topology.apart_of(ix, index).is_none() && refused_by.is_empty() {
        return Ok(None);
    }
    if others.is_empty() {
        return Ok(None);
    }
    let nodes = others.iter().map(|other| topology.node(*other).id.as_str()).collect::<Vec<_>>().join(", ");
    Err(RepairError::Away { nodes })
}

/// Deletes content that belongs to the past; what is to come in its place is stale.
async fn clear_away(cluster: &Arc<Cluster>, ix: NodeIx, index: &str, trace: &Trace) -> Result<(), RepairError> {
    // Nobody may create it meanwhile.
    let _hold = cluster.writer.gates.hold(index).await;
    if cluster.registry.exists(index) {
        let shards = cluster.topology().shards_of(ix).clone();
        let marks = Marks { stale: vec![(ix, index.to_owned(), shards)], missed: Vec::new() };
        insync::mark_gone(cluster, &marks).await?;
    }
    delete_index(cluster, ix, index, trace).await?;
    let id = cluster.topology().node(ix).id.clone();
    let mut missed = cluster.bookkeeping.hold().await;
    if let Some(own) = missed.get_mut(&id) {
        // Should the rest fail, what is new must not be deleted again.
        own.outdated.remove(index);
        own.indexes.insert(index.to_owned());
        insync::store_missed(cluster, &missed).await?;
    }
    Ok(())
}

/// The index is as the cluster's: durable, then published. Where more was missed meanwhile it stays apart.
async fn settle(cluster: &Arc<Cluster>, key: &Key) -> Result<(), StoreError> {
    let mut missed = cluster.bookkeeping.hold().await;
    let board = &cluster.repairs.indexes.board;
    let mut next = missed.clone();
    let known = next.get_mut(&key.0).is_some_and(|own| own.outdated.remove(&key.1) | own.indexes.remove(&key.1));
    if !known || board.lock().has_news(key) {
        board.lock().succeeded(key, Instant::now());
        return Ok(());
    }
    next.retain(|_, own| !own.is_nothing());
    insync::store_missed(cluster, &next).await?;
    *missed = next;
    board.lock().succeeded(key, Instant::now());
    publish(cluster, key, None);
    tracing::info!(node = %key.0, index = key.1, "the index is as the cluster's again");
    cluster.resilver.notify_one();
    Ok(())
}

async fn fail(cluster: &Arc<Cluster>, key: &Key, error: &RepairError, absent: bool) {
    let mut missed = cluster.bookkeeping.hold().await;
    let since = cluster.repairs.indexes.board.lock().of(key).map_or_else(Instant::now, |case| case.since);
    let own = missed.entry(key.0.clone()).or_default();
    if !own.outdated.contains(&key.1) && own.indexes.insert(key.1.clone()) {
        if let Err(error) = insync::store_missed(cluster, &missed).await {
            tracing::error!(%error, node = %key.0, index = key.1, "that an index is apart could not be stored");
        }
    }
    let kind = match error {
        _ if absent => Apart::Absent,
        RepairError::Away { .. } if since.elapsed() < REFERENCE_LIMIT => Apart::Unsettled,
        _ => Apart::Differs,
    };
    publish(cluster, key, Some(kind));
    let refusal = error.to_string().chars().take(LONGEST_REFUSAL).collect();
    cluster.repairs.indexes.board.lock().failed(key, Instant::now(), refusal);
}

/// To be called with the bookkeeping held.
fn publish(cluster: &Cluster, (node, index): &Key, apart: Option<Apart>) {
    let topology = cluster.topology();
    let Some(ix) = topology.find(node.as_str()) else { return };
    if topology.apart_of(ix, index) == apart {
        return;
    }
    health::publish(cluster, |next| {
        let mut sets = ApartSets::clone(&next.apart);
        match apart {
            Some(kind) => sets.insert((ix, index.clone()), kind),
            None => sets.remove(&(ix, index.clone())),
        };
        next.apart = Arc::new(sets);
    });
}

/// For operators: what is being repaired on a node, what was refused last, and when it is tried next.
pub fn view(cluster: &Cluster, topology: &Topology, node: NodeIx) -> Value {
    let board = cluster.repairs.indexes.board.lock();
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
