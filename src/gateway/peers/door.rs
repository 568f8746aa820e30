//! The listener for peers: who is let in, and what becomes of the writes that they pass on.

use http::HeaderName;
use pingora_proxy::Session;
use uuid::Uuid;

use super::arrivals::{Arrival, Due};
use super::passed::{CLIENT, Passed, PassedTask, TASK, Time};
use super::proof::{self, Asker, NoPeer, PEER, PROTOCOL, SPEAKS};
use crate::gateway::app::{Admitted, App};
use crate::gateway::context::RequestContext;
use crate::gateway::dispatch::accepted;
use crate::gateway::respond::Answer;
use crate::meili::error::{Code, ResponseError};
use crate::meili::task::TaskKind;
use crate::nodes::error::store_failed;
use crate::peers::clock::since_boot;
use crate::settings::Secret;
use crate::tasks::entry::MiroirTask;
use crate::tasks::filter::TaskRef;
use crate::tasks::interrupted::is_interrupted;
use crate::tracking::task_ops;

/// What gateways ask of each other begins so; the engine has no such path.
pub const OWN: &str = "/_peer/";

const WAIT: &str = "the write is being carried out";

/// Whom a listener is for.
#[derive(Debug, Clone)]
pub enum Door {
    Clients,
    /// Whoever knows this secret.
    Peers(Secret),
}

/// What has come in.
pub enum Entered {
    /// A request of a client, whether passed on or not.
    Request,
    /// What one gateway asks another: the path behind [`OWN`].
    Own(String),
    Refused(Answer),
}

/// What is to be done with a write that was passed on.
pub(crate) enum Settled {
    /// For as long as this lives it is under way. The id of its task is noted with the request.
    CarryOut(Arrival),
    Answer(Answer),
}

// === impl Door ===

impl Door {
    /// Looks at the head of a request. What a peer vouches for is noted in `ctx`; what else says it is ignored.
    pub fn enter(&self, app: &App, session: &Session, ctx: &mut RequestContext) -> Entered {
        let Self::Peers(secret) = self else { return Entered::Request };
        let head = session.req_header();
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let target = head.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        let vouched = [head.method.as_str(), target, text(CLIENT).unwrap_or_default(), text(TASK).unwrap_or_default()];
        let asker = match proof::check(secret, text(PEER), &vouched) {
            Ok(asker) => asker,
            Err(error) => {
                app.metrics.turned_away(&error);
                if let Some(untold) = app.knocks[error.kind()].note(since_boot()) {
                    let from = session.client_addr().map(ToString::to_string);
                    tracing::warn!(%error, from, untold, "a request was turned away where peers are listened to");
                }
                if let NoPeer::Protocol { asker, .. } = &error {
                    prove(secret, asker, ctx);
                    ctx.headers.push((HeaderName::from_static(SPEAKS), PROTOCOL.into()));
                }
                return Entered::Refused(refusal(401, error.to_string()));
            }
        };
        prove(secret, &asker, ctx);
        if app.following().is_some() {
            return Entered::Refused(refusal(421, "this gateway does not lead".to_owned()));
        }
        let Some(passed) = Passed::read(&head.headers) else {
            return Entered::Refused(refusal(400, "what is said of the request cannot be read".to_owned()));
        };
        ctx.passed = Some(passed);
        match head.uri.path().strip_prefix(OWN) {
            Some(own) => Entered::Own(own.to_owned()),
            None => Entered::Request,
        }
    }
}

/// The answer shows that it comes from who knows the secret.
fn prove(secret: &Secret, asker: &Asker, ctx: &mut RequestContext) {
    let proof = proof::answer(secret, asker).parse().expect("hexadecimal digits are a header's value");
    ctx.headers.push((HeaderName::from_static(PEER), proof));
}

/// A write whose connection broke under another gateway may have come before.
pub(crate) async fn settle(app: &App, admitted: &mut Admitted<'_>, task: PassedTask) -> Result<Settled, ResponseError> {
    // Noted before the store is looked at: what ends in between is stored by then.
    let due = app.arrivals.note(task);
    let mut uuid = task.uuid;
    let stored = loop {
        let stored = match task.time {
            Time::First => None,
            Time::Again | Time::Asked => {
                let found = task_ops::freshest(&app.cluster.tracking, TaskRef::Uuid(uuid)).await;
                found.map_err(|error| store_failed(&error))?
            }
        };
        match stored {
            Some(stored) if was_undone(&stored) => uuid = next_try(uuid),
            other => break other,
        }
    };
    if let Some(stored) = stored {
        if !stored.status.is_final() && is_interrupted(&stored) {
            // Whether it is undone is found out from the nodes.
            return Ok(Settled::Answer(refusal(425, WAIT.to_owned())));
        }
        return Ok(Settled::Answer(accepted(app, admitted, &stored)));
    }
    let (status, reason) = match due {
        Due::CarryOut(arrival) => {
            admitted.trace.task = Some(uuid);
            return Ok(Settled::CarryOut(arrival));
        }
        Due::Wait => (425, WAIT),
        Due::Void => (409, "the write was asked after before it came"),
        Due::Unknown => (404, "the write has not come"),
    };
    Ok(Settled::Answer(refusal(status, reason.to_owned())))
}

/// A leader died before it had acknowledged the write. The next one has taken it back from whoever had it; or it had to leave it in the shards that
/// had it on all replicas, while others had it on none, and carried out again it is whole. But an edit is no document that is there or not: where it
/// was made it is not made twice.
fn was_undone(task: &MiroirTask) -> bool {
    let Some(error) = &task.error else { return false };
    let in_part =
        || !task.acknowledged && task.kind != TaskKind::DocumentEdition && error.is(Code::MiroirPartlyApplied);
    error.is(Code::MiroirWriteInterrupted) || in_part()
}

/// The id of the task by which a write is carried out after the task `uuid` of it was undone: always the same, so that it is not carried
/// out twice if another leader dies.
fn next_try(uuid: Uuid) -> Uuid {
    Uuid::from_u128(uuid.as_u128().wrapping_add(1))
}

fn refusal(status: u16, message: String) -> Answer {
    ResponseError { status, ..ResponseError::new(Code::MiroirNotLeader, message) }.into()
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn what_a_dead_leader_left_in_part_is_sent_again_but_for_edits_and_what_a_client_knows_of() {
        let left = |kind: TaskKind, code: Code| {
            let task = MiroirTask::new(7, kind, Some("a".to_owned()), OffsetDateTime::UNIX_EPOCH);
            MiroirTask { error: Some(ResponseError::new(code, "as nodes said")), acknowledged: false, ..task }
        };
        let (added, edited) = (TaskKind::DocumentAdditionOrUpdate, TaskKind::DocumentEdition);
        assert!(was_undone(&left(added, Code::MiroirWriteInterrupted)));
        assert!(was_undone(&left(edited, Code::MiroirWriteInterrupted)));
        assert!(was_undone(&left(added, Code::MiroirPartlyApplied)));
        assert!(!was_undone(&left(edited, Code::MiroirPartlyApplied)), "half of its documents would be edited twice");
        let known = MiroirTask { acknowledged: true, ..left(added, Code::MiroirPartlyApplied) };
        assert!(!was_undone(&known));
        assert!(!was_undone(&left(added, Code::InvalidDocumentId)));
        assert!(!was_undone(&MiroirTask { error: None, ..left(added, Code::MiroirPartlyApplied) }));
    }
}
