//! By which views a follower may answer, and until when. Pure: the time is an argument, by a clock that goes on while the machine is
//! suspended.
//!
//! A view is lent until three seconds after the question was *sent*: however long the answer was on its way, the leader counts from a later
//! moment. An answer that comes when the time was over already is a *lapse*: the leader may have counted this gateway as gone meanwhile, and
//! have copied over what its older requests still read. So what such requests get is used no more, though the new view is good.
//!
//! Example: view 7 is lent until second 13. The process is frozen at 12 and wakes at 30 with a read before a node. Its next
//! question is answered with view 8 until 33. The read's answer comes at 31, in time for view 8, but it went by 7: it does not count.

use std::time::Duration;

use super::LEASE;
use super::view::ViewNumber;

/// What was lent.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Lease {
    has: Option<ViewNumber>,
    until: Duration,
    /// Older views than this one are dead.
    oldest: Option<ViewNumber>,
}

// === impl Lease ===

impl Lease {
    /// The view that requests go by from now on.
    pub fn has(&self) -> Option<ViewNumber> {
        self.has
    }

    /// The leader lends `number` in answer to the question that was sent at `sent`. The number is no older than the one before.
    pub fn lend(&mut self, number: ViewNumber, sent: Duration, now: Duration) {
        debug_assert!(self.has <= Some(number), "an older view is lent");
        if !self.is_on(now) {
            self.oldest = Some(number);
        }
        self.has = Some(number);
        self.until = self.until.max(sent + LEASE);
    }

    /// True while the newest view is lent.
    pub fn is_on(&self, now: Duration) -> bool {
        self.left(now) > Duration::ZERO
    }

    /// How long it is still lent.
    pub fn left(&self, now: Duration) -> Duration {
        self.until.saturating_sub(now)
    }

    /// True when what was planned by view `number` may be answered.
    pub fn holds(&self, number: ViewNumber, now: Duration) -> bool {
        self.is_on(now) && Some(number) >= self.oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(n: u64) -> ViewNumber {
        ViewNumber { epoch: 1, n }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_view_is_good_until_three_seconds_after_it_was_asked_for() {
        let mut lease = Lease::default();
        assert!(!lease.is_on(Duration::ZERO) && lease.has().is_none());
        lease.lend(view(7), at(10), at(12));
        assert!(lease.holds(view(7), at(12)) && !lease.holds(view(7), at(13)));
        assert!(!lease.holds(view(6), at(12)), "what was before the first view was never lent");
        lease.lend(view(7), at(12), at(12));
        assert!(lease.holds(view(7), at(14)));
    }

    #[test]
    fn a_request_by_an_older_view_goes_on_as_long_as_no_lease_lapsed() {
        let mut lease = Lease::default();
        lease.lend(view(7), at(10), at(10));
        lease.lend(view(8), at(12), at(12));
        assert!(lease.holds(view(7), at(14)) && lease.holds(view(8), at(14)));
        // Nothing was heard from 15 to 16.
        lease.lend(view(8), at(15), at(16));
        assert!(!lease.holds(view(7), at(16)), "the leader has not waited for it any more");
        assert!(lease.holds(view(8), at(16)), "which is still the newest: nothing has changed since it was planned");
    }

    #[test]
    fn an_answer_that_was_on_its_way_for_too_long_lends_nothing() {
        let mut lease = Lease::default();
        lease.lend(view(7), at(10), at(10));
        lease.lend(view(8), at(12), at(15));
        assert!(!lease.is_on(at(15)));
        lease.lend(view(8), at(15), at(16));
        assert!(!lease.holds(view(7), at(16)));
        lease.lend(ViewNumber { epoch: 2, n: 0 }, at(17), at(17));
        assert!(lease.holds(view(8), at(17)), "the next leader waits for it, too");
    }
}
