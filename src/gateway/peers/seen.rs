//! By which view a gateway that follows answers a read.
//!
//! A read counts only if the view that it was planned on is good when its answer is there; else it is planned again. Where no view is good,
//! because the leader is gone or cannot be reached, `search.stale_view` says what becomes of it.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use pingora_proxy::Session;

use super::following::Following;
use crate::gateway::app::{Admitted, App};
use crate::gateway::context::RequestContext;
use crate::gateway::dispatch::{self, Outcome};
use crate::gateway::respond::{Answer, Seen};
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::Operation;
use crate::nodes::error::untrusted;
use crate::placement::topology::Topology;
use crate::read::settings::StaleView;

/// How often a read is planned again before it is given up.
const MOST_PLANS: usize = 5;

/// What is to be done with an answer that was planned on a topology of before, maybe.
enum Judged {
    Stands(Seen),
    /// There is a newer view.
    PlanAgain(Arc<Topology>),
}

/// By what a gateway answers that leads. Where another one may lead by now it knows no better than one that follows.
///
/// # Errors
///
/// When it may not answer.
pub(crate) fn as_leader(app: &App, operation: &Operation) -> Result<Seen, ResponseError> {
    if app.cluster.nodes.client.is_trusted() {
        return Ok(Seen::Now);
    }
    match (operation, app.cluster.reads.settings.get().stale_view) {
        (Operation::Read(_), StaleView::Serve) => Ok(Seen::Before),
        (Operation::Read(_), StaleView::Refuse) => Err(untrusted()),
        (
            Operation::Own(_)
            | Operation::Change(_)
            | Operation::Documents(_)
            | Operation::Work(_)
            | Operation::Unsupported { .. },
            _,
        ) => Err(untrusted()),
    }
}

/// As [`as_leader`], before anything is done. Another gateway that has passed the request on is told to ask whoever leads: it may hear of
/// a new leader later than the old one's lease ends.
///
/// # Errors
///
/// When it may not answer.
pub(crate) fn at_start(app: &App, ctx: &RequestContext, operation: &Operation) -> Result<Seen, ResponseError> {
    as_leader(app, operation).map_err(|error| match &ctx.passed {
        Some(_) => ResponseError { status: 421, ..ResponseError::new(Code::MiroirNotLeader, error.message) },
        None => error,
    })
}

/// What a request goes by.
pub(crate) fn topology(app: &App, by: Seen) -> Arc<Topology> {
    let topology = app.cluster.nodes.topology();
    match by {
        Seen::Now => topology,
        Seen::Before => Arc::new(topology.of_before()),
    }
}

/// True while there is a view that reads can go by, good or not any more. Without one they are the leader's to answer.
pub(crate) fn has_view(following: &Following) -> bool {
    following.follower().is_some_and(|follower| follower.has().is_some())
}

/// True while the view of now is good, so that the leader can be asked, too.
pub(crate) fn is_leased(following: &Following) -> bool {
    following.follower().is_some_and(|follower| follower.is_leased())
}

/// Asked when all of the answer is there.
///
/// # Errors
///
/// When no view is good, and such answers are refused.
fn judge(app: &App, topology: &Topology) -> Result<Judged, ResponseError> {
    let Some(follower) = app.following().and_then(|following| following.follower()) else {
        return Ok(Judged::Stands(Seen::Now));
    };
    if follower.holds(topology) {
        return Ok(Judged::Stands(Seen::Now));
    }
    if follower.is_leased() {
        return Ok(Judged::PlanAgain(app.cluster.nodes.topology()));
    }
    match app.cluster.reads.settings.get().stale_view {
        StaleView::Serve => Ok(Judged::Stands(Seen::Before)),
        StaleView::Refuse => Err(view_lost()),
    }
}

/// The gateway that leads has not been heard of for longer than what it said is good.
fn view_lost() -> ResponseError {
    ResponseError::new(Code::MiroirViewLost, "The gateway that leads was not heard of for some seconds. Try again.")
}

/// Carries out a read by what the gateway that leads has told, again where that has changed meanwhile.
pub(crate) async fn read(
    app: &Arc<App>,
    following: &Following,
    mut topology: Arc<Topology>,
    admitted: &Admitted<'_>,
    session: &mut Session,
    body: Bytes,
) -> Result<Outcome, ResponseError> {
    let mut is_of_before = !is_leased(following);
    if is_of_before {
        topology = Arc::new(topology.of_before());
    }
    for _ in 0..MOST_PLANS {
        let outcome = dispatch::run(app, Arc::clone(&topology), admitted, session, body.clone()).boxed().await;
        if let Ok(Outcome::Forward(_)) = &outcome
            && is_leased(following)
        {
            // Its answer is not held in hand, so it could not be asked for again.
            return Ok(Outcome::PassOn(admitted.operation.clone(), Some(body)));
        }
        match judge(app, &topology)? {
            Judged::PlanAgain(newer) => (topology, is_of_before) = (newer, false),
            // Shards may have moved while it was carried out.
            Judged::Stands(Seen::Before) if !is_of_before => {
                (topology, is_of_before) = (Arc::new(topology.of_before()), true);
            }
            Judged::Stands(seen) => {
                return outcome.map(|outcome| match outcome {
                    Outcome::Answer(answer) => Outcome::Answer(Answer { seen, ..answer }),
                    other => other,
                });
            }
        }
    }
    Err(view_lost())
}
