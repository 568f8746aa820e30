//! A gateway: follows, takes the lease, leads, and is frozen, cut off and killed. By the real rules of promises, of leases and of waiting.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::database::{ALONE, Change, Row, Said, Statement, Who};
use super::nodes::Told;
use super::work::{Asking, Job, Work};
use crate::peers::book::{Asked, Book, Wait};
use crate::peers::lease::Lease;
use crate::peers::talk::{PROTOCOL, Question};
use crate::peers::view::ViewNumber;
use crate::peers::{LEASE, MARGIN};
use crate::store::failsafe::{Heir, Promises, Word};

/// Nodes, each of which holds everything.
pub const NODES: usize = 2;
const RENEW_EVERY: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(300);
const RETRY: Duration = Duration::from_millis(500);
const ASK_EVERY: Duration = Duration::from_millis(500);
/// What was asked is asked again after so long without an answer.
const LIMIT: Duration = Duration::from_secs(4);

pub struct Gateway {
    pub who: Who,
    /// Its clock goes so many thousandths faster than time does.
    pub rate: i64,
    pub is_frozen: bool,
    /// When it is started again; it does not run before.
    pub starts_at: Option<Duration>,
    pub is_cut_from_database: bool,
    word: Word,
    pub lease: Lease,
    turn: u64,
    taken: u64,
    ask_at: Duration,
    /// Who leads, as it was seen last.
    seen: Option<Row>,
    pub reign: Option<Reign>,
    /// A lease that was taken while a promise not to lead was kept.
    won: Option<(Won, Duration)>,
    heir: Heir,
    next: Duration,
    /// The number of the statement that is waited for, and until when.
    waits: Option<(u64, Duration)>,
    statements: u64,
    /// What it sends next.
    pub unsent: Vec<Sends>,
    /// It ends, and says why.
    pub ends: Option<&'static str>,
}

#[derive(Debug, Clone)]
struct Won {
    epoch: i64,
    row: Row,
    sent: Duration,
}

/// While it leads.
pub struct Reign {
    pub epoch: i64,
    promises: Promises,
    others: Vec<String>,
    pub writes: u64,
    book: Book,
    former_until: Duration,
    /// The number of the commit whose answer is waited for, and until when.
    storing: Option<(u64, Duration)>,
    /// The number of the last one, and when the next may be sent.
    commits: (u64, Duration),
    pub work: Work,
}

/// What a gateway sends.
pub enum Sends {
    Statement {
        number: u64,
        sent: Duration,
        statement: Statement,
    },
    Question {
        to: Who,
        sent: Duration,
        question: Question,
    },
    /// To a node.
    Ask(Asking),
    /// What was asked of a node is waited for no more: the connection is cut.
    GiveUp(u64),
}

/// A write that is acknowledged, and the view that everybody has by then.
pub struct Acknowledged {
    pub write: u64,
    pub view: u64,
}

// === impl Gateway ===

impl Gateway {
    pub fn start(who: Who, rate: i64, now: Duration) -> Self {
        Self {
            who,
            rate,
            is_frozen: false,
            starts_at: None,
            is_cut_from_database: false,
            word: Word::new(now),
            lease: Lease::default(),
            turn: 0,
            taken: 0,
            ask_at: now,
            seen: None,
            reign: None,
            won: None,
            heir: Heir::Stranger,
            next: now,
            waits: None,
            statements: 0,
            unsent: Vec::new(),
            ends: None,
        }
    }

    /// A time as its own clock has it.
    pub fn clock(&self, time: Duration) -> Duration {
        let millis = time.as_millis() as i64;
        Duration::from_millis((millis + millis * self.rate / 1000) as u64)
    }

    /// True while it may go by its leading.
    pub fn trusts(&self, now: Duration) -> bool {
        self.reign.as_ref().is_some_and(|reign| now < reign.promises.until())
    }

    /// True where it goes on although its lease alone would be over.
    pub fn is_kept_by_promises(&self, now: Duration) -> bool {
        self.trusts(now)
            && self.reign.as_ref().is_some_and(|reign| !reign.others.is_empty() && now > reign.promises.lease_until())
    }

