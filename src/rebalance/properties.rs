//! Any way from any layout to any goal, with nodes that go down, requests that last, and crashes in between.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use time::OffsetDateTime;

use super::layout::{ByNode, insert, subtract};
use super::step::next;
use super::*;
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::NodeId;
use crate::placement::version::Placement;

const SHARDS: u16 = 12;
const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// A cluster without documents: only who has them.
struct World {
    layout: Layout,
    /// Layouts that requests still see, the current one left out.
    older: Vec<Layout>,
    up: BTreeSet<NodeId>,
    /// Replicas with every write of their shard.
    complete: BTreeSet<(NodeId, ShardId)>,
    /// Replicas with some document of their shard.
    holds: BTreeSet<(NodeId, ShardId)>,
    /// Replicas that began to be copied.
    copied: usize,
    dice: Dice,
}

/// xorshift64*: the schedule must replay from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % sides.max(1)
    }
}

fn spec(number: usize, weight: u8, zone: u8) -> NodeSpec {
    NodeSpec {
        id: NodeId::new(&format!("n{number}")),
        url: format!("http://n{number}:7700"),
        zone: (zone > 0).then(|| format!("z{zone}")),
        weight: f64::from(weight),
        drained: false,
    }
}

fn plain(nodes: impl IntoIterator<Item = NodeSpec>, replication_factor: u8) -> Goal {
    Goal { nodes: nodes.into_iter().collect(), replication_factor, ..Goal::default() }
}

fn goals() -> impl Strategy<Value = Goal> {
    let node = (any::<bool>(), 1u8..4, 0u8..3);
    let placement = prop::sample::select(Placement::ALL);
    (prop::collection::vec(node, 6), 1u8..4, placement).prop_map(|(nodes, replication_factor, placement)| {
        let mut chosen: Vec<NodeSpec> = nodes
            .iter()
            .enumerate()
            .filter(|(_, (present, _, _))| *present)
            .map(|(number, (_, weight, zone))| spec(number, *weight, *zone))
            .collect();
        if chosen.is_empty() {
            chosen.push(spec(0, 1, 0));
        }
        Goal { nodes: chosen, replication_factor, placement }
    })
}

impl World {
    fn new(goal: &Goal, seed: u64) -> Self {
        let layout = Layout::first(goal.clone(), SHARDS);
        let replicas: BTreeSet<(NodeId, ShardId)> = layout
            .shard_ids()
            .flat_map(|shard| layout.owners_of(shard).iter().map(move |owner| (owner.clone(), shard)))
            .collect();
        Self {
            up: (0..6).map(|number| spec(number, 1, 0).id).collect(),
            layout,
            older: Vec::new(),
            complete: replicas.clone(),
            holds: replicas,
            copied: 0,
            dice: Dice(seed | 1),
        }
    }

    fn facts(&self) -> Facts {
        let mut stale = ByNode::new();
        for shard in self.layout.shard_ids() {
            for owner in self.layout.owners_of(shard) {
                if !self.complete.contains(&(owner.clone(), shard)) {
                    insert(&mut stale, owner, &[shard].into_iter().collect());
                }
            }
        }
        Facts { up: self.up.clone(), stale, quiet: self.older.is_empty(), concurrency: 5 }
    }

