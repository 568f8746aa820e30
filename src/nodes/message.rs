//! A request to a node and its answer, as those see them who carry them and those who judge them.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::spool::Spool;
use super::times::NodeTimes;
use crate::meili::error::ResponseError;
use crate::merge::error::shown;
use crate::traces::Parent;

/// What ties the subrequests of one client's request together in logs, here and on the nodes.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Sent as `x-request-id`.
    pub request_id: String,
    /// Sent as `traceparent`, as far as there is one.
    pub parent: Parent,
    /// Of the task that the request is to have, where another gateway has named it.
    pub task: Option<Uuid>,
    /// How long nodes are being asked, where somebody wants to know.
    pub times: Option<NodeTimes>,
}

/// One request to one node.
#[derive(Debug, Clone)]
pub struct Subrequest {
    pub method: http::Method,
    /// Path and query.
    pub path: String,
    pub content_type: Option<&'static str>,
    pub body: SubBody,
    /// For all of it, from resolving the address to the reply's last byte.
    pub timeout: Duration,
    /// True when carrying it out twice does no harm: it is repeated once if a kept-alive connection turns out closed.
    pub idempotent: bool,
}

/// What a subrequest sends.
#[derive(Debug, Clone)]
pub enum SubBody {
    Empty,
    Bytes(Bytes),
    /// A range of a spool's bytes.
    Spool(Spool, Range<u64>),
}

/// A node's whole answer, whatever its status.
#[derive(Debug, Clone)]
pub struct NodeReply {
    pub status: u16,
    pub body: Bytes,
    /// From the header of that name, where it says seconds.
    pub retry_after: Option<Duration>,
}

// === impl Trace ===

impl Trace {
    /// Of a client's request with this id.
    pub fn new(request_id: impl Into<String>) -> Self {
        Self { request_id: request_id.into(), parent: Parent::None, task: None, times: None }
    }

    /// For work that no client asked for: `repair-<uuid>`.
    pub fn background(what: &str) -> Self {
        Self::new(format!("{what}-{}", Uuid::now_v7()))
    }

    /// The same as a part of a trace.
    #[must_use]
    pub fn under(self, parent: Parent) -> Self {
        Self { parent, ..self }
    }
}

// === impl Subrequest ===

impl Subrequest {
    /// A GET, which is idempotent.
    pub fn get(path: impl Into<String>, timeout: Duration) -> Self {
        Self {
            method: http::Method::GET,
            path: path.into(),
            content_type: None,
            body: SubBody::Empty,
            timeout,
            idempotent: true,
        }
    }

    /// A request with a JSON body; `idempotent` says whether it may be repeated (a POST that only reads may).
    pub fn json(
        method: http::Method,
        path: impl Into<String>,
        body: Bytes,
        timeout: Duration,
        idempotent: bool,
    ) -> Self {
        Self {
            method,
            path: path.into(),
            content_type: Some("application/json"),
            body: SubBody::Bytes(body),
            timeout,
            idempotent,
        }
    }
}

// === impl SubBody ===

impl SubBody {
    /// In bytes, as they are sent.
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Spool(_, range) => range.end - range.start,
        }
    }

    /// True without a byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes, unless they are in a file.
    pub(super) fn in_memory(&self) -> Option<Bytes> {
        match self {
            Self::Empty => Some(Bytes::new()),
            Self::Bytes(bytes) => Some(bytes.clone()),
            Self::Spool(spool, range) => spool.slice(range.clone()).in_memory(),
        }
    }

    /// What is in memory anyway.
    pub(super) fn at_hand(&self) -> Option<&[u8]> {
        match self {
            Self::Empty => Some(&[]),
            Self::Bytes(bytes) => Some(bytes),
            Self::Spool(..) => None,
        }
    }
}

// === impl NodeReply ===

impl NodeReply {
    /// True for a status of 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The node's error, if that is what the reply is, in the node's own words: for decisions, not for clients.
    pub fn error(&self) -> Option<ResponseError> {
        if self.is_success() { None } else { ResponseError::from_node(self.status, &self.body) }
    }

    /// The node's error as clients may see it.
    pub fn shown_error(&self) -> Option<ResponseError> {
        self.error().map(shown)
    }
}
