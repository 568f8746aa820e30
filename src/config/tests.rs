//! Whole files: the examples, every problem at once, keys that never show.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

#[test]
fn gateways_of_one_state_want_a_key_of_the_nodes() {
    let several = "state: postgres://miroir@db/miroir\ncluster_secret: of-this-cluster\n\
                   gateway: { id: a, peer_listen: \"127.0.0.1:7702\", peer_url: \"http://127.0.0.1:7702\"";
    let problems = parse(&format!("{TWO_NODES}\n{several} }}")).expect_err("nodes cannot be fenced").to_string();
    assert!(problems.starts_with("node_key: missing: ") && problems.contains("unfenced_nodes: allow"), "{problems}");
    let allowed = format!("{TWO_NODES}\n{several}, unfenced_nodes: allow }}");
    assert!(parse(&allowed).is_ok());
    assert!(parse(&format!("{TWO_NODES}\nnode_key: k\n{several} }}")).is_ok());
}

#[test]
fn the_files_of_rules_that_come_with_it_do_what_their_examples_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/programs");
    let page = std::fs::read_to_string(folder.join("../../docs/programs.md")).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        match rule_file::check(file) {
            Ok(rules) => assert!(rules > 0, "{name}"),
            Err(problems) => panic!("{name}:\n{problems}"),
        }
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains("examples:") && page.contains(&format!("programs/{name}")), "{name}");
    }
}

#[test]
fn rules_of_files_come_after_those_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let rule = |name: &str| format!("rules: [{{ name: {name}, filter: 't = ${{quote(claims.t)}}' }}]\n");
    std::fs::write(folder.path().join("b.yaml"), rule("b")).unwrap();
    let smallest = "cluster: { nodes: [{ id: a, url: 'http://a:7700' }] }\n";
    let parse = |files: &str| {
        let text = format!("{smallest}{}rule_files: {files}\n", rule("a"));
        Config::parse(&text, folder.path(), &|_| None)
    };
    let (config, _) = parse("[b.yaml]").unwrap();
    assert_eq!(config.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    std::fs::write(folder.path().join("c.yaml"), "rules: [{ name: c }]\nother: 1\n").unwrap();
    let problems = parse("[c.yaml, none.yaml]").unwrap_err().to_string();
    for part in ["c.yaml.rules[0].name", "c.yaml.other", "rule_files: cannot read `none.yaml`"] {
        assert!(problems.contains(part), "{problems}");
    }
    assert!(parse("[b.yaml, b.yaml]").unwrap_err().to_string().contains("two rules are called `b`"));
}
use crate::gateway::access_log::AccessLogSettings;
use crate::gateway::settings::CompressionSettings;
use crate::logging::LogFormat;
use crate::moves::settings::{OnConfigChange, RebalanceSettings};
use crate::nodes::overload::circuit::CircuitSettings;
use crate::nodes::overload::retry_budget::RetrySettings;
use crate::nodes::overload::{OverloadSettings, TrafficSettings};
use crate::placement::settings::NodeSettings;
use crate::placement::version::Placement;
use crate::placement::vocabulary::SharedWords;
use crate::plan::broadcast::TieBreak;
use crate::read::settings::UnavailableShards;
use crate::replicas::resilver::settings::ResilverSettings;
use crate::replicas::scrub::ScrubSettings;
use crate::settings::{Problem, Secret};
use crate::tasks::view::UidFormatSetting;
use crate::write::settings::{Coalesce, WriteSettings};

const TWO_NODES: &str = "cluster: { nodes: [ { id: a, url: http://a:7700 }, { id: b, url: http://b:7700 } ] }";

fn parse(text: &str) -> Result<(Config, Vec<Warning>), Problems> {
    Config::parse(text, Path::new(""), &|name| match name {
        "PORT" => Some("7710".to_owned()),
        "SHARDS" => Some("512".to_owned()),
        "KEY" => Some("a-long-enough-key".to_owned()),
        _ => None,
    })
}

fn problems(text: &str) -> Vec<String> {
    parse(text).expect_err("the file has problems").0.iter().map(Problem::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    parse(text).expect("the file is right").1.iter().map(|warning| warning.path.clone()).collect()
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name)
}

