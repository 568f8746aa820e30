//! In-sync sets: which replicas have missed a write, and which nodes have missed a change of a whole index. Durable before
//! anything is acknowledged that they have missed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::settle::{self, Settled};
use crate::cluster::Cluster;
use crate::meili::error::{Code, ResponseError};
use crate::meili::task::{TaskKind, TaskStatus};
use crate::nodes::health;
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::{Apart, ApartSets, NodeId, NodeIx, StaleSets, Topology};
use crate::plan::write::WriteIntent;
use crate::replicas::repair;
use crate::store::{Store, StoreError};
use crate::tasks::details::settle_unsuccessful;
use crate::tasks::entry::{MiroirTask, NodeTask};
use crate::tasks::stale::stale_parts;

/// The fact of the store that holds [`Missed`] of all nodes.
const MISSED: &str = "missed_changes";

/// What a node has missed of the changes that concern whole indexes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// A change of features or keys, or of nobody knows which indexes: everything is compared before it serves on.
    #[serde(default)]
    pub settings: bool,
    /// Indexes of which it has missed a change of settings or primary key: only these are compared, and it serves the others.
    #[serde(default)]
    pub indexes: BTreeSet<String>,
    /// Indexes whose content on the node belongs to the past (deleted or swapped meanwhile): to be deleted there.
    #[serde(default)]
    pub outdated: BTreeSet<String>,
    /// The node was no member for some time: indexes that it has and the registry has not were deleted meanwhile.
    #[serde(default)]
    pub away: bool,
}

/// By node.
pub type MissedByNode = BTreeMap<NodeId, Missed>;

/// What a write adds to the in-sync bookkeeping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    pub stale: Vec<(NodeIx, String, ShardSet)>,
    pub missed: Vec<(NodeIx, Missed)>,
}

/// Guards the bookkeeping: changes are made durable and published one after the other.
#[derive(Default)]
pub struct Bookkeeping {
    missed: tokio::sync::Mutex<MissedByNode>,
    /// How many times a node's replicas of an index were marked stale, those that were stale already too. Changed only
    /// with `missed` locked.
    misses: parking_lot::Mutex<BTreeMap<(NodeIx, String), u64>>,
}

/// How many writes a node's replicas of an index had missed at a moment; see [`clear`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misses(u64);

// === impl Bookkeeping ===

impl Bookkeeping {
    /// Reads what is durable; the stale sets of nodes that are no part of the topology are left where they are.
    pub async fn load(store: &dyn Store, topology: &Topology) -> Result<(Self, StaleSets), StoreError> {
        let mut stale = StaleSets::new();
        for (node, index, shards) in store.stale().await? {
            if let Some(ix) = topology.find(node.as_str()) {
                stale.insert((ix, index), shards);
            }
        }
        let missed = match store.get_meta(MISSED).await? {
            Some(text) => {
                serde_json::from_str(&text).map_err(|source| StoreError::Corrupt { what: "missed changes", source })?
            }
            None => MissedByNode::new(),
        };
        Ok((Self { missed: tokio::sync::Mutex::new(missed), ..Self::default() }, stale))
    }

    /// While this is held no replica becomes stale or in sync.
    pub(crate) async fn hold(&self) -> tokio::sync::MutexGuard<'_, MissedByNode> {
        self.missed.lock().await
    }

    pub async fn missed_by(&self, node: &NodeId) -> Missed {
        self.missed.lock().await.get(node).cloned().unwrap_or_default()
    }
}

// === impl Missed ===

impl Missed {
    pub fn is_nothing(&self) -> bool {
        !self.is_node_wide() && self.outdated.is_empty() && self.indexes.is_empty()
    }

    /// True for what concerns the node as a whole, not this or that index.
    pub fn is_node_wide(&self) -> bool {
        self.settings || self.away
    }

    /// True when `index` may differ on the node.
    pub fn concerns(&self, index: &str) -> bool {
        self.is_node_wide() || self.outdated.contains(index) || self.indexes.contains(index)
    }

