//! The client-facing side: the only code, with [`crate::admin`], that sees Pingora's `Session`.
//!
//! # Layout
//!
//! A request passes the files in this order.
//!
//! | file | what |
//! |---|---|
//! | [`entry`], `open_connections`, `proxy_protocol` | a connection before its first byte of TLS or HTTP: how many there are, whom a proxy names |
//! | [`connection`], `line`, `held`, `patience` | its bytes as Pingora gets them: request lines that are none, one write for head and body, who reads nothing |
//! | [`head`] | the head, taken out of the session once; ambiguous ones refused |
//! | `request_id` | new ids of requests |
//! | [`cors`] | preflights of browsers |
//! | [`auth`] | the key, before a byte of the body is read |
//! | [`client`] | whom a request is from, where proxies stand between |
//! | [`content_type`], [`body`] | the body, bounded, or as a stream |
//! | [`ruled`], `rule_metrics` | the operator's rules |
//! | [`narrow`] | a tenant token's rules, written into searches |
//! | [`planning`] | one plan, on one topology |
//! | [`cache`] | whether the answer is there, or on its way |
//! | [`dispatch`] | the plan carried out |
//! | `beat` | what keeps timers cheap while reads come |
//! | [`mirrors`], `shadow` | searches that rules want asked again |
//! | `described` | what an answer to a search says beside it |
//! | `shown` | in which order documents of its answer show their fields |
//! | [`speakers`] | in which form its client speaks of tasks |
//! | [`keys`], [`listing`], `figures` | what the gateway answers itself, or filters for a key of few indexes |
//! | `filters` | where the filters of a read stand |
//! | `unlike` | comparisons in filters that nodes understand otherwise where they do not know the same fields |
//! | `joins` | filters about documents of other indexes, and the feature they need |
//! | `features` | routes that are there only while a feature is on |
//! | [`forward`] | what one node answers, by Pingora's own path |
//! | [`respond`] | answers and errors as HTTP |
//! | `compress` | answers packed as the client likes |
//! | [`streams`], [`open_streams`] | answers without an end: news of tasks and batches, log lines; how many are open, and that they end with the process |
//! | `logs` | the gateway's own log lines, as an engine shows its own |
//! | [`chats`] | workspaces of chats |
//! | [`webhooks`] | addresses that are told of each task that has ended |
//! | [`reload`] | the configuration read again while requests go on |
//! | [`peers`] | other gateways of the cluster: requests passed on, and let in |
//! | [`serving`] | which app answers: of a gateway that leads, or of one that follows |
//! | [`settings`] | what the operator sets of the gateway |
//! | [`app`] | all that answering takes, for the whole process |
//! | [`context`], [`access_log`], [`metrics`] | one request's story, its log line and its counts |

pub mod access_log;
pub mod app;
pub mod auth;
mod beat;
pub mod body;
pub mod cache;
pub mod chats;
pub mod client;
mod compress;
pub mod connection;
pub mod content_type;
pub mod context;
pub mod cors;
mod described;
pub mod dispatch;
pub mod entry;
mod features;
mod figures;
mod filters;
pub mod forward;
pub mod head;
mod held;
mod joins;
pub mod keys;
mod line;
pub mod listing;
mod logs;
pub mod metrics;
pub mod mirrors;
pub mod narrow;
pub mod open_connections;
pub mod open_streams;
mod patience;
pub mod peers;
pub mod planning;
mod proxy_protocol;
pub mod reload;
mod request_id;
pub mod respond;
pub mod rule_metrics;
pub mod ruled;
pub mod serving;
pub mod settings;
mod shadow;
mod shown;
pub mod speakers;
pub mod streams;
mod unlike;
pub mod webhooks;

use std::borrow::Cow;
use std::sync::Arc;

use futures::FutureExt as _;
use pingora_proxy::Session;
use time::OffsetDateTime;
use tracing::Instrument as _;

use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::{self, Operation, Own, Takes};
use crate::nodes::error::untrusted;
use crate::nodes::health::{self, Need};
use crate::nodes::overload::metrics::Rejection;
use crate::nodes::overload::overloaded;
use crate::rules::answers::Answers;
use crate::rules::making::Making;
use crate::rules::mask::Veil;
use access_log::Ending;
pub use app::{Admitted, App};
use auth::Access;
use compress::Encoding;
pub use context::RequestContext;
use dispatch::Outcome;
use head::Head;
use peers::door::{self, Settled};
use peers::pass;
use peers::seen;
use respond::{Answer, Seen, no_node};
use ruled::Ruled;
use settings::CompressionSettings;
use shadow::Shadow;
use speakers::Caller;

