//! Which indexes exist, and what is cached of their settings. The store holds the truth; this is its image in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::plan::index_info::IndexInfo;
use crate::plan::shown::KeyPlace;
use crate::plan::write::RegistryChange;
use crate::store::{IndexChanges, IndexEntry, Store, StoreError};

/// The indexes of the cluster.
#[derive(Default)]
pub struct Registry {
    state: RwLock<State>,
}

/// Told of what is dropped.
type Listener = Box<dyn Fn(Dropped<'_>) + Send + Sync>;

/// What was cached does not hold any more.
pub(super) enum Dropped<'a> {
    /// Of this index.
    Of(&'a str),
    /// Of all that may have been cached anywhere.
    All,
}

/// An index as other gateways are told of it: what they have read of its settings under another number they must read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edition {
    #[serde(flatten)]
    pub entry: IndexEntry,
    /// Grows whenever something cached of it is dropped.
    pub edition: u64,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<String, IndexEntry>,
    infos: HashMap<String, Arc<IndexInfo>>,
    /// Grows whenever something cached is dropped, so that a read begun before does not bring it back.
    generation: u64,
    /// The generation at which something of an index was dropped last.
    editions: HashMap<String, u64>,
    /// The same of all.
    dropped_all: u64,
    /// Indexes of which a failed task leaves it open what the nodes hold: compared when their queues are empty.
    suspect: BTreeSet<String>,
    listener: Option<Listener>,
    /// Indexes without a primary key that this process has made for a client and nobody has changed since.
    new: BTreeSet<String>,
}

/// What the registry knows of an index.
pub(super) enum Known {
    /// All that plans need.
    Info(Arc<IndexInfo>),
    /// Its settings are not cached; `generation` tells whether something was dropped since.
    Entry { generation: u64, primary_key: Option<String> },
}

/// Entries as they were before a change, to undo it. `None` where there was no entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undo(BTreeMap<String, Option<IndexEntry>>);

// === impl Registry ===

