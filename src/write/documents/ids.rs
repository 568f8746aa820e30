//! The ids of a body, each once.

use std::collections::{BTreeMap, HashSet};

use crate::placement::shard::ShardId;

/// Ids of documents, each once.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids {
    pub ids: HashSet<String>,
    /// How many of them belong to each shard.
    pub by_shard: BTreeMap<ShardId, u64>,
}

// === impl Ids ===

impl Ids {
    /// An id that is there already counts once.
    pub(super) fn take(&mut self, id: String, shard: ShardId) {
        if self.ids.insert(id) {
            *self.by_shard.entry(shard).or_default() += 1;
        }
    }
}
