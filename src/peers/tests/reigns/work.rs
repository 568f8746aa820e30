//! What a leader does at nodes: it closes them to others, looks at what came late, gives them writes and makes them equal. By the real rules of
//! barriers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::database::Change;
use super::nodes::{Ask, DOCUMENTS, Held, Key, Task, Told, What, document};
use crate::nodes::fence::{Looked, Pass, Post};
use crate::peers::book::Hearing;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a node is waited for.
const LIMIT: Duration = Duration::from_secs(2);
/// How long those that do not answer are waited for, before it is decided without them what was written.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Work {
    epoch: i64,
    began: Duration,
    stations: Vec<Station>,
    /// Nodes that no read may ask.
    stale: BTreeSet<usize>,
    /// What came late to these, and is not noted yet.
    late: BTreeSet<usize>,
    /// What nodes are to hold; `None` before that is decided.
    value: Option<Held>,
    pub job: Job,
    /// What was asked of which node, and until when it is waited for.
    asked: BTreeMap<u64, (usize, Duration)>,
    /// Counts keys and what is asked.
    last: u64,
    /// Something came late to the last replica that was in sync.
    pub is_hopeless: bool,
}

struct Station {
    post: Post,
    at: At,
    key: Key,
    /// What it held when it was looked at.
    holds: Held,
    /// When it is asked again.
    next: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Shut,
    Closing,
    /// For the first time.
    Looking,
    /// What was seen is to be stored before it takes part.
    Seen {
        next: u32,
        newest: Option<u32>,
    },
    Open,
    LookingAgain,
    SeenAgain {
        next: u32,
        newest: Option<u32>,
    },
}

/// What it is about; one thing after the other.
pub enum Job {
    Idle,
    /// A change is to be stored, for the sake of a write or not.
    Store(Change, Option<u64>),
    /// A write is given to nodes.
    Give {
        write: u64,
        left: BTreeSet<u64>,
        done: BTreeSet<usize>,
        failed: BTreeSet<usize>,
    },
    /// What was stored is to be heard of by all, before the write is acknowledged. With the number of the view.
    Hear(Option<u64>, Option<(u64, Hearing)>),
    Copy {
        node: usize,
        id: u64,
    },
}

/// What is sent to a node: its number, and which it is.
pub type Asking = (u64, usize, Ask);

// === impl Work ===

impl Work {
    pub fn new(
        epoch: i64,
        now: Duration,
        nodes: usize,
        stale: BTreeSet<usize>,
        looked: &BTreeMap<usize, Looked>,
    ) -> Self {
        let station = |node: usize| Station {
            post: Post::after(looked.get(&node).copied()),
            at: At::Shut,
            key: (epoch, 0),
            holds: [0; DOCUMENTS],
            next: now,
        };
        Self {
            epoch,
            began: now,
            stations: (0..nodes).map(station).collect(),
            stale,
            late: BTreeSet::new(),
            value: None,
            job: Job::Idle,
            asked: BTreeMap::new(),
            // No two leaders ask under one number.
            last: u64::try_from(epoch).unwrap_or_default() << 32,
            is_hopeless: false,
        }
    }

    fn ask(&mut self, node: usize, now: Duration) -> u64 {
        self.last += 1;
        self.asked.insert(self.last, (node, now + LIMIT));
        self.last
    }

    /// True while it may begin a write.
    pub fn is_free(&self) -> bool {
        matches!(self.job, Job::Idle) && self.value.is_some()
    }

    /// What is given up, by its number, and what is asked now.
    pub fn go_on(&mut self, now: Duration) -> (Vec<u64>, Vec<Asking>) {
        let over: Vec<u64> =
            self.asked.iter().filter(|(_, (_, until))| now >= *until).map(|(number, _)| *number).collect();
        for number in &over {
            let Some((node, _)) = self.asked.remove(number) else { continue };
            self.misses(*number, node);
        }
        let mut asks = Vec::new();
        for node in 0..self.stations.len() {
            if now < self.stations[node].next {
                continue;
            }
            let ask = match self.stations[node].at {
                At::Shut => {
                    self.stations[node].key = (self.epoch, self.last + 1);
                    self.stations[node].at = At::Closing;
                    Ask::Close(self.stations[node].key)
                }
                At::Open => {
                    self.stations[node].at = At::LookingAgain;
                    Ask::Look(self.stations[node].post.next().unwrap_or_default())
                }
                At::Closing | At::Looking | At::Seen { .. } | At::LookingAgain | At::SeenAgain { .. } => continue,
            };
            self.stations[node].next = now + LOOK_EVERY;
            asks.push((self.ask(node, now), node, ask));
        }
        if matches!(self.job, Job::Idle) {
            self.choose(now, &mut asks);
        }
        (over, asks)
    }

