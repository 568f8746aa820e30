//! The resilver: a stale replica is written over bit by bit, and cuts over while no write is under way.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::INDEX;
use super::followers::Barrier;
use super::reads::Read;
use super::world::World;
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeIx, NodeState, StaleSets};
use crate::replicas::resilver::sources::sources;
use crate::tasks::stale::unfit_source;

/// Who waits for reads of other gateways before a copy. Where it is another copy meanwhile it waits anew.
pub struct AboutToCopy {
    target: NodeIx,
    shards: ShardSet,
    layout: u64,
    barrier: Barrier,
}

/// A copy under way.
pub struct Copying {
    target: NodeIx,
    sources: BTreeMap<NodeIx, ShardSet>,
    shards: ShardSet,
    /// The layout by which it goes.
    pub layout: u64,
    /// What the target had missed when it began.
    misses: u64,
}

// === impl World ===

impl World {
    fn serves(&self, node: NodeIx) -> bool {
        self.topology.node(node).state == NodeState::Up && self.runs(&self.topology.node(node).id)
    }

    fn misses_of(&self, node: NodeIx) -> u64 {
        self.misses.get(&self.topology.node(node).id).copied().unwrap_or_default()
    }

    pub fn begin_copy(&mut self) {
        let stale = self.stale_nodes();
        let Some(target) = self.any(&stale) else { return };
        if !self.serves(target) || self.copies.iter().any(|copy| copy.target == target) {
            return;
        }
        let topology = self.topology.clone();
        let missed = topology.stale_of(target, INDEX).cloned().unwrap_or_default();
        let mut owned = missed.clone();
        owned.intersect_with(topology.shards_of(target));
        let mut lost = missed;
        lost.subtract(&owned);
        self.clear(target, &lost);
        let (mut from, mut shards) = (BTreeMap::new(), ShardSet::new());
        for (source, found) in sources(&topology, target, INDEX, &owned) {
            match source {
                Some(source) => {
                    shards.union_with(&found);
                    from.insert(source, found);
                }
                None => self.wrong = Some(format!("no replica of {found:?} is in sync to be copied from")),
            }
        }
        // Reads of before may be on their way to the target.
        let own = |read: &&Read| read.by.is_none();
        let is_read = self.reads.iter().filter(own).any(|read| read.topology.answers_for(target, INDEX, &shards));
        if shards.is_empty() || is_read || !self.is_quiet_for(target, &shards, topology.layout) {
            return;
        }
        let (id, layout, misses) = (self.id(target), topology.layout, self.misses_of(target));
        self.tell(format!("a copy to {id} begins: {:?}", shards.iter().collect::<Vec<_>>()));
        // Nobody must see what is half done.
        for shard in shards.iter() {
            self.member(&id).content[usize::from(shard.0)].clear();
        }
        self.copies.push(Copying { target, sources: from, shards, layout, misses });
    }

    fn is_quiet_for(&mut self, target: NodeIx, shards: &ShardSet, layout: u64) -> bool {
        let is_same = |about: &AboutToCopy| (about.target, about.layout) == (target, layout) && about.shards == *shards;
        let about = self.about_to_copy.take().filter(is_same);
        let mut about = about.unwrap_or_else(|| {
            let barrier = Barrier::quiet();
            AboutToCopy { target, shards: shards.clone(), layout, barrier }
        });
        let is_over = self.is_over(&mut about.barrier);
        if !is_over {
            self.about_to_copy = Some(about);
        }
        is_over
    }

    pub fn cut_over(&mut self) {
        if self.copies.is_empty() {
            return;
        }
        let at = self.roll(self.copies.len());
        let copy = self.copies.remove(at);
        if !self.is_as_it_was(&copy) {
            return;
        }
        self.finish_writes();
        if !self.is_as_it_was(&copy) {
            return;
        }
        for node in copy.sources.keys().chain([&copy.target]) {
            let id = self.id(*node);
            self.work_off(&id);
        }
        self.poll_all();
        if !self.all_that_is_over_is_shown() {
            return;
        }
        let followed = self.followed();
        let unfit = copy.sources.iter().any(|(source, shards)| {
            followed.iter().any(|uid| unfit_source(&self.rows[uid], &self.topology.node(*source).id, shards))
        });
        if unfit || !self.is_as_it_was(&copy) || self.misses_of(copy.target) != copy.misses {
            return;
        }
        let target = self.id(copy.target);
        for (source, shards) in &copy.sources {
            let source = self.id(*source);
            for shard in shards.iter().map(|shard| usize::from(shard.0)) {
                let content = self.members[&source].content[shard].clone();
                self.member(&target).content[shard] = content;
            }
            self.tell(format!("{target} is resilvered from {source}: {:?}", shards.iter().collect::<Vec<_>>()));
        }
        self.clear(copy.target, &copy.shards);
    }

    /// Whoever asks how tasks stand gets an answer of one that is over when it is shown as that. False where that takes longer than
    /// writes may be held back.
    fn all_that_is_over_is_shown(&mut self) -> bool {
        for _ in 0..20 {
            self.end_tasks();
            if self.ending.is_empty() {
                return true;
            }
            self.pass_time();
            self.follow();
        }
        false
    }

    fn is_as_it_was(&self, copy: &Copying) -> bool {
        let owns = |node: NodeIx, shards: &ShardSet| shards.is_subset(self.topology.shards_of(node));
        let fit = |(source, shards): (&NodeIx, &ShardSet)| {
            let stale = shards.iter().any(|shard| self.topology.is_stale(*source, INDEX, shard));
            self.serves(*source) && !stale && owns(*source, shards)
        };
        self.serves(copy.target) && owns(copy.target, &copy.shards) && copy.sources.iter().all(fit)
    }

    fn clear(&mut self, target: NodeIx, shards: &ShardSet) {
        self.publish(|topology| {
            let mut sets = StaleSets::clone(&topology.stale);
            if let Some(set) = sets.get_mut(&(target, INDEX.to_owned())) {
                set.subtract(shards);
            }
            sets.retain(|_, set| !set.is_empty());
            topology.stale = Arc::new(sets);
        });
    }
}
