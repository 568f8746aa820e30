//! Spans of requests, for those who collect them with OpenTelemetry.
//!
//! A request that is chosen has a span; below it stand the rounds of a read, their subrequests, and the merge. Spans are made with
//! `tracing`, under a target that log lines never have, so none shows in the logs. They name operations, indexes and nodes, never a query, a key or a
//! document.
//!
//! | file | what |
//! |---|---|
//! | [`settings`] | the section `traces` |
//! | [`parent`] | `traceparent`: which trace a request belongs to |
//! | `collector` | how spans leave |

mod collector;
pub mod parent;
pub mod settings;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TracerProvider as _};
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

pub use parent::Parent;
use settings::{Callers, Collector, TraceSettings};

/// The target of all spans of traces.
pub const TARGET: &str = "miroir::traces";

/// What makes spans, once it was opened.
static TRACES: OnceLock<Traces> = OnceLock::new();

/// Who asks, as far as its trace is known.
pub enum Caller {
    None,
    /// A client, which has no say in what is recorded unless the operator lets it.
    Client(SpanContext),
    /// Another gateway of the cluster, which has chosen the request that it passes on.
    Peer(SpanContext),
}

struct Traces {
    provider: SdkTracerProvider,
    one_in: u64,
    callers: Callers,
    /// Requests so far.
    requests: AtomicU64,
}

/// The layer that makes spans of what happens under [`TARGET`]; `None` where nobody collects them. To be called once.
///
/// # Errors
///
/// When the collector cannot be spoken to by what its settings say.
pub fn open<S>(settings: &TraceSettings) -> Result<Option<Box<dyn Layer<S> + Send + Sync>>, ExporterBuildError>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let TraceSettings::On(collector) = settings else { return Ok(None) };
    let provider = collector::provider(collector)?;
    let tracer = provider.tracer("miroir");
    let Collector { one_in, callers, .. } = *collector;
    let _ = TRACES.set(Traces { provider, one_in, callers, requests: AtomicU64::new(0) });
    let layer = tracing_opentelemetry::layer().with_tracer(tracer);
    // Neither where in the source nor on which thread: those who operate the gateway have no use for them.
    let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false).with_target(false);
    Ok(Some(layer.with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == TARGET)).boxed()))
}

/// Sends what waits to be sent; the process ends.
pub fn close() {
    if let Some(traces) = TRACES.get()
        && let Err(error) = traces.provider.shutdown()
    {
        tracing::warn!(%error, "the last spans were not sent");
    }
}

/// The span of a request of `caller`, and what is passed on of it. The span is none where the request was not chosen.
pub fn request(caller: Caller, request_id: &str, method: &str) -> (Span, Parent) {
    let passed = |caller: Caller| caller.span().map_or(Parent::None, Parent::Passed);
    let Some(traces) = TRACES.get() else { return (Span::none(), passed(caller)) };
    let chosen = match &caller {
        Caller::Peer(_) => true,
        Caller::Client(span) if span.is_sampled() && traces.callers == Callers::Followed => true,
        Caller::Client(_) | Caller::None => false,
    };
    // By counting, so that none can choose to be recorded.
    let is_due = traces.requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(traces.one_in);
    if !chosen && !is_due {
        return (Span::none(), passed(caller));
    }
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "request",
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = Empty,
        http.response.status_code = Empty,
        miroir.request_id = request_id,
        miroir.index = Empty,
        miroir.node = Empty,
        miroir.degraded = Empty,
        miroir.inexact = Empty,
        miroir.cache = Empty,
    );
    if let Some(caller) = caller.span() {
        adopt(&span, caller);
    }
    let parent = context(&span).map_or(Parent::None, Parent::Recorded);
    (span, parent)
}

/// One question to several nodes, on behalf of `parent`.
pub fn round(parent: &Parent, what: &'static str) -> Span {
    below(parent, || tracing::info_span!(target: TARGET, "round", miroir.round = what))
}

/// Several replies become one.
pub fn merge(parent: &Parent) -> Span {
    below(parent, || tracing::info_span!(target: TARGET, "merge"))
}

/// One question to `node`; `path` without what is asked there.
pub fn subrequest(parent: &Parent, node: &str, method: &str, path: &str) -> Span {
    below(parent, || {
        tracing::info_span!(
            target: TARGET,
            "subrequest",
            otel.kind = "client",
            otel.status_code = Empty,
            http.request.method = method,
            url.path = path.split('?').next().unwrap_or_default(),
            http.response.status_code = Empty,
            "error.type" = Empty,
            miroir.node = node,
        )
    })
}

/// What a node is told of the trace: the span at work, else what is known of the request.
pub fn told(parent: &Parent) -> Option<String> {
    let at_work = if matches!(parent, Parent::Recorded(_)) { context(&Span::current()) } else { None };
    at_work.as_ref().or(parent.context()).map(parent::write)
}

/// Below the span at work, if it is one of a trace; else, as in work that outlives its request, below the request's.
fn below(parent: &Parent, make: impl FnOnce() -> Span) -> Span {
    let Parent::Recorded(request) = parent else { return Span::none() };
    if is_of_a_trace(&Span::current()) {
        return make();
    }
    let span = make();
    adopt(&span, request.clone());
    span
}

// === impl Caller ===

impl Caller {
    fn span(self) -> Option<SpanContext> {
        match self {
            Self::None => None,
            Self::Client(span) | Self::Peer(span) => Some(span),
        }
    }
}

fn is_of_a_trace(span: &Span) -> bool {
    span.metadata().is_some_and(|metadata| metadata.target() == TARGET)
}

fn adopt(span: &Span, parent: SpanContext) {
    // It fails only where spans are not sent, or this one has begun.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

fn context(span: &Span) -> Option<SpanContext> {
    if !is_of_a_trace(span) {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then_some(context)
}
