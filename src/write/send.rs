//! Sends one step of a write to one node: repeated where that is safe, looked up where it may have arrived.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::parcel::StepResult;
use super::part::Writes;
use super::planned::Planned;
use crate::meili::error::{Code, ResponseError};
use crate::meili::task::TaskKind;
use crate::nodes::client::{NodeReply, SubBody, Subrequest, TaskStatusResponse, Trace};
use crate::nodes::error::{NodeError, NodeErrorKind};
use crate::nodes::meaning::{ForWrite, Meaning};
use crate::nodes::overload::Traffic;
use crate::nodes::spool::Spool;
use crate::nodes::stamp::STAMP_PARAMETER;
use crate::placement::stable_hash::hash_bytes;
use crate::placement::topology::{Node, NodeId, NodeIx, Topology};
use crate::plan::write::StepBody;
use crate::split::rules::DocumentRules;
use crate::store::Durable;
use crate::tasks::entry::{MiroirTask, Purpose};

/// A large body may take as long as this for each MiB on top of `write.timeout`.
const PER_MIB: Duration = Duration::from_secs(1);
/// How long a look-up may take when the step's own time is over.
const GRACE: Duration = Duration::from_secs(2);

/// What all steps of a write share.
pub(crate) struct Sending<'a> {
    pub writes: &'a Arc<Writes>,
    pub topology: &'a Topology,
    /// That the row of `task` is on disk.
    pub durable: &'a Durable,
    pub task: &'a MiroirTask,
    pub spools: &'a [Spool],
    pub trace: &'a Trace,
    /// By which rules its documents were judged, where it may travel with other writes.
    pub judged: Option<&'a DocumentRules>,
}

/// Why a step is tried again, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    NotSent,
    MaybeApplied,
    /// The node says that it has too much to do, and perhaps for how long.
    Busy(Option<Duration>),
    /// What stands in front of the node has no answer of it, and says perhaps for how long.
    Unanswered(Option<Duration>),
    Hopeless,
}

/// How long to wait before the next attempt; `None` gives up. A node that cannot be connected to is not waited for:
/// its replica becomes stale, and writes go on. `salt` sets apart those who begin to wait at the same moment: what they
/// choose themselves is spread over half of it.
pub fn pause_before(attempt: u32, trouble: Trouble, salt: u64) -> Option<Duration> {
    let longest = 100u64 << attempt.min(5);
    let jitter = hash_bytes(&(salt ^ u64::from(attempt)).to_le_bytes()) % (longest / 2 + 1);
    let backoff = Duration::from_millis(longest - jitter);
    match trouble {
        Trouble::NotSent if attempt == 0 => Some(Duration::from_millis(50)),
        Trouble::NotSent | Trouble::Hopeless => None,
        Trouble::MaybeApplied if attempt < 3 => Some(backoff),
        Trouble::MaybeApplied => None,
        Trouble::Busy(asked) | Trouble::Unanswered(asked) if attempt < 20 => {
            Some(asked.unwrap_or(backoff).min(Duration::from_secs(5)))
        }
        Trouble::Busy(_) | Trouble::Unanswered(_) => None,
    }
}

// === impl Trouble ===

impl Trouble {
    fn may_have_arrived(self) -> bool {
        match self {
            Self::MaybeApplied | Self::Unanswered(_) => true,
            Self::NotSent | Self::Busy(_) | Self::Hopeless => false,
        }
    }
}

/// Adds the stamp by which a write is found again on a node; the client's own value stays in Miroir's row.
pub(crate) fn with_stamp(path: &str, stamp: &str) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{STAMP_PARAMETER}={stamp}")
}

/// What [`with_stamp`] made `path` of; `None` if it is not of its making.
pub(crate) fn without_stamp<'p>(path: &'p str, stamp: &str) -> Option<&'p str> {
    path.strip_suffix(stamp)?.strip_suffix('=')?.strip_suffix(STAMP_PARAMETER)?.strip_suffix(['?', '&'])
}

/// True when the node may be silent because of a heavy read that it was given.
pub(crate) fn is_laden(writes: &Writes, node: &NodeId) -> bool {
    writes.nodes.life.signs(node).is_laden(writes.nodes.longest_read(), Instant::now())
}

