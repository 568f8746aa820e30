//! What this room holds: how far nodes and replicas are from being equal.

use std::sync::{Arc, OnceLock};

use super::identity::Identities;
use super::interrupted::Interrupted;
use super::repair::{RepairHook, Repairs};
use super::resilver::progress::Copies;
use super::scrub::Scrub;
use crate::ledger::Ledger;
use crate::nodes::Nodes;
use crate::tracking::Tracking;
use crate::write::Writes;

/// Makes nodes and replicas equal again.
pub struct Replicas {
    pub(super) nodes: Arc<Nodes>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) tracking: Arc<Tracking>,
    pub(super) writes: Arc<Writes>,
    /// What else is made equal on a returning node; set once by the gateway, before anything runs.
    pub hook: OnceLock<Box<dyn RepairHook>>,
    pub(crate) repairs: Arc<Repairs>,
    pub(crate) interrupted: Interrupted,
    /// How far copies to stale replicas are.
    pub copies: Arc<Copies>,
    pub scrub: Arc<Scrub>,
    /// Which disk each node has.
    pub identities: Arc<Identities>,
}

// === impl Replicas ===

impl Replicas {
    /// All that is durable was loaded before.
    pub fn new(
        writes: Arc<Writes>,
        interrupted: Interrupted,
        copies: Copies,
        scrub: Scrub,
        identities: Identities,
    ) -> Arc<Self> {
        Arc::new(Self {
            nodes: Arc::clone(&writes.nodes),
            ledger: Arc::clone(&writes.ledger),
            tracking: Arc::clone(&writes.tracking),
            writes,
            hook: OnceLock::new(),
            repairs: Arc::default(),
            interrupted,
            copies: Arc::new(copies),
            scrub: Arc::new(scrub),
            identities: Arc::new(identities),
        })
    }
}
