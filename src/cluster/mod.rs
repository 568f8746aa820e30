//! The parts of a cluster, put together, and their loops. Each part is what one room holds, and knows the parts below it.
//!
//! | module | what lives there |
//! |---|---|
//! | `ends` | what the end of a task means for all parts |
//! | `error` | why a cluster cannot be started |
//! | [`live`] | what of it can be exchanged while the cluster works |
//! | [`settings`] | what the operator sets of all parts |
//! | `simulation` | writes, reads and moves under faults, by the real rules |

mod ends;
mod error;
pub mod live;
pub mod settings;
#[cfg(test)]
mod simulation;

use std::sync::{Arc, Weak};

use tokio::sync::watch;

use crate::cluster::settings::ClusterSettings;
use crate::dumps::{self, Dumps};
use crate::ledger::bookkeeping::Bookkeeping;
use crate::ledger::founding::Founding;
use crate::ledger::maintenance::Maintenance;
use crate::ledger::refusals::Refusals;
use crate::ledger::registry::Registry;
use crate::ledger::{Ledger, LedgerSettings, insync};
use crate::moves::{self, Rebalancer};
use crate::nodes::client::{NodeClient, OWN_QUESTION};
use crate::nodes::metrics::ClusterMetrics;
use crate::nodes::overload::Overload;
use crate::nodes::transport::{PingoraTransport, Transport};
use crate::nodes::{Nodes, health};
use crate::read::{self, Reads, Remembered};
use crate::replicas::identity::{self, Identities};
use crate::replicas::interrupted::Interrupted;
use crate::replicas::resilver::progress::Copies;
use crate::replicas::scrub::Scrub;
use crate::replicas::{Replicas, late, recover, repair, resilver, scrub};
use crate::store::Store;
use crate::tracking::resume::resume;
use crate::tracking::{Heir, Tracking};
use crate::write::Writes;
use crate::write::vocabulary::{self, Vocabularies};

pub use error::ClusterError;

/// Everything that talks to nodes, shared by all requests.
pub struct Cluster {
    pub nodes: Arc<Nodes>,
    pub reads: Arc<Reads>,
    pub ledger: Arc<Ledger>,
    pub tracking: Arc<Tracking>,
    pub writes: Arc<Writes>,
    pub replicas: Arc<Replicas>,
    pub moves: Arc<Rebalancer>,
    pub dumps: Arc<Dumps>,
}

impl Cluster {
    /// Loads what is durable and builds the first topology, in which every node is joining. Nothing runs yet.
    pub async fn start(
        settings: ClusterSettings,
        store: Arc<dyn Store>,
        prometheus: &prometheus::Registry,
    ) -> Result<Arc<Cluster>, ClusterError> {
        let transport =
            PingoraTransport::new(settings.health.timeout, settings.keepalive_pool_size, &settings.credentials);
        Self::with_transport(settings, store, prometheus, Box::new(transport)).await
    }

