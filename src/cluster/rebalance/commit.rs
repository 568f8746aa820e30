//! A changed layout: durable first, then published, so that every write from then on sees it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::{Cluster, health};
use super::LAYOUT;
use crate::placement::topology::{NodeIx, StaleSets, Topology};
use crate::rebalance::Layout;
use crate::rebalance::layout::ByNode;
use crate::store::{Store, StoreError};

pub(super) async fn persist(store: &dyn Store, layout: &Layout) -> Result<(), StoreError> {
    let text = serde_json::to_string(layout).map_err(|source| StoreError::Corrupt { what: "layout", source })?;
    store.put_meta(LAYOUT, text).await
}

/// Marks every owner that is arriving as stale in every index.
pub(super) async fn mark_arriving(store: &dyn Store, layout: &Layout) -> Result<(), StoreError> {
    if layout.arriving.is_empty() {
        return Ok(());
    }
    let known = store.stale().await?;
    for entry in store.indexes().await? {
        for (node, shards) in &layout.arriving {
            let mut stale = shards.clone();
            for (_, _, more) in known.iter().filter(|(other, index, _)| other == node && *index == entry.uid) {
                stale.union_with(more);
            }
            store.put_stale(node.clone(), entry.uid.clone(), stale).await?;
        }
    }
    Ok(())
}

/// For changes that touch no owner's replica.
pub(super) async fn commit(cluster: &Arc<Cluster>, layout: &mut Layout, next: Layout) -> Result<(), StoreError> {
    persist(cluster.store.as_ref(), &next).await?;
    publish(cluster, layout, next, |_| {});
    Ok(())
}

/// Adds owners that are stale in every index there is at the moment from which they are sent writes. To be called with the
/// bookkeeping held.
pub(super) async fn add_owners(
    cluster: &Arc<Cluster>,
    layout: &mut Layout,
    nodes: &ByNode,
    next: Layout,
) -> Result<(), StoreError> {
    let topology = cluster.topology();
    let mut marked: BTreeSet<String> = BTreeSet::new();
    let mut added = StaleSets::new();
    let mut persisted = false;
    loop {
        let fresh: Vec<String> =
            cluster.registry.entries().into_iter().map(|entry| entry.uid).filter(|uid| !marked.contains(uid)).collect();
        for index in fresh {
            for (node, shards) in nodes {
                let Some(ix) = topology.find(node.as_str()) else { continue };
                let key = (ix, index.clone());
                let mut stale = topology.stale.get(&key).cloned().unwrap_or_default();
                stale.union_with(shards);
                cluster.store.put_stale(node.clone(), index.clone(), stale.clone()).await?;
                added.insert(key, stale);
            }
            marked.insert(index);
        }
        if !persisted {
            persist(cluster.store.as_ref(), &next).await?;
            persisted = true;
        }
        // An index that is created from here on is as empty on the new owners as everywhere.
        let published = cluster.writer.in_order(|_| {
            if cluster.registry.entries().iter().any(|entry| !marked.contains(&entry.uid)) {
                return false;
            }
            health::publish(cluster, |topology| {
                next.install(topology);
                let mut stale = StaleSets::clone(&topology.stale);
                stale.extend(added.clone());
                topology.stale = Arc::new(stale);
            });
            true
        });
        if published {
            settle(cluster, layout, next);
            cluster.resilver.notify_one();
            return Ok(());
        }
    }
}

/// Replaces owners; what those that leave had missed does not matter any more. To be called with the bookkeeping held.
pub(super) async fn drop_owners(cluster: &Arc<Cluster>, layout: &mut Layout, next: Layout) -> Result<(), StoreError> {
    persist(cluster.store.as_ref(), &next).await?;
    let topology = cluster.topology();
    let mut forgotten: Vec<((NodeIx, String), Option<crate::placement::shard::ShardSet>)> = Vec::new();
    for ((node, index), shards) in topology.stale.iter() {
        let id = &topology.node(*node).id;
        let mut remaining = shards.clone();
        remaining.intersect_with(&next.owned_by(id));
        if remaining != *shards {
            cluster.store.put_stale(id.clone(), index.clone(), remaining.clone()).await?;
            forgotten.push(((*node, index.clone()), (!remaining.is_empty()).then_some(remaining)));
        }
    }
    publish(cluster, layout, next, |topology| {
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

fn publish(cluster: &Arc<Cluster>, layout: &mut Layout, next: Layout, more: impl FnOnce(&mut Topology)) {
    cluster.writer.in_order(|_| {
        health::publish(cluster, |topology| {
            next.install(topology);
            more(topology);
        });
    });
    settle(cluster, layout, next);
}

fn settle(cluster: &Arc<Cluster>, layout: &mut Layout, next: Layout) {
    cluster.metrics.start_at_zero(&cluster.topology());
    cluster.rebalancer.seen.store(Arc::new(next.clone()));
    *layout = next;
}
