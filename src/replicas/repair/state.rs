//! Which repairs are under way, and what else is repaired by layers above.

use std::collections::{BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::board::{Board, Key};
use crate::placement::topology::{Node, NodeId};

/// How many indexes are tried at the same moment.
const TRIES_AT_ONCE: usize = 4;
/// What is known of indexes that are apart.
pub(super) struct Indexes {
    pub(super) board: parking_lot::Mutex<Board>,
    /// Who is looked after by a task of its own.
    pub(super) followed: parking_lot::Mutex<BTreeSet<Key>>,
    /// The board has changed.
    pub(super) changed: tokio::sync::Notify,
    pub(super) tries: tokio::sync::Semaphore,
}

impl Default for Indexes {
    fn default() -> Self {
        Self {
            board: parking_lot::Mutex::default(),
            followed: parking_lot::Mutex::default(),
            changed: tokio::sync::Notify::new(),
            tries: tokio::sync::Semaphore::new(TRIES_AT_ONCE),
        }
    }
}

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
    pub(super) indexes: Indexes,
    /// Indexes whose refused changes are being taken back.
    pub(super) taking_back: Mutex<HashSet<String>>,
    /// Held by the one repair that works: the others may then compare with its node.
    pub(super) turn: tokio::sync::Mutex<()>,
}
