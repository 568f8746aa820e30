//! A view as it is sent: what reads of another gateway go by.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ledger::refusals::Notes;
use crate::ledger::registry::Edition;
use crate::nodes::health::{Life, Prospects};
use crate::placement::shard::ShardSet;
use crate::placement::topology::{Apart, ApartSets, Node, NodeId, NodeIx, NodeState, Residue, StaleSets, Topology};

/// Which view: of two, the later one is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ViewNumber {
    /// Of the leader's lease.
    pub epoch: i64,
    /// How many changes its leader has told.
    pub n: u64,
}

/// A view, but for those of its parts that whoever asked has already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    pub number: ViewNumber,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Arc<TopologyView>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexes: Option<Arc<Vec<Edition>>>,
    /// As whoever keeps them stores them; no secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Arc<Vec<Value>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusals: Option<Arc<Notes>>,
    /// Of the engine, by node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Arc<BTreeMap<NodeId, String>>>,
}

/// A topology without what can be made of the rest, and without what each gateway has of its own: its count of topologies and its zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopologyView {
    pub shards: u16,
    pub replication_factor: u8,
    pub layout: u64,
    /// All that follows names nodes by their places here. These may be others with the next leader.
    pub nodes: Vec<NodeView>,
    pub owners: Vec<Vec<usize>>,
    pub stale: Vec<(usize, String, ShardSet)>,
    pub apart: Vec<(usize, String, Apart)>,
    pub residue: Vec<(usize, ShardSet)>,
}

/// A node, as the leader knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    pub id: NodeId,
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    pub weight: f64,
    pub state: NodeState,
    /// What is to be expected of it.
    #[serde(flatten)]
    pub prospects: Prospects,
}

/// Why a view is not gone by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongView {
    #[error("{shards} shards have owners in a view of {expected}")]
    Shards { shards: usize, expected: u16 },
    #[error("a view names node {place} of {nodes}")]
    Node { place: usize, nodes: usize },
    #[error("shard {0} has no owner in a view")]
    NoOwner(usize),
    #[error("the weight of node `{0}` is none")]
    Weight(NodeId),
    #[error("two nodes of a view are called `{0}`")]
    Twice(NodeId),
    #[error("the first view of a leader lacks its {0}")]
    Incomplete(&'static str),
    #[error("a view is not later than the one before")]
    Older,
    #[error("keys of a view cannot be read: {0}")]
    Keys(String),
}

// === impl ViewNumber ===

impl std::fmt::Display for ViewNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.epoch, self.n)
    }
}

// === impl TopologyView ===

impl TopologyView {
    /// `life` says what is to be expected of nodes.
    pub fn of(topology: &Topology, life: &Life) -> Self {
        let node = |node: &Node| NodeView {
            id: node.id.clone(),
            url: node.url.clone(),
            zone: node.zone.clone(),
            weight: node.weight,
            state: node.state,
            prospects: life.prospects(&node.id),
        };
        Self {
            shards: topology.shards,
            replication_factor: topology.replication_factor,
            layout: topology.layout,
            nodes: topology.nodes.iter().map(node).collect(),
            owners: topology.owners.iter().map(|owners| owners.iter().map(|owner| owner.0).collect()).collect(),
            stale: topology.stale.iter().map(|((node, index), set)| (node.0, index.clone(), set.clone())).collect(),
            apart: topology.apart.iter().map(|((node, index), kind)| (node.0, index.clone(), *kind)).collect(),
            residue: topology.residue.iter().map(|(node, set)| (node.0, set.clone())).collect(),
        }
    }

    /// The topology, with each node where it is in `before`: positions are remembered as long as a process lives, and leaders change. A
    /// node that is not told of stays, as one that was removed. The zone is that of `before`, where this gateway is.
    ///
    /// Example: the leader has told of n0, n1, n2; n1 is removed and the next leader, which never knew it, tells of n0, n2. Here n2 stays
    /// at 2, and n1 is a removed node at 1.
    ///
    /// # Errors
    ///
    /// When it is none that a leader of this version could have.
    pub fn restore(&self, before: &Topology) -> Result<Topology, WrongView> {
        let mut nodes = before.nodes.clone();
        for known in &mut nodes {
            known.state = NodeState::Removed;
        }
        let mut places = Vec::with_capacity(self.nodes.len());
        for told in &self.nodes {
            if !(told.weight.is_finite() && told.weight > 0.0) {
                return Err(WrongView::Weight(told.id.clone()));
            }
            let node = told.node();
            let place = match nodes.iter().position(|known| known.id == told.id) {
                Some(place) => {
                    nodes[place] = node;
                    place
                }
                None => {
                    nodes.push(node);
                    nodes.len() - 1
                }
            };
            if places.contains(&NodeIx(place)) {
                return Err(WrongView::Twice(told.id.clone()));
            }
            places.push(NodeIx(place));
        }
        let at =
            |place: &usize| places.get(*place).copied().ok_or(WrongView::Node { place: *place, nodes: places.len() });
        if self.owners.len() != usize::from(self.shards) {
            return Err(WrongView::Shards { shards: self.owners.len(), expected: self.shards });
        }
        if let Some(shard) = self.owners.iter().position(Vec::is_empty) {
            return Err(WrongView::NoOwner(shard));
        }
        let owners = self.owners.iter().map(|owners| owners.iter().map(at).collect::<Result<Vec<NodeIx>, _>>());
        let owners = owners.collect::<Result<Vec<_>, _>>()?;
        let mut topology = Topology::with_owners(nodes, self.shards, self.replication_factor, owners);
        let stale = self.stale.iter().map(|(node, index, set)| Ok(((at(node)?, index.clone()), set.clone())));
        topology.stale = Arc::new(stale.collect::<Result<StaleSets, _>>()?);
        let apart = self.apart.iter().map(|(node, index, kind)| Ok(((at(node)?, index.clone()), *kind)));
        topology.apart = Arc::new(apart.collect::<Result<ApartSets, _>>()?);
        let residue = self.residue.iter().map(|(node, set)| Ok((at(node)?, set.clone())));
        topology.residue = Arc::new(residue.collect::<Result<Residue, _>>()?);
        topology.layout = self.layout;
        topology.own_zone.clone_from(&before.own_zone);
        Ok(topology)
    }
}

// === impl NodeView ===

impl NodeView {
    fn node(&self) -> Node {
        Node {
            id: self.id.clone(),
            url: self.url.clone(),
            zone: self.zone.clone(),
            weight: self.weight,
            state: self.state,
        }
    }
}