    /// The settings of these indexes.
    pub fn of(indexes: impl IntoIterator<Item = String>) -> Self {
        Self { indexes: indexes.into_iter().collect(), ..Self::default() }
    }
}

// === impl Marks ===

impl Marks {
    pub fn is_empty(&self) -> bool {
        self.stale.is_empty() && self.missed.is_empty()
    }
}

/// What may be made of marks: the stale sets that they change, whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    pub stale: StaleSets,
    /// Replicas that stay in sync although they are behind, because no other replica of their shard is.
    pub spared: Vec<(NodeIx, String, ShardId)>,
}

/// Adds `marks` to the stale sets of `topology`, but for what would leave a shard without any replica in sync: then the
/// first in rank stays the measure of the others. Pure.
pub fn admit(topology: &Topology, marks: &Marks) -> Admitted {
    let mut admitted = Admitted { stale: merged(topology, marks), spared: Vec::new() };
    let touched: BTreeSet<(String, ShardId)> =
        marks.stale.iter().flat_map(|(_, index, shards)| shards.iter().map(|shard| (index.clone(), shard))).collect();
    for (index, shard) in touched {
        let owners = topology.owners_of(shard);
        let stays = |node: &NodeIx| {
            let known = topology.is_stale(*node, &index, shard);
            !known && !admitted.stale.get(&(*node, index.clone())).is_some_and(|shards| shards.contains(shard))
        };
        if owners.iter().any(stays) {
            continue;
        }
        let Some(spared) = owners.iter().copied().find(|node| !topology.is_stale(*node, &index, shard)) else {
            continue;
        };
        if let Some(shards) = admitted.stale.get_mut(&(spared, index.clone())) {
            *shards = shards.iter().filter(|other| *other != shard).collect();
        }
        admitted.spared.push((spared, index, shard));
    }
    admitted.stale.retain(|key, shards| !shards.is_empty() && topology.stale.get(key) != Some(shards));
    admitted
}

/// The stale sets that `marks` touch, with the marks added.
fn merged(topology: &Topology, marks: &Marks) -> StaleSets {
    let mut merged = StaleSets::new();
    for (node, index, shards) in marks.stale.iter().filter(|(_, _, shards)| !shards.is_empty()) {
        let key = (*node, index.clone());
        let set = merged.entry(key.clone()).or_insert_with(|| topology.stale.get(&key).cloned().unwrap_or_default());
        set.union_with(shards);
    }
    merged.retain(|key, shards| topology.stale.get(key) != Some(shards));
    merged
}

/// Draws the conclusions from the nodes' answers to a write and makes the marks durable, in one: two writes that are under
/// way together must not each count on the replica that the other one has just found to be behind.
pub async fn settle(
    cluster: &Arc<Cluster>,
    placed: &Topology,
    intent: &WriteIntent,
    parts: &[NodeTask],
) -> Result<Settled, StoreError> {
    let mut missed = cluster.bookkeeping.missed.lock().await;
    let settled = settle::settle(&cluster.topology(), placed, intent, parts, cluster.settings.write.min_in_sync);
    if settled.refused.is_none() {
        let admitted = admit(&cluster.topology(), &settled.marks);
        record(cluster, &mut missed, &settled.marks, admitted).await?;
    }
    Ok(settled)
}

/// Makes `marks` durable, then publishes them; no shard is left without a replica in sync. What was missed of an index is
/// repaired beside the others; nodes that missed more go back to being repaired as a whole.
pub async fn mark(cluster: &Arc<Cluster>, marks: &Marks) -> Result<(), StoreError> {
    if marks.is_empty() {
        return Ok(());
    }
    let mut missed = cluster.bookkeeping.missed.lock().await;
    let admitted = admit(&cluster.topology(), marks);
    record(cluster, &mut missed, marks, admitted).await
}

/// What the end of a task means for the in-sync sets, in one with making it durable; see [`conclude`].
pub async fn end(cluster: &Arc<Cluster>, task: &mut MiroirTask) -> Result<Marks, StoreError> {
    let mut missed = cluster.bookkeeping.missed.lock().await;
    let topology = cluster.topology();
    let marks = conclude(task, &topology);
    record(cluster, &mut missed, &marks, admit(&topology, &marks)).await?;
    Ok(marks)
}

