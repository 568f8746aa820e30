//! Moves of shards: the operator's wishes, and the steps that follow from them.

use std::sync::Arc;

use time::OffsetDateTime;

use super::INDEX;
use super::followers::Barrier;
use super::member::Work;
use super::world::{Turn, World, spec};
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeId, NodeState, StaleSets};
use crate::placement::version::Placement;
use crate::rebalance::layout::{ByNode, insert};
use crate::rebalance::step::next;
use crate::rebalance::{Action, Cause, Change, Facts, Goal, Layout, NodePatch, PlanState};

/// The most nodes that there ever are.
const NODES: usize = 7;
const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// A deletion of what is left over, under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleaning {
    node: NodeId,
    shards: ShardSet,
    /// Tells it from one that a crash has left in a node's queue.
    layout: u64,
}

// === impl World ===

impl World {
    fn facts(&self) -> Facts {
        let up = self.topology.members().filter(|ix| self.topology.node(*ix).state == NodeState::Up);
        let mut stale = ByNode::new();
        for ((node, _), shards) in self.topology.stale.iter() {
            insert(&mut stale, &self.topology.node(*node).id, shards);
        }
        let version = self.layout.version;
        let quiet = self.reads.iter().filter(|read| read.by.is_none()).all(|read| read.topology.layout == version)
            && matches!(self.quiet_elsewhere, Some((quiet, None)) if quiet == version)
            && self.copies.iter().all(|copy| copy.layout == version);
        Facts { up: up.map(|ix| self.topology.node(ix).id.clone()).collect(), stale, quiet, concurrency: 3 }
    }

    /// Nodes come and go, weights and the replication factor change.
    pub fn wish(&mut self) {
        let Some(goal) = self.wanted_next() else { return };
        let facts = self.facts();
        if let Ok(next) = self.layout.toward(goal, Cause::Operator, PlanState::Running, &facts, NOW) {
            for node in &next.nodes {
                self.members.entry(node.id.clone()).or_default();
            }
            self.tell(format!("a move begins: {:?}", next.wanted()));
            self.commit(next);
        }
    }

    fn wanted_next(&mut self) -> Option<Goal> {
        let wanted = self.layout.wanted();
        let known: Vec<NodeId> = wanted.nodes.iter().map(|node| node.id.clone()).collect();
        let strangers: Vec<usize> = (0..NODES).filter(|position| !known.contains(&spec(*position).id)).collect();
        let node = self.any(&known)?;
        let patch = |drained, weight| NodePatch { drained, weight, ..NodePatch::default() };
        let change = match self.roll(9) {
            0 | 1 => Change::Add(spec(self.any(&strangers)?)),
            2 => Change::Remove(node),
            3 => Change::Drain(node),
            4 => Change::Set(node, patch(Some(false), None)),
            5 => Change::Set(node, patch(None, Some([0.5, 1.0, 3.0][self.roll(3)]))),
            6 => Change::ReplicationFactor(1 + self.roll(3) as u8),
            7 => Change::Placement(Placement::ALL[self.roll(Placement::ALL.len())]),
            _ => return self.layout.undone().ok(),
        };
        wanted.with(change).ok()
    }

    /// Pauses, resumes or cancels.
    pub fn steer(&mut self) {
        let state = [PlanState::Paused, PlanState::Running, PlanState::Running, PlanState::Canceling][self.roll(4)];
        if let Ok(next) = self.layout.in_state(state) {
            self.tell(format!("the move is {state:?}"));
            self.commit(next);
        }
    }

    pub fn resume(&mut self) {
        if self.layout.plan.as_ref().is_some_and(|plan| plan.state == PlanState::Paused)
            && let Ok(next) = self.layout.in_state(PlanState::Running)
        {
            self.commit(next);
        }
    }

    fn commit(&mut self, next: Layout) {
        self.layout = next.clone();
        self.publish(|topology| next.install(topology));
    }

    /// Waits until no request of a follower goes by an older layout.
    fn wait_elsewhere(&mut self) {
        let version = self.layout.version;
        let waiting = self.quiet_elsewhere.take().filter(|(of, _)| *of == version);
        let (_, barrier) = waiting.unwrap_or_else(|| (version, Some(Barrier::quiet())));
        let barrier = barrier.and_then(|mut barrier| (!self.is_over(&mut barrier)).then_some(barrier));
        self.quiet_elsewhere = Some((version, barrier));
    }

    /// The next step of a move.
    pub fn turn(&mut self) {
        if let Some(cleaning) = &self.cleaning {
            // Whoever waits for a node that is away gives up, and tries again later.
            if !self.runs(&cleaning.node) {
                self.cleaning = None;
            }
            return;
        }
        if self.layout.is_at_rest() {
            return;
        }
        self.wait_elsewhere();
        let action = next(&self.layout, &self.facts());
        let after = self.layout.after(&action, NOW);
        match action {
            Action::Wait(_) => {}
            Action::Cleanup { node, shards } => {
                self.lanes.entry(node.clone()).or_default().push_back(Turn::CleanUp);
                self.cleaning = Some(Cleaning { node, shards, layout: self.layout.version });
            }
            Action::AddOwners(nodes) => {
                self.tell(format!("new owners: {nodes:?}"));
                self.layout = after.clone();
                self.publish(|topology| {
                    after.install(topology);
                    let mut stale = StaleSets::clone(&topology.stale);
                    for (node, shards) in &nodes {
                        let Some(ix) = topology.find(node.as_str()) else { continue };
                        stale.entry((ix, INDEX.to_owned())).or_default().union_with(shards);
                    }
                    topology.stale = Arc::new(stale);
                });
            }
            Action::Drop(_) | Action::GiveUp(_) => {
                self.tell(format!("{action:?}"));
                self.layout = after.clone();
                self.publish(|topology| {
                    after.install(topology);
                    let mut stale = StaleSets::clone(&topology.stale);
                    for ((node, _), shards) in &mut stale {
                        shards.intersect_with(topology.shards_of(*node));
                    }
                    stale.retain(|_, shards| !shards.is_empty());
                    topology.stale = Arc::new(stale);
                });
            }
            Action::Announce(_) | Action::Arrived(_) | Action::RemoveNode(_) | Action::Finish => {
                self.tell(format!("{action:?}"));
                self.commit(after);
            }
        }
    }

    /// The turn of a deletion has come in its node's lane.
    pub fn send_cleanup(&mut self, node: &NodeId) {
        let Some(cleaning) = self.cleaning.clone().filter(|cleaning| cleaning.node == *node) else { return };
        if self.runs(node) && self.roll(8) > 0 {
            self.member(node).queue.push_back(Work::CleanUp(cleaning));
        } else {
            self.cleaning = None;
        }
    }

    /// A node deletes what is left over, or fails to.
    pub fn clean_up(&mut self, node: &NodeId, done: &Cleaning, fails: bool) {
        let is_awaited = self.cleaning.as_ref() == Some(done);
        if is_awaited {
            self.cleaning = None;
        }
        if fails {
            return;
        }
        self.tell(format!("{node} deletes what is left of {:?}", done.shards.iter().collect::<Vec<_>>()));
        for shard in done.shards.iter() {
            self.member(node).content[usize::from(shard.0)].clear();
        }
        if is_awaited {
            let action = Action::Cleanup { node: node.clone(), shards: done.shards.clone() };
            let after = self.layout.after(&action, NOW);
            self.commit(after);
        }
    }
}
