//! Changes of settings that some node refused and others applied: to be remembered until they are taken back
//! (`replicas/repair/take_back.rs`), and to be heeded by whoever reads settings meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::placement::topology::NodeId;
use crate::read::Remembered;
use crate::store::{Store, StoreError};

/// The name of the notes in the store.
const TAKE_BACKS: &str = "settings_to_take_back";

/// Which settings of an index are to be as on which nodes: those that refused to change them.
pub type Refused = BTreeMap<String, BTreeSet<NodeId>>;

/// By index.
pub type Notes = BTreeMap<String, Refused>;

/// Told of each change.
type Listener = Box<dyn Fn() + Send + Sync>;

/// Changes of settings that some nodes carried out and others refused, until they are taken back.
#[derive(Default)]
pub struct Refusals {
    notes: Mutex<Notes>,
    /// Held while the notes are changed and stored.
    storing: tokio::sync::Mutex<()>,
    /// Why the last attempt stopped short, by index.
    troubles: Mutex<BTreeMap<String, String>>,
    changed: tokio::sync::Notify,
    listener: OnceLock<Listener>,
}

// === impl Refusals ===

impl Refusals {
    /// What was noted before the last stop. A note that cannot be read is `StoreError::Corrupt`.
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let notes = match store.get_meta(TAKE_BACKS).await? {
            Some(text) => serde_json::from_str(&text)
                .map_err(|source| StoreError::Corrupt { what: "settings to be taken back", source })?,
            None => Notes::new(),
        };
        Ok(Self { notes: Mutex::new(notes), ..Self::default() })
    }

    /// Who is to hear of changes. Said once, before anything runs.
    pub(super) fn on_change(&self, listener: Listener) {
        assert!(self.listener.set(listener).is_ok(), "nobody else hears of refusals");
    }

    /// All that is noted, as other gateways are told.
    pub fn notes(&self) -> Notes {
        self.notes.lock().clone()
    }

    /// Takes over what another gateway has noted.
    pub fn replace(&self, notes: Notes) {
        *self.notes.lock() = notes;
        self.changed.notify_waiters();
    }

    /// For operators: what is being taken back, and what it waits for.
    pub fn view(&self) -> Value {
        let troubles = self.troubles.lock();
        let notes = self.notes.lock();
        let rows = notes.iter().map(|(index, settings)| {
            json!({
                "index": index,
                "settings": settings.keys().collect::<Vec<_>>(),
                "asOn": settings.values().flatten().collect::<BTreeSet<_>>(),
                "waitsFor": troubles.get(index),
            })
        });
        rows.collect()
    }

    /// What is noted of `index`.
    pub fn of(&self, index: &str) -> Option<Refused> {
        self.notes.lock().get(index).cloned()
    }

    /// The indexes with something to be taken back.
    pub fn indexes(&self) -> Vec<String> {
        self.notes.lock().keys().cloned().collect()
    }

    /// Adds that `refused_by` refused to change `settings`; durable when it returns.
    pub async fn note(
        &self,
        store: &dyn Store,
        index: &str,
        settings: Vec<String>,
        refused_by: &BTreeSet<NodeId>,
    ) -> Result<(), StoreError> {
        self.change(store, |notes| note(notes, index, settings, refused_by)).await
    }

    /// `done` was taken back. False, and the note stays, where more was refused meanwhile.
    pub async fn forget(&self, store: &dyn Store, index: &str, done: &Refused) -> Result<bool, StoreError> {
        self.change(store, |notes| {
            if notes.get(index) == Some(done) {
                notes.remove(index);
            }
        })
        .await?;
        self.troubles.lock().remove(index);
        Ok(self.of(index).is_none())
    }

    /// Returns when nothing is noted of `index`.
    pub async fn gone(&self, index: &str) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.of(index).is_none() {
                return;
            }
            changed.await;
        }
    }

    /// Why the last attempt to take it back stopped short.
    pub fn stopped_short(&self, index: &str, why: String) {
        self.troubles.lock().insert(index.to_owned(), why);
    }

    async fn change(&self, store: &dyn Store, change: impl FnOnce(&mut Notes)) -> Result<(), StoreError> {
        let _storing = self.storing.lock().await;
        let mut next = self.notes.lock().clone();
        change(&mut next);
        let failed = |source| StoreError::Corrupt { what: "settings to be taken back", source };
        let text = serde_json::to_string(&next).map_err(failed)?;
        store.put_meta(TAKE_BACKS, text).await?;
        *self.notes.lock() = next;
        if let Some(listener) = self.listener.get() {
            listener();
        }
        self.changed.notify_waiters();
        Ok(())
    }
}

impl Remembered for Refusals {
    fn refused_by(&self, index: &str) -> BTreeSet<NodeId> {
        self.notes.lock().get(index).into_iter().flat_map(BTreeMap::values).flatten().cloned().collect()
    }
}

/// Where two changes of one setting were refused, a node that refused both is the measure; where there is none, one that
/// refused the later one.
fn note(notes: &mut Notes, index: &str, settings: Vec<String>, refused_by: &BTreeSet<NodeId>) {
    let known = notes.entry(index.to_owned()).or_default();
    for setting in settings {
        let nodes = known.entry(setting).or_insert_with(|| refused_by.clone());
        let both: BTreeSet<NodeId> = nodes.intersection(refused_by).cloned().collect();
        *nodes = if both.is_empty() { refused_by.clone() } else { both };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[&str]) -> BTreeSet<NodeId> {
        ids.iter().map(|id| NodeId::new(id)).collect()
    }

    #[test]
    fn a_node_that_refused_all_changes_of_a_setting_is_its_measure() {
        let mut notes = Notes::new();
        note(&mut notes, "i", vec!["sort".into(), "stop".into()], &nodes(&["a", "b"]));
        note(&mut notes, "i", vec!["sort".into()], &nodes(&["b", "c"]));
        assert_eq!(notes["i"]["sort"], nodes(&["b"]));
        assert_eq!(notes["i"]["stop"], nodes(&["a", "b"]));
        note(&mut notes, "i", vec!["sort".into()], &nodes(&["a"]));
        assert_eq!(notes["i"]["sort"], nodes(&["a"]), "where nobody refused both, the later one counts");
    }
}
