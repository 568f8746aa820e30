//! Figures about indexes.

use serde::Serialize;

use super::scattered::{ReadKind, Scattered};

/// Nodes are asked as the client asked; what they hold of each shard is added up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "of")]
pub enum StatsPlan {
    Index { index: String },
    AllIndexes,
}

// === impl StatsPlan ===

impl Scattered for StatsPlan {
    fn kind(&self) -> ReadKind {
        ReadKind::Other
    }

    fn faults_are_the_clients(&self) -> bool {
        true
    }
}
