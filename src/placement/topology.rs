//! The topology: an immutable snapshot of nodes, assignment and in-sync sets. One is loaded once per request.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::rendezvous;
use super::shard::{ShardId, ShardSet};

/// A node's name in the configuration; stable, because placement hashes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub Arc<str>);

/// A node's position in [`Topology::nodes`]. Nodes are only ever appended, so it means the same node in every topology
/// of one process.
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
    /// No part of the cluster any more. It keeps its position until the gateway ends, because positions are remembered.
    Removed,
}

/// One Meilisearch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    pub id: NodeId,
    /// `http://host:port`, without a trailing slash.
    pub url: String,
    pub zone: Option<String>,
    /// How much of the shards it gets, against the weights of the others; above 0.
    pub weight: f64,
    pub state: NodeState,
}

/// Shards of which nodes may hold documents although they do not own them: some are about to arrive, some have left and
/// are not deleted yet.
pub type Residue = BTreeMap<NodeIx, ShardSet>;

/// Shards of an index whose replica on a node has missed a write. `index` is the index's uid.
pub type StaleSets = BTreeMap<(NodeIx, String), ShardSet>;

/// Why an index on a node is not as the cluster's. The node serves all its other indexes meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Apart {
    /// It has missed a change while it was away, and was not compared yet: not asked.
    Unknown,
    /// Its settings may be others, and are not put right yet. Its documents are as everywhere: asked for what nobody else has.
    Differs,
    /// It is not there, or its content belongs to the past: neither asked nor copied to.
    Absent,
}

/// The indexes that are apart, and on which nodes.
pub type ApartSets = BTreeMap<(NodeIx, String), Apart>;

/// The cluster at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Topology {
    /// Grows by one with every change that is published.
    pub epoch: u64,
    /// How many shards there are; fixed when the cluster is made.
    pub shards: u16,
    /// How many nodes hold each shard; fewer where there are not as many.
    pub replication_factor: u8,
    pub nodes: Vec<Node>,
    /// For each shard the nodes that own it, in rank order: `min(replication_factor, nodes)` of them, and while shards
    /// move those that arrive as well. Every owner is sent the shard's writes.
    pub owners: Arc<[Vec<NodeIx>]>,
    /// `owners` seen from the nodes; [`Topology::build`] keeps the two in step.
    #[serde(skip)]
    owned: Arc<[ShardSet]>,
    /// The number of each node's zone; see [`rendezvous::zones`].
    #[serde(skip)]
    zones: Arc<[usize]>,
    #[serde(skip)]
    pub stale: Arc<StaleSets>,
    #[serde(skip)]
    pub apart: Arc<ApartSets>,
    #[serde(skip)]
    pub residue: Arc<Residue>,
    /// The zone that the gateway itself is in, whose nodes are asked first.
    #[serde(skip)]
    pub own_zone: Option<Arc<str>>,
    /// The version of the layout that owners and residue are taken from. It grows only when those change.
    pub layout: u64,
}

// === impl NodeState ===

impl NodeState {
    /// Every state: each label of metrics starts at zero.
    pub const ALL: &'static [NodeState] =
        &[Self::Joining, Self::Up, Self::Repairing, Self::Down, Self::Maintenance, Self::Removed];

    /// As metrics and the admin API write it: `up`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Up => "up",
            Self::Repairing => "repairing",
            Self::Down => "down",
            Self::Maintenance => "maintenance",
            Self::Removed => "removed",
        }
    }

    /// False for a node that is only remembered.
    pub fn is_member(self) -> bool {
        match self {
            Self::Joining | Self::Up | Self::Repairing | Self::Down | Self::Maintenance => true,
            Self::Removed => false,
        }
    }

    /// True only for nodes that a cover may name.
    pub fn serves_reads(self) -> bool {
        match self {
            Self::Up => true,
            Self::Joining | Self::Repairing | Self::Down | Self::Maintenance | Self::Removed => false,
        }
    }

    /// True when writes are sent to the node at once. A node that is joining, down or in maintenance misses them and
    /// becomes stale.
    pub fn takes_writes(self) -> bool {
        match self {
            Self::Up | Self::Repairing => true,
            Self::Joining | Self::Down | Self::Maintenance | Self::Removed => false,
        }
    }

    /// True when a write that has its place in the node's lane already is still sent.
    pub fn finishes_writes(self) -> bool {
        match self {
            Self::Up | Self::Repairing | Self::Maintenance => true,
            Self::Joining | Self::Down | Self::Removed => false,
        }
    }
}

// === impl NodeId ===

impl NodeId {
    /// `id` as the configuration has it.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The id as text.
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
    /// True when this may be published after `before`: a later epoch, no older layout, the same shards, each with an owner, and
    /// every node where it was, for positions stay valid as long as the process lives.
    pub fn follows(&self, before: &Topology) -> bool {
        let stay = self.nodes.iter().zip(&before.nodes).all(|(now, then)| now.id == then.id);
        let grows = self.epoch > before.epoch && self.layout >= before.layout && self.nodes.len() >= before.nodes.len();
        stay && grows && self.shards == before.shards && self.owners.iter().all(|owners| !owners.is_empty())
    }

    /// For tests: nodes `n0`, `n1`, ... in these states.
    #[cfg(test)]
    pub fn sample(states: &[NodeState], shards: u16, replication_factor: u8) -> Self {
        let node = |(position, state): (usize, &NodeState)| Node {
            id: NodeId::new(&format!("n{position}")),
            url: "http://x".into(),
            zone: None,
            weight: 1.0,
            state: *state,
        };
        Self::build(states.iter().enumerate().map(node).collect(), shards, replication_factor)
    }

