//! The parts of the view as they were made last. Each is made again when somebody asks after it has changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::view::{TopologyView, Update, ViewNumber};
use crate::ledger::Ledger;
use crate::ledger::refusals::Notes;
use crate::ledger::registry::Edition;
use crate::nodes::elsewhere::Told;
use crate::placement::topology::NodeId;

/// The keys as they are stored.
pub type Keys = Box<dyn Fn() -> Vec<Value> + Send + Sync>;

/// How many changes there were, and with which of them each part changed last.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Changes {
    pub n: u64,
    since: [u64; Told::ALL.len()],
}

/// A part, and of which change it is at least.
struct Section<T> {
    value: Arc<T>,
    as_of: u64,
}

/// All parts.
#[derive(Default)]
pub(super) struct Sections {
    topology: Option<Section<TopologyView>>,
    indexes: Option<Section<Vec<Edition>>>,
    keys: Option<Section<Vec<Value>>>,
    refusals: Option<Section<Notes>>,
    versions: Option<Section<BTreeMap<NodeId, String>>>,
}

// === impl Changes ===

impl Changes {
    /// Another change, which is in memory.
    pub fn add(&mut self, what: Told) {
        self.n += 1;
        self.since[what.place()] = self.n;
    }

    fn since(&self, what: Told) -> u64 {
        self.since[what.place()]
    }
}

// === impl Sections ===

impl Sections {
    /// The view `number`, without what is the same as in the view `has`. Each part is at least as new as `changes` says: these were read
    /// before, and a change is counted when it is in memory. What is newer will be counted, and then it is not sent again to who has
    /// it.
    pub fn update(
        &mut self,
        number: ViewNumber,
        has: Option<ViewNumber>,
        changes: &Changes,
        ledger: &Ledger,
        keys: &Keys,
    ) -> Update {
        let known = has.filter(|has| has.epoch == number.epoch);
        let lacks = |what: Told| known.is_none_or(|has| has.n < changes.since(what));
        let since = |what: Told| changes.since(what);
        Update {
            number,
            topology: lacks(Told::Topology).then(|| {
                let make = || TopologyView::of(&ledger.nodes.topology(), &ledger.nodes.life);
                made(&mut self.topology, since(Told::Topology), make)
            }),
            indexes: lacks(Told::Indexes)
                .then(|| made(&mut self.indexes, since(Told::Indexes), || ledger.registry.editions())),
            keys: lacks(Told::Keys).then(|| made(&mut self.keys, since(Told::Keys), keys)),
            refusals: lacks(Told::Refusals)
                .then(|| made(&mut self.refusals, since(Told::Refusals), || ledger.refusals.notes())),
            versions: lacks(Told::Versions)
                .then(|| made(&mut self.versions, since(Told::Versions), || ledger.nodes.versions.all())),
        }
    }
}

/// The part as it was made, or made again where it has changed with a later change.
fn made<T>(section: &mut Option<Section<T>>, since: u64, make: impl FnOnce() -> T) -> Arc<T> {
    let current = section.take().filter(|section| section.as_of >= since);
    let current = current.unwrap_or_else(|| Section { value: Arc::new(make()), as_of: since });
    let value = Arc::clone(&current.value);
    *section = Some(current);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_made_again_only_when_it_has_changed() {
        let (mut section, mut changes) = (None, Changes::default());
        let first = made(&mut section, changes.since(Told::Keys), || 1);
        changes.add(Told::Topology);
        let same = made(&mut section, changes.since(Told::Keys), || 2);
        assert!(Arc::ptr_eq(&first, &same));
        changes.add(Told::Keys);
        assert_eq!(*made(&mut section, changes.since(Told::Keys), || 3), 3);
        assert_eq!(changes.n, 2);
    }
}