    fn take(&mut self, layout: Layout) {
        let before = std::mem::replace(&mut self.layout, layout);
        // Some requests are always on the way when something changes.
        self.older.push(before);
        self.check();
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::AddOwners(nodes) => {
                for (node, shards) in nodes {
                    for shard in shards.iter() {
                        self.copied += 1;
                        self.complete.remove(&(node.clone(), shard));
                    }
                }
            }
            Action::Cleanup { node, shards } => {
                // The deletion may break off half-way, and is done again.
                for shard in shards.iter() {
                    self.holds.remove(&(node.clone(), shard));
                    self.complete.remove(&(node.clone(), shard));
                    if self.dice.roll(40) == 0 {
                        return self.check();
                    }
                }
            }
            Action::RemoveNode(node) => {
                self.holds.retain(|(holder, _)| holder != node);
                self.complete.retain(|(holder, _)| holder != node);
            }
            Action::Announce(_)
            | Action::GiveUp(_)
            | Action::Arrived(_)
            | Action::Drop(_)
            | Action::Finish
            | Action::Wait(_) => {}
        }
        if !matches!(action, Action::Wait(_)) {
            let next = self.layout.after(action, NOW);
            self.take(next);
        }
    }

    /// One event of the world outside.
    fn event(&mut self) {
        match self.dice.roll(12) {
            0 => {
                if !self.older.is_empty() {
                    let position = self.dice.roll(self.older.len() as u64) as usize;
                    self.older.remove(position);
                }
            }
            1 => {
                let node = spec(self.dice.roll(6) as usize, 1, 0).id;
                // One node at a time, so that no shard loses its last replica.
                if !self.up.remove(&node) || self.up.len() < 5 {
                    self.up = (0..6).map(|number| spec(number, 1, 0).id).collect();
                }
            }
            2 => self.write(),
            3 => self.older.clear(),
            _ => self.copy(),
        }
    }

    /// A write to one shard: owners that are away miss it, where one that serves takes it.
    fn write(&mut self) {
        let shard = ShardId(self.dice.roll(u64::from(SHARDS)) as u16);
        let owners = self.layout.owners_of(shard).to_vec();
        let took = |node: &NodeId| self.up.contains(node);
        if !owners.iter().any(|node| took(node) && self.complete.contains(&(node.clone(), shard))) {
            return;
        }
        let (took, missed): (Vec<NodeId>, Vec<NodeId>) = owners.into_iter().partition(took);
        self.holds.extend(took.into_iter().map(|node| (node, shard)));
        for node in missed {
            self.complete.remove(&(node, shard));
        }
    }

    /// The resilver copies one replica that is stale.
    fn copy(&mut self) {
        let stale: Vec<(NodeId, ShardId)> = self
            .facts()
            .stale
            .into_iter()
            .flat_map(|(node, shards)| shards.iter().map(|shard| (node.clone(), shard)).collect::<Vec<_>>())
            .collect();
        if stale.is_empty() {
            return;
        }
        let (node, shard) = stale[self.dice.roll(stale.len() as u64) as usize].clone();
        let source = |owner: &&NodeId| self.up.contains(*owner) && self.complete.contains(&((*owner).clone(), shard));
        if self.up.contains(&node) && self.layout.owners_of(shard).iter().any(|owner| source(&owner)) {
            self.holds.insert((node.clone(), shard));
            self.check();
            // Copies take time; a replica is in sync only at their end.
            if self.dice.roll(2) == 0 {
                self.complete.insert((node, shard));
            }
        }
    }

    /// What must hold for every request, also for one that began on an older layout.
    fn check(&self) {
        for layout in self.older.iter().chain([&self.layout]) {
            let nodes: BTreeSet<&NodeId> = layout.owners.iter().flatten().collect();
            for node in nodes {
                let foreign = self
                    .holds
                    .iter()
                    .filter(|(holder, _)| holder == node)
                    .any(|(_, shard)| !layout.owners_of(*shard).contains(node));
                assert!(
                    !foreign || layout.residue.contains_key(node),
                    "{node} has documents of other shards, and version {} does not know it",
                    layout.version
                );
            }
        }
        for shard in self.layout.shard_ids() {
            let owners = self.layout.owners_of(shard);
            let left_over = owners.iter().find(|owner| self.layout.is_residue(owner, shard));
            assert_eq!(left_over, None, "{shard:?} is to be deleted where it is owned");
            let strange = owners.iter().find(|owner| self.layout.nodes.iter().all(|node| node.id != **owner));
            assert_eq!(strange, None, "{shard:?} is owned by a node that is no member");
            let kept = owners.iter().filter(|owner| self.complete.contains(&((*owner).clone(), shard))).count();
            assert!(kept > 0, "{shard:?} has no replica in sync");
            // An older request still finds every document where it looks: on owners that were in sync and are up.
            for layout in &self.older {
                for owner in layout.owners_of(shard).iter().filter(|owner| !layout.is_arriving(owner, shard)) {
                    assert!(
                        self.holds.contains(&(owner.clone(), shard)),
                        "{shard:?} was deleted on {owner} under version {}",
                        layout.version
                    );
                }
            }
        }
    }

    /// Runs until nothing is left to do; `crash` begins anew from what is durable.
    fn run(&mut self) {
        for _ in 0..20_000 {
            if self.dice.roll(50) == 0 {
                let durable = serde_json::to_string(&self.layout).unwrap();
                self.layout = serde_json::from_str(&durable).unwrap();
                self.older.clear();
            }
            if self.dice.roll(3) > 0 {
                self.event();
                continue;
            }
            let action = next(&self.layout, &self.facts());
            if action == Action::Wait(Vec::new()) && self.layout.plan.is_none() {
                return;
            }
            let before = self.least_in_sync();
            self.act(&action);
            if matches!(action, Action::Drop(_)) {
                let enough = |goal: &Goal| usize::from(goal.replication_factor).min(goal.nodes.len());
                let plan = self.layout.plan.as_ref().map_or(0, |plan| match plan.state {
                    PlanState::Running | PlanState::Paused => enough(&plan.goal),
                    PlanState::Canceling => 1,
                });
                assert!(self.least_in_sync() >= before.min(plan), "a drop took a replica that was needed");
            }
        }
        panic!("the plan does not end: {:?}", next(&self.layout, &self.facts()));
    }

    fn least_in_sync(&self) -> usize {
        let of = |shard: ShardId| {
            let owners = self.layout.owners_of(shard).iter();
            owners.filter(|owner| self.complete.contains(&((*owner).clone(), shard))).count()
        };
        self.layout.shard_ids().map(of).min().unwrap_or(0)
    }

    fn toward(&self, goal: Goal) -> Result<Layout, Refusal> {
        self.layout.toward(goal, Cause::Operator, PlanState::Running, &self.facts(), NOW)
    }
}

