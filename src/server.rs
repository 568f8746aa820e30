//! The composition root: a configuration becomes a running gateway.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

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
use miroir::store::sqlite::SqliteStore;
use miroir::tls::TlsError;
use miroir::tls::expiry::Expiry;
use miroir::tls::listeners::Listeners;
use miroir::tls::nodes::NodeTls;
use miroir::traces;
use miroir::tracking::housekeeping;
use pingora::protocols::ALPN;
use pingora::server::{Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::proxy::Proxy;

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
    serving: Arc<Serving>,
    founder: Founder,
    tls: Arc<Listeners>,
    /// Taken by who waits for its end.
    contest: Mutex<Option<Contest>>,
}

/// What apps are made of.
struct Founder {
    /// Without Pingora's own section, which the server has.
    config: Config,
    keepalive_pool_size: usize,
    path: PathBuf,
    tls: Arc<Listeners>,
}

/// The lease, while this gateway comes for it.
struct Contest {
    /// The state, once this gateway leads.
    wins: oneshot::Receiver<Arc<dyn Store>>,
    leadership: Arc<OnceLock<Arc<dyn Leadership>>>,
}

/// A gateway that is ready to run.
struct Running {
    server: Server,
    /// Set while it leads by a lease.
    leadership: Arc<OnceLock<Arc<dyn Leadership>>>,
}

