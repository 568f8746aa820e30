//! The ends of tasks that somebody is to be told of: kept in the order in which they were written, until all have been told.

use rusqlite::{Connection, OptionalExtension as _};

use crate::store::StoreError;
use crate::tasks::entry::MiroirTask;

/// Keeps the end of `task`.
pub fn keep(connection: &Connection, task: &MiroirTask) -> Result<(), StoreError> {
    let json = serde_json::to_string(task).map_err(|source| StoreError::Corrupt { what: "task", source })?;
    connection.prepare_cached("INSERT INTO ends (task) VALUES (?)")?.execute([json])?;
    Ok(())
}

/// The place of the last end, be it forgotten since.
pub fn last(connection: &Connection) -> Result<u64, StoreError> {
    let mut select = connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'ends'")?;
    let last: Option<i64> = select.query_row([], |row| row.get(0)).optional()?;
    Ok(last.and_then(|last| u64::try_from(last).ok()).unwrap_or(0))
}

/// The first `limit` ends after `place`.
pub fn after(connection: &Connection, place: u64, limit: u32) -> Result<Vec<(u64, MiroirTask)>, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT place, task FROM ends WHERE place > ? ORDER BY place LIMIT ?")?;
    let mut rows = select.query((as_sql(place), limit))?;
    let mut ends = Vec::new();
    while let Some(row) = rows.next()? {
        let (place, json): (i64, String) = (row.get(0)?, row.get(1)?);
        let task = serde_json::from_str(&json).map_err(|source| StoreError::Corrupt { what: "task", source })?;
        ends.push((u64::try_from(place).unwrap_or(0), task));
    }
    Ok(ends)
}

/// Forgets all up to `place`.
pub fn forget(connection: &Connection, place: u64) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM ends WHERE place <= ?")?.execute([as_sql(place)])?;
    Ok(())
}

/// SQLite knows no greater number.
fn as_sql(place: u64) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}
