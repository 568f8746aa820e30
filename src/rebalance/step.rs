//! What to do next. A pure function of the layout and of what is known of the nodes; the driver does it, and asks again.

use std::collections::BTreeSet;

use super::layout::{ByNode, Layout, PlanState, insert};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::NodeId;

/// What is known at the moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Nodes that serve.
    pub up: BTreeSet<NodeId>,
    /// Shards whose replica on a node is stale in some index.
    pub stale: ByNode,
    /// No request is under way that began on an older version of the layout.
    pub quiet: bool,
    /// How many replicas may be on their way at once.
    pub concurrency: usize,
}

/// The next thing to do. All of them can be done again.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// These nodes may hold documents of these shards from now on.
    Announce(ByNode),
    /// These nodes own these shards from now on, stale in every index.
    AddOwners(ByNode),
    /// These owners, which were arriving, are none any more.
    GiveUp(ByNode),
    /// These owners have arrived; others of the same shards are still to come.
    Arrived(ByNode),
    /// These shards have the owners of the plan from now on.
    Drop(ShardSet),
    /// The node's documents of these shards are deleted.
    Cleanup { node: NodeId, shards: ShardSet },
    /// The node is no part of the cluster any more.
    RemoveNode(NodeId),
    /// The goal is reached.
    Finish,
    /// Nothing can be done at the moment. Empty when there is nothing to do.
    Wait(Vec<Waiting>),
}

/// Why something is not done yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    Paused,
    /// Requests that began on an older layout are under way.
    OlderRequests,
    /// A new owner does not serve.
    NodeAway {
        node: NodeId,
        shards: usize,
    },
    /// The resilver copies.
    Copying {
        node: NodeId,
        shards: usize,
    },
    /// No owner that serves has all of these shards' writes.
    NoSource {
        shards: usize,
    },
    /// What a node holds of shards that it does not own cannot be deleted while it is away.
    CleanupAway {
        node: NodeId,
        shards: usize,
    },
}

// === impl Facts ===

impl Facts {
    fn in_sync(&self, node: &NodeId, shard: ShardId) -> bool {
        !self.stale.get(node).is_some_and(|stale| stale.contains(shard))
    }

    fn serves(&self, node: &NodeId, shard: ShardId) -> bool {
        self.up.contains(node) && self.in_sync(node, shard)
    }
}

// === impl Waiting ===

impl Waiting {
    /// Every word that [`Waiting::code`] gives.
    pub const CODES: &'static [&'static str] =
        &["paused", "older_requests", "node_away", "copying", "no_source", "cleanup_away"];

    /// A word for metrics and scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::OlderRequests => "older_requests",
            Self::NodeAway { .. } => "node_away",
            Self::Copying { .. } => "copying",
            Self::NoSource { .. } => "no_source",
            Self::CleanupAway { .. } => "cleanup_away",
        }
    }
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Paused => f.write_str("paused: `miroir rebalance resume` goes on"),
            Self::OlderRequests => f.write_str("requests that began before the last step must end first"),
            Self::NodeAway { node, shards } => write!(f, "node `{node}` must be up to take over {shards} shards"),
            Self::Copying { node, shards } => write!(f, "{shards} shards are being copied to node `{node}`"),
            Self::NoSource { shards } => {
                write!(f, "{shards} shards have no replica that is up and in sync to be copied from")
            }
            Self::CleanupAway { node, shards } => {
                write!(f, "node `{node}` must be up to delete its documents of {shards} shards")
            }
        }
    }
}

/// The next action.
pub fn next(layout: &Layout, facts: &Facts) -> Action {
    let state = layout.plan.as_ref().map(|plan| plan.state);
    if state == Some(PlanState::Paused) {
        return Action::Wait(vec![Waiting::Paused]);
    }
    // Every step is safe only for requests that know of the one before it.
    if !facts.quiet {
        return Action::Wait(vec![Waiting::OlderRequests]);
    }
    let target = layout.target();
    let mut waiting = Vec::new();
    if let Some(action) = give_up(layout, facts, &target)
        .or_else(|| drop_redundant(layout, facts, &target, &mut waiting))
        .or_else(|| add_owners(layout, facts, &target, &mut waiting))
        .or_else(|| clean_up(layout, facts, &target, &mut waiting))
        .or_else(|| remove_node(layout, facts))
    {
        return action;
    }
    if layout.plan.is_some() && layout.owners == target && layout.arriving.is_empty() && !leaves(layout) {
        return Action::Finish;
    }
    Action::Wait(waiting)
}

/// What is arriving where it is not wanted any more: its shard is as it was before.
fn give_up(layout: &Layout, facts: &Facts, target: &[Vec<NodeId>]) -> Option<Action> {
    let mut unwanted = ByNode::new();
    for (node, arriving) in &layout.arriving {
        let given_up = arriving.iter().filter(|shard| {
            let others = layout.owners_of(*shard).iter().filter(|owner| *owner != node);
            let served =
                others.filter(|owner| !layout.is_arriving(owner, *shard)).any(|owner| facts.serves(owner, *shard));
            served && !target[usize::from(shard.0)].contains(node)
        });
        insert(&mut unwanted, node, &given_up.collect());
    }
    (!unwanted.is_empty()).then_some(Action::GiveUp(unwanted))
}

