//! The line that each request leaves in the log. It names no key, no query and no document.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pingora::http::ResponseHeader;

use super::context::RequestContext;
use super::forward::Forwarding;
use super::head::{CACHE_STATUS, DEGRADED, INEXACT};
use crate::settings::{FromSection, Section};

/// The section `access_log`: which requests have a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// A request that took longer is a warning.
    pub slow_after: Duration,
    /// One of so many ordinary requests has a line. Those that are slow, that failed or whose answer is not whole all have one.
    pub one_in: u64,
}

/// The lines so far.
#[derive(Debug, Default)]
pub struct AccessLog {
    ordinary: AtomicU64,
}

/// How a request ended.
pub struct Ending<'a> {
    pub method: &'a http::Method,
    /// The head of the answer, if one was written.
    pub answer: Option<&'a ResponseHeader>,
    pub bytes_in: usize,
    pub bytes_out: usize,
    pub error: Option<&'a pingora::Error>,
}

/// What a line is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Ordinary,
    /// It failed, or its answer is not whole.
    Unusual,
    Slow,
}

// === impl AccessLogSettings ===

impl FromSection for AccessLogSettings {
    fn read(section: &mut Section) -> Self {
        Self {
            slow_after: section.duration("slow_after", Duration::from_secs(5)),
            one_in: section.integer("one_in", 1..=1_000_000, 1),
        }
    }
}

// === impl Ending ===

impl Ending<'_> {
    /// 0 where nothing was answered.
    pub fn status(&self) -> u16 {
        self.answer.map_or(0, |header| header.status.as_u16())
    }

    /// Empty where the answer has no such header.
    fn header(&self, name: &str) -> &str {
        let value = self.answer.and_then(|header| header.headers.get(name));
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Writes into the span of the request, if it has one, what its line says.
    pub fn trace(&self, ctx: &RequestContext) {
        let (span, status) = (&ctx.span, self.status());
        if span.is_none() {
            return;
        }
        span.record("http.route", ctx.route).record("http.response.status_code", status);
        if status == 0 || status >= 500 || self.error.is_some() {
            span.record("otel.status_code", "ERROR");
        }
        let node = ctx.forward.as_ref().and_then(Forwarding::node_id).unwrap_or_default();
        let facts = [
            ("miroir.index", ctx.index.as_deref().unwrap_or_default()),
            ("miroir.node", node),
            ("miroir.degraded", self.header(DEGRADED)),
            ("miroir.inexact", self.header(INEXACT)),
            ("miroir.cache", self.header(CACHE_STATUS)),
        ];
        for (name, fact) in facts.into_iter().filter(|(_, fact)| !fact.is_empty()) {
            span.record(name, fact);
        }
    }

    fn line(&self, took: Duration, settings: AccessLogSettings) -> Line {
        let status = self.status();
        if took > settings.slow_after {
            Line::Slow
        } else if status == 0 || status >= 500 || self.error.is_some() || !self.header(DEGRADED).is_empty() {
            Line::Unusual
        } else {
            Line::Ordinary
        }
    }
}

// === impl AccessLog ===

impl AccessLog {
    /// Every so many requests, whatever a client says of itself: none can choose to be left out.
    fn is_due(&self, one_in: u64) -> bool {
        self.ordinary.fetch_add(1, Ordering::Relaxed).is_multiple_of(one_in)
    }

    /// Writes the line of a request that has ended.
    pub fn write(&self, settings: AccessLogSettings, ctx: &RequestContext, ending: &Ending<'_>) {
        let took = ctx.started.elapsed();
        let line = ending.line(took, settings);
        if line == Line::Ordinary && !self.is_due(settings.one_in) {
            return;
        }
        let taken = ctx.times.taken();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        // The level of an event is fixed where it stands.
        macro_rules! write {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    target: "miroir::access",
                    request_id = ctx.request_id(),
                    method = ending.method.as_str(),
                    route = ctx.route,
                    index = ctx.index.as_deref().unwrap_or_default(),
                    status = ending.status(),
                    milliseconds = milliseconds(took),
                    gateway_milliseconds = milliseconds(took.saturating_sub(taken.together)),
                    nodes = tracing::field::display(&taken),
                    hits = ctx.hits,
                    bytes_in = ending.bytes_in,
                    bytes_out = ending.bytes_out,
                    degraded = ending.header(DEGRADED),
                    inexact = ending.header(INEXACT),
                    cache = ending.header(CACHE_STATUS),
                    node = ctx.forward.as_ref().and_then(Forwarding::node_id).unwrap_or_default(),
                    client = ctx.client.map(tracing::field::display),
                    key = ctx.key.map(tracing::field::display),
                    labels = ctx.labels.join(", "),
                    error = ending.error.map(|error| error.etype().as_str()).unwrap_or_default(),
                    $message
                )
            };
        }
        match line {
            Line::Slow => write!(warn, "slow request"),
            Line::Ordinary | Line::Unusual => write!(info, "request"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: AccessLogSettings = AccessLogSettings { slow_after: Duration::from_secs(5), one_in: 3 };

    fn line(status: u16, header: Option<&'static str>, took: u64) -> Line {
        let mut answer = ResponseHeader::build(status, None).unwrap();
        if let Some(name) = header {
            answer.insert_header(name, "x").unwrap();
        }
        let ending =
            Ending { method: &http::Method::GET, answer: Some(&answer), bytes_in: 0, bytes_out: 0, error: None };
        ending.line(Duration::from_secs(took), SETTINGS)
    }

    #[test]
    fn what_is_slow_or_failed_or_not_whole_always_has_a_line() {
        assert_eq!(line(200, None, 5), Line::Ordinary);
        assert_eq!(line(404, Some(INEXACT), 1), Line::Ordinary);
        assert_eq!(line(200, None, 6), Line::Slow);
        assert_eq!(line(503, None, 1), Line::Unusual);
        assert_eq!(line(200, Some(DEGRADED), 1), Line::Unusual);
        let unanswered = Ending { method: &http::Method::GET, answer: None, bytes_in: 0, bytes_out: 0, error: None };
        assert_eq!(unanswered.line(Duration::ZERO, SETTINGS), Line::Unusual);
    }

    #[test]
    fn of_ordinary_requests_every_so_many_has_one() {
        let log = AccessLog::default();
        let due: Vec<bool> = (0..7).map(|_| log.is_due(SETTINGS.one_in)).collect();
        assert_eq!(due, [true, false, false, true, false, false, true]);
        assert!((0..5).all(|_| AccessLog::default().is_due(1)));
    }
}
