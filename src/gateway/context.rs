//! One request's story, kept from its head to its log line.

use core::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderName, HeaderValue};
use pingora::http::ResponseHeader;
use uuid::Uuid;

use super::cors::{self, CorsSettings};
use super::forward::Forwarding;
use super::head::{Head, TRACEPARENT};
use super::metrics::InFlight;
use super::peers::passed::{Passed, PassedTrace};
use super::shadow::Shadow;
use crate::nodes::client::Trace;
use crate::nodes::times::NodeTimes;
use crate::rules::concurrency::Place;
use crate::traces::{self, Caller, Parent, parent};

/// What is remembered of a request between Pingora's phases.
pub struct RequestContext {
    pub started: Instant,
    request_id: String,
    /// What nodes are told of the trace that it belongs to.
    parent: Parent,
    /// Its span, if it has one.
    pub span: tracing::Span,
    /// The operation's name, the same for every index.
    pub route: &'static str,
    pub index: Option<String>,
    /// Set when Pingora is to carry the request to a node.
    pub forward: Option<Forwarding>,
    /// Whom the request is from, as far as is known.
    pub client: Option<IpAddr>,
    /// Of the API key, once it was checked.
    pub key: Option<Uuid>,
    /// What rules want among the headers of the answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What the request takes of what rules allow at once.
    pub places: Vec<Place>,
    /// What is asked again once the answer is written.
    pub shadows: Vec<Shadow>,
    /// What rules want in the log.
    pub labels: Vec<String>,
    /// How many hits its answer shows, where that is what it shows.
    pub hits: Option<u64>,
    /// How long nodes are being asked for it.
    pub times: NodeTimes,
    /// Kept only for requests that are forwarded.
    pub head: Option<Head>,
    /// What the gateway says that passed the request on, if one did.
    pub passed: Option<Passed>,
    in_flight: Option<InFlight>,
    /// Set with the head.
    cors: Option<Arc<CorsSettings>>,
}

// === impl RequestContext ===

impl RequestContext {
    /// The time runs from here.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            request_id: String::new(),
            parent: Parent::None,
            span: tracing::Span::none(),
            route: "unrouted",
            index: None,
            forward: None,
            client: None,
            key: None,
            headers: Vec::new(),
            places: Vec::new(),
            shadows: Vec::new(),
            labels: Vec::new(),
            hits: None,
            times: NodeTimes::default(),
            head: None,
            passed: None,
            in_flight: None,
            cors: None,
        }
    }

    /// A head has arrived. The clock starts here: a kept-alive connection may have been idle before.
    pub fn begin(&mut self, head: &Head, in_flight: InFlight, cors: &Arc<CorsSettings>) {
        self.cors = Some(Arc::clone(cors));
        self.started = Instant::now();
        self.request_id = head.request_id();
        let said = parent::read(head.headers.get_all(TRACEPARENT).iter());
        let caller = match (said, self.passed.map(|passed| passed.trace)) {
            (None, _) => Caller::None,
            (Some(said), Some(PassedTrace::Recorded)) => Caller::Peer(said),
            (Some(said), Some(PassedTrace::Clients) | None) => Caller::Client(said),
        };
        (self.span, self.parent) = traces::request(caller, &self.request_id, head.method.as_str());
        self.in_flight = Some(in_flight);
    }

    /// Empty until the head was read.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Its own span as `traceparent`, where it was chosen to have one.
    pub fn recorded(&self) -> Option<String> {
        match &self.parent {
            Parent::Recorded(span) => Some(parent::write(span)),
            Parent::None | Parent::Passed(_) => None,
        }
    }

    /// What ties its subrequests together.
    pub fn trace(&self) -> Trace {
        let task = self.passed.and_then(|passed| passed.task).map(|task| task.uuid);
        Trace { task, times: Some(self.times.clone()), ..Trace::new(&*self.request_id).under(self.parent.clone()) }
    }

    /// Adds to the answer what pages of browsers want to know, and what rules say.
    pub fn add_headers(&self, head: &Head, header: &mut ResponseHeader) -> pingora::Result<()> {
        if let Some(cors) = &self.cors {
            cors::allow(cors, head, header)?;
        }
        for (name, value) in &self.headers {
            header.insert_header(name.clone(), value.clone())?;
        }
        Ok(())
    }

    /// The request is over.
    pub fn end(&mut self) {
        self.in_flight = None;
        self.places.clear();
        self.span = tracing::Span::none();
    }
}

impl Default for RequestContext {
    fn default() -> Self {
        Self::new()
    }
}
