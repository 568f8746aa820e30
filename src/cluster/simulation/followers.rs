//! Other gateways: they ask the leader for its view, read by it, are cut off and frozen. By the real rules of leases and of waiting; the
//! clock is the simulation's.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::world::World;
use crate::peers::book::{Asked, Book, Hearing, Quieting, Wait};
use crate::peers::lease::Lease;
use crate::peers::talk::{PROTOCOL, Question};
use crate::peers::view::ViewNumber;
use crate::peers::{LEASE, MARGIN};
use crate::placement::topology::Topology;

/// How long any read may take.
const LONGEST_READ: Duration = Duration::from_secs(6);

/// A gateway that reads by what it is told.
pub struct Follower {
    pub lease: Lease,
    pub topology: Topology,
    pub frozen: bool,
    /// Nothing gets to the leader, or back.
    cut_off: bool,
    turn: u64,
    taken: u64,
    on_its_way: OnItsWay,
}

/// What is on the wire. A question counts from when it was sent.
enum OnItsWay {
    Nothing,
    Question { sent: Duration, question: Question },
    Answer { sent: Duration, lent: Option<(ViewNumber, Topology)> },
}

/// Time, and what the leader of the moment knows of followers.
pub struct Leads {
    pub now: Duration,
    base: Instant,
    pub number: ViewNumber,
    book: Book,
    /// Until when followers may go by views of leaders before.
    former_until: Duration,
}

/// Somebody waits until all have heard, or are quiet. First for views of leaders before.
pub struct Barrier {
    target: Option<ViewNumber>,
    wants: Wants,
}

enum Wants {
    Heard(Option<Hearing>),
    Quiet(Option<Quieting>),
}

// === impl Follower ===

impl Default for Follower {
    fn default() -> Self {
        Self {
            lease: Lease::default(),
            topology: Topology::with_owners(Vec::new(), 0, 1, Vec::new()),
            frozen: false,
            cut_off: false,
            turn: 0,
            taken: 0,
            on_its_way: OnItsWay::Nothing,
        }
    }
}

// === impl Leads ===

impl Leads {
    pub fn new() -> Self {
        let number = ViewNumber { epoch: 1, n: 0 };
        let now = Duration::from_secs(100);
        Self { now, base: Instant::now(), number, book: Book::default(), former_until: now }
    }

    fn at(&self) -> Instant {
        self.base + self.now
    }
}

// === impl Barrier ===

impl Barrier {
    pub fn heard() -> Self {
        Self { target: None, wants: Wants::Heard(None) }
    }

    pub fn quiet() -> Self {
        Self { target: None, wants: Wants::Quiet(None) }
    }
}

// === impl World ===

impl World {
    /// True when `barrier` need not be waited for any more. Then it must hold.
    pub fn is_over(&mut self, barrier: &mut Barrier) -> bool {
        let leads = &self.leads;
        if leads.now < leads.former_until {
            return false;
        }
        let (target, now) = (*barrier.target.get_or_insert(leads.number), leads.at());
        let wait = match &mut barrier.wants {
            Wants::Heard(hearing) => {
                hearing.get_or_insert_with(|| leads.book.hearing(target, now)).look(&leads.book, now)
            }
            Wants::Quiet(quieting) => {
                quieting.get_or_insert_with(|| leads.book.quieting(target, now)).look(&leads.book, now)
            }
        };
        if wait != Wait::Over {
            return false;
        }
        let older = self.followers.iter().position(|it| it.lease.is_on(leads.now) && it.lease.has() < Some(target));
        if let Some(follower) = older {
            self.wrong = Some(format!("follower {follower} was waited for and calls an older view than {target} good"));
        }
        if let Wants::Quiet(_) = barrier.wants {
            let counts = |(follower, view): (usize, ViewNumber)| {
                view < target && self.followers[follower].lease.holds(view, leads.now)
            };
            let in_time = |began: Duration| leads.now - began < LONGEST_READ;
            if self.reads.iter().any(|read| read.by.is_some_and(counts) && in_time(read.began)) {
                self.wrong = Some(format!("requests were waited for, and one older than {target} still counts"));
            }
        }
        true
    }

    /// It knows nobody, and that there may be somebody. One that was alone before goes on at once.
    pub fn next_leader(&mut self) {
        let leads = &mut self.leads;
        leads.number = ViewNumber { epoch: leads.number.epoch + 1, n: 0 };
        leads.book = Book::default();
        if !self.followers.is_empty() {
            leads.former_until = leads.now + LEASE + MARGIN;
        }
    }