/// Lets the cluster's repairs reach what only the gateway knows. Called once, before the cluster runs.
pub fn install_hooks(app: &Arc<App>) {
    // Only a second call finds a hook there; the first one stays.
    let _ = app.cluster.replicas.hook.set(Box::new(keys::KeyRepair::new(app)));
}

/// Whether a request is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// The answer was written.
    Answered,
    /// Pingora carries it to one of the nodes named in [`RequestContext::forward`].
    Forward,
}

/// Answers the request of `session`, or says whom it is to be forwarded to.
pub async fn handle(app: &Arc<App>, session: &mut Session, ctx: &mut RequestContext) -> pingora::Result<Handled> {
    // A client may send its next requests before it has the answer to this one; they are answered one after the other.
    session.as_downstream_mut().set_pipelining_enabled(true);
    let request = session.req_header();
    let head = Head::new(request.method.clone(), &request.uri, request.headers.clone());
    let settings = app.settings();
    let in_flight = app.metrics.enter();
    let crowded = usize::try_from(in_flight.count).is_ok_and(|count| count > settings.max_requests);
    ctx.begin(&head, in_flight, &settings.cors);
    let peer = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
    ctx.client = match ctx.passed {
        Some(passed) => passed.client,
        None => peer.map(|peer| settings.trusted_proxies.client(peer, &head.headers)),
    };
    if cors::is_preflight(&head) {
        ctx.route = "preflight";
        let header = cors::answer(&settings.cors, &head, ctx.request_id())?;
        session.write_response_header(Box::new(header), true).await?;
        return Ok(Handled::Answered);
    }
    let span = tracing::info_span!("request", request_id = ctx.request_id());
    let traced = ctx.span.clone();
    let outcome = match decide(app, session, &head, ctx, crowded).instrument(span).instrument(traced).boxed().await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Answer(error.into()),
    };
    match outcome {
        Outcome::Answer(answer) => {
            if !answer.degraded.is_empty() {
                app.metrics.degraded.inc();
            }
            if !answer.inexact.is_none() {
                app.metrics.inexact.inc();
            }
            ctx.hits = answer.hits;
            finish(session, &head, ctx, &answer, &settings.compression).await?;
            mirrors::send(app, std::mem::take(&mut ctx.shadows));
            Ok(Handled::Answered)
        }
        Outcome::Stream(stream) => {
            let (patience, opened) = (settings.limits.client_timeout, ctx.started.elapsed());
            // A stream may outlive them.
            drop(settings);
            let sent = streams::write(session, &head, ctx, stream, patience).await;
            // For how long a client listens says nothing of the gateway: what counts is how soon the answer began.
            ctx.started = std::time::Instant::now().checked_sub(opened).unwrap_or(ctx.started);
            sent.map(|()| Handled::Answered)
        }
        Outcome::PassOn(operation, read) => {
            let (limits, compression) = (settings.limits.clone(), settings.compression);
            drop(settings);
            if let Err(error) = pass::on(app, session, (&operation, &head), read, &limits, ctx).await? {
                finish(session, &head, ctx, &error.into(), &compression).await?;
            }
            Ok(Handled::Answered)
        }
        Outcome::Forward(forward) => {
            ctx.forward = Some(forward);
            ctx.head = Some(head);
            Ok(Handled::Forward)
        }
    }
}

/// Writes the answer; when part of the body was never read, the connection ends with it.
async fn finish(
    session: &mut Session,
    head: &Head,
    ctx: &RequestContext,
    answer: &Answer,
    compression: &CompressionSettings,
) -> pingora::Result<()> {
    // A stream of HTTP/2 ends by itself, and the others of its connection go on.
    let may_follow = head.has_body() || session.as_downstream().is_http2();
    let unread = may_follow && !session.as_downstream_mut().is_body_done();
    if unread {
        session.as_downstream_mut().set_keepalive(None);
    }
    respond::write(session, head, ctx, answer, compression).await?;
    if unread && !head.expects_continue() {
        body::discard(session).await;
    }
    Ok(())
}

