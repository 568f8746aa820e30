//! The whole file: the sections of all rooms side by side, and the keys that stand outside of sections.

use std::io;
use std::net::SocketAddr;

use pingora::server::configuration::ServerConf;

use super::pingora_conf::PingoraSection;
use crate::dumps::settings::DumpSettings;
use crate::gateway::access_log::AccessLogSettings;
use crate::gateway::cache::settings::CacheSettings;
use crate::gateway::client::TrustedProxies;
use crate::gateway::cors::CorsSettings;
use crate::gateway::peers::settings::PeerSettings;
use crate::gateway::settings::{CompressionSettings, Http2Settings, LimitSettings};
use crate::logging::LogSettings;
use crate::moves::settings::RebalanceSettings;
use crate::nodes::fence::Unfenced;
use crate::nodes::health::settings::HealthSettings;
use crate::nodes::overload::OverloadSettings;
use crate::placement::settings::PlacementSettings;
use crate::read::settings::SearchSettings;
use crate::replicas::resilver::settings::ResilverSettings;
use crate::replicas::scrub::ScrubSettings;
use crate::rules::language::ProgramSettings;
use crate::rules::rule::Rule;
use crate::rules::tested;
use crate::settings::{FromSection, Secret, Section};
use crate::store::leadership::{Candidate, WhenLed, WhenLost};
use crate::store::open::Place;
use crate::store::settings::LeaderSettings;
use crate::tasks::settings::TaskSettings;
use crate::tls::settings::TlsSettings;
use crate::traces::settings::TraceSettings;
use crate::write::settings::WriteSettings;

/// The file that is read where none is named.
pub const DEFAULT_FILE: &str = "conf/miroir.yaml";
/// Where clients are listened to, unless `listen` says otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7700";
/// Where operators are listened to, unless `admin` says otherwise.
pub const DEFAULT_ADMIN: &str = "127.0.0.1:7701";

/// A whole configuration. Each section is the settings of the room that it is about, where its keys and defaults stand.
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
    pub tls: TlsSettings,
    pub cluster: PlacementSettings,
    pub health: HealthSettings,
    pub write: WriteSettings,
    pub search: SearchSettings,
    pub rebalance: RebalanceSettings,
    pub overload: OverloadSettings,
    pub resilver: ResilverSettings,
    pub scrub: ScrubSettings,
    pub dumps: DumpSettings,
    pub tasks: TaskSettings,
    pub limits: LimitSettings,
    pub http2: Http2Settings,
    pub compression: CompressionSettings,
    pub cache: CacheSettings,
    /// How long programs of rules may take.
    pub programs: ProgramSettings,
    /// What is made of requests, in order.
    pub rules: Vec<Rule>,
    /// Files of further rules, which come after these.
    pub rule_files: Vec<String>,
    pub trusted_proxies: TrustedProxies,
    pub cors: CorsSettings,
    /// Where the gateway keeps what must survive it: `sqlite:./data/miroir.db`, or `postgres://user@host:5432/database`.
    pub state: String,
    /// The password of the database that `state` names.
    pub state_password: Option<Secret>,
    pub gateway: GatewaySection,
    /// What gateways of one cluster know, and nobody else.
    pub cluster_secret: Option<Secret>,
    pub log: LogSettings,
    pub access_log: AccessLogSettings,
    pub traces: TraceSettings,
    /// Pingora's own settings, unknown keys refused.
    pub pingora: ServerConf,
}

/// The section `gateway`: this process as one of several.
#[derive(Debug, Clone)]
pub struct GatewaySection {
    /// How it comes to the state.
    pub leader: LeaderSettings,
    /// How gateways reach each other.
    pub peers: PeerSettings,
    /// What to do about nodes that take no keys.
    pub unfenced_nodes: Unfenced,
}

impl FromSection for GatewaySection {
    fn read(section: &mut Section) -> Self {
        let words = [("refuse", Unfenced::Refuse), ("allow", Unfenced::Allow)];
        Self {
            leader: LeaderSettings::read(section),
            peers: PeerSettings::of(section),
            unfenced_nodes: section.choice("unfenced_nodes", &words, Unfenced::Refuse),
        }
    }
}

