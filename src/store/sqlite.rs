//! State in an SQLite file.

use super::StoreError;

/// The default store.
pub struct SqliteStore {}

impl SqliteStore {
    /// Opens `sqlite:PATH`, a plain path, or `:memory:`; makes the file and its folder where they are missing.
    pub fn open(path: &str, shards: u16) -> Result<Self, StoreError> {
        let _ = (path, shards);
        todo!()
    }
}