#[test]
fn the_minimal_file_is_right_and_has_the_defaults() {
    let (config, _) = Config::load(&example("minimal.yaml")).expect("the example is right");
    let (defaults, _) = parse(TWO_NODES).expect("two nodes are enough");
    assert_eq!(config.cluster.nodes.len(), 3);
    assert_eq!(config.listen, defaults.listen);
    let cluster = &config.cluster;
    assert_eq!((cluster.shards, cluster.placement, cluster.replication_factor), (None, None, 2));
    assert_eq!((cluster.shards_when_new(), cluster.placement_when_new()), (64, Placement::Bounded));
    assert_eq!(config.write, defaults.write);
}

#[test]
fn the_full_file_is_right_and_shows_the_defaults() {
    let (config, _) = Config::load(&example("miroir.yaml")).expect("the example is right");
    let (defaults, _) = parse(TWO_NODES).expect("two nodes are enough");
    assert_eq!(config.listen, defaults.listen);
    assert_eq!(config.metrics, defaults.metrics);
    assert_eq!(config.admin, defaults.admin);
    assert_eq!(config.cluster.shards, defaults.cluster.shards);
    assert_eq!(config.health, defaults.health);
    assert_eq!(config.write, defaults.write);
    assert_eq!(config.search, defaults.search);
    assert_eq!(config.rebalance, defaults.rebalance);
    assert_eq!(config.overload, defaults.overload);
    assert_eq!(config.resilver, defaults.resilver);
    assert_eq!(config.scrub, defaults.scrub);
    assert_eq!(config.tasks, defaults.tasks);
    assert_eq!(config.limits, defaults.limits);
    assert_eq!(config.compression, defaults.compression);
    assert_eq!(config.state, defaults.state);
    assert_eq!(config.log, defaults.log);
    assert_eq!(config.pingora.upstream_keepalive_pool_size, defaults.pingora.upstream_keepalive_pool_size);
    assert_eq!(config.pingora.grace_period_seconds, defaults.pingora.grace_period_seconds);
    assert_eq!(config.pingora.graceful_shutdown_timeout_seconds, defaults.pingora.graceful_shutdown_timeout_seconds);
}

