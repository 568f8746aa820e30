//! What no section can know alone: rules that must hold, and doubts that the operator should hear of.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use time::OffsetDateTime;
use tracing_subscriber::EnvFilter;

use super::model::Config;
use crate::nodes::fence::Unfenced;
use crate::placement::balance::{self, OVERFULL};
use crate::placement::topology::{Node, NodeId, NodeState, Topology};
use crate::placement::version::Placement;
use crate::rules::book;
use crate::settings::section::item;
use crate::settings::{Report, Warning};
use crate::tls::listeners;

/// Shards for each node below which shares get uneven where each shard is placed by itself.
const SHARDS_PER_NODE: usize = 64;
/// Replicas for each node below which one replica more or less matters where nodes hold equally many.
const REPLICAS_PER_NODE: usize = 5;

/// What it means that several gateways have nodes without keys.
const UNFENCED: &str =
    "without it the last requests of a gateway that has lost its lease cannot be kept from the nodes";

/// Reports every rule that `config` breaks.
pub(super) fn check(config: &Config, report: &Report) {
    check_listeners(config, report);
    check_peers(config, report);
    check_tls(config, report);
    check_nodes(config, report);
    if config.write.min_in_sync > config.cluster.replication_factor {
        report.problem(
            "write.min_in_sync",
            format!(
                "expected at most `cluster.replication_factor` ({}), found `{}`",
                config.cluster.replication_factor, config.write.min_in_sync
            ),
        );
    }
    if config.overload.retries.share > 1.0 {
        report
            .problem("overload.retry_share", format!("expected at most 1, found `{}`", config.overload.retries.share));
    }
    if let Err(problem) = config.place().check() {
        report.problem("state", problem);
    }
    for name in book::repeated(&config.rules) {
        report.problem("rules", format!("two rules are called `{name}`"));
    }
    if let Err(error) = EnvFilter::try_new(&config.log.level) {
        report.problem("log.level", format!("expected a filter such as `info` or `info,miroir=debug`: {error}"));
    }
}

/// A door for peers is of use only on a state that they share, and only with a secret.
fn check_peers(config: &Config, report: &Report) {
    let Some(door) = &config.gateway.peers.door else { return };
    if config.cluster_secret.is_none() {
        let message = "missing: without it whoever reaches `gateway.peer_listen` could pass for a gateway";
        report.problem("cluster_secret", message);
    }
    if config.state.starts_with("sqlite:") {
        report.warning("gateway.peer_listen", "has no use: a state file is one gateway's own; see `state`");
    }
    if door.url.starts_with("https:") != config.tls.peers.is_on() {
        // A proxy in between may speak TLS in its place.
        let message = "`https` belongs to a `gateway.peer_listen` with `tls.peers.certificates`, `http` to one without";
        report.warning("gateway.peer_url", message);
    }
    if can_follow(config) && config.node_key.is_none() && config.gateway.unfenced_nodes == Unfenced::Refuse {
        report.problem(
            "node_key",
            format!("missing: {UNFENCED}; where that is known, say `gateway.unfenced_nodes: allow`"),
        );
    }
}

/// True for a gateway that may come after another one, whose last requests may still be on their way to nodes.
fn can_follow(config: &Config) -> bool {
    !config.state.starts_with("sqlite:")
}

fn check_listeners(config: &Config, report: &Report) {
    let mut listeners = vec![("listen", config.listen), ("metrics", config.metrics), ("admin", config.admin)];
    listeners.extend(config.gateway.peers.door.as_ref().map(|door| ("gateway.peer_listen", door.listen)));
    for (position, (name, address)) in listeners.iter().enumerate() {
        for (other_name, other) in &listeners[..position] {
            if collide(*address, *other) {
                report.problem(name, format!("`{address}` is taken by `{other_name}` already"));
            }
        }
    }
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// Every file that `tls` names is read: what is of no use is found before a client finds it.
fn check_tls(config: &Config, report: &Report) {
    match listeners::check(&config.tls, OffsetDateTime::now_utc()) {
        Ok(doubts) => doubts.into_iter().for_each(|(path, doubt)| report.warning(&path, doubt)),
        Err(errors) => errors.into_iter().for_each(|(path, error)| report.problem(&path, error.to_string())),
    }
}

fn check_nodes(config: &Config, report: &Report) {
    let nodes = &config.cluster.nodes;
    if nodes.is_empty() {
        report.problem("cluster.nodes", "expected at least one node");
    }
    let mut ids: HashMap<&str, usize> = HashMap::new();
    let mut urls: HashMap<&str, usize> = HashMap::new();
    for (position, node) in nodes.iter().enumerate() {
        let path = item("cluster.nodes", position);
        if !node.id.is_empty() {
            if !is_name(&node.id) {
                report.problem(
                    &format!("{path}.id"),
                    format!("expected 1 to 100 letters, digits, `-`, `_` and `.`, found `{}`", node.id),
                );
            }
            if let Some(first) = ids.insert(&node.id, position) {
                report.problem(&format!("{path}.id"), format!("`{}` is the id of nodes[{first}] already", node.id));
            }
        }
        if !node.url.is_empty() {
            if let Err(message) = check_url(&node.url) {
                report.problem(&format!("{path}.url"), message);
            } else if let Some(first) = urls.insert(&node.url, position) {
                report.problem(&format!("{path}.url"), format!("`{}` is the url of nodes[{first}] already", node.url));
            }
        }
        if let Some(zone) = &node.zone
            && !is_name(zone)
        {
            report.problem(
                &format!("{path}.zone"),
                format!("expected 1 to 100 letters, digits, `-`, `_` and `.`, found `{zone}`"),
            );
        }
    }
}

fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=100).contains(&text.len()) && text.bytes().all(legal)
}

