//! A changed layout: durable first, then published, so that every write from then on sees it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::facts::facts_held;
use super::part::Rebalancer;
use crate::ledger::bookkeeping::Held;
use crate::nodes::health;
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeId, NodeIx, StaleSets, Topology};
use crate::rebalance::Layout;
use crate::rebalance::layout::{ByNode, insert};
use crate::store::{Store, StoreError};

/// The fact of the store that holds the layout.
pub(super) const LAYOUT: &str = "layout";

/// On disk when it returns.
pub(super) async fn persist(store: &dyn Store, layout: &Layout) -> Result<(), StoreError> {
    let text = serde_json::to_string(layout).map_err(|source| StoreError::Corrupt { what: "layout", source })?;
    store.put_meta(LAYOUT, text).await
}

/// Marks owners that are arriving as stale in every index, as far as [`doubtful`] says.
pub(super) async fn mark_arriving(store: &dyn Store, layout: &Layout) -> Result<(), StoreError> {
    if layout.arriving.is_empty() {
        return Ok(());
    }
    let stored = store.stale().await?;
    for entry in store.indexes().await? {
        let known: ByNode = stored
            .iter()
            .filter(|(_, index, _)| *index == entry.uid)
            .map(|(node, _, shards)| (node.clone(), shards.clone()))
            .collect();
        for (node, mut stale) in doubtful(layout, &known) {
            stale.union_with(known.get(&node).unwrap_or(&ShardSet::new()));
            store.put_stale(node, entry.uid.clone(), stale).await?;
        }
    }
    Ok(())
}

/// Arriving replicas of an index that count as stale after a start, besides those that are `stale`: which indexes they have
/// got is not known for sure after a crash. Where no other replica is in sync, it is: the in-sync set of a shard is never
/// empty, so it is they who have its writes. Pure.
pub(crate) fn doubtful(layout: &Layout, stale: &ByNode) -> ByNode {
    let in_sync = |node: &NodeId, shard| !stale.get(node).is_some_and(|shards| shards.contains(shard));
    let mut doubtful = ByNode::new();
    for (node, arriving) in &layout.arriving {
        let has_it_elsewhere = arriving.iter().filter(|shard| {
            let mut in_place = layout.owners_of(*shard).iter().filter(|owner| !layout.is_arriving(owner, *shard));
            in_place.any(|owner| in_sync(owner, *shard))
        });
        insert(&mut doubtful, node, &has_it_elsewhere.collect());
    }
    doubtful
}

/// For changes that touch no owner's replica.
pub(super) async fn commit(rebalancer: &Rebalancer, layout: &mut Layout, next: Layout) -> Result<(), StoreError> {
    persist(rebalancer.ledger.store.as_ref(), &next).await?;
    publish(rebalancer, layout, next, |_| {});
    Ok(())
}

/// Adds owners that are stale in every index there is at the moment from which they are sent writes. No replica becomes
/// stale or in sync meanwhile.
pub(super) async fn add_owners(
    rebalancer: &Rebalancer,
    _held: &Held<'_>,
    layout: &mut Layout,
    nodes: &ByNode,
    next: Layout,
) -> Result<(), StoreError> {
    let topology = rebalancer.nodes.topology();
    let mut marked: BTreeSet<String> = BTreeSet::new();
    let mut added = StaleSets::new();
    let mut persisted = false;
    loop {
        let fresh: Vec<String> = rebalancer
            .ledger
            .registry
            .entries()
            .into_iter()
            .map(|entry| entry.uid)
            .filter(|uid| !marked.contains(uid))
            .collect();
        for index in fresh {
            for (node, shards) in nodes {
                let Some(ix) = topology.find(node.as_str()) else { continue };
                let key = (ix, index.clone());
                let mut stale = topology.stale.get(&key).cloned().unwrap_or_default();
                stale.union_with(shards);
                rebalancer.ledger.store.put_stale(node.clone(), index.clone(), stale.clone()).await?;
                added.insert(key, stale);
            }
            marked.insert(index);
        }
        if !persisted {
            persist(rebalancer.ledger.store.as_ref(), &next).await?;
            persisted = true;
        }
        // An index that is created from here on is as empty on the new owners as everywhere.
        let published = rebalancer.writes.order.in_order(|_| {
            if rebalancer.ledger.registry.entries().iter().any(|entry| !marked.contains(&entry.uid)) {
                return false;
            }
            health::publish(&rebalancer.nodes, |topology| {
                next.install(topology);
                let mut stale = StaleSets::clone(&topology.stale);
                stale.extend(added.clone());
                topology.stale = Arc::new(stale);
            });
            true
        });
        if published {
            adopt(rebalancer, layout, next);
            rebalancer.ledger.copies_due.notify_one();
            return Ok(());
        }
    }
}

