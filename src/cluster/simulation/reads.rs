//! Reads: planned on one topology, answered node by node while everything else goes on.

use std::collections::BTreeMap;

use std::time::Duration;

use super::world::World;
use super::{INDEX, SHARDS};
use crate::meili::task::TaskStatus;
use crate::peers::view::ViewNumber;
use crate::placement::cover::{Besides, CoverPart, cover};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::{NodeIx, Topology};

/// A read under way.
pub struct Read {
    /// As it was when the read was planned.
    pub topology: Topology,
    /// The follower whose read it is, and its view.
    pub by: Option<(usize, ViewNumber)>,
    pub began: Duration,
    /// Something is wrong with its answer. That is of no concern where the answer does not count.
    wrong: Option<String>,
    seed: u64,
    /// What nodes are still to answer.
    open: Vec<CoverPart>,
    failed: Vec<NodeIx>,
    /// The writes that were done when it began.
    wanted: BTreeMap<ShardId, Vec<u32>>,
}

// === impl World ===

impl World {
    pub fn begin_read(&mut self) {
        if self.reads.len() >= 3 {
            return;
        }
        let Some((topology, by)) = self.reader() else { return };
        let (seed, began) = (self.roll(1 << 20) as u64, self.leads.now);
        let mut wanted: BTreeMap<ShardId, Vec<u32>> = BTreeMap::new();
        for row in self.rows.values().filter(|row| row.acknowledged && row.status == TaskStatus::Succeeded) {
            for shard in (0..SHARDS).map(ShardId).filter(|shard| super::touches(row, *shard)) {
                wanted.entry(shard).or_default().push(row.uid);
            }
        }
        let open = cover(&topology, INDEX, &ShardSet::all(SHARDS), &[], seed).parts;
        self.reads.push(Read { topology, by, began, wrong: None, seed, open, failed: Vec::new(), wanted });
    }

    /// A node answers, or another is asked in its place.
    pub fn answer_read(&mut self) {
        if self.reads.is_empty() {
            return;
        }
        let at = self.roll(self.reads.len());
        let mut read = self.reads.swap_remove(at);
        let Some(part) = read.open.pop() else { return self.end_read(read) };
        let node = read.topology.node(part.node).id.clone();
        if !self.runs(&node) || self.roll(12) == 0 {
            read.failed.push(part.node);
            // Shards that nobody can answer for are named as missing.
            read.open.extend(cover(&read.topology, INDEX, &part.shards, &read.failed, read.seed).parts);
        } else if let Err(reason) = read.check(&part, &self.members[&node].content) {
            let reason = format!("a read planned at epoch {} asks {node}: {reason}", read.topology.epoch);
            read.wrong.get_or_insert(reason);
        }
        if read.by.is_none() && read.wrong.is_some() {
            self.wrong = read.wrong.take();
        }
        self.reads.push(read);
    }

    /// All of the answer is there.
    fn end_read(&mut self, read: Read) {
        let Some(by) = read.by else { return self.tell("a read ends".to_owned()) };
        if self.followers[by.0].frozen {
            self.reads.push(read);
        } else if self.counts(by, read.began) {
            self.wrong = read.wrong.map(|reason| format!("by view {} of follower {}: {reason}", by.1, by.0));
            self.tell("a read of a follower ends".to_owned());
        } else {
            self.tell("a read is planned again".to_owned());
        }
    }
}

// === impl Read ===

impl Read {
    /// A node shows what it was asked for: all that was done before, and nothing that is another's to show.
    fn check(&self, part: &CoverPart, content: &[Vec<u32>]) -> Result<(), String> {
        for shard in (0..SHARDS).map(ShardId) {
            let held = &content[usize::from(shard.0)];
            if !part.shards.contains(shard) {
                let left_out = match &part.besides {
                    Besides::Nothing => false,
                    Besides::Shards(others) => others.contains(shard),
                    Besides::Unknown => true,
                };
                if !left_out && !held.is_empty() {
                    return Err(format!("it may be asked without naming shards and shows {shard:?} as well"));
                }
                continue;
            }
            let wanted = self.wanted.get(&shard).map_or(&[][..], Vec::as_slice);
            if let Some(missing) = wanted.iter().find(|uid| !held.contains(uid)) {
                return Err(format!("write {missing} is missing in {shard:?}: {held:?}"));
            }
        }
        Ok(())
    }
}