/// How long `nodes` may take for a body of `size` bytes: `write.timeout`, what its size adds, and what a heavy read of one
/// of them may take.
pub(crate) fn time_for<'n>(writes: &Writes, nodes: impl IntoIterator<Item = &'n NodeId>, size: u64) -> Duration {
    let is_laden = nodes.into_iter().any(|node| is_laden(writes, node));
    let search = if is_laden { writes.nodes.longest_read() } else { Duration::ZERO };
    writes.settings.get().timeout + allowance(size) + search
}

/// Carries `planned` to `node`, within the time for it.
pub(crate) async fn step(sending: &Sending<'_>, node: NodeIx, planned: &Planned) -> StepResult {
    debug_assert_eq!(sending.durable.uid(), sending.task.uid, "the row of another write is on disk");
    let writes = sending.writes;
    let target = sending.topology.node(node);
    let body = body_of(&planned.step.body, sending.spools);
    let deadline = Instant::now() + time_for(writes, [&target.id], body.len());
    let search = Search {
        kind: match planned.purpose {
            Purpose::EnsureIndex => TaskKind::IndexCreation,
            Purpose::HideShardField => TaskKind::SettingsUpdate,
            Purpose::Main => sending.task.kind,
        },
        floor: writes.order.last_uids.lock().get(&node).copied(),
        since: OffsetDateTime::now_utc(),
    };
    // Writes of one moment differ in their tasks, and the nodes of one write in their position.
    let salt = sending.task.uuid.as_u64_pair().1 ^ node.0 as u64;
    writes.nodes.overload.first_attempt();
    let mut attempt = 0;
    loop {
        let remaining = deadline.saturating_duration_since(Instant::now());
        let request = Subrequest {
            method: planned.step.method.parse().unwrap_or(http::Method::POST),
            path: planned.step.path.clone(),
            content_type: planned.step.content_type,
            body: body.clone(),
            timeout: remaining,
            idempotent: false,
        };
        let trouble = match send_in_turn(sending, target, request).await {
            Ok(reply) => match judge(target, &reply) {
                Ok(result) => return accepted(writes, node, result),
                Err(trouble) => trouble,
            },
            Err(error) => trouble_of(target, &error),
        };
        if trouble.may_have_arrived() {
            let pauses = |looks| match trouble {
                Trouble::Unanswered(_) => {
                    pause_before(looks, trouble, salt).filter(|pause| Instant::now() + *pause < deadline)
                }
                Trouble::NotSent | Trouble::MaybeApplied | Trouble::Busy(_) | Trouble::Hopeless => None,
            };
            match look_up_patiently(sending, target, planned, &search, pauses).await {
                Ok(Some(uid)) => return accepted(writes, node, StepResult::Accepted(uid)),
                Ok(None) => {}
                // Repeating without having looked could apply the write twice.
                Err(error) => {
                    tracing::warn!(node = %target.id, %error, "a write that may have arrived cannot be looked up");
                    return StepResult::Lost;
                }
            }
        }
        let Some(pause) = pause_before(attempt, trouble, salt) else { return StepResult::Lost };
        loop {
            if Instant::now() + pause >= deadline {
                return StepResult::Lost;
            }
            tokio::time::sleep(pause).await;
            // A stale replica would cost more than the retry that the budget does not allow yet.
            if trouble == Trouble::NotSent || writes.nodes.overload.may_retry() {
                break;
            }
        }
        writes.nodes.metrics.retries.with_label_values(&[target.id.as_str()]).inc();
        attempt += 1;
    }
}

/// Sends `request` when the writes under way to the node leave room for it.
async fn send_in_turn(sending: &Sending<'_>, node: &Node, request: Subrequest) -> Result<NodeReply, NodeError> {
    let timed_out = NodeErrorKind::QueueFull { waiting: 0 };
    let entered =
        tokio::time::timeout(request.timeout, sending.writes.nodes.overload.enter(node, Traffic::Write, &request.path))
            .await;
    let _permit = entered.map_err(|_| NodeError::new(&node.id, timed_out))??;
    sending.writes.nodes.client.send(node, request, sending.trace).await
}

/// A large body may take longer: what its length adds to any time limit.
pub(crate) fn allowance(bytes: u64) -> Duration {
    PER_MIB.saturating_mul(u32::try_from(bytes >> 20).unwrap_or(u32::MAX))
}

fn accepted(writes: &Writes, node: NodeIx, result: StepResult) -> StepResult {
    if let StepResult::Accepted(uid) = result {
        writes.order.saw_uid(node, uid);
    }
    result
}