/// Replaces owners; what those that leave had missed does not matter any more. Looked at and done while the bookkeeping is
/// held: every new owner is up and in sync.
pub(super) async fn drop_owners(
    rebalancer: &Rebalancer,
    held: &Held<'_>,
    layout: &mut Layout,
    next: Layout,
) -> Result<(), StoreError> {
    debug_assert!(
        keeps_old_owners(layout, &next, &facts_held(rebalancer, held, layout).stale),
        "an old owner goes before the new ones are in sync"
    );
    persist(rebalancer.ledger.store.as_ref(), &next).await?;
    let topology = rebalancer.nodes.topology();
    let mut forgotten: Vec<((NodeIx, String), Option<ShardSet>)> = Vec::new();
    for ((node, index), shards) in topology.stale.iter() {
        let id = &topology.node(*node).id;
        let mut remaining = shards.clone();
        remaining.intersect_with(&next.owned_by(id));
        if remaining != *shards {
            rebalancer.ledger.store.put_stale(id.clone(), index.clone(), remaining.clone()).await?;
            forgotten.push(((*node, index.clone()), (!remaining.is_empty()).then_some(remaining)));
        }
    }
    publish(rebalancer, layout, next, |topology| {
        let mut stale = StaleSets::clone(&topology.stale);
        for (key, remaining) in forgotten {
            match remaining {
                Some(remaining) => stale.insert(key, remaining),
                None => stale.remove(&key),
            };
        }
        topology.stale = Arc::new(stale);
    });
    Ok(())
}

/// True unless `next` lacks an owner that `layout` has and that is not arriving, of a shard of which a replica that is to stay is
/// among `stale`. Example: shard 3 of a and b moves to b and c; while c is stale, a stays.
fn keeps_old_owners(layout: &Layout, next: &Layout, stale: &ByNode) -> bool {
    layout.shard_ids().all(|shard| {
        let then = next.owners_of(shard);
        let mut old = layout.owners_of(shard).iter().filter(|owner| !layout.is_arriving(owner, shard));
        let is_stale = |owner: &NodeId| stale.get(owner).is_some_and(|shards| shards.contains(shard));
        old.all(|owner| then.contains(owner)) || !then.iter().any(is_stale)
    })
}

fn publish(rebalancer: &Rebalancer, layout: &mut Layout, next: Layout, more: impl FnOnce(&mut Topology)) {
    rebalancer.writes.order.in_order(|_| {
        health::publish(&rebalancer.nodes, |topology| {
            next.install(topology);
            more(topology);
        });
    });
    adopt(rebalancer, layout, next);
}

fn adopt(rebalancer: &Rebalancer, layout: &mut Layout, next: Layout) {
    rebalancer.nodes.metrics.start_at_zero(&rebalancer.nodes.topology());
    rebalancer.seen.store(Arc::new(next.clone()));
    *layout = next;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::shard::ShardId;
    use crate::placement::version::Placement;
    use crate::rebalance::{Goal, NodeSpec};
    use crate::store::IndexEntry;
    use crate::store::sqlite::SqliteStore;

    fn shards(ids: &[u16]) -> ShardSet {
        ids.iter().map(|id| ShardId(*id)).collect()
    }

    #[test]
    fn an_old_owner_stays_until_the_new_ones_are_in_sync() {
        let [a, b, c] = ["a", "b", "c"].map(NodeId::new);
        let spec = |id: &NodeId| NodeSpec {
            id: id.clone(),
            url: "http://x".to_owned(),
            zone: None,
            weight: 1.0,
            drained: false,
        };
        let mut layout =
            Layout::first(Goal { nodes: vec![spec(&a)], replication_factor: 1, placement: Placement::Bounded }, 1);
        layout.owners = vec![vec![a.clone(), b.clone(), c.clone()]];
        layout.arriving = ByNode::from([(c.clone(), shards(&[0]))]);
        let mut moved = layout.clone();
        moved.owners = vec![vec![b.clone(), c.clone()]];
        let mut given_up = layout.clone();
        given_up.owners = vec![vec![a.clone(), b.clone()]];
        let stale = |node: &NodeId| ByNode::from([(node.clone(), shards(&[0]))]);
        assert!(keeps_old_owners(&layout, &moved, &ByNode::new()) && keeps_old_owners(&layout, &moved, &stale(&a)));
        assert!(!keeps_old_owners(&layout, &moved, &stale(&b)) && !keeps_old_owners(&layout, &moved, &stale(&c)));
        assert!(keeps_old_owners(&layout, &given_up, &stale(&b)));
    }

    #[tokio::test]
    async fn an_arriving_replica_that_alone_has_a_write_stays_in_sync_over_a_crash() {
        let (old, new) = (NodeId::new("old"), NodeId::new("new"));
        let url = "http://x".to_owned();
        let spec = NodeSpec { id: old.clone(), url, zone: None, weight: 1.0, drained: false };
        let mut layout =
            Layout::first(Goal { nodes: vec![spec], replication_factor: 1, placement: Placement::Bounded }, 4);
        for owners in &mut layout.owners[1..] {
            owners.push(new.clone());
        }
        layout.arriving = ByNode::from([(new.clone(), shards(&[1, 2, 3]))]);
        let store = SqliteStore::open(":memory:", 4).expect("a store");
        let index = IndexEntry { uid: "a".to_owned(), primary_key: None, leading: Vec::new() };
        store.put_index(index).await.expect("an index");
        // Shard 2 is being copied to the new node; of shard 3 it has what the old one has missed.
        store.put_stale(new.clone(), "a".to_owned(), shards(&[2])).await.expect("a row");
        store.put_stale(old.clone(), "a".to_owned(), shards(&[3])).await.expect("a row");
        mark_arriving(&store, &layout).await.expect("marks");
        let stale: ByNode =
            store.stale().await.expect("rows").into_iter().map(|(node, _, shards)| (node, shards)).collect();
        assert_eq!(stale, ByNode::from([(new, shards(&[1, 2])), (old, shards(&[3]))]));
    }
}
