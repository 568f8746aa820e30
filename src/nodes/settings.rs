//! What the operator sets of the cluster.

use std::time::Duration;

use super::overload::OverloadSettings;
use crate::replicas::scrub::ScrubSettings;
use crate::settings::unit::{KIB, MIB};
use crate::settings::{FromSection, Secret, Section};

/// All that [`crate::cluster::Cluster::start`] needs; `config` composes it from the sections of the file.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    pub placement: PlacementSettings,
    pub health: HealthSettings,
    pub write: WriteSettings,
    pub search: SearchSettings,
    pub rebalance: RebalanceSettings,
    pub overload: OverloadSettings,
    pub resilver: ResilverSettings,
    pub scrub: ScrubSettings,
    /// Sent to nodes as `Authorization: Bearer`.
    pub node_key: Option<Secret>,
    /// How many idle connections to nodes are kept, over all of them.
    pub keepalive_pool_size: usize,
}

/// The section `cluster`.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacementSettings {
    /// How many shards there are; fixed when the cluster is made.
    pub shards: u16,
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
    pub zone: Option<String>,
    pub weight: f64,
}

/// The section `health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// The pause between two rounds of probes.
    pub interval: Duration,
    /// How long the connecting of a probe or a subrequest may take.
    pub timeout: Duration,
    /// How long nothing at all may be heard of a node before it counts as gone: until then it is busy.
    pub patience: Duration,
    /// How long requests wait at most for nodes that are about to take part.
    pub start_wait: Duration,
    /// How many good probes in a row bring a node back.
    pub rise: usize,
    /// How many bad probes in a row take a node out; a subrequest that cannot connect does so at once.
    pub fall: usize,
}

/// The section `write`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteSettings {
    /// How many replicas of each touched shard must accept a write before it is acknowledged.
    pub min_in_sync: u8,
    /// How long a node may take to accept one part of a write before its replica is given up as stale.
    pub timeout: Duration,
    /// How long a write that enough replicas have accepted waits for the others: then these are stale, and their nodes
    /// down until health checks bring them back.
    pub slow_after: Duration,
    /// A larger body of documents goes to a node in several parts, cut between documents.
    pub max_payload_size: u64,
    /// How much of a write is held in memory before it goes to a temporary file.
    pub spool_memory: u64,
}

/// The section `search`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchSettings {
    pub timeout: Duration,
    /// How long one node may take, compared with others, before another is asked beside it.
    pub attempt_timeout: Duration,
    pub unavailable_shards: UnavailableShards,
    pub tie_break: TieBreak,
    pub words: SharedWords,
}

/// Whether every node gets the words of the documents that it does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedWords {
    Yes,
    No,
}

/// How documents stand that tie on every ranking rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TieBreak {
    /// In the order in which they were written, by a hidden last ranking rule.
    Written,
    /// In the order of the replica that answers.
    Replica,
}

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

/// The section `resilver`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResilverSettings {
    /// How many bytes of documents all copies together read and send per second; 0: no limit.
    pub bandwidth: u64,
    /// How many copies run at once.
    pub concurrency: usize,
    /// How long a copy may hold back the writes of its index at its end.
    pub cutover: Duration,
}

/// What a search answers when a shard has no replica left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnavailableShards {
    /// The hits of the other shards, with the header `X-Miroir-Degraded`.
    Partial,
    /// 503.
    Error,
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

// === impl HealthSettings ===

impl FromSection for HealthSettings {
    fn read(section: &mut Section) -> Self {
        Self {
            interval: section.duration("interval", Duration::from_secs(1)),
            timeout: section.duration("timeout", Duration::from_millis(500)),
            patience: section.duration("patience", Duration::from_secs(10)),
            start_wait: section.duration("start_wait", Duration::from_secs(10)),
            rise: section.integer("rise", 1..=1_000, 2),
            fall: section.integer("fall", 1..=1_000, 3),
        }
    }
}

// === impl WriteSettings ===

impl FromSection for WriteSettings {
    fn read(section: &mut Section) -> Self {
        Self {
            min_in_sync: section.integer("min_in_sync", 1..=16, 1),
            timeout: section.duration("timeout", Duration::from_secs(30)),
            slow_after: section.duration("slow_after", Duration::from_secs(10)),
            max_payload_size: section.size("max_payload_size", 64 * KIB, 64 * MIB),
            spool_memory: section.size("spool_memory", 0, 4 * MIB),
        }
    }
}

// === impl SearchSettings ===

impl FromSection for SearchSettings {
    fn read(section: &mut Section) -> Self {
        let answers = [("partial", UnavailableShards::Partial), ("error", UnavailableShards::Error)];
        let ties = [("written", TieBreak::Written), ("replica", TieBreak::Replica)];
        let words = [("shared", SharedWords::Yes), ("local", SharedWords::No)];
        Self {
            timeout: section.duration("timeout", Duration::from_secs(60)),
            attempt_timeout: section.duration("attempt_timeout", Duration::from_secs(1)),
            unavailable_shards: section.choice("unavailable_shards", &answers, UnavailableShards::Partial),
            tie_break: section.choice("tie_break", &ties, TieBreak::Written),
            words: section.choice("words", &words, SharedWords::Yes),
        }
    }
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

// === impl ResilverSettings ===

impl FromSection for ResilverSettings {
    fn read(section: &mut Section) -> Self {
        Self {
            bandwidth: section.size("bandwidth", 0, 0),
            concurrency: section.integer("concurrency", 1..=64, 2),
            cutover: section.duration("cutover", Duration::from_secs(5)),
        }
    }
}

// === impl ClusterSettings ===

#[cfg(test)]
impl ClusterSettings {
    /// Defaults around `placement`, as a minimal configuration has them.
    pub fn new(placement: PlacementSettings) -> Self {
        Self {
            placement,
            health: HealthSettings::defaults(),
            write: WriteSettings::defaults(),
            search: SearchSettings::defaults(),
            rebalance: RebalanceSettings::defaults(),
            overload: OverloadSettings::defaults(),
            resilver: ResilverSettings::defaults(),
            scrub: ScrubSettings::defaults(),
            node_key: None,
            keepalive_pool_size: super::transport::KEEPALIVE_POOL_SIZE,
        }
    }
}
