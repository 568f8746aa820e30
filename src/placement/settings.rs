//! What an operator says of where shards live.

use super::version::Placement;
use crate::settings::{FromSection, Section};

/// How many shards a new cluster has, unless its configuration says otherwise.
pub const DEFAULT_SHARDS: u16 = 64;

/// The section `cluster`.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacementSettings {
    /// How many shards there are, where the file says so; fixed when the cluster is made.
    pub shards: Option<u16>,
    /// How owners are found, where the file says so.
    pub placement: Option<Placement>,
    /// How many nodes hold each shard.
    pub replication_factor: u8,
    pub nodes: Vec<NodeSettings>,
}

/// One node in the section `cluster`.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSettings {
    /// Placement hashes it: another id is another node.
    pub id: String,
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// Nodes that fail together share a zone; without one a node is a zone of its own.
    pub zone: Option<String>,
    /// How much the node holds and answers, against the others; over 0.
    pub weight: f64,
}

// === impl PlacementSettings ===

impl PlacementSettings {
    /// How many shards a cluster that is made of this has.
    pub fn shards_when_new(&self) -> u16 {
        self.shards.unwrap_or(DEFAULT_SHARDS)
    }

    /// How a cluster that is made of this finds owners.
    pub fn placement_when_new(&self) -> Placement {
        self.placement.unwrap_or(Placement::NEW)
    }
}

impl FromSection for PlacementSettings {
    fn read(section: &mut Section) -> Self {
        let placements: Vec<(&str, Option<Placement>)> =
            Placement::ALL.iter().map(|version| (version.as_str(), Some(*version))).collect();
        Self {
            shards: section.optional_integer("shards", 1..=16_384),
            placement: section.choice("placement", &placements, None),
            replication_factor: section.integer("replication_factor", 1..=16, 2),
            nodes: section.read_list("nodes"),
        }
    }
}

// === impl NodeSettings ===

impl FromSection for NodeSettings {
    fn read(section: &mut Section) -> Self {
        Self {
            id: section.required_text("id"),
            url: section.required_text("url").trim_end_matches('/').to_owned(),
            zone: section.text("zone"),
            weight: section.positive("weight", 1.0),
        }
    }
}
