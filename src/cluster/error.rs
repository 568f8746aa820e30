//! Why a cluster cannot be started.

use crate::moves::RebalanceError;
use crate::replicas::identity::IdentityError;
use crate::store::StoreError;
use crate::tracking::TrackingError;

/// A failure to start the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error(transparent)]
    Layout(#[from] RebalanceError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Tracking(#[from] TrackingError),
}
