//! What came of a subrequest: the one place that reads statuses, error codes and failures of connections. What is made of it
//! is a matter of who asked: [`Policy`].
//!
//! | module | what lives there |
//! |---|---|
//! | `policy` | the table of what reads, circuits, writes, the order of changes, forwards, health and repairs make of each meaning |

mod policy;

pub use self::policy::{ForChange, ForCircuit, ForForward, ForHealth, ForRead, ForRepair, ForWrite, Policy, Price};
use bytes::Bytes;

use super::error::{NodeError, NodeErrorKind};
use super::message::NodeReply;
use crate::meili::error::{Code, ErrorType, ResponseError};
use crate::merge::error::is_unready;

/// What a node's reply means, or that none came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// 2xx.
    Answer,
    /// The engine finds fault with the request, as every node's would.
    Wrong,
    /// The engine says that there is no such document, task or key, as every node's would.
    NoSuch,
    /// The engine does not know the index, or the document to compare with: it may not have got to the task that brings it.
    NotHere,
    /// The node lacks the field that Miroir asks for shards by: it has not all of the index yet.
    Unready,
    /// 408, 429, 503: it has too much to do.
    Busy,
    /// 401, 403: it refuses Miroir's own key.
    Unauthorised,
    /// The engine has trouble of its own, such as a full disk.
    Ailing,
    /// An error inside the engine. What several nodes say alike is about the request.
    Internal,
    /// Another 5xx.
    Broken,
    /// 502, 504: what stands in front of the node has no answer of it, and the node may have carried out the request.
    Unanswered,
    /// Not in the engine's words: a page of something else.
    Foreign,
    /// No connection: its address is unknown, or it refuses.
    Unreachable,
    /// It takes no connection in time: perhaps it only has too much to do.
    Unconnected,
    /// No reply in time.
    TimedOut,
    /// The connection broke before a reply came.
    Closed,
    /// A reply that breaks off, is no HTTP, or is not what was asked for.
    Garbled,
    /// More than Miroir takes.
    TooLarge,
    /// Miroir could not make or read what it would have sent.
    Unsent,
    /// Too many requests wait for the node, or this gateway may not change it: this one was not sent.
    Queued,
}

// === impl Meaning ===

impl Meaning {
    /// Every meaning, in the order of the table.
    pub const ALL: &'static [Meaning] = &[
        Self::Answer,
        Self::Wrong,
        Self::NoSuch,
        Self::NotHere,
        Self::Unready,
        Self::Busy,
        Self::Unauthorised,
        Self::Ailing,
        Self::Internal,
        Self::Broken,
        Self::Unanswered,
        Self::Foreign,
        Self::Unreachable,
        Self::Unconnected,
        Self::TimedOut,
        Self::Closed,
        Self::Garbled,
        Self::TooLarge,
        Self::Unsent,
        Self::Queued,
    ];

    /// The meaning of what a subrequest brought.
    pub fn of(answer: &Result<NodeReply, NodeError>) -> Self {
        match answer {
            Ok(reply) => Self::of_reply(reply),
            Err(error) => Self::of_error(&error.kind),
        }
    }

    /// The meaning of an answer of which a part is needed: `readable` says whether a successful reply's body is what was
    /// asked for.
    pub fn of_readable(answer: &Result<NodeReply, NodeError>, readable: impl Fn(&Bytes) -> bool) -> Self {
        match (Self::of(answer), answer) {
            (Self::Answer, Ok(reply)) if !readable(&reply.body) => Self::Garbled,
            (meaning, _) => meaning,
        }
    }

    /// By status first, then by the code and the type of the engine's error `{message, code, type, link}`.
    pub fn of_reply(reply: &NodeReply) -> Self {
        of_status(reply.status).unwrap_or_else(|| match reply.error() {
            Some(error) => of_engine_error(&error),
            None if reply.status >= 500 => Self::Broken,
            None => Self::Foreign,
        })
    }

    /// The meaning of an error by itself, a node's or one that was made of several replies: what [`Meaning::of_reply`] says of the
    /// reply that carries it.
    pub fn of_refusal(error: &ResponseError) -> Self {
        of_status(error.status).unwrap_or_else(|| of_engine_error(error))
    }

    /// The meaning of a reply of which only the head is known. Its body passes through unread, so what is said is taken for
    /// the engine's where it is JSON.
    pub fn of_head(status: u16, content_type: Option<&[u8]>) -> Self {
        let is_json = || content_type.is_some_and(|kind| kind.to_ascii_lowercase().starts_with(b"application/json"));
        match of_status(status) {
            Some(Self::Answer) if status != 204 && !is_json() => Self::Foreign,
            Some(meaning) => meaning,
            None if status >= 500 => Self::Broken,
            // The engine answers so where a disk is full or files cannot be opened, and nowhere else.
            None if status == Code::IoError.status() => Self::Ailing,
            None if is_json() => Self::Wrong,
            None => Self::Foreign,
        }
    }

    /// The meaning of a failure, by what is known of the request's way.
    pub fn of_error(kind: &NodeErrorKind) -> Self {
        match kind {
            NodeErrorKind::Resolve(_) | NodeErrorKind::Connect(_) => Self::Unreachable,
            NodeErrorKind::ConnectTimeout(_) => Self::Unconnected,
            NodeErrorKind::Timeout(_) => Self::TimedOut,
            NodeErrorKind::Closed(_) => Self::Closed,
            NodeErrorKind::Truncated(_) | NodeErrorKind::Malformed(_) => Self::Garbled,
            NodeErrorKind::TooLarge { .. } => Self::TooLarge,
            NodeErrorKind::Local(_) => Self::Unsent,
            NodeErrorKind::QueueFull { .. } | NodeErrorKind::Unfenced(_) => Self::Queued,
        }
    }
}

/// What a status says alone; `None` where the body says more.
fn of_status(status: u16) -> Option<Meaning> {
    match status {
        200..300 => Some(Meaning::Answer),
        401 | 403 => Some(Meaning::Unauthorised),
        408 | 429 | 503 => Some(Meaning::Busy),
        502 | 504 => Some(Meaning::Unanswered),
        400.. => None,
        // The engine neither redirects nor says that something is unchanged.
        0..200 | 300..400 => Some(Meaning::Foreign),
    }
}

fn of_engine_error(error: &ResponseError) -> Meaning {
    match (error.status, error.error_type) {
        (500.., _) if error.is(Code::Internal) => Meaning::Internal,
        (500.., _) => Meaning::Broken,
        _ if error.is(Code::IndexNotFound) || error.is(Code::NotFoundSimilarId) => Meaning::NotHere,
        _ if is_unready(error) => Meaning::Unready,
        (_, ErrorType::System | ErrorType::Internal) => Meaning::Ailing,
        (404, ErrorType::InvalidRequest | ErrorType::Auth) => Meaning::NoSuch,
        (_, ErrorType::InvalidRequest | ErrorType::Auth) => Meaning::Wrong,
    }
}

#[cfg(test)]
mod tests;