fn body_of(body: &StepBody, spools: &[Spool]) -> SubBody {
    match body {
        StepBody::Empty => SubBody::Empty,
        StepBody::Json(value) => SubBody::Bytes(Bytes::from(value.to_string())),
        StepBody::Spool(position) => match spools.get(*position) {
            Some(spool) => SubBody::Spool(spool.clone(), 0..spool.len()),
            None => SubBody::Empty,
        },
    }
}

fn trouble_of(node: &Node, error: &NodeError) -> Trouble {
    tracing::warn!(node = %node.id, %error, "a write did not get through");
    match Meaning::of_error(&error.kind).policy().write {
        ForWrite::NotSent => Trouble::NotSent,
        ForWrite::MaybeApplied => Trouble::MaybeApplied,
        ForWrite::Busy => Trouble::Busy(None),
        ForWrite::Unanswered => Trouble::Unanswered(None),
        ForWrite::Taken | ForWrite::Refused | ForWrite::Hopeless => Trouble::Hopeless,
    }
}

/// What a node's answer to a step comes to.
fn judge(node: &Node, reply: &NodeReply) -> Result<StepResult, Trouble> {
    match Meaning::of_reply(reply).policy().write {
        ForWrite::Taken => match serde_json::from_slice::<TaskStatusResponse>(&reply.body) {
            Ok(task) => Ok(StepResult::Accepted(task.uid)),
            Err(_) => Err(Trouble::MaybeApplied),
        },
        ForWrite::Refused => Ok(StepResult::Refused(refusal(node, reply))),
        ForWrite::Busy => Err(Trouble::Busy(reply.retry_after)),
        ForWrite::Unanswered => Err(Trouble::Unanswered(reply.retry_after)),
        ForWrite::NotSent => Err(Trouble::NotSent),
        ForWrite::MaybeApplied => Err(Trouble::MaybeApplied),
        ForWrite::Hopeless => {
            let said = reply.shown_error().map(|error| error.message).unwrap_or_default();
            tracing::error!(node = %node.id, status = reply.status, said, "the node cannot take a write");
            Err(Trouble::Hopeless)
        }
    }
}

/// The error of a node that refuses a step, in its own words but where these would not help.
fn refusal(node: &Node, reply: &NodeReply) -> ResponseError {
    match reply.shown_error() {
        Some(error) if error.status == 400 && error.message.contains("customMetadata") => ResponseError::new(
            Code::MiroirNotSupported,
            format!(
                "Node `{}` runs an engine that does not know the parameter `customMetadata`, by which Miroir finds a \
                 write again. Upgrade the node.",
                node.id
            ),
        ),
        Some(error) => error,
        None => {
            ResponseError::new(Code::Internal, format!("Node `{}` answered with status {}.", node.id, reply.status))
        }
    }
}

/// By what a step that may have arrived is found among a node's tasks.
struct Search {
    kind: TaskKind,
    /// The node's newest task before the step.
    floor: Option<u32>,
    since: OffsetDateTime,
}

/// [`look_up`], again where `pauses` has a pause for it and the node cannot be asked: what stands in front of it may find it
/// again.
async fn look_up_patiently(
    sending: &Sending<'_>,
    node: &Node,
    planned: &Planned,
    search: &Search,
    pauses: impl Fn(u32) -> Option<Duration>,
) -> Result<Option<u32>, NodeError> {
    let mut looks = 0;
    loop {
        match look_up(sending, node, planned, search).await {
            Err(error) => match pauses(looks) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            },
            found => return found,
        }
        looks += 1;
    }
}

