//! Where a store under test is.

use std::sync::Arc;

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
pub struct Held(Opened);

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

    pub fn try_open(&self, shards: u16) -> Result<Arc<Held>, StoreError> {
        open_as(&self.address, shards, "gateway").map(|opened| Arc::new(Held(opened)))
    }
}

/// A gateway that does not wait.
pub fn open_as(address: &str, shards: u16, name: &str) -> Result<Opened, StoreError> {
    let candidate = Candidate { name: name.to_owned(), when_led: WhenLed::Refuse, when_lost: WhenLost::Refuse };
    open::Place { state: address, password: None }.open(shards, &candidate)
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
