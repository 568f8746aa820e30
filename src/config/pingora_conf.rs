//! Pingora's own settings, by their own names.

use pingora::server::configuration::ServerConf;
use serde_json::Value;

use crate::nodes::transport::KEEPALIVE_POOL_SIZE;
use crate::settings::section::unknown_key;
use crate::settings::{FromSection, Section};

/// The section `pingora`.
pub(super) struct PingoraSection(pub(super) ServerConf);

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

// === impl PingoraSection ===

impl FromSection for PingoraSection {
    /// Pingora's own keys, over Miroir's defaults. Each is tried alone, so that every wrong one is reported.
    fn read(section: &mut Section) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let defaults = ServerConf {
            threads,
            upstream_keepalive_pool_size: KEEPALIVE_POOL_SIZE,
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
        Self(serde_json::from_value(accepted).unwrap_or(defaults))
    }
}

/// A number that came as a text, out of the environment, as a number.
fn plain(value: Value) -> Value {
    match value.as_str().and_then(|text| text.parse::<u64>().ok()) {
        Some(number) => number.into(),
        None => value,
    }
}