    pub fn pass_time(&mut self) {
        let pause = match self.roll(200) {
            0 => LEASE + MARGIN * 2,
            1..4 => Duration::from_secs(1),
            _ => Duration::from_millis(self.roll(60) as u64),
        };
        self.leads.now += pause;
    }

    /// A follower asks, or is answered; or it is cut off, or frozen.
    pub fn follow(&mut self) {
        if self.followers.is_empty() {
            return;
        }
        let at = self.roll(self.followers.len());
        match self.roll(120) {
            0 => self.followers[at].cut_off ^= true,
            1 => {
                self.followers[at].frozen ^= true;
                let frozen = self.followers[at].frozen;
                self.tell(format!("follower {at} is frozen: {frozen}"));
            }
            _ => self.exchange(at),
        }
    }

    /// All followers hear of what there is.
    pub fn mend(&mut self) {
        for at in 0..self.followers.len() {
            (self.followers[at].cut_off, self.followers[at].frozen) = (false, false);
            for _ in 0..3 {
                self.exchange(at);
            }
        }
    }

    fn exchange(&mut self, at: usize) {
        let now = self.leads.now;
        let (frozen, is_lost) = (self.followers[at].frozen, self.followers[at].cut_off && self.roll(2) == 0);
        let before = std::mem::replace(&mut self.followers[at].on_its_way, OnItsWay::Nothing);
        let after = match before {
            OnItsWay::Nothing if frozen => OnItsWay::Nothing,
            OnItsWay::Nothing => OnItsWay::Question { sent: now, question: self.ask(at) },
            OnItsWay::Question { .. } | OnItsWay::Answer { .. } if is_lost => OnItsWay::Nothing,
            OnItsWay::Question { sent, question } => self.answer(sent, question),
            answer @ OnItsWay::Answer { .. } if frozen => answer,
            OnItsWay::Answer { sent, lent } => {
                self.take(at, sent, lent);
                OnItsWay::Nothing
            }
        };
        self.followers[at].on_its_way = after;
    }

    fn ask(&mut self, at: usize) -> Question {
        let views = self.reads.iter().filter_map(|read| read.by).filter(|(by, _)| *by == at);
        let follower = &mut self.followers[at];
        follower.turn += 1;
        let has = follower.lease.has();
        Question {
            protocol: PROTOCOL,
            process: Uuid::from_u128(at as u128),
            gateway: at.to_string(),
            version: String::new(),
            turn: follower.turn,
            taken: follower.taken,
            has,
            oldest: views.map(|(_, view)| view).chain(has).min(),
            may_take: 0,
            longest_read: LONGEST_READ.as_millis() as u64,
            promises: false,
        }
    }

    fn answer(&mut self, sent: Duration, question: Question) -> OnItsWay {
        let (now, number) = (self.leads.at(), self.leads.number);
        let (process, turn) = (question.process, question.turn);
        let asked = self.leads.book.asked(question, now);
        let lent = match asked {
            Asked::InTurn if self.leads.book.lend(process, turn, now) => Some((number, self.topology.clone())),
            Asked::InTurn | Asked::Overtaken => None,
            Asked::Unheard => {
                self.leads.book.answer(process, turn);
                None
            }
        };
        OnItsWay::Answer { sent, lent }
    }

    fn take(&mut self, at: usize, sent: Duration, lent: Option<(ViewNumber, Topology)>) {
        let (now, follower) = (self.leads.now, &mut self.followers[at]);
        follower.taken = follower.turn;
        let Some((number, topology)) = lent.filter(|(number, _)| Some(*number) >= follower.lease.has()) else { return };
        if follower.lease.has() != Some(number) {
            follower.topology = topology;
        }
        follower.lease.lend(number, sent, now);
    }

    /// A gateway that can begin a read: a follower, with its view, or this one. `None` where a follower has no good view.
    pub fn reader(&mut self) -> Option<(Topology, Option<(usize, ViewNumber)>)> {
        let at = self.roll(self.followers.len() + 1);
        let Some(follower) = self.followers.get(at) else { return Some((self.topology.clone(), None)) };
        let view = follower.lease.has().filter(|_| follower.lease.is_on(self.leads.now) && !follower.frozen)?;
        Some((follower.topology.clone(), Some((at, view))))
    }

    /// Whether the answer to a read by this view counts, now that all of it is there.
    pub fn counts(&self, (at, view): (usize, ViewNumber), began: Duration) -> bool {
        self.leads.now - began < LONGEST_READ && self.followers[at].lease.holds(view, self.leads.now)
    }
}
