//! What an operator says of where shards live.

use crate::settings::{FromSection, Section};

/// The section `cluster`.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacementSettings {
    /// How many shards there are; fixed when the cluster is made.
    pub shards: u16,
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

impl FromSection for PlacementSettings {
    fn read(section: &mut Section) -> Self {
        Self {
            shards: section.integer("shards", 1..=16_384, 256),
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