/// Everything between a request's head and its answer.
async fn decide(
    app: &Arc<App>,
    session: &mut Session,
    head: &Head,
    ctx: &mut RequestContext,
    crowded: bool,
) -> Result<Outcome, ResponseError> {
    if let Err(error) = head.check(&session.as_downstream().to_h1_raw(), app.settings().limits.header_size) {
        // What follows on the connection may be no request.
        session.as_downstream_mut().set_keepalive(None);
        return Err(error);
    }
    if !Encoding::is_any_acceptable(head.text(http::header::ACCEPT_ENCODING)) {
        return Ok(Outcome::Answer(Answer::empty(406)));
    }
    let operation = match operation::route(head.method.as_str(), &head.path) {
        Ok(operation) => operation,
        Err(error) => return Ok(Outcome::Answer(unrouted(head, error.status()))),
    };
    ctx.route = operation.name();
    ctx.index = operation.index().map(str::to_owned);
    if app.following().is_some_and(|following| !pass::is_own(&operation, following)) {
        return Ok(Outcome::PassOn(operation, None));
    }
    // A probe learns that the gateway lives; more than that would not relieve it.
    let is_probe = matches!(operation, Operation::Own(Own::Health));
    if crowded && !is_probe {
        app.cluster.nodes.overload.metrics.rejected(Rejection::Requests).inc();
        return Err(overloaded(format!("{} requests are under way already.", app.settings().max_requests)));
    }
    let access = authenticate(app, head, &operation)?;
    ctx.key = access.key_uid;
    let address = ctx.client;
    let takes = operation.facts().takes;
    if takes == Takes::Json {
        content_type::require_json(head)?;
    }
    let by = if is_probe { Seen::Now } else { seen::at_start(app, ctx, &operation)? };
    if !is_probe {
        health::wait_for(&app.cluster.nodes, Need::Reads).await;
    }
    // Loaded once: everything that follows sees the same nodes in the same states.
    let topology = seen::topology(app, by);
    let body = match takes {
        Takes::Nothing => bytes::Bytes::new(),
        Takes::Json => {
            let (timeout, size) = {
                let settings = app.settings();
                (settings.limits.client_timeout, settings.limits.body_size)
            };
            let mut body = body::SessionBody::new(session, head, timeout, size);
            body.collect(head).await?
        }
        Takes::Documents => bytes::Bytes::new(),
    };
    let let_in = match app.ruling.book() {
        None => LetIn::unruled(head, operation, access, body),
        Some(book) => {
            let named = operation.index().map(str::to_owned);
            let request = (head, operation, body);
            let Ruled { head, operation, body, makings, answers, veil, shadows } =
                ruled::rule(app, &book, &topology, request, (&access, address), ctx).boxed().await?;
            // Another index is asked only by who may ask it.
            let same = operation.index() == named.as_deref();
            let access = if same { access } else { authenticate(app, &head, &operation)? };
            let shadows = shadows.into_iter().map(|shadow| shadow.narrowed(&access)).collect::<Result<_, _>>()?;
            LetIn { head: Cow::Owned(head), operation, access, body, makings, answers, veil, shadows }
        }
    };
    let LetIn { head, operation, access, body, makings, answers, veil, shadows } = let_in;
    let caller = Caller::of(&head, address.map(|address| address.to_string()).as_deref());
    let trace = ctx.trace();
    let mut admitted = Admitted { head: &head, operation: &operation, access, caller, trace, makings };
    if takes == Takes::Documents {
        dispatch::admit_documents(app, &admitted)?;
    }
    let _arrival = match ctx.passed.and_then(|passed| passed.task) {
        None => None,
        Some(task) => match door::settle(app, &mut admitted, task).boxed().await? {
            Settled::CarryOut(arrival) => Some(arrival),
            Settled::Answer(answer) => return Ok(Outcome::Answer(answer)),
        },
    };
    let mut outcome = match app.following() {
        Some(following) if !is_probe => seen::read(app, following, topology, &admitted, session, body).boxed().await?,
        Some(_) | None => dispatch::run(app, topology, &admitted, session, body).boxed().await?,
    };
    if let Outcome::Answer(answer) = &mut outcome
        && answer.status == 200
        && !is_probe
    {
        // What was read meanwhile may be a past by now. What was written is in the state.
        answer.seen = answer.seen.max(seen::as_leader(app, &operation)?);
    }
    if let Outcome::Answer(answer) = &outcome
        && answer.status == 200
        && answer.degraded.is_empty()
    {
        ctx.shadows.extend(shadows.into_iter().map(|shadow| shadow.answered(&answer.body)));
    }
    let Outcome::Answer(mut answer) = outcome else { return Ok(outcome) };
    if let Some(veil) = veil {
        answer = ruled::veiled(&veil, answer)?;
    }
    // They see no more than the client.
    if let Some(answers) = answers {
        answer = ruled::changed(app, &answers, answer, ctx)?;
    }
    Ok(Outcome::Answer(answer))
}

