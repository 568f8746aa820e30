//! Talks to nodes and keeps what the cluster must remember.

pub mod client;
pub mod error;
pub mod health;
pub mod insync;
pub mod lanes;
pub mod metrics;
pub mod reconcile;
pub mod registry;
pub mod repair;
pub mod resilver;
pub mod settings;
pub mod task_host;
pub mod task_metrics;
pub mod task_ops;
pub mod transport;
pub mod write;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::placement::topology::Topology;
use crate::store::Store;
use crate::tasks::entry::MiroirTask;

pub use client::{NodeClient, NodeReply, SubBody, Subrequest, TaskStatusResponse, Trace};
pub use error::{ClusterError, NodeError};
pub use metrics::ClusterMetrics;
pub use reconcile::Reconciler;
pub use registry::Registry;
pub use settings::ClusterSettings;
pub use write::Writer;

/// Everything that talks to nodes, shared by all requests.
pub struct Cluster {
    pub settings: ClusterSettings,
    pub client: NodeClient,
    /// Loaded once per request; changed only by [`health::publish`].
    pub topology: ArcSwap<Topology>,
    pub store: Arc<dyn Store>,
    pub registry: Registry,
    pub writer: Writer,
    pub reconciler: Reconciler,
    pub metrics: ClusterMetrics,
    /// Held while a new topology is made from the current one, so that no change is lost.
    publishing: parking_lot::Mutex<()>,
}

impl Cluster {
    /// Loads what is durable and builds the first topology, in which every node is joining. Nothing runs yet.
    pub async fn start(
        settings: ClusterSettings,
        store: Arc<dyn Store>,
        prometheus: &prometheus::Registry,
    ) -> Result<Arc<Cluster>, ClusterError> {
        let _ = (settings, store, prometheus);
        todo!()
    }

    /// The topology now; take it once per request.
    pub fn topology(&self) -> Arc<Topology> {
        self.topology.load_full()
    }

    /// Called by the reconciler when a task has reached its end: in-sync sets, registry, caches.
    pub async fn task_ended(self: &Arc<Self>, task: &MiroirTask) {
        let _ = task;
        todo!()
    }
}

/// The background loops: health checks and what follows from them. Ends when `shutdown` turns true.
pub async fn run(cluster: Arc<Cluster>, shutdown: watch::Receiver<bool>) {
    let _ = (cluster, shutdown);
    todo!()
}
