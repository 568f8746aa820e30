//! A follower: asks the leader again and again, goes by what it is told, and knows for how long that is good.
//!
//! Each view is a topology of its own, also where only keys or indexes changed. So the topology that a request holds says which view it goes
//! by, and whether somebody still holds it says whether a request does. What a follower cannot reach it does not conclude anything
//! from: how nodes are is the leader's to say, and its own reads ask other replicas meanwhile.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use super::clock::Clock;
use super::lease::Lease;
use super::seldom::Seldom;
use super::talk::{Answer, AskLeader, PROTOCOL, Question};
use super::view::{Update, ViewNumber, WrongView};
use crate::ledger::Ledger;
use crate::nodes::health;
use crate::nodes::shutdown::stopped;
use crate::placement::topology::Topology;

/// How long an answer may take where nothing is new and no lease is about to end. Short, so that of a lease two seconds are always left: a
/// pause of this process that is shorter costs nothing.
const PATIENCE: Duration = Duration::from_millis(500);
/// How much longer is waited for it.
const ON_ITS_WAY: Duration = Duration::from_millis(700);
/// The same where no view is good: there is time, and a first view is long.
const FIRST: Duration = Duration::from_secs(3);
/// Between two questions of which the first had no use.
const PAUSE: Duration = Duration::from_millis(100);
/// The same after an answer that makes no sense.
const PAUSE_AFTER_WRONG: Duration = Duration::from_secs(1);

/// Takes over the keys; the error says why they cannot be read.
pub type TakeKeys = Box<dyn Fn(&[Value]) -> Result<(), String> + Send + Sync>;

/// Promises not to lead for a while, where the database is not reached.
pub type Promise = Box<dyn Fn() -> bool + Send + Sync>;

/// How this gateway calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// As operators do.
    pub gateway: String,
    /// Of the program.
    pub version: String,
}

/// Goes by the views of the leader.
pub struct Follower {
    ledger: Arc<Ledger>,
    take_keys: TakeKeys,
    clock: Clock,
    name: Name,
    process: Uuid,
    promise: OnceLock<Promise>,
    state: Mutex<State>,
    /// The view that is gone by.
    has: watch::Sender<Option<ViewNumber>>,
    /// No answer came.
    unanswered: Seldom,
    /// Whoever leads speaks another protocol.
    foreign: Seldom,
}

#[derive(Default)]
struct State {
    lease: Lease,
    turn: u64,
    /// Of the last answer that came.
    taken: u64,
    /// The last question had no answer, or none of use.
    in_vain: bool,
    /// The topologies of views that requests may hold, in their order; the last one is that of now.
    in_hand: Vec<InHand>,
}

/// The topology of a view.
struct InHand {
    topology: Weak<Topology>,
    /// Of the topology, here.
    epoch: u64,
    number: ViewNumber,
    /// When the next one came.
    superseded: Option<Duration>,
}

// === impl Follower ===

impl Follower {
    /// `ledger` is an empty one, of which nothing runs: all that reads go by is told. `clock` goes on while the machine is suspended, as
    /// [`super::clock::since_boot`] does.
    pub fn new(ledger: Arc<Ledger>, name: Name, take_keys: TakeKeys, clock: Clock) -> Arc<Self> {
        ledger.nodes.follow();
        Arc::new(Self {
            ledger,
            take_keys,
            clock,
            name,
            process: Uuid::new_v4(),
            promise: OnceLock::new(),
            state: Mutex::default(),
            has: watch::Sender::new(None),
            unanswered: Seldom::default(),
            foreign: Seldom::default(),
        })
    }

    /// With each question it promises the leader so, where it can. Said once.
    pub fn promises_by(&self, promise: Promise) {
        assert!(self.promise.set(promise).is_ok(), "it is known already what it promises by");
    }

    /// The view that requests go by from now on; `None` before the first.
    pub fn has(&self) -> Option<ViewNumber> {
        *self.has.borrow()
    }

    /// Returns when there is a view, good or not any more.
    pub async fn has_any(&self) {
        // This holds the sender.
        let _ = self.has.subscribe().wait_for(Option::is_some).await;
    }

    /// True while the view of now is good. Else a request may not be answered by it without saying so.
    pub fn is_leased(&self) -> bool {
        self.state.lock().lease.is_on((self.clock)())
    }

    /// For how long the view of now is still good.
    pub fn lease_left(&self) -> Duration {
        self.state.lock().lease.left((self.clock)())
    }

    /// True when what was planned by `topology` may be answered now: asked when all of the answer is there. Else it is to be planned again,
    /// by the topology of now.
    pub fn holds(&self, topology: &Topology) -> bool {
        let state = self.state.lock();
        let now = (self.clock)();
        let view = state.in_hand.iter().find(|view| view.epoch == topology.epoch);
        view.is_some_and(|view| {
            // The leader waits no longer than reads may take.
            let in_time =
                view.superseded.is_none_or(|then| now.saturating_sub(then) < self.ledger.nodes.longest_read());
            in_time && state.lease.holds(view.number, now)
        })
    }

    /// Asks until `shutdown`.
    pub async fn run(self: Arc<Self>, leader: Box<dyn AskLeader>, mut shutdown: watch::Receiver<bool>) {
        loop {
            let pause = tokio::select! {
                pause = self.turn(leader.as_ref()) => pause,
                _ = stopped(&mut shutdown) => return,
            };
            if pause.is_zero() {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopped(&mut shutdown) => return,
            }
        }
    }