// === impl Config ===

impl Config {
    /// Where the state is.
    pub fn place(&self) -> Place<'_> {
        Place { state: &self.state, password: self.state_password.as_ref() }
    }

    /// How this gateway comes to the state.
    pub fn candidate(&self, when_led: WhenLed, when_lost: WhenLost) -> Candidate {
        let name = self.gateway.leader.id.clone().unwrap_or_else(|| {
            format!("{}:{}", rustix::system::uname().nodename().to_string_lossy(), self.listen.port())
        });
        let url = self.gateway.peers.door.as_ref().map(|door| door.url.clone());
        Candidate { name, url, alone: self.gateway.leader.alone, when_led, when_lost }
    }
}

/// Reads a file that stands beside the configuration.
pub(super) type Files<'a> = &'a dyn Fn(&str) -> io::Result<String>;

/// Reads the whole file. What is wrong is in the section's report.
pub(super) fn read(mut file: Section, files: Files) -> Config {
    let config = Config {
        listen: address(&mut file, "listen", DEFAULT_LISTEN),
        metrics: address(&mut file, "metrics", "127.0.0.1:9090"),
        admin: address(&mut file, "admin", DEFAULT_ADMIN),
        master_key: secret(&mut file, "master_key", files),
        admin_key: secret(&mut file, "admin_key", files),
        node_key: secret(&mut file, "node_key", files),
        tls: file.read("tls"),
        cluster: file.read("cluster"),
        health: file.read("health"),
        write: file.read("write"),
        search: file.read("search"),
        rebalance: file.read("rebalance"),
        overload: file.read("overload"),
        resilver: file.read("resilver"),
        scrub: file.read("scrub"),
        dumps: file.read("dumps"),
        tasks: file.read("tasks"),
        limits: file.read("limits"),
        http2: file.read("http2"),
        compression: file.read("compression"),
        cache: file.read("cache"),
        programs: file.read("programs"),
        rules: tested::read(&mut file),
        rule_files: file.parsed("rule_files", Vec::new(), "a list of names of files", |value| {
            value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
        }),
        trusted_proxies: file.read("trusted_proxies"),
        cors: file.read("cors"),
        state: file.text("state").unwrap_or_else(|| "sqlite:./data/miroir.db".to_owned()),
        state_password: secret(&mut file, "state_password", files),
        gateway: file.read("gateway"),
        cluster_secret: secret(&mut file, "cluster_secret", files),
        log: file.read("log"),
        access_log: file.read("access_log"),
        traces: file.read("traces"),
        pingora: file.read::<PingoraSection>("pingora").0,
    };
    file.finish();
    config
}

fn address(file: &mut Section, key: &str, default: &str) -> SocketAddr {
    let default = default.parse().expect("the defaults are addresses");
    file.parsed(key, default, "an IP address and a port such as `127.0.0.1:7700` or `[::]:7700`", |value| {
        value.as_str().and_then(|text| text.parse().ok())
    })
}

/// `key`, or the content of the file that `{key}_file` names, without the line break at its end. No message shows
/// the value.
fn secret(file: &mut Section, key: &str, files: Files) -> Option<Secret> {
    let file_key = format!("{key}_file");
    let value = match (file.text(key), file.text(&file_key)) {
        (Some(_), Some(_)) => {
            file.problem(key, format!("given twice: here and by `{file_key}`"));
            return None;
        }
        (Some(value), None) => Some(value),
        (None, Some(name)) => match files(&name) {
            Ok(content) => Some(content.trim_end_matches(['\n', '\r']).to_owned()),
            Err(error) => {
                file.problem(&file_key, format!("cannot read `{name}`: {error}"));
                None
            }
        },
        (None, None) => None,
    }?;
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        file.problem(key, "expected printable ASCII characters without spaces, and at least one");
        return None;
    }
    Some(Secret::new(value))
}
