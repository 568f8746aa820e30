//! The difference between the owners that are and those that are to be: exactly the replicas that move.

use std::collections::BTreeMap;

use super::layout::{ByNode, Layout, PlanState, insert};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::NodeId;

/// Replicas that change owners.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moves {
    /// Shards that each node takes over; those that are on their way are among them.
    pub arrive: ByNode,
    /// Shards that each node gives up.
    pub leave: ByNode,
}

// === impl Moves ===

impl Moves {
    /// `target` has the owners of each shard, by its number. What is on its way to its target counts as to arrive.
    pub fn between(layout: &Layout, target: &[Vec<NodeId>]) -> Self {
        let mut moves = Self::default();
        for shard in layout.shard_ids() {
            let (now, then) = (layout.owners_of(shard), &target[usize::from(shard.0)]);
            let only: ShardSet = [shard].into_iter().collect();
            for node in then.iter().filter(|node| !now.contains(node) || layout.is_arriving(node, shard)) {
                insert(&mut moves.arrive, node, &only);
            }
            for node in now.iter().filter(|node| !then.contains(node)) {
                insert(&mut moves.leave, node, &only);
            }
        }
        moves
    }

    /// True if nothing moves.
    pub fn is_empty(&self) -> bool {
        self.arrive.is_empty() && self.leave.is_empty()
    }

    /// Replicas that must be copied.
    pub fn replicas(&self) -> usize {
        self.arrive.values().map(ShardSet::len).sum()
    }

    /// Whom each arriving replica can be copied from: one owner that has it now for each shard.
    pub fn sources(&self, layout: &Layout) -> BTreeMap<(NodeId, NodeId), ShardSet> {
        let mut sources: BTreeMap<(NodeId, NodeId), ShardSet> = BTreeMap::new();
        for (target, shards) in &self.arrive {
            for shard in shards.iter() {
                let in_place = |owner: &&NodeId| !layout.is_arriving(owner, shard);
                if let Some(source) = layout.owners_of(shard).iter().find(in_place) {
                    sources.entry((source.clone(), target.clone())).or_default().insert(shard);
                }
            }
        }
        sources
    }
}

// === impl Layout ===

impl Layout {
    /// The owners that the plan under way leads to; without one those that are.
    pub fn target(&self) -> Vec<Vec<NodeId>> {
        match &self.plan {
            None => self.owners.clone(),
            Some(plan) => match plan.state {
                PlanState::Running | PlanState::Paused => plan.goal.assign(self.shards()),
                PlanState::Canceling => self.owners_in_place(),
            },
        }
    }

    /// The owners without those that are arriving.
    fn owners_in_place(&self) -> Vec<Vec<NodeId>> {
        let in_place = |shard: ShardId| {
            let owners = self.owners_of(shard).iter();
            owners.filter(|owner| !self.is_arriving(owner, shard)).cloned().collect()
        };
        self.shard_ids().map(in_place).collect()
    }
}
