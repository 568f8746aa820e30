//! The store that a configuration names.

use std::sync::Arc;

use super::leadership::{Candidate, Leadership, Only, WhenLost};
use super::moving::MoveError;
use super::postgres::{Address, PostgresStore, Seat, ServerRows};
use super::rows::{Source, Target};
use super::sqlite::SqliteStore;
use super::sqlite::rows::{FileSource, FileTarget, NoFile};
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

/// A state that was reached. Others may lead there.
pub struct Joined(By);

enum By {
    File(String),
    Server { address: Address, seat: Arc<Seat>, when_lost: WhenLost },
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

    /// Comes to the state, without waiting for who leads there. An error where it cannot be reached.
    pub fn join(self, candidate: &Candidate) -> Result<Joined, StoreError> {
        if !is_postgres(self.state) {
            return Ok(Joined(By::File(self.state.to_owned())));
        }
        let address = self.address()?;
        let seat = Seat::take(address.clone(), candidate)?;
        Ok(Joined(By::Server { address, seat, when_lost: candidate.when_lost }))
    }

    /// Opens the state of a cluster of `shards` shards, of as many as it has where nobody says how many; makes it where there is none.
    /// Blocks until this gateway leads, or fails.
    pub fn open(self, shards: Option<u16>, candidate: &Candidate) -> Result<Opened, StoreError> {
        self.join(candidate)?.lead(shards)
    }
}

impl<'a> Place<'a> {
    /// The state that is there, to be moved away. Waits for the lease of another gateway to end.
    pub(super) async fn source(self) -> Result<Box<dyn Source>, MoveError> {
        match self.file() {
            Some(path) => Ok(Box::new(FileSource::open(path).map_err(|error| self.refused(error))?)),
            None => Ok(Box::new(ServerRows::source(self.address()?).await?)),
        }
    }

    /// Where a state is to be moved to; an error where there is one.
    pub(super) async fn target(self) -> Result<Box<dyn Target>, MoveError> {
        let occupied = || MoveError::Occupied { place: self.state.to_owned() };
        match self.file() {
            Some(path) => {
                let created = FileTarget::create(path).map_err(|error| self.refused(error))?;
                Ok(Box::new(created.ok_or_else(occupied)?))
            }
            None => Ok(Box::new(ServerRows::target(self.address()?).await?.ok_or_else(occupied)?)),
        }
    }

    fn refused(self, error: NoFile) -> MoveError {
        let place = self.state.to_owned();
        match error {
            NoFile::Missing => MoveError::Missing { place },
            NoFile::InUse => MoveError::InUse { place },
            NoFile::Failed(error) => error.into(),
        }
    }

    fn file(self) -> Option<&'a str> {
        (!is_postgres(self.state)).then(|| self.state.strip_prefix("sqlite:").unwrap_or(self.state))
    }

    fn address(self) -> Result<Address, StoreError> {
        Address::parse(self.state, self.password).map_err(StoreError::Address)
    }
}

// === impl Joined ===

impl Joined {
    /// This gateway's place there, which says who leads.
    pub fn leadership(&self) -> Arc<dyn Leadership> {
        match &self.0 {
            By::File(_) => Arc::new(Only::default()),
            By::Server { seat, .. } => Arc::clone(seat) as _,
        }
    }

    /// As [`Place::open`].
    pub fn lead(self, shards: Option<u16>) -> Result<Opened, StoreError> {
        let leadership = self.leadership();
        let store: Arc<dyn Store> = match self.0 {
            By::File(path) => Arc::new(SqliteStore::open(&path, shards)?),
            By::Server { address, seat, when_lost } => Arc::new(PostgresStore::open(address, shards, seat, when_lost)?),
        };
        Ok(Opened { store, leadership })
    }
}

fn is_postgres(state: &str) -> bool {
    state.starts_with("postgres://") || state.starts_with("postgresql://")
}
