//! The bookkeeping of what replicas and nodes have missed. Whoever changes it holds it, and shows so by [`Held`].

use std::collections::BTreeMap;

use tokio::sync::MutexGuard;

use super::marks::{Missed, MissedByNode};
use crate::placement::topology::{NodeId, NodeIx, StaleSets, Topology};
use crate::store::{Store, StoreError};

/// The fact of the store that holds [`Missed`] of all nodes.
const MISSED: &str = "missed_changes";

/// Guards the bookkeeping: changes are made durable and published one after the other.
#[derive(Default)]
pub struct Bookkeeping {
    missed: tokio::sync::Mutex<MissedByNode>,
    /// How many times a node's replicas of an index were marked stale, those that were stale already too. Changed only
    /// with `missed` locked.
    misses: parking_lot::Mutex<BTreeMap<(NodeIx, String), u64>>,
}

/// How many writes a node's replicas of an index had missed at a moment; see [`super::insync::clear`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misses(u64);

/// The bookkeeping, held: while this lives, no replica becomes stale or in sync but by its holder.
pub(crate) struct Held<'a> {
    missed: MutexGuard<'a, MissedByNode>,
    misses: &'a parking_lot::Mutex<BTreeMap<(NodeIx, String), u64>>,
}

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
    pub(crate) async fn hold(&self) -> Held<'_> {
        Held { missed: self.missed.lock().await, misses: &self.misses }
    }

    /// What a node's replicas of an index have missed up to now: to be taken before it is looked at what they lack.
    pub(super) fn misses(&self, node: NodeIx, index: &str) -> Misses {
        Misses(self.misses.lock().get(&(node, index.to_owned())).copied().unwrap_or_default())
    }

    pub async fn missed_by(&self, node: &NodeId) -> Missed {
        self.missed.lock().await.get(node).cloned().unwrap_or_default()
    }
}

// === impl Held ===

impl Held<'_> {
    pub(crate) fn missed(&self) -> &MissedByNode {
        &self.missed
    }

    /// Another write that a node's replicas of an index have missed.
    pub(super) fn count_miss(&self, node: NodeIx, index: &str) {
        *self.misses.lock().entry((node, index.to_owned())).or_default() += 1;
    }

    /// Adds to what nodes have missed: durable when it returns. It is kept in mind even where it cannot be stored.
    pub(crate) async fn add(
        &mut self,
        store: &dyn Store,
        add: impl FnOnce(&mut MissedByNode),
    ) -> Result<(), StoreError> {
        let before = self.missed.clone();
        add(&mut self.missed);
        if *self.missed == before { Ok(()) } else { stored(store, &self.missed).await }
    }

    /// Takes from what nodes have missed, once that is durable.
    pub(crate) async fn take(
        &mut self,
        store: &dyn Store,
        take: impl FnOnce(&mut MissedByNode),
    ) -> Result<(), StoreError> {
        let mut next = self.missed.clone();
        take(&mut next);
        if next != *self.missed {
            stored(store, &next).await?;
            *self.missed = next;
        }
        Ok(())
    }
}

async fn stored(store: &dyn Store, missed: &MissedByNode) -> Result<(), StoreError> {
    let text =
        serde_json::to_string(missed).map_err(|source| StoreError::Corrupt { what: "missed changes", source })?;
    store.put_meta(MISSED, text).await
}
