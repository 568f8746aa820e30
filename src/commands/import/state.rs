//! What of an import is done, on disk, so that it can go on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::ImportError;

/// What is done.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    source: String,
    target: String,
    /// Switches, keys and webhooks.
    pub instance: bool,
    /// The target's switch for chats is on because of this import, and goes off at its end.
    #[serde(default)]
    pub chats_were_off: bool,
    /// The same of the switch for dynamic search rules.
    #[serde(default)]
    pub rules_were_off: bool,
    /// The indexes that this import has made, or was allowed to change.
    pub indexes: BTreeMap<String, IndexDone>,
}

/// What of an index is done.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexDone {
    pub settings: bool,
    /// So many of its first documents are there.
    pub documents: u64,
}

/// The file.
pub struct State {
    path: PathBuf,
    pub done: Done,
}

// === impl Done ===

impl Done {
    /// How many documents of an index are there.
    pub fn documents(&self, uid: &str) -> u64 {
        self.indexes.get(uid).map_or(0, |index| index.documents)
    }
}

// === impl State ===

impl State {
    /// Of an import from `source` to `target`; a new one if there is no file.
    pub fn open(path: PathBuf, source: &str, target: &str) -> Result<Self, ImportError> {
        let new = Done { source: source.to_owned(), target: target.to_owned(), ..Done::default() };
        let done = match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).unwrap_or_else(|_| Done { source: text, ..Done::default() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => new.clone(),
            Err(source) => return Err(ImportError::File { path, source }),
        };
        if (&done.source, &done.target) != (&new.source, &new.target) {
            let other = format!("{} to {}", done.source, done.target).chars().take(200).collect();
            return Err(ImportError::OtherImport { path, other });
        }
        if done != new {
            println!("going on from {}", path.display());
        }
        Ok(Self { path, done })
    }

    /// What is done of this index; nothing yet, if it was not named before.
    pub fn index(&mut self, uid: &str) -> &mut IndexDone {
        self.done.indexes.entry(uid.to_owned()).or_default()
    }

    /// Writes the file anew: beside, and then in its place.
    pub fn save(&self) -> Result<(), ImportError> {
        let failed = |source| ImportError::State { path: self.path.clone(), source };
        let text = serde_json::to_string(&self.done).map_err(io::Error::from).map_err(failed)?;
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        fs::write(&beside, text).map_err(failed)?;
        fs::rename(Path::new(&beside), &self.path).map_err(failed)
    }

    /// All is done.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_of_one_import_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let mut state = State::open(path.clone(), "dump a", "http://x").unwrap();
        state.index("movies").documents = 7;
        state.save().unwrap();
        let again = State::open(path.clone(), "dump a", "http://x").unwrap();
        assert_eq!((again.done.documents("movies"), again.done.documents("books")), (7, 0));
        assert!(State::open(path.clone(), "dump b", "http://x").is_err());
        assert!(State::open(path.clone(), "dump a", "http://y").is_err());
        fs::write(&path, "no json").unwrap();
        assert!(State::open(path.clone(), "dump a", "http://x").is_err(), "a file that is somebody else's stays");
        again.remove();
        assert_eq!(State::open(path, "dump b", "http://x").unwrap().done.documents("movies"), 0);
    }
}
