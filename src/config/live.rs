//! What of a configuration can be exchanged while the gateway runs, and what waits for its next start.

use std::sync::Arc;

use super::Config;
use crate::cluster::live::LiveSettings;
use crate::gateway::reload::Fresh;
use crate::gateway::settings::GatewaySettings;
use crate::placement::stable_hash::hash_bytes;
use crate::settings::Secret;

/// When what a key says holds, after the file was read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    AtOnce,
    /// It becomes the goal of the cluster.
    AsGoal,
    AtStart,
}

/// A section of the file or a key of it, when it holds, and all that it says.
type Part = (&'static str, Holds, fn(&Config) -> String);

/// Every key is in the part of the longest name that it begins with. `docs/configuration.md` has this list.
pub const PARTS: &[Part] = &[
    ("rules", Holds::AtOnce, |config| format!("{:?}", config.rules)),
    ("rule_files", Holds::AtOnce, |config| format!("{:?}", config.rule_files)),
    ("programs", Holds::AtOnce, |config| format!("{:?}", config.programs)),
    ("master_key", Holds::AtOnce, |config| told_apart(config.master_key.as_ref())),
    ("admin_key", Holds::AtOnce, |config| told_apart(config.operators_key())),
    ("node_key", Holds::AtOnce, |config| told_apart(config.node_key.as_ref())),
    ("search", Holds::AtOnce, |config| {
        let search = &config.search;
        let timeout = (!config.has_peers()).then_some(search.timeout);
        format!("{timeout:?}{:?}", (search.attempt_timeout, search.unavailable_shards, &search.zone, search.stale_view))
    }),
    ("write", Holds::AtOnce, |config| format!("{:?}", config.write)),
    ("overload", Holds::AtOnce, |config| format!("{:?}", config.overload)),
    ("rebalance", Holds::AtOnce, |config| format!("{:?}", config.rebalance)),
    ("resilver", Holds::AtOnce, |config| format!("{:?}", config.resilver)),
    ("scrub", Holds::AtOnce, |config| format!("{:?}", config.scrub)),
    ("tasks", Holds::AtOnce, |config| format!("{:?}", config.tasks)),
    ("limits", Holds::AtOnce, |config| format!("{:?}", config.limits)),
    ("compression", Holds::AtOnce, |config| format!("{:?}", config.compression)),
    ("trusted_proxies", Holds::AtOnce, |config| format!("{:?}", config.trusted_proxies)),
    ("cors", Holds::AtOnce, |config| format!("{:?}", config.cors)),
    ("access_log", Holds::AtOnce, |config| format!("{:?}", config.access_log)),
    ("log.level", Holds::AtOnce, |config| config.log.level.clone()),
    // Its number of shards is refused if it is another one.
    ("cluster", Holds::AsGoal, |_| String::new()),
    ("listen", Holds::AtStart, |config| config.listen.to_string()),
    ("metrics", Holds::AtStart, |config| config.metrics.to_string()),
    ("admin", Holds::AtStart, |config| config.admin.to_string()),
    ("tls", Holds::AtStart, |config| format!("{:?}", config.tls)),
    ("http2", Holds::AtStart, |config| format!("{:?}", config.http2)),
    ("search.tie_break", Holds::AtStart, |config| format!("{:?}", config.search.tie_break)),
    ("search.words", Holds::AtStart, |config| format!("{:?}", config.search.words)),
    ("health", Holds::AtStart, |config| format!("{:?}", config.health)),
    ("dumps", Holds::AtStart, |config| format!("{:?}", config.dumps)),
    ("cache", Holds::AtStart, |config| format!("{:?}", config.cache)),
    ("state", Holds::AtStart, |config| config.state.clone()),
    ("state_password", Holds::AtStart, |config| told_apart(config.state_password.as_ref())),
    ("gateway", Holds::AtStart, |config| format!("{:?}", config.gateway)),
    ("cluster_secret", Holds::AtStart, |config| told_apart(config.cluster_secret.as_ref())),
    ("log.format", Holds::AtStart, |config| format!("{:?}", config.log.format)),
    ("traces", Holds::AtStart, |config| format!("{:?}", config.traces)),
    ("pingora", Holds::AtStart, |config| format!("{:?}", config.pingora)),
];

// === impl Config ===

impl Config {
    /// By which operators are let in.
    pub fn operators_key(&self) -> Option<&Secret> {
        self.admin_key.as_ref().or(self.master_key.as_ref())
    }

    /// Whether other gateways are asked and told things.
    fn has_peers(&self) -> bool {
        self.gateway.peers.door.is_some()
    }

    /// What the client-facing side goes by.
    pub fn gateway_settings(&self) -> GatewaySettings {
        GatewaySettings {
            max_requests: self.overload.requests,
            limits: self.limits.clone(),
            compression: self.compression,
            cache: self.cache.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            cors: Arc::new(self.cors.clone()),
            access_log: self.access_log,
            uid_format: self.tasks.uid_format,
            retention: self.tasks.retention,
            admin_key: self.operators_key().cloned(),
        }
    }

    /// What can be exchanged. Nodes and replication factor are read by who moves shards.
    pub fn fresh(self) -> Fresh {
        let parts = |when: Holds| {
            let parts = PARTS.iter().filter(move |(_, holds, _)| *holds == when);
            parts.map(|(name, _, says)| (*name, says(&self))).collect::<Vec<_>>()
        };
        let (live, mut at_start) = (parts(Holds::AtOnce), parts(Holds::AtStart));
        // They were told how long reads take, and go by it.
        if self.has_peers() {
            at_start.push(("search.timeout", format!("{:?}", self.search.timeout)));
        }
        let settings = self.gateway_settings();
        let cluster = LiveSettings {
            told_others: self.has_peers(),
            node_key: self.node_key,
            search: self.search,
            overload: self.overload,
            write: self.write,
            rebalance: self.rebalance,
            resilver: self.resilver,
            scrub: self.scrub,
        };
        Fresh {
            settings,
            cluster,
            master_key: self.master_key,
            rules: self.rules,
            programs: self.programs,
            log_level: self.log.level,
            live,
            at_start,
        }
    }
}

/// Tells one key from another without holding it.
fn told_apart(key: Option<&Secret>) -> String {
    key.map(|key| hash_bytes(key.expose().as_bytes()).to_string()).unwrap_or_default()
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
