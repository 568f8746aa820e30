//! Nodes, which know no epochs: a key is looked at when a request's head is there, and its body is taken whenever that comes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Letter, Mail, Who, World};

/// Documents, each of which is written again and again.
pub const DOCUMENTS: usize = 3;

/// A key of an epoch's leader; one that is made anew is another one.
pub type Key = (i64, u64);

/// By which write each document was written last.
pub type Held = [u64; DOCUMENTS];

/// The document of a write.
pub fn document(write: u64) -> usize {
    write as usize % DOCUMENTS
}

#[derive(Default, Clone)]
pub struct Node {
    keys: BTreeSet<Key>,
    /// By their uids.
    pub tasks: Vec<Task>,
    pub holds: Held,
    /// What it let in before it was closed ended after that, and the document was not written since.
    pub undone: [bool; DOCUMENTS],
}

/// What it has carried out.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    pub epoch: i64,
    pub what: What,
}

#[derive(Debug, Clone, Copy)]
pub enum What {
    Write(u64),
    /// All documents.
    Copy(Held),
}

/// What a leader asks of a node.
#[derive(Debug, Clone, Copy)]
pub enum Ask {
    /// This key is let in from now on, and no older one.
    Close(Key),
    /// The tasks from this one on.
    Look(u32),
    Put(Key, What),
}

/// What a node answers.
#[derive(Debug, Clone)]
pub enum Told {
    Newest(Option<u32>),
    /// With their uids; and what the node holds.
    Tasks(Vec<(u32, Task)>, Held),
    Taken,
    Refused,
}

// === impl Node ===

impl Node {
    pub fn close(&mut self, key: Key) -> Option<u32> {
        // Who is late itself deletes no key that was not there when it looked.
        self.keys.retain(|held| held.0 > key.0);
        self.keys.insert(key);
        self.newest()
    }

    fn newest(&self) -> Option<u32> {
        u32::try_from(self.tasks.len()).ok()?.checked_sub(1)
    }

    pub fn look(&self, next: u32) -> Told {
        let numbered = (0u32..).zip(self.tasks.iter().copied());
        Told::Tasks(numbered.filter(|(uid, _)| *uid >= next).collect(), self.holds)
    }

    /// A head has come.
    pub fn lets_in(&self, key: Key) -> bool {
        self.keys.contains(&key)
    }

    /// A body has ended, whose head was let in by a key that was there, or was not.
    pub fn take(&mut self, task: Task, by_key: bool) {
        let is_late = by_key && self.keys.iter().any(|key| key.0 > task.epoch);
        self.tasks.push(task);
        match task.what {
            What::Write(write) => {
                let document = document(write);
                (self.holds[document], self.undone[document]) = (write, is_late);
            }
            What::Copy(held) => (self.holds, self.undone) = (held, [is_late; DOCUMENTS]),
        }
    }

    /// What of `wanted` is not there, although nothing came late to it.
    pub fn lacks(&self, wanted: &Held) -> Option<u64> {
        let lacking = |document: &usize| self.holds[*document] < wanted[*document] && !self.undone[*document];
        (0..DOCUMENTS).find(lacking).map(|document| wanted[document])
    }
}

impl World {
    /// The head of a request has come to a node.
    pub(super) fn asks_node(&mut self, from: Who, number: u64, node: usize, ask: Ask) {
        let is_cut = self.find(&from).is_some_and(|at| self.cut_nodes.contains(&(at, node)));
        if is_cut || self.given_up.contains(&number) {
            return;
        }
        let told = match ask {
            Ask::Close(key) => Told::Newest(self.nodes[node].close(key)),
            Ask::Look(next) => self.nodes[node].look(next),
            Ask::Put(key, what) if self.nodes[node].lets_in(key) => {
                let (task, by_key) = (Task { epoch: key.0, what }, self.nodes[node].keys.contains(&key));
                // Of some the network keeps the end.
                let pause = if self.roll(10) == 0 { self.roll(30_000) } else { self.roll(25) };
                let mail = Mail::Body { from: from.clone(), number, node, task, by_key };
                return self.letters.push(Letter {
                    at: self.now + Duration::from_millis(pause as u64),
                    to: from,
                    mail,
                });
            }
            Ask::Put(..) => {
                self.count("refused by a node");
                Told::Refused
            }
        };
        self.post(from, Mail::Told { number, told });
    }

    /// A body has ended of which a node let the head in.
    pub(super) fn ends_body(&mut self, from: Who, number: u64, node: usize, (task, by_key): (Task, bool)) {
        if self.given_up.contains(&number) {
            return;
        }
        self.nodes[node].take(task, by_key);
        if self.nodes[node].undone.contains(&true) {
            self.count("came late");
        }
        self.post(from, Mail::Told { number, told: Told::Taken });
    }
}
