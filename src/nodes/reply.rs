//! A node's reply, as it came.

use std::time::Duration;

use bytes::Bytes;

use crate::meili::error::ResponseError;
use crate::merge::error::shown;

/// A node's whole answer, whatever its status.
#[derive(Debug, Clone)]
pub struct NodeReply {
    pub status: u16,
    pub body: Bytes,
    pub retry_after: Option<Duration>,
}

// === impl NodeReply ===

impl NodeReply {
    /// True for 2xx. What other statuses mean is said by [`Meaning`](super::meaning::Meaning).
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