    /// What it is about next.
    fn choose(&mut self, now: Duration, asks: &mut Vec<Asking>) {
        let late: BTreeSet<usize> = self.late.difference(&self.stale).copied().collect();
        let in_sync = |work: &Self, node: usize| !work.stale.contains(&node) && !late.contains(&node);
        if !late.is_empty() {
            if !(0..self.stations.len()).any(|node| in_sync(self, node)) {
                self.is_hopeless = true;
            }
            self.job = Job::Store(Change::Stale(late), None);
            return;
        }
        // What came late before that is marked by now.
        for node in 0..self.stations.len() {
            let station = &mut self.stations[node];
            match station.at {
                At::Seen { next, newest } => {
                    let next = newest.map_or(next, |newest| next.max(newest + 1));
                    let looked = Looked { epoch: self.epoch, next };
                    self.job = Job::Store(Change::Looked(node, looked), None);
                    return;
                }
                At::SeenAgain { next, newest } => {
                    if let Some(newest) = newest.filter(|newest| *newest >= next) {
                        station.post.looked(next, newest);
                    }
                    station.at = At::Open;
                    self.late.remove(&node);
                }
                At::Shut | At::Closing | At::Looking | At::Open | At::LookingAgain => {}
            }
        }
        let Some(value) = self.value else { return self.decide(now) };
        let is_open = |station: &Station| !matches!(station.at, At::Shut | At::Closing | At::Looking | At::Seen { .. });
        let lacking = self.stale.iter().copied().find(|node| is_open(&self.stations[*node]));
        if let Some(node) = lacking {
            let id = self.ask(node, now);
            asks.push((id, node, Ask::Put(self.stations[node].key, What::Copy(value))));
            self.job = Job::Copy { node, id };
        }
    }

    /// Of each document the newest write that a replica in sync has is the one that counts.
    fn decide(&mut self, now: Duration) {
        let (mut there, mut away) = (BTreeMap::new(), BTreeSet::new());
        for (node, station) in self.stations.iter().enumerate().filter(|(node, _)| !self.stale.contains(node)) {
            match station.at {
                At::Open | At::LookingAgain | At::SeenAgain { .. } => drop(there.insert(node, station.holds)),
                At::Shut | At::Closing | At::Looking | At::Seen { .. } => drop(away.insert(node)),
            }
        }
        if there.is_empty() {
            return;
        }
        let newest = |document: usize| there.values().map(|held: &Held| held[document]).max().unwrap_or_default();
        let value: Held = std::array::from_fn(newest);
        if !away.is_empty() && now < self.began + PATIENCE {
            return;
        }
        self.value = Some(value);
        away.extend(there.into_iter().filter(|(_, holds)| *holds != value).map(|(node, _)| node));
        self.job = if away.is_empty() { Job::Hear(None, None) } else { Job::Store(Change::Stale(away), None) };
    }

    /// A write is stored: it is given to all that are in sync.
    pub fn give(&mut self, write: u64, now: Duration) -> Vec<Asking> {
        let (mut asks, mut left) = (Vec::new(), BTreeSet::new());
        let failed = BTreeSet::new();
        for node in (0..self.stations.len()).filter(|node| !self.stale.contains(node)).collect::<Vec<_>>() {
            let id = self.ask(node, now);
            left.insert(id);
            asks.push((id, node, Ask::Put(self.stations[node].key, What::Write(write))));
        }
        self.job = Job::Give { write, left, done: BTreeSet::new(), failed };
        asks
    }

