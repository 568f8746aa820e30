//! The leader: makes the view, answers the questions of followers, and waits for them.
//!
//! Who asks is answered at once with what is new, or once something is, or that nothing is in time for the lease. Nothing is held while
//! this waits. What an answer says and what it lends are one moment under the lock of the [`Book`]: whoever then waits for a change either
//! finds that the follower was lent an older view, or the answer has the change in it already.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::book::{Asked, Book, Entry, Hearing, Quieting, Wait};
use super::clock::Clock;
use super::former::{self, Former};
use super::sections::{Changes, Keys, Sections};
use super::talk::{Answer, PROTOCOL, Question};
use super::view::ViewNumber;
use crate::ledger::Ledger;
use crate::nodes::elsewhere::{Elsewhere, Told};
use crate::nodes::health::{self, Need};
use crate::store::StoreError;

/// How long an answer may take where nothing is new. A lease is renewed in time if one answer gets lost.
const LONGEST_ANSWER: Duration = Duration::from_secs(1);
/// The same while somebody waits for the requests of followers to end.
const URGENT_ANSWER: Duration = Duration::from_millis(20);

/// True while this gateway may go by its being the leader.
pub type Trusted = Box<dyn Fn() -> bool + Send + Sync>;

/// Takes what followers promise.
pub struct Promised {
    /// Goes on while the machine is suspended.
    pub clock: Clock,
    /// A gateway has promised not to lead for a while, at that time or later.
    pub take: Box<dyn Fn(&str, Duration) + Send + Sync>,
}

/// Tells other gateways what their reads go by.
pub struct Publisher {
    ledger: Arc<Ledger>,
    keys: Keys,
    epoch: i64,
    trusted: Trusted,
    promised: OnceLock<Promised>,
    former: Former,
    changes: watch::Sender<Changes>,
    sections: Mutex<Sections>,
    book: Mutex<Book>,
    /// Told of each question.
    questions: watch::Sender<()>,
    /// How many wait for requests of followers to end.
    urgent: watch::Sender<usize>,
    lends: watch::Sender<Lends>,
}

/// Whether views are lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lends {
    NotYet,
    Yes,
    NoMore,
}

/// Until it is dropped followers are asked to say soon what their requests go by.
struct Urgent<'a>(&'a watch::Sender<usize>);

// === impl Publisher ===

impl Publisher {
    /// Leads from now on, by a lease of this `epoch`: it has been won already. To be made before anything of the cluster runs, or that waits
    /// for nobody. What waits for followers waits for those of former leaders first. Lends nothing before [`Publisher::open`].
    ///
    /// `trusted` says whether this gateway may still go by its lease; `keys` makes the records of all keys.
    pub fn new(ledger: Arc<Ledger>, epoch: i64, keys: Keys, trusted: Trusted) -> Arc<Self> {
        Self::after(Former::anybody(), ledger, epoch, keys, trusted)
    }

    /// [`Publisher::new`], where it may be known who has views of before: [`Former::load`].
    pub fn after(former: Former, ledger: Arc<Ledger>, epoch: i64, keys: Keys, trusted: Trusted) -> Arc<Self> {
        let publisher = Arc::new(Self {
            ledger,
            keys,
            epoch,
            trusted,
            promised: OnceLock::new(),
            former,
            changes: watch::Sender::default(),
            sections: Mutex::default(),
            book: Mutex::default(),
            questions: watch::Sender::new(()),
            urgent: watch::Sender::new(0),
            lends: watch::Sender::new(Lends::NotYet),
        });
        publisher.ledger.nodes.elsewhere.are(Arc::clone(&publisher) as Arc<dyn Elsewhere>);
        publisher
    }

    /// Followers may promise something, too. Said once, before anybody asks.
    pub fn hears_promises(&self, promised: Promised) {
        assert!(self.promised.set(promised).is_ok(), "it is known already who takes promises");
    }

    /// Lends views from now on. Before, followers go on by what they had, as those do who hear of no leader.
    pub fn open(&self) {
        self.lends.send_if_modified(|lends| match lends {
            Lends::NotYet => {
                *lends = Lends::Yes;
                true
            }
            Lends::Yes | Lends::NoMore => false,
        });
    }

    /// [`Publisher::open`], once each node was looked at, or has had its time: in the first topology after a start nobody serves.
    pub async fn open_when_ready(&self) {
        health::wait_for(&self.ledger.nodes, Need::Reads).await;
        self.open();
    }

    /// Returns when nobody goes by a view of a leader before this one. All that waits for followers waits for this by itself.
    pub async fn former_views_are_over(&self) {
        if !self.former.is_over(Instant::now()) {
            self.wait(|book, now| self.former.look(book, self.epoch, now)).await;
        }
    }

    /// Lends nothing more, and leaves word for the next leader. To be awaited before the lease is given up; the next one then waits only for
    /// those that it is told of.
    ///
    /// # Errors
    ///
    /// When the word cannot be stored: the next leader waits for anybody, then.
    pub async fn resign(&self) -> Result<(), StoreError> {
        let followers = {
            // Under this lock views are lent: none is from here on.
            let book = self.book.lock();
            self.lends.send_replace(Lends::NoMore);
            book.live(Instant::now())
        };
        former::leave_word(self.ledger.store.as_ref(), self.epoch, followers).await
    }

