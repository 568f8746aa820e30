//! A request passed on to the leader, streamed both ways. Where the leader dies under it, what may be sent again is sent to the next one.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::following::{Following, no_leader};
use super::passed::{Passed, PassedTask, PassedTrace, Time};
use super::seen;
use super::upstream::{self, Answering, Body, Message, Missed};
use crate::gateway::app::App;
use crate::gateway::body::SessionBody;
use crate::gateway::context::RequestContext;
use crate::gateway::head::{Head, REQUEST_ID, TRACEPARENT};
use crate::gateway::open_streams::OpenStreams;
use crate::gateway::settings::LimitSettings;
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::{Operation, Own, Read};
use crate::write::body::BodySource;

/// Bodies up to this size are kept until the answer is there, so that they can be sent again.
const KEPT: u64 = 1 << 20;
/// Between two tries to reach a leader, and two questions after a write.
const PAUSE: Duration = Duration::from_millis(200);

/// What happens to a request whose leader has broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// It only reads.
    Freely,
    /// It has a task by whose id it is carried out once.
    ByTask(Uuid),
    /// Nobody could tell whether it was carried out.
    Never,
}

/// A body of which nothing is left, or all.
enum Held<'a> {
    Whole(Bytes),
    Streamed(SessionBody<'a>),
    /// Sent, and not kept.
    Gone,
}

/// True for what a gateway that follows carries out itself: reads, as soon as it knows what they go by.
pub(crate) fn is_own(operation: &Operation, following: &Following) -> bool {
    match operation {
        Operation::Own(Own::Health) => true,
        // When an index was changed last the leader knows better, as long as it can be asked.
        Operation::Read(Read::ListIndexes | Read::GetIndex { .. }) => {
            seen::has_view(following) && !seen::is_leased(following)
        }
        Operation::Read(_) => seen::has_view(following),
        Operation::Own(_)
        | Operation::Change(_)
        | Operation::Documents(_)
        | Operation::Work(_)
        | Operation::Unsupported { .. } => false,
    }
}

fn repeat(operation: &Operation, head: &Head) -> Repeat {
    match operation {
        Operation::Change(_) | Operation::Documents(_) => Repeat::ByTask(Uuid::now_v7()),
        Operation::Read(_) | Operation::Unsupported { .. } => Repeat::Freely,
        Operation::Own(_) if head.method == http::Method::GET => Repeat::Freely,
        Operation::Own(_) | Operation::Work(_) => Repeat::Never,
    }
}

/// Passes the request on and writes the answer; `read` is its body, where that was read already. The inner error: there is no answer, and
/// nothing of one was written. It says that no leader was found in time, or that one broke off and the request may not be sent again.
///
/// # Errors
///
/// When an answer breaks off that had begun.
pub async fn on(
    app: &App,
    session: &mut Session,
    (operation, head): (&Operation, &Head),
    read: Option<Bytes>,
    limits: &LimitSettings,
    ctx: &RequestContext,
) -> pingora::Result<Result<(), ResponseError>> {
    let Some(following) = app.following() else { return Ok(Err(no_leader())) };
    match answer(following, session, (operation, head), read, limits, ctx).await {
        Ok(answering) => write((following, &app.streams), session, ctx, answering).await,
        Err(error) => Ok(Err(error)),
    }
}

async fn answer(
    following: &Following,
    session: &mut Session,
    (operation, head): (&Operation, &Head),
    read: Option<Bytes>,
    limits: &LimitSettings,
    ctx: &RequestContext,
) -> Result<Answering, ResponseError> {
    let repeat = repeat(operation, head);
    let target = head.target();
    let task = match repeat {
        Repeat::ByTask(uuid) => Some(PassedTask { uuid, time: Time::First }),
        Repeat::Freely | Repeat::Never => None,
    };
    let mut headers = head.headers.clone();
    headers.insert(REQUEST_ID, ctx.request_id().parse().map_err(|_| internal())?);
    let trace = match ctx.recorded() {
        Some(parent) => {
            headers.insert(TRACEPARENT, parent.parse().map_err(|_| internal())?);
            PassedTrace::Recorded
        }
        None => PassedTrace::Clients,
    };
    let passed = Passed { client: ctx.client, task, trace };
    let mut message = Message { method: &head.method, target: &target, headers: &headers, passed };
    let body = SessionBody::new(session, head, limits.client_timeout, limits.document_payload_size);
    let mut held = match read {
        Some(read) => Held::Whole(read),
        None if may_be_kept(head) => Held::Whole(all(body).await?),
        None => Held::Streamed(body),
    };
    find_answer(following, &mut message, &mut held, repeat).await
}

