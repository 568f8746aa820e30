//! The composition root: a configuration becomes a running gateway.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use miroir::admin::AdminApp;
use miroir::cluster;
use miroir::config::{Config, DEFAULT_FILE, Problems};
use miroir::gateway::connection::Watched;
use miroir::gateway::entry::Entry;
use miroir::gateway::open_connections::OpenConnections;
use miroir::gateway::peers::door::Door;
use miroir::gateway::peers::views::Asker;
use miroir::gateway::serving::Serving;
use miroir::gateway::settings::Http2Settings;
use miroir::gateway::webhooks::notify;
use miroir::gateway::{App, reload};
use miroir::logging;
use miroir::metrics::MetricsApp;
use miroir::nodes::health::{self, Need};
use miroir::settings::Warning;
use miroir::store::leadership::{Loss, Role, WhenLed, WhenLost};
use miroir::store::open::Joined;
use miroir::store::{Store, StoreError};
use miroir::tls::TlsError;
use miroir::tls::expiry::Expiry;
use miroir::tls::listeners::Listeners;
use miroir::traces;
use miroir::tracking::housekeeping;
use parking_lot::Mutex;
use pingora::protocols::ALPN;
use pingora::server::{RunArgs, Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::ending::{LEADS_NO_MORE, UntilTheEnd, end_streams, end_with_leadership, hand_over};
use crate::founder::{Founder, FoundingError};
use crate::proxy::Proxy;
use crate::sockets::{SocketError, Sockets};

/// How long who comes to lead waits for nodes that answer and do not take part yet: for a former leader's views to end, and something more.
const NODES_JOIN: Duration = Duration::from_secs(8);

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
    #[error(transparent)]
    Sockets(#[from] SocketError),
    #[error("cannot start a runtime: {0}")]
    Runtime(std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Founding(#[from] FoundingError),
    #[error("admin: {0} can be reached from elsewhere, so an admin_key or master_key is needed")]
    AdminOpen(SocketAddr),
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    #[error("tls: {0}")]
    Listener(Box<pingora::Error>),
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

/// The lease, while this gateway comes for it.
struct Contest {
    /// The state, once this gateway leads.
    wins: oneshot::Receiver<Arc<dyn Store>>,
}

/// Runs the gateway until it is told to stop. Fails where its configuration, its state or its addresses cannot be used, which it says on
/// standard error.
pub fn run(args: Args) -> ExitCode {
    match start(&args) {
        Ok((server, end)) => {
            let leadership = Arc::clone(&end.leadership);
            server.run(RunArgs { shutdown_signal: Box::new(end) });
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

fn start(args: &Args) -> Result<(Server, UntilTheEnd), StartError> {
    let (mut config, warnings) = load(&args.config)?;
    logging::init(&config.log, &config.traces)?;
    for warning in &warnings {
        tracing::warn!("configuration: {warning}");
    }
    let mut sockets = open_sockets(&config)?;

    if config.operators_key().is_none() && !config.admin.ip().is_loopback() {
        return Err(StartError::AdminOpen(config.admin));
    }

    let process = prometheus::Registry::new();
    let connections = OpenConnections::register(&process)?;
    let tls = Listeners::open(&config.tls, Expiry::register(&process)?)?;
    let conf = std::mem::take(&mut config.pingora);
    let keepalive_pool_size = conf.upstream_keepalive_pool_size;
    let joined = config.place().join(&config.candidate(WhenLed::Wait, WhenLost::Refuse))?;
    let leadership = joined.leadership();
    let path = args.config.clone();
    let founder =
        Founder { config, keepalive_pool_size, path, tls: Arc::clone(&tls), leadership: Arc::clone(&leadership) };
    let config = &founder.config;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)?;
    let (first, contest) = match (&config.gateway.peers.door, &config.cluster_secret) {
        (Some(_), Some(secret)) if leadership.watch().borrow().role != Role::Only => {
            end_with_leadership(Arc::clone(&leadership)).map_err(StartError::Runtime)?;
            let seat = runtime.block_on(founder.follow(secret.clone()))?;
            (seat, Some(contend(joined, config.cluster.shards)?))
        }
        (Some(_) | None, _) => {
            let opened = joined.lead(config.cluster.shards)?;
            end_with_leadership(Arc::clone(&leadership)).map_err(StartError::Runtime)?;
            (runtime.block_on(founder.lead(opened.store))?, None)
        }
    };
    let serving = Serving::new(first, process);

    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let admin_app = Arc::new(AdminApp::new(Arc::clone(&serving), Arc::clone(&leadership)));
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
    let entry = Arc::new(Entry::new(Arc::clone(&serving), connections));
    let mut api = let_in(clients, entry, &serving, config.tls.api.is_on());
    listen(&mut api, &tls, ("api", config.listen), offered)?;
    let (close, closes) = watch::channel(false);
    let api = sockets.listener(api, config.listen).until(closes);
    let peers = match (&config.gateway.peers.door, &config.cluster_secret) {
        (Some(door), Some(secret)) => {
            let watched = Watched::new(proxy(Door::Peers(secret.clone())), Arc::clone(&serving), None);
            let mut peers = Service::new("peers".to_owned(), watched);
            listen(&mut peers, &tls, ("peers", door.listen), ALPN::H1)?;
            Some(sockets.listener(peers, door.listen))
        }
        (Some(_) | None, _) => None,
    };
    let admin = AdminApp::new(Arc::clone(&serving), Arc::clone(&leadership));
    let mut admin = Service::new("admin".to_owned(), admin);
    listen(&mut admin, &tls, ("admin", config.admin), ALPN::H1)?;
    let admin = sockets.listener(admin, config.admin);
    let mut metrics = Service::new("metrics".to_owned(), MetricsApp::new(Arc::clone(&serving)));
    listen(&mut metrics, &tls, ("metrics", config.metrics), ALPN::H1)?;
    let metrics = sockets.listener(metrics, config.metrics);
    sockets.finish()?;
    tracing::info!(listen = %config.listen, admin = %config.admin, metrics = %config.metrics, "miroir serves");
    let end = UntilTheEnd {
        leadership,
        serving: Arc::clone(&serving),
        drain: config.gateway.peers.drain,
        close,
        finish: Duration::from_secs(server.configuration.graceful_shutdown_timeout_seconds.unwrap_or_default()),
    };
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
    Ok((server, end))
}

/// Waits for the lease on a thread of its own, because that blocks.
fn contend(joined: Joined, shards: Option<u16>) -> Result<Contest, StartError> {
    let (won, wins) = oneshot::channel();
    let come = move || match joined.lead(shards) {
        // An error: the process ends.
        Ok(opened) => drop(won.send(opened.store)),
        // By this process, which ends in its own time.
        Err(StoreError::Lost(Loss::GivenUp)) => {}
        Err(error) => {
            tracing::error!("this gateway ends: {error}");
            eprintln!("miroir: {error}");
            std::process::exit(1);
        }
    };
    std::thread::Builder::new().name("miroir-comes".to_owned()).spawn(come).map_err(StartError::Runtime)?;
    Ok(Contest { wins })
}

#[async_trait]
impl BackgroundService for Background {
    async fn start(&self, shutdown: ShutdownWatch) {
        let contest = self.contest.lock().take();
        tokio::join!(
            tell_the_manager(&self.serving, shutdown.clone()),
            end_streams(&self.serving, shutdown.clone()),
            hand_over(&self.serving, Arc::clone(&self.founder.leadership), shutdown.clone()),
            reload_on_hangup(Arc::clone(&self.serving), shutdown.clone()),
            Arc::clone(&self.tls).watch(shutdown.clone()),
            self.lead(contest, shutdown),
        );
        // It waits for the collector.
        let _ = tokio::task::spawn_blocking(traces::close).await;
    }
}

impl Background {
    /// What only a gateway does that leads, once this one does; before, it goes by what the leader tells.
    async fn lead(&self, contest: Option<Contest>, mut shutdown: ShutdownWatch) {
        let Some(contest) = contest else {
            return self.run(&self.serving.app(), shutdown).await;
        };
        let following = self.serving.app();
        let store = tokio::select! {
            won = contest.wins => won,
            () = follow(&following, shutdown.clone()) => return,
            _ = shutdown.changed() => return,
        };
        // An error: the thread has ended the process, or is about to.
        let Ok(store) = store else { return };
        let seat = match self.founder.lead(store).await {
            Ok(seat) => seat,
            Err(error) => {
                tracing::error!(%error, "this gateway ends: it cannot lead");
                eprintln!("miroir: {error}");
                std::process::exit(1);
            }
        };
        let app = Arc::clone(&seat.app);
        // What was taken over while it followed stays.
        if let Err(error) = reload::reload(&app).await {
            tracing::error!(%error, "the configuration was not read again; this gateway leads by that of its start");
        }
        let take_over = async {
            // Until its nodes have been looked at, requests wait as for any leader; reads go by what the last one told.
            health::wait_for_each(&seat.app.cluster.nodes, NODES_JOIN).await;
            tracing::info!("this gateway leads");
            self.serving.take_over(seat);
        };
        tokio::join!(self.run(&app, shutdown), take_over);
    }

    async fn run(&self, app: &Arc<App>, shutdown: ShutdownWatch) {
        let cluster = &app.cluster;
        let reconciler = cluster.tracking.reconciler.metrics().clone();
        let store = Arc::clone(&cluster.ledger.store);
        let (ended, format) = (store.ended_tasks(), app.settings().uid_format);
        tokio::join!(
            lend_views(app),
            notify::run(Arc::clone(&app.webhooks), format, ended, shutdown.clone()),
            cluster::run(Arc::clone(cluster), shutdown.clone()),
            housekeeping::run(store, reconciler, || app.settings().retention, shutdown),
        );
    }
}

/// To the gateways that follow, if any may.
async fn lend_views(app: &App) {
    if let Some(publisher) = app.publisher.get() {
        publisher.open_when_ready().await;
    }
}

/// Goes by what the leader tells.
async fn follow(app: &App, shutdown: ShutdownWatch) {
    if let Some(following) = app.following()
        && let Some(follower) = following.follower()
    {
        Arc::clone(follower).run(Box::new(Asker(Arc::clone(following))), shutdown).await;
    }
}

/// Under systemd (`Type=notify`): that nodes have been looked at and requests are answered, and that the end begins.
async fn tell_the_manager(serving: &Serving, mut shutdown: ShutdownWatch) {
    let app = serving.app();
    // A gateway that follows answers as soon as it listens: what it cannot yet waits for the leader.
    if app.following().is_none() {
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

/// The sockets that were given to this process. All others can be opened.
fn open_sockets(config: &Config) -> Result<Sockets, StartError> {
    let sockets = Sockets::given()?;
    let door = config.gateway.peers.door.as_ref().map(|door| ("gateway.peer_listen", door.listen));
    let listeners = [("listen", config.listen), ("admin", config.admin), ("metrics", config.metrics)];
    for (what, address) in listeners.into_iter().chain(door) {
        sockets.check(address).map_err(|source| StartError::Listen { what, address, source })?;
    }
    Ok(sockets)
}

/// The service of clients' connections, which pass `entry` first: before TLS, where there is any.
fn let_in<A>(app: A, entry: Arc<Entry>, serving: &Arc<Serving>, has_tls: bool) -> Service<Watched<A>> {
    let serving = Arc::clone(serving);
    if !has_tls {
        return Service::new("api".to_owned(), Watched::new(app, serving, Some(entry)));
    }
    let mut service = Service::new("api".to_owned(), Watched::new(app, serving, None));
    service.endpoints().set_pre_tls_callback(entry);
    service
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
