//! Answers to reads, kept as long as nothing has changed. Equal reads that are under way are one.
//!
//! What is kept was read while its indexes were quiet (see [`crate::nodes::changes`]), by a topology of one epoch, and is shown
//! only while no change of them was sent to a node since, to requests of the same epoch: nothing that nodes hold can be another
//! then, so it is what they would answer now. The same holds for a request that joins one under way. Keys and tenant tokens are
//! looked at before, and what they restrict is part of what is asked.
//!
//! `processingTimeMs` and `requestUid` are those of the search that was carried out.
//!
//! | module | what lives there |
//! |---|---|
//! | `flight` | one read that others wait for |
//! | [`metrics`] | what is counted |
//! | `question` | what is asked, as the key of its answer |
//! | [`settings`] | what the operator sets |
//! | [`status`] | how an answer came about, as a header says it |
//! | [`wish`] | what a client says of kept answers |

mod flight;
pub mod metrics;
mod question;
pub mod settings;
pub mod status;
pub mod wish;

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter};

use self::flight::{Flights, Lead};
use self::metrics::CacheMetrics;
pub use self::question::Question;
use self::settings::CacheSettings;
use self::status::{Bypass, CacheStatus, Forward, Then};
use super::compress::Packed;
use super::respond::Answer;
use crate::ledger::Ledger;
use crate::meili::error::ResponseError;
use crate::nodes::changes::{Moment, look::look};
use crate::placement::topology::{NodeId, Topology};
use crate::read::Keeping;

/// What an entry takes besides the bytes of key and answer.
const ENTRY: u64 = 256;

/// So many bytes an answer is thought to have, for the size of tables alone.
const USUAL_ANSWER: u64 = 8 << 10;

/// Answers that are kept, and reads under way.
pub struct Cache {
    settings: CacheSettings,
    kept: quick_cache::sync::Cache<Question, Kept, ByBytes, DefaultHashBuilder, CountEvictions>,
    flights: Arc<Flights>,
    metrics: CacheMetrics,
}

/// An answer, and as long as what it is one.
#[derive(Clone)]
struct Kept {
    answer: Answer,
    epoch: u64,
    moment: Moment,
}

/// How a request goes on.
pub enum Entered {
    Answered(Result<Answer, ResponseError>),
    /// Nodes are to be asked.
    Asks(Turn),
}

/// A read that nodes are asked for. What comes of it is told at its end.
pub struct Turn {
    question: Question,
    why: Forward,
    /// `None`: nothing is kept of it.
    read: Option<Read>,
}

struct Read {
    began: Instant,
    epoch: u64,
    moment: Moment,
    /// `None` where the client wants an answer of its own.
    lead: Option<Lead>,
}

/// What a plan says of an answer to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// Another time the answer may be another, though nothing has changed.
    Once,
    /// It depends on other indexes than are asked for, which may have changed since it began: nobody else may have it.
    Own,
    Lasts,
    /// If it took less: a node that runs out of time answers with what it has found by then.
    LastsIfWithin(Duration),
}

/// Weighs a key and an answer twice: once packed, once not.
#[derive(Clone)]
struct ByBytes;

#[derive(Clone)]
struct CountEvictions(CacheMetrics);

// === impl Cache ===

impl Cache {
    /// Empty; with a size of 0 it stays so.
    pub fn new(settings: CacheSettings, metrics: CacheMetrics) -> Self {
        let items = usize::try_from(settings.size / USUAL_ANSWER).unwrap_or(usize::MAX).max(1);
        let evictions = CountEvictions(metrics.clone());
        let kept =
            quick_cache::sync::Cache::with(items, settings.size, ByBytes, DefaultHashBuilder::default(), evictions);
        Self { settings, kept, flights: Arc::default(), metrics }
    }

    /// False where no answer is kept.
    pub fn is_on(&self) -> bool {
        self.settings.size > 0
    }

    /// Looks for an answer to `question` that is there, or on its way.
    pub async fn enter(&self, ledger: &Ledger, topology: &Topology, question: Question) -> Entered {
        if question.bytes() > self.settings.largest_answer {
            return Entered::Asks(Turn { question, why: Forward::Bypass(Bypass::Long), read: None });
        }
        loop {
            let why = match self.find(&question, topology.epoch) {
                Ok(answer) => return self.answered(Ok(answer), CacheStatus::Hit),
                Err(why) => why,
            };
            if !question.wish.fresh
                && let Some(flight) = self.flights.under_way(&question, topology.epoch)
            {
                match flight.ends().await {
                    Some(result) => {
                        return self.answered(result, CacheStatus::Forwarded { why, then: Then::Collapsed });
                    }
                    // Its client went away.
                    None => continue,
                }
            }
            let moment = match self.moment(ledger, topology, &question) {
                Ok(moment) => moment,
                Err(reason) => return Entered::Asks(Turn { question, why: Forward::Bypass(reason), read: None }),
            };
            let lead = if question.wish.fresh {
                None
            } else {
                match self.flights.lead(&question, topology.epoch, &moment) {
                    Some(lead) => Some(lead),
                    None => continue,
                }
            };
            let read = Read { began: Instant::now(), epoch: topology.epoch, moment, lead };
            return Entered::Asks(Turn { question, why, read: Some(read) });
        }
    }

