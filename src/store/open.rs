//! The store that a configuration names.

use std::sync::Arc;

use super::leadership::{Candidate, Leadership, Only};
use super::postgres::{Address, PostgresStore};
use super::sqlite::SqliteStore;
use super::{Store, StoreError};
use crate::settings::Secret;

/// What a configuration that cannot be used should say instead.
const EXPECTED: &str = "expected `sqlite:` and a path such as `sqlite:./data/miroir.db`, or \
                        `postgres://user@host:5432/database`";

/// Where the state is, and how it is reached.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// `sqlite:PATH` or `postgres://...`.
    pub state: &'a str,
    pub password: Option<&'a Secret>,
}

/// A store, and the right to change it.
pub struct Opened {
    pub store: Arc<dyn Store>,
    pub leadership: Arc<dyn Leadership>,
}

// === impl Place ===

impl Place<'_> {
    /// What is wrong with it, before anything is opened. No secret is in what this says.
    pub fn check(self) -> Result<(), String> {
        match self.state.strip_prefix("sqlite:") {
            Some("") => Err(EXPECTED.to_owned()),
            Some(_) => Ok(()),
            None if is_postgres(self.state) => Address::parse(self.state, self.password).map(|_| ()),
            None => Err(EXPECTED.to_owned()),
        }
    }

    /// Opens the state of a cluster of `shards` shards; makes it where there is none. Blocks until this gateway leads, or fails.
    pub fn open(self, shards: u16, candidate: &Candidate) -> Result<Opened, StoreError> {
        if !is_postgres(self.state) {
            let store = Arc::new(SqliteStore::open(self.state, shards)?);
            return Ok(Opened { store, leadership: Arc::new(Only) });
        }
        let address = Address::parse(self.state, self.password).map_err(StoreError::Address)?;
        let (store, leadership) = PostgresStore::open(address, shards, candidate)?;
        Ok(Opened { store: Arc::new(store), leadership })
    }
}

fn is_postgres(state: &str) -> bool {
    state.starts_with("postgres://") || state.starts_with("postgresql://")
}
