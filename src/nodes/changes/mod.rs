//! What was sent to nodes that may change what an index answers, and is not known to be carried out yet.
//!
//! Every request to a node passes the one client, so this sees all changes: those of clients, words, copies, deletions of what is
//! left over, settings that are repaired or taken back. An answer may be kept if it was read while the index was *quiet*: no
//! change under way to any node that serves, none in such a node's queue. It may be shown as long as the index's number is what
//! it was when the read began, for every change raises the number before it is sent.
//!
//! Example: a search reads node 1 while index `a` is quiet with number 7. A document is written: number 8, and not quiet until
//! nodes 1 and 2 have ended their tasks. The search's answer is never shown again, and what is read meanwhile is not kept.
//!
//! Each node has such a number for each index, too: what node 3 has replied is still its reply then.
//!
//! | module | what lives there |
//! |---|---|
//! | [`concerned`] | which indexes a request to a node may change |
//! | [`look`] | asks nodes whether their queues are empty, where nobody else does |
//! | `queue` | what is known of an index's changes on one node |

pub mod concerned;
pub mod look;
mod queue;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::concerned::Concerned;
pub(super) use self::queue::Fate;
use self::queue::Queue;
use crate::placement::topology::NodeId;

/// All changes of all indexes.
#[derive(Default)]
pub struct Changes {
    state: Mutex<State>,
    everything: Arc<Era>,
}

#[derive(Default)]
struct State {
    indexes: HashMap<String, Changed>,
    /// The indexes that a node's task changes, while it is not known to have ended.
    tasks: HashMap<(NodeId, u32), Vec<String>>,
    /// Changes of what holds for all indexes that are under way.
    of_everything: usize,
}

/// What is known of the changes of one index.
#[derive(Default)]
struct Changed {
    era: Arc<Era>,
    /// When the last change began, if the gateway saw one.
    last: Option<Instant>,
    looks: Arc<Looks>,
    queues: HashMap<NodeId, Queue>,
}

/// The time between two changes: of an index, of an index on one node, or of everything.
#[derive(Debug, Default)]
struct Era(AtomicU64);

/// Who looks whether an index is quiet.
#[derive(Default)]
struct Looks {
    /// Somebody does.
    looking: AtomicBool,
    /// Somebody has wanted to know since the last look.
    wanted: AtomicBool,
}

/// The eras of some indexes at one moment.
#[derive(Clone)]
pub struct Moment(Arc<[(Arc<Era>, u64)]>);

/// A change on its way to a node. Dropped without an answer, it may or may not have got there.
pub(super) struct Change<'a> {
    changes: &'a Changes,
    node: NodeId,
    concerned: Concerned,
}

// === impl Changes ===

