//! What this room holds: the layout, and how far it has come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::error::RebalanceError;
use super::metrics::RebalanceMetrics;
use crate::ledger::Ledger;
use crate::moves::settings::RebalanceSettings;
use crate::nodes::Nodes;
use crate::placement::settings::PlacementSettings;
use crate::rebalance::{Layout, Waiting};
use crate::settings::Live;
use crate::write::Writes;

/// Reads the configuration again.
pub type ConfigSource = Box<dyn Fn() -> Result<PlacementSettings, String> + Send + Sync>;

/// The layout, and who moves shards by it.
pub struct Rebalancer {
    pub(super) nodes: Arc<Nodes>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) writes: Arc<Writes>,
    pub settings: Live<RebalanceSettings>,
    /// Reads the configuration again; set once by the composition root, before anything runs.
    pub config_source: OnceLock<ConfigSource>,
    /// The durable layout. Held while it changes.
    pub(super) layout: tokio::sync::Mutex<Layout>,
    /// The same, for who only looks.
    pub(super) seen: ArcSwap<Layout>,
    pub(super) waiting: Mutex<Vec<Waiting>>,
    /// No request of another gateway goes by an older layout than this.
    quiet_elsewhere: AtomicU64,
    pub(super) wake: Notify,
    pub(super) metrics: RebalanceMetrics,
}

// === impl Rebalancer ===

impl Rebalancer {
    /// `layout` is the one that the store has.
    pub fn new(
        layout: Layout,
        writes: Arc<Writes>,
        settings: RebalanceSettings,
        prometheus: &prometheus::Registry,
    ) -> Result<Arc<Self>, RebalanceError> {
        let metrics = RebalanceMetrics::register(prometheus)?;
        metrics.show(&layout, &[]);
        Ok(Arc::new(Self {
            nodes: Arc::clone(&writes.nodes),
            ledger: Arc::clone(&writes.ledger),
            writes,
            settings: Live::new(settings),
            config_source: OnceLock::new(),
            seen: ArcSwap::from_pointee(layout.clone()),
            layout: tokio::sync::Mutex::new(layout),
            waiting: Mutex::default(),
            quiet_elsewhere: AtomicU64::new(0),
            wake: Notify::new(),
            metrics,
        }))
    }

    /// As it was last committed.
    pub fn layout(&self) -> Arc<Layout> {
        self.seen.load_full()
    }

    /// True when no request of another gateway goes by an older layout than `version`, as far as was waited for.
    pub(super) fn is_quiet_elsewhere(&self, version: u64) -> bool {
        self.nodes.elsewhere.is_nobody() || self.quiet_elsewhere.load(Ordering::Relaxed) >= version
    }

    /// Returns when no request of another gateway goes by an older layout than the one of now. Nothing is held meanwhile, because
    /// writes and operators need the layout.
    pub(super) async fn quiet_elsewhere(&self) {
        // It is seen after it was published, so whoever has heard of all that is published now has heard of it.
        let version = self.layout().version;
        if !self.is_quiet_elsewhere(version) {
            self.waiting.lock().clone_from(&vec![Waiting::OlderRequests]);
            self.nodes.elsewhere.quiet().await;
            self.quiet_elsewhere.fetch_max(version, Ordering::Relaxed);
        }
    }

    /// What the plan under way waits for.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.waiting.lock().clone()
    }
}
