//! Other gateways that answer reads by what this one has told them, and what has to wait for them.
//!
//! A gateway that leads changes what reads go by: the topology, the registry, the keys. Others go by a copy of it, a *view*, which is
//! a moment older. Much here is right only because "from now on no request can see it". So whoever relies on that does four things, in
//! this order:
//!
//! 1. the change is durable: a leader that dies now leaves it to the next one;
//! 2. it is in memory: this gateway's own requests go by it;
//! 3. [`Others::changed`]: the view has a new number, and is on its way;
//! 4. [`Others::heard`]: no request that begins from now on, at any gateway, goes by an older view. [`Others::quiet`]: neither does
//!    one that began before.
//!
//! Only then is acknowledged, shown as ended, copied over or deleted what relies on it.
//!
//! Example: node-1 misses write 7, which node-0 takes. Shard 3 of node-1 is marked stale: on disk, then in the topology of this
//! gateway. Gateway B still has the view before, by which it may ask node-1 for shard 3. Was write 7 acknowledged now, a client that
//! has its acknowledgement could be answered without it by B. So the leader waits: B says that it has the new view, one round trip
//! later; or B says nothing, and the lease of its view has ended after three seconds, so that it uses no answer any more that it gets by
//! it. A copy to node-1 waits for more: B may have asked node-1 before it heard, and node-1 may be slow to answer; half a copy must
//! not be in that answer. So it waits until B says that its oldest request is no older than the view.
//!
//! Nobody waits while holding what an answer to another gateway is made of: that is read without waiting, of the topology, the
//! registry, the keys. The locks of the ledger, the layout and the order of writes are none of these; they are released before all the same,
//! because other writes need them.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

/// What a view is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nodes, owners, and what is stale or apart.
    Topology,
    /// Which indexes there are, and since when what is known of their settings holds.
    Indexes,
    Keys,
    /// Changes of settings that some nodes refused.
    Refusals,
    /// Versions of the engine.
    Versions,
}

/// The gateways that go by what this one tells them.
#[async_trait]
pub trait Elsewhere: Send + Sync {
    /// Something of the view is otherwise now, in memory. Returns at once, whatever is held.
    fn changed(&self, what: Told);

    /// Returns when each gateway that has a lease goes by all that has changed before this was called. One that says nothing is waited
    /// for until its lease is over.
    async fn heard(&self);

    /// As [`Elsewhere::heard`], and when none of their requests goes by what was before. A request is given up by its gateway when it
    /// takes longer than reads may.
    async fn quiet(&self);
}

/// Whoever is elsewhere: nobody, unless it is said.
#[derive(Default)]
pub struct Others(OnceLock<Arc<dyn Elsewhere>>);

// === impl Told ===

impl Told {
    /// All that there is, in the order of their places.
    pub const ALL: [Told; 5] = [Self::Topology, Self::Indexes, Self::Keys, Self::Refusals, Self::Versions];

    /// Its place among [`Told::ALL`].
    pub fn place(self) -> usize {
        self as usize
    }
}

// === impl Others ===

impl Others {
    /// From now on there are others. Said once, before anything runs.
    pub fn are(&self, elsewhere: Arc<dyn Elsewhere>) {
        assert!(self.0.set(elsewhere).is_ok(), "the others are known already");
    }

    /// True where this gateway is the only one.
    pub fn is_nobody(&self) -> bool {
        self.0.get().is_none()
    }

    /// See [`Elsewhere::changed`].
    pub fn changed(&self, what: Told) {
        if let Some(elsewhere) = self.0.get() {
            elsewhere.changed(what);
        }
    }

    /// See [`Elsewhere::heard`]. At once where nobody is elsewhere.
    pub async fn heard(&self) {
        if let Some(elsewhere) = self.0.get() {
            elsewhere.heard().await;
        }
    }

    /// See [`Elsewhere::quiet`]. At once where nobody is elsewhere.
    pub async fn quiet(&self) {
        if let Some(elsewhere) = self.0.get() {
            elsewhere.quiet().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_view_has_its_place() {
        assert!(Told::ALL.iter().enumerate().all(|(place, told)| told.place() == place));
    }
}