impl Registry {
    /// The indexes that the store knows; of none of them are settings cached yet.
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let entries = store.indexes().await?.into_iter().map(|entry| (entry.uid.clone(), entry)).collect();
        Ok(Self { state: RwLock::new(State { entries, ..State::default() }) })
    }

    /// Who is to hear of it when requests to an index may be planned otherwise than before.
    pub(super) fn on_change(&self, listener: Listener) {
        self.state.write().listener = Some(listener);
    }

    /// What is known of `index`; `None` where there is none.
    pub(super) fn known(&self, index: &str) -> Option<Known> {
        let state = self.state.read();
        let entry = state.entries.get(index)?;
        Some(match state.infos.get(index) {
            Some(info) => Known::Info(Arc::clone(info)),
            None => Known::Entry { generation: state.generation, primary_key: entry.primary_key.clone() },
        })
    }

    /// Keeps what was read of an index, unless something cached was dropped since.
    pub(super) fn keep(&self, index: &str, generation: u64, info: &Arc<IndexInfo>) {
        let mut state = self.state.write();
        if state.generation == generation {
            state.infos.insert(index.to_owned(), Arc::clone(info));
        }
    }

    /// Grows whenever something that is known of an index may be of the past.
    pub(super) fn generation(&self) -> u64 {
        self.state.read().generation
    }

    /// A write of these indexes has its place; it has made `created`, if any.
    pub fn written(&self, indexes: &[String], created: Option<&str>) {
        let mut state = self.state.write();
        for index in indexes.iter().filter(|index| Some(index.as_str()) != created) {
            state.new.remove(index);
        }
    }

    /// True for an index that was made and not changed since. What Miroir sets of it comes a moment after it was made, and is nothing to
    /// a client. After a start none is known to be so.
    pub fn is_new(&self, index: &str) -> bool {
        self.state.read().new.contains(index)
    }

    /// True from the moment at which the creating write takes its place.
    pub fn exists(&self, index: &str) -> bool {
        self.state.read().entries.contains_key(index)
    }

    /// `None` if there is no such index.
    pub fn entry(&self, index: &str) -> Option<IndexEntry> {
        self.state.read().entries.get(index).cloned()
    }

    /// Where the primary key of `index` stands in documents that are shown, if not where nodes show it.
    pub fn key_place(&self, index: &str) -> Option<KeyPlace> {
        let state = self.state.read();
        let entry = state.entries.get(index).filter(|entry| !entry.leading.is_empty())?;
        Some(KeyPlace { key: entry.primary_key.clone()?, behind: entry.leading.clone() })
    }

    /// All indexes, by uid.
    pub fn entries(&self) -> Vec<IndexEntry> {
        self.state.read().entries.values().cloned().collect()
    }

    /// All indexes, by uid, as other gateways are told of them.
    pub fn editions(&self) -> Vec<Edition> {
        let state = self.state.read();
        let edition = |uid: &str| state.editions.get(uid).copied().unwrap_or_default().max(state.dropped_all);
        state.entries.values().map(|entry| Edition { edition: edition(&entry.uid), entry: entry.clone() }).collect()
    }

    /// Takes over what another gateway tells of the indexes. What was read here of their settings is dropped where they have another edition
    /// than before; all of it where that was counted by another gateway, of `counted_anew`.
    pub fn replace(&self, told: &[Edition], counted_anew: bool) {
        let mut state = self.state.write();
        let is_as_before = |state: &State, now: &Edition| {
            state.entries.get(&now.entry.uid) == Some(&now.entry)
                && state.editions.get(&now.entry.uid) == Some(&now.edition)
        };
        let changed: Vec<&Edition> = told.iter().filter(|now| counted_anew || !is_as_before(&state, now)).collect();
        let stay: BTreeSet<&str> = told.iter().map(|now| now.entry.uid.as_str()).collect();
        let gone: Vec<String> = state.entries.keys().filter(|uid| !stay.contains(uid.as_str())).cloned().collect();
        for uid in &gone {
            state.forget(uid);
            state.entries.remove(uid);
        }
        for Edition { entry, edition } in changed {
            state.forget(&entry.uid);
            state.entries.insert(entry.uid.clone(), entry.clone());
            state.editions.insert(entry.uid.clone(), *edition);
        }
        state.editions.retain(|uid, _| stay.contains(uid.as_str()));
    }

    /// Changes the image in memory, and returns what undoes it. To be made durable by [`Registry::persist`].
    pub fn apply(&self, change: &RegistryChange, ensure: Option<&str>) -> Undo {
        let mut state = self.state.write();
        let mut undo = Undo::default();
        if let Some(index) = ensure
            && !state.entries.contains_key(index)
        {
            state.put(&mut undo, IndexEntry { uid: index.to_owned(), primary_key: None, leading: Vec::new() });
        }
        match change {
            RegistryChange::None => {}
            RegistryChange::Create { index, primary_key } => {
                if !state.entries.contains_key(index) {
                    let (uid, primary_key) = (index.clone(), primary_key.clone());
                    let primary_key_is_open = primary_key.is_none();
                    state.put(&mut undo, IndexEntry { uid, primary_key, leading: Vec::new() });
                    // A key is set a moment after an index was made, on one node too.
                    if primary_key_is_open {
                        state.new.insert(index.clone());
                    }
                }
            }
            RegistryChange::SetPrimaryKey { index, primary_key, leading } => {
                if let Some(known) = state.entries.get(index) {
                    let (uid, primary_key) = (index.clone(), Some(primary_key.clone()));
                    // Nodes may refuse another key, and then documents are shown as before.
                    let leading = if leading.is_empty() { known.leading.clone() } else { leading.clone() };
                    state.put(&mut undo, IndexEntry { uid, primary_key, leading });
                }
            }
            RegistryChange::Delete { index } => state.remove(&mut undo, index),
            RegistryChange::Swap { pairs, renamed } => {
                for (left, right) in pairs {
                    let keys = (state.entries.get(left).cloned(), state.entries.get(right).cloned());
                    if let (Some(first), Some(second)) = keys {
                        state.put(&mut undo, IndexEntry { uid: first.uid.clone(), ..second.clone() });
                        state.put(&mut undo, IndexEntry { uid: second.uid, ..first });
                    }
                }
                for (from, to) in renamed {
                    state.rename(&mut undo, from, to, None);
                }
            }
            RegistryChange::Rename { from, to, primary_key } => {
                state.rename(&mut undo, from, to, primary_key.as_ref());
            }
            RegistryChange::Settings { index } => state.forget(index),
            RegistryChange::DynamicSearchRules => state.forget_all(),
        }
        undo
    }

    /// Puts entries back in memory. What was stored of the change meanwhile is for [`Registry::persist`].
    pub fn undo(&self, undo: &Undo) {
        let mut state = self.state.write();
        for (index, before) in &undo.0 {
            state.forget(index);
            match before {
                Some(entry) => {
                    state.entries.insert(index.clone(), entry.clone());
                }
                None => {
                    state.entries.remove(index);
                    state.editions.remove(index);
                }
            }
        }
    }

    /// Writes to the store what `undo` says was changed.
    pub async fn persist(&self, store: &dyn Store, undo: &Undo) -> Result<(), StoreError> {
        for (index, entry) in self.changes(undo) {
            match entry {
                Some(entry) => store.put_index(entry).await?,
                None => store.delete_index(index).await?,
            }
        }
        Ok(())
    }

    /// What `undo` says was changed, as it is now.
    pub fn changes(&self, undo: &Undo) -> IndexChanges {
        undo.0.keys().map(|index| (index.clone(), self.entry(index))).collect()
    }

    /// Drops what is cached of all indexes' settings.
    pub fn forget_infos(&self) {
        self.state.write().forget_all();
    }

    /// Drops what is cached of an index's settings.
    pub fn invalidate(&self, index: &str) {
        self.state.write().forget(index);
    }

    /// Remembers that the nodes must be asked what they hold of `index`.
    pub fn suspect(&self, index: &str) {
        self.state.write().suspect.insert(index.to_owned());
    }

    /// Those of which the nodes must still be asked what they hold, by name.
    pub fn suspects(&self) -> Vec<String> {
        self.state.read().suspect.iter().cloned().collect()
    }

    /// The nodes need not be asked any more what they hold of `index`.
    pub fn clear_suspect(&self, index: &str) {
        self.state.write().suspect.remove(index);
    }

    /// Makes memory and store say what the nodes were found to hold: `None` when none of them has the index.
    pub async fn correct(&self, store: &dyn Store, index: &str, found: Option<IndexEntry>) -> Result<(), StoreError> {
        let undo = {
            let mut state = self.state.write();
            if state.entries.get(index) == found.as_ref() {
                return Ok(());
            }
            let mut undo = Undo::default();
            match found {
                Some(entry) => state.put(&mut undo, entry),
                None => state.remove(&mut undo, index),
            }
            undo
        };
        tracing::info!(index, "the registry of indexes was corrected after a failed task");
        self.persist(store, &undo).await
    }
}

