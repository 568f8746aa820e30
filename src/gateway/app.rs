//! What answering a request takes: the process's one `App`, and what is known of a request that was let in.

use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};

use super::access_log::AccessLog;
use super::auth::{Access, Keyring};
use super::cache::Cache;
use super::chats::ChatBook;
use super::head::Head;
use super::metrics::GatewayMetrics;
use super::open_streams::OpenStreams;
use super::peers::arrivals::Arrivals;
use super::peers::following::Following;
use super::peers::proof::NoPeer;
use super::reload::Reloads;
use super::ruled::Ruling;
use super::settings::GatewaySettings;
use super::shadow::Mirrors;
use super::speakers::{Caller, Speakers};
use super::webhooks::WebhookBook;
use crate::cluster::Cluster;
use crate::ledger::Ledger;
use crate::meili::operation::Operation;
use crate::nodes::client::Trace;
use crate::peers::publisher::Publisher;
use crate::peers::seldom::Seldom;
use crate::rules::making::Making;
use crate::tls::listeners::Listeners;

/// All that answering a request takes; one for the process.
pub struct App {
    pub cluster: Arc<Cluster>,
    pub keyring: Keyring,
    settings: ArcSwap<GatewaySettings>,
    pub metrics: GatewayMetrics,
    pub speakers: Speakers,
    pub cache: Cache,
    /// What listeners show to clients.
    pub tls: Arc<Listeners>,
    pub webhooks: Arc<WebhookBook>,
    pub chats: ChatBook,
    /// The operator's rules.
    pub ruling: Ruling,
    pub mirrors: Mirrors,
    pub reloads: Reloads,
    pub streams: OpenStreams,
    pub access_log: AccessLog,
    /// Set where another gateway leads.
    following: OnceLock<Arc<Following>>,
    /// Set where this gateway lends views to others.
    pub publisher: OnceLock<Arc<Publisher>>,
    /// The writes that other gateways have passed on.
    pub arrivals: Arc<Arrivals>,
    /// What the log says of who was turned away where peers are listened to, by [`NoPeer::kind`].
    pub knocks: [Seldom; NoPeer::ALL.len()],
}

/// A request that was let in.
pub struct Admitted<'a> {
    pub head: &'a Head,
    pub operation: &'a Operation,
    pub access: Access,
    /// `None` for a tool in a person's hand.
    pub caller: Option<Caller>,
    pub trace: Trace,
    /// What rules make of the documents that it writes.
    pub makings: Vec<Making>,
}

// === impl App ===

impl App {
    /// The cache is empty, and no client has spoken yet.
    pub fn new(
        cluster: Arc<Cluster>,
        keyring: Keyring,
        settings: GatewaySettings,
        metrics: GatewayMetrics,
        tls: Arc<Listeners>,
        (webhooks, chats): (WebhookBook, ChatBook),
        ruling: Ruling,
    ) -> Arc<Self> {
        let (cache, webhooks) = (Cache::new(settings.cache.clone(), metrics.cache.clone()), Arc::new(webhooks));
        Arc::new(Self {
            cluster,
            keyring,
            settings: ArcSwap::from_pointee(settings),
            metrics,
            speakers: Speakers::default(),
            cache,
            tls,
            webhooks,
            chats,
            ruling,
            mirrors: Mirrors::new(),
            reloads: Reloads::default(),
            streams: OpenStreams::default(),
            access_log: AccessLog::default(),
            following: OnceLock::new(),
            publisher: OnceLock::new(),
            arrivals: Arc::default(),
            knocks: Default::default(),
        })
    }

    /// From now on another gateway leads. Said before the first request.
    pub fn follow(&self, following: Following) {
        assert!(self.following.set(Arc::new(following)).is_ok(), "it follows already");
    }

    /// How the gateway that leads is reached; `None` where this one leads.
    pub fn following(&self) -> Option<&Arc<Following>> {
        self.following.get()
    }

    /// What plans depend on.
    pub fn known(&self) -> (&Ledger, &Keyring) {
        (&self.cluster.ledger, &self.keyring)
    }

    /// What the operator sets, at this moment.
    pub fn settings(&self) -> Guard<Arc<GatewaySettings>> {
        self.settings.load()
    }

    /// Requests that come from now on go by `settings`; the cache and how tasks are named stay as they were at the start.
    pub fn exchange_settings(&self, settings: GatewaySettings) {
        self.settings.store(Arc::new(settings));
    }
}
