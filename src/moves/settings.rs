//! What an operator sets of moves of shards.

use crate::settings::{FromSection, Section};

/// The section `rebalance`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebalanceSettings {
    pub on_config_change: OnConfigChange,
    /// How many replicas are on their way to other nodes at once.
    pub concurrency: usize,
}

/// What follows from a configuration with other nodes, weights, zones or another replication factor than the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConfigChange {
    /// Shards move.
    Start,
    /// The plan waits until the operator resumes it.
    Plan,
}

// === impl RebalanceSettings ===

impl FromSection for RebalanceSettings {
    fn read(section: &mut Section) -> Self {
        let changes = [("start", OnConfigChange::Start), ("plan", OnConfigChange::Plan)];
        Self {
            on_config_change: section.choice("on_config_change", &changes, OnConfigChange::Start),
            concurrency: section.integer("concurrency", 1..=1_024, 16),
        }
    }
}