/// Runs the gateway until it is told to stop. Fails where its configuration, its state or its addresses cannot be used, which it says on
/// standard error.
pub fn run(args: Args) -> ExitCode {
    match start(&args) {
        Ok(Running { server, leadership }) => {
            server.run(RunArgs::default());
            if let Some(leadership) = leadership.get() {
                // What was under way has ended: whoever leads next need not wait for the end of the lease.
                leadership.release();
            }
            ExitCode::SUCCESS
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

fn start(args: &Args) -> Result<Running, StartError> {
    let (mut config, warnings) = load(&args.config)?;
    logging::init(&config.log, &config.traces)?;
    for warning in &warnings {
        tracing::warn!("configuration: {warning}");
    }
    let door = config.peers.door.as_ref().map(|door| ("gateway.peer_listen", door.listen));
    let listeners = [("listen", config.listen), ("admin", config.admin), ("metrics", config.metrics)];
    for (what, address) in listeners.into_iter().chain(door) {
        // Pingora would only log that it cannot listen, and run on deaf.
        TcpListener::bind(address).map_err(|source| StartError::Listen { what, address, source })?;
    }

    let admin_key = config.admin_key.clone().or_else(|| config.master_key.clone());
    if admin_key.is_none() && !config.admin.ip().is_loopback() {
        return Err(StartError::AdminOpen(config.admin));
    }

    let process = prometheus::Registry::new();
    let tls = Listeners::open(&config.tls, Expiry::register(&process)?)?;
    let conf = std::mem::take(&mut config.pingora);
    let keepalive_pool_size = conf.upstream_keepalive_pool_size;
    let founder = Founder { config, keepalive_pool_size, path: args.config.clone(), tls: Arc::clone(&tls) };
    let config = &founder.config;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)?;
    let (first, contest) = if config.place().is_shared() {
        let (contest, following) = contend(config)?;
        (runtime.block_on(founder.follow(following))?, Some(contest))
    } else {
        let opened = config.place().open(config.cluster.shards, &config.candidate(WhenLost::Refuse))?;
        (runtime.block_on(founder.lead(opened.store))?, None)
    };
    let serving = Serving::new(first, process);

    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let admin_app = Arc::new(AdminApp::new(Arc::clone(&serving), admin_key.clone()));
    let proxy = |door: Door| {
        let proxy = Proxy { serving: Arc::clone(&serving), door, admin: Arc::clone(&admin_app) };
        pingora_proxy::http_proxy(&server.configuration, proxy)
    };
    let mut clients = proxy(Door::Clients);
    let offered = match &config.http2 {
        Http2Settings::Off => ALPN::H1,
        Http2Settings::On(http2) => {
            (clients.server_options, clients.h2_options) = http2.pingora(config.limits.header_size);
            ALPN::H2H1
        }
    };
    let mut api = Service::new("api".to_owned(), Watched::new(clients));
    listen(&mut api, &tls, ("api", config.listen), offered)?;
    let peers = match (&config.peers.door, &config.cluster_secret) {
        (Some(door), Some(secret)) => {
            let mut peers = Service::new("peers".to_owned(), Watched::new(proxy(Door::Peers(secret.clone()))));
            listen(&mut peers, &tls, ("peers", door.listen), ALPN::H1)?;
            Some(peers)
        }
        (Some(_) | None, _) => None,
    };
    let mut admin = Service::new("admin".to_owned(), AdminApp::new(Arc::clone(&serving), admin_key));
    listen(&mut admin, &tls, ("admin", config.admin), ALPN::H1)?;
    let mut metrics = Service::new("metrics".to_owned(), MetricsApp::new(Arc::clone(&serving)));
    listen(&mut metrics, &tls, ("metrics", config.metrics), ALPN::H1)?;
    tracing::info!(listen = %config.listen, admin = %config.admin, metrics = %config.metrics, "miroir serves");
    let leadership = contest.as_ref().map(|contest| Arc::clone(&contest.leadership)).unwrap_or_default();
    let background = Background { serving, founder, tls, contest: Mutex::new(contest) };
    server.add_service(background_service("cluster", background));
    server.add_service(api);
    if let Some(peers) = peers {
        server.add_service(peers);
    }
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
    Ok(Running { server, leadership })
}

/// Begins to come for the lease, on a thread of its own, and says what to go by until it is had.
fn contend(config: &Config) -> Result<(Contest, Arc<Following>), StartError> {
    let tls = NodeTls::open(&config.tls.to_peers)?;
    let secret = config.cluster_secret.clone().unwrap_or_else(|| Secret::new(""));
    let (seen, leader) = watch::channel(None);
    let PeerSettings { id, leader_wait, .. } = config.peers.clone();
    let following = Arc::new(Following::new(id, leader, secret, tls, leader_wait));
    let (won, wins) = oneshot::channel();
    let candidate = Candidate { seen: Some(seen), ..config.candidate(WhenLost::Refuse) };
    let (state, password, shards) = (config.state.clone(), config.state_password.clone(), config.cluster.shards);
    let leadership: Arc<OnceLock<Arc<dyn Leadership>>> = Arc::default();
    let held = Arc::clone(&leadership);
    let come = move || {
        match (Place { state: &state, password: password.as_ref() }).open(shards, &candidate) {
            Ok(opened) => {
                let mine = Arc::clone(held.get_or_init(|| opened.leadership));
                // An error: the process ends.
                let _ = won.send(opened.store);
                end_with_leadership(mine.as_ref());
            }
            Err(error) => {
                tracing::error!(%error, "this gateway ends: it cannot come to lead");
                eprintln!("miroir: {error}");
                std::process::exit(1);
            }
        }
    };
    std::thread::Builder::new().name("miroir-leads".to_owned()).spawn(come).map_err(StartError::Runtime)?;
    Ok((Contest { wins, leadership }, following))
}

/// Ends the process as a crash does, at once, when it does not lead any more: nothing that it still does may be seen, and what it was
/// at is decided by whoever leads next, as after a crash. Whoever supervises the process starts it again.
fn end_with_leadership(leadership: &dyn Leadership) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("miroir: {error}");
            std::process::exit(1);
        }
    };
    let loss = runtime.block_on(leadership.lost());
    tracing::error!("this gateway ends: {loss}");
    eprintln!("miroir: this gateway ends: {loss}");
    std::process::exit(LEADS_NO_MORE);
}

// === impl Founder ===

impl Founder {
    /// Over the cluster's state.
    async fn lead(&self, store: Arc<dyn Store>) -> Result<Seat, StartError> {
        self.found(store, self.config.gateway_settings(), None).await
    }

    /// Over an empty state in memory, of which no loop runs.
    async fn follow(&self, following: Arc<Following>) -> Result<Seat, StartError> {
        let store = Arc::new(SqliteStore::in_memory(self.config.cluster.shards)?);
        let mut settings = self.config.gateway_settings();
        // Whoever leads knows of writes; a gateway that follows does not, so it keeps no answers.
        settings.cache.size = 0;
        settings.cache.replies = 0;
        self.found(store, settings, Some(following)).await
    }

