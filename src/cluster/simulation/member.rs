//! A node: a list of writes for each shard instead of documents.

use std::collections::{BTreeMap, VecDeque};

use super::moves::Cleaning;
use super::{SHARDS, report};
use crate::tasks::entry::{NodeReport, NodeTaskState};

/// One thing in a node's queue.
#[derive(Debug, Clone)]
pub enum Work {
    Write(u32),
    /// What is left over of some shards is deleted.
    CleanUp(Cleaning),
}

/// What is on the node's disk, and whether its process runs.
pub struct Member {
    pub runs: bool,
    /// Accepted and not carried out, in order.
    pub queue: VecDeque<Work>,
    /// Every write that it knows, by uid.
    pub tasks: BTreeMap<u32, NodeTaskState>,
    /// The writes of each shard, in the order in which they were carried out.
    pub content: Vec<Vec<u32>>,
}

// === impl Member ===

impl Default for Member {
    fn default() -> Self {
        let content = vec![Vec::new(); usize::from(SHARDS)];
        Self { runs: true, queue: VecDeque::new(), tasks: BTreeMap::new(), content }
    }
}

impl Member {
    pub fn accept(&mut self, uid: u32) {
        self.tasks.insert(uid, NodeTaskState::Enqueued);
        self.queue.push_back(Work::Write(uid));
    }

    pub fn has_queued(&self, uid: u32) -> bool {
        self.queue.iter().any(|work| matches!(work, Work::Write(queued) if *queued == uid))
    }

    pub fn reports(&self, uid: u32) -> Vec<NodeReport> {
        self.tasks.get(&uid).map(|state| report(uid, *state)).into_iter().collect()
    }
}
