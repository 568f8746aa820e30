//! The parts of a cluster, put together, and their loops.

#[cfg(test)]
mod simulation;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use crate::ledger::registry::Registry;
use crate::ledger::{founding, insync, maintenance, refusals};
use crate::meili::task::TaskStatus;
use crate::meili::versions::default_rules;
use crate::moves::{self, Rebalancer};
use crate::nodes::client::{NodeClient, OWN_QUESTION};
use crate::nodes::error::ClusterError;
use crate::nodes::metrics::ClusterMetrics;
use crate::nodes::overload::Overload;
use crate::nodes::settings::{ClusterSettings, TieBreak};
use crate::nodes::{health, transport};
use crate::placement::topology::Topology;
use crate::plan::broadcast::HiddenSettings;
use crate::read;
use crate::replicas::{identity, interrupted, recover, repair, resilver, scrub};
use crate::store::Store;
use crate::tasks::entry::{MiroirTask, NodeTaskState};
use crate::tracking::reconcile::Reconciler;
use crate::write::{Writer, vocabulary};

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
    /// The version of the engine that the nodes run, once one of them has said it.
    pub(crate) engine_version: parking_lot::RwLock<Option<String>>,
    /// Bounds on what is under way, and whom reads avoid.
    pub overload: Overload,
    /// What else is made equal on a returning node; set once by the gateway, before [`run`].
    pub repair_hook: OnceLock<Box<dyn repair::RepairHook>>,
    /// The durable layout, and who moves shards by it.
    pub rebalancer: Rebalancer,
    /// Reads the configuration again; set once by the composition root, before [`run`].
    pub config_source: OnceLock<moves::wishes::ConfigSource>,
    /// Held while a new topology is made from the current one, so that no change is lost.
    pub(crate) publishing: parking_lot::Mutex<()>,
    pub(crate) bookkeeping: insync::Bookkeeping,
    pub(crate) maintenance: maintenance::Maintenance,
    pub scrub: scrub::Scrub,
    pub(crate) founding: founding::Founding,
    pub(crate) query_vectors: read::QueryVectors,
    /// When nodes were heard of.
    pub(crate) life: health::Life,
    pub(crate) repairs: repair::Repairs,
    /// Settings that some node refused, where others have them still.
    pub refusals: refusals::Refusals,
    pub(crate) interrupted: interrupted::Interrupted,
    /// Held while a request goes to every node without a lane.
    pub(crate) direct: tokio::sync::Mutex<()>,
    /// Something is stale, or a node with stale shards is up.
    pub(crate) resilver: Notify,
    /// How far copies to stale replicas are.
    pub copies: resilver::progress::Copies,
    /// The words of each index.
    pub vocabularies: vocabulary::Vocabularies,
    /// Which disk each node has.
    pub identities: identity::Identities,
}

impl Cluster {
    /// Loads what is durable and builds the first topology, in which every node is joining. Nothing runs yet.
    pub async fn start(
        settings: ClusterSettings,
        store: Arc<dyn Store>,
        prometheus: &prometheus::Registry,
    ) -> Result<Arc<Cluster>, ClusterError> {
        let transport = transport::PingoraTransport::new(
            settings.health.timeout,
            settings.keepalive_pool_size,
            settings.node_key.as_ref(),
        );
        Self::with_transport(settings, store, prometheus, Box::new(transport)).await
    }

    /// As [`Cluster::start`], over a transport of the caller's choice: for tests that inject faults.
    pub async fn with_transport(
        settings: ClusterSettings,
        store: Arc<dyn Store>,
        prometheus: &prometheus::Registry,
        transport: Box<dyn transport::Transport>,
    ) -> Result<Arc<Cluster>, ClusterError> {
        let metrics = ClusterMetrics::new(prometheus)?;
        let rebalancer = Rebalancer::load(store.as_ref(), &settings, prometheus).await?;
        let mut topology = rebalancer.layout().to_topology();
        let (bookkeeping, stale) = insync::Bookkeeping::load(store.as_ref(), &topology).await?;
        topology.stale = Arc::new(stale);
        topology.apart = Arc::new(insync::apart_sets(&*bookkeeping.hold().await, &topology));
        let maintenance = maintenance::Maintenance::load(store.as_ref(), &mut topology).await?;
        metrics.start_at_zero(&topology);
        let identities = identity::Identities::load(store.as_ref(), prometheus).await?;
        let copies = resilver::progress::Copies::new(&settings.resilver, prometheus)?;
        copies.metrics().start_at_zero(&topology);
        let refusals = refusals::Refusals::load(store.as_ref()).await?;
        let founding = founding::Founding::new(recover::is_blank(store.as_ref()).await?);
        let client = NodeClient::new(transport, metrics.clone(), OWN_QUESTION);
        let cluster = Arc::new(Self {
            client,
            topology: ArcSwap::from_pointee(topology),
            registry: Registry::load(store.as_ref()).await?,
            vocabularies: vocabulary::Vocabularies::load(store.as_ref()).await?,
            writer: Writer::new(store.next_task_uid().await?),
            reconciler: Reconciler::new(Arc::clone(&store), prometheus)?,
            interrupted: interrupted::Interrupted::load(store.as_ref()).await?,
            store,
            metrics,
            scrub: scrub::Scrub::new(settings.scrub, prometheus)?,
            overload: Overload::new(settings.overload.clone(), prometheus)?,
            settings,
            engine_version: parking_lot::RwLock::default(),
            repair_hook: OnceLock::new(),
            rebalancer,
            config_source: OnceLock::new(),
            publishing: parking_lot::Mutex::default(),
            bookkeeping,
            founding,
            maintenance,
            query_vectors: read::QueryVectors::default(),
            life: health::Life::default(),
            repairs: repair::Repairs::default(),
            refusals,
            direct: tokio::sync::Mutex::default(),
            resilver: Notify::new(),
            copies,
            identities,
        });
        cluster.client.observe(Box::new(health::Listener(Arc::downgrade(&cluster))));
        Ok(cluster)
    }