impl Changes {
    /// A request is about to be sent. `None` for one that changes nothing.
    pub(super) fn begin(
        &self,
        node: &NodeId,
        method: &http::Method,
        path: &str,
        body: Option<&[u8]>,
    ) -> Option<Change<'_>> {
        let concerned = Concerned::by(method, path, body);
        // Most requests are reads, and take no lock.
        if concerned == Concerned::Nothing {
            return None;
        }
        let mut state = self.state.lock();
        match &concerned {
            Concerned::Nothing => {}
            Concerned::Everything => {
                state.of_everything += 1;
                self.everything.ends();
            }
            Concerned::Indexes(indexes) => {
                for index in indexes {
                    let changed = state.of(index);
                    changed.last = Some(Instant::now());
                    changed.era.ends();
                    let queue = changed.queues.entry(node.clone()).or_default();
                    queue.under_way += 1;
                    queue.era.ends();
                }
            }
        }
        drop(state);
        Some(Change { changes: self, node: node.clone(), concerned })
    }

    /// A node's task has ended, or is not known there.
    pub(super) fn ended(&self, node: &NodeId, task: u32) {
        let mut state = self.state.lock();
        for index in state.tasks.remove(&(node.clone(), task)).unwrap_or_default() {
            if let Some(queue) = state.of(&index).queues.get_mut(node) {
                queue.tasks.remove(&task);
            }
        }
    }

    /// What the gateway goes by when it plans requests to `index` is another.
    pub fn replanned(&self, index: &str) {
        if let Some(changed) = self.state.lock().indexes.get(index) {
            changed.era.ends();
        }
    }

    /// For tests: what experimental features do.
    #[cfg(test)]
    pub fn everything_changes(&self) {
        self.everything.ends();
    }

    /// The eras of `indexes` now, if they are quiet on `nodes`, which are those that answer. To be asked before anything is read
    /// that an answer depends on. The error is an index that is not quiet.
    pub fn moment<'i>(&self, indexes: &'i [String], nodes: &[&NodeId]) -> Result<Moment, &'i str> {
        let mut state = self.state.lock();
        if state.of_everything > 0 {
            return Err(indexes.first().map_or("", String::as_str));
        }
        let mut eras = vec![self.everything.now()];
        for index in indexes {
            let changed = state.of(index);
            let is_quiet = |node: &&NodeId| changed.queues.get(*node).is_some_and(Queue::is_quiet);
            if !nodes.iter().all(is_quiet) {
                return Err(index);
            }
            eras.push(changed.era.now());
        }
        Ok(Moment(eras.into()))
    }

    /// The eras of `indexes` on `node` now, if nothing of them is left to do there. `None` also where none of them has changed for
    /// `recently`.
    pub fn moment_on(&self, node: &NodeId, indexes: &[&str], recently: Duration) -> Option<Moment> {
        let mut state = self.state.lock();
        if state.of_everything > 0 {
            return None;
        }
        let mut eras = vec![self.everything.now()];
        let mut is_recent = false;
        for index in indexes {
            let changed = state.of(index);
            is_recent |= changed.last.is_some_and(|last| last.elapsed() < recently);
            eras.push(changed.queues.get(node).filter(|queue| queue.is_quiet())?.era.now());
        }
        is_recent.then(|| Moment(eras.into()))
    }

    fn conclude(&self, node: &NodeId, concerned: &Concerned, fate: Fate) {
        let mut state = self.state.lock();
        match concerned {
            Concerned::Nothing => {}
            Concerned::Everything => {
                state.of_everything -= 1;
                self.everything.ends();
            }
            Concerned::Indexes(indexes) => {
                if let Fate::Queued(task) = fate {
                    state.tasks.insert((node.clone(), task), indexes.clone());
                }
                for index in indexes {
                    let queue = state.of(index).queues.entry(node.clone()).or_default();
                    queue.conclude(fate);
                    let forgotten = queue.forget_many();
                    state.forget(index, node, forgotten);
                }
            }
        }
    }
}

// === impl State ===

impl State {
    fn of(&mut self, index: &str) -> &mut Changed {
        if !self.indexes.contains_key(index) {
            self.indexes.insert(index.to_owned(), Changed::default());
        }
        self.indexes.get_mut(index).expect("it was put there if it was not")
    }

    /// The queue of `index` on `node` does not wait for these tasks any more. A swap's is that of another index, too.
    fn forget(&mut self, index: &str, node: &NodeId, tasks: BTreeSet<u32>) {
        for task in tasks {
            let key = (node.clone(), task);
            if let Some(indexes) = self.tasks.get_mut(&key) {
                indexes.retain(|other| other != index);
                if indexes.is_empty() {
                    self.tasks.remove(&key);
                }
            }
        }
    }
}

// === impl Era ===

impl Era {
    fn ends(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn now(self: &Arc<Self>) -> (Arc<Self>, u64) {
        (Arc::clone(self), self.0.load(Ordering::SeqCst))
    }
}

// === impl Moment ===

impl Moment {
    /// True while none of the indexes has changed since, or is about to.
    pub fn holds(&self) -> bool {
        self.0.iter().all(|(era, number)| era.0.load(Ordering::SeqCst) == *number)
    }
}

// === impl Change ===

impl Change<'_> {
    /// The node has answered, or cannot.
    pub(super) fn is(mut self, fate: Fate) {
        let concerned = std::mem::replace(&mut self.concerned, Concerned::Nothing);
        self.changes.conclude(&self.node, &concerned, fate);
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.changes.conclude(&self.node, &self.concerned, Fate::Unknown);
    }
}

#[cfg(test)]
mod tests;