#[test]
fn every_key_is_read() {
    let (config, _) = parse(
        "
listen: 0.0.0.0:${PORT}
metrics: 127.0.0.1:1
admin: 127.0.0.1:2
master_key: ${KEY}
admin_key: ${NONE:-admin-key}
cluster:
  shards: ${SHARDS}
  placement: rendezvous
  replication_factor: 3
  nodes:
    - { id: a, url: http://a:7700/, zone: x, weight: 2 }
    - { id: b, url: \"http://${NONE:-b}:7700\", zone: y, weight: 0.5 }
health: { interval: 2s, timeout: 1s, rise: 1, fall: 9 }
write: { min_in_sync: 2, max_payload_size: 1MiB, timeout: 1m, slow_after: 5s, spool_memory: 0 }
search: { timeout: 250ms, attempt_timeout: 50ms, unavailable_shards: error, tie_break: replica, words: local }
overload:
  { requests: 9, node_reads: 8, node_heavy_reads: 3, long_filters: 2, node_reads_waiting: 7, node_writes: 6, node_writes_waiting: 5,
    index_writes: 4, spooled: 3GiB, spooled_memory: 2MiB, circuit_failures: 1, circuit_open: 1s, retry_share: 0.5, retry_burst: 0 }
rebalance: { on_config_change: plan, concurrency: 4 }
resilver: { bandwidth: 50MiB, concurrency: 4, cutover: 800ms }
scrub: { interval: 7d, bandwidth: 1MiB }
tasks: { uid_format: mtask, retention: 30d }
limits: { body_size: 1MB, document_payload_size: 2GiB, header_size: 8KiB, client_timeout: 5s, forward_timeout: 9s }
compression: { level: 0, min_size: 20KiB }
state: sqlite:/var/lib/miroir/state.db
log: { format: json, level: 'warn,miroir=debug' }
access_log: { slow_after: 300ms, one_in: 50 }
pingora: { threads: 3, upstream_keepalive_pool_size: 7, work_stealing: false, max_retries: '4' }
",
    )
    .expect("every key is right");
    assert_eq!(config.listen, "0.0.0.0:7710".parse().expect("an address"));
    assert_eq!(config.master_key, Some(Secret::new("a-long-enough-key")));
    assert_eq!(config.admin_key, Some(Secret::new("admin-key")));
    assert_eq!(config.node_key, None);
    assert_eq!((config.cluster.shards, config.cluster.replication_factor), (Some(512), 3));
    assert_eq!(config.cluster.placement, Some(Placement::Rendezvous));
    assert_eq!(
        config.cluster.nodes,
        [
            NodeSettings { id: "a".into(), url: "http://a:7700".into(), zone: Some("x".into()), weight: 2.0 },
            NodeSettings { id: "b".into(), url: "http://b:7700".into(), zone: Some("y".into()), weight: 0.5 },
        ]
    );
    assert_eq!((config.health.rise, config.health.fall), (1, 9));
    assert_eq!(config.health.interval, Duration::from_secs(2));
    assert_eq!(
        config.write,
        WriteSettings {
            min_in_sync: 2,
            max_payload_size: 1 << 20,
            timeout: Duration::from_secs(60),
            slow_after: Duration::from_secs(5),
            spool_memory: 0,
            coalesce: Coalesce::Yes,
        }
    );
    assert_eq!(config.search.attempt_timeout, Duration::from_millis(50));
    assert_eq!(
        config.overload,
        OverloadSettings {
            requests: 9,
            reads: TrafficSettings { in_flight: 8, waiting: 7 },
            heavy: TrafficSettings { in_flight: 3, waiting: 7 },
            long_filters: Some(2),
            writes: TrafficSettings { in_flight: 6, waiting: 5 },
            index_writes: 4,
            spooled: 3 << 30,
            spooled_memory: 2 << 20,
            circuit: CircuitSettings { failures: 1, open_for: Duration::from_secs(1) },
            retries: RetrySettings { share: 0.5, burst: 0 },
        }
    );
    assert_eq!(config.search.unavailable_shards, UnavailableShards::Error);
    let resilver = ResilverSettings { bandwidth: 50 << 20, concurrency: 4, cutover: Duration::from_millis(800) };
    assert_eq!(config.resilver, resilver);
    assert_eq!(config.scrub, ScrubSettings { interval: Duration::from_secs(7 * 24 * 60 * 60), bandwidth: 1 << 20 });
    assert_eq!(config.search.tie_break, TieBreak::Replica);
    assert_eq!(config.search.words, SharedWords::No);
    assert_eq!(config.rebalance, RebalanceSettings { on_config_change: OnConfigChange::Plan, concurrency: 4 });
    assert_eq!(config.tasks.uid_format, UidFormatSetting::Mtask);
    assert_eq!(config.limits.body_size, 1_000_000);
    assert_eq!(config.limits.document_payload_size, 2 << 30);
    assert_eq!(config.limits.forward_timeout, Duration::from_secs(9));
    assert_eq!(config.compression, CompressionSettings { level: 0, min_size: 20 << 10 });
    assert_eq!(config.state, "sqlite:/var/lib/miroir/state.db");
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.access_log, AccessLogSettings { slow_after: Duration::from_millis(300), one_in: 50 });
    assert_eq!((config.pingora.threads, config.pingora.upstream_keepalive_pool_size), (3, 7));
    assert!(!config.pingora.work_stealing);
    assert_eq!(config.pingora.max_retries, 4);
}

#[test]
fn all_problems_are_reported_at_once() {
    let found = problems(
        "
listen: localhost:7700
admin: 127.0.0.1:9090
master_key: 12345
state: mysql://db
colour: blue
cluster:
  shards: 0
  replication_factor: 2
  nodes:
    - { id: a, url: http://a:7700, weight: 0 }
    - { id: a, url: http://a:7700/ }
    - { id: 'b c', url: 'ftp://b', zome: x }
    - { url: http://c:7700/path }
    - { id: e, url: http://user:sesame@e:7700 }
health: { interval: 5, rise: 0 }
write: { min_in_sync: 3, max_payload_size: 1x }
search: { unavailable_shards: maybe, timeout: 0s, tie_break: random, words: some }
overload: { requests: 0, retry_share: 2, queue: 1 }
tasks: [ 1 ]
log: { level: 'info,=' }
pingora: { thread: 4, max_retries: many, daemon: true }
",
    );
    let expected = [
        "listen: expected an IP address and a port such as `127.0.0.1:7700` or `[::]:7700`, found `localhost:7700`",
        "master_key: expected a text, found a number (quote it to make it a text)",
        "cluster.shards: expected a whole number from 1 to 16384, found `0`",
        "cluster.nodes[0].weight: expected a number over 0, found `0`",
        "cluster.nodes[2].zome: unknown key, did you mean `zone`?",
        "cluster.nodes[3].id: missing",
        "health.interval: expected a duration over 0 such as `500ms`, `30s`, `5m`, `2h` or `7d`, found `5`",
        "health.rise: expected a whole number from 1 to 1000, found `0`",
        "write.max_payload_size: expected a size of at least 65536 bytes such as `64MiB` or `500MB`, found `1x`",
        "search.timeout: expected a duration over 0 such as `500ms`, `30s`, `5m`, `2h` or `7d`, found `0s`",
        "search.unavailable_shards: expected one of `partial`, `error`, found `maybe`",
        "search.tie_break: expected one of `written`, `replica`, found `random`",
        "search.words: expected one of `shared`, `local`, found `some`",
        "overload.requests: expected a whole number from 1 to 1000000, found `0`",
        "overload.queue: unknown key",
        "overload.retry_share: expected at most 1, found `2`",
        "tasks: expected a mapping, found a list",
        "pingora.thread: unknown key, did you mean `threads`?",
        "pingora.daemon: unknown key",
        "colour: unknown key",
        "admin: `127.0.0.1:9090` is taken by `metrics` already",
        "cluster.nodes[1].id: `a` is the id of nodes[0] already",
        "cluster.nodes[1].url: `http://a:7700` is the url of nodes[0] already",
        "cluster.nodes[2].id: expected 1 to 100 letters, digits, `-`, `_` and `.`, found `b c`",
        "cluster.nodes[2].url: expected `http://host:port`, found `ftp://b`",
        "cluster.nodes[3].url: expected `http://host:port` without a path, found `http://c:7700/path`",
        "cluster.nodes[4].url: expected `http://host:port` without a user name; give the nodes' key as `node_key`",
        "write.min_in_sync: expected at most `cluster.replication_factor` (2), found `3`",
        "state: expected `sqlite:` and a path such as `sqlite:./data/miroir.db`, or `postgres://user@host:5432/database`",
    ];
    for line in expected {
        assert!(found.iter().any(|problem| problem == line), "{line}\nis not among\n{}", found.join("\n"));
    }
    let shapes = ["pingora.max_retries: ", "log.level: "];
    for start in shapes {
        assert!(found.iter().any(|problem| problem.starts_with(start)), "{start}\nis not among\n{}", found.join("\n"));
    }
    assert_eq!(found.len(), expected.len() + shapes.len(), "{}", found.join("\n"));
}

#[test]
fn a_file_that_is_no_yaml_is_one_problem_that_shows_no_line_of_it() {
    let found = problems("master_key: sesame-open\nlisten: [");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("not YAML: "), "{found:?}");
    assert!(!found[0].contains("sesame"), "{found:?}");
    assert_eq!(problems("- 1"), ["expected a mapping of sections"]);
    assert_eq!(problems(""), ["cluster.nodes: expected at least one node"]);
}

#[test]
fn a_key_given_twice_is_a_problem() {
    let found = problems(&format!("{TWO_NODES}\nlisten: 127.0.0.1:1\nlisten: 127.0.0.1:2"));
    assert!(found[0].contains("listen"), "{found:?}");
}

#[test]
fn a_missing_file_is_one_problem() {
    let problems = Config::load(Path::new("no-such-file.yaml")).expect_err("there is no file");
    assert!(problems.to_string().starts_with("cannot read no-such-file.yaml: "), "{problems}");
}

#[test]
fn a_key_may_stand_in_a_file_beside_the_configuration() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("key"), "the-key-in-the-file\n").expect("a file");
    let text = format!("{TWO_NODES}\nmaster_key_file: key");
    let (config, _) = Config::parse(&text, folder.path(), &|_| None).expect("the key is there");
    assert_eq!(config.master_key, Some(Secret::new("the-key-in-the-file")));

    let twice = format!("{text}\nmaster_key: other");
    let problems = Config::parse(&twice, folder.path(), &|_| None).expect_err("one key is enough");
    assert_eq!(problems.to_string(), "master_key: given twice: here and by `master_key_file`");
    let problems = parse(&format!("{TWO_NODES}\nnode_key_file: none")).expect_err("there is no such file");
    assert!(problems.to_string().starts_with("node_key_file: cannot read `none`: "), "{problems}");
}

#[test]
fn no_key_is_ever_shown() {
    let text = format!("{TWO_NODES}\nmaster_key: sesame-open-now-1\nadmin_key: sesame-2\nnode_key: sesame-3");
    let (config, warnings) = parse(&text).expect("the file is right");
    assert!(!format!("{config:?}{warnings:?}").contains("sesame"));
    let found = problems(&format!("{TWO_NODES}\nmaster_key: 'sesame open'"));
    assert_eq!(found, ["master_key: expected printable ASCII characters without spaces, and at least one"]);
}

#[test]
fn what_is_doubtful_is_a_warning() {
    let safe = "master_key: ${KEY}\nadmin_key: ${KEY}\nnode_key: ${KEY}\n";
    assert_eq!(warnings(&format!("{safe}{TWO_NODES}")), [""; 0]);
    assert_eq!(warnings(TWO_NODES), ["master_key", "admin_key"]);
    assert_eq!(warnings(&format!("{TWO_NODES}\nnode_key: x\nmaster_key: ${{KEY}}")), [""; 0]);
    assert_eq!(warnings(&format!("{TWO_NODES}\nadmin_key: x\nmaster_key: short")), ["master_key", "node_key"]);
    let nodes = |count: usize, zone: fn(usize) -> &'static str| {
        let nodes: Vec<String> =
            (0..count).map(|n| format!("{{ id: n{n}, url: http://n{n}:7700{} }}", zone(n))).collect();
        format!("{safe}cluster: {{ replication_factor: 3, nodes: [ {} ] }}", nodes.join(", "))
    };
    assert_eq!(warnings(&nodes(2, |_| "")), ["cluster.replication_factor"]);
    assert_eq!(
        warnings(&nodes(4, |n| if n % 2 == 0 { ", zone: a" } else { ", zone: b" })),
        ["cluster.replication_factor"]
    );
    assert_eq!(warnings(&nodes(4, |n| if n == 0 { ", zone: a" } else { "" })), ["cluster.nodes"]);
    let by_rendezvous =
        |count: usize| nodes(count, |_| "").replace("cluster: {", "cluster: { shards: 256, placement: rendezvous,");
    assert_eq!(warnings(&by_rendezvous(4)), [""; 0]);
    assert_eq!(warnings(&by_rendezvous(5)), ["cluster.shards"]);
    assert_eq!(warnings(&nodes(38, |_| "")), [""; 0]);
    assert_eq!(warnings(&nodes(39, |_| ""))[0], "cluster.shards");
    let uneven = format!(
        "{safe}write: {{ max_payload_size: 200MiB, slow_after: 1m }}\nhealth: {{ timeout: 30s }}\n\
         search: {{ attempt_timeout: 90s }}\n{TWO_NODES}"
    );
    assert_eq!(
        warnings(&uneven),
        ["health.timeout", "search.attempt_timeout", "write.slow_after", "write.max_payload_size"]
    );
}

#[test]
fn an_overfull_node_is_named() {
    let nodes: Vec<String> = (0..40).map(|n| format!("{{ id: n{n}, url: http://n{n}:7700 }}")).collect();
    let text = format!(
        "master_key: ${{KEY}}\nadmin_key: k\nnode_key: k\n\
         cluster: {{ shards: 40, placement: rendezvous, replication_factor: 1, nodes: [ {} ] }}",
        nodes.join(", ")
    );
    let (_, found) = parse(&text).expect("the file is right");
    assert_eq!(found[0].path, "cluster.shards");
    assert!(found.len() > 1, "{found:?}");
    assert!(found[1..].iter().all(|warning| warning.message.contains("times its fair share of 1")), "{found:?}");
}
