//! What the operator wants the cluster to be: its nodes, the replication factor and the version of placement. And how a wish
//! changes it.

use serde::{Deserialize, Serialize};

use crate::placement::topology::{Node, NodeId, NodeState};
use crate::placement::version::Placement;

/// The most replicas of a shard.
pub const MAX_REPLICATION_FACTOR: u8 = 16;

/// A node as the operator describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSpec {
    pub id: NodeId,
    /// `http://host:port`, without a trailing slash.
    pub url: String,
    #[serde(default)]
    pub zone: Option<String>,
    /// How much of the shards it gets, against the weights of the others; above 0.
    #[serde(default = "one")]
    pub weight: f64,
    /// A member that is to hold nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub drained: bool,
}

/// Nodes, replication factor, and how owners are found among them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Goal {
    pub nodes: Vec<NodeSpec>,
    /// How many nodes are to hold each shard.
    pub replication_factor: u8,
    /// Not written before there was a second version.
    #[serde(default)]
    pub placement: Placement,
}

/// One wish.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Add(NodeSpec),
    Remove(NodeId),
    Drain(NodeId),
    Set(NodeId, NodePatch),
    ReplicationFactor(u8),
    Placement(Placement),
    /// All nodes, instead of changes of them.
    Nodes(Vec<NodeSpec>),
}

/// What is to change of a node. A zone that is given as null is taken away.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodePatch {
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub zone: Option<Option<String>>,
    #[serde(default)]
    pub weight: Option<f64>,
    /// False lets a drained node hold shards again.
    #[serde(default)]
    pub drained: Option<bool>,
}

/// Why a wish is not granted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("expected an id of 1 to 100 letters, digits, `-`, `_` and `.`, found `{0}`")]
    BadId(String),
    #[error("expected a zone of 1 to 100 letters, digits, `-`, `_` and `.`, found `{0}`")]
    BadZone(String),
    #[error("expected a weight over 0, found `{0}`")]
    BadWeight(f64),
    #[error("expected a replication factor from 1 to {MAX_REPLICATION_FACTOR}, found `{0}`")]
    BadReplicationFactor(u8),
    #[error("node `{0}` is part of the cluster already")]
    Exists(NodeId),
    #[error("the cluster has no node `{0}`")]
    Unknown(NodeId),
    #[error("node `{id}` has the url `{url}` already")]
    UrlTaken { id: NodeId, url: String },
    #[error("no node would be left to hold shards")]
    Nobody,
    #[error(
        "{shards} shards have no in-sync replica but on {nodes}, which would leave and does not answer; bring it back \
         first, or start an empty node under its id and url to give its documents up"
    )]
    LastReplica { shards: usize, nodes: String },
    #[error("nothing would change")]
    Nothing,
    #[error("no plan is under way")]
    NoPlan,
    #[error("the plan is being canceled")]
    Canceling,
    #[error("there is no finished plan to undo")]
    NothingToUndo,
}

// === impl Goal ===

impl Goal {
    /// `None` if the goal has no node of that id.
    pub fn find(&self, id: &NodeId) -> Option<&NodeSpec> {
        self.nodes.iter().find(|node| node.id == *id)
    }

    /// The owners of each shard, in rank order.
    pub fn assign(&self, shards: u16) -> Vec<Vec<NodeId>> {
        let nodes: Vec<Node> = self.nodes.iter().filter(|node| !node.drained).map(NodeSpec::to_node).collect();
        let owners = self.placement.assign(&nodes, shards, self.replication_factor);
        owners.into_iter().map(|owners| owners.into_iter().map(|owner| nodes[owner.0].id.clone()).collect()).collect()
    }

    /// The goal after `change`, with everything checked that can be without knowing where documents are.
    pub fn with(&self, change: Change) -> Result<Goal, Refusal> {
        let mut goal = self.clone();
        match change {
            Change::Add(node) => {
                if goal.find(&node.id).is_some() {
                    return Err(Refusal::Exists(node.id));
                }
                goal.nodes.push(node);
            }
            Change::Remove(id) => {
                goal.find(&id).ok_or_else(|| Refusal::Unknown(id.clone()))?;
                goal.nodes.retain(|node| node.id != id);
            }
            Change::Drain(id) => goal.node_mut(id)?.drained = true,
            Change::Set(id, patch) => goal.node_mut(id)?.apply(patch),
            Change::ReplicationFactor(factor) => goal.replication_factor = factor,
            Change::Placement(placement) => goal.placement = placement,
            Change::Nodes(nodes) => goal.nodes = nodes,
        }
        goal.check()?;
        Ok(goal)
    }

    fn node_mut(&mut self, id: NodeId) -> Result<&mut NodeSpec, Refusal> {
        self.nodes.iter_mut().find(|node| node.id == id).ok_or(Refusal::Unknown(id))
    }