    /// What is kept, if it may be shown.
    fn find(&self, question: &Question, epoch: u64) -> Result<Answer, Forward> {
        if question.wish.fresh {
            return Err(Forward::Request);
        }
        match self.kept.get(question) {
            None => Err(Forward::Missing),
            Some(kept) if kept.epoch == epoch && kept.moment.holds() => Ok(kept.answer),
            Some(_) => Err(Forward::Stale),
        }
    }

    /// The moment from which on nothing may change that an answer depends on.
    fn moment(&self, ledger: &Ledger, topology: &Topology, question: &Question) -> Result<Moment, Bypass> {
        let indexes = question.indexes();
        if indexes.iter().any(|index| self.settings.except.iter().any(|pattern| pattern.meets(index))) {
            return Err(Bypass::Excepted);
        }
        if !indexes.iter().all(|index| ledger.registry.exists(index)) {
            return Err(Bypass::Unknown);
        }
        let joins = |index: &String| ledger.known_info(index).is_some_and(|info| !info.joins.is_empty());
        if indexes.iter().any(joins) {
            return Err(Bypass::Joined);
        }
        let serving: Vec<&NodeId> =
            topology.nodes.iter().filter(|node| node.state.serves_reads()).map(|node| &node.id).collect();
        ledger.nodes.client.changes().moment(&indexes, &serving).map_err(|noisy| {
            if !noisy.is_empty() {
                look(&ledger.nodes, noisy);
            }
            Bypass::Changing
        })
    }

    fn answered(&self, result: Result<Answer, ResponseError>, status: CacheStatus) -> Entered {
        self.metrics.count(status);
        Entered::Answered(result.map(|answer| Answer { cache: Some(status), ..answer }))
    }

    /// A read is over: keeps the answer, if it may be, and tells those who wait for it.
    pub fn end(
        &self,
        turn: Turn,
        result: Result<Answer, ResponseError>,
        worth: Worth,
    ) -> Result<Answer, ResponseError> {
        let Turn { question, why, read } = turn;
        let mut then = Then::Nothing;
        if let Some(Read { began, epoch, moment, lead }) = read {
            if let Ok(answer) = &result
                && !question.wish.unkept
                && worth.holds(began.elapsed())
                && self.is_to_be_kept(answer)
                && moment.holds()
            {
                let answer = Answer { packed: Some(Arc::new(Packed::default())), ..answer.clone() };
                self.kept.insert(question, Kept { answer, epoch, moment });
                self.metrics.bytes.set(i64::try_from(self.kept.weight()).unwrap_or(i64::MAX));
                then = Then::Stored;
            }
            // Dropped without an end, those who wait ask themselves.
            if let Some(lead) = lead.filter(|_| worth != Worth::Own) {
                lead.ends(result.clone());
            }
        }
        let status = CacheStatus::Forwarded { why, then };
        self.metrics.count(status);
        result.map(|answer| Answer { cache: Some(status), ..answer })
    }

    fn is_to_be_kept(&self, answer: &Answer) -> bool {
        answer.status == 200 && answer.degraded.is_empty() && answer.body.len() as u64 <= self.settings.largest_answer
    }
}

// === impl Turn ===

impl Turn {
    /// Whether the read goes by replies of nodes that are kept; `worth` is what its plan says.
    pub fn keeping(&self, worth: Worth) -> Keeping {
        let may_keep = match self.why {
            Forward::Missing | Forward::Stale | Forward::Bypass(Bypass::Changing) => !self.question.wish.unkept,
            Forward::Request | Forward::Bypass(Bypass::Excepted | Bypass::Unknown | Bypass::Long | Bypass::Joined) => {
                false
            }
        };
        match worth {
            Worth::LastsIfWithin(time) if may_keep && !self.question.wish.fresh => Keeping::Within(time),
            Worth::LastsIfWithin(_) | Worth::Lasts | Worth::Once | Worth::Own => Keeping::Nothing,
        }
    }
}

// === impl Worth ===

impl Worth {
    fn holds(self, took: Duration) -> bool {
        match self {
            Self::Once | Self::Own => false,
            Self::Lasts => true,
            Self::LastsIfWithin(limit) => took < limit,
        }
    }
}

impl Weighter<Question, Kept> for ByBytes {
    fn weight(&self, question: &Question, kept: &Kept) -> u64 {
        question.bytes() + 2 * kept.answer.body.len() as u64 + ENTRY
    }
}

impl Lifecycle<Question, Kept> for CountEvictions {
    type RequestState = ();

    fn on_evict(&self, _state: &mut (), _question: Question, _kept: Kept) {
        self.0.evictions.inc();
    }
}

#[cfg(test)]
mod tests;
