//! The file's sections with their keys and defaults.

use std::time::Duration;

use pingora::server::configuration::ServerConf;
use serde_json::Value;

use super::model::{
    ClusterConfig, CompressionConfig, Config, HealthConfig, LimitsConfig, LogConfig, LogFormat, NodeConfig,
    OnConfigChange, OverloadConfig, RebalanceConfig, ResilverConfig, ScrubConfig, SearchConfig, TasksConfig,
    TieBreakConfig, UidFormatConfig, UnavailableShards, WriteConfig,
};
use super::reader::{Section, unknown_key};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Reads the whole file. What is wrong is in the section's report.
pub(super) fn read(mut file: Section) -> Config {
    let config = Config {
        listen: file.address("listen", "127.0.0.1:7700"),
        metrics: file.address("metrics", "127.0.0.1:9090"),
        admin: file.address("admin", "127.0.0.1:7701"),
        master_key: file.secret("master_key"),
        admin_key: file.secret("admin_key"),
        node_key: file.secret("node_key"),
        cluster: cluster(file.section("cluster")),
        health: health(file.section("health")),
        write: write(file.section("write")),
        search: search(file.section("search")),
        rebalance: rebalance(file.section("rebalance")),
        overload: overload(file.section("overload")),
        resilver: resilver(file.section("resilver")),
        scrub: scrub(file.section("scrub")),
        tasks: tasks(file.section("tasks")),
        limits: limits(file.section("limits")),
        compression: compression(file.section("compression")),
        state: file.text("state").unwrap_or_else(|| "sqlite:./data/miroir.db".to_owned()),
        log: log(file.section("log")),
        pingora: pingora(file.section("pingora")),
    };
    file.finish();
    config
}

fn cluster(mut section: Section) -> ClusterConfig {
    let shards = section.integer("shards", 1..=16_384, 256);
    let replication_factor = section.integer("replication_factor", 1..=16, 2);
    let nodes = section.sections("nodes").into_iter().map(node).collect();
    section.finish();
    ClusterConfig { shards: shards as u16, replication_factor: replication_factor as u8, nodes }
}

fn node(mut section: Section) -> NodeConfig {
    let id = section.required_text("id");
    let url = section.required_text("url").trim_end_matches('/').to_owned();
    let zone = section.text("zone");
    let weight = section.positive("weight", 1.0);
    section.finish();
    NodeConfig { id, url, zone, weight }
}

fn health(mut section: Section) -> HealthConfig {
    let config = HealthConfig {
        interval: section.duration("interval", Duration::from_secs(1)),
        timeout: section.duration("timeout", Duration::from_millis(500)),
        patience: section.duration("patience", Duration::from_secs(10)),
        start_wait: section.duration("start_wait", Duration::from_secs(10)),
        rise: section.integer("rise", 1..=1_000, 2) as u32,
        fall: section.integer("fall", 1..=1_000, 3) as u32,
    };
    section.finish();
    config
}

fn write(mut section: Section) -> WriteConfig {
    let config = WriteConfig {
        min_in_sync: section.integer("min_in_sync", 1..=16, 1) as u8,
        max_payload_size: section.size("max_payload_size", 64 * KIB, 64 * MIB),
        timeout: section.duration("timeout", Duration::from_secs(30)),
        slow_after: section.duration("slow_after", Duration::from_secs(10)),
        spool_memory: section.size("spool_memory", 0, 4 * MIB),
    };
    section.finish();
    config
}

fn search(mut section: Section) -> SearchConfig {
    let choices = [("partial", UnavailableShards::Partial), ("error", UnavailableShards::Error)];
    let ties = [("written", TieBreakConfig::Written), ("replica", TieBreakConfig::Replica)];
    let config = SearchConfig {
        timeout: section.duration("timeout", Duration::from_secs(60)),
        attempt_timeout: section.duration("attempt_timeout", Duration::from_secs(1)),
        unavailable_shards: section.choice("unavailable_shards", &choices, UnavailableShards::Partial),
        tie_break: section.choice("tie_break", &ties, TieBreakConfig::Written),
        share_words: section.choice("words", &[("shared", true), ("local", false)], true),
    };
    section.finish();
    config
}

fn rebalance(mut section: Section) -> RebalanceConfig {
    let choices = [("start", OnConfigChange::Start), ("plan", OnConfigChange::Plan)];
    let config = RebalanceConfig {
        on_config_change: section.choice("on_config_change", &choices, OnConfigChange::Start),
        concurrency: section.integer("concurrency", 1..=1_024, 16) as u32,
    };
    section.finish();
    config
}

