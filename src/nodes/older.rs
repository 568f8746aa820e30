//! Topologies that were replaced and are still in somebody's hands. They are remembered weakly: one that nobody goes by is gone.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::placement::topology::Topology;

/// The topologies of before.
#[derive(Default)]
pub(crate) struct OlderTopologies {
    /// Topologies that were replaced. Those that are alive are in the hands of requests.
    superseded: Mutex<Vec<Weak<Topology>>>,
    /// Topologies by which something is done for long, and no client reads.
    working: Mutex<Vec<Weak<Topology>>>,
}

// === impl OlderTopologies ===

impl OlderTopologies {
    /// Remembers that `topology` has been replaced.
    pub(super) fn superseded(&self, topology: &Arc<Topology>) {
        let mut superseded = self.superseded.lock();
        superseded.retain(|older| older.strong_count() > 0);
        superseded.push(Arc::downgrade(topology));
    }

    /// A copy of `topology` for work that takes long: steps of the layout wait for it as for a request, but nobody who waits
    /// for reads does.
    pub(crate) fn working_copy(&self, topology: &Topology) -> Arc<Topology> {
        let copy = topology.detached();
        let mut working = self.working.lock();
        working.retain(|older| older.strong_count() > 0);
        working.push(Arc::downgrade(&copy));
        copy
    }

    /// True when no request is under way that sees an older layout than `version`, and no work.
    pub(crate) fn quiet(&self, version: u64) -> bool {
        let is_of_now = |topology: &Topology| topology.layout == version;
        all_alive(&self.superseded, is_of_now) && all_alive(&self.working, is_of_now)
    }

    /// True when `holds` of every topology that was replaced and by which a request still goes.
    pub(crate) fn requests_all(&self, holds: impl Fn(&Topology) -> bool) -> bool {
        all_alive(&self.superseded, holds)
    }
}

fn all_alive(topologies: &Mutex<Vec<Weak<Topology>>>, holds: impl Fn(&Topology) -> bool) -> bool {
    topologies.lock().iter().filter_map(Weak::upgrade).all(|topology| holds(&topology))
}
