//! What a write may leave behind: replicas that are stale, and nodes that have missed a change of a whole index.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeId, NodeIx};

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

// === impl Missed ===

impl Missed {
    /// True for a node that has missed nothing.
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
    /// True if nothing is marked.
    pub fn is_empty(&self) -> bool {
        self.stale.is_empty() && self.missed.is_empty()
    }
}
