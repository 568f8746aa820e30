//! What this room holds: the layout, and how far it has come.

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
use crate::write::Writes;

/// Reads the configuration again.
pub type ConfigSource = Box<dyn Fn() -> Result<PlacementSettings, String> + Send + Sync>;

/// The layout, and who moves shards by it.
pub struct Rebalancer {
    pub(super) nodes: Arc<Nodes>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) writes: Arc<Writes>,
    pub(super) settings: RebalanceSettings,
    /// Reads the configuration again; set once by the composition root, before anything runs.
    pub config_source: OnceLock<ConfigSource>,
    /// The durable layout. Held while it changes.
    pub(super) layout: tokio::sync::Mutex<Layout>,
    /// The same, for who only looks.
    pub(super) seen: ArcSwap<Layout>,
    pub(super) waiting: Mutex<Vec<Waiting>>,
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
            settings,
            config_source: OnceLock::new(),
            seen: ArcSwap::from_pointee(layout.clone()),
            layout: tokio::sync::Mutex::new(layout),
            waiting: Mutex::default(),
            wake: Notify::new(),
            metrics,
        }))
    }

    /// As it was last committed.
    pub fn layout(&self) -> Arc<Layout> {
        self.seen.load_full()
    }

    /// What the plan under way waits for.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.waiting.lock().clone()
    }
}
