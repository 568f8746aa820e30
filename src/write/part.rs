//! What this room holds: the order of writes, and what is known of words.

use std::sync::Arc;

use super::order::Order;
use super::vocabulary::Vocabularies;
use crate::ledger::Ledger;
use crate::nodes::Nodes;
use crate::placement::vocabulary::SharedWords;
use crate::settings::Live;
use crate::tracking::Tracking;
use crate::write::settings::WriteSettings;

/// Carries out writes.
pub struct Writes {
    pub nodes: Arc<Nodes>,
    pub ledger: Arc<Ledger>,
    pub tracking: Arc<Tracking>,
    pub settings: Live<WriteSettings>,
    /// Whether every node gets the words of the documents that it does not hold.
    pub(super) words: SharedWords,
    pub(crate) order: Order,
    /// The words of each index.
    pub vocabularies: Vocabularies,
    /// Held while a request goes to every node without a lane.
    pub(crate) direct: tokio::sync::Mutex<()>,
}

// === impl Writes ===

impl Writes {
    /// With an empty order of writes. It sends through the nodes of `tracking`.
    pub fn new(
        tracking: Arc<Tracking>,
        settings: WriteSettings,
        words: SharedWords,
        vocabularies: Vocabularies,
    ) -> Arc<Self> {
        Arc::new(Self {
            nodes: Arc::clone(&tracking.nodes),
            ledger: Arc::clone(&tracking.ledger),
            tracking,
            settings: Live::new(settings),
            words,
            order: Order::default(),
            vocabularies,
            direct: tokio::sync::Mutex::default(),
        })
    }
}