    /// As [`Cluster::start`], over a transport of the caller's choice: for tests that inject faults.
    pub async fn with_transport(
        settings: ClusterSettings,
        store: Arc<dyn Store>,
        prometheus: &prometheus::Registry,
        transport: Box<dyn Transport>,
    ) -> Result<Arc<Cluster>, ClusterError> {
        let metrics = ClusterMetrics::new(prometheus)?;
        let layout =
            moves::load::load(store.as_ref(), &settings.placement, settings.rebalance.on_config_change).await?;
        let mut topology = layout.to_topology();
        topology.own_zone = settings.search.zone.as_deref().map(Into::into);
        let (bookkeeping, stale) = Bookkeeping::load(store.as_ref(), &topology).await?;
        topology.stale = Arc::new(stale);
        topology.apart = Arc::new(insync::apart_sets(bookkeeping.hold().await.missed(), &topology));
        let maintenance = Maintenance::load(store.as_ref(), &mut topology).await?;
        metrics.start_at_zero(&topology);
        let copies = Copies::new(&settings.resilver, prometheus)?;
        copies.metrics().start_at_zero(&topology);
        let refusals = Refusals::load(store.as_ref()).await?;
        let founding = Founding::new(recover::is_blank(store.as_ref()).await?);

        let client = NodeClient::new(transport, metrics.clone(), OWN_QUESTION);
        let overload = Overload::new(settings.overload.clone(), prometheus)?;
        let nodes = Nodes::new(
            settings.health.clone(),
            read::longest(&settings.search),
            client,
            overload,
            metrics,
            topology,
            settings.credentials,
        );
        let registry = Registry::load(store.as_ref()).await?;
        let remembered =
            LedgerSettings { min_in_sync: settings.write.min_in_sync, tie_break: settings.search.tie_break };
        let loaded = (bookkeeping, maintenance, founding, refusals);
        let ledger = Ledger::new(Arc::clone(&nodes), remembered, Arc::clone(&store), registry, loaded);
        let tracking = Tracking::new(Arc::clone(&nodes), Arc::clone(&ledger), prometheus).await?;
        let vocabularies = Vocabularies::load(store.as_ref()).await?;
        let writes = Writes::new(Arc::clone(&tracking), settings.write.clone(), settings.search.words, vocabularies);
        let interrupted = Interrupted::load(store.as_ref()).await?;
        let scrub = Scrub::new(settings.scrub, prometheus)?;
        let identities = Identities::load(store.as_ref(), prometheus, settings.write.timeout).await?;
        let replicas = Replicas::new(Arc::clone(&writes), interrupted, copies, scrub, identities);
        let moves = Rebalancer::new(layout, Arc::clone(&writes), settings.rebalance, prometheus)?;
        let view: Arc<dyn Remembered> = Arc::clone(&ledger.refusals) as _;
        let reads = Reads::new(Arc::clone(&nodes), settings.search, settings.kept_replies, view);

        let dumps = Dumps::new(Arc::clone(&reads), Arc::clone(&writes), settings.dumps);

        let cluster = Arc::new(Self { nodes, reads, ledger, tracking, writes, replicas, moves, dumps });
        cluster.connect();
        Ok(cluster)
    }

    /// Tells each part who above it is to hear of what happens in it.
    fn connect(self: &Arc<Self>) {
        self.nodes.on_return(Arc::downgrade(&self.replicas), repair::start);
        self.ledger.on_missed(Arc::downgrade(&self.replicas), repair::missed);
        self.nodes.client.observe(Box::new(health::Listener(Arc::downgrade(&self.nodes))));
        let heir: Weak<dyn Heir> = Arc::downgrade(self) as _;
        self.tracking.leave_to(heir);
    }
}

/// The background loops: health checks and what follows from them. Ends when `shutdown` turns true.
pub async fn run(cluster: Arc<Cluster>, shutdown: watch::Receiver<bool>) {
    match resume(&cluster.tracking).await {
        Ok(0) => {}
        Ok(tasks) => tracing::info!(tasks, "polling the unfinished tasks of the last run"),
        Err(error) => tracing::error!(%error, "unfinished tasks could not be read"),
    }
    let Cluster { nodes, ledger, writes, replicas, moves, dumps, .. } = &*cluster;
    repair::resume_take_backs(replicas);
    let Replicas { copies, scrub, repairs, identities, .. } = &**replicas;
    tokio::join!(
        health::run(Arc::clone(nodes), shutdown.clone()),
        identity::run(Arc::clone(identities), Arc::clone(ledger), shutdown.clone()),
        moves::run(Arc::clone(moves), shutdown.clone()),
        dumps::run(Arc::clone(dumps), shutdown.clone()),
        resilver::run(Arc::clone(copies), Arc::clone(repairs), Arc::clone(writes), shutdown.clone()),
        scrub::run(Arc::clone(scrub), Arc::clone(writes), shutdown.clone()),
        late::run(Arc::clone(replicas), shutdown.clone()),
        vocabulary::keep::run(Arc::clone(writes), shutdown),
    );
}
