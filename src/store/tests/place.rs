//! Where a store under test is.

use std::sync::Arc;
use std::time::Duration;

use super::server::Postgres;
use crate::store::leadership::{Candidate, Leadership, WhenLed, WhenLost};
use crate::store::open::{self, Opened};
use crate::store::{Store, StoreError};

/// A folder or a database, in which a store can be opened again.
pub struct Place {
    address: String,
    _folder: tempfile::TempDir,
}

/// A store that gives up its lease when it is dropped.
pub struct Held(pub Opened);

// === impl Place ===

impl Place {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { address: format!("sqlite:{}/deep/down/state.db", folder.path().display()), _folder: folder }
    }

    pub fn postgres() -> Self {
        Self { address: Postgres::shared().database(), _folder: tempfile::tempdir().unwrap() }
    }

    /// PostgreSQL keeps rows that a transaction which was under way could have seen, as a renewal of the lease may have been.
    pub fn later_compactions(&self) -> u32 {
        if self.address.starts_with("sqlite:") { 0 } else { 5 }
    }

    pub fn open(&self) -> Arc<Held> {
        self.try_open(64).unwrap()
    }

    pub fn try_open(&self, shards: impl Into<Option<u16>>) -> Result<Arc<Held>, StoreError> {
        lead(&self.address, shards.into(), &candidate("gateway")).map(|opened| Arc::new(Held(opened)))
    }
}

/// A gateway that does not wait.
pub fn candidate(name: &str) -> Candidate {
    Candidate {
        name: name.to_owned(),
        url: Some(format!("http://{name}:7702")),
        alone: Duration::from_secs(60),
        when_led: WhenLed::Refuse,
        when_lost: WhenLost::Refuse,
    }
}

/// Opens the state as soon as `candidate` leads there.
pub fn lead(address: &str, shards: Option<u16>, candidate: &Candidate) -> Result<Opened, StoreError> {
    open::Place { state: address, password: None }.open(shards, candidate)
}

/// As [`lead`], of a gateway that does not wait, on a cluster of 64 shards.
pub fn open_as(address: &str, name: &str) -> Result<Opened, StoreError> {
    lead(address, Some(64), &candidate(name))
}

// === impl Held ===

impl std::ops::Deref for Held {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        self.0.store.as_ref()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let leadership: &dyn Leadership = self.0.leadership.as_ref();
        leadership.release();
    }
}

/// Makes a test on each store of functions that take a [`Place`].
macro_rules! on_each_store {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(&super::Place::sqlite()).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(&super::Place::postgres()).await;
                }
            )*
        }
    };
}
pub(super) use on_each_store;
