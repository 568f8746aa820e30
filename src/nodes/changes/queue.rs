//! What is known of an index's changes on one node.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Era;

/// What is known of a change that is not under way any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nodes) enum Fate {
    /// The node has not done it, and will not.
    Refused,
    /// The node does it as this task.
    Queued(u32),
    Unknown,
}

/// More tasks are not remembered one by one: nobody may ever ask what became of those that bring words or copies.
pub(super) const MOST_TASKS: usize = 100;

/// An index's changes on one node.
#[derive(Debug)]
pub(super) struct Queue {
    /// Ends with every change that is sent to the node.
    pub era: Arc<Era>,
    /// Sent, and not answered.
    pub under_way: usize,
    /// The node's tasks that are not known to have ended.
    pub tasks: BTreeSet<u32>,
    /// Grows with every change of which it is not known what became of it. There may be one from before the gateway's start.
    doubts: u64,
    /// How many of these are over, because the node had nothing to do afterwards.
    drained: u64,
}

/// What a look at the node's queue may answer for: what came before it.
#[derive(Debug, Clone)]
pub(super) struct Before {
    tasks: BTreeSet<u32>,
    doubts: u64,
}

// === impl Queue ===

impl Default for Queue {
    fn default() -> Self {
        Self { era: Arc::default(), under_way: 0, tasks: BTreeSet::new(), doubts: 1, drained: 0 }
    }
}

impl Queue {
    /// True if the node has, as far as anybody knows here, nothing of the index left to do.
    pub fn is_quiet(&self) -> bool {
        self.under_way == 0 && self.tasks.is_empty() && self.doubts == self.drained
    }

    /// A request that was under way is answered, or nobody will hear of it any more.
    pub fn conclude(&mut self, fate: Fate) {
        self.under_way = self.under_way.saturating_sub(1);
        match fate {
            Fate::Refused => {}
            Fate::Queued(task) => {
                self.tasks.insert(task);
            }
            Fate::Unknown => self.doubts += 1,
        }
    }

    /// Gives up single tasks where there are many, for one doubt, which a look at the node ends. Returns them.
    pub fn forget_many(&mut self) -> BTreeSet<u32> {
        if self.tasks.len() <= MOST_TASKS {
            return BTreeSet::new();
        }
        self.doubts += 1;
        std::mem::take(&mut self.tasks)
    }

    /// What is open now, to be told apart from what comes while the node is looked at.
    pub fn before(&self) -> Before {
        Before { tasks: self.tasks.clone(), doubts: self.doubts }
    }

    /// The node had nothing to do for the index, seen after `before`. Returns the tasks that have ended by that.
    pub fn saw_idle(&mut self, before: Before) -> BTreeSet<u32> {
        self.drained = self.drained.max(before.doubts);
        self.tasks.retain(|task| !before.tasks.contains(task));
        before.tasks
    }
}
