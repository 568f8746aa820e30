//! What only a state file has.

use rusqlite::Connection;

use crate::store::StoreError;
use crate::store::sqlite::SqliteStore;

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db").display().to_string();
    drop(SqliteStore::open(&path, 64).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(&path, 64).err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(folder.path(), "this is no database, but long enough to be looked at as one".repeat(30)).unwrap();
    assert!(SqliteStore::open(&folder.path().display().to_string(), 64).is_err());
}
