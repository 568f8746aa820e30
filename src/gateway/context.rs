//! One request's story, kept from its head to its log line.

use core::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderName, HeaderValue};
use pingora::http::ResponseHeader;
use uuid::Uuid;

use super::cors::{self, CorsSettings};
use super::forward::Forwarding;
use super::head::Head;
use super::metrics::InFlight;

/// What is remembered of a request between Pingora's phases.
pub struct RequestContext {
    pub started: Instant,
    request_id: String,
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
    /// What rules want in the log.
    pub labels: Vec<String>,
    /// Kept only for requests that are forwarded.
    pub head: Option<Head>,
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
            route: "unrouted",
            index: None,
            forward: None,
            client: None,
            key: None,
            headers: Vec::new(),
            labels: Vec::new(),
            head: None,
            in_flight: None,
            cors: None,
        }
    }

    /// A head has arrived. The clock starts here: a kept-alive connection may have been idle before.
    pub fn begin(&mut self, head: &Head, in_flight: InFlight, cors: &Arc<CorsSettings>) {
        self.cors = Some(Arc::clone(cors));
        self.started = Instant::now();
        self.request_id = head.request_id();
        self.in_flight = Some(in_flight);
    }

    /// Empty until the head was read.
    pub fn request_id(&self) -> &str {
        &self.request_id
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
    }
}

impl Default for RequestContext {
    fn default() -> Self {
        Self::new()
    }
}