/// A node's url is a scheme, a host and a port. The message does not show a url that has a password in it.
fn check_url(text: &str) -> Result<(), String> {
    let expected = "expected `http://host:port`";
    let url = url::Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{expected} without a user name; give the nodes' key as `node_key`"));
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("{expected}, found `{text}`"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{expected} without a path, found `{text}`"));
    }
    Ok(())
}

/// What works but should be known. `config` breaks no rule.
pub(super) fn doubts(config: &Config) -> Vec<Warning> {
    let report = Report::default();
    doubt_keys(config, &report);
    doubt_placement(config, &report);
    if config.health.timeout > config.health.patience {
        report.warning(
            "health.timeout",
            "longer than `health.patience`, so a node that takes no connection is gone before",
        );
    }
    if config.search.attempt_timeout > config.search.timeout {
        report.warning("search.attempt_timeout", "longer than `search.timeout`, so a node that hangs is waited for");
    }
    if config.write.slow_after > config.write.timeout {
        report.warning("write.slow_after", "longer than `write.timeout`, so it has no effect");
    }
    if config.write.max_payload_size > 100 << 20 {
        report.warning(
            "write.max_payload_size",
            "a node refuses payloads over 100 MiB unless its own `http_payload_size_limit` is raised",
        );
    }
    report.into_parts().1
}

fn doubt_keys(config: &Config, report: &Report) {
    match &config.master_key {
        None => report.warning("master_key", "not set: every client may read and change everything"),
        Some(key) if key.expose().len() < 16 => {
            report.warning("master_key", "shorter than 16 bytes: easy to guess");
        }
        Some(_) => {}
    }
    // Without a key of its own the operators' API asks for the master key.
    if config.admin_key.is_none() && config.master_key.is_none() {
        let reach = if config.admin.ip().is_loopback() { "on this machine" } else { "who can reach it" };
        report.warning("admin_key", format!("not set: everybody {reach} may operate the cluster"));
    }
    if config.master_key.is_some() && !config.tls.api.is_on() && !config.listen.ip().is_loopback() {
        report.warning(
            "tls.api",
            "no certificate: keys and documents travel in clear text unless a proxy in front speaks TLS",
        );
    }
    if config.node_key.is_none() && config.master_key.is_some() {
        report.warning("node_key", "not set: the nodes take requests from everybody who can reach them");
    }
    if can_follow(config) && config.node_key.is_none() {
        report.warning("node_key", format!("not set: {UNFENCED}"));
    }
}

fn doubt_placement(config: &Config, report: &Report) {
    let cluster = &config.cluster;
    let (shards, nodes) = (usize::from(cluster.shards_when_new()), cluster.nodes.len());
    let copies = usize::from(cluster.replication_factor);
    let placement = cluster.placement_when_new();
    let too_few = match placement {
        Placement::Rendezvous => (shards < SHARDS_PER_NODE * nodes)
            .then(|| format!("{shards} shards on {nodes} nodes are fewer than {SHARDS_PER_NODE} per node")),
        Placement::Bounded => (shards * copies < REPLICAS_PER_NODE * nodes && copies < nodes)
            .then(|| format!("{shards} shards on {nodes} nodes are fewer than {REPLICAS_PER_NODE} replicas per node")),
    };
    if let Some(few) = too_few {
        report.warning("cluster.shards", format!("{few}, so shares get uneven; shards cannot be changed later"));
    }
    if copies > nodes {
        report.warning(
            "cluster.replication_factor",
            format!("{copies} replicas on {nodes} nodes: each shard has {nodes} only, until there are more nodes"),
        );
    }
    let zones: BTreeSet<&str> = cluster.nodes.iter().filter_map(|node| node.zone.as_deref()).collect();
    let without = cluster.nodes.iter().filter(|node| node.zone.is_none()).count();
    if let Some(own) = config.search.zone.as_deref().filter(|own| !zones.contains(own)) {
        report.warning("search.zone", format!("no node is in zone `{own}`, so it has no effect"));
    }
    if !zones.is_empty() && without > 0 {
        report.warning("cluster.nodes", "some nodes have a zone and some have none; each of those counts as a zone");
    } else if !zones.is_empty() && zones.len() < copies.min(nodes) {
        report.warning(
            "cluster.replication_factor",
            format!("{copies} replicas in {} zones: some replicas of a shard share a zone", zones.len()),
        );
    }
    if copies >= nodes {
        return;
    }
    let topology = Topology::placed(placement, config.nodes(), cluster.shards_when_new(), cluster.replication_factor);
    for share in balance::shares(&topology).into_iter().filter(|share| share.ratio() > OVERFULL) {
        report.warning(
            &item("cluster.nodes", share.node.0),
            format!(
                "`{}` holds {} replicas, {:.2} times its fair share of {:.0}; another id or more shards would change that",
                cluster.nodes[share.node.0].id,
                share.replicas,
                share.ratio(),
                share.fair
            ),
        );
    }
}

// === impl Config ===

impl Config {
    /// The configured nodes as the topology wants them; none has been seen healthy yet.
    pub fn nodes(&self) -> Vec<Node> {
        self.cluster
            .nodes
            .iter()
            .map(|node| Node {
                id: NodeId::new(&node.id),
                url: node.url.clone(),
                zone: node.zone.clone(),
                weight: node.weight,
                state: NodeState::Joining,
            })
            .collect()
    }
}
