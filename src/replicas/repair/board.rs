//! When an index that is apart on a node is tried again: a pure state machine, the time an argument.
//!
//! A try that fails is repeated after a second, then after two, four, ... five minutes. What concerns the index brings the next
//! try forward: a change of its settings to this moment, a write or deletion to ten seconds after the last try, because a client
//! that writes all the time must not make the node try all the time.
//!
//! Example: node-0 refuses `sortableAttributes: ["_geo"]` of `shops` at 12:00:00 and, as it was tried again, at :01, :03, :07, :15,
//! :31. At :40 a document is deleted; the next try, due at 12:01:03, is made at :41.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::placement::topology::NodeId;

/// An index on a node.
pub type Key = (NodeId, String);

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The longest pause after a try while documents of the index change.
const LONGEST_TOUCHED: Duration = Duration::from_secs(10);

/// What has happened to an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Its settings, or what its name stands for, may be others now.
    Changed,
    /// Some of its documents are others now.
    Written,
}

/// What to do about an index now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is as it should be.
    Nothing,
    Try,
    Wait(Instant),
    /// Somebody is trying.
    UnderWay,
}

/// An index that is, or may be, apart.
#[derive(Debug, Clone)]
pub struct Case {
    pub since: Instant,
    /// How many tries have failed since the news of a change.
    pub tries: u32,
    /// Why the last one failed.
    pub refusal: Option<String>,
    ended: Instant,
    pub due: Instant,
    pub running: bool,
    /// What came while a try runs: what it finds may be of the past.
    news: Option<News>,
}

/// What is to be repaired, what is being repaired, and when what failed is tried again.
#[derive(Debug, Default)]
pub struct Board {
    cases: BTreeMap<Key, Case>,
}

// === impl Case ===

impl Case {
    fn new(now: Instant) -> Self {
        Self { since: now, tries: 0, refusal: None, ended: now, due: now, running: false, news: None }
    }

    fn pause(&self) -> Duration {
        let doubled = 1u32.checked_shl(self.tries.saturating_sub(1)).unwrap_or(u32::MAX);
        FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
    }

    fn hear(&mut self, news: News, now: Instant) {
        match news {
            News::Changed => {
                self.tries = 0;
                self.due = now;
            }
            News::Written => self.due = self.due.min((self.ended + self.pause().min(LONGEST_TOUCHED)).max(now)),
        }
    }
}

// === impl Board ===

impl Board {
    /// An index may be apart: to be tried now, if it is not known yet.
    pub fn note(&mut self, key: &Key, now: Instant) {
        self.cases.entry(key.clone()).or_insert_with(|| Case::new(now));
    }

    /// A node has missed a change of an index, perhaps one more.
    pub fn missed(&mut self, key: &Key, now: Instant) {
        self.note(key, now);
        self.tell(key, News::Changed, now);
    }

    /// Something has happened to an index, for all nodes on which it is apart. True if there are any.
    pub fn hear(&mut self, index: &str, news: News, now: Instant) -> bool {
        let keys: Vec<Key> = self.cases.keys().filter(|key| key.1 == index).cloned().collect();
        for key in &keys {
            self.tell(key, news, now);
        }
        !keys.is_empty()
    }

    /// A node serves again: whoever waits for it need not.
    pub fn hear_all(&mut self, now: Instant) {
        let keys: Vec<Key> = self.cases.keys().cloned().collect();
        for key in &keys {
            self.tell(key, News::Written, now);
        }
    }

    fn tell(&mut self, key: &Key, news: News, now: Instant) {
        let Some(case) = self.cases.get_mut(key) else { return };
        if !case.running {
            case.hear(news, now);
        } else if case.news != Some(News::Changed) {
            case.news = Some(news);
        }
    }

    /// A try to be made is under way when this returns.
    pub fn step(&mut self, key: &Key, now: Instant) -> Step {
        let Some(case) = self.cases.get_mut(key) else { return Step::Nothing };
        if case.running {
            return Step::UnderWay;
        }
        if now < case.due {
            return Step::Wait(case.due);
        }
        case.running = true;
        Step::Try
    }

    /// Begins a try out of turn: its node returns. False when one is under way.
    pub fn begin(&mut self, key: &Key, now: Instant) -> bool {
        let case = self.cases.entry(key.clone()).or_insert_with(|| Case::new(now));
        !std::mem::replace(&mut case.running, true)
    }

    /// True when the index is as it should be; false when more was missed while it was tried.
    pub fn succeeded(&mut self, key: &Key, now: Instant) -> bool {
        let Some(case) = self.cases.get_mut(key) else { return true };
        if case.news == Some(News::Changed) {
            *case = Case { since: case.since, ..Case::new(now) };
            return false;
        }
        self.cases.remove(key);
        true
    }

