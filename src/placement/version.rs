//! The versions of placement, side by side. A cluster remembers the one that it has; another one is a wish, and shards then
//! move as for any other wish.

use serde::{Deserialize, Serialize};

use super::topology::{Node, NodeIx, Topology};
use super::{bounded, rendezvous};

/// How the owners of shards are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// Each shard by itself. What a layout has that does not say: it was made before there was another.
    #[default]
    Rendezvous,
    /// All shards together, so that no node holds more than its fair share.
    Bounded,
}

// === impl Placement ===

impl Placement {
    /// Every version.
    pub const ALL: &'static [Placement] = &[Self::Rendezvous, Self::Bounded];
    /// That of a cluster that is made today, unless its configuration names another.
    pub const NEW: Placement = Self::Bounded;

    /// As configurations and the operators' API name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rendezvous => "rendezvous",
            Self::Bounded => "bounded",
        }
    }

    /// For each shard its owners in rank order: `min(replication_factor, nodes)` different nodes. Depends on the nodes' ids,
    /// zones and weights, not on their order or state; nodes that were removed count for nothing.
    pub fn assign(self, nodes: &[Node], shards: u16, replication_factor: u8) -> Vec<Vec<NodeIx>> {
        match self {
            Self::Rendezvous => rendezvous::assign(nodes, shards, replication_factor),
            Self::Bounded => bounded::assign(nodes, shards, replication_factor),
        }
    }
}

impl std::fmt::Display for Placement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Placement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|version| version.as_str() == text);
        found.ok_or_else(|| {
            let words: Vec<String> = Self::ALL.iter().map(|version| format!("`{version}`")).collect();
            format!("expected one of {}, found `{text}`", words.join(", "))
        })
    }
}

// === impl Topology ===

// Here, so that a topology needs no placement.
impl Topology {
    /// [`Topology::placed`] by the first version of placement.
    pub fn build(nodes: Vec<Node>, shards: u16, replication_factor: u8) -> Self {
        Self::placed(Placement::Rendezvous, nodes, shards, replication_factor)
    }

    /// The first snapshot of a cluster: `nodes` as they are, shards assigned by `placement`, nothing stale.
    pub fn placed(placement: Placement, nodes: Vec<Node>, shards: u16, replication_factor: u8) -> Self {
        let owners = placement.assign(&nodes, shards, replication_factor);
        Self::with_owners(nodes, shards, replication_factor, owners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_it_is_written() {
        for version in Placement::ALL {
            assert_eq!(version.as_str().parse(), Ok(*version));
            assert_eq!(serde_json::to_value(version).unwrap(), version.as_str());
        }
        assert!("round-robin".parse::<Placement>().is_err());
    }
}
