//! The durable layout: which node owns which shard, what is on its way, and where it is to lead.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::goal::{Goal, NodeSpec};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::{NodeId, NodeIx, NodeState, Topology};
use crate::placement::version::Placement;

/// How many finished plans are remembered.
const FINISHED_KEPT: usize = 20;

/// Shards by node. No entry is empty.
pub type ByNode = BTreeMap<NodeId, ShardSet>;

/// Where everything is. Serialized as JSON into the store; owners and residue are what topologies are made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layout {
    /// Grows with every change.
    pub version: u64,
    /// The nodes of the cluster; while a plan is under way those that leave are among them.
    pub nodes: Vec<NodeSpec>,
    /// Of the last plan that was finished.
    pub replication_factor: u8,
    /// The same. A layout that does not say was made before there was a second version.
    #[serde(default)]
    pub placement: Placement,
    /// For each shard its owners in rank order, those that arrive last.
    pub owners: Vec<Vec<NodeId>>,
    /// Owners that have not been in sync yet.
    #[serde(default)]
    pub arriving: ByNode,
    /// Shards of which a node may hold documents although it does not own them.
    #[serde(default)]
    pub residue: ByNode,
    /// What is under way.
    #[serde(default)]
    pub plan: Option<Plan>,
    /// The configuration that was taken over last: only one that differs from it is news.
    pub configured: Goal,
    /// The newest last.
    #[serde(default)]
    pub finished: Vec<Finished>,
}

/// A way from one goal to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub before: Goal,
    pub goal: Goal,
    pub state: PlanState,
    pub cause: Cause,
    /// Replicas that had to move when it began, and the documents in them.
    pub replicas: usize,
    #[serde(default)]
    pub documents: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub began_at: OffsetDateTime,
}

/// Whether a plan goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PlanState {
    Running,
    /// Nothing new begins until the operator says so.
    Paused,
    /// What has arrived stays, what is arriving is given up.
    Canceling,
}

/// Who wanted a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    Operator,
    Configuration,
    Undo,
}

/// Why a plan is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Finished,
    Canceled,
    /// Another plan took its place.
    Replaced,
}

/// A plan that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finished {
    pub before: Goal,
    pub goal: Goal,
    pub cause: Cause,
    pub outcome: Outcome,
    /// That had to move when it began, and the documents in them.
    pub replicas: usize,
    pub documents: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub began_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub ended_at: OffsetDateTime,
}

// === impl Layout ===

impl Layout {
    /// The layout of a new cluster: what placement gives.
    pub fn first(goal: Goal, shards: u16) -> Self {
        Self {
            version: 1,
            owners: goal.assign(shards),
            nodes: goal.nodes.clone(),
            replication_factor: goal.replication_factor,
            placement: goal.placement,
            arriving: ByNode::new(),
            residue: ByNode::new(),
            plan: None,
            configured: goal,
            finished: Vec::new(),
        }
    }

    /// What the operator wants, reached or not.
    pub fn wanted(&self) -> Goal {
        match &self.plan {
            Some(plan) => plan.goal.clone(),
            None => Goal {
                nodes: self.nodes.clone(),
                replication_factor: self.replication_factor,
                placement: self.placement,
            },
        }
    }

    /// True when there is nothing to move and nothing to delete.
    pub fn is_at_rest(&self) -> bool {
        self.plan.is_none() && self.residue.is_empty() && self.arriving.is_empty()
    }

    /// How many shards there are.
    pub fn shards(&self) -> u16 {
        u16::try_from(self.owners.len()).unwrap_or(u16::MAX)
    }

    /// In ascending order.
    pub fn shard_ids(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shards()).map(ShardId)
    }

    /// Its replicas now, those that are still being filled among them.
    pub fn owners_of(&self, shard: ShardId) -> &[NodeId] {
        &self.owners[usize::from(shard.0)]
    }

    /// True while the node is being given its copy of the shard.
    pub fn is_arriving(&self, node: &NodeId, shard: ShardId) -> bool {
        self.arriving.get(node).is_some_and(|shards| shards.contains(shard))
    }

    /// True for a shard that the node has given up and still holds documents of.
    pub fn is_residue(&self, node: &NodeId, shard: ShardId) -> bool {
        self.residue.get(node).is_some_and(|shards| shards.contains(shard))
    }

    /// The shards that `node` owns, those that are arriving there among them.
    pub fn owned_by(&self, node: &NodeId) -> ShardSet {
        self.shard_ids().filter(|shard| self.owners_of(*shard).contains(node)).collect()
    }

    /// Drops the oldest of more than are kept.
    pub(super) fn remember(&mut self, plan: Plan, outcome: Outcome, now: OffsetDateTime) {
        let Plan { before, goal, cause, replicas, documents, began_at, .. } = plan;
        self.finished.push(Finished { before, goal, cause, outcome, replicas, documents, began_at, ended_at: now });
        let surplus = self.finished.len().saturating_sub(FINISHED_KEPT);
        self.finished.drain(..surplus);
    }

    /// Makes `topology` say what the layout says. Nodes that are new come behind those that are there, nodes that are
    /// gone keep their position; one whose url has changed must show itself anew.
    pub fn install(&self, topology: &mut Topology) {
        for node in &mut topology.nodes {
            if !self.nodes.iter().any(|spec| spec.id == node.id) {
                node.state = NodeState::Removed;
            }
        }
        for spec in &self.nodes {
            match topology.nodes.iter_mut().find(|node| node.id == spec.id) {
                Some(node) => {
                    if node.url != spec.url || !node.state.is_member() {
                        node.url.clone_from(&spec.url);
                        if node.state != NodeState::Maintenance {
                            node.state = NodeState::Joining;
                        }
                    }
                    node.zone.clone_from(&spec.zone);
                    node.weight = spec.weight;
                }
                None => topology.nodes.push(spec.to_node()),
            }
        }
        let positions: BTreeMap<&NodeId, NodeIx> =
            topology.nodes.iter().enumerate().map(|(at, node)| (&node.id, NodeIx(at))).collect();
        let owners = self
            .owners
            .iter()
            .map(|owners| owners.iter().filter_map(|owner| positions.get(owner).copied()).collect())
            .collect();
        let residue = self.residue.iter().filter_map(|(node, shards)| Some((*positions.get(node)?, shards.clone())));
        topology.residue = std::sync::Arc::new(residue.collect());
        topology.set_owners(owners);
        topology.replication_factor = self.replication_factor;
        topology.layout = self.version;
    }

    /// The topology of a start: nobody has been seen, nothing is stale.
    pub fn to_topology(&self) -> Topology {
        let none = vec![Vec::new(); self.owners.len()];
        let mut topology = Topology::with_owners(Vec::new(), self.shards(), self.replication_factor, none);
        self.install(&mut topology);
        topology
    }
}

/// Adds `shards` to those of `node`.
pub fn insert(sets: &mut ByNode, node: &NodeId, shards: &ShardSet) {
    if !shards.is_empty() {
        sets.entry(node.clone()).or_default().union_with(shards);
    }
}

/// Takes `shards` from those of `node`.
pub fn subtract(sets: &mut ByNode, node: &NodeId, shards: &ShardSet) {
    if let Some(set) = sets.get_mut(node) {
        set.subtract(shards);
        if set.is_empty() {
            sets.remove(node);
        }
    }
}
