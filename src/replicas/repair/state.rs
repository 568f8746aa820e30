//! Which repairs are under way, and what else is repaired by layers above.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::placement::topology::{Node, NodeId};

/// More that must be made equal on a returning node, by layers above: API keys.
#[async_trait]
pub trait RepairHook: Send + Sync + 'static {
    async fn repair(&self, node: &Node) -> Result<(), String>;
}

/// Which repairs are under way.
#[derive(Default)]
pub struct Repairs {
    pub(super) running: Mutex<HashSet<NodeId>>,
    /// Since when a node waits for another to compare with.
    pub(super) waiting: Mutex<HashMap<NodeId, Instant>>,
    /// Indexes whose refused changes are being taken back.
    pub(super) taking_back: Mutex<HashSet<String>>,
    /// Held by the one repair that works: the others may then compare with its node.
    pub(super) turn: tokio::sync::Mutex<()>,
}
