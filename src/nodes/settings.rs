//! What the operator sets of the cluster, and the readers for durations (`500ms`, `1s`, `7d`) and sizes (`64MiB`).

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::overload::OverloadSettings;
use crate::replicas::scrub::ScrubSettings;

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
#[derive(Debug, Clone, Deserialize)]
pub struct PlacementSettings {
    /// How many shards there are; fixed when the cluster is made.
    #[serde(default = "default_shards")]
    pub shards: u16,
    #[serde(default = "default_replication_factor")]
    pub replication_factor: u8,
    pub nodes: Vec<NodeSettings>,
}

/// One node in the section `cluster`.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeSettings {
    /// Placement hashes it: another id is another node.
    pub id: String,
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    #[serde(default)]
    pub zone: Option<String>,
    #[serde(default = "default_weight")]
    pub weight: f64,
}

/// The section `health`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct HealthSettings {
    /// The pause between two rounds of probes.
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
    /// How long the connecting of a probe or a subrequest may take.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// How long nothing at all may be heard of a node before it counts as gone: until then it is busy.
    #[serde(deserialize_with = "duration")]
    pub patience: Duration,
    /// How long requests wait at most for nodes that are about to take part.
    #[serde(deserialize_with = "duration")]
    pub start_wait: Duration,
    /// How many good probes in a row bring a node back.
    pub rise: usize,
    /// How many bad probes in a row take a node out; a subrequest that cannot connect does so at once.
    pub fall: usize,
}

/// The section `write`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct WriteSettings {
    /// How many replicas of each touched shard must accept a write before it is acknowledged.
    pub min_in_sync: u8,
    /// How long a node may take to accept one part of a write before its replica is given up as stale.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// How long a write that enough replicas have accepted waits for the others: then these are stale, and their nodes
    /// down until health checks bring them back.
    #[serde(deserialize_with = "duration")]
    pub slow_after: Duration,
    /// A larger body of documents goes to a node in several parts, cut between documents.
    #[serde(deserialize_with = "size")]
    pub max_payload_size: u64,
    /// How much of a write is held in memory before it goes to a temporary file.
    #[serde(deserialize_with = "size")]
    pub spool_memory: u64,
}

/// The section `search`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct SearchSettings {
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// How long one node may take, compared with others, before another is asked beside it.
    #[serde(deserialize_with = "duration")]
    pub attempt_timeout: Duration,
    pub unavailable_shards: UnavailableShards,
    pub tie_break: TieBreak,
    pub words: SharedWords,
}

/// Whether every node gets the words of the documents that it does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SharedWords {
    Yes,
    No,
}

/// How documents stand that tie on every ranking rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
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
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ResilverSettings {
    /// How many bytes of documents all copies together read and send per second; 0: no limit.
    #[serde(deserialize_with = "size")]
    pub bandwidth: u64,
    /// How many copies run at once.
    pub concurrency: usize,
    /// How long a copy may hold back the writes of its index at its end.
    #[serde(deserialize_with = "duration")]
    pub cutover: Duration,
}

/// What a search answers when a shard has no replica left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnavailableShards {
    /// The hits of the other shards, with the header `X-Miroir-Degraded`.
    Partial,
    /// 503.
    Error,
}

/// A text that no log, error or debug print ever shows.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

// === impl Secret ===

impl Secret {
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

// === impl HealthSettings ===

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            patience: Duration::from_secs(10),
            start_wait: Duration::from_secs(10),
            rise: 2,
            fall: 3,
        }
    }
}

// === impl WriteSettings ===

impl Default for WriteSettings {
    fn default() -> Self {
        Self {
            min_in_sync: 1,
            timeout: Duration::from_secs(30),
            slow_after: Duration::from_secs(10),
            max_payload_size: 64 << 20,
            spool_memory: 1 << 20,
        }
    }
}

// === impl SearchSettings ===

impl Default for SearchSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            attempt_timeout: Duration::from_secs(1),
            unavailable_shards: UnavailableShards::Partial,
            tie_break: TieBreak::Written,
            words: SharedWords::Yes,
        }
    }
}

// === impl RebalanceSettings ===

impl Default for RebalanceSettings {
    fn default() -> Self {
        Self { on_config_change: OnConfigChange::Start, concurrency: 16 }
    }
}

// === impl ResilverSettings ===

impl Default for ResilverSettings {
    fn default() -> Self {
        Self { bandwidth: 0, concurrency: 2, cutover: Duration::from_secs(5) }
    }
}

// === impl ClusterSettings ===

impl ClusterSettings {
    /// Defaults around `placement`, as a minimal configuration has them.
    pub fn new(placement: PlacementSettings) -> Self {
        Self {
            placement,
            health: HealthSettings::default(),
            write: WriteSettings::default(),
            search: SearchSettings::default(),
            rebalance: RebalanceSettings::default(),
            overload: OverloadSettings::default(),
            resilver: ResilverSettings::default(),
            scrub: ScrubSettings::default(),
            node_key: None,
            keepalive_pool_size: 256,
        }
    }
}

fn default_shards() -> u16 {
    256
}

fn default_replication_factor() -> u8 {
    2
}

fn default_weight() -> f64 {
    1.0
}

/// Reads `250ms`, `1s`, `5m`, `2h`, `7d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    let digits = trimmed.len() - trimmed.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (number, unit) = trimmed.split_at(digits);
    let number: f64 =
        number.parse().map_err(|_| format!("expected a duration such as 500ms, 1s or 7d, got `{text}`"))?;
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        other => return Err(format!("expected a duration in ms, s, m, h or d, got `{other}` in `{text}`")),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("duration `{text}` is out of range"))
}

/// Reads `1048576`, `512KiB`, `64MiB`, `1GiB`, and `KB`, `MB`, `GB` as powers of ten.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let digits = trimmed.len() - trimmed.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = trimmed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("expected a size such as 64MiB, got `{text}`"))?;
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        other => return Err(format!("expected a size in B, KiB, MiB or GiB, got `{other}` in `{text}`")),
    };
    number.checked_mul(factor).ok_or_else(|| format!("size `{text}` is out of range"))
}

/// For `#[serde(deserialize_with)]`: see [`parse_duration`].
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// For `#[serde(deserialize_with)]`: a number of bytes, or see [`parse_size`].
pub fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    match Size::deserialize(deserializer)? {
        Size::Bytes(bytes) => Ok(bytes),
        Size::Text(text) => parse_size(&text).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_with_their_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 86400)));
        assert!(parse_duration("7").is_err());
        assert!(parse_duration("fast").is_err());
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("10"), Ok(10));
        assert!(parse_size("10 parsecs").is_err());
    }

    #[test]
    fn a_secret_never_prints() {
        assert_eq!(format!("{:?}", Secret::new("open sesame")), "[secret]");
    }
}