fn may_be_kept(head: &Head) -> bool {
    !head.has_body() || head.content_length().is_some_and(|length| length <= KEPT)
}

async fn all(mut body: SessionBody<'_>) -> Result<Bytes, ResponseError> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.next().await? {
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// Asks the leader, and reads its answer to the end.
///
/// # Errors
///
/// As [`on`].
pub async fn whole(
    following: &Following,
    method: &http::Method,
    target: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<(Box<ResponseHeader>, Vec<u8>), ResponseError> {
    let passed = Passed { client: None, task: None, trace: PassedTrace::Clients };
    let mut message = Message { method, target, headers, passed };
    let repeat = if *method == http::Method::GET { Repeat::Freely } else { Repeat::Never };
    let mut answering = find_answer(following, &mut message, &mut Held::Whole(body), repeat).await?;
    let mut body = Vec::new();
    while let Some(chunk) = answering.next(following).await.map_err(|_| leader_lost(&message))? {
        body.extend_from_slice(&chunk);
    }
    let mut head = answering.head.clone();
    upstream::clean(&mut head);
    answering.keep(following).await;
    Ok((Box::new(head), body))
}

async fn find_answer(
    following: &Following,
    message: &mut Message<'_>,
    held: &mut Held<'_>,
    repeat: Repeat,
) -> Result<Answering, ResponseError> {
    let mut until = Instant::now() + following.wait;
    // The epoch under which the request broke off.
    let mut broken: Option<i64> = None;
    loop {
        // What only reads, and a write that is asked after, may be asked of the same leader again.
        let (leader, url) = following.reachable(until).await.map_err(|error| lost_or(error, broken, message))?;
        let asks =
            broken.is_some_and(|epoch| epoch == leader.epoch) || (broken.is_some() && matches!(held, Held::Gone));
        if let Some(task) = &mut message.passed.task {
            task.time = match (broken, asks) {
                (None, _) => Time::First,
                (Some(_), false) => Time::Again,
                (Some(_), true) => Time::Asked,
            };
        }
        let asked = message.passed.task.is_some_and(|task| task.time == Time::Asked);
        let body = match held {
            _ if asked => Body::Whole(Bytes::new()),
            Held::Whole(bytes) => Body::Whole(bytes.clone()),
            Held::Streamed(source) => Body::Streamed(source),
            Held::Gone => return Err(leader_lost(message)),
        };
        let was_streamed = matches!(body, Body::Streamed(_));
        let outcome = upstream::ask(following, (&leader, &url), message, body).await;
        let reason = match outcome {
            Ok(answering) if message.passed.task.is_some() => match answering.head.status.as_u16() {
                // Not there, and never will be: it may be sent to this leader as if for the first time.
                404 if asked => {
                    answering.keep(following).await;
                    if matches!(held, Held::Gone) {
                        return Err(leader_lost(message));
                    }
                    broken = Some(leader.epoch - 1);
                    continue;
                }
                425 => {
                    answering.keep(following).await;
                    broken = Some(leader.epoch);
                    "it is being carried out".to_owned()
                }
                _ => return Ok(answering),
            },
            Ok(answering) => return Ok(answering),
            Err(Missed::Client(error)) => return Err(error),
            Err(missed @ (Missed::Unsent(_) | Missed::Foreign(_))) => {
                if was_streamed {
                    // Something may have been read of it.
                    *held = streamed_again(held);
                }
                missed.to_string()
            }
            Err(Missed::Broken(reason)) => {
                if was_streamed {
                    *held = Held::Gone;
                }
                match repeat {
                    Repeat::Never => return Err(leader_lost(message)),
                    Repeat::Freely if matches!(held, Held::Gone) => return Err(leader_lost(message)),
                    Repeat::Freely => {}
                    Repeat::ByTask(_) => {
                        if broken.is_none() {
                            until = Instant::now() + following.wait;
                        }
                        broken = Some(leader.epoch);
                    }
                }
                reason
            }
        };
        tracing::warn!(leader = leader.name, epoch = leader.epoch, reason, "a request could not be passed on");
        if Instant::now() + PAUSE >= until {
            return Err(lost_or(no_leader(), broken, message));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A stream of which nothing was read can still be sent.
fn streamed_again<'a>(held: &mut Held<'a>) -> Held<'a> {
    match std::mem::replace(held, Held::Gone) {
        Held::Streamed(body) if body.is_fresh() => Held::Streamed(body),
        Held::Streamed(_) | Held::Gone => Held::Gone,
        whole @ Held::Whole(_) => whole,
    }
}

/// A request that has broken off is not one that found no leader: it may have been carried out.
fn lost_or(error: ResponseError, broken: Option<i64>, message: &Message<'_>) -> ResponseError {
    if broken.is_some() { leader_lost(message) } else { error }
}

fn leader_lost(message: &Message<'_>) -> ResponseError {
    let what = match message.passed.task {
        Some(task) => format!(
            "Whether the write was carried out tells the task `mtask-{}`: if there is none, send it again.",
            task.uuid
        ),
        None => "It may have been carried out.".to_owned(),
    };
    ResponseError::new(
        Code::MiroirLeaderLost,
        format!("The gateway that leads was lost while the request was under way. {what}"),
    )
}

fn internal() -> ResponseError {
    ResponseError::new(Code::Internal, "The request cannot be passed on.")
}

async fn write(
    (following, streams): (&Following, &OpenStreams),
    session: &mut Session,
    ctx: &RequestContext,
    mut answering: Answering,
) -> pingora::Result<Result<(), ResponseError>> {
    let mut head: ResponseHeader = answering.head.clone();
    upstream::clean(&mut head);
    head.insert_header(REQUEST_ID, ctx.request_id())?;
    let bodiless = head.status == http::StatusCode::NO_CONTENT || session.req_header().method == http::Method::HEAD;
    // An answer whose length nobody knows has no end but its client's or the process's.
    let is_open = !head.headers.contains_key(http::header::CONTENT_LENGTH) && !bodiless;
    let mut ending = match is_open.then(|| streams.enter()).transpose() {
        Ok(ending) => ending,
        Err(error) => return Ok(Err(error)),
    };
    if is_open && session.req_header().version == http::Version::HTTP_11 {
        head.insert_header(http::header::TRANSFER_ENCODING, "chunked")?;
    }
    let unread = !session.as_downstream().is_http2() && !session.as_downstream_mut().is_body_done();
    if unread {
        session.as_downstream_mut().set_keepalive(None);
    }
    session.write_response_header(Box::new(head), bodiless).await?;
    if bodiless {
        answering.keep(following).await;
        return Ok(Ok(()));
    }
    loop {
        let chunk = tokio::select! {
            chunk = answering.next(following) => chunk,
            () = ends(&mut ending) => break,
        };
        let chunk = chunk.map_err(|error| pingora::Error::explain(pingora::ErrorType::ReadError, error))?;
        let Some(chunk) = chunk else {
            session.write_response_body(None, true).await?;
            answering.keep(following).await;
            return Ok(Ok(()));
        };
        session.write_response_body(Some(chunk), false).await?;
    }
    // What the leader still sends on its connection is no answer to anything.
    session.write_response_body(None, true).await?;
    Ok(Ok(()))
}

/// Returns when the process is about to end, where that is to be heeded.
async fn ends(ending: &mut Option<watch::Receiver<bool>>) {
    match ending {
        // An error: nobody is left who could say so.
        Some(ending) => drop(ending.wait_for(|ends| *ends).await),
        None => std::future::pending().await,
    }
}