/// The node's task for `planned`, if the node has one. Within a lane nothing else writes to the index, so without a stamp
/// the newer task of the right kind is the step's own.
async fn look_up(
    sending: &Sending<'_>,
    node: &Node,
    planned: &Planned,
    search: &Search,
) -> Result<Option<u32>, NodeError> {
    let client = &sending.writes.nodes.client;
    let found = async {
        if let Some(before) = planned.stamped {
            let stamped = client.find_by_stamp(node, &sending.task.id()).await?;
            return Ok(stamped.get(before).map(|task| task.uid));
        }
        let query = match &sending.task.index_uid {
            Some(index) => format!("types={}&indexUids={index}", search.kind.as_str()),
            None => format!("types={}", search.kind.as_str()),
        };
        let tasks = client.tasks_since(node, &query, Some(search.since)).await?;
        let swaps = |task: &TaskStatusResponse| task.details.as_ref().and_then(|details| details.get("swaps")).cloned();
        let wanted = sending.task.details.as_ref().and_then(|details| details.get("swaps")).cloned();
        let own = tasks.into_iter().filter(|task| wanted.is_none() || swaps(task) == wanted).find(|task| match search
            .floor
        {
            Some(floor) => task.uid > floor,
            None => task.enqueued_at.is_some_and(|enqueued| enqueued >= search.since),
        });
        Ok(own.map(|task| task.uid))
    };
    match tokio::time::timeout(GRACE, found).await {
        Ok(found) => found,
        Err(_) => Err(NodeError::new(&node.id, NodeErrorKind::Timeout(GRACE))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::topology::{NodeId, NodeState};

    fn node() -> Node {
        Node { id: NodeId::new("n"), url: String::new(), zone: None, weight: 1.0, state: NodeState::Up }
    }

    fn reply(status: u16, body: String) -> NodeReply {
        NodeReply { status, body: Bytes::from(body), retry_after: None }
    }

    fn error(code: Code, message: &str) -> NodeReply {
        let error = ResponseError::new(code, message);
        reply(error.status, String::from_utf8(error.to_body()).unwrap())
    }

    #[test]
    fn a_node_that_cannot_be_reached_is_not_waited_for() {
        assert!(pause_before(0, Trouble::NotSent, 1).is_some());
        assert_eq!(pause_before(1, Trouble::NotSent, 1), None);
        assert_eq!(pause_before(0, Trouble::Hopeless, 1), None);
    }

    #[test]
    fn pauses_double_and_no_two_writes_come_back_in_step() {
        for attempt in 0..8 {
            let longest = Duration::from_millis(100 << attempt.min(5));
            let pauses: std::collections::BTreeSet<Duration> =
                (0..100).filter_map(|salt| pause_before(attempt, Trouble::Busy(None), salt)).collect();
            assert!(pauses.len() > 30, "{pauses:?}");
            assert!(pauses.iter().all(|pause| (longest / 2..=longest).contains(pause)), "{pauses:?}");
        }
    }

    #[test]
    fn a_busy_node_says_how_long_it_wants_to_be_left_alone() {
        let asked = Duration::from_secs(2);
        assert_eq!(pause_before(3, Trouble::Busy(Some(asked)), 1), Some(asked));
        assert_eq!(pause_before(20, Trouble::Busy(None), 1), None);
    }

    #[test]
    fn answers_are_told_apart() {
        let task = r#"{"taskUid":7,"indexUid":"a","status":"enqueued","type":"indexCreation","enqueuedAt":"2026-01-01T00:00:00Z"}"#;
        assert_eq!(judge(&node(), &reply(202, task.to_owned())), Ok(StepResult::Accepted(7)));
        assert_eq!(judge(&node(), &reply(202, "{}".to_owned())), Err(Trouble::MaybeApplied));
        assert_eq!(judge(&node(), &error(Code::InvalidApiKey, "no")), Err(Trouble::Hopeless));
        assert_eq!(judge(&node(), &error(Code::NoSpaceLeftOnDevice, "full")), Err(Trouble::Hopeless));
        assert_eq!(judge(&node(), &reply(503, String::new())), Err(Trouble::Busy(None)));
        assert_eq!(judge(&node(), &reply(504, String::new())), Err(Trouble::Unanswered(None)));
        assert_eq!(judge(&node(), &reply(404, "<html>no such page</html>".to_owned())), Err(Trouble::Hopeless));
        let Ok(StepResult::Refused(refusal)) =
            judge(&node(), &error(Code::BadRequest, "Unknown parameter `customMetadata`"))
        else {
            panic!()
        };
        assert_eq!(refusal.code, "miroir_not_supported");
        let Ok(StepResult::Refused(refusal)) = judge(&node(), &error(Code::InvalidSettingsStopWords, "bad")) else {
            panic!()
        };
        assert_eq!(refusal.message, "bad");
    }

    #[test]
    fn a_stamp_joins_the_query() {
        assert_eq!(with_stamp("/d", "s"), "/d?customMetadata=s");
        assert_eq!(with_stamp("/d?primaryKey=id", "s"), "/d?primaryKey=id&customMetadata=s");
        for path in ["/d", "/d?primaryKey=id"] {
            assert_eq!(without_stamp(&with_stamp(path, "s"), "s"), Some(path));
        }
        assert_eq!(without_stamp("/d", "s"), None);
    }
}