/// As [`mark`], for replicas whose content is gone: these are stale even where no other is in sync.
pub async fn mark_gone(cluster: &Arc<Cluster>, marks: &Marks) -> Result<(), StoreError> {
    if marks.is_empty() {
        return Ok(());
    }
    let mut missed = cluster.bookkeeping.missed.lock().await;
    let admitted = Admitted { stale: merged(&cluster.topology(), marks), spared: Vec::new() };
    record(cluster, &mut missed, marks, admitted).await
}

/// To be called with the bookkeeping locked, and `admitted` made of the topology since.
async fn record(
    cluster: &Arc<Cluster>,
    missed: &mut MissedByNode,
    marks: &Marks,
    admitted: Admitted,
) -> Result<(), StoreError> {
    let topology = cluster.topology();
    for (node, index, _) in marks.stale.iter().filter(|(_, _, shards)| !shards.is_empty()) {
        *cluster.bookkeeping.misses.lock().entry((*node, index.clone())).or_default() += 1;
    }
    for (node, index, shard) in &admitted.spared {
        let (node, shard) = (&topology.node(*node).id, shard.0);
        tracing::error!(%node, index, shard, "a replica is behind, and stays the measure because no other is in sync");
    }
    let added = admitted.stale;
    for ((node, index), shards) in &added {
        cluster.store.put_stale(topology.node(*node).id.clone(), index.clone(), shards.clone()).await?;
    }
    let before = missed.clone();
    for (node, what) in &marks.missed {
        let entry = missed.entry(topology.node(*node).id.clone()).or_default();
        entry.settings |= what.settings;
        entry.indexes.extend(what.indexes.iter().cloned());
        entry.outdated.extend(what.outdated.iter().cloned());
        entry.away |= what.away;
    }
    if *missed != before {
        store_missed(cluster, missed).await?;
    }
    let apart = apart_sets(missed, &topology);
    if !added.is_empty() || apart != *topology.apart {
        health::publish(cluster, |next| {
            let mut stale = StaleSets::clone(&next.stale);
            stale.extend(added.clone());
            next.stale = Arc::new(stale);
            next.apart = Arc::new(apart);
        });
        for ((node, index), shards) in &added {
            tracing::warn!(node = %topology.node(*node).id, index, shards = shards.len(), "replicas are stale");
        }
    }
    for (node, what) in &marks.missed {
        let id = &topology.node(*node).id;
        if what.is_node_wide() {
            repair::again(cluster, id);
        }
        for index in what.indexes.union(&what.outdated) {
            repair::missed(cluster, id, index);
        }
    }
    if !added.is_empty() {
        cluster.resilver.notify_one();
    }
    Ok(())
}

/// What a node's replicas of an index have missed up to now: to be taken before it is looked at what they lack.
pub fn misses(cluster: &Cluster, node: NodeIx, index: &str) -> Misses {
    Misses(cluster.bookkeeping.misses.lock().get(&(node, index.to_owned())).copied().unwrap_or_default())
}

/// Replicas were brought in sync with all that they had missed `as_of` a moment: durable, then published. False, and
/// nothing is changed, when they have missed more since.
pub async fn clear(
    cluster: &Arc<Cluster>,
    node: NodeIx,
    index: &str,
    shards: &ShardSet,
    as_of: Misses,
) -> Result<bool, StoreError> {
    let _guard = cluster.bookkeeping.missed.lock().await;
    if misses(cluster, node, index) != as_of {
        return Ok(false);
    }
    let topology = cluster.topology();
    let Some(current) = topology.stale.get(&(node, index.to_owned())) else { return Ok(true) };
    let remaining: ShardSet = current.iter().filter(|shard| !shards.contains(*shard)).collect();
    cluster.store.put_stale(topology.node(node).id.clone(), index.to_owned(), remaining.clone()).await?;
    health::publish(cluster, |next| {
        let mut stale = StaleSets::clone(&next.stale);
        if remaining.is_empty() {
            stale.remove(&(node, index.to_owned()));
        } else {
            stale.insert((node, index.to_owned()), remaining.clone());
        }
        next.stale = Arc::new(stale);
    });
    Ok(true)
}

