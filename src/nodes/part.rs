//! What this room holds: the nodes of the cluster, how to talk to them, and what is known of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::client::NodeClient;
use super::credentials::Credentials;
use super::elsewhere::Others;
use super::health::life::Life;
use super::health::settings::HealthSettings;
use super::load::Loads;
use super::metrics::ClusterMetrics;
use super::older::OlderTopologies;
use super::overload::Overload;
use super::versions::EngineVersions;
use crate::placement::topology::{NodeId, Topology};
use crate::settings::{Live, Secret};

/// Repairs a node that answers again, in the background. Told by whoever knows how; see [`Nodes::on_return`].
pub type Repairer = Box<dyn Fn(&NodeId) + Send + Sync>;

/// The nodes of the cluster.
pub struct Nodes {
    pub settings: HealthSettings,
    /// See [`Nodes::longest_read`].
    longest_read: Live<Duration>,
    pub client: NodeClient,
    /// Bounds on what is under way, and whom reads avoid.
    pub overload: Overload,
    /// How long nodes take for reads.
    pub loads: Loads,
    pub metrics: ClusterMetrics,
    pub credentials: Live<Credentials>,
    /// Loaded once per request; changed only by [`super::health::publish`].
    pub(crate) topology: ArcSwap<Topology>,
    /// Held while a new topology is made from the current one, so that no change is lost.
    pub(super) publishing: Mutex<()>,
    /// Topologies of before that somebody still goes by.
    pub(crate) older: OlderTopologies,
    /// Which version of the engine nodes run.
    pub(crate) versions: EngineVersions,
    /// When nodes were heard of.
    pub(crate) life: Life,
    /// Gateways that answer reads by what this one has told them.
    pub elsewhere: Others,
    /// True where another gateway says how the nodes are.
    follows: AtomicBool,
    repairer: OnceLock<Repairer>,
}

// === impl Nodes ===

impl Nodes {
    /// Without probes yet. `longest_read` is how long a node may work on a heavy read and be silent.
    pub fn new(
        settings: HealthSettings,
        longest_read: Duration,
        client: NodeClient,
        overload: Overload,
        metrics: ClusterMetrics,
        topology: Topology,
        credentials: Credentials,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings,
            longest_read: Live::new(longest_read),
            client,
            overload,
            loads: Loads::default(),
            metrics,
            credentials: Live::new(credentials),
            topology: ArcSwap::from_pointee(topology),
            publishing: Mutex::default(),
            older: OlderTopologies::default(),
            versions: EngineVersions::default(),
            life: Life::default(),
            elsewhere: Others::default(),
            follows: AtomicBool::new(false),
            repairer: OnceLock::new(),
        })
    }

    /// The topology now; take it once per request.
    pub fn topology(&self) -> Arc<Topology> {
        self.topology.load_full()
    }

    /// How long any read may take, and so how long a search may keep a node busy.
    pub fn longest_read(&self) -> Duration {
        **self.longest_read.get()
    }

    /// Reads may take as long as that from now on. It is never taken back: some that began before may be under way.
    pub fn allow_reads_of(&self, time: Duration) {
        self.longest_read.set(time.max(self.longest_read()));
    }

    /// Nodes are shown this key from now on.
    pub fn show_key(&self, key: Option<Secret>) {
        self.client.show_key(key.as_ref());
        let tls = self.credentials.get().tls.clone();
        self.credentials.set(Credentials { key, tls });
    }

    /// From now on another gateway says how the nodes are, by [`super::health::install`]. A node that this one cannot reach stays as it is
    /// told: reads ask another replica then, and its circuit opens.
    pub fn follow(&self) {
        self.follows.store(true, Ordering::Relaxed);
    }

    pub(super) fn follows(&self) -> bool {
        self.follows.load(Ordering::Relaxed)
    }

    /// What is to be done with a node that answers again. Said once, before anything runs.
    pub fn on_return<T: Send + Sync + 'static>(&self, who: Weak<T>, repair: fn(&Arc<T>, &NodeId)) {
        let repairer = move |node: &NodeId| {
            if let Some(who) = who.upgrade() {
                repair(&who, node);
            }
        };
        assert!(self.repairer.set(Box::new(repairer)).is_ok(), "nobody else repairs nodes");
    }

    /// A node answers, and is to be repaired.
    pub(super) fn returned(&self, node: &NodeId) {
        if let Some(repairer) = self.repairer.get() {
            repairer(node);
        }
    }
}
