//! What of a configuration can be exchanged while the gateway runs, and what waits for its next start.

use std::sync::Arc;

use super::Config;
use crate::gateway::reload::Fresh;
use crate::gateway::settings::GatewaySettings;
use crate::placement::stable_hash::hash_bytes;
use crate::settings::Secret;

// === impl Config ===

impl Config {
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
        }
    }

    /// What can be exchanged. Nodes and replication factor are read by who moves shards.
    pub fn fresh(self) -> Fresh {
        let at_start = vec![
            ("listen", self.listen.to_string()),
            ("metrics", self.metrics.to_string()),
            ("admin", self.admin.to_string()),
            ("master_key", told_apart(self.master_key.as_ref())),
            ("admin_key", told_apart(self.admin_key.as_ref())),
            ("node_key", told_apart(self.node_key.as_ref())),
            ("tls", format!("{:?}", self.tls)),
            ("health", format!("{:?}", self.health)),
            ("write", format!("{:?}", self.write)),
            ("search", format!("{:?}", self.search)),
            ("rebalance", format!("{:?}", self.rebalance)),
            (
                "overload",
                format!("{:?}", crate::nodes::overload::OverloadSettings { requests: 0, ..self.overload.clone() }),
            ),
            ("resilver", format!("{:?}", self.resilver)),
            ("scrub", format!("{:?}", self.scrub)),
            ("tasks", format!("{:?}", self.tasks)),
            ("cache", format!("{:?}", self.cache)),
            ("state", self.state.clone()),
            ("traces", format!("{:?}", self.traces)),
            ("state_password", told_apart(self.state_password.as_ref())),
            ("gateway", format!("{:?}", self.gateway)),
            ("cluster_secret", told_apart(self.cluster_secret.as_ref())),
            ("log.format", format!("{:?}", self.log.format)),
            ("pingora", format!("{:?}", self.pingora)),
        ];
        let settings = self.gateway_settings();
        Fresh { settings, rules: self.rules, programs: self.programs, log_level: self.log.level, at_start }
    }
}

/// Tells one key from another without holding it.
fn told_apart(key: Option<&Secret>) -> String {
    key.map(|key| hash_bytes(key.expose().as_bytes()).to_string()).unwrap_or_default()
}