    /// What it does by itself now.
    pub fn act(&mut self, now: Duration) -> Vec<Sends> {
        let mut sends = std::mem::take(&mut self.unsent);
        if let Some((won, _)) = self.won.take_if(|(_, leads_at)| now >= *leads_at) {
            self.lead(won, now);
        }
        sends.extend(self.works(now));
        if self.waits.is_some_and(|(_, until)| now >= until) {
            self.waits = None;
            self.next = now + RETRY;
        }
        if self.waits.is_none() && now >= self.next && self.won.is_none() {
            let statement = match &mut self.reign {
                None => Statement::Look,
                Some(reign) => {
                    reign.promises.renewing(&reign.others);
                    Statement::Renew { epoch: reign.epoch, followers: reign.others.clone(), made: reign.writes }
                }
            };
            sends.push(self.states(statement, now));
        }
        if self.reign.is_none()
            && now >= self.ask_at
            && let Some(holder) = self.seen.as_ref().and_then(|row| row.holder.clone())
        {
            self.ask_at = now + ASK_EVERY;
            sends.push(Sends::Question { to: holder, sent: now, question: self.question(now) });
        }
        sends
    }

    fn states(&mut self, statement: Statement, now: Duration) -> Sends {
        self.statements += 1;
        self.waits = Some((self.statements, now + LIMIT));
        Sends::Statement { number: self.statements, sent: now, statement }
    }

    /// What it does at nodes and stores of them, while it leads.
    fn works(&mut self, now: Duration) -> Vec<Sends> {
        let trusts = self.trusts(now);
        let Some(reign) = self.reign.as_mut().filter(|_| trusts) else { return Vec::new() };
        reign.storing.take_if(|(_, until)| now >= *until);
        let (over, asks) = reign.work.go_on(now);
        let mut sends: Vec<Sends> = over.into_iter().map(Sends::GiveUp).collect();
        sends.extend(asks.into_iter().map(Sends::Ask));
        let (last, from) = reign.commits;
        if let Job::Store(change, _) = &reign.work.job
            && reign.storing.is_none()
            && now >= from
        {
            let number = last + 1;
            (reign.commits.0, reign.storing) = (number, Some((number, now + LIMIT)));
            let (epoch, made, change) = (reign.epoch, reign.writes, change.clone());
            let statement = Statement::Commit { epoch, made, number, change };
            // Over a connection of its own, on which nothing else waits.
            sends.push(Sends::Statement { number: 0, sent: now, statement });
        }
        sends
    }

    /// Begins a write, where it leads and has nothing else to do.
    pub fn write(&mut self, now: Duration) {
        let trusts = self.trusts(now);
        if let Some(reign) = self.reign.as_mut().filter(|reign| trusts && reign.work.is_free()) {
            reign.work.job = Job::Store(Change::Write, None);
        }
    }

    /// A node has answered.
    pub fn told(&mut self, number: u64, told: &Told, now: Duration) -> Vec<Sends> {
        let Some(reign) = &mut self.reign else { return Vec::new() };
        reign.work.told(number, told, now).into_iter().map(Sends::Ask).collect()
    }

    pub fn give_up(&mut self, now: Duration) -> Option<Sends> {
        let reign = self.reign.take()?;
        self.ends = Some("resigned");
        Some(Sends::Statement { number: 0, sent: now, statement: Statement::GiveUp { epoch: reign.epoch } })
    }

    /// The database has answered.
    pub fn hears(&mut self, number: u64, sent: Duration, said: Said, now: Duration) -> Option<Sends> {
        if number > 0 {
            // One that was given up is not listened to any more.
            self.waits.take_if(|(awaited, _)| *awaited == number)?;
        }
        match said {
            Said::Seen { row, heir, may_take } => {
                self.word.reached(sent);
                self.next = now + LOOK_EVERY;
                self.heir = heir;
                if self.seen.as_ref().is_some_and(|seen| (row.epoch, row.writes) < (seen.epoch, seen.writes))
                    || row.lost
                {
                    self.ends = Some("the tail is lost");
                    return None;
                }
                self.seen = Some(row);
                (may_take && now >= self.word.may_lead_at(heir)).then(|| self.states(Statement::Take, now))
            }
            Said::Taken { epoch, row } => {
                self.won = Some((Won { epoch, row, sent }, self.word.win(self.heir)));
                None
            }
            Said::NotTaken => None,
            Said::Renewed { others } => {
                let reign = self.reign.as_mut()?;
                reign.promises.renewed(sent, &reign.others, &others);
                self.next = if reign.others == others { now + RENEW_EVERY } else { now };
                reign.others = others;
                None
            }
            Said::Committed { writes, number, change } => {
                let reign = self.reign.as_mut()?;
                reign.writes = reign.writes.max(writes);
                // One that was given up is there, and nobody is told.
                reign.storing.take_if(|(awaited, _)| *awaited == number)?;
                if matches!(change, Change::Write) {
                    // What frozen gateways wake up with is sent by none.
                    let asks = reign.work.give(writes, now);
                    self.unsent.extend(asks.into_iter().map(Sends::Ask));
                } else if let Job::Store(_, write) = reign.work.job {
                    reign.work.stored(&change, write);
                }
                None
            }
            Said::Behind { writes, number } => {
                let reign = self.reign.as_mut()?;
                reign.writes = reign.writes.max(writes);
                reign.storing.take_if(|(awaited, _)| *awaited == number);
                None
            }
            Said::Superseded => {
                self.ends = Some("superseded");
                None
            }
            Said::TailLost => {
                self.ends = Some("the tail is lost");
                None
            }
            Said::Away => {
                self.next = now + RETRY;
                if let Some(reign) = self.reign.as_mut().filter(|_| number == 0) {
                    reign.storing = None;
                    reign.commits.1 = now + RETRY;
                }
                None
            }
        }
    }

