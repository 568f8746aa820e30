//! The bookkeeping of what replicas and nodes have missed. Whoever changes it holds it, and shows so by [`Held`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// by [`Held`].
    misses: parking_lot::Mutex<BTreeMap<(NodeIx, String), u64>>,
    /// The same of changes that concern a node as a whole.
    node_misses: parking_lot::Mutex<BTreeMap<NodeId, u64>>,
    /// True while `missed` holds what the store does not: it is stored with whatever comes next.
    unstored: AtomicBool,
}

/// How much a node, or its replicas of an index, had missed at a moment; see [`super::insync::clear`] and
/// [`super::insync::repaired`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misses(u64);

/// The bookkeeping, held: while this lives, no replica becomes stale or in sync but by its holder.
pub(crate) struct Held<'a> {
    missed: MutexGuard<'a, MissedByNode>,
    book: &'a Bookkeeping,
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
        Held { missed: self.missed.lock().await, book: self }
    }

    /// What a node's replicas of an index have missed up to now: to be taken before it is looked at what they lack.
    pub(super) fn misses(&self, node: NodeIx, index: &str) -> Misses {
        Misses(self.misses.lock().get(&(node, index.to_owned())).copied().unwrap_or_default())
    }

    /// What a node has missed as a whole up to now: to be taken before it is repaired.
    pub(crate) fn node_misses(&self, node: &NodeId) -> Misses {
        Misses(self.node_misses.lock().get(node).copied().unwrap_or_default())
    }

    /// What `node` is known to have missed, of indexes and as a whole; nothing for a node that has missed nothing.
    pub async fn missed_by(&self, node: &NodeId) -> Missed {
        self.missed.lock().await.get(node).cloned().unwrap_or_default()
    }
}

// === impl Held ===

impl Held<'_> {
    /// Which changes of indexes each node has still to get.
    pub(crate) fn missed(&self) -> &MissedByNode {
        &self.missed
    }

    /// Another write that a node's replicas of an index have missed.
    pub(super) fn count_miss(&self, node: NodeIx, index: &str) {
        *self.book.misses.lock().entry((node, index.to_owned())).or_default() += 1;
    }

    /// Another change that a node has missed as a whole.
    pub(super) fn count_node_miss(&self, node: &NodeId) {
        *self.book.node_misses.lock().entry(node.clone()).or_default() += 1;
    }

    /// Adds to what nodes have missed: durable when it returns. It is kept in mind even where it cannot be stored, and then stored
    /// with whatever is added next, were it the same again.
    pub(crate) async fn add(
        &mut self,
        store: &dyn Store,
        add: impl FnOnce(&mut MissedByNode),
    ) -> Result<(), StoreError> {
        let before = self.missed.clone();
        add(&mut self.missed);
        if *self.missed == before && !self.book.unstored.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.book.unstored.store(true, Ordering::Relaxed);
        stored(store, &self.missed).await?;
        self.book.unstored.store(false, Ordering::Relaxed);
        Ok(())
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
            self.book.unstored.store(false, Ordering::Relaxed);
        }
        Ok(())
    }
}

async fn stored(store: &dyn Store, missed: &MissedByNode) -> Result<(), StoreError> {
    let text =
        serde_json::to_string(missed).map_err(|source| StoreError::Corrupt { what: "missed changes", source })?;
    store.put_meta(MISSED, text).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::SqliteStore;

    #[tokio::test]
    async fn what_could_not_be_stored_is_stored_with_the_same_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let store = SqliteStore::open(path.to_str().unwrap(), 4).unwrap();
        let disk = rusqlite::Connection::open(&path).unwrap();
        disk.execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON meta BEGIN SELECT RAISE(ABORT, 'disk full'); END;
             CREATE TRIGGER fuller BEFORE UPDATE ON meta BEGIN SELECT RAISE(ABORT, 'disk full'); END;",
        )
        .unwrap();
        let book = Bookkeeping::default();
        let miss = |missed: &mut MissedByNode| {
            missed.entry(NodeId::new("n1")).or_default().settings = true;
        };
        for _ in 0..2 {
            assert!(book.hold().await.add(&store, miss).await.is_err(), "it is not durable");
        }
        disk.execute_batch("DROP TRIGGER full; DROP TRIGGER fuller;").unwrap();
        book.hold().await.add(&store, miss).await.unwrap();
        let kept: MissedByNode = serde_json::from_str(&store.get_meta(MISSED).await.unwrap().unwrap()).unwrap();
        assert!(kept[&NodeId::new("n1")].settings);
    }
}
