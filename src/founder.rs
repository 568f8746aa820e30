//! Apps, as a configuration wants them: over the cluster's state for a gateway that leads, over what the leader tells for one that follows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use miroir::cluster::settings::ClusterSettings;
use miroir::cluster::{Cluster, ClusterError};
use miroir::config::Config;
use miroir::gateway::auth::Keyring;
use miroir::gateway::chats::ChatBook;
use miroir::gateway::metrics::GatewayMetrics;
use miroir::gateway::peers::following::Following;
use miroir::gateway::rule_metrics::RuleMetrics;
use miroir::gateway::ruled::Ruling;
use miroir::gateway::serving::Seat;
use miroir::gateway::settings::GatewaySettings;
use miroir::gateway::webhooks::WebhookBook;
use miroir::gateway::{self, App};
use miroir::logging;
use miroir::moves;
use miroir::nodes::credentials::Credentials;
use miroir::nodes::fence::{Fence, Looked, Means, Reign, Right, looked_before};
use miroir::peers::clock::since_boot;
use miroir::peers::follower::{Follower, Name, TakeKeys};
use miroir::peers::former::Former;
use miroir::peers::publisher::{Promised, Publisher};
use miroir::placement::topology::NodeId;
use miroir::rules::rule::Rule;
use miroir::settings::Secret;
use miroir::store::leadership::{Leadership, WhenLed, WhenLost};
use miroir::store::sqlite::SqliteStore;
use miroir::store::{Store, StoreError};
use miroir::tls::TlsError;
use miroir::tls::listeners::Listeners;
use miroir::tls::nodes::NodeTls;

/// Why there is no app.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    #[error("the configuration cannot be read a second time: {0}")]
    ReadAgain(String),
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// What apps are made of.
pub struct Founder {
    /// Without Pingora's own section, which the server has.
    pub config: Config,
    pub keepalive_pool_size: usize,
    /// The file, to be read again.
    pub path: PathBuf,
    pub tls: Arc<Listeners>,
    pub leadership: Arc<dyn Leadership>,
}

// === impl Founder ===

impl Founder {
    /// Over the cluster's state.
    pub async fn lead(&self, store: Arc<dyn Store>) -> Result<Seat, FoundingError> {
        let seat = self.found(Arc::clone(&store), self.config.gateway_settings(), None).await?;
        let app = &seat.app;
        let epoch = self.leadership.watch().borrow().leader.as_ref().map(|leader| leader.epoch);
        if let Some(epoch) = epoch {
            let before = looked_before(store.as_ref()).await?;
            app.cluster.nodes.client.go_by(Right::Leads(self.fence(app, epoch, before)));
        }
        if let (Some(epoch), Some(_)) = (epoch, &self.config.gateway.peers.door) {
            let (keys, trust) = (Arc::downgrade(app), self.leadership.trust().clone());
            let keys = Box::new(move || keys.upgrade().map(|app| app.keyring.records()).unwrap_or_default());
            let trusted = Box::new(move || trust.holds());
            let former = Former::load(store.as_ref(), epoch).await?;
            let publisher = Publisher::after(former, Arc::clone(&app.cluster.ledger), epoch, keys, trusted);
            let leadership = Arc::clone(&self.leadership);
            let take = Box::new(move |gateway: &str, since| leadership.promised(gateway, since));
            publisher.hears_promises(Promised { clock: Box::new(since_boot), take });
            // Nobody else sets it.
            let _ = app.publisher.set(publisher);
        }
        Ok(seat)
    }

    /// Nodes take changes of this epoch alone.
    fn fence(&self, app: &App, epoch: i64, before: BTreeMap<NodeId, Looked>) -> Fence {
        let (config, leadership) = (&self.config, Arc::clone(&self.leadership));
        let reign = Reign { cluster: app.cluster.replicas.identities.cluster(), epoch };
        let means = if config.node_key.is_some() { Means::NodeKey } else { Means::None };
        let doubt = Box::new(move || leadership.doubt());
        let trust = self.leadership.trust().clone();
        Fence::new(reign, trust, (means, config.gateway.unfenced_nodes), before, doubt)
    }

    /// Over an empty state in memory, of which no loop runs.
    pub async fn follow(&self, secret: Secret) -> Result<Seat, FoundingError> {
        let (config, tls) = (&self.config, NodeTls::open(&self.config.tls.to_peers)?);
        let name = config.candidate(WhenLed::Wait, WhenLost::Refuse).name;
        let following = Following::new(name, self.leadership.watch(), secret, tls, config.gateway.peers.leader_wait);
        let store = Arc::new(SqliteStore::open(":memory:", config.cluster.shards)?);
        let mut settings = config.gateway_settings();
        // Whoever leads knows of writes; a gateway that follows does not, so it keeps no answers.
        settings.cache.size = 0;
        settings.cache.replies = 0;
        let seat = self.found(store, settings, Some(following)).await?;
        seat.app.cluster.nodes.client.go_by(Right::Follows);
        if let Some(following) = seat.app.following() {
            let name = Name { gateway: following.id.clone(), version: env!("CARGO_PKG_VERSION").to_owned() };
            let app = Arc::downgrade(&seat.app);
            let take_keys: TakeKeys = Box::new(move |records| match app.upgrade() {
                Some(app) => app.keyring.go_by(records).map_err(|error| error.to_string()),
                None => Ok(()),
            });
            let ledger = Arc::clone(&seat.app.cluster.ledger);
            let follower = Follower::new(ledger, name, take_keys, Box::new(since_boot));
            let leadership = Arc::clone(&self.leadership);
            follower.promises_by(Box::new(move || leadership.promise()));
            following.goes_by(follower);
        }
        Ok(seat)
    }

    async fn found(
        &self,
        store: Arc<dyn Store>,
        settings: GatewaySettings,
        following: Option<Following>,
    ) -> Result<Seat, FoundingError> {
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
        let app = App::new(cluster, keyring, settings, metrics, Arc::clone(&self.tls), books, ruling);
        if let Some(following) = following {
            app.follow(following);
        }
        gateway::install_hooks(&app);
        let path = self.path.clone();
        let read_again: moves::ConfigSource = Box::new(move || {
            let (config, _) = Config::load(&path).map_err(|problems| problems.to_string())?;
            Ok(config.cluster)
        });
        if app.cluster.moves.config_source.set(read_again).is_err() {
            tracing::warn!("the cluster has a source of its configuration already");
        }
        let (path, admin) = (self.path.clone(), config.admin);
        let source = Box::new(move || {
            let (config, _) = Config::load(&path).map_err(|problems| problems.to_string())?;
            if config.operators_key().is_none() && !admin.ip().is_loopback() {
                return Err(format!(
                    "admin: {admin} can be reached from elsewhere, so an admin_key or master_key is needed"
                ));
            }
            Ok(config.fresh())
        });
        app.reloads.open(source, Box::new(logging::set_level)).map_err(FoundingError::ReadAgain)?;
        Ok(Seat { app, registry })
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