/// Which indexes are apart on which nodes, by what they have missed; those that were keep their kind. A node that serves goes on
/// with what nobody else has; one that is away is compared before. Pure.
pub(crate) fn apart_sets(missed: &MissedByNode, topology: &Topology) -> ApartSets {
    let mut sets = ApartSets::new();
    for (node, what) in missed {
        let Some(ix) = topology.find(node.as_str()) else { continue };
        for index in &what.indexes {
            let serves = topology.node(ix).state.serves_reads();
            let begins_as = if serves { Apart::Differs } else { Apart::Unsettled };
            sets.insert((ix, index.clone()), topology.apart_of(ix, index).unwrap_or(begins_as));
        }
        sets.extend(what.outdated.iter().map(|index| ((ix, index.clone()), Apart::Absent)));
    }
    sets
}

/// The repair of a node as a whole is complete: what it had missed of that up to `done` is forgotten. False when it has missed
/// more since. Its indexes are settled each for itself.
pub async fn settled(cluster: &Arc<Cluster>, node: &NodeId, done: &Missed) -> Result<bool, StoreError> {
    let mut missed = cluster.bookkeeping.missed.lock().await;
    let Some(current) = missed.get_mut(node) else { return Ok(true) };
    if (current.settings, current.away) != (done.settings, done.away) {
        return Ok(false);
    }
    let before = std::mem::take(&mut current.settings) | std::mem::take(&mut current.away);
    if current.is_nothing() {
        missed.remove(node);
    }
    if before {
        store_missed(cluster, &missed).await?;
    }
    Ok(true)
}

/// A node leaves the cluster; should it come back, it is known that it was away. To be called with the bookkeeping held.
pub(crate) async fn leaves(cluster: &Cluster, held: &mut MissedByNode, node: &NodeId) -> Result<(), StoreError> {
    held.entry(node.clone()).or_default().away = true;
    store_missed(cluster, held).await
}

pub(crate) async fn store_missed(cluster: &Cluster, missed: &MissedByNode) -> Result<(), StoreError> {
    let text =
        serde_json::to_string(missed).map_err(|source| StoreError::Corrupt { what: "missed changes", source })?;
    cluster.store.put_meta(MISSED, text).await
}

/// The marks of a task that has ended. Where the only replicas that carried it out are stale by now, what they hold will be
/// replaced: then the task has failed. Pure.
pub fn conclude(task: &mut MiroirTask, topology: &Topology) -> Marks {
    let marks = marks_of(task, topology);
    let spared = admit(topology, &marks).spared;
    if task.status == TaskStatus::Succeeded && !spared.is_empty() {
        let nodes: BTreeSet<&str> = spared.iter().map(|(node, _, _)| topology.node(*node).id.as_str()).collect();
        let nodes = nodes.into_iter().collect::<Vec<_>>().join(", ");
        let message = format!(
            "In {} shards this was carried out only by replicas that had missed other writes, and will be replaced; it \
             failed on {nodes}.",
            spared.len()
        );
        settle_unsuccessful(task);
        task.status = TaskStatus::Failed;
        task.error = Some(ResponseError::new(Code::MiroirReplicasDiverged, message));
    }
    marks
}

