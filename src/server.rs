//! The composition root: a configuration becomes a running gateway.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use miroir::admin::AdminApp;
use miroir::cluster::settings::ClusterSettings;
use miroir::cluster::{self, Cluster, ClusterError};
use miroir::config::{Config, DEFAULT_FILE, Problems};
use miroir::gateway::auth::Keyring;
use miroir::gateway::chats::ChatBook;
use miroir::gateway::line::Watched;
use miroir::gateway::metrics::GatewayMetrics;
use miroir::gateway::rule_metrics::RuleMetrics;
use miroir::gateway::ruled::Ruling;
use miroir::gateway::settings::Http2Settings;
use miroir::gateway::webhooks::{WebhookBook, notify};
use miroir::gateway::{self, App, reload};
use miroir::logging;
use miroir::metrics::MetricsApp;
use miroir::moves;
use miroir::nodes::credentials::Credentials;
use miroir::nodes::health::{self, Need};
use miroir::rules::rule::Rule;
use miroir::settings::Warning;
use miroir::store::StoreError;
use miroir::store::leadership::{self, Leadership, Loss, Role, WhenLed, WhenLost};
use miroir::store::open::Opened;
use miroir::tls::TlsError;
use miroir::tls::expiry::Expiry;
use miroir::tls::listeners::Listeners;
use miroir::tls::nodes::NodeTls;
use miroir::traces;
use miroir::tracking::housekeeping;
use pingora::protocols::ALPN;
use pingora::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch, UnixShutdownSignalWatch};
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::proxy::Proxy;

/// The exit code of a gateway that is to be started again: what `sysexits.h` calls a temporary failure.
const LEADS_NO_MORE: u8 = 75;
/// How long what is under way may hold up the next leader, once this one is to end.
const HAND_OVER: Duration = Duration::from_millis(700);