/// Of shards that have all the owners they are to have, in sync and serving, the other owners are not needed any more.
fn drop_redundant(
    layout: &Layout,
    facts: &Facts,
    target: &[Vec<NodeId>],
    waiting: &mut Vec<Waiting>,
) -> Option<Action> {
    let mut complete = ShardSet::new();
    let (mut away, mut copying, mut arrived) = (ByNode::new(), ByNode::new(), ByNode::new());
    for shard in layout.shard_ids() {
        let (now, then) = (layout.owners_of(shard), &target[usize::from(shard.0)]);
        let only: ShardSet = [shard].into_iter().collect();
        let arriving: Vec<&NodeId> = now.iter().filter(|owner| layout.is_arriving(owner, shard)).collect();
        if !then.iter().all(|owner| now.contains(owner)) {
            for owner in arriving.iter().filter(|owner| then.contains(owner) && facts.serves(owner, shard)) {
                insert(&mut arrived, owner, &only);
            }
            continue;
        }
        if now == then.as_slice() && arriving.is_empty() {
            continue;
        }
        let unready: Vec<&NodeId> = then.iter().filter(|owner| !facts.serves(owner, shard)).collect();
        if unready.is_empty() {
            complete.insert(shard);
            continue;
        }
        for owner in unready {
            insert(if facts.up.contains(owner) { &mut copying } else { &mut away }, owner, &only);
        }
    }
    if !complete.is_empty() {
        return Some(Action::Drop(complete));
    }
    if !arrived.is_empty() {
        return Some(Action::Arrived(arrived));
    }
    waiting.extend(away.into_iter().map(|(node, shards)| Waiting::NodeAway { node, shards: shards.len() }));
    waiting.extend(copying.into_iter().map(|(node, shards)| Waiting::Copying { node, shards: shards.len() }));
    None
}

/// New owners as far as there is room: those that are announced first, then more are announced.
fn add_owners(layout: &Layout, facts: &Facts, target: &[Vec<NodeId>], waiting: &mut Vec<Waiting>) -> Option<Action> {
    let under_way: usize = layout.arriving.values().map(ShardSet::len).sum();
    let mut room = facts.concurrency.max(1).saturating_sub(under_way);
    let (mut announced, mut wanted, mut away) = (ByNode::new(), ByNode::new(), ByNode::new());
    let mut orphans = 0;
    for shard in layout.shard_ids() {
        let now = layout.owners_of(shard);
        let missing: Vec<&NodeId> = target[usize::from(shard.0)].iter().filter(|node| !now.contains(node)).collect();
        if missing.is_empty() {
            continue;
        }
        if !now.iter().any(|owner| facts.serves(owner, shard)) {
            orphans += 1;
            continue;
        }
        let only: ShardSet = [shard].into_iter().collect();
        for node in missing {
            if !facts.up.contains(node) {
                insert(&mut away, node, &only);
            } else if room > 0 {
                room -= 1;
                insert(if layout.is_residue(node, shard) { &mut announced } else { &mut wanted }, node, &only);
            }
        }
    }
    if !wanted.is_empty() {
        return Some(Action::Announce(wanted));
    }
    if !announced.is_empty() {
        return Some(Action::AddOwners(announced));
    }
    if orphans > 0 {
        waiting.push(Waiting::NoSource { shards: orphans });
    }
    waiting.extend(away.into_iter().map(|(node, shards)| Waiting::NodeAway { node, shards: shards.len() }));
    None
}

/// Documents of shards that a node neither owns nor is about to own.
fn clean_up(layout: &Layout, facts: &Facts, target: &[Vec<NodeId>], waiting: &mut Vec<Waiting>) -> Option<Action> {
    for (node, residue) in &layout.residue {
        let idle = residue.iter().filter(|shard| !target[usize::from(shard.0)].contains(node)).collect::<ShardSet>();
        if idle.is_empty() {
            continue;
        }
        if facts.up.contains(node) {
            return Some(Action::Cleanup { node: node.clone(), shards: idle });
        }
        if stays(layout, node) {
            waiting.push(Waiting::CleanupAway { node: node.clone(), shards: idle.len() });
        }
    }
    None
}

/// A node that leaves and owns nothing. What it holds no answer will show again.
fn remove_node(layout: &Layout, facts: &Facts) -> Option<Action> {
    let gone = layout.nodes.iter().map(|node| &node.id).find(|node| {
        let clean = !layout.residue.contains_key(node) || !facts.up.contains(node);
        !stays(layout, node) && clean && !layout.owners.iter().any(|owners| owners.contains(node))
    })?;
    Some(Action::RemoveNode(gone.clone()))
}

fn stays(layout: &Layout, node: &NodeId) -> bool {
    match &layout.plan {
        None => true,
        Some(plan) => match plan.state {
            PlanState::Running | PlanState::Paused => plan.goal.find(node).is_some(),
            // A node that the plan brought and that owns nothing goes again.
            PlanState::Canceling => {
                plan.before.find(node).is_some() || layout.owners.iter().any(|owners| owners.contains(node))
            }
        },
    }
}

fn leaves(layout: &Layout) -> bool {
    layout.nodes.iter().any(|node| !stays(layout, &node.id))
}
