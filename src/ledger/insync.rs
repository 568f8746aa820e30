//! In-sync sets: which replicas have missed a write, and which nodes have missed a change of a whole index. Durable before
//! anything is acknowledged that they have missed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bookkeeping::{Held, Misses};
use super::marks::{Marks, Missed, MissedByNode};
use super::part::Ledger;
use super::settle::{self, Settled};
use crate::meili::error::{Code, ResponseError};
use crate::meili::task::{TaskKind, TaskStatus};
use crate::nodes::health;
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::{Apart, ApartSets, NodeId, NodeIx, StaleSets, Topology};
use crate::plan::write::WriteIntent;
use crate::store::StoreError;
use crate::tasks::details::fill_unsuccessful;
use crate::tasks::entry::{MiroirTask, NodeTask};
use crate::tasks::stale::stale_parts;
use crate::tasks::swap::renamed;

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
    debug_assert!(keeps_one(topology, &admitted.stale), "a mark takes the last replica of a shard out of sync");
    admitted
}

/// True when `added` leaves a replica in sync of every shard that has one: the fourth of the invariants of ARCHITECTURE.md.
fn keeps_one(topology: &Topology, added: &StaleSets) -> bool {
    let after = |node: NodeIx, index: &String, shard: ShardId| {
        added
            .get(&(node, index.clone()))
            .map_or_else(|| topology.is_stale(node, index, shard), |now| now.contains(shard))
    };
    added.iter().all(|((_, index), shards)| {
        shards.iter().all(|shard| {
            let owners = topology.owners_of(shard);
            let had_one = owners.iter().any(|owner| !topology.is_stale(*owner, index, shard));
            !had_one || owners.iter().any(|owner| !after(*owner, index, shard))
        })
    })
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
/// way together must not each count on the replica that the other one has just found to be behind. Other gateways may not have heard of
/// the marks yet.
pub async fn settle(
    ledger: &Ledger,
    placed: &Topology,
    intent: &WriteIntent,
    parts: &[NodeTask],
) -> Result<Settled, StoreError> {
    let mut held = ledger.bookkeeping.hold().await;
    let settled = settle::settle(&ledger.nodes.topology(), placed, intent, parts, ledger.settings.get().min_in_sync);
    if settled.refused.is_none() {
        let admitted = admit(&ledger.nodes.topology(), &settled.marks);
        record(ledger, &mut held, &settled.marks, admitted).await?;
    }
    Ok(settled)
}

/// Makes `marks` durable, then publishes them, and returns when other gateways have heard; no shard is left without a replica in
/// sync. What was missed of an index is
/// repaired beside the others; nodes that missed more go back to being repaired as a whole.
pub async fn mark(ledger: &Ledger, marks: &Marks) -> Result<(), StoreError> {
    if marks.is_empty() {
        return Ok(());
    }
    {
        let mut held = ledger.bookkeeping.hold().await;
        let admitted = admit(&ledger.nodes.topology(), marks);
        record(ledger, &mut held, marks, admitted).await?;
    }
    ledger.nodes.elsewhere.heard().await;
    Ok(())
}

/// What the end of a task means for the in-sync sets, in one with making it durable; see [`conclude`]. Other gateways may not have
/// heard of the marks yet.
pub async fn end(ledger: &Ledger, task: &mut MiroirTask) -> Result<Marks, StoreError> {
    let mut held = ledger.bookkeeping.hold().await;
    let topology = ledger.nodes.topology();
    let marks = conclude(task, &topology);
    record(ledger, &mut held, &marks, admit(&topology, &marks)).await?;
    Ok(marks)
}

/// As [`mark`], for replicas whose content is gone: these are stale even where no other is in sync.
pub async fn mark_gone(ledger: &Ledger, marks: &Marks) -> Result<(), StoreError> {
    if marks.is_empty() {
        return Ok(());
    }
    {
        let mut held = ledger.bookkeeping.hold().await;
        let admitted = Admitted { stale: merged(&ledger.nodes.topology(), marks), spared: Vec::new() };
        record(ledger, &mut held, marks, admitted).await?;
    }
    ledger.nodes.elsewhere.heard().await;
    Ok(())
}

/// `admitted` was made of the topology while the bookkeeping was held.
async fn record(ledger: &Ledger, held: &mut Held<'_>, marks: &Marks, admitted: Admitted) -> Result<(), StoreError> {
    let topology = ledger.nodes.topology();
    for (node, index, _) in marks.stale.iter().filter(|(_, _, shards)| !shards.is_empty()) {
        held.count_miss(*node, index);
    }
    for (node, index, shard) in &admitted.spared {
        let (node, shard) = (&topology.node(*node).id, shard.0);
        tracing::error!(%node, index, shard, "a replica is behind, and stays the measure because no other is in sync");
    }
    let added = admitted.stale;
    for ((node, index), shards) in &added {
        ledger.store.put_stale(topology.node(*node).id.clone(), index.clone(), shards.clone()).await?;
    }
    for (node, _) in marks.missed.iter().filter(|(_, what)| what.is_node_wide()) {
        held.count_node_miss(&topology.node(*node).id);
    }
    held.add(ledger.store.as_ref(), |missed| {
        for (node, what) in &marks.missed {
            let entry = missed.entry(topology.node(*node).id.clone()).or_default();
            entry.settings |= what.settings;
            entry.indexes.extend(what.indexes.iter().cloned());
            entry.outdated.extend(what.outdated.iter().cloned());
            entry.away |= what.away;
        }
    })
    .await?;
    let apart = apart_sets(held.missed(), &topology);
    if !added.is_empty() || apart != *topology.apart {
        health::publish(&ledger.nodes, |next| {
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
            health::again(&ledger.nodes, id);
        }
        for index in what.indexes.union(&what.outdated) {
            ledger.missed(id, index);
        }
    }
    if !added.is_empty() {
        ledger.copies_due.notify_one();
    }
    Ok(())
}

/// What a node's replicas of an index have missed up to now: to be taken before it is looked at what they lack.
pub fn misses(ledger: &Ledger, node: NodeIx, index: &str) -> Misses {
    ledger.bookkeeping.misses(node, index)
}

/// Replicas were brought in sync with all that they had missed `as_of` a moment: durable, then published. False, and
/// nothing is changed, when they have missed more since.
pub async fn clear(
    ledger: &Ledger,
    node: NodeIx,
    index: &str,
    shards: &ShardSet,
    as_of: Misses,
) -> Result<bool, StoreError> {
    let _held = ledger.bookkeeping.hold().await;
    if misses(ledger, node, index) != as_of {
        return Ok(false);
    }
    let topology = ledger.nodes.topology();
    let Some(current) = topology.stale.get(&(node, index.to_owned())) else { return Ok(true) };
    let remaining: ShardSet = current.iter().filter(|shard| !shards.contains(*shard)).collect();
    ledger.store.put_stale(topology.node(node).id.clone(), index.to_owned(), remaining.clone()).await?;
    health::publish(&ledger.nodes, |next| {
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
            let begins_as = if serves { Apart::Differs } else { Apart::Unknown };
            sets.insert((ix, index.clone()), topology.apart_of(ix, index).unwrap_or(begins_as));
        }
        sets.extend(what.outdated.iter().map(|index| ((ix, index.clone()), Apart::Absent)));
    }
    sets
}

/// The repair of a node as a whole is complete: what it had missed of that up to `as_of` is forgotten. False when it has missed
/// more since. Its indexes are repaired each for itself.
pub(crate) async fn repaired(ledger: &Ledger, node: &NodeId, as_of: Misses) -> Result<bool, StoreError> {
    let mut held = ledger.bookkeeping.hold().await;
    if ledger.bookkeeping.node_misses(node) != as_of {
        return Ok(false);
    }
    let forget = |missed: &mut MissedByNode| {
        if let Some(current) = missed.get_mut(node) {
            (current.settings, current.away) = (false, false);
        }
        missed.retain(|_, what| !what.is_nothing());
    };
    held.take(ledger.store.as_ref(), forget).await?;
    Ok(true)
}

/// A node leaves the cluster; should it come back, it is known that it was away.
pub(crate) async fn leaves(ledger: &Ledger, held: &mut Held<'_>, node: &NodeId) -> Result<(), StoreError> {
    held.count_node_miss(node);
    held.add(ledger.store.as_ref(), |missed| missed.entry(node.clone()).or_default().away = true).await
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
        fill_unsuccessful(task);
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
        // Only a deletion, a swap and a new name change what documents an index holds as a whole.
        let outdated = if task.kind == TaskKind::IndexDeletion {
            task.index_uid.iter().cloned().collect()
        } else if matches!(task.kind, TaskKind::IndexSwap | TaskKind::IndexUpdate) {
            swapped(task).into_iter().collect()
        } else {
            BTreeSet::new()
        };
        let indexes = task.index_uid.iter().filter(|index| !outdated.contains(*index)).cloned();
        let settings = matches!(task.kind, TaskKind::DsrUpdate | TaskKind::DsrClear);
        marks.missed.push((node, Missed { settings, outdated: outdated.clone(), ..Missed::of(indexes) }));
    }
    marks
}

/// The indexes that a swap or a new name concerns, as the details name them.
pub fn swapped(task: &MiroirTask) -> Vec<String> {
    let swaps = task.details.as_ref().and_then(|details| details.get("swaps")).and_then(|swaps| swaps.as_array());
    let names = swaps.into_iter().flatten().filter_map(|swap| swap.get("indexes")?.as_array()).flatten();
    let mut names: BTreeSet<String> = names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
    names.extend(renamed(task).into_iter().flat_map(|(from, to)| [from, to]));
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
        let expected = [(key(0, "a"), Apart::Differs), (key(0, "old"), Apart::Absent), (key(1, "a"), Apart::Unknown)];
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