    /// The view of now.
    pub fn number(&self) -> ViewNumber {
        ViewNumber { epoch: self.epoch, n: self.changes.borrow().n }
    }

    /// What is known of followers, by name: for operators.
    pub fn followers(&self) -> Vec<Entry> {
        self.book.lock().entries()
    }

    /// Answers a follower, at once or when something is new.
    pub async fn answer(&self, question: Question) -> Answer {
        if question.protocol != PROTOCOL {
            return Answer::OtherProtocol { protocol: PROTOCOL };
        }
        if question.has.is_some_and(|has| has.epoch > self.epoch) {
            return Answer::NotLeading;
        }
        let (process, turn, has, gateway) = (question.process, question.turn, question.has, question.gateway.clone());
        let may_take = Duration::from_millis(question.may_take).min(LONGEST_ANSWER);
        let (asked, since) = {
            let mut book = self.book.lock();
            let asked = book.asked(question, Instant::now());
            (asked, book.promised_since(process).filter(|_| asked != Asked::Overtaken))
        };
        if let (Some(since), Some(promised)) = (since, self.promised.get()) {
            (promised.take)(&gateway, since);
        }
        self.questions.send_replace(());
        match asked {
            Asked::InTurn => {}
            Asked::Unheard => {
                let is_answered = self.answered(&mut self.book.lock(), process, turn);
                return if is_answered { Answer::Again } else { Answer::Overtaken };
            }
            Asked::Overtaken => return Answer::Overtaken,
        }
        self.something_new(has, may_take).await;
        let mut book = self.book.lock();
        let lends = *self.lends.borrow();
        // Asked last: what is lent is counted by the follower from before this moment.
        if lends != Lends::Yes || !(self.trusted)() {
            let answer = if lends == Lends::NotYet { Answer::NotYet } else { Answer::NotLeading };
            return if self.answered(&mut book, process, turn) { answer } else { Answer::Overtaken };
        }
        let changes = *self.changes.borrow();
        let number = ViewNumber { epoch: self.epoch, n: changes.n };
        let answer = if has == Some(number) {
            Answer::Same
        } else {
            let update = self.sections.lock().update(number, has, &changes, &self.ledger, &self.keys);
            Answer::View(Box::new(update))
        };
        self.answered(&mut book, process, turn);
        if book.lend(process, turn, Instant::now()) { answer } else { Answer::Overtaken }
    }

    /// [`Book::answer`], at this moment.
    fn answered(&self, book: &mut Book, process: Uuid, turn: u64) -> bool {
        let is_answered = book.answer(process, turn);
        if let (true, Some(promised)) = (is_answered, self.promised.get()) {
            book.answers_at(process, (promised.clock)());
        }
        is_answered
    }

    /// Returns when the view is another one than `has`, or it is time to answer.
    async fn something_new(&self, has: Option<ViewNumber>, may_take: Duration) {
        let asked = Instant::now();
        let (mut changes, mut urgent, mut lends) =
            (self.changes.subscribe(), self.urgent.subscribe(), self.lends.subscribe());
        loop {
            let now_lends = *lends.borrow_and_update();
            let n = changes.borrow_and_update().n;
            let hurries = *urgent.borrow_and_update() > 0;
            let is_new = has != Some(ViewNumber { epoch: self.epoch, n });
            if now_lends == Lends::NoMore || (now_lends == Lends::Yes && is_new) {
                return;
            }
            let limit = asked + if hurries { may_take.min(URGENT_ANSWER) } else { may_take };
            tokio::select! {
                _ = changes.changed() => {}
                _ = urgent.changed() => {}
                _ = lends.changed() => {}
                () = tokio::time::sleep_until(limit) => return,
            }
        }
    }

    async fn wait(&self, mut look: impl FnMut(&Book, Instant) -> Wait) {
        let mut questions = self.questions.subscribe();
        loop {
            questions.mark_unchanged();
            let next = look(&self.book.lock(), Instant::now());
            let until = match next {
                Wait::Over => return,
                Wait::Until(until) => until,
            };
            tokio::select! {
                _ = questions.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }
}

#[async_trait]
impl Elsewhere for Publisher {
    fn changed(&self, what: Told) {
        self.changes.send_modify(|changes| changes.add(what));
    }

    async fn heard(&self) {
        self.former_views_are_over().await;
        let mut hearing: Option<Hearing> = None;
        let target = self.number();
        self.wait(|book, now| hearing.get_or_insert_with(|| book.hearing(target, now)).look(book, now)).await;
    }

    async fn quiet(&self) {
        self.former_views_are_over().await;
        let _urgent = Urgent::new(&self.urgent);
        let mut quieting: Option<Quieting> = None;
        let target = self.number();
        self.wait(|book, now| quieting.get_or_insert_with(|| book.quieting(target, now)).look(book, now)).await;
    }
}

// === impl Urgent ===

impl<'a> Urgent<'a> {
    fn new(urgent: &'a watch::Sender<usize>) -> Self {
        urgent.send_modify(|waiting| *waiting += 1);
        Self(urgent)
    }
}

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}
