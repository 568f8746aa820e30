//! A request that any one node can answer for all of them.

use serde::Serialize;

use crate::placement::topology::{NodeIx, Topology};

/// The nodes that may answer, best first. The order is the topology's, so that answers do not flap between nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forward {
    pub candidates: Vec<NodeIx>,
}

// === impl Forward ===

impl Forward {
    /// Every node that serves reads; empty when none does.
    pub fn to_any(topology: &Topology) -> Self {
        Self { candidates: topology.indexes().filter(|node| topology.node(*node).state.serves_reads()).collect() }
    }
}