    /// What every index's settings hold besides the client's.
    pub fn hidden_settings(&self) -> HiddenSettings {
        match (self.settings.search.tie_break, self.engine_version.read().as_deref()) {
            (TieBreak::Written, Some(version)) => HiddenSettings::breaking_ties(default_rules(version)),
            // Before any node has said what it is, none takes a write.
            (TieBreak::Written, None) | (TieBreak::Replica, _) => HiddenSettings::default(),
        }
    }

    /// The topology now; take it once per request.
    pub fn topology(&self) -> Arc<Topology> {
        self.topology.load_full()
    }

    /// Called by the reconciler when a task has reached its end, before its row says so: in-sync sets, registry, caches.
    /// Being called twice does no harm.
    pub async fn task_ended(self: &Arc<Self>, task: &mut MiroirTask) {
        match insync::end(self, task).await {
            Ok(marks) => self.report_divergence(task, &marks),
            Err(error) => tracing::error!(%error, task = %task.id(), "stale replicas could not be recorded"),
        }
        if let Err(error) = repair::take_back(self, task).await {
            tracing::error!(%error, task = %task.id(), "settings to be taken back could not be recorded");
        }
        let mut indexes = insync::swapped(task);
        indexes.extend(task.index_uid.clone());
        for index in &indexes {
            repair::touched(self, index, task);
            self.registry.invalidate(index);
            match task.status {
                TaskStatus::Failed | TaskStatus::Canceled => {
                    self.registry.suspect(index);
                    self.vocabularies.lost(index);
                }
                TaskStatus::Enqueued | TaskStatus::Processing | TaskStatus::Succeeded => {}
            }
        }
        // Not awaited: it may have to wait for writes of the index, and those for nothing here.
        if !self.registry.suspects().is_empty() {
            let cluster = Arc::clone(self);
            tokio::spawn(async move { repair::check_suspects(&cluster).await });
        }
    }

    /// Raises the alarm where one replica refused in its queue what another carried out.
    fn report_divergence(&self, task: &MiroirTask, marks: &insync::Marks) {
        if marks.is_empty() {
            return;
        }
        for part in task.parts.iter().filter(|part| part.outcome() == NodeTaskState::Failed) {
            let reason = part.error.as_ref().map(|error| error.message.as_str()).unwrap_or_default();
            tracing::error!(task = %task.id(), node = %part.node, reason, "replicas diverged: one failed, another did not");
            self.metrics.diverged_parts.with_label_values(&[part.node.as_str()]).inc();
        }
    }
}

/// The background loops: health checks and what follows from them. Ends when `shutdown` turns true.
pub async fn run(cluster: Arc<Cluster>, shutdown: watch::Receiver<bool>) {
    match cluster.reconciler.resume(&cluster).await {
        Ok(0) => {}
        Ok(tasks) => tracing::info!(tasks, "polling the unfinished tasks of the last run"),
        Err(error) => tracing::error!(%error, "unfinished tasks could not be read"),
    }
    repair::resume_take_backs(&cluster);
    tokio::join!(
        health::run(Arc::clone(&cluster), shutdown.clone()),
        identity::run(Arc::clone(&cluster), shutdown.clone()),
        moves::run(Arc::clone(&cluster), shutdown.clone()),
        resilver::run(Arc::clone(&cluster), shutdown.clone()),
        scrub::run(Arc::clone(&cluster), shutdown.clone()),
        vocabulary::keep::run(Arc::clone(&cluster), shutdown),
    );
}
