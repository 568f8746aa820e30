//! What gateways promise each other while the database is away. Pure: the time is an argument, by a clock that goes on while the
//! machine is suspended.
//!
//! Nobody can take the lease at a database that nobody reaches. But who leads cannot know that nobody reaches it. So each gateway that may
//! take over as soon as the lease has ended, as the leader's row names them, says with each question that it asks the leader: I do not
//! reach the database, and will not lead for [`PROMISE`] from now, whatever comes. While *all* of them say so, and keep saying it, the
//! leader goes on past the end of its lease. Whoever reaches the database promises nothing: then the leader is the one that is cut off.
//!
//! ```text
//! B    says at 20.0: not before 25.0   ──▶                            reaches the database at 23, and leads at 25.0 at the earliest
//! A    has answered B at 19.9 (so B has said it later) ◀── trusts itself until 24.4, unless B says it again
//! ```
//!
//! Three kinds of gateways have not promised anything, and must not come in between.
//!
//! - One that the row does not name waits for `gateway.alone` after the end of the lease; for no longer the leader goes on.
//! - One that was started again under a name in the row may follow itself: the process before it may have promised right before its end.
//!   So it does not lead before a promise that was made at its start would be over.
//! - One that the leader has come to know, and which its row may name by now or not: it is asked for its promise as well. The renewal
//!   that names it moves the end of the lease by [`LEASE`], which is longer than any promise.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a lease holds after it was renewed. In the statements too.
pub const LEASE: Duration = Duration::from_secs(10);
/// The end of the lease as its holder sees it comes so much earlier.
pub const MARGIN: Duration = Duration::from_secs(2);
/// For how long a promise holds.
pub const PROMISE: Duration = Duration::from_secs(5);
/// Of a promise the leader uses so much less, for clocks that do not go alike.
const PROMISE_MARGIN: Duration = Duration::from_millis(500);
/// Who has reached the database in this time promises nothing.
const REACHED: Duration = Duration::from_secs(2);

/// What the leader's row says of a gateway that would take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heir {
    /// The lease was given up: nobody relies on anything any more.
    OfNobody,
    /// The row names it among those that follow: one under its name may have promised something.
    Named,
    Stranger,
}

/// What a gateway that follows has promised.
#[derive(Debug, Clone)]
pub struct Word {
    began: Duration,
    /// When it began to ask the database what was answered last.
    reached: Duration,
    /// It does not lead before.
    until: Duration,
    /// It has the lease, and promises nothing any more.
    has_won: bool,
}

/// For how long a gateway that leads may trust itself: what the database said last, and what the others have promised.
#[derive(Debug, Clone, Default)]
pub struct Promises {
    alone: Duration,
    /// When the last renewal was sent that the database has answered.
    renewed: Duration,
    /// Whom the row names, after that.
    named: BTreeSet<String>,
    /// Whom a renewal since may have named.
    maybe_named: BTreeSet<String>,
    /// Until when each does not lead.
    promised: BTreeMap<String, Duration>,
    /// When something spoke against the lease, until a renewal that was sent after that is answered.
    doubted: Option<Duration>,
}

// === impl Word ===

impl Word {
    /// Of a process that begins now, at the database.
    pub fn new(now: Duration) -> Self {
        Self { began: now, reached: now, until: Duration::ZERO, has_won: false }
    }

    /// The database has answered what it was asked at `asked`.
    pub fn reached(&mut self, asked: Duration) {
        self.reached = self.reached.max(asked);
    }

    /// Promises not to lead for [`PROMISE`]; false where it promises nothing.
    pub fn give(&mut self, now: Duration) -> bool {
        if self.has_won || now < self.reached + REACHED {
            return false;
        }
        self.until = now + PROMISE;
        true
    }

    /// When it may lead.
    pub fn may_lead_at(&self, heir: Heir) -> Duration {
        match heir {
            Heir::OfNobody => Duration::ZERO,
            Heir::Named => self.until.max(self.began + PROMISE),
            Heir::Stranger => self.until,
        }
    }

    /// It has taken the lease, and leads at the moment that is returned: it may have promised something while the lease was being taken. It
    /// promises nothing more, or that moment would never come.
    pub fn win(&mut self, heir: Heir) -> Duration {
        self.has_won = true;
        self.may_lead_at(heir)
    }
}

// === impl Promises ===

impl Promises {
    /// Of a gateway that goes on for `alone` where the row names nobody.
    pub fn new(alone: Duration) -> Self {
        Self { alone, ..Self::default() }
    }

    /// A renewal that names these is about to be sent.
    pub fn renewing(&mut self, names: &[String]) {
        self.maybe_named.extend(names.iter().cloned());
    }

    /// The renewal of `sent` was answered: the row has these names, and the next one brings `others`.
    pub fn renewed(&mut self, sent: Duration, names: &[String], others: &[String]) {
        self.doubted = self.doubted.filter(|doubted| sent < *doubted);
        self.renewed = sent;
        self.named = names.iter().cloned().collect();
        self.maybe_named = others.iter().cloned().collect();
    }

    /// Something speaks against the lease: nothing that was known before counts.
    pub fn doubt(&mut self, now: Duration) {
        self.doubted = Some(now);
    }

