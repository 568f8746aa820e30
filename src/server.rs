//! The composition root: a configuration becomes a running gateway.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use miroir::admin::AdminApp;
use miroir::cluster::{self, Cluster};
use miroir::config::{self, Config, OverloadConfig, Problems, Warning};
use miroir::gateway::auth::Keyring;
use miroir::gateway::line::Watched;
use miroir::gateway::metrics::GatewayMetrics;
use miroir::gateway::settings::{CompressionSettings, GatewaySettings};
use miroir::gateway::{self, App};
use miroir::logging::{self, LogFormat, LogSettings};
use miroir::metrics::MetricsApp;
use miroir::moves;
use miroir::nodes::error::ClusterError;
use miroir::nodes::overload::circuit::CircuitSettings;
use miroir::nodes::overload::retry_budget::RetrySettings;
use miroir::nodes::overload::{OverloadSettings, TrafficSettings};
use miroir::nodes::settings::{
    ClusterSettings, HealthSettings, NodeSettings, OnConfigChange, PlacementSettings, RebalanceSettings,
    ResilverSettings, SearchSettings, Secret, SharedWords, TieBreak, UnavailableShards, WriteSettings,
};
use miroir::replicas::scrub::ScrubSettings;
use miroir::store::StoreError;
use miroir::store::sqlite::SqliteStore;
use miroir::tasks::view::UidFormatSetting;
use miroir::tracking::housekeeping;
use pingora::server::{Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;
use tokio::signal::unix::{SignalKind, signal};

use crate::proxy::Proxy;

/// Run the gateway.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, default_value = "conf/miroir.yaml")]
    config: PathBuf,
    /// End when standard input closes: for those who start a gateway as a child.
    #[arg(long, hide = true)]
    exit_on_stdin_close: bool,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}:\n{problems}", path.display())]
