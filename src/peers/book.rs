//! What the leader knows of followers, and for whom it waits. Pure: the time is an argument.
//!
//! Two rules of waiting, and why they are enough.
//!
//! *Heard.* A change made the view `n`. From then on each answer brings `n` or a later one, so a follower that has not said that it has `n`
//! goes by an older view no longer than what was lent it *before*. So it is waited for until it says so, or until that time is over; what
//! is lent it later does not count, or one that asks and never gets its answers would be waited for without an end.
//!
//! *Quiet.* It goes by `n`, but a request that began before may still go by an older view, for as long as the follower has any lease at all.
//! So the newest time counts here. The end is the time that reads have at most: the follower gives up a request of an older
//! view that takes longer.
//!
//! Example, in seconds: B has view 7, lent at 10 until 13. At 11 a mark makes 8. At 11.2 B's question comes (has 7), it is answered with
//! 8 until 14.2, and the answer is lost. Heard is waited for until 13 and the margin: B goes by 7 no longer than that, and should it
//! get the answer after all, by 8.
//!
//! A follower whose answers get lost is lent nothing more until it says that one has come ([`Asked::Unheard`]): each change would be waited
//! for as long as the first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::talk::Question;
use super::view::ViewNumber;
use super::{LEASE, MARGIN};

/// A follower that nothing was heard of for so long is forgotten.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The followers, by their processes.
#[derive(Debug, Default)]
pub struct Book {
    followers: BTreeMap<Uuid, Entry>,
}

/// What is known of a follower.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// As it has said last.
    pub said: Question,
    /// When that was.
    pub asked: Instant,
    /// The turn of the last answer that was sent.
    answered: u64,
    /// When it was, by the clock of promises.
    answered_at: Option<Duration>,
    /// Until when it may go by a view, if it gets each answer at once.
    pub lent_until: Instant,
}

/// What a question comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It is to be answered.
    InTurn,
    /// The last answer has not come: nothing is lent with the next one.
    Unheard,
    /// A later question of the same process came before it.
    Overtaken,
}

/// Who is waited for until it has heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hearing {
    target: ViewNumber,
    /// Until when each goes by what was lent it before.
    awaited: BTreeMap<Uuid, Instant>,
}

/// Who is waited for until none of its requests is older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quieting {
    target: ViewNumber,
    awaited: BTreeMap<Uuid, Older>,
}

/// How far a follower's requests are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Older {
    /// It may still begin some, until then at the latest.
    Begin { until: Instant },
    /// They are given up then.
    End { by: Instant },
}

/// Whether somebody is still waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    Over,
    /// Until somebody says something, or until then.
    Until(Instant),
}

// === impl Book ===

impl Book {
    /// A question has come.
    pub fn asked(&mut self, question: Question, now: Instant) -> Asked {
        self.followers.retain(|_, known| now < known.lent_until + REMEMBERED);
        match self.followers.get_mut(&question.process) {
            Some(known) if question.turn <= known.said.turn => Asked::Overtaken,
            Some(known) => {
                let unheard = question.taken < known.answered;
                known.said = question;
                known.asked = now;
                if unheard { Asked::Unheard } else { Asked::InTurn }
            }
            None => {
                let entry = Entry { said: question, asked: now, answered: 0, answered_at: None, lent_until: now };
                self.followers.insert(entry.said.process, entry);
                Asked::InTurn
            }
        }
    }

    /// The question of this turn is being answered; false where another one came since.
    pub fn answer(&mut self, process: Uuid, turn: u64) -> bool {
        match self.followers.get_mut(&process) {
            Some(known) if known.said.turn == turn => {
                known.answered = turn;
                true
            }
            Some(_) | None => false,
        }
    }

    /// The last answer is sent at `at` or later.
    pub fn answers_at(&mut self, process: Uuid, at: Duration) {
        if let Some(known) = self.followers.get_mut(&process) {
            known.answered_at = Some(at);
        }
    }

    /// Since when a follower keeps the promise that its last question brings: that was made when it had the last answer, so later than
    /// that was sent.
    pub fn promised_since(&self, process: Uuid) -> Option<Duration> {
        let known = self.followers.get(&process)?;
        (known.said.promises && known.said.taken == known.answered).then_some(known.answered_at).flatten()
    }

    /// [`Book::answer`], with the newest view.
    pub fn lend(&mut self, process: Uuid, turn: u64, now: Instant) -> bool {
        let is_answered = self.answer(process, turn);
        if let Some(known) = self.followers.get_mut(&process).filter(|_| is_answered) {
            known.lent_until = now + LEASE;
        }
        is_answered
    }

    /// True when a follower has said that it goes by `target`, or a later view.
    pub fn has(&self, process: Uuid, target: ViewNumber) -> bool {
        self.followers.get(&process).is_some_and(|known| known.has(target))
    }

    /// Who may go by a view.
    pub fn live(&self, now: Instant) -> BTreeSet<Uuid> {
        self.followers.iter().filter(|(_, known)| known.goes_on(now)).map(|(process, _)| *process).collect()
    }