    /// One question; how long to wait before the next.
    async fn turn(&self, leader: &dyn AskLeader) -> Duration {
        let (sent, question) = self.question();
        let limit = Duration::from_millis(question.may_take) + if self.is_leased() { ON_ITS_WAY } else { FIRST };
        let answer = match tokio::time::timeout(limit, leader.ask(&question)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                if let Some(untold) = self.unanswered.note((self.clock)()) {
                    tracing::warn!(%error, untold, "the leader lends no view");
                }
                self.state.lock().in_vain = true;
                return PAUSE;
            }
            Err(_) => {
                tracing::debug!(?limit, "the leader does not answer");
                self.state.lock().in_vain = true;
                return Duration::ZERO;
            }
        };
        let taken = self.take(answer, sent);
        self.state.lock().in_vain = !matches!(taken, Taken::Lent);
        match taken {
            Taken::Lent | Taken::Noted => Duration::ZERO,
            Taken::Nothing => PAUSE,
            Taken::Wrong(error) => {
                tracing::error!(%error, "what the leader tells is not gone by");
                PAUSE_AFTER_WRONG
            }
        }
    }

    /// What is asked next, and the moment from which its answer counts.
    pub fn question(&self) -> (Duration, Question) {
        let mut state = self.state.lock();
        state.turn += 1;
        state.in_hand.retain(|view| view.topology.strong_count() > 0);
        // Before the question is made: what it says is sent no earlier.
        let sent = (self.clock)();
        let may_take = if state.in_vain { Duration::ZERO } else { PATIENCE.min(state.lease.left(sent) / 2) };
        let question = Question {
            protocol: PROTOCOL,
            process: self.process,
            gateway: self.name.gateway.clone(),
            version: self.name.version.clone(),
            turn: state.turn,
            taken: state.taken,
            has: state.lease.has(),
            oldest: state.in_hand.first().map(|view| view.number),
            may_take: millis(may_take),
            longest_read: millis(self.ledger.nodes.longest_read()),
            promises: self.promise.get().is_some_and(|promise| promise()),
        };
        (sent, question)
    }

    /// Goes by the answer to the last question, which was sent at `sent`.
    pub fn take(&self, answer: Answer, sent: Duration) -> Taken {
        let mut state = self.state.lock();
        state.taken = state.turn;
        let number = match answer {
            Answer::View(update) => {
                let before = state.lease.has();
                match self.install(&mut state, before, &update) {
                    Ok(()) => update.number,
                    Err(error) => return Taken::Wrong(error),
                }
            }
            Answer::Same => match state.lease.has() {
                Some(number) => number,
                None => return Taken::Nothing,
            },
            Answer::OtherProtocol { protocol } => {
                if let Some(untold) = self.foreign.note((self.clock)()) {
                    let why = "the leader's version speaks another protocol to gateways: this one gets no view of it";
                    tracing::error!(protocol, own = PROTOCOL, untold, "{why}");
                }
                return Taken::Nothing;
            }
            Answer::Again => return Taken::Noted,
            Answer::NotYet | Answer::NotLeading | Answer::Overtaken => return Taken::Nothing,
        };
        state.lease.lend(number, sent, (self.clock)());
        drop(state);
        self.has.send_if_modified(|has| has.replace(number) != Some(number));
        Taken::Lent
    }

    /// The topology last: a request that has it finds the rest no older.
    fn install(&self, state: &mut State, before: Option<ViewNumber>, update: &Update) -> Result<(), WrongView> {
        if before >= Some(update.number) {
            return Err(WrongView::Older);
        }
        let nodes = &self.ledger.nodes;
        let is_new_leader = before.is_none_or(|before| before.epoch != update.number.epoch);
        if is_new_leader {
            complete(update)?;
        }
        // Nothing is taken over of a view that cannot be taken over as a whole.
        let restored = update.topology.as_ref().map(|told| told.restore(&nodes.topology())).transpose()?;
        if let Some(keys) = &update.keys {
            (self.take_keys)(keys).map_err(WrongView::Keys)?;
        }
        if let Some(versions) = &update.versions {
            nodes.versions.replace(versions.as_ref().clone());
        }
        if let Some(refusals) = &update.refusals {
            self.ledger.refusals.replace(refusals.as_ref().clone());
        }
        if let Some(indexes) = &update.indexes {
            self.ledger.registry.replace(indexes, is_new_leader);
        }
        for told in update.topology.iter().flat_map(|topology| &topology.nodes) {
            nodes.life.expect(&told.id, told.prospects);
        }
        let installed =
            health::install(nodes, |current| Ok::<_, WrongView>(restored.unwrap_or_else(|| current.clone())))?;
        let now = (self.clock)();
        if let Some(last) = state.in_hand.last_mut() {
            last.superseded = Some(now);
        }
        let (topology, epoch) = (Arc::downgrade(&installed), installed.epoch);
        state.in_hand.push(InHand { topology, epoch, number: update.number, superseded: None });
        Ok(())
    }
}

/// What became of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// The view of now is lent.
    Lent,
    /// The next one will lend something, once the leader knows that this one came.
    Noted,
    /// It says nothing new, and lends nothing.
    Nothing,
    Wrong(WrongView),
}

fn complete(update: &Update) -> Result<(), WrongView> {
    let parts = [
        ("topology", update.topology.is_some()),
        ("indexes", update.indexes.is_some()),
        ("keys", update.keys.is_some()),
        ("refused settings", update.refusals.is_some()),
        ("versions", update.versions.is_some()),
    ];
    match parts.iter().find(|(_, is_there)| !is_there) {
        Some((part, _)) => Err(WrongView::Incomplete(part)),
        None => Ok(()),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
