//! What this room holds: all that must be remembered of the cluster.

use std::sync::{Arc, OnceLock, Weak};

use tokio::sync::Notify;

use super::bookkeeping::Bookkeeping;
use super::fields::KnownFields;
use super::founding::Founding;
use super::maintenance::Maintenance;
use super::refusals::Refusals;
use super::registry::{Dropped, Registry, Undo};
use super::watch::Watchers;
use crate::meili::error::ResponseError;
use crate::meili::versions::{default_rules, templates_see_names};
use crate::nodes::Nodes;
use crate::nodes::elsewhere::Told;
use crate::nodes::error::store_failed;
use crate::placement::topology::NodeId;
use crate::plan::broadcast::TieBreak;
use crate::plan::broadcast::{Guard, HiddenSettings};
use crate::settings::Live;
use crate::store::Store;

/// What the operator sets of this room.
#[derive(Debug, Clone, Copy)]
pub struct LedgerSettings {
    /// How many replicas of each touched shard must accept a write before it is acknowledged.
    pub min_in_sync: u8,
    pub tie_break: TieBreak,
}

/// Repairs an index of a node that has missed a change of it, in the background.
type IndexRepairer = Box<dyn Fn(&NodeId, &str) + Send + Sync>;

/// What must be remembered, and who may forget it.
pub struct Ledger {
    pub nodes: Arc<Nodes>,
    pub settings: Live<LedgerSettings>,
    pub store: Arc<dyn Store>,
    pub registry: Registry,
    /// Settings that some node refused, where others have them still.
    pub refusals: Arc<Refusals>,
    pub(crate) bookkeeping: Bookkeeping,
    pub(super) maintenance: Maintenance,
    pub(crate) founding: Founding,
    /// Told what each write touches.
    pub(crate) watchers: Arc<Watchers>,
    /// Something is stale, or a node with stale shards is up.
    pub(crate) copies_due: Notify,
    /// What every node knows of documents' fields.
    pub(super) fields: KnownFields,
    repairer: OnceLock<IndexRepairer>,
}

// === impl Ledger ===

impl Ledger {
    /// All that is durable was loaded before.
    pub fn new(
        nodes: Arc<Nodes>,
        settings: LedgerSettings,
        store: Arc<dyn Store>,
        registry: Registry,
        loaded: (Bookkeeping, Maintenance, Founding, Refusals),
    ) -> Arc<Self> {
        let (bookkeeping, maintenance, founding, refusals) = loaded;
        let told = Arc::clone(&nodes);
        registry.on_change(Box::new(move |dropped| {
            match dropped {
                Dropped::Of(index) => told.client.changes().replanned(index),
                Dropped::All => {}
            }
            told.elsewhere.changed(Told::Indexes);
        }));
        let told = Arc::clone(&nodes);
        refusals.on_change(Box::new(move || told.elsewhere.changed(Told::Refusals)));
        Arc::new(Self {
            nodes,
            settings: Live::new(settings),
            store,
            registry,
            refusals: Arc::new(refusals),
            bookkeeping,
            maintenance,
            founding,
            watchers: Arc::default(),
            copies_due: Notify::new(),
            fields: KnownFields::default(),
            repairer: OnceLock::new(),
        })
    }

    /// What is to be done with an index of which a node has missed a change. Said once, before anything runs.
    pub fn on_missed<T: Send + Sync + 'static>(&self, who: Weak<T>, repair: fn(&Arc<T>, &NodeId, &str)) {
        let repairer = move |node: &NodeId, index: &str| {
            if let Some(who) = who.upgrade() {
                repair(&who, node, index);
            }
        };
        assert!(self.repairer.set(Box::new(repairer)).is_ok(), "nobody else repairs indexes");
    }

    /// A node has missed a change of an index, which is durable.
    pub(super) fn missed(&self, node: &NodeId, index: &str) {
        if let Some(repairer) = self.repairer.get() {
            repairer(node, index);
        }
    }

    /// What every index's settings hold besides the client's.
    pub fn hidden_settings(&self) -> HiddenSettings {
        let version = self.nodes.versions.least();
        let takes_guard = version.as_deref().is_none_or(templates_see_names);
        let hidden = match (self.settings.get().tie_break, version.as_deref()) {
            (TieBreak::Written, Some(version)) => HiddenSettings::breaking_ties(default_rules(version)),
            // Before any node has said what it is, none takes a write.
            (TieBreak::Written, None) | (TieBreak::Replica, _) => HiddenSettings::default(),
        };
        hidden.guarding(if takes_guard { Guard::Given } else { Guard::Refused })
    }

    /// Undoes a change in memory and in the store, when the write it belonged to did not come about.
    pub(crate) async fn roll_back(&self, undo: &Undo) -> Result<(), ResponseError> {
        if undo.is_empty() {
            return Ok(());
        }
        self.registry.undo(undo);
        self.registry.persist(self.store.as_ref(), undo).await.map_err(|error| store_failed(&error))
    }
}