    /// All that is known, by name.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.followers.values().cloned().collect();
        entries.sort_by(|one, other| one.said.gateway.cmp(&other.said.gateway));
        entries
    }

    /// Whom to wait for until all go by `target`, which is the view of now.
    pub fn hearing(&self, target: ViewNumber, now: Instant) -> Hearing {
        let lacks = self.followers.iter().filter(|(_, known)| known.goes_on(now) && !known.has(target));
        Hearing { target, awaited: lacks.map(|(process, known)| (*process, known.over_at())).collect() }
    }

    /// Whom to wait for until no request is older than `target`, which is the view of now.
    pub fn quieting(&self, target: ViewNumber, now: Instant) -> Quieting {
        let live = self.followers.iter().filter(|(_, known)| known.goes_on(now));
        let begin = |(process, known): (&Uuid, &Entry)| (*process, Older::Begin { until: known.over_at() });
        Quieting { target, awaited: live.map(begin).collect() }
    }
}

// === impl Entry ===

impl Entry {
    fn has(&self, target: ViewNumber) -> bool {
        self.said.has >= Some(target)
    }

    fn over_at(&self) -> Instant {
        self.lent_until + MARGIN
    }

    /// True while it may go by any view.
    fn goes_on(&self, now: Instant) -> bool {
        now < self.over_at()
    }

    fn longest_read(&self) -> Duration {
        Duration::from_millis(self.said.longest_read)
    }
}

// === impl Hearing ===

impl Hearing {
    /// Looks again.
    pub fn look(&mut self, book: &Book, now: Instant) -> Wait {
        let target = self.target;
        self.awaited.retain(|process, until| {
            now < *until && book.followers.get(process).is_some_and(|known| !known.has(target))
        });
        Wait::until(self.awaited.values().copied().min())
    }
}

// === impl Quieting ===

impl Quieting {
    /// Looks again.
    pub fn look(&mut self, book: &Book, now: Instant) -> Wait {
        let target = self.target;
        self.awaited.retain(|process, older| {
            let Some(known) = book.followers.get(process).filter(|known| known.goes_on(now)) else { return false };
            if let Older::Begin { until } = *older
                && (known.has(target) || now >= until)
            {
                *older = Older::End { by: now + known.longest_read() + MARGIN };
            }
            match older {
                Older::Begin { .. } => true,
                Older::End { by } => now < *by && !(known.has(target) && known.said.oldest >= Some(target)),
            }
        });
        let next = self.awaited.iter().map(|(process, older)| {
            let over = book.followers.get(process).map_or(now, Entry::over_at);
            match older {
                Older::Begin { until } => over.min(*until),
                Older::End { by } => over.min(*by),
            }
        });
        Wait::until(next.min())
    }
}

// === impl Wait ===

