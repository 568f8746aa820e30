//! The one order of all writes: numbers for bodies, turns in the lanes, gates before indexes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use super::parcel::{Parcel, Turn};
use crate::nodes::lanes::{Gates, Lanes};
use crate::placement::topology::NodeIx;
use crate::placement::written::Places;

/// So many edits by a function are tried at once.
const TRIALS_AT_ONCE: usize = 2;

/// Gives writes their place.
pub struct Order {
    /// Where the documents of a body stand among all that were written.
    pub(crate) batches: Batches,
    /// Held while a write takes its place, so that all lanes, the registry and the uids see one order.
    taking: Mutex<()>,
    lanes: Lanes<Parcel>,
    /// Closed by who must have an index to himself.
    pub(crate) gates: Gates,
    pub(crate) trials: Semaphore,
    /// Held while the rest of a task is sent, so that it is sent once.
    pub(crate) finishing: tokio::sync::Mutex<()>,
    /// The newest task uid that each node has answered with; a newer one found there belongs to a step under way.
    pub(super) last_uids: Mutex<HashMap<NodeIx, u32>>,
}

/// Numbers bodies in the order in which they begin: by the clock in milliseconds, so that the numbers go on after a
/// restart without being stored, and by at least one more than the last, so that no two bodies share one.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    last: AtomicU64,
}

/// The order, held: turns on several nodes that are taken by it stand alike in all lanes.
pub(crate) struct Turns<'a> {
    taking: MutexGuard<'a, ()>,
    lanes: &'a Lanes<Parcel>,
}

// === impl Batches ===

impl Batches {
    /// The places of a new batch: the time in milliseconds, or one more than the last if that is no later.
    pub(crate) fn next(&self) -> Places {
        let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let number = |last: u64| now.max(last + 1);
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(number(last)));
        Places::of_batch(number(last.unwrap_or_default()))
    }
}

impl Default for Order {
    fn default() -> Self {
        Self {
            batches: Batches::default(),
            taking: Mutex::default(),
            lanes: Lanes::default(),
            gates: Gates::default(),
            trials: Semaphore::new(TRIALS_AT_ONCE),
            finishing: tokio::sync::Mutex::default(),
            last_uids: Mutex::default(),
        }
    }
}

// === impl Order ===

impl Order {
    /// Runs `work` while no write can take its place: what it publishes holds for all that come after.
    pub(crate) fn in_order<T>(&self, work: impl FnOnce(&Turns<'_>) -> T) -> T {
        work(&self.hold())
    }

    /// Until the guard is dropped no other write can take its place.
    pub(super) fn hold(&self) -> Turns<'_> {
        Turns { taking: self.taking.lock(), lanes: &self.lanes }
    }

    /// The greatest task uid of the node stays.
    pub(crate) fn saw_uid(&self, node: NodeIx, uid: u32) {
        let mut seen = self.last_uids.lock();
        let newest = seen.entry(node).or_insert(uid);
        *newest = (*newest).max(uid);
    }
}

// === impl Turns ===

impl Turns<'_> {
    /// The next turn in the lanes of `indexes` on `node`.
    pub(crate) fn turn(&self, indexes: &[String], node: NodeIx) -> Turn {
        self.lanes.turn_under(&self.taking, indexes, node)
    }
}
