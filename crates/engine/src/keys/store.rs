//! The keys of a node, kept in one file. Secrets are computed from the master key when they are needed.

use std::path::{Path, PathBuf};

use miroir_words::key::{self, Key};
use parking_lot::RwLock;
use serde_json::Value;
use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{CreateKey, PatchKey};
use crate::durable;
use crate::error::{Code, ResponseError};

/// The keys of a node, kept in one file.
pub struct KeyStore {
    path: PathBuf,
    master_key: Option<String>,
    /// All keys; the file is written before this changes.
    keys: RwLock<Vec<Key>>,
}

// === impl KeyStore ===

impl KeyStore {
    /// Opens the keys of the data folder; the first time, makes the engine's default keys.
    pub fn open(data_dir: &Path, master_key: Option<String>) -> std::io::Result<Self> {
        let path = data_dir.join("keys.json");
        let keys = match durable::read_json(&path)? {
            Some(keys) => keys,
            None => {
                let keys = Key::defaults(OffsetDateTime::now_utc());
                durable::write_json(&path, &keys)?;
                keys
            }
        };
        Ok(Self { path, master_key, keys: RwLock::new(keys) })
    }

    pub fn has_master_key(&self) -> bool {
        self.master_key.is_some()
    }

    /// Compares in a time that does not depend on where the two differ.
    pub fn is_master_key(&self, token: &str) -> bool {
        self.master_key.as_ref().is_some_and(|key| key.as_bytes().ct_eq(token.as_bytes()).into())
    }

    /// The secret of the key `uid`, `None` without a master key.
    pub fn secret(&self, uid: Uuid) -> Option<String> {
        self.master_key.as_deref().map(|master_key| key::secret(master_key, uid))
    }

    /// The key whose secret is `token`.
    pub fn find_by_secret(&self, token: &str) -> Option<Key> {
        let keys = self.keys.read();
        keys.iter()
            .find(|key| self.secret(key.uid).is_some_and(|secret| secret.as_bytes().ct_eq(token.as_bytes()).into()))
            .cloned()
    }

    pub fn find(&self, uid: Uuid) -> Option<Key> {
        self.keys.read().iter().find(|key| key.uid == uid).cloned()
    }

    /// The newest first.
    pub fn list(&self) -> Vec<Key> {
        let mut keys = self.keys.read().clone();
        keys.sort_by_key(|key| std::cmp::Reverse(key.created_at));
        keys
    }

    /// The key that a path names, by uid or by secret.
    pub fn named(&self, name: &str) -> Result<Key, ResponseError> {
        let (found, shown) = match Uuid::parse_str(name) {
            Ok(uid) => (self.find(uid), uid.to_string()),
            Err(_) => (self.find_by_secret(name), name.to_owned()),
        };
        found.ok_or_else(|| ResponseError::new(Code::ApiKeyNotFound, format!("API key `{shown}` not found.")))
    }

    pub fn create(&self, request: CreateKey) -> Result<Key, ResponseError> {
        let now = OffsetDateTime::now_utc();
        let key = Key {
            name: request.name,
            description: request.description,
            uid: request.uid,
            actions: request.actions.into_iter().map(|action| action.0).collect(),
            indexes: request.indexes.into_iter().map(|pattern| pattern.0).collect(),
            expires_at: request.expires_at,
            created_at: now,
            updated_at: now,
        };
        self.change(|keys| {
            if keys.iter().any(|other| other.uid == key.uid) {
                let message = format!("`uid` field value `{}` is already an existing API key.", key.uid);
                return Err(ResponseError::new(Code::ApiKeyAlreadyExists, message));
            }
            keys.push(key.clone());
            Ok(key)
        })
    }

    pub fn update(&self, name: &str, patch: PatchKey) -> Result<Key, ResponseError> {
        let uid = self.named(name)?.uid;
        self.change(|keys| {
            let Some(key) = keys.iter_mut().find(|key| key.uid == uid) else {
                return Err(ResponseError::new(Code::ApiKeyNotFound, format!("API key `{uid}` not found.")));
            };
            patch.description.apply(&mut key.description);
            patch.name.apply(&mut key.name);
            key.updated_at = OffsetDateTime::now_utc();
            Ok(key.clone())
        })
    }

    pub fn delete(&self, name: &str) -> Result<(), ResponseError> {
        let uid = self.named(name)?.uid;
        self.change(|keys| {
            keys.retain(|key| key.uid != uid);
            Ok(())
        })
    }

    /// A key as the API shows it, secret included.
    pub fn view(&self, key: &Key) -> Value {
        key.view(&self.secret(key.uid).unwrap_or_default())
    }

    fn change<T>(&self, edit: impl FnOnce(&mut Vec<Key>) -> Result<T, ResponseError>) -> Result<T, ResponseError> {
        let mut keys = self.keys.write();
        let mut changed = keys.clone();
        let answer = edit(&mut changed)?;
        durable::write_json(&self.path, &changed)
            .map_err(|error| ResponseError::new(Code::Internal, format!("Internal error: {error}")))?;
        *keys = changed;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::extract::from_json;
    use miroir_words::action::Action;

    fn store(folder: &Path) -> KeyStore {
        KeyStore::open(folder, Some("MASTER_KEY".to_owned())).unwrap()
    }

    #[test]
    fn keys_are_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let first = store(folder.path());
        let request = from_json::<CreateKey>(
            json!({"actions": ["documents.*"], "indexes": ["movies_*"], "expiresAt": null, "name": "n"}),
        )
        .unwrap();
        let key = first.create(request).unwrap();
        let secret = first.secret(key.uid).unwrap();
        drop(first);
        let again = store(folder.path());
        assert_eq!(again.list().len(), 5);
        let now = OffsetDateTime::now_utc();
        let found = again.find_by_secret(&secret).unwrap();
        assert!(found.allows(Action::DocumentsAdd, Some("movies_fr"), now));
        assert!(!found.allows(Action::DocumentsAdd, Some("books"), now));
        assert!(!found.allows(Action::Search, Some("movies_fr"), now));
    }
}