    /// [`Topology::build`] with owners that are not, or not yet, those that placement gives.
    pub fn with_owners(nodes: Vec<Node>, shards: u16, replication_factor: u8, owners: Vec<Vec<NodeIx>>) -> Self {
        let mut topology = Self {
            epoch: 1,
            shards,
            replication_factor,
            nodes,
            owners: Arc::default(),
            owned: Arc::default(),
            zones: Arc::default(),
            stale: Arc::default(),
            apart: Arc::default(),
            residue: Arc::default(),
            own_zone: None,
            layout: 0,
        };
        topology.set_owners(owners);
        topology
    }

    /// Replaces the owners of all shards. Also to be called when nodes were appended or moved to another zone.
    pub fn set_owners(&mut self, owners: Vec<Vec<NodeIx>>) {
        let mut owned = vec![ShardSet::new(); self.nodes.len()];
        for (shard, owners) in (0..self.shards).map(ShardId).zip(&owners) {
            for owner in owners {
                owned[owner.0].insert(shard);
            }
        }
        self.zones = rendezvous::zones(&self.nodes).into();
        self.owned = owned.into();
        self.owners = owners.into();
    }

    /// The same, as an allocation of its own: for who holds it long and does not read by it, so that nothing has to wait
    /// for him.
    pub fn detached(&self) -> Arc<Self> {
        Arc::new(self.clone())
    }

    /// Panics where `ix` is of another topology with more nodes.
    pub fn node(&self, ix: NodeIx) -> &Node {
        &self.nodes[ix.0]
    }

    /// Every position, those of removed nodes included.
    pub fn indexes(&self) -> impl Iterator<Item = NodeIx> + use<> {
        (0..self.nodes.len()).map(NodeIx)
    }

    /// The nodes of the cluster.
    pub fn members(&self) -> impl Iterator<Item = NodeIx> + '_ {
        self.indexes().filter(|node| self.node(*node).state.is_member())
    }

    /// A node of the cluster by its id.
    pub fn find(&self, id: &str) -> Option<NodeIx> {
        self.members().find(|node| self.node(*node).id.as_str() == id)
    }

    /// Its replicas, whether they serve and are in sync or not.
    pub fn owners_of(&self, shard: ShardId) -> &[NodeIx] {
        &self.owners[usize::from(shard.0)]
    }

    /// The shards that `node` owns.
    pub fn shards_of(&self, node: NodeIx) -> &ShardSet {
        &self.owned[node.0]
    }

    /// The shards of which `node` may hold documents without owning them.
    pub fn residue_of(&self, node: NodeIx) -> Option<&ShardSet> {
        self.residue.get(&node)
    }

    /// The same for who does not know what has become of it since: each node may hold documents of any shard by now, so each is asked for its own
    /// only.
    pub fn of_before(&self) -> Self {
        let all = ShardSet::all(self.shards);
        let residue = (0..self.nodes.len()).map(|node| (NodeIx(node), all.clone())).collect();
        Self { residue: Arc::new(residue), ..self.clone() }
    }

    /// True when each shard has the same owners in both: the same documents go to the same nodes.
    pub fn same_owners(&self, other: &Topology) -> bool {
        Arc::ptr_eq(&self.owners, &other.owners) || self.owners == other.owners
    }

    /// The number of `node`'s zone. A node without a zone has one to itself.
    pub fn zone_of(&self, node: NodeIx) -> usize {
        self.zones[node.0]
    }

    /// True for a node in another zone than the gateway's, where that is known.
    pub fn is_far(&self, node: NodeIx) -> bool {
        self.own_zone.as_deref().is_some_and(|own| self.node(node).zone.as_deref() != Some(own))
    }

    /// True when `node`'s replica of `shard` has missed a write of `index`, or what it holds under that name is another index's.
    pub fn is_stale(&self, node: NodeIx, index: &str, shard: ShardId) -> bool {
        self.stale_of(node, index).is_some_and(|shards| shards.contains(shard))
            || self.apart_of(node, index) == Some(Apart::Absent)
    }

    /// True when a read may ask `node` for some of these shards. `node` may be one that this topology does not know.
    pub fn answers_for(&self, node: NodeIx, index: &str, shards: &ShardSet) -> bool {
        if node.0 >= self.nodes.len() || !self.node(node).state.serves_reads() {
            return false;
        }
        if matches!(self.apart_of(node, index), Some(Apart::Unknown | Apart::Absent)) {
            return false;
        }
        let owned = self.shards_of(node);
        shards.iter().any(|shard| owned.contains(shard) && !self.is_stale(node, index, shard))
    }

    /// Why `index` on `node` is not as the cluster's, `None` where it is.
    pub fn apart_of(&self, node: NodeIx, index: &str) -> Option<Apart> {
        if self.apart.is_empty() {
            return None;
        }
        self.apart.get(&(node, index.to_owned())).copied()
    }

    /// The nodes that serve reads of `index`, those first whose settings of it are right.
    pub fn serving(&self, index: &str) -> Vec<NodeIx> {
        let mut serving: Vec<NodeIx> = self.indexes().filter(|node| self.node(*node).state.serves_reads()).collect();
        serving.sort_by_key(|node| self.apart_of(*node, index));
        serving
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