pub struct BadConfig {
    path: PathBuf,
    problems: Problems,
}

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Config(#[from] BadConfig),
    #[error("log.level: {0}")]
    Log(#[from] tracing_subscriber::filter::ParseError),
    #[error("cannot listen on {address} ({what}): {source}")]
    Listen { what: &'static str, address: SocketAddr, source: std::io::Error },
    #[error("cannot start a runtime: {0}")]
    Runtime(std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("admin: {0} can be reached from elsewhere, so an admin_key or master_key is needed")]
    AdminOpen(SocketAddr),
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// What runs beside the requests: health checks, repairs, polling of tasks, housekeeping.
struct Background {
    cluster: Arc<Cluster>,
    retention: std::time::Duration,
}

pub fn run(args: Args) -> ExitCode {
    match start(&args) {
        Ok(server) => server.run_forever(),
        Err(error) => {
            eprintln!("miroir: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The configuration of a program that cannot go on without one.
pub fn load(path: &Path) -> Result<(Config, Vec<Warning>), BadConfig> {
    Config::load(path).map_err(|problems| BadConfig { path: path.to_owned(), problems })
}

fn start(args: &Args) -> Result<Server, StartError> {
    let (config, warnings) = load(&args.config)?;
    logging::init(&log_settings(&config))?;
    for warning in &warnings {
        tracing::warn!("configuration: {warning}");
    }
    for (what, address) in [("listen", config.listen), ("admin", config.admin), ("metrics", config.metrics)] {
        // Pingora would only log that it cannot listen, and run on deaf.
        TcpListener::bind(address).map_err(|source| StartError::Listen { what, address, source })?;
    }

    let admin_key = config.admin_key.as_ref().or(config.master_key.as_ref()).map(|key| key.expose().to_owned());
    if admin_key.is_none() && !config.admin.ip().is_loopback() {
        return Err(StartError::AdminOpen(config.admin));
    }

    let registry = prometheus::Registry::new();
    let store = Arc::new(SqliteStore::open(&config.state, config.cluster.shards)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)?;
    let app = runtime.block_on(async {
        let cluster = Cluster::start(cluster_settings(&config), store.clone(), &registry).await?;
        let master_key = config.master_key.as_ref().map(|key| key.expose().to_owned());
        let keyring = Keyring::open(store, master_key).await?;
        let metrics = GatewayMetrics::register(&registry)?;
        Ok::<_, StartError>(App::new(cluster, keyring, gateway_settings(&config), metrics))
    })?;
    gateway::install_hooks(&app);
    let path = args.config.clone();
    let read_again: moves::wishes::ConfigSource = Box::new(move || {
        let (config, _) = Config::load(&path).map_err(|problems| problems.to_string())?;
        Ok(placement_settings(&config))
    });
    if app.cluster.config_source.set(read_again).is_err() {
        tracing::warn!("the cluster has a source of its configuration already");
    }

    let mut server = Server::new_with_opt_and_conf(None, config.pingora);
    server.bootstrap();
    let proxy = pingora_proxy::http_proxy(&server.configuration, Proxy(Arc::clone(&app)));
    let mut api = Service::new("api".to_owned(), Watched::new(proxy));
    api.add_tcp(&config.listen.to_string());
    let mut admin = Service::new("admin".to_owned(), AdminApp::new(Arc::clone(&app), admin_key));
    admin.add_tcp(&config.admin.to_string());
    let mut metrics = Service::new("metrics".to_owned(), MetricsApp::new(registry));
    metrics.add_tcp(&config.metrics.to_string());
    let background = Background { cluster: Arc::clone(&app.cluster), retention: config.tasks.retention };
    server.add_service(background_service("cluster", background));
    server.add_service(api);
    server.add_service(admin);
    server.add_service(metrics);

    if args.exit_on_stdin_close {
        std::thread::spawn(|| {
            let mut rest = Vec::new();
            // Whatever ends it, an end of file or an error, nobody holds the other end any more.
            let _ = std::io::stdin().read_to_end(&mut rest);
            std::process::exit(0);
        });
    }
    tracing::info!(listen = %config.listen, admin = %config.admin, metrics = %config.metrics, "miroir serves");
    Ok(server)
}

#[async_trait]
impl BackgroundService for Background {
    async fn start(&self, shutdown: ShutdownWatch) {
        let reconciler = self.cluster.reconciler.metrics().clone();
        let store = Arc::clone(&self.cluster.store);
        tokio::join!(
            cluster::run(Arc::clone(&self.cluster), shutdown.clone()),
            reload_on_hangup(Arc::clone(&self.cluster), shutdown.clone()),
            housekeeping::run(store, reconciler, self.retention, shutdown),
        );
    }
}

/// SIGHUP: the configuration's nodes and replication factor are read again.
async fn reload_on_hangup(cluster: Arc<Cluster>, mut shutdown: ShutdownWatch) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::error!(%error, "SIGHUP cannot be listened for; POST /reload does the same");
            return;
        }
    };
    loop {
        tokio::select! {
            _ = hangups.recv() => {}
            _ = shutdown.changed() => return,
        }
        match moves::wishes::reload(&cluster).await {
            Ok(true) => tracing::info!("the changed configuration is the cluster's goal now"),
            Ok(false) => tracing::info!("the configuration names no other nodes than before"),
            Err(error) => tracing::error!(%error, "the configuration was not taken over"),
        }
    }
}

fn log_settings(config: &Config) -> LogSettings {
    let format = match config.log.format {
        config::LogFormat::Json => LogFormat::Json,
        config::LogFormat::Plain => LogFormat::Plain,
    };
    LogSettings { format, level: config.log.level.clone() }
}

fn placement_settings(config: &Config) -> PlacementSettings {
    let nodes = config.cluster.nodes.iter().map(|node| NodeSettings {
        id: node.id.clone(),
        url: node.url.clone(),
        zone: node.zone.clone(),
        weight: node.weight,
    });
    PlacementSettings {
        shards: config.cluster.shards,
        replication_factor: config.cluster.replication_factor,
        nodes: nodes.collect(),
    }
}

pub(crate) fn cluster_settings(config: &Config) -> ClusterSettings {
    let unavailable_shards = match config.search.unavailable_shards {
        config::UnavailableShards::Partial => UnavailableShards::Partial,
        config::UnavailableShards::Error => UnavailableShards::Error,
    };
    let tie_break = match config.search.tie_break {
        config::TieBreakConfig::Written => TieBreak::Written,
        config::TieBreakConfig::Replica => TieBreak::Replica,
    };
    let on_config_change = match config.rebalance.on_config_change {
        config::OnConfigChange::Start => OnConfigChange::Start,
        config::OnConfigChange::Plan => OnConfigChange::Plan,
    };
    ClusterSettings {
        placement: placement_settings(config),
        health: HealthSettings {
            interval: config.health.interval,
            timeout: config.health.timeout,
            patience: config.health.patience,
            start_wait: config.health.start_wait,
            rise: config.health.rise as usize,
            fall: config.health.fall as usize,
        },
        write: WriteSettings {
            min_in_sync: config.write.min_in_sync,
            timeout: config.write.timeout,
            slow_after: config.write.slow_after,
            max_payload_size: config.write.max_payload_size,
            spool_memory: config.write.spool_memory,
        },
        search: SearchSettings {
            timeout: config.search.timeout,
            attempt_timeout: config.search.attempt_timeout,
            unavailable_shards,
            tie_break,
            words: if config.search.share_words { SharedWords::Yes } else { SharedWords::No },
        },
        overload: overload_settings(&config.overload),
        rebalance: RebalanceSettings { on_config_change, concurrency: config.rebalance.concurrency as usize },
        scrub: ScrubSettings { interval: config.scrub.interval, bandwidth: config.scrub.bandwidth },
        resilver: ResilverSettings {
            bandwidth: config.resilver.bandwidth,
            concurrency: config.resilver.concurrency as usize,
            cutover: config.resilver.cutover,
        },
        node_key: config.node_key.as_ref().map(|key| Secret::new(key.expose())),
        keepalive_pool_size: config.pingora.upstream_keepalive_pool_size,
    }
}

fn overload_settings(config: &OverloadConfig) -> OverloadSettings {
    OverloadSettings {
        reads: TrafficSettings { in_flight: config.node_reads, waiting: config.node_reads_waiting },
        heavy: TrafficSettings { in_flight: config.node_heavy_reads, waiting: config.node_reads_waiting },
        writes: TrafficSettings { in_flight: config.node_writes, waiting: config.node_writes_waiting },
        index_writes: config.index_writes,
        spooled: config.spooled,
        spooled_memory: config.spooled_memory,
        circuit: CircuitSettings { failures: config.circuit_failures, open_for: config.circuit_open },
        retries: RetrySettings { share: config.retry_share, burst: config.retry_burst },
    }
}

fn gateway_settings(config: &Config) -> GatewaySettings {
    let uid_format = match config.tasks.uid_format {
        config::UidFormatConfig::Auto => UidFormatSetting::Auto,
        config::UidFormatConfig::Integer => UidFormatSetting::Integer,
        config::UidFormatConfig::Mtask => UidFormatSetting::Mtask,
    };
    GatewaySettings {
        max_requests: config.overload.requests,
        max_body_size: config.limits.body_size,
        max_documents_size: config.limits.document_payload_size,
        body_idle_timeout: config.limits.client_timeout,
        max_header_size: usize::try_from(config.limits.header_size).unwrap_or(usize::MAX),
        compression: CompressionSettings {
            level: config.compression.level,
            min_size: usize::try_from(config.compression.min_size).unwrap_or(usize::MAX),
        },
        uid_format,
        ..GatewaySettings::default()
    }
}
