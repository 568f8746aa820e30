//! What can go wrong between the gateway and a node.

use std::time::Duration;

use crate::meili::error::{Code, ResponseError};
use crate::placement::topology::NodeId;
use crate::store::StoreError;
use crate::store::leadership::Loss;

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
    /// This gateway may not change it, or not yet: nothing was sent.
    #[error("it takes no changes of this gateway: {0}")]
    Unfenced(String),
}

// === impl NodeError ===

impl NodeError {
    /// `kind` is what became of a subrequest to `node`.
    pub fn new(node: &NodeId, kind: NodeErrorKind) -> Self {
        Self { node: node.clone(), kind }
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
            NodeErrorKind::Local(_) | NodeErrorKind::QueueFull { .. } | NodeErrorKind::Unfenced(_) => {
                Outcome::LocalError
            }
        }
    }

    /// The error as a client sees it.
    pub fn to_response(&self) -> ResponseError {
        unavailable(&self.node)
    }
}

/// 503: a node has not said what only it could.
pub fn unavailable(node: &NodeId) -> ResponseError {
    ResponseError::new(Code::MiroirNodeUnavailable, format!("Node `{node}` did not answer."))
}

/// The state failed: the client's request cannot be carried out safely.
pub fn store_failed(error: &StoreError) -> ResponseError {
    tracing::error!(%error, "state store failed");
    match error {
        StoreError::Away(_) => ResponseError::new(
            Code::MiroirStateUnavailable,
            "The database that holds the state of the cluster cannot be reached. Searches go on; try again later.",
        ),
        StoreError::Lost(loss @ (Loss::Tail { .. } | Loss::Moved { .. })) => {
            ResponseError::new(Code::MiroirStateLost, said(loss))
        }
        StoreError::Lost(loss @ (Loss::Superseded { .. } | Loss::GivenUp | Loss::Led { .. } | Loss::Newer { .. })) => {
            ResponseError::new(Code::MiroirStateUnavailable, said(loss))
        }
        StoreError::Open { .. }
        | StoreError::Sqlite(_)
        | StoreError::Corrupt { .. }
        | StoreError::Unknown { .. }
        | StoreError::Folder { .. }
        | StoreError::Commit(_)
        | StoreError::Newer { .. }
        | StoreError::Thread(_)
        | StoreError::Stopped
        | StoreError::Address(_)
        | StoreError::Postgres(_)
        | StoreError::ShardsChanged { .. } => {
            ResponseError::new(Code::Internal, "The state of the cluster could not be written.")
        }
    }
}

/// This gateway's lease is over as far as it knows, so another may lead and nodes may have changed.
pub fn untrusted() -> ResponseError {
    let message =
        "The lease of this gateway could not be renewed in time, so another one may lead by now. Try again later.";
    ResponseError::new(Code::MiroirStateUnavailable, message)
}

fn said(loss: &Loss) -> String {
    format!("This gateway no longer leads: {loss}.")
}
