//! Whom to copy from.

use std::collections::BTreeMap;

use super::error::ResilverError;
use super::replica::Replica;
use crate::ledger::insync;
use crate::nodes::client::Trace;
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::{NodeIx, NodeState, Topology};
use crate::write::Writes;

/// For each stale shard another owner that is up and in sync. `None` where all owners are up and none is in sync; shards
/// whose in-sync owner is away are left out.
pub fn sources(
    topology: &Topology,
    target: NodeIx,
    index: &str,
    stale: &ShardSet,
) -> BTreeMap<Option<NodeIx>, ShardSet> {
    let mut sources: BTreeMap<Option<NodeIx>, ShardSet> = BTreeMap::new();
    for shard in stale.iter() {
        let owners = topology.owners_of(shard);
        let up = |node: &NodeIx| topology.node(*node).state == NodeState::Up;
        let in_sync = |node: &NodeIx| *node != target && !topology.is_stale(*node, index, shard);
        let source = owners.iter().copied().find(|node| up(node) && in_sync(node));
        if source.is_some() || (owners.iter().all(up) && !owners.iter().any(in_sync)) {
            sources.entry(source).or_default().insert(shard);
        }
    }
    sources
}

/// Every owner of these shards is up and every one is stale: all replicas were lost or emptied. The one that holds most
/// becomes the measure of the others, so that the shards are served again. Here `target` is let in where it is that one.
pub async fn let_in_orphans(
    writes: &Writes,
    topology: &Topology,
    target: NodeIx,
    index: &str,
    primary_key: &str,
    shards: &ShardSet,
    trace: &Trace,
) -> Result<(), ResilverError> {
    let _hold = writes.order.gates.hold(index).await;
    let as_of = insync::misses(&writes.ledger, target, index);
    let mut measure = ShardSet::new();
    for shard in shards.iter() {
        let only = ShardSet::from_iter([shard]);
        let mut best: Option<(u64, NodeIx)> = None;
        for owner in topology.owners_of(shard) {
            let replica = Replica { writes, node: topology.node(*owner), index, primary_key, trace };
            let held = replica.count(&only).await?;
            if best.is_none_or(|(most, _)| held > most) {
                best = Some((held, *owner));
            }
        }
        let Some((held, owner)) = best.filter(|(_, owner)| *owner == target) else { continue };
        if held > 0 {
            let ShardId(number) = shard;
            let id = &topology.node(owner).id;
            tracing::error!(index, shard = number, node = %id, "no replica is in sync: the fullest becomes the measure");
        }
        measure.insert(shard);
    }
    insync::clear(&writes.ledger, target, index, &measure, as_of).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::placement::topology::StaleSets;

    fn topology(states: &[NodeState], stale: &[usize]) -> Topology {
        let mut topology = Topology::sample(states, 4, 2);
        let stale = stale.iter().map(|node| ((NodeIx(*node), "a".to_owned()), ShardSet::all(4)));
        topology.stale = Arc::new(stale.collect::<StaleSets>());
        topology
    }

    const UP: NodeState = NodeState::Up;

    #[test]
    fn a_stale_shard_is_copied_from_an_owner_in_sync() {
        let topology = topology(&[UP, UP], &[1]);
        let sources = sources(&topology, NodeIx(1), "a", &ShardSet::all(4));
        assert_eq!(sources, BTreeMap::from([(Some(NodeIx(0)), ShardSet::all(4))]));
    }

    #[test]
    fn a_shard_whose_in_sync_owner_is_away_waits() {
        let topology = topology(&[NodeState::Down, UP], &[1]);
        assert!(sources(&topology, NodeIx(1), "a", &ShardSet::all(4)).is_empty());
    }

    #[test]
    fn shards_that_are_stale_everywhere_get_a_measure_when_all_owners_are_up() {
        let everywhere = topology(&[UP, UP], &[0, 1]);
        let found = sources(&everywhere, NodeIx(1), "a", &ShardSet::all(4));
        assert_eq!(found, BTreeMap::from([(None, ShardSet::all(4))]));
        let one_away = topology(&[NodeState::Down, UP], &[0, 1]);
        assert!(sources(&one_away, NodeIx(1), "a", &ShardSet::all(4)).is_empty());
    }
}