// === impl Undo ===

impl Undo {
    /// True if there is no index.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when the change brought `index` into being.
    pub fn created(&self, index: &str) -> bool {
        self.0.get(index).is_some_and(Option::is_none)
    }
}

// === impl State ===

impl State {
    fn put(&mut self, undo: &mut Undo, entry: IndexEntry) {
        self.forget(&entry.uid);
        let uid = entry.uid.clone();
        let before = self.entries.insert(uid.clone(), entry);
        undo.0.entry(uid).or_insert(before);
    }

    /// Where the new name is in use the engine refuses.
    fn rename(&mut self, undo: &mut Undo, from: &str, to: &str, primary_key: Option<&String>) {
        if self.entries.contains_key(to) {
            return;
        }
        if let Some(entry) = self.entries.get(from).cloned() {
            self.remove(undo, from);
            let primary_key = entry.primary_key.or_else(|| primary_key.cloned());
            self.put(undo, IndexEntry { uid: to.to_owned(), primary_key, leading: entry.leading });
        }
    }

    fn remove(&mut self, undo: &mut Undo, index: &str) {
        self.forget(index);
        self.new.remove(index);
        let before = self.entries.remove(index);
        // One that comes anew begins with a later edition.
        self.editions.remove(index);
        if before.is_some() {
            undo.0.entry(index.to_owned()).or_insert(before);
        }
    }

    fn forget_all(&mut self) {
        let known: Vec<String> = self.infos.keys().cloned().collect();
        known.iter().for_each(|index| self.forget(index));
        // What is being read now is of the past as well.
        self.generation += 1;
        self.dropped_all = self.generation;
        self.tell(Dropped::All);
    }

    fn forget(&mut self, index: &str) {
        self.generation += 1;
        self.infos.remove(index);
        self.editions.insert(index.to_owned(), self.generation);
        self.tell(Dropped::Of(index));
    }

