//! One read that others wait for.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::question::Question;
use crate::gateway::respond::Answer;
use crate::meili::error::ResponseError;
use crate::nodes::changes::Moment;

type Ended = Option<Result<Answer, ResponseError>>;

/// The reads under way, by what they ask.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Question, Arc<Flight>>>);

struct Flight {
    epoch: u64,
    /// When it began, as far as changes go. Who comes while it holds may have the answer.
    moment: Moment,
    ended: watch::Sender<Ended>,
}

/// A read that somebody else carries out.
pub(super) struct Follower(watch::Receiver<Ended>);

/// A read that is carried out for all who ask the same. Dropped without an end, the others are to ask themselves.
pub(super) struct Lead {
    flights: Arc<Flights>,
    question: Question,
    flight: Arc<Flight>,
}

// === impl Flights ===

impl Flights {
    /// The read of `question` under way, if its answer is right for who comes now.
    pub fn under_way(&self, question: &Question, epoch: u64) -> Option<Follower> {
        let flights = self.0.lock();
        let flight = flights.get(question).filter(|flight| flight.is_good(epoch))?;
        Some(Follower(flight.ended.subscribe()))
    }

    /// Begins a read that others may wait for; `None` if there is one.
    pub fn lead(self: &Arc<Self>, question: &Question, epoch: u64, moment: &Moment) -> Option<Lead> {
        let mut flights = self.0.lock();
        if flights.get(question).is_some_and(|flight| flight.is_good(epoch)) {
            return None;
        }
        let flight = Arc::new(Flight { epoch, moment: moment.clone(), ended: watch::Sender::new(None) });
        flights.insert(question.clone(), Arc::clone(&flight));
        Some(Lead { flights: Arc::clone(self), question: question.clone(), flight })
    }
}

// === impl Flight ===

impl Flight {
    fn is_good(&self, epoch: u64) -> bool {
        self.epoch == epoch && self.moment.holds()
    }
}

// === impl Follower ===

impl Follower {
    /// `None` if the read was given up.
    pub async fn ends(mut self) -> Ended {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

// === impl Lead ===

impl Lead {
    /// Everybody who waits for the answer gets it, an error, too.
    pub fn ends(self, result: Result<Answer, ResponseError>) {
        // Nobody need wait for it.
        self.flight.ended.send_replace(Some(result));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock();
        // A later one may stand in its place.
        if flights.get(&self.question).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            flights.remove(&self.question);
        }
    }
}