    fn lead(&mut self, won: Won, now: Duration) {
        let mut promises = Promises::new(ALONE);
        let Won { epoch, row, sent } = won;
        promises.renewed(sent, &row.followers, &row.followers);
        self.next = now;
        self.unsent.clear();
        self.reign = Some(Reign {
            epoch,
            promises,
            writes: row.writes,
            work: Work::new(epoch, now, NODES, row.stale, &row.looked),
            others: row.followers,
            book: Book::default(),
            former_until: now + LEASE + MARGIN,
            storing: None,
            commits: (0, now),
        });
    }

    /// The write that is acknowledged now, if any is.
    pub fn acknowledges(&mut self, base: Instant, now: Duration) -> Option<Acknowledged> {
        let reign = self.reign.as_mut().filter(|reign| now >= reign.former_until)?;
        let target = ViewNumber { epoch: reign.epoch, n: reign.writes };
        let Job::Hear(write, hearing) = &mut reign.work.job else { return None };
        let at = base + now;
        let (view, hearing) = hearing.get_or_insert_with(|| (target.n, reign.book.hearing(target, at)));
        if hearing.look(&reign.book, at) != Wait::Over {
            return None;
        }
        let (view, write) = (*view, *write);
        reign.work.job = Job::Idle;
        write.map(|write| Acknowledged { write, view })
    }

    fn question(&mut self, now: Duration) -> Question {
        self.turn += 1;
        Question {
            protocol: PROTOCOL,
            process: Uuid::from_u128(u128::from(self.who.process)),
            gateway: self.who.name.clone(),
            version: String::new(),
            turn: self.turn,
            taken: self.taken,
            has: self.lease.has(),
            oldest: self.lease.has(),
            may_take: 0,
            longest_read: 0,
            promises: self.word.give(now),
        }
    }

    /// The view that is lent in answer, where one is.
    pub fn answers(&mut self, question: Question, base: Instant, now: Duration) -> Option<ViewNumber> {
        let (process, turn) = (question.process, question.turn);
        let reign = self.reign.as_mut()?;
        if question.has.is_some_and(|has| has.epoch > reign.epoch) {
            return None;
        }
        let gateway = question.gateway.clone();
        let asked = reign.book.asked(question, base + now);
        if asked == Asked::Overtaken {
            return None;
        }
        if let Some(since) = reign.book.promised_since(process) {
            reign.promises.promised(&gateway, since);
        }
        let lends = asked == Asked::InTurn && now < reign.promises.until();
        let is_answered =
            if lends { reign.book.lend(process, turn, base + now) } else { reign.book.answer(process, turn) };
        reign.book.answers_at(process, now);
        (is_answered && lends).then_some(ViewNumber { epoch: reign.epoch, n: reign.writes })
    }

    /// An answer to the question of this turn has come.
    pub fn takes(&mut self, turn: u64, sent: Duration, lent: Option<ViewNumber>, now: Duration) {
        if self.reign.is_some() || turn != self.turn {
            return;
        }
        self.taken = turn;
        if let Some(view) = lent.filter(|view| Some(*view) >= self.lease.has()) {
            self.lease.lend(view, sent, now);
        }
    }
}