    /// `gateway` has promised, at `since` or later.
    pub fn promised(&mut self, gateway: &str, since: Duration) {
        let until = self.promised.entry(gateway.to_owned()).or_default();
        *until = (*until).max((since + PROMISE).saturating_sub(PROMISE_MARGIN));
    }

    /// Until when it may trust itself by its lease alone.
    pub fn lease_until(&self) -> Duration {
        self.renewed + LEASE.saturating_sub(MARGIN)
    }

    /// Until when it may trust itself.
    pub fn until(&self) -> Duration {
        if self.doubted.is_some() {
            return Duration::ZERO;
        }
        let lease = self.lease_until();
        let longest = lease + self.alone;
        let each = self.named.union(&self.maybe_named).map(|name| self.promised.get(name).copied().unwrap_or_default());
        each.min().map_or(longest, |until| lease.max(until.min(longest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Duration = Duration::from_secs(300);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn renewed_at(seconds: u64, named: &[&str], others: &[&str]) -> Promises {
        let mut promises = Promises::new(ALONE);
        promises.renewing(&names(named));
        promises.renewed(at(seconds), &names(named), &names(others));
        promises
    }

    #[test]
    fn a_leader_goes_on_past_its_lease_while_all_whom_its_row_may_name_promise() {
        let mut promises = renewed_at(100, &["b", "c"], &["b", "c"]);
        assert_eq!(promises.until(), at(108));
        promises.promised("b", at(106));
        assert_eq!(promises.until(), at(108), "c has not promised");
        promises.promised("c", at(107));
        assert_eq!(promises.until(), at(111) - PROMISE_MARGIN, "as long as the first of them keeps to it");
        promises.promised("b", at(110));
        assert_eq!(promises.until(), at(112) - PROMISE_MARGIN);
        promises.promised("c", at(50));
        assert_eq!(promises.until(), at(112) - PROMISE_MARGIN, "what was promised stays so");
    }

    #[test]
    fn whom_a_renewal_may_have_named_is_asked_too() {
        let mut promises = renewed_at(100, &["b"], &["b", "c"]);
        promises.promised("b", at(110));
        assert_eq!(promises.until(), at(108), "c is about to be named");
        promises.promised("c", at(110));
        assert_eq!(promises.until(), at(115) - PROMISE_MARGIN);
        // It was sent, and nobody knows whether it came.
        promises.renewing(&names(&["b", "c", "d"]));
        assert_eq!(promises.until(), at(108));
        let mut left = renewed_at(100, &["b", "c"], &["b"]);
        left.promised("b", at(110));
        assert_eq!(left.until(), at(108), "the row names who has left still");
        left.renewed(at(101), &names(&["b"]), &names(&["b"]));
        assert_eq!(left.until(), at(115) - PROMISE_MARGIN);
    }

    #[test]
    fn who_doubts_its_lease_trusts_nothing_but_an_answer_to_a_later_question() {
        let mut promises = renewed_at(100, &["b"], &["b"]);
        promises.doubt(at(103));
        promises.promised("b", at(104));
        assert_eq!(promises.until(), Duration::ZERO, "b promises to whoever asks it");
        promises.renewed(at(102), &names(&["b"]), &names(&["b"]));
        assert_eq!(promises.until(), Duration::ZERO, "it was asked before");
        promises.renewed(at(103), &names(&["b"]), &names(&["b"]));
        assert_eq!(promises.until(), at(111));
    }

    #[test]
    fn no_longer_than_a_gateway_waits_that_nobody_knows() {
        assert_eq!(renewed_at(100, &[], &[]).until(), at(108) + ALONE);
        assert_eq!(renewed_at(100, &[], &["b"]).until(), at(108));
        let mut promises = renewed_at(100, &["b"], &["b"]);
        promises.promised("b", at(407));
        assert_eq!(promises.until(), at(108) + ALONE);
    }

    #[test]
    fn a_follower_keeps_its_word_and_gives_none_while_it_reaches_the_database() {
        let mut word = Word::new(at(10));
        assert!(!word.give(at(10)), "it has just come from there");
        word.reached(at(20));
        assert!(!word.give(at(20) + REACHED / 2));
        assert!(word.give(at(22)));
        word.reached(at(23));
        assert!(!word.give(at(23)), "it is back");
        for heir in [Heir::Named, Heir::Stranger] {
            assert_eq!(word.may_lead_at(heir), at(27), "and has promised all the same");
        }
        assert_eq!(word.may_lead_at(Heir::OfNobody), Duration::ZERO, "to one that leads no more");
        assert_eq!(word.win(Heir::Named), at(27));
        assert!(!word.give(at(26)), "who has the lease leads when it has promised, and no later");
        assert_eq!(word.may_lead_at(Heir::Named), at(27));
    }

    #[test]
    fn a_process_started_again_keeps_the_word_of_the_one_before_it() {
        let word = Word::new(at(10));
        assert_eq!(word.may_lead_at(Heir::Named), at(15));
        assert_eq!(
            word.may_lead_at(Heir::Stranger),
            Duration::ZERO,
            "nobody has promised under a name that the row lacks"
        );
    }
}