/// A request that may be carried out.
struct LetIn<'a> {
    head: Cow<'a, Head>,
    operation: Operation,
    access: Access,
    body: bytes::Bytes,
    makings: Vec<Making>,
    answers: Option<Answers>,
    veil: Option<Veil>,
    shadows: Vec<Shadow>,
}

// === impl LetIn ===

impl<'a> LetIn<'a> {
    /// As it came.
    fn unruled(head: &'a Head, operation: Operation, access: Access, body: bytes::Bytes) -> Self {
        let (makings, shadows) = (Vec::new(), Vec::new());
        Self { head: Cow::Borrowed(head), operation, access, body, makings, answers: None, veil: None, shadows }
    }
}

/// Whether the answer of a node that a request was forwarded to may go to the client.
pub fn check_forwarded(app: &App) -> pingora::Result<()> {
    if app.cluster.nodes.client.is_trusted() {
        return Ok(());
    }
    Err(pingora::Error::explain(pingora::ErrorType::InternalError, untrusted().message))
}

/// Checks the key that `operation` asks for.
fn authenticate(app: &App, head: &Head, operation: &Operation) -> Result<Access, ResponseError> {
    let facts = operation.facts();
    let Some(action) = facts.action else {
        return Ok(Access::full());
    };
    let header = head.headers.get(http::header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
    let (token, now) = (auth::check::bearer(header)?, OffsetDateTime::now_utc());
    if let Some(also) = facts.also {
        auth::check::check(&app.keyring, token, also, facts.index, now)?;
    }
    auth::check::check(&app.keyring, token, action, facts.index, now)
}

/// What the engine says where no route is: nothing, but for its greeting at the root.
fn unrouted(head: &Head, status: u16) -> Answer {
    if head.path == "/" && head.method == http::Method::GET {
        return Answer::json(200, &serde_json::json!({ "status": "Meilisearch is running" }));
    }
    Answer::empty(status)
}

/// A node that a request was forwarded to has failed. True when another is to be asked: only what reads is forwarded, and
/// nothing of an answer may have gone to the client.
pub fn goes_on(app: &App, session: &Session, ctx: &RequestContext) -> bool {
    let Some(forward) = &ctx.forward else { return false };
    if let Some(node) = forward.current() {
        app.cluster.nodes.overload.learn(&forward.topology.node(node).id, forward.sign());
    }
    forward.has_more() && session.as_downstream().response_written().is_none()
}

/// Answers a request that Pingora gave up on. Returns the status that was written, 0 where nothing could be.
pub async fn fail(session: &mut Session, ctx: &mut RequestContext, error: &pingora::Error) -> u16 {
    use pingora::{ErrorSource, ErrorType};
    if session.as_downstream().response_written().is_some() {
        return 0;
    }
    let gone = matches!(
        (error.esource(), error.etype()),
        (ErrorSource::Downstream, ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed)
    );
    if gone {
        return 0;
    }
    let answer = Answer::from(match error.esource() {
        ErrorSource::Downstream => ResponseError::new(Code::BadRequest, "The request cannot be understood."),
        ErrorSource::Upstream => no_node(),
        ErrorSource::Internal | ErrorSource::Unset if ctx.forward.is_some() => no_node(),
        ErrorSource::Internal | ErrorSource::Unset => {
            ResponseError::new(Code::Internal, "The gateway could not answer the request.")
        }
    });
    session.as_downstream_mut().set_keepalive(None);
    let head = ctx.head.take().unwrap_or_else(|| {
        let request = session.req_header();
        Head::new(request.method.clone(), &request.uri, request.headers.clone())
    });
    match respond::write(session, &head, ctx, &answer, &CompressionSettings::OFF).await {
        Ok(()) => answer.status,
        Err(_) => 0,
    }
}

/// Counts the request and writes its line into the log.
pub fn conclude(app: &App, session: &Session, ctx: &mut RequestContext, error: Option<&pingora::Error>) {
    let downstream = session.as_downstream();
    let ending = Ending {
        method: &session.req_header().method,
        answer: downstream.response_written(),
        bytes_in: downstream.body_bytes_read(),
        bytes_out: downstream.body_bytes_sent(),
        error,
    };
    app.metrics.observe(ctx.route, ending.status(), ctx.started.elapsed(), ending.bytes_in, ending.bytes_out);
    ending.trace(ctx);
    ctx.end();
    app.access_log.write(app.settings().access_log, ctx, &ending);
}