fn overload(mut section: Section) -> OverloadConfig {
    let mut count = |key, least, default| section.integer(key, least..=1_000_000, default) as usize;
    let config = OverloadConfig {
        requests: count("requests", 1, 2_048),
        node_reads: count("node_reads", 1, 128),
        node_heavy_reads: count("node_heavy_reads", 1, 2),
        node_reads_waiting: count("node_reads_waiting", 0, 1_024),
        node_writes: count("node_writes", 1, 32),
        node_writes_waiting: count("node_writes_waiting", 0, 4_096),
        index_writes: count("index_writes", 1, 1_000),
        circuit_failures: count("circuit_failures", 1, 5) as u32,
        retry_burst: count("retry_burst", 0, 500) as u32,
        spooled: section.size("spooled", MIB, 16 * GIB),
        spooled_memory: section.size("spooled_memory", 0, 256 * MIB),
        circuit_open: section.duration("circuit_open", Duration::from_secs(2)),
        retry_share: section.positive("retry_share", 0.2),
    };
    section.finish();
    config
}

fn resilver(mut section: Section) -> ResilverConfig {
    let config = ResilverConfig {
        bandwidth: section.size("bandwidth", 0, 0),
        concurrency: section.integer("concurrency", 1..=64, 2) as u32,
        cutover: section.duration("cutover", Duration::from_secs(5)),
    };
    section.finish();
    config
}

fn scrub(mut section: Section) -> ScrubConfig {
    let config = ScrubConfig {
        interval: section.duration("interval", Duration::from_secs(24 * 60 * 60)),
        bandwidth: section.size("bandwidth", 0, 4 * MIB),
    };
    section.finish();
    config
}

fn tasks(mut section: Section) -> TasksConfig {
    let choices =
        [("auto", UidFormatConfig::Auto), ("integer", UidFormatConfig::Integer), ("mtask", UidFormatConfig::Mtask)];
    let config = TasksConfig {
        uid_format: section.choice("uid_format", &choices, UidFormatConfig::Auto),
        retention: section.duration("retention", Duration::from_secs(7 * 24 * 60 * 60)),
    };
    section.finish();
    config
}

fn limits(mut section: Section) -> LimitsConfig {
    let config = LimitsConfig {
        body_size: section.size("body_size", KIB, 16 * MIB),
        document_payload_size: section.size("document_payload_size", KIB, GIB),
        header_size: section.size("header_size", KIB, 32 * KIB),
        client_timeout: section.duration("client_timeout", Duration::from_secs(30)),
    };
    section.finish();
    config
}

fn compression(mut section: Section) -> CompressionConfig {
    let config = CompressionConfig {
        level: section.integer("level", 0..=9, 3) as u32,
        min_size: section.size("min_size", 0, KIB),
    };
    section.finish();
    config
}

fn log(mut section: Section) -> LogConfig {
    let choices = [("json", LogFormat::Json), ("plain", LogFormat::Plain)];
    let config = LogConfig {
        format: section.choice("format", &choices, LogFormat::Plain),
        level: section.text("level").unwrap_or_else(|| "info".to_owned()),
    };
    section.finish();
    config
}

/// Keys of Pingora's that make no sense here: Miroir stays in the foreground, under a service manager.
const NOT_OURS: &[&str] = &[
    "version",
    "daemon",
    "error_log",
    "pid_file",
    "user",
    "group",
    "working_directory",
    "daemon_wait_for_ready",
    "daemon_ready_timeout_seconds",
    "daemon_notify_timeout_seconds",
];

/// Pingora's own keys, over Miroir's defaults. Each is tried alone, so that every wrong one is reported.
fn pingora(mut section: Section) -> ServerConf {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let defaults = ServerConf {
        threads,
        upstream_keepalive_pool_size: 1_024,
        // Pingora's are 300 s each: far over what a service manager waits.
        grace_period_seconds: Some(1),
        graceful_shutdown_timeout_seconds: Some(10),
        ..ServerConf::default()
    };
    let mut accepted = serde_json::to_value(&defaults).expect("Pingora's settings serialize");
    let known: Vec<String> = accepted
        .as_object()
        .map(|fields| fields.keys().filter(|key| !NOT_OURS.contains(&key.as_str())).cloned().collect())
        .unwrap_or_default();

    for (key, value) in section.take_all() {
        if !known.contains(&key) {
            section.problem(&key, unknown_key(&key, known.iter().map(String::as_str)));
            continue;
        }
        let mut trial = accepted.clone();
        trial[&key] = plain(value);
        match serde_json::from_value::<ServerConf>(trial.clone()) {
            Ok(_) => accepted = trial,
            Err(error) => section.problem(&key, error.to_string()),
        }
    }
    serde_json::from_value(accepted).unwrap_or(defaults)
}

/// A number that came as a text, out of the environment, as a number.
fn plain(value: Value) -> Value {
    match value.as_str().and_then(|text| text.parse::<u64>().ok()) {
        Some(number) => number.into(),
        None => value,
    }
}
