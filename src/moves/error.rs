//! What keeps a wish from being granted, or a step from being taken.

use crate::meili::error::{Code, ResponseError};
use crate::nodes::error::{NodeError, store_failed};
use crate::rebalance::Refusal;
use crate::store::StoreError;

/// Why a wish is not carried out, or a move does not go on.
#[derive(Debug, thiserror::Error)]
pub enum RebalanceError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("node `{id}` has the url `{url}`: {reason}")]
    Url { id: String, url: String, reason: String },
    #[error("the number of shards is fixed when a cluster is made: it is {stored}, not {configured}")]
    Shards { stored: u16, configured: u16 },
    #[error("the configuration cannot be read: {0}")]
    Config(String),
    #[error("this gateway was started without a configuration file")]
    NoConfig,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("deleting left-over documents of index `{index}` failed on node `{node}`: {message}")]
    Cleanup { node: String, index: String, message: String },
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

// === impl RebalanceError ===

impl RebalanceError {
    /// As an operator reads it.
    pub fn to_response(&self) -> ResponseError {
        let status = match self {
            Self::Refused(refusal) => match refusal {
                Refusal::BadId(_) | Refusal::BadZone(_) | Refusal::BadWeight(_) | Refusal::BadReplicationFactor(_) => {
                    400
                }
                Refusal::Unknown(_) => 404,
                Refusal::Exists(_)
                | Refusal::UrlTaken { .. }
                | Refusal::Nobody
                | Refusal::LastReplica { .. }
                | Refusal::Nothing
                | Refusal::NoPlan
                | Refusal::Canceling
                | Refusal::NothingToUndo => 409,
            },
            Self::Url { .. } | Self::Config(_) => 400,
            Self::Shards { .. } | Self::NoConfig => 409,
            Self::Store(error) => return store_failed(error),
            Self::Node(error) => return error.to_response(),
            Self::Cleanup { .. } | Self::Metrics(_) => 500,
        };
        ResponseError { status, ..ResponseError::new(Code::BadRequest, self.to_string()) }
    }
}
