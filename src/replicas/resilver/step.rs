//! What a copy does next: compare, cut over, or give up. Pure.
//!
//! A pass compares documents of source and target and sends what differs. The next pass compares what the last one found
//! to differ, which so is verified, and what writes have touched meanwhile. Untouched documents that were found equal stay
//! equal, because both nodes get every write. When little is left, the rest is compared while writes are held back.

use std::time::Duration;

use super::work::Work;
use crate::placement::shard::ShardSet;

/// So many documents are few enough to be compared while writes wait.
pub const FEW_KEYS: usize = 1000;
/// A copy that has not come to its end after so many passes is begun anew later.
pub const MAX_PASSES: u32 = 40;
/// So many times the rest may take longer than writes are held back.
pub const MAX_CUTOVERS: u32 = 6;

/// Where a copy stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// How long writes may be held back.
    limit: Duration,
    passes: u32,
    cutovers: u32,
    /// How long comparing everything took the last time.
    whole: Option<Duration>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Compare this while writes go on.
    Compare(Work),
    /// Hold back the writes, compare this, and let the replica serve.
    CutOver(Work),
    GiveUp(GaveUp),
}

/// Why a copy came to no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GaveUp {
    #[error("{MAX_PASSES} passes were not enough to find both replicas equal")]
    Passes,
    #[error("the rest could not be copied in time while writes were held back, {MAX_CUTOVERS} times")]
    Cutovers,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A pass is over. `rest`: what it found to differ, and what was touched meanwhile.
    Compared { rest: Work, took: Duration, whole: bool },
    /// Writes could not be held back any longer.
    Late { rest: Work },
}

// === impl Copy ===

impl Copy {
    /// A copy of `shards`, and its first step.
    pub fn begin(shards: &ShardSet, limit: Duration) -> (Self, Step) {
        (Self { limit, passes: 0, cutovers: 0, whole: None }, Step::Compare(Work::whole(shards)))
    }

    /// Where the copy stands after `event`, and what it does then.
    pub fn next(self, event: Event) -> (Self, Step) {
        match event {
            Event::Compared { rest, took, whole } => {
                let after =
                    Self { passes: self.passes + 1, whole: if whole { Some(took) } else { self.whole }, ..self };
                let step = if after.may_cut_over(&rest, took) {
                    Step::CutOver(rest)
                } else if after.passes >= MAX_PASSES {
                    Step::GiveUp(GaveUp::Passes)
                } else {
                    Step::Compare(rest)
                };
                (after, step)
            }
            Event::Late { rest } => {
                let after = Self { cutovers: self.cutovers + 1, ..self };
                let step =
                    if after.cutovers >= MAX_CUTOVERS { Step::GiveUp(GaveUp::Cutovers) } else { Step::Compare(rest) };
                (after, step)
            }
        }
    }

    /// Little must be left, and what the last pass had to wait for must not outlast the patience of writes, save now and
    /// then, when the nodes are always busy.
    fn may_cut_over(&self, rest: &Work, took: Duration) -> bool {
        let little = if rest.shards.is_empty() {
            rest.keys.len() <= FEW_KEYS
        } else {
            // Edits by a function name no documents and come again and again: with a small index everything is little.
            self.passes > 1 && self.whole.is_some_and(|whole| whole <= self.limit / 4)
        };
        little && (took <= self.limit || self.passes.is_multiple_of(4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(4);
    const QUICK: Duration = Duration::from_millis(100);

    fn all() -> ShardSet {
        ShardSet::all(8)
    }

    fn keys(count: usize) -> Work {
        Work { keys: (0..count).map(|key| key.to_string()).collect(), ..Work::default() }
    }

    fn compared(rest: Work, took: Duration, whole: bool) -> Event {
        Event::Compared { rest, took, whole }
    }

    #[test]
    fn a_replica_that_missed_nothing_is_compared_once() {
        let (copy, step) = Copy::begin(&all(), LIMIT);
        assert_eq!(step, Step::Compare(Work::whole(&all())));
        let (_, step) = copy.next(compared(Work::default(), QUICK, true));
        assert_eq!(step, Step::CutOver(Work::default()));
    }

    #[test]
    fn what_differed_is_compared_again_before_the_cut_over() {
        let (copy, _) = Copy::begin(&all(), LIMIT);
        let (copy, step) = copy.next(compared(Work::whole(&all()), Duration::from_secs(60), true));
        assert_eq!(step, Step::Compare(Work::whole(&all())));
        let (copy, step) = copy.next(compared(keys(FEW_KEYS + 1), Duration::from_secs(60), true));
        assert_eq!(step, Step::Compare(keys(FEW_KEYS + 1)));
        let (_, step) = copy.next(compared(keys(3), QUICK, false));
        assert_eq!(step, Step::CutOver(keys(3)));
    }

    #[test]
    fn nodes_that_are_behind_are_waited_for_while_writes_go_on() {
        let (copy, _) = Copy::begin(&all(), LIMIT);
        let (copy, step) = copy.next(compared(keys(3), LIMIT * 2, true));
        assert_eq!(step, Step::Compare(keys(3)));
        let (_, step) = copy.next(compared(keys(3), QUICK, false));
        assert_eq!(step, Step::CutOver(keys(3)));
    }

    #[test]
    fn a_small_index_is_compared_whole_while_writes_wait() {
        let (copy, _) = Copy::begin(&all(), LIMIT);
        let (copy, step) = copy.next(compared(Work::whole(&all()), QUICK, true));
        assert_eq!(step, Step::Compare(Work::whole(&all())));
        let (_, step) = copy.next(compared(Work::whole(&all()), QUICK, true));
        assert_eq!(step, Step::CutOver(Work::whole(&all())));
    }

    #[test]
    fn a_copy_that_comes_to_no_end_is_given_up() {
        let (mut copy, mut step) = Copy::begin(&all(), LIMIT);
        let mut steps = 0;
        while !matches!(step, Step::GiveUp(_)) {
            (copy, step) = copy.next(compared(Work::whole(&all()), LIMIT, true));
            steps += 1;
        }
        assert_eq!((step, steps), (Step::GiveUp(GaveUp::Passes), MAX_PASSES));

        let (mut copy, mut step) = Copy::begin(&all(), LIMIT);
        let mut held = 0;
        while !matches!(step, Step::GiveUp(_)) {
            (copy, step) = match step {
                Step::CutOver(rest) => {
                    held += 1;
                    copy.next(Event::Late { rest })
                }
                Step::Compare(_) | Step::GiveUp(_) => copy.next(compared(keys(1), QUICK, false)),
            };
        }
        assert_eq!((step, held), (Step::GiveUp(GaveUp::Cutovers), MAX_CUTOVERS));
    }
}
