//! The database of the state, as far as it decides who leads: the leader's row, by the rules of its statements; what is known of nodes; and its
//! faults.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::nodes::fence::Looked;
use crate::store::failsafe::{Heir, LEASE};

/// How long a gateway that the row does not name waits.
pub const ALONE: Duration = Duration::from_secs(12);
/// Whoever was there in this time is named.
const SEEN: Duration = Duration::from_secs(10);

/// One process of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    pub name: String,
    pub process: u64,
}

/// The leader's row, and what it guards: how many writes there are.
#[derive(Debug, Clone)]
pub struct Row {
    pub epoch: i64,
    /// `None` once it was given up.
    pub holder: Option<Who>,
    pub name: String,
    expires_at: Duration,
    pub followers: Vec<String>,
    /// The number of the last change, which counts the commits as well.
    pub writes: u64,
    /// Nodes that no read may ask.
    pub stale: BTreeSet<usize>,
    /// How far each node was looked at for what came late.
    pub looked: BTreeMap<usize, Looked>,
    pub lost: bool,
}

/// What a leader stores.
#[derive(Debug, Clone)]
pub enum Change {
    Write,
    Stale(BTreeSet<usize>),
    InSync(usize),
    Looked(usize, Looked),
}

pub struct Database {
    pub row: Row,
    /// An older copy of it, which may come back in its place.
    pub copy: Option<Row>,
    /// By which epoch each change was stored.
    pub stored_by: Vec<i64>,
    /// Who was stale after each of them.
    pub stale_at: Vec<BTreeSet<usize>>,
    members: BTreeMap<String, Duration>,
    pub is_up: bool,
    /// Its own clock goes before the others', or behind.
    pub now: Duration,
}

/// What is asked of it.
#[derive(Debug, Clone)]
pub enum Statement {
    Look,
    Take,
    Renew {
        epoch: i64,
        followers: Vec<String>,
        made: u64,
    },
    /// With a number of its own.
    Commit {
        epoch: i64,
        made: u64,
        number: u64,
        change: Change,
    },
    GiveUp {
        epoch: i64,
    },
}

/// What it answers.
#[derive(Debug, Clone)]
pub enum Said {
    Seen {
        row: Row,
        heir: Heir,
        may_take: bool,
    },
    Taken {
        epoch: i64,
        row: Row,
    },
    NotTaken,
    Renewed {
        others: Vec<String>,
    },
    Committed {
        writes: u64,
        number: u64,
        change: Change,
    },
    /// More was committed than who asked knew of.
    Behind {
        writes: u64,
        number: u64,
    },
    /// The row is another's.
    Superseded,
    /// It counts fewer commits than were made.
    TailLost,
    Away,
}

// === impl Database ===

impl Database {
    pub fn new() -> Self {
        let row = Row {
            epoch: 0,
            holder: None,
            name: String::new(),
            expires_at: Duration::ZERO,
            followers: Vec::new(),
            writes: 0,
            stale: BTreeSet::new(),
            looked: BTreeMap::new(),
            lost: false,
        };
        let stale_at = vec![BTreeSet::new()];
        Self {
            row,
            copy: None,
            stored_by: Vec::new(),
            stale_at,
            members: BTreeMap::new(),
            is_up: true,
            now: Duration::ZERO,
        }
    }

    /// Carries out what `who` asks.
    pub fn run(&mut self, who: &Who, statement: Statement) -> Said {
        let holds = |row: &Row, epoch: i64| row.epoch == epoch && row.holder.as_ref() == Some(who) && !row.lost;
        match statement {
            _ if !self.is_up => Said::Away,
            Statement::Look => {
                self.members.insert(who.name.clone(), self.now);
                Said::Seen { row: self.row.clone(), heir: self.heir(who), may_take: self.may_take(who) }
            }
            Statement::Take if !self.may_take(who) => Said::NotTaken,
            Statement::Take => {
                let followers = self.others(who);
                let row = &mut self.row;
                row.epoch += 1;
                (row.holder, row.name) = (Some(who.clone()), who.name.clone());
                (row.expires_at, row.followers) = (self.now + LEASE, followers);
                Said::Taken { epoch: row.epoch, row: row.clone() }
            }
            Statement::Renew { epoch, made, .. } | Statement::Commit { epoch, made, .. }
                if holds(&self.row, epoch) && self.row.writes < made =>
            {
                self.row.lost = true;
                Said::TailLost
            }
            Statement::Renew { epoch, followers, .. } if holds(&self.row, epoch) => {
                (self.row.expires_at, self.row.followers) = (self.now + LEASE, followers);
                self.members.insert(who.name.clone(), self.now);
                Said::Renewed { others: self.others(who) }
            }
            // One that was given up and comes late changes nothing of nodes: more was committed since.
            Statement::Commit { epoch, made, number, change }
                if holds(&self.row, epoch) && !matches!(change, Change::Write) && self.row.writes > made =>
            {
                Said::Behind { writes: self.row.writes, number }
            }
            Statement::Commit { epoch, number, change, .. } if holds(&self.row, epoch) => {
                self.row.writes += 1;
                match &change {
                    Change::Write => {}
                    Change::Stale(nodes) => self.row.stale.extend(nodes.iter().copied()),
                    Change::InSync(node) => drop(self.row.stale.remove(node)),
                    Change::Looked(node, looked) => drop(self.row.looked.insert(*node, *looked)),
                }
                self.stored_by.push(epoch);
                self.stale_at.push(self.row.stale.clone());
                Said::Committed { writes: self.row.writes, number, change }
            }
            Statement::GiveUp { epoch } if holds(&self.row, epoch) => {
                self.row.holder = None;
                self.row.expires_at = Duration::ZERO;
                Said::Superseded
            }
            Statement::Renew { .. } | Statement::Commit { .. } | Statement::GiveUp { .. } => Said::Superseded,
        }
    }

    fn others(&self, who: &Who) -> Vec<String> {
        let there = self.members.iter().filter(|(name, seen)| **name != who.name && **seen + SEEN > self.now);
        there.map(|(name, _)| name.clone()).collect()
    }

    fn heir(&self, who: &Who) -> Heir {
        match &self.row.holder {
            None => Heir::OfNobody,
            Some(_) if self.row.followers.contains(&who.name) => Heir::Named,
            Some(_) => Heir::Stranger,
        }
    }

    fn may_take(&self, who: &Who) -> bool {
        let wait = match self.heir(who) {
            Heir::OfNobody | Heir::Named => Duration::ZERO,
            Heir::Stranger if self.row.name == who.name => Duration::ZERO,
            Heir::Stranger => ALONE,
        };
        self.row.expires_at + wait < self.now && !self.row.lost
    }
}
