//! The settings, section by section. Plain data: every subsystem converts its section into settings of its own.

use std::net::SocketAddr;
use std::time::Duration;

use pingora::server::configuration::ServerConf;

use super::secret::Secret;

/// A whole configuration, checked.
#[derive(Debug)]
pub struct Config {
    /// The Meilisearch API.
    pub listen: SocketAddr,
    /// Prometheus.
    pub metrics: SocketAddr,
    /// The operators' API.
    pub admin: SocketAddr,
    /// Meilisearch's master key towards clients. Without one every client may do everything.
    pub master_key: Option<Secret>,
    /// The key of the operators' API; without one it asks for the master key.
    pub admin_key: Option<Secret>,
    /// What the gateway shows to the nodes: their master key, or a key of theirs that may do everything.
    pub node_key: Option<Secret>,
    pub cluster: ClusterConfig,
    pub health: HealthConfig,
    pub write: WriteConfig,
    pub search: SearchConfig,
    pub rebalance: RebalanceConfig,
    pub overload: OverloadConfig,
    pub resilver: ResilverConfig,
    pub scrub: ScrubConfig,
    pub tasks: TasksConfig,
    pub limits: LimitsConfig,
    pub compression: CompressionConfig,
    /// Where the gateway keeps what must survive it: `sqlite:./data/miroir.db`.
    pub state: String,
    pub log: LogConfig,
    /// Pingora's own settings, unknown keys refused.
    pub pingora: ServerConf,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ClusterConfig {
    /// 1 to 16384; fixed when the cluster is made.
    pub shards: u16,
    pub replication_factor: u8,
    pub nodes: Vec<NodeConfig>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NodeConfig {
    pub id: String,
    /// `http://host:port`, without a trailing slash.
    pub url: String,
    pub zone: Option<String>,
    pub weight: f64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthConfig {
    pub interval: Duration,
    pub timeout: Duration,
    /// How long nothing may be heard of a node before it counts as gone.
    pub patience: Duration,
    /// How long requests wait for nodes that are about to take part.
    pub start_wait: Duration,
    /// Good probes in a row that bring a node up.
    pub rise: u32,
    /// Bad probes in a row that take a node down.
    pub fall: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteConfig {
    /// How many in-sync replicas of each touched shard must accept a write.
    pub min_in_sync: u8,
    /// The most bytes of one subrequest; a larger write is cut at line bounds.
    pub max_payload_size: u64,
    /// Until a node has accepted one subrequest of a write.
    pub timeout: Duration,
    /// How long a write that enough replicas have accepted waits for the others.
    pub slow_after: Duration,
    /// The bytes of a write that are kept in memory before they go to a temporary file.
    pub spool_memory: u64,
}

/// What a search answers when a shard has no replica left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnavailableShards {
    /// What the other shards have, with the header `X-Miroir-Degraded`.
    Partial,
    /// 503.
    Error,
}

/// How documents stand that tie on every ranking rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TieBreakConfig {
    /// In the order in which they were written.
    Written,
    /// In the order of the replica that answers.
    Replica,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchConfig {
    pub timeout: Duration,
    /// How long a node may take, compared with others, before another is asked beside it.
    pub attempt_timeout: Duration,
    pub unavailable_shards: UnavailableShards,
    pub tie_break: TieBreakConfig,
    /// True if every node gets the words of the documents that it does not hold.
    pub share_words: bool,
}

/// What follows from a file with other nodes, weights, zones or another replication factor than the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConfigChange {
    /// Shards move.
    Start,
    /// The plan waits until the operator resumes it.
    Plan,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebalanceConfig {
    pub on_config_change: OnConfigChange,
    /// Replicas that are on their way to other nodes at once.
    pub concurrency: u32,
}

/// Bounds on what is under way. Counts, but for the last four of sizes, durations and shares.
#[derive(Debug, Clone, PartialEq)]
pub struct OverloadConfig {
    /// Requests of clients.
    pub requests: usize,
    /// Subrequests to one node, and those that wait for it.
    pub node_reads: usize,
    pub node_heavy_reads: usize,
    pub node_reads_waiting: usize,
    pub node_writes: usize,
    pub node_writes_waiting: usize,
    /// Writes of one index.
    pub index_writes: usize,
    /// Bytes of all writes' bodies, and how many of them in memory.
    pub spooled: u64,
    pub spooled_memory: u64,
    /// Failed reads in a row after which reads avoid a node, and for how long at first.
    pub circuit_failures: u32,
    pub circuit_open: Duration,
    /// Retries per request, and how many may be saved up.
    pub retry_share: f64,
    pub retry_burst: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResilverConfig {
    /// Bytes of documents per second that all copies together read and send; 0: no limit.
    pub bandwidth: u64,
    /// How many copies run at once.
    pub concurrency: u32,
    /// How long a copy may hold back the writes of its index at its end.
    pub cutover: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubConfig {
    /// From the end of one comparison of all replicas to the beginning of the next.
    pub interval: Duration,
    /// Bytes of documents per second that it reads; 0: no limit.
    pub bandwidth: u64,
}

/// How task ids are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UidFormatConfig {
    /// Integers to Meilisearch's SDKs, `mtask-...` to others.
    Auto,
    Integer,
    Mtask,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TasksConfig {
    pub uid_format: UidFormatConfig,
    /// How long a finished task is kept.
    pub retention: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsConfig {
    /// The most bytes of a request's body, other than a document write.
    pub body_size: u64,
    /// The most bytes of a document write's body, unpacked.
    pub document_payload_size: u64,
    /// The most bytes of a request's headers.
    pub header_size: u64,
    /// How long a client may keep silent while the gateway waits for it.
    pub client_timeout: Duration,
}

/// How answers are compressed for clients that accept it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressionConfig {
    /// 0 to 9; 0 leaves it off.
    pub level: u32,
    /// Bytes; shorter answers are sent as they are.
    pub min_size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Plain,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    /// A tracing filter: `info`, or `info,miroir=debug`.
    pub level: String,
}
