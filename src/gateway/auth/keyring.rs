//! All API keys in memory, each with its secret computed once. The store holds the truth.

use std::cmp::Reverse;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::Deserialize as _;
use serde_json::Value;
use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::meili::key::{self, Key};
use crate::settings::{Live, Secret};
use crate::store::{Store, StoreError};

/// A key and its secret. Without a master key there is no secret, and no key opens anything.
#[derive(Clone)]
pub struct HeldKey {
    pub key: Key,
    pub secret: Secret,
}

/// The keys, and what they are checked against.
pub struct Keyring {
    master_key: Live<Option<Secret>>,
    keys: ArcSwap<Vec<HeldKey>>,
    store: Arc<dyn Store>,
    /// Held from a change of the store to the change in memory, so that both see changes in one order.
    changing: tokio::sync::Mutex<()>,
    /// Held while secrets are made anew, so that those in memory are of the master key that is there.
    replacing: Mutex<()>,
}

// === impl Keyring ===

impl Keyring {
    /// Reads the keys of the store; makes the default ones if there are none.
    pub async fn open(store: Arc<dyn Store>, master_key: Option<Secret>) -> Result<Self, StoreError> {
        let mut keys = Vec::new();
        for stored in store.keys().await? {
            let key: Key =
                serde_json::from_value(stored).map_err(|source| StoreError::Corrupt { what: "API key", source })?;
            keys.push(key);
        }
        if keys.is_empty() {
            keys = Key::defaults(OffsetDateTime::now_utc());
            for key in &keys {
                store.put_key(key.uid, stored(key)).await?;
            }
        }
        let ring = Self {
            master_key: Live::new(master_key),
            keys: ArcSwap::default(),
            store,
            changing: tokio::sync::Mutex::new(()),
            replacing: Mutex::new(()),
        };
        let held = keys.into_iter().map(|key| ring.hold(key)).collect();
        ring.keys.store(Arc::new(held));
        Ok(ring)
    }

    /// As the store has them.
    pub fn records(&self) -> Vec<Value> {
        self.keys.load().iter().map(|held| stored(&held.key)).collect()
    }

    /// Goes by these from now on, and leaves the store alone.
    ///
    /// # Errors
    ///
    /// When one of them is no key.
    pub fn go_by(&self, records: &[Value]) -> Result<(), serde_json::Error> {
        let _order = self.replacing.lock();
        let keys = records.iter().map(|record| Key::deserialize(record).map(|key| self.hold(key)));
        self.keys.store(Arc::new(keys.collect::<Result<_, _>>()?));
        Ok(())
    }

    /// Without one no key is asked for.
    pub fn has_master_key(&self) -> bool {
        self.master_key.get().is_some()
    }

    /// From now on this is the master key, and each key has the secret that follows from it: those of before open nothing.
    pub async fn go_by_master(&self, master_key: Option<Secret>) {
        let _changes = self.changing.lock().await;
        let _order = self.replacing.lock();
        self.master_key.set(master_key);
        let keys = self.keys.load().iter().map(|held| self.hold(held.key.clone())).collect();
        self.keys.store(Arc::new(keys));
    }

    pub(super) fn master_key(&self) -> Option<Secret> {
        Option::clone(&self.master_key.get())
    }

    /// True when `token` is the master key. Takes the same time wherever they differ.
    pub fn is_master(&self, token: &str) -> bool {
        let master = self.master_key.get();
        Option::<Secret>::as_ref(&master).is_some_and(|master| same(master.expose(), token))
    }

    /// The key whose secret is `token`. Every key is compared, whichever meets.
    pub fn by_secret(&self, token: &str) -> Option<HeldKey> {
        if !self.has_master_key() {
            return None;
        }
        let mut found = None;
        for held in self.keys.load().iter() {
            if same(held.secret.expose(), token) {
                found = Some(held.clone());
            }
        }
        found
    }

    /// The key with this uid.
    pub fn by_uid(&self, uid: Uuid) -> Option<HeldKey> {
        self.keys.load().iter().find(|held| held.key.uid == uid).cloned()
    }

    /// The key that a path names, by uid or by secret.
    pub fn named(&self, uid_or_secret: &str) -> Option<HeldKey> {
        match Uuid::parse_str(uid_or_secret) {
            Ok(uid) => self.by_uid(uid),
            Err(_) => self.by_secret(uid_or_secret),
        }
    }

    /// All keys, the newest first.
    pub fn list(&self) -> Vec<HeldKey> {
        let mut keys: Vec<HeldKey> = self.keys.load().to_vec();
        keys.sort_by_key(|held| Reverse(held.key.created_at));
        keys
    }

    /// Adds a key; `None` if one with its uid is there already.
    pub async fn add(&self, key: Key) -> Result<Option<HeldKey>, StoreError> {
        let _order = self.changing.lock().await;
        if self.by_uid(key.uid).is_some() {
            return Ok(None);
        }
        self.store.put_key(key.uid, stored(&key)).await?;
        let held = self.hold(key);
        self.replace(|keys| keys.push(held.clone()));
        Ok(Some(held))
    }

    /// Changes the key `uid` by `change`; `None` if there is none.
    pub async fn change(&self, uid: Uuid, change: impl FnOnce(&mut Key)) -> Result<Option<HeldKey>, StoreError> {
        let _order = self.changing.lock().await;
        let Some(mut held) = self.by_uid(uid) else {
            return Ok(None);
        };
        change(&mut held.key);
        self.store.put_key(uid, stored(&held.key)).await?;
        self.replace(|keys| {
            if let Some(place) = keys.iter_mut().find(|other| other.key.uid == uid) {
                *place = held.clone();
            }
        });
        Ok(Some(held))
    }

    /// False if there was none.
    pub async fn remove(&self, uid: Uuid) -> Result<bool, StoreError> {
        let _order = self.changing.lock().await;
        if self.by_uid(uid).is_none() {
            return Ok(false);
        }
        self.store.delete_key(uid).await?;
        self.replace(|keys| keys.retain(|held| held.key.uid != uid));
        Ok(true)
    }

    fn hold(&self, key: Key) -> HeldKey {
        let secret = self.master_key().map(|master| key::secret(master.expose(), key.uid)).unwrap_or_default();
        HeldKey { key, secret: Secret::new(secret) }
    }

    fn replace(&self, change: impl FnOnce(&mut Vec<HeldKey>)) {
        let _order = self.replacing.lock();
        let mut keys = self.keys.load().to_vec();
        change(&mut keys);
        self.keys.store(Arc::new(keys));
    }
}

fn stored(key: &Key) -> Value {
    serde_json::to_value(key).expect("a key has text keys only")
}

/// Compares without telling by its time where the texts differ; lengths are no secret.
pub fn same(expected: &str, given: &str) -> bool {
    expected.as_bytes().ct_eq(given.as_bytes()).into()
}
