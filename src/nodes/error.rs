//! What can go wrong between the gateway and a node, and what may be done about it.

use std::time::Duration;

use crate::meili::error::{Code, ResponseError};
use crate::moves::RebalanceError;
use crate::placement::topology::NodeId;
use crate::store::StoreError;

/// A subrequest that brought no usable reply. A reply with an error status is a reply, not a `NodeError`.
#[derive(Debug, thiserror::Error)]
#[error("node {node}: {kind}")]
pub struct NodeError {
    pub node: NodeId,
    pub kind: NodeErrorKind,
}

/// How a subrequest failed.
#[derive(Debug, thiserror::Error)]
pub enum NodeErrorKind {
    #[error("cannot resolve its address: {0}")]
    Resolve(String),
    #[error("cannot connect: {0}")]
    Connect(String),
    /// It takes no connection in time: perhaps it only has too much to do.
    #[error("no connection in time: {0}")]
    ConnectTimeout(String),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke before the whole request was written or a byte of the reply came.
    #[error("connection closed before a reply came: {0}")]
    Closed(String),
    /// The reply broke off, or its length is not what its head announced.
    #[error("reply cut off: {0}")]
    Truncated(String),
    #[error("reply is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("reply cannot be understood: {0}")]
    Malformed(String),
    /// The body to send could not be read from its spool, or the request could not be built.
    #[error("request cannot be sent: {0}")]
    Local(String),
    /// As many requests wait for the node as may: this one was not sent.
    #[error("{waiting} requests wait for it already")]
    QueueFull { waiting: usize },
}

/// What is known about a failed subrequest's effect, and so whether it may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// The node has surely not seen the request.
    NotSent,
    /// The node may have carried it out: look before repeating what is not idempotent.
    MaybeApplied,
    /// Repeating would fail alike.
    Never,
}

/// A failure to start the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error(transparent)]
    Layout(#[from] RebalanceError),
}

// === impl NodeError ===

impl NodeError {
    pub fn new(node: &NodeId, kind: NodeErrorKind) -> Self {
        Self { node: node.clone(), kind }
    }

    pub fn retry_class(&self) -> RetryClass {
        match &self.kind {
            NodeErrorKind::Resolve(_)
            | NodeErrorKind::Connect(_)
            | NodeErrorKind::ConnectTimeout(_)
            | NodeErrorKind::QueueFull { .. } => RetryClass::NotSent,
            NodeErrorKind::Timeout(_)
            | NodeErrorKind::Closed(_)
            | NodeErrorKind::Truncated(_)
            | NodeErrorKind::Malformed(_) => RetryClass::MaybeApplied,
            NodeErrorKind::TooLarge { .. } | NodeErrorKind::Local(_) => RetryClass::Never,
        }
    }

    /// The label of the metric `miroir_subrequests_total`.
    pub fn outcome(&self) -> super::metrics::Outcome {
        use super::metrics::Outcome;
        match &self.kind {
            NodeErrorKind::Resolve(_) | NodeErrorKind::Connect(_) | NodeErrorKind::ConnectTimeout(_) => {
                Outcome::ConnectError
            }
            NodeErrorKind::Timeout(_) => Outcome::Timeout,
            NodeErrorKind::Closed(_) => Outcome::Closed,
            NodeErrorKind::Truncated(_) | NodeErrorKind::TooLarge { .. } | NodeErrorKind::Malformed(_) => {
                Outcome::BadReply
            }
            NodeErrorKind::Local(_) | NodeErrorKind::QueueFull { .. } => Outcome::LocalError,
        }
    }

    /// The error as a client sees it.
    pub fn to_response(&self) -> ResponseError {
        ResponseError::new(Code::MiroirNodeUnavailable, format!("Node `{}` did not answer.", self.node))
    }
}

/// The state file failed: the client's request cannot be carried out safely.
pub fn store_failed(error: &StoreError) -> ResponseError {
    tracing::error!(%error, "state store failed");
    ResponseError::new(Code::Internal, "The state of the cluster could not be written.")
}