    /// `change` is stored.
    pub fn stored(&mut self, change: &Change, write: Option<u64>) {
        match change {
            Change::Write => {}
            Change::Stale(nodes) => {
                self.stale.extend(nodes.iter().copied());
                self.job = Job::Hear(write, None);
            }
            Change::InSync(node) => {
                self.stale.remove(node);
                self.job = Job::Idle;
            }
            Change::Looked(node, _) => {
                let station = &mut self.stations[*node];
                if let At::Seen { next, newest: Some(newest) } = station.at
                    && newest >= next
                {
                    station.post.looked(next, newest);
                }
                station.at = At::Open;
                self.late.remove(node);
                self.job = Job::Idle;
            }
        }
    }

    /// A node has answered.
    pub fn told(&mut self, number: u64, told: &Told, now: Duration) -> Vec<Asking> {
        let Some((node, _)) = self.asked.remove(&number) else { return Vec::new() };
        match told {
            Told::Newest(newest) => {
                self.stations[node].post.lets_in(Pass::Unfenced, *newest);
                self.stations[node].at = At::Looking;
                let next = self.stations[node].post.next().unwrap_or_default();
                return vec![(self.ask(node, now), node, Ask::Look(next))];
            }
            Told::Tasks(tasks, holds) => self.sees(node, tasks, *holds),
            Told::Taken => self.takes(number, node),
            Told::Refused => {
                self.misses(number, node);
                // Somebody has made a key since.
                self.shut(node);
            }
        }
        Vec::new()
    }

    fn sees(&mut self, node: usize, tasks: &[(u32, Task)], holds: Held) {
        let station = &mut self.stations[node];
        if !matches!(station.at, At::Looking | At::LookingAgain) {
            return;
        }
        let is_late = |(uid, task): &(u32, Task)| task.epoch != station.post.led(*uid, self.epoch);
        if tasks.iter().any(is_late) {
            self.late.insert(node);
        }
        let (next, newest) = (station.post.next().unwrap_or_default(), tasks.last().map(|(uid, _)| *uid));
        station.holds = holds;
        station.at = if station.at == At::Looking { At::Seen { next, newest } } else { At::SeenAgain { next, newest } };
    }

    fn takes(&mut self, number: u64, node: usize) {
        match &mut self.job {
            Job::Copy { node, id, .. } if *id == number => self.job = Job::Store(Change::InSync(*node), None),
            Job::Give { left, done, .. } => {
                if left.remove(&number) {
                    done.insert(node);
                }
                self.is_given();
            }
            Job::Idle | Job::Store(..) | Job::Hear(..) | Job::Copy { .. } => {}
        }
    }

    /// No answer came to `number`, or a refusal.
    fn misses(&mut self, number: u64, node: usize) {
        match &mut self.job {
            Job::Copy { id, .. } if *id == number => self.job = Job::Idle,
            Job::Give { left, failed, .. } => {
                if left.remove(&number) {
                    failed.insert(node);
                    self.is_given();
                }
            }
            Job::Idle | Job::Store(..) | Job::Hear(..) | Job::Copy { .. } => {}
        }
        let station = &mut self.stations[node];
        match station.at {
            At::Closing | At::Looking => station.at = At::Shut,
            At::LookingAgain => station.at = At::Open,
            At::Shut | At::Seen { .. } | At::Open | At::SeenAgain { .. } => {}
        }
    }

    /// Once all have answered, or were given up.
    fn is_given(&mut self) {
        let Job::Give { write, left, done, failed } = &self.job else { return };
        if !left.is_empty() {
            return;
        }
        let (write, failed, is_nowhere) = (*write, failed.clone(), done.is_empty());
        if is_nowhere {
            // Nobody is known to have it: it is decided anew what counts.
            (self.value, self.job) = (None, Job::Idle);
            (0..self.stations.len()).for_each(|node| self.shut(node));
            return;
        }
        if let Some(value) = &mut self.value {
            value[document(write)] = write;
        }
        self.job = if failed.is_empty() {
            Job::Hear(Some(write), None)
        } else {
            Job::Store(Change::Stale(failed), Some(write))
        };
    }

    /// It is closed anew before it is asked for anything.
    fn shut(&mut self, node: usize) {
        self.asked.retain(|_, (asked, _)| *asked != node);
        self.stations[node].at = At::Shut;
    }
}
