//! What this room holds: the nodes, and how they are to be asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::kept::KeptReplies;
use super::metrics;
use super::query_vectors::QueryVectors;
use crate::nodes::Nodes;
use crate::placement::topology::NodeId;
use crate::read::settings::SearchSettings;
use crate::settings::Live;

/// What reads want to know of what the cluster remembers.
pub trait Remembered: Send + Sync {
    /// The nodes that refused a change of the settings of `index` that others have still; none where all nodes are alike.
    fn refused_by(&self, index: &str) -> BTreeSet<NodeId>;
}

/// Who carries out reads.
pub struct Reads {
    pub nodes: Arc<Nodes>,
    pub settings: Live<SearchSettings>,
    pub(super) query_vectors: QueryVectors,
    pub(super) kept: KeptReplies,
    pub(super) remembered: Arc<dyn Remembered>,
}

// === impl Reads ===

impl Reads {
    /// `remembered` says what reads see of the ledger.
    /// Replies of up to `kept` bytes are kept.
    pub fn new(nodes: Arc<Nodes>, settings: SearchSettings, kept: u64, remembered: Arc<dyn Remembered>) -> Arc<Self> {
        metrics::start_at_zero(&nodes.metrics);
        let kept = KeptReplies::new(kept);
        let settings = Live::new(settings);
        Arc::new(Self { nodes, settings, query_vectors: QueryVectors::default(), kept, remembered })
    }
}
