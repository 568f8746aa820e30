//! How actions and wishes change the layout. Pure; the driver makes the result durable before anybody sees it.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::diff::Moves;
use super::goal::{Goal, Refusal};
use super::layout::{Cause, Layout, Outcome, Plan, PlanState, insert, subtract};
use super::step::{Action, Facts};
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeId;

// === impl Layout ===

impl Layout {
    /// The layout after `action`.
    pub fn after(&self, action: &Action, now: OffsetDateTime) -> Layout {
        let mut next = Layout { version: self.version + 1, ..self.clone() };
        match action {
            Action::Announce(nodes) => {
                for (node, shards) in nodes {
                    insert(&mut next.residue, node, shards);
                }
            }
            Action::AddOwners(nodes) => {
                for (node, shards) in nodes {
                    for shard in shards.iter() {
                        let owners = &mut next.owners[usize::from(shard.0)];
                        if !owners.contains(node) {
                            owners.push(node.clone());
                        }
                    }
                    insert(&mut next.arriving, node, shards);
                    subtract(&mut next.residue, node, shards);
                }
            }
            Action::GiveUp(nodes) => {
                for (node, shards) in nodes {
                    for shard in shards.iter() {
                        next.owners[usize::from(shard.0)].retain(|owner| owner != node);
                    }
                    subtract(&mut next.arriving, node, shards);
                    insert(&mut next.residue, node, shards);
                }
            }
            Action::Arrived(nodes) => {
                for (node, shards) in nodes {
                    subtract(&mut next.arriving, node, shards);
                }
            }
            Action::Drop(shards) => next.hand_over(shards, &self.target()),
            Action::Cleanup { node, shards } => subtract(&mut next.residue, node, shards),
            Action::RemoveNode(node) => {
                next.nodes.retain(|spec| spec.id != *node);
                next.residue.remove(node);
            }
            Action::Finish => next.finish(now),
            Action::Wait(_) => {}
        }
        next
    }

    fn hand_over(&mut self, shards: &ShardSet, target: &[Vec<NodeId>]) {
        for shard in shards.iter() {
            let position = usize::from(shard.0);
            let only: ShardSet = [shard].into_iter().collect();
            let before = std::mem::replace(&mut self.owners[position], target[position].clone());
            for owner in &before {
                subtract(&mut self.arriving, owner, &only);
                if !target[position].contains(owner) {
                    insert(&mut self.residue, owner, &only);
                }
            }
        }
    }

    fn finish(&mut self, now: OffsetDateTime) {
        let Some(plan) = self.plan.take() else { return };
        match plan.state {
            PlanState::Running | PlanState::Paused => {
                self.nodes = plan.goal.nodes.clone();
                self.replication_factor = plan.goal.replication_factor;
                self.placement = plan.goal.placement;
                self.remember(plan, Outcome::Finished, now);
            }
            PlanState::Canceling => {
                // Nodes that own something stay, whichever of the plans since then brought them.
                let before = plan.before.nodes.iter().filter(|node| self.knows(&node.id)).cloned();
                let brought = self.nodes.iter().filter(|node| {
                    plan.before.find(&node.id).is_none() && self.owners.iter().any(|owners| owners.contains(&node.id))
                });
                self.nodes = before.chain(brought.cloned()).collect();
                self.remember(plan, Outcome::Canceled, now);
            }
        }
    }

    fn knows(&self, node: &NodeId) -> bool {
        self.nodes.iter().any(|spec| spec.id == *node)
    }

    /// The layout on its way to `goal`. A node that is new may hold anything, so all of it counts as residue until it has
    /// been deleted.
    pub fn toward(
        &self,
        goal: Goal,
        cause: Cause,
        state: PlanState,
        facts: &Facts,
        now: OffsetDateTime,
    ) -> Result<Layout, Refusal> {
        if self.plan.as_ref().is_some_and(|plan| plan.state == PlanState::Canceling) {
            return Err(Refusal::Canceling);
        }
        let target = goal.assign(self.shards());
        let wanted = self.wanted();
        if wanted == goal && Moves::between(self, &target).is_empty() {
            return Err(Refusal::Nothing);
        }
        self.keeps_a_replica(&goal, facts)?;
        let mut next = Layout { version: self.version + 1, ..self.clone() };
        let before = match next.plan.take() {
            // What is given up half-way is no state to return to.
            Some(replaced) => {
                let before = replaced.before.clone();
                next.remember(replaced, Outcome::Replaced, now);
                before
            }
            None => wanted,
        };
        for spec in &goal.nodes {
            match next.nodes.iter_mut().find(|node| node.id == spec.id) {
                Some(node) => *node = spec.clone(),
                None => {
                    insert(&mut next.residue, &spec.id, &ShardSet::all(self.shards()));
                    next.nodes.push(spec.clone());
                }
            }
        }
        // Nothing moves where only the order of the owners changes.
        for (owners, target) in next.owners.iter_mut().zip(&target) {
            let same = owners.len() == target.len() && owners.iter().all(|owner| target.contains(owner));
            if same {
                owners.clone_from(target);
            }
        }
        let replicas = Moves::between(&next, &target).replicas();
        next.plan = Some(Plan { before, goal, state, cause, replicas, documents: 0, began_at: now });
        Ok(next)
    }

    /// Refuses a goal that waits for ever: shards that only nodes have that leave and are away.
    fn keeps_a_replica(&self, goal: &Goal, facts: &Facts) -> Result<(), Refusal> {
        let mut lost = 0;
        let mut nodes: BTreeSet<&NodeId> = BTreeSet::new();
        for shard in self.shard_ids() {
            let owners = self.owners_of(shard);
            let in_sync = |node: &&NodeId| {
                !facts.stale.get(*node).is_some_and(|stale| stale.contains(shard)) && !self.is_arriving(node, shard)
            };
            let remains = |node: &NodeId| facts.up.contains(node) || goal.find(node).is_some_and(|node| !node.drained);
            if !owners.iter().filter(in_sync).any(remains) && owners.iter().any(|node| goal.find(node).is_none()) {
                lost += 1;
                nodes.extend(owners.iter().filter(in_sync).filter(|node| goal.find(node).is_none()));
            }
        }
        if lost == 0 {
            return Ok(());
        }
        let nodes = nodes.into_iter().map(|node| format!("`{node}`")).collect::<Vec<_>>().join(" and ");
        Err(Refusal::LastReplica { shards: lost, nodes })
    }

    /// The layout with its plan in another state.
    pub fn in_state(&self, state: PlanState) -> Result<Layout, Refusal> {
        let mut next = Layout { version: self.version + 1, ..self.clone() };
        let plan = next.plan.as_mut().ok_or(Refusal::NoPlan)?;
        if plan.state == PlanState::Canceling {
            return Err(Refusal::Canceling);
        }
        plan.state = state;
        Ok(next)
    }

    /// The goal that the last finished plan left.
    pub fn undone(&self) -> Result<Goal, Refusal> {
        let undoable = |outcome| match outcome {
            Outcome::Finished | Outcome::Canceled => true,
            Outcome::Replaced => false,
        };
        let last = self.finished.iter().rev().find(|plan| undoable(plan.outcome));
        last.map(|plan| plan.before.clone()).ok_or(Refusal::NothingToUndo)
    }
}