    /// The next try comes later each time, unless there was news meanwhile.
    pub fn failed(&mut self, key: &Key, now: Instant, refusal: String) {
        let Some(case) = self.cases.get_mut(key) else { return };
        case.running = false;
        case.tries = case.tries.saturating_add(1);
        case.refusal = Some(refusal);
        case.ended = now;
        case.due = now + case.pause();
        if let Some(news) = case.news.take() {
            case.hear(news, now);
        }
    }

    /// True when a try that is under way may be about the past.
    pub fn has_news(&self, key: &Key) -> bool {
        self.cases.get(key).is_some_and(|case| case.news == Some(News::Changed))
    }

    /// It is repaired, or not to be any more.
    pub fn forget(&mut self, key: &Key) {
        self.cases.remove(key);
    }

    /// `None` for what nothing is wrong with.
    pub fn of(&self, key: &Key) -> Option<&Case> {
        self.cases.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        (NodeId::new("node-0"), "shops".to_owned())
    }

    /// Fails every try until `end`, and says when they were made.
    fn tries(
        board: &mut Board,
        begin: Instant,
        end: Duration,
        mut each_second: impl FnMut(&mut Board, Instant),
    ) -> Vec<u64> {
        let mut tried = Vec::new();
        for second in 0..end.as_secs() {
            let now = begin + Duration::from_secs(second);
            each_second(board, now);
            if board.step(&key(), now) == Step::Try {
                tried.push(second);
                board.failed(&key(), now, "no".to_owned());
            }
        }
        tried
    }

    #[test]
    fn an_hour_of_refusals_costs_a_handful_of_tries() {
        let (mut board, begin) = (Board::default(), Instant::now());
        board.missed(&key(), begin);
        let tried = tries(&mut board, begin, Duration::from_secs(3600), |_, _| {});
        assert_eq!(tried[..10], [0, 1, 3, 7, 15, 31, 63, 127, 255, 511]);
        assert_eq!(tried.len(), 20, "every five minutes from then on: {tried:?}");
    }

    #[test]
    fn a_client_that_writes_all_the_time_causes_no_more_than_a_try_every_ten_seconds() {
        let (mut board, begin) = (Board::default(), Instant::now());
        board.missed(&key(), begin);
        let tried = tries(&mut board, begin, Duration::from_secs(100), |board, now| {
            board.hear("shops", News::Written, now);
            board.hear("other", News::Changed, now);
        });
        assert_eq!(tried, [0, 1, 3, 7, 15, 25, 35, 45, 55, 65, 75, 85, 95]);
    }

    #[test]
    fn a_change_of_the_settings_is_tried_at_once_and_begins_the_pauses_anew() {
        let (mut board, begin) = (Board::default(), Instant::now());
        board.missed(&key(), begin);
        tries(&mut board, begin, Duration::from_secs(400), |_, _| {});
        let later = begin + Duration::from_secs(400);
        assert!(matches!(board.step(&key(), later), Step::Wait(_)));
        assert!(board.hear("shops", News::Changed, later));
        assert_eq!(tries(&mut board, later, Duration::from_secs(8), |_, _| {}), [0, 1, 3, 7]);
    }

    #[test]
    fn what_is_missed_during_a_try_is_tried_for() {
        let (mut board, now) = (Board::default(), Instant::now());
        board.missed(&key(), now);
        assert_eq!(board.step(&key(), now), Step::Try);
        assert_eq!(board.step(&key(), now), Step::UnderWay);
        assert!(!board.begin(&key(), now));
        board.missed(&key(), now);
        assert!(!board.succeeded(&key(), now), "it succeeded with what was wanted before");
        assert_eq!(board.step(&key(), now), Step::Try);
        assert!(board.succeeded(&key(), now));
        assert_eq!(board.step(&key(), now), Step::Nothing);
    }

    #[test]
    fn a_node_that_comes_up_during_a_try_is_heeded_after_it() {
        let (mut board, begin) = (Board::default(), Instant::now());
        board.missed(&key(), begin);
        tries(&mut board, begin, Duration::from_secs(600), |_, _| {});
        let now = begin + Duration::from_secs(2000);
        assert_eq!(board.step(&key(), now), Step::Try);
        board.hear_all(now);
        board.failed(&key(), now, "nobody is there to compare with".to_owned());
        assert_eq!(board.step(&key(), now), Step::Wait(now + LONGEST_TOUCHED));
    }

    #[test]
    fn a_write_during_a_try_that_fails_is_heeded_after_it() {
        let (mut board, begin) = (Board::default(), Instant::now());
        board.missed(&key(), begin);
        tries(&mut board, begin, Duration::from_secs(600), |_, _| {});
        let now = begin + Duration::from_secs(2000);
        assert_eq!(board.step(&key(), now), Step::Try);
        board.hear("shops", News::Written, now);
        board.failed(&key(), now, "no".to_owned());
        assert_eq!(board.step(&key(), now), Step::Wait(now + LONGEST_TOUCHED));
        assert_eq!(board.of(&key()).and_then(|case| case.refusal.as_deref()), Some("no"));
    }
}
