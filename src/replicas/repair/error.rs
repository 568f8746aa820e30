//! Why a repair stopped short, and whom that concerns.

use std::time::Duration;

use crate::nodes::error::NodeError;
use crate::nodes::meaning::{ForRepair, Meaning};
use crate::placement::topology::NodeId;
use crate::replicas::identity::IdentityError;
use crate::replicas::interrupted;
use crate::replicas::late::LookError;
use crate::store::StoreError;

/// Why a repair stopped short.
#[derive(Debug, thiserror::Error)]
pub(super) enum RepairError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Interrupted(#[from] interrupted::InterruptedError),
    #[error("task {uid} failed: {message}")]
    Task { uid: u32, message: String },
    #[error("the queue of index `{index}` did not run empty within {limit:?}")]
    Busy { index: String, limit: Duration },
    #[error("changes of dynamic search rules are not carried out within {limit:?}")]
    RulesBusy { limit: Duration },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("{0}")]
    Hook(String),
    #[error("it broke off: {0}")]
    BrokeOff(#[from] tokio::task::JoinError),
    #[error("none of the nodes that have the right settings is there: {nodes}")]
    Away { nodes: String },
    #[error("its primary key is `{held}`, and `{recorded}` is on record; the nodes are being asked")]
    KeyInDoubt { held: String, recorded: String },
    #[error("it has missed changes again and again")]
    StillChanging,
}

// === impl RepairError ===

impl From<LookError> for RepairError {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Node(error) => Self::Node(error),
            LookError::Store(error) => Self::Store(error),
        }
    }
}

impl RepairError {
    /// True for what keeps `node` out of service as a whole; anything else is about one index of it.
    pub(super) fn concerns_node(&self, node: &NodeId) -> bool {
        match self {
            Self::Node(error) if error.node != *node => false,
            Self::Node(error) => match Meaning::of_error(&error.kind).policy().repair {
                ForRepair::Node => true,
                ForRepair::Index => false,
            },
            Self::Task { .. } | Self::Busy { .. } | Self::Away { .. } | Self::KeyInDoubt { .. } | Self::BrokeOff(_) => {
                false
            }
            Self::Store(_)
            | Self::Interrupted(_)
            | Self::Identity(_)
            | Self::Hook(_)
            | Self::RulesBusy { .. }
            | Self::StillChanging => true,
        }
    }
}