impl Wait {
    fn until(next: Option<Instant>) -> Self {
        next.map_or(Self::Over, Self::Until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::talk::PROTOCOL;

    const SECOND: Duration = Duration::from_secs(1);

    fn view(n: u64) -> ViewNumber {
        ViewNumber { epoch: 1, n }
    }

    fn says(process: u128, turn: u64, has: u64, oldest: u64) -> Question {
        Question {
            protocol: PROTOCOL,
            process: Uuid::from_u128(process),
            gateway: format!("gw-{process}"),
            version: String::new(),
            turn,
            taken: turn - 1,
            has: Some(view(has)),
            oldest: Some(view(oldest)),
            may_take: 1000,
            longest_read: 20_000,
            promises: false,
        }
    }

    fn asks(book: &mut Book, question: Question, now: Instant) {
        let (process, turn) = (question.process, question.turn);
        assert_eq!(book.asked(question, now), Asked::InTurn);
        assert!(book.lend(process, turn, now));
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_waited_for_as_long_as_it_was_lent_a_view_before() {
        let (mut book, start) = (Book::default(), Instant::now());
        asks(&mut book, says(1, 1, 7, 7), start);
        let mut hearing = book.hearing(view(8), start + SECOND);
        assert_eq!(hearing.look(&book, start + SECOND), Wait::Until(start + LEASE + MARGIN));
        // It asks again and again, and says that it has what it had: its answers are lost.
        for turn in 2..5 {
            asks(&mut book, says(1, turn, 7, 7), start + SECOND * 2);
        }
        assert_eq!(hearing.look(&book, start + SECOND * 2), Wait::Until(start + LEASE + MARGIN));
        assert_eq!(hearing.look(&book, start + LEASE + MARGIN), Wait::Over);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_heard_is_not_waited_for_nor_whose_time_is_over() {
        let (mut book, start) = (Book::default(), Instant::now());
        asks(&mut book, says(1, 1, 8, 7), start);
        asks(&mut book, says(2, 1, 6, 6), start);
        let later = start + SECOND;
        asks(&mut book, says(3, 1, 7, 7), later);
        let mut hearing = book.hearing(view(8), start + LEASE + MARGIN);
        assert_eq!(hearing.look(&book, start + LEASE + MARGIN), Wait::Until(later + LEASE + MARGIN));
        asks(&mut book, says(3, 2, 8, 7), start + LEASE + MARGIN);
        assert_eq!(hearing.look(&book, start + LEASE + MARGIN), Wait::Over);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_goes_by_an_older_view_is_waited_for_until_it_is_given_up() {
        let (mut book, start) = (Book::default(), Instant::now());
        asks(&mut book, says(1, 1, 8, 7), start);
        let mut quieting = book.quieting(view(8), start);
        let by = start + SECOND * 20 + MARGIN;
        assert_eq!(quieting.look(&book, start), Wait::Until(start + LEASE + MARGIN), "or until it is heard of no more");
        for turn in 2..20 {
            let now = start + SECOND * turn as u32;
            asks(&mut book, says(1, turn, 8 + turn, 7), now);
            assert_ne!(quieting.look(&book, now), Wait::Over);
        }
        asks(&mut book, says(1, 20, 28, 7), by);
        assert_eq!(quieting.look(&book, by), Wait::Over);
        let mut quieting = book.quieting(view(28), by);
        assert_ne!(quieting.look(&book, by), Wait::Over);
        asks(&mut book, says(1, 21, 28, 28), by);
        assert_eq!(quieting.look(&book, by), Wait::Over);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_goes_on_keeps_older_requests_alive_and_its_end_ends_them() {
        let (mut book, start) = (Book::default(), Instant::now());
        asks(&mut book, says(1, 1, 7, 7), start);
        let mut quieting = book.quieting(view(8), start);
        // It has got view 8, and was lent it; that it says so gets lost.
        asks(&mut book, says(1, 2, 7, 7), start + SECOND * 2);
        assert_ne!(
            quieting.look(&book, start + LEASE + MARGIN),
            Wait::Over,
            "a request of 7 may go on by the newer lease"
        );
        assert_eq!(quieting.look(&book, start + SECOND * 2 + LEASE + MARGIN), Wait::Over);
    }

    #[tokio::test(start_paused = true)]
    async fn a_promise_counts_from_the_answer_that_came_before_it() {
        let (mut book, start, process) = (Book::default(), Instant::now(), Uuid::from_u128(1));
        let promises = |turn: u64| Question { promises: true, ..says(1, turn, 7, 7) };
        asks(&mut book, promises(1), start);
        assert_eq!(book.promised_since(process), None, "nobody knows how old it is");
        book.answers_at(process, SECOND);
        asks(&mut book, promises(2), start);
        // Its answer is sent later than the question came, so what was asked is settled first.
        book.answers_at(process, SECOND * 9);
        assert_eq!(book.asked(promises(3), start), Asked::InTurn);
        assert_eq!(book.promised_since(process), Some(SECOND * 9));
        assert_eq!(book.asked(Question { taken: 1, ..promises(4) }, start), Asked::Unheard);
        assert_eq!(book.promised_since(process), None, "it has not had the last answer");
        assert_eq!(book.asked(Question { taken: 2, ..says(1, 5, 7, 7) }, start), Asked::InTurn);
        assert_eq!(book.promised_since(process), None, "it promises nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_answers_is_lent_nothing_more() {
        let (mut book, start) = (Book::default(), Instant::now());
        let process = Uuid::from_u128(1);
        asks(&mut book, says(1, 1, 7, 7), start);
        asks(&mut book, says(1, 2, 7, 7), start);
        let lost = |turn: u64| Question { taken: 1, ..says(1, turn, 7, 7) };
        for turn in 3..6 {
            assert_eq!(book.asked(lost(turn), start), Asked::Unheard);
            assert!(book.answer(process, turn));
        }
        assert_eq!(book.asked(says(1, 6, 7, 7), start), Asked::InTurn, "the last one came");
        // Nobody answered this one; so none got lost.
        assert_eq!(book.asked(Question { taken: 5, ..says(1, 7, 7, 7) }, start), Asked::InTurn);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_was_overtaken_changes_nothing() {
        let (mut book, start) = (Book::default(), Instant::now());
        asks(&mut book, says(1, 5, 8, 8), start);
        assert_eq!(book.asked(says(1, 4, 7, 7), start + SECOND), Asked::Overtaken);
        assert!(!book.lend(Uuid::from_u128(1), 4, start + SECOND), "its answer lends nothing");
        assert_eq!(book.hearing(view(8), start + SECOND).look(&book, start + SECOND), Wait::Over);
        // Another process of the same name is another follower.
        asks(&mut book, Question { gateway: "gw-1".to_owned(), ..says(2, 1, 7, 7) }, start);
        assert_ne!(book.hearing(view(8), start).look(&book, start), Wait::Over);
        assert_eq!(book.entries().len(), 2);
        book.asked(says(3, 1, 8, 8), start + REMEMBERED * 2);
        assert_eq!(book.entries().len(), 1, "who is gone for long is forgotten");
    }
}