/// Replicas that the goal gives to nodes that do not have them.
fn minimum(layout: &Layout, goal: &Goal) -> usize {
    let target = goal.assign(SHARDS);
    let missing = |shard: ShardId| {
        let now = layout.owners_of(shard);
        target[usize::from(shard.0)].iter().filter(|owner| !now.contains(owner)).count()
    };
    layout.shard_ids().map(missing).sum()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128, failure_persistence: None, max_shrink_iters: 10, ..ProptestConfig::default()
    })]

    #[test]
    fn every_way_ends_at_the_goal_and_copies_only_what_moves(from in goals(), to in goals(), seed in any::<u64>()) {
        let mut world = World::new(&from, seed);
        let Ok(layout) = world.toward(to.clone()) else {
            prop_assert_eq!(&from, &to);
            return Ok(());
        };
        let least = minimum(&world.layout, &to);
        world.take(layout);
        world.run();
        prop_assert_eq!(&world.layout.owners, &to.assign(SHARDS));
        prop_assert_eq!(&world.layout.wanted(), &to);
        prop_assert!(world.layout.arriving.is_empty() && world.layout.residue.is_empty());
        prop_assert_eq!(world.copied, least);
        prop_assert_eq!(world.layout.finished.last().map(|plan| plan.replicas), Some(least));
    }

    #[test]
    fn an_undone_plan_leads_back(from in goals(), to in goals(), seed in any::<u64>()) {
        let mut world = World::new(&from, seed);
        let Ok(layout) = world.toward(to.clone()) else { return Ok(()) };
        world.take(layout);
        world.run();
        let back = world.layout.undone().unwrap();
        world.up = (0..6).map(|number| spec(number, 1, 0).id).collect();
        let layout = world.toward(back).unwrap();
        world.take(layout);
        world.run();
        prop_assert_eq!(&world.layout.owners, &from.assign(SHARDS));
        prop_assert_eq!(world.layout.wanted(), from);
    }

    #[test]
    fn a_plan_that_is_turned_again_and_again_ends_too(
        from in goals(),
        turns in proptest::collection::vec((goals(), 0usize..300, 0u8..4), 2..7),
        seed in any::<u64>(),
    ) {
        let mut world = World::new(&from, seed);
        for (goal, steps, way) in turns {
            let turned = match way {
                0 => world.layout.in_state(PlanState::Canceling),
                1 => world.layout.undone().and_then(|goal| world.toward(goal)),
                _ => world.toward(goal),
            };
            if let Ok(turned) = turned {
                world.take(turned);
            }
            for _ in 0..steps {
                world.event();
                let action = next(&world.layout, &world.facts());
                world.act(&action);
            }
        }
        world.run();
        prop_assert!(world.layout.is_at_rest(), "{:?} is left over", world.layout.residue);
    }

    #[test]
    fn a_plan_that_is_canceled_or_replaced_on_its_way_ends_too(
        from in goals(), to in goals(), third in goals(), when in 1usize..400, cancels in any::<bool>(), seed in any::<u64>(),
    ) {
        let mut world = World::new(&from, seed);
        let Ok(layout) = world.toward(to) else { return Ok(()) };
        world.take(layout);
        for _ in 0..when {
            world.event();
            let action = next(&world.layout, &world.facts());
            world.act(&action);
        }
        let turned = if cancels { world.layout.in_state(PlanState::Canceling) } else { world.toward(third.clone()) };
        let Ok(turned) = turned else { return Ok(()) };
        world.take(turned);
        world.run();
        prop_assert!(world.layout.arriving.is_empty() && world.layout.residue.is_empty());
        if !cancels {
            prop_assert_eq!(&world.layout.owners, &third.assign(SHARDS));
        }
        let members: BTreeSet<&NodeId> = world.layout.nodes.iter().map(|node| &node.id).collect();
        prop_assert!(world.layout.owners.iter().flatten().all(|owner| members.contains(owner)));
    }
}