    async fn found(
        &self,
        store: Arc<dyn Store>,
        settings: GatewaySettings,
        following: Option<Arc<Following>>,
    ) -> Result<Seat, StartError> {
        let (config, registry) = (&self.config, prometheus::Registry::new());
        let mut of_the_cluster = cluster_settings(config, self.keepalive_pool_size)?;
        of_the_cluster.kept_replies = settings.cache.replies;
        let cluster = Cluster::start(of_the_cluster, Arc::clone(&store), &registry).await?;
        let keyring = Keyring::open(Arc::clone(&store), config.master_key.clone()).await?;
        let hooks = config.rules.iter().filter_map(Rule::task_hook).collect();
        let rule_metrics = RuleMetrics::register(&registry)?;
        let webhooks = WebhookBook::open(Arc::clone(&store), hooks, rule_metrics.clone()).await?;
        let books = (webhooks, ChatBook::open(store).await?);
        let metrics = GatewayMetrics::register(&registry)?;
        let ruling = Ruling::new(config.rules.clone(), config.programs, rule_metrics);
        let app = App::new(cluster, keyring, settings, metrics, Arc::clone(&self.tls), books, ruling, following);
        gateway::install_hooks(&app);
        let path = self.path.clone();
        let read_again: moves::ConfigSource = Box::new(move || {
            let (config, _) = Config::load(&path).map_err(|problems| problems.to_string())?;
            Ok(config.cluster)
        });
        if app.cluster.moves.config_source.set(read_again).is_err() {
            tracing::warn!("the cluster has a source of its configuration already");
        }
        let path = self.path.clone();
        let source = Box::new(move || {
            let (config, _) = Config::load(&path).map_err(|problems| problems.to_string())?;
            Ok(config.fresh())
        });
        app.reloads.open(source, Box::new(logging::set_level)).map_err(StartError::ReadAgain)?;
        Ok(Seat { app, registry })
    }
}

#[async_trait]
impl BackgroundService for Background {
    async fn start(&self, shutdown: ShutdownWatch) {
        let contest = self.contest.lock().take();
        tokio::join!(
            tell_the_manager(&self.serving, shutdown.clone()),
            end_streams(&self.serving, shutdown.clone()),
            reload_on_hangup(Arc::clone(&self.serving), shutdown.clone()),
            Arc::clone(&self.tls).watch(shutdown.clone()),
            self.lead(contest, shutdown),
        );
        // It waits for the collector.
        let _ = tokio::task::spawn_blocking(traces::close).await;
    }
}

impl Background {
    /// All that only a gateway does that leads, once this one does.
    async fn lead(&self, contest: Option<Contest>, mut shutdown: ShutdownWatch) {
        if let Some(contest) = contest {
            let store = tokio::select! {
                won = contest.wins => won,
                _ = shutdown.changed() => return,
            };
            // An error: the thread has ended the process, or is about to.
            let Ok(store) = store else { return };
            match self.founder.lead(store).await {
                Ok(seat) => {
                    tracing::info!("this gateway leads");
                    self.serving.take_over(seat);
                }
                Err(error) => {
                    tracing::error!(%error, "this gateway ends: it cannot lead");
                    eprintln!("miroir: {error}");
                    std::process::exit(1);
                }
            }
        }
        let app = self.serving.app();
        let (cluster, config) = (&app.cluster, &self.founder.config);
        let reconciler = cluster.tracking.reconciler.metrics().clone();
        let store = Arc::clone(&cluster.ledger.store);
        let (ended, format) = (store.ended_tasks(), app.settings().uid_format);
        tokio::join!(
            notify::run(Arc::clone(&app.webhooks), format, ended, shutdown.clone()),
            cluster::run(Arc::clone(cluster), shutdown.clone()),
            housekeeping::run(store, reconciler, config.tasks.retention, shutdown),
        );
    }
}

/// Under systemd (`Type=notify`): that nodes have been looked at and requests are answered, and that the end begins.
async fn tell_the_manager(serving: &Serving, mut shutdown: ShutdownWatch) {
    let app = serving.app();
    // A gateway that follows answers as soon as it listens: what it cannot yet waits for the leader.
    if app.following.is_none() {
        health::wait_for(&app.cluster.nodes, Need::Reads).await;
    }
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
async fn end_streams(serving: &Serving, mut shutdown: ShutdownWatch) {
    // An error: nobody is left who could say that it ends.
    let _ = shutdown.wait_for(|stop| *stop).await;
    serving.app().streams.end();
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
async fn reload_on_hangup(serving: Arc<Serving>, mut shutdown: ShutdownWatch) {
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
        if let Err(error) = reload::reload(&serving.app()).await {
            tracing::error!(%error, "the configuration was not taken over");
        }
    }
}

/// # Errors
///
/// When a file that `tls.nodes` names is of no use.
pub(crate) fn cluster_settings(config: &Config, keepalive_pool_size: usize) -> Result<ClusterSettings, TlsError> {
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
        keepalive_pool_size,
    })
}