    fn tell(&self, dropped: Dropped<'_>) {
        if let Some(listener) = &self.listener {
            listener(dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(uid: &str, key: Option<&str>) -> IndexEntry {
        IndexEntry { uid: uid.to_owned(), primary_key: key.map(str::to_owned), leading: Vec::new() }
    }

    fn create(index: &str, key: Option<&str>) -> RegistryChange {
        RegistryChange::Create { index: index.to_owned(), primary_key: key.map(str::to_owned) }
    }

    #[test]
    fn a_change_can_be_undone() {
        let registry = Registry::default();
        let created = registry.apply(&create("a", Some("id")), None);
        assert!(created.created("a"));
        registry.apply(&create("b", Some("isbn")), None);
        let before = registry.entries();
        let swap = RegistryChange::Swap { pairs: vec![("a".into(), "b".into())], renamed: Vec::new() };
        let undo = registry.apply(&swap, None);
        assert_eq!(registry.entries(), [entry("a", Some("isbn")), entry("b", Some("id"))]);
        registry.undo(&undo);
        assert_eq!(registry.entries(), before);
        let undo = registry.apply(&RegistryChange::Delete { index: "a".into() }, None);
        assert!(!registry.exists("a"));
        registry.undo(&undo);
        assert_eq!(registry.entries(), before);
    }

    #[test]
    fn an_index_that_is_renamed_keeps_its_key_and_can_go_back() {
        let registry = Registry::default();
        registry.apply(&create("a", Some("id")), None);
        registry.apply(&create("b", None), None);
        let before = registry.entries();
        let rename = |from: &str, to: &str| RegistryChange::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
            primary_key: Some("other".to_owned()),
        };
        let undo = registry.apply(&rename("a", "c"), None);
        assert_eq!(registry.entries(), [entry("b", None), entry("c", Some("id"))]);
        registry.undo(&undo);
        assert_eq!(registry.entries(), before);
        assert!(registry.apply(&rename("a", "b"), None).is_empty(), "the name is in use");
        assert!(registry.apply(&rename("no", "d"), None).is_empty());
        registry.apply(&rename("b", "d"), None);
        assert_eq!(registry.entry("d"), Some(entry("d", Some("other"))));
    }

    #[test]
    fn an_index_is_new_until_it_is_written_to() {
        let registry = Registry::default();
        let indexes = ["a".to_owned()];
        let make = || {
            registry.apply(&create("a", None), None);
            registry.written(&indexes, Some("a"));
        };
        make();
        assert!(registry.is_new("a") && !registry.is_new("b"));
        registry.written(&indexes, None);
        assert!(!registry.is_new("a"));
        registry.apply(&RegistryChange::Delete { index: "a".into() }, None);
        make();
        assert!(registry.is_new("a"));
        registry.apply(&RegistryChange::Delete { index: "a".into() }, None);
        registry.apply(&RegistryChange::None, Some("a"));
        assert!(!registry.is_new("a"), "documents made it");
    }

    #[test]
    fn creating_what_exists_changes_nothing() {
        let registry = Registry::default();
        registry.apply(&create("a", Some("id")), None);
        assert!(registry.apply(&create("a", None), Some("a")).is_empty());
        assert_eq!(registry.entry("a"), Some(entry("a", Some("id"))));
    }

    #[test]
    fn an_ensured_index_takes_the_primary_key_of_its_first_batch() {
        let registry = Registry::default();
        let change = RegistryChange::SetPrimaryKey {
            index: "a".into(),
            primary_key: "id".into(),
            leading: vec!["title".into()],
        };
        let undo = registry.apply(&change, Some("a"));
        let leading = vec!["title".to_owned()];
        assert_eq!(registry.entry("a"), Some(IndexEntry { leading: leading.clone(), ..entry("a", Some("id")) }));
        assert!(undo.created("a"));
        // Nodes may refuse another key.
        let other =
            RegistryChange::SetPrimaryKey { index: "a".into(), primary_key: "other".into(), leading: Vec::new() };
        let refused = registry.apply(&other, None);
        assert_eq!(registry.entry("a").map(|entry| entry.leading), Some(leading.clone()));
        registry.undo(&refused);
        // The place goes with the key.
        registry.apply(&RegistryChange::Create { index: "b".into(), primary_key: Some("n".into()) }, None);
        let pairs = vec![("a".into(), "b".into())];
        registry.apply(&RegistryChange::Swap { pairs, renamed: Vec::new() }, None);
        assert_eq!(registry.key_place("b"), Some(KeyPlace { key: "id".into(), behind: leading.clone() }));
        assert_eq!((registry.entry("a"), registry.key_place("a")), (Some(entry("a", Some("n"))), None));
        let renamed = vec![("b".to_owned(), "c".to_owned())];
        registry.apply(&RegistryChange::Swap { pairs: Vec::new(), renamed }, None);
        assert_eq!(registry.key_place("c").map(|place| place.behind), Some(leading));
    }
}