/// Run the gateway.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, default_value = DEFAULT_FILE)]
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
    #[error(transparent)]
    Log(#[from] logging::InitError),
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
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    #[error("tls: {0}")]
    Listener(Box<pingora::Error>),
    #[error("the configuration cannot be read a second time: {0}")]
    ReadAgain(String),
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// What runs beside the requests: health checks, repairs, polling of tasks, housekeeping, webhooks.
struct Background {
    app: Arc<App>,
    tls: Arc<Listeners>,
    leadership: Arc<dyn Leadership>,
    retention: Duration,
}

/// What ends the server: a signal, or that another gateway is to lead.
struct UntilTheEnd {
    leadership: Arc<dyn Leadership>,
}

/// Runs the gateway until it is told to stop. Fails where its configuration, its state or its addresses cannot be used, which it says on
/// standard error.
pub fn run(args: Args) -> ExitCode {
    match start(&args) {
        Ok((server, leadership)) => {
            let end = Box::new(UntilTheEnd { leadership: Arc::clone(&leadership) });
            server.run(RunArgs { shutdown_signal: end });
            leadership.release();
            if *leadership.resigns().borrow() { ExitCode::from(LEADS_NO_MORE) } else { ExitCode::SUCCESS }
        }
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

fn start(args: &Args) -> Result<(Server, Arc<dyn Leadership>), StartError> {
    let (config, warnings) = load(&args.config)?;
    logging::init(&config.log, &config.traces)?;
    for warning in &warnings {
        tracing::warn!("configuration: {warning}");
    }
    for (what, address) in [("listen", config.listen), ("admin", config.admin), ("metrics", config.metrics)] {
        // Pingora would only log that it cannot listen, and run on deaf.
        TcpListener::bind(address).map_err(|source| StartError::Listen { what, address, source })?;
    }

    let admin_key = config.admin_key.clone().or_else(|| config.master_key.clone());
    if admin_key.is_none() && !config.admin.ip().is_loopback() {
        return Err(StartError::AdminOpen(config.admin));
    }

    let registry = prometheus::Registry::new();
    let joined = config.place().join(&config.candidate(WhenLed::Wait, WhenLost::Refuse))?;
    let Opened { store, leadership } = joined.lead(config.cluster.shards)?;
    end_with_leadership(Arc::clone(&leadership))?;
    let tls = Listeners::open(&config.tls, Expiry::register(&registry)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)?;
    let app = runtime.block_on(async {
        let cluster = Cluster::start(cluster_settings(&config)?, store.clone(), &registry).await?;
        let keyring = Keyring::open(store.clone(), config.master_key.clone()).await?;
        let hooks = config.rules.iter().filter_map(Rule::task_hook).collect();
        let rule_metrics = RuleMetrics::register(&registry)?;
        let webhooks = WebhookBook::open(store.clone(), hooks, rule_metrics.clone()).await?;
        let books = (webhooks, ChatBook::open(store).await?);
        let metrics = GatewayMetrics::register(&registry)?;
        let settings = config.gateway_settings();
        let ruling = Ruling::new(config.rules.clone(), config.programs, rule_metrics);
        Ok::<_, StartError>(App::new(cluster, keyring, settings, metrics, Arc::clone(&tls), books, ruling))
    })?;
    app.cluster.nodes.client.trust_only(leadership.trust().clone());
    gateway::install_hooks(&app);
    let path = args.config.clone();
    let read_again: moves::ConfigSource = Box::new(move || {
        let (config, _) = Config::load(&path).map_err(|problems| problems.to_string())?;
        Ok(config.cluster)
    });
    if app.cluster.moves.config_source.set(read_again).is_err() {
        tracing::warn!("the cluster has a source of its configuration already");
    }

    let path = args.config.clone();
    let source = Box::new(move || {
        let (config, _) = Config::load(&path).map_err(|problems| problems.to_string())?;
        Ok(config.fresh())
    });
    app.reloads.open(source, Box::new(logging::set_level)).map_err(StartError::ReadAgain)?;

    let mut server = Server::new_with_opt_and_conf(None, config.pingora);
    server.bootstrap();
    let mut proxy = pingora_proxy::http_proxy(&server.configuration, Proxy(Arc::clone(&app)));
    let offered = match &config.http2 {
        Http2Settings::Off => ALPN::H1,
        Http2Settings::On(http2) => {
            (proxy.server_options, proxy.h2_options) = http2.pingora(config.limits.header_size);
            ALPN::H2H1
        }
    };
    let mut api = Service::new("api".to_owned(), Watched::new(proxy));
    listen(&mut api, &tls, ("api", config.listen), offered)?;
    let admin = AdminApp::new(Arc::clone(&app), admin_key, registry.clone(), Arc::clone(&leadership));
    let mut admin = Service::new("admin".to_owned(), admin);
    listen(&mut admin, &tls, ("admin", config.admin), ALPN::H1)?;
    let mut metrics = Service::new("metrics".to_owned(), MetricsApp::new(registry));
    listen(&mut metrics, &tls, ("metrics", config.metrics), ALPN::H1)?;
    let background = Background { app, tls, leadership: Arc::clone(&leadership), retention: config.tasks.retention };
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
    Ok((server, leadership))
}

/// Ends the process as a crash does, at once, when it does not lead any more: nothing that it still does may be seen, and what it was
/// at is decided by whoever leads next, as after a crash. Whoever supervises the process starts it again.
fn end_with_leadership(leadership: Arc<dyn Leadership>) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)?;
    let watch = move || {
        let loss = runtime.block_on(leadership::lost(leadership.as_ref()));
        if loss == Loss::GivenUp {
            // By this process, which ends in its own time.
            return;
        }
        tracing::error!("this gateway ends: {loss}");
        eprintln!("miroir: this gateway ends: {loss}");
        if let Loss::Tail { .. } = loss {
            // So that it is noted in the state, for whoever starts next. Nothing is answered or acknowledged meanwhile.
            leadership.release();
        }
        std::process::exit(LEADS_NO_MORE.into());
    };
    std::thread::Builder::new().name("miroir-leads".to_owned()).spawn(watch).map(drop).map_err(StartError::Runtime)
}

#[async_trait]
impl ShutdownSignalWatch for UntilTheEnd {
    async fn recv(&self) -> ShutdownSignal {
        let mut resigns = self.leadership.resigns();
        tokio::select! {
            signal = UnixShutdownSignalWatch.recv() => signal,
            Ok(_) = resigns.wait_for(|resigns| *resigns) => ShutdownSignal::GracefulTerminate,
        }
    }
}

/// When this gateway is to end, the next one leads as soon as what is under way here is done, or soon after.
async fn hand_over(app: &App, leadership: Arc<dyn Leadership>, mut shutdown: ShutdownWatch) {
    // An error: nobody is left who could say that it ends.
    let _ = shutdown.wait_for(|stop| *stop).await;
    if leadership.watch().borrow().role == Role::Only {
        return;
    }
    let until = tokio::time::Instant::now() + HAND_OVER;
    while app.metrics.in_flight.get() > 0 && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // It waits for the database.
    let _ = tokio::task::spawn_blocking(move || leadership.release()).await;
}

#[async_trait]
impl BackgroundService for Background {
    async fn start(&self, shutdown: ShutdownWatch) {
        let cluster = &self.app.cluster;
        let reconciler = cluster.tracking.reconciler.metrics().clone();
        let store = Arc::clone(&cluster.ledger.store);
        let (ended, format) = (store.ended_tasks(), self.app.settings().uid_format);
        tokio::join!(
            tell_the_manager(&self.app, shutdown.clone()),
            end_streams(&self.app, shutdown.clone()),
            hand_over(&self.app, Arc::clone(&self.leadership), shutdown.clone()),
            notify::run(Arc::clone(&self.app.webhooks), format, ended, shutdown.clone()),
            cluster::run(Arc::clone(cluster), shutdown.clone()),
            reload_on_hangup(Arc::clone(&self.app), shutdown.clone()),
            Arc::clone(&self.tls).watch(shutdown.clone()),
            housekeeping::run(store, reconciler, self.retention, shutdown),
        );
        // It waits for the collector.
        let _ = tokio::task::spawn_blocking(traces::close).await;
    }
}

/// Under systemd (`Type=notify`): that nodes have been looked at and requests are answered, and that the end begins.
async fn tell_the_manager(app: &App, mut shutdown: ShutdownWatch) {
    health::wait_for(&app.cluster.nodes, Need::Reads).await;
    let tell = |state: NotifyState<'_>| {
        if let Err(error) = sd_notify::notify(&[state]) {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    };
    tell(NotifyState::Ready);
    // An error: nobody is left who could say that it ends.
    let _ = shutdown.changed().await;
    tell(NotifyState::Stopping);
}

/// They would hold up the end of the process.
async fn end_streams(app: &App, mut shutdown: ShutdownWatch) {
    // An error: nobody is left who could say that it ends.
    let _ = shutdown.wait_for(|stop| *stop).await;
    app.streams.end();
}

/// Listens with TLS where the listener has certificates.
fn listen<A>(
    service: &mut Service<A>,
    tls: &Listeners,
    (name, address): (&str, SocketAddr),
    offered: ALPN,
) -> Result<(), StartError> {
    match tls.of(name, offered) {
        None => service.add_tcp(&address.to_string()),
        Some(settings) => {
            service.add_tls_with_settings(&address.to_string(), None, settings.map_err(StartError::Listener)?);
        }
    }
    Ok(())
}

/// SIGHUP: the configuration is read again.
async fn reload_on_hangup(app: Arc<App>, mut shutdown: ShutdownWatch) {
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
        if let Err(error) = reload::reload(&app).await {
            tracing::error!(%error, "the configuration was not taken over");
        }
    }
}

/// # Errors
///
/// When a file that `tls.nodes` names is of no use.
pub(crate) fn cluster_settings(config: &Config) -> Result<ClusterSettings, TlsError> {
    let credentials = Credentials { key: config.node_key.clone(), tls: NodeTls::open(&config.tls.nodes)? };
    Ok(ClusterSettings {
        placement: config.cluster.clone(),
        health: config.health.clone(),
        write: config.write.clone(),
        kept_replies: config.cache.replies,
        search: config.search.clone(),
        rebalance: config.rebalance.clone(),
        overload: config.overload.clone(),
        resilver: config.resilver.clone(),
        scrub: config.scrub,
        dumps: config.dumps.clone(),
        credentials,
        keepalive_pool_size: config.pingora.upstream_keepalive_pool_size,
    })
}