/// What follows from a final task for the in-sync sets: a replica that did not do what another did is stale.
pub fn marks_of(task: &MiroirTask, topology: &Topology) -> Marks {
    let mut marks = Marks::default();
    for part in stale_parts(task) {
        let Some(node) = topology.find(part.node.as_str()) else { continue };
        if !part.shards.is_empty() {
            marks.stale.extend(task.index_uid.iter().map(|index| (node, index.clone(), part.shards.clone())));
            continue;
        }
        // Only a deletion and a swap change what documents an index holds as a whole.
        let outdated = if task.kind == TaskKind::IndexDeletion {
            task.index_uid.iter().cloned().collect()
        } else if task.kind == TaskKind::IndexSwap {
            swapped(task).into_iter().collect()
        } else {
            BTreeSet::new()
        };
        let indexes = task.index_uid.iter().filter(|index| !outdated.contains(*index)).cloned();
        marks.missed.push((node, Missed { outdated: outdated.clone(), ..Missed::of(indexes) }));
    }
    marks
}

/// The indexes that a swap names in its details.
pub fn swapped(task: &MiroirTask) -> Vec<String> {
    let swaps = task.details.as_ref().and_then(|details| details.get("swaps")).and_then(|swaps| swaps.as_array());
    let names = swaps.into_iter().flatten().filter_map(|swap| swap.get("indexes")?.as_array()).flatten();
    let names: BTreeSet<String> = names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::topology::NodeState;

    /// Two nodes that both own all of eight shards.
    fn topology(stale: &[(usize, &[u16])]) -> Topology {
        let mut topology = Topology::sample(&[NodeState::Up; 2], 8, 2);
        let stale = stale.iter().map(|(node, shards)| ((NodeIx(*node), "a".to_owned()), set(shards)));
        topology.stale = Arc::new(stale.collect());
        topology
    }

    fn set(shards: &[u16]) -> ShardSet {
        shards.iter().map(|shard| ShardId(*shard)).collect()
    }

    fn marks(stale: &[(usize, &[u16])]) -> Marks {
        let stale = stale.iter().map(|(node, shards)| (NodeIx(*node), "a".to_owned(), set(shards)));
        Marks { stale: stale.collect(), missed: Vec::new() }
    }

    #[test]
    fn marks_are_added_to_what_is_stale_already() {
        let admitted = admit(&topology(&[(1, &[1])]), &marks(&[(1, &[2]), (1, &[3])]));
        assert_eq!(admitted.stale, StaleSets::from([((NodeIx(1), "a".to_owned()), set(&[1, 2, 3]))]));
        assert_eq!(admit(&topology(&[(1, &[1, 2])]), &marks(&[(1, &[2])])), Admitted::default());
    }

    #[test]
    fn an_index_is_apart_where_a_change_of_it_was_missed_and_keeps_its_kind() {
        let mut topology = topology(&[]);
        let outdated = Missed { outdated: BTreeSet::from(["old".to_owned()]), ..Missed::of(["a".to_owned()]) };
        let missed = MissedByNode::from([
            (NodeId::new("n0"), outdated),
            (NodeId::new("n1"), Missed { settings: true, ..Missed::of(["a".to_owned()]) }),
            (NodeId::new("gone"), Missed::of(["a".to_owned()])),
        ]);
        topology.nodes[1].state = NodeState::Down;
        let key = |node: usize, index: &str| (NodeIx(node), index.to_owned());
        let first = apart_sets(&missed, &topology);
        let expected = [(key(0, "a"), Apart::Differs), (key(0, "old"), Apart::Absent), (key(1, "a"), Apart::Unsettled)];
        assert_eq!(first, ApartSets::from(expected));
        topology.apart = Arc::new(ApartSets::from([(key(0, "a"), Apart::Absent)]));
        assert_eq!(apart_sets(&missed, &topology)[&key(0, "a")], Apart::Absent);
    }

    #[test]
    fn no_mark_takes_the_last_replica_out_of_sync() {
        let admitted = admit(&topology(&[(1, &[1])]), &marks(&[(0, &[1, 2])]));
        assert_eq!(admitted.stale, StaleSets::from([((NodeIx(0), "a".to_owned()), set(&[2]))]));
        assert_eq!(admitted.spared, [(NodeIx(0), "a".to_owned(), ShardId(1))]);
        let both = admit(&topology(&[]), &marks(&[(0, &[4]), (1, &[4])]));
        assert_eq!((both.stale.len(), both.spared.len()), (1, 1));
    }
}
