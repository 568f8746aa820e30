//! The topology: an immutable snapshot of nodes, assignment and in-sync sets. One is loaded once per request.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::rendezvous;
use super::shard::{ShardId, ShardSet};

/// A node's name in the configuration; stable, because placement hashes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub Arc<str>);

/// A node's position in [`Topology::nodes`]; valid within one topology's lifetime only when nodes are unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeIx(pub usize);

/// What a node can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Known, but not seen healthy yet: takes no traffic.
    Joining,
    /// Healthy and repaired: reads and writes.
    Up,
    /// Answers again, but its indexes and settings are still being compared with the others': writes, no reads.
    Repairing,
    /// Does not answer.
    Down,
    /// Taken out of service by an operator, until the operator ends it.
    Maintenance,
}

/// One Meilisearch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    pub id: NodeId,
    /// `http://host:port`, without a trailing slash.
    pub url: String,
    pub zone: Option<String>,
    pub weight: f64,
    pub state: NodeState,
}

/// Shards of an index whose replica on a node has missed a write. `index` is the index's uid.
pub type StaleSets = BTreeMap<(NodeIx, String), ShardSet>;

/// The cluster at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Topology {
    /// Grows by one with every change that is published.
    pub epoch: u64,
    /// How many shards there are; fixed when the cluster is made.
    pub shards: u16,
    pub replication_factor: u8,
    pub nodes: Vec<Node>,
    /// For each shard the nodes that own it, in rank order; `min(replication_factor, nodes)` of them.
    pub owners: Vec<Vec<NodeIx>>,
    /// `owners` seen from the nodes; [`Topology::build`] keeps the two in step.
    #[serde(skip)]
    owned: Arc<[ShardSet]>,
    /// The number of each node's zone; see [`rendezvous::zones`].
    #[serde(skip)]
    zones: Arc<[usize]>,
    #[serde(skip)]
    pub stale: Arc<StaleSets>,
}

// === impl NodeState ===

impl NodeState {
    pub const ALL: &'static [NodeState] = &[Self::Joining, Self::Up, Self::Repairing, Self::Down, Self::Maintenance];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Up => "up",
            Self::Repairing => "repairing",
            Self::Down => "down",
            Self::Maintenance => "maintenance",
        }
    }

    pub fn serves_reads(self) -> bool {
        match self {
            Self::Up => true,
            Self::Joining | Self::Repairing | Self::Down | Self::Maintenance => false,
        }
    }

    /// True when writes are sent to the node at once. A node that is joining, down or in maintenance misses them and
    /// becomes stale.
    pub fn takes_writes(self) -> bool {
        match self {
            Self::Up | Self::Repairing => true,
            Self::Joining | Self::Down | Self::Maintenance => false,
        }
    }

    /// True when a write that has its place in the node's lane already is still sent.
    pub fn finishes_writes(self) -> bool {
        match self {
            Self::Up | Self::Repairing | Self::Maintenance => true,
            Self::Joining | Self::Down => false,
        }
    }
}

// === impl NodeId ===

impl NodeId {
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Topology ===

impl Topology {
    /// The first snapshot of a cluster: `nodes` as they are, shards assigned by [`rendezvous::assign`], nothing stale.
    pub fn build(nodes: Vec<Node>, shards: u16, replication_factor: u8) -> Self {
        let owners = rendezvous::assign(&nodes, shards, replication_factor);
        Self::with_owners(nodes, shards, replication_factor, owners)
    }

    /// [`Topology::build`] with owners that are not, or not yet, those that rendezvous hashing gives.
    pub fn with_owners(nodes: Vec<Node>, shards: u16, replication_factor: u8, owners: Vec<Vec<NodeIx>>) -> Self {
        let mut owned = vec![ShardSet::new(); nodes.len()];
        for (shard, owners) in (0..shards).map(ShardId).zip(&owners) {
            for owner in owners {
                owned[owner.0].insert(shard);
            }
        }
        let zones = rendezvous::zones(&nodes).into();
        Self { epoch: 1, shards, replication_factor, nodes, owners, owned: owned.into(), zones, stale: Arc::default() }
    }

    pub fn node(&self, ix: NodeIx) -> &Node {
        &self.nodes[ix.0]
    }

    pub fn indexes(&self) -> impl Iterator<Item = NodeIx> + use<> {
        (0..self.nodes.len()).map(NodeIx)
    }

    pub fn find(&self, id: &str) -> Option<NodeIx> {
        self.nodes.iter().position(|node| node.id.as_str() == id).map(NodeIx)
    }

    pub fn owners_of(&self, shard: ShardId) -> &[NodeIx] {
        &self.owners[usize::from(shard.0)]
    }

    /// The shards that `node` owns.
    pub fn shards_of(&self, node: NodeIx) -> &ShardSet {
        &self.owned[node.0]
    }

    /// The number of `node`'s zone. A node without a zone has one to itself.
    pub fn zone_of(&self, node: NodeIx) -> usize {
        self.zones[node.0]
    }

    /// True when `node`'s replica of `shard` has missed a write of `index`.
    pub fn is_stale(&self, node: NodeIx, index: &str, shard: ShardId) -> bool {
        self.stale_of(node, index).is_some_and(|shards| shards.contains(shard))
    }

    /// True when `node` has missed a write of `index` on any shard.
    pub fn has_stale(&self, node: NodeIx, index: &str) -> bool {
        self.stale_of(node, index).is_some_and(|shards| !shards.is_empty())
    }

    /// The shards of `index` whose replica on `node` has missed a write, `None` when there are none.
    pub fn stale_of(&self, node: NodeIx, index: &str) -> Option<&ShardSet> {
        // The common case, nothing stale anywhere, costs no allocation.
        if self.stale.is_empty() {
            return None;
        }
        self.stale.get(&(node, index.to_owned()))
    }
}