    fn check(&self) -> Result<(), Refusal> {
        if !(1..=MAX_REPLICATION_FACTOR).contains(&self.replication_factor) {
            return Err(Refusal::BadReplicationFactor(self.replication_factor));
        }
        for (position, node) in self.nodes.iter().enumerate() {
            node.check()?;
            let earlier = &self.nodes[..position];
            if earlier.iter().any(|other| other.id == node.id) {
                return Err(Refusal::Exists(node.id.clone()));
            }
            if let Some(other) = earlier.iter().find(|other| other.url == node.url) {
                return Err(Refusal::UrlTaken { id: other.id.clone(), url: node.url.clone() });
            }
        }
        if self.nodes.iter().all(|node| node.drained) {
            return Err(Refusal::Nobody);
        }
        Ok(())
    }
}

// === impl NodeSpec ===

impl NodeSpec {
    /// The node as the topology wants it: nobody has seen it yet.
    pub fn to_node(&self) -> Node {
        Node {
            id: self.id.clone(),
            url: self.url.clone(),
            zone: self.zone.clone(),
            weight: self.weight,
            state: NodeState::Joining,
        }
    }

    fn apply(&mut self, patch: NodePatch) {
        self.url = patch.url.map_or_else(|| self.url.clone(), |url| url.trim_end_matches('/').to_owned());
        self.zone = patch.zone.unwrap_or_else(|| self.zone.clone());
        self.weight = patch.weight.unwrap_or(self.weight);
        self.drained = patch.drained.unwrap_or(self.drained);
    }

    fn check(&self) -> Result<(), Refusal> {
        if !is_name(self.id.as_str()) {
            return Err(Refusal::BadId(self.id.to_string()));
        }
        if let Some(zone) = self.zone.as_ref().filter(|zone| !is_name(zone)) {
            return Err(Refusal::BadZone(zone.clone()));
        }
        if !(self.weight.is_finite() && self.weight > 0.0) {
            return Err(Refusal::BadWeight(self.weight));
        }
        Ok(())
    }
}

/// What ids and zones look like.
pub fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=100).contains(&text.len()) && text.bytes().all(legal)
}

fn one() -> f64 {
    1.0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

/// Tells a key that is null from one that is not there.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> NodeSpec {
        NodeSpec { id: NodeId::new(id), url: format!("http://{id}:7700"), zone: None, weight: 1.0, drained: false }
    }

    fn goal(ids: &[&str]) -> Goal {
        Goal { nodes: ids.iter().map(|id| node(id)).collect(), replication_factor: 2, placement: Placement::Rendezvous }
    }

    #[test]
    fn wishes_that_make_no_cluster_are_refused() {
        let two = goal(&["a", "b"]);
        assert_eq!(two.with(Change::Add(node("a"))), Err(Refusal::Exists(NodeId::new("a"))));
        assert_eq!(two.with(Change::Remove(NodeId::new("z"))), Err(Refusal::Unknown(NodeId::new("z"))));
        assert_eq!(two.with(Change::Add(node("a b"))), Err(Refusal::BadId("a b".to_owned())));
        assert_eq!(two.with(Change::ReplicationFactor(0)), Err(Refusal::BadReplicationFactor(0)));
        let same_url = NodeSpec { url: "http://a:7700".to_owned(), ..node("c") };
        assert!(matches!(two.with(Change::Add(same_url)), Err(Refusal::UrlTaken { .. })));
        let light = NodePatch { weight: Some(0.0), ..NodePatch::default() };
        assert_eq!(two.with(Change::Set(NodeId::new("a"), light)), Err(Refusal::BadWeight(0.0)));
        let drained = goal(&["a"]).with(Change::Drain(NodeId::new("a")));
        assert_eq!(drained, Err(Refusal::Nobody));
        assert_eq!(goal(&["a"]).with(Change::Remove(NodeId::new("a"))), Err(Refusal::Nobody));
    }

    #[test]
    fn a_drained_node_is_a_member_that_owns_nothing() {
        let drained = goal(&["a", "b", "c"]).with(Change::Drain(NodeId::new("b"))).unwrap();
        assert_eq!(drained.nodes.len(), 3);
        assert_eq!(drained.assign(64), goal(&["a", "c"]).assign(64));
    }

    #[test]
    fn a_zone_that_is_null_is_taken_away_and_one_that_is_not_named_stays() {
        let nodes = vec![NodeSpec { zone: Some("x".to_owned()), ..node("a") }];
        let zoned = Goal { nodes, replication_factor: 1, placement: Placement::Bounded };
        let patched = |text: &str| {
            let patch = serde_json::from_str(text).unwrap();
            zoned.with(Change::Set(NodeId::new("a"), patch)).unwrap().nodes[0].zone.clone()
        };
        assert_eq!(patched(r#"{"weight": 2}"#), Some("x".to_owned()));
        assert_eq!(patched(r#"{"zone": null}"#), None);
        assert_eq!(patched(r#"{"zone": "y"}"#), Some("y".to_owned()));
    }
}