#[test]
fn a_paused_plan_does_nothing() {
    let goal = |count: usize| plain((0..count).map(|n| spec(n, 1, 0)), 2);
    let mut world = World::new(&goal(3), 7);
    let layout = world.toward(goal(4)).unwrap();
    world.take(layout.in_state(PlanState::Paused).unwrap());
    world.older.clear();
    assert_eq!(next(&world.layout, &world.facts()), Action::Wait(vec![Waiting::Paused]));
    let running = world.layout.in_state(PlanState::Running).unwrap();
    world.take(running);
    assert_eq!(next(&world.layout, &world.facts()), Action::Wait(vec![Waiting::OlderRequests]));
    world.older.clear();
    let Action::AddOwners(added) = next(&world.layout, &world.facts()) else { panic!("a new node is announced whole") };
    assert_eq!(added.keys().collect::<Vec<_>>(), [&NodeId::new("n3")]);
    assert_eq!(added.values().map(ShardSet::len).sum::<usize>(), 5, "as many as there is room for");
}

#[test]
fn a_dead_node_with_the_last_replica_is_not_let_go() {
    let goal = |ids: &[usize]| plain(ids.iter().map(|n| spec(*n, 1, 0)), 1);
    let mut world = World::new(&goal(&[0, 1]), 7);
    world.up.remove(&NodeId::new("n1"));
    let Err(Refusal::LastReplica { shards, nodes }) = world.toward(goal(&[0])) else { panic!("it is let go") };
    assert_eq!((shards, nodes.as_str()), (world.layout.owned_by(&NodeId::new("n1")).len(), "`n1`"));
    world.up.insert(NodeId::new("n1"));
    assert!(world.toward(goal(&[0])).is_ok());
}

#[test]
fn a_shard_that_changes_its_owners_order_alone_does_not_move() {
    let goal = |weight: u8| plain([spec(0, 1, 0), spec(1, weight, 0)], 2);
    let world = World::new(&goal(1), 7);
    let layout = world.toward(goal(3)).unwrap();
    assert_ne!(layout.owners, world.layout.owners);
    assert_eq!(layout.owners, goal(3).assign(SHARDS));
    assert!(Moves::between(&layout, &layout.target()).is_empty());
    assert_eq!(next(&layout, &world.facts()), Action::Finish);
}

#[test]
fn sources_are_owners_that_have_the_shard() {
    let goal = |count: usize| plain((0..count).map(|n| spec(n, 1, 0)), 2);
    let world = World::new(&goal(3), 7);
    let layout = world.toward(goal(4)).unwrap();
    let moves = Moves::between(&layout, &layout.target());
    let sources: BTreeMap<(NodeId, NodeId), ShardSet> = moves.sources(&layout);
    assert_eq!(sources.values().map(ShardSet::len).sum::<usize>(), moves.replicas());
    for ((source, target), shards) in sources {
        assert_eq!(target, NodeId::new("n3"));
        assert!(shards.iter().all(|shard| layout.owners_of(shard).contains(&source)));
    }
    let mut left = moves.leave.clone();
    subtract(&mut left, &NodeId::new("n0"), &ShardSet::all(SHARDS));
    assert!(!left.contains_key(&NodeId::new("n0")));
}
