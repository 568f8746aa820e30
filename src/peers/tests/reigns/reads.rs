//! Reads of any gateway: at a node that is in sync by the view that is gone by.

use super::gateway::NODES;
use super::nodes::Held;
use super::{ViewNumber, Who, World};

/// A read under way.
pub(super) struct Read {
    pub(super) by: Who,
    /// What it goes by: a view that was lent, or what the leader itself knows.
    view: Result<ViewNumber, u64>,
    /// The view that was acknowledged when it began, and what of each document.
    wanted: (u64, Held),
    node: usize,
    /// What the node has answered already.
    found: Option<Found>,
}

/// What a read finds at a node, measured by what was acknowledged.
#[derive(Clone, Copy)]
enum Found {
    All,
    /// But for what came late there.
    Undone,
    /// Without this write.
    Lacking(u64),
}

impl World {
    pub(super) fn begin_read(&mut self) {
        let at = self.roll(self.gateways.len());
        let gateway = &self.gateways[at];
        let now = gateway.clock(self.now);
        if gateway.is_frozen || gateway.starts_at.is_some() || self.reads.len() > 8 {
            return;
        }
        let view = match (&gateway.reign, gateway.lease.has()) {
            (Some(reign), _) if gateway.trusts(now) => Err(reign.writes),
            (None, Some(view)) if gateway.lease.is_on(now) => Ok(view),
            _ => return self.count("read of before"),
        };
        let (by, wanted) = (gateway.who.clone(), self.acknowledged);
        let n = match view {
            Ok(view) => view.n,
            Err(writes) => writes,
        };
        let stale = self.database.stale_at.get(n as usize).cloned().unwrap_or_default();
        let first = self.roll(NODES);
        let Some(node) = (first..first + NODES).map(|node| node % NODES).find(|node| !stale.contains(node)) else {
            return;
        };
        let found = (self.roll(2) == 0).then(|| self.look(node, &wanted.1));
        self.reads.push(Read { by, view, wanted, node, found });
    }

    fn look(&self, node: usize, wanted: &Held) -> Found {
        let node = &self.nodes[node];
        let is_all = node.holds.iter().zip(wanted).all(|(holds, wanted)| holds >= wanted);
        match node.lacks(wanted) {
            Some(write) => Found::Lacking(write),
            None if is_all => Found::All,
            None => Found::Undone,
        }
    }

    pub(super) fn end_read(&mut self) -> Result<(), String> {
        if self.reads.is_empty() {
            return Ok(());
        }
        let which = self.roll(self.reads.len());
        let Some(at) = self.find(&self.reads[which].by) else {
            self.reads.swap_remove(which);
            return Ok(());
        };
        let gateway = &self.gateways[at];
        if gateway.is_frozen {
            return Ok(());
        }
        let (read, now) = (self.reads.swap_remove(which), gateway.clock(self.now));
        let (counts, knows) = match read.view {
            Err(writes) => (gateway.trusts(now), writes),
            Ok(view) => (gateway.reign.is_none() && gateway.lease.holds(view, now), view.n),
        };
        let (view, held) = read.wanted;
        let found = read.found.unwrap_or_else(|| self.look(read.node, &held));
        if !counts {
            self.count("planned again");
            return Ok(());
        }
        if knows < view && !self.is_lost {
            return Err(format!("a read at {:?} by {:?} lacks view {view}", read.by, read.view));
        }
        match found {
            Found::Lacking(write) if !self.is_lost => {
                return Err(format!("a read at {:?} by {:?} lacks write {write}", read.by, read.view));
            }
            Found::Undone => self.count("read of what came late"),
            Found::All | Found::Lacking(_) if read.view.is_ok() => self.count("read of a follower"),
            Found::All | Found::Lacking(_) => self.count("read of the leader"),
        }
        Ok(())
    }
}
