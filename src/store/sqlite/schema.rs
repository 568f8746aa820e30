//! The tables of the state file, and the steps from one version of them to the next.

use rusqlite::{Connection, OptionalExtension as _};

use crate::placement::settings::DEFAULT_SHARDS;
use crate::store::{SHARDS, StoreError, number_of_shards};

/// The version that each step leads to is its position plus one. Steps are never changed once released.
const STEPS: &[&str] = &[
    "
    CREATE TABLE meta (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;

    -- Dates are nanoseconds since 1970. The columns beside `task` repeat what can be filtered by.
    CREATE TABLE tasks (
        uid INTEGER PRIMARY KEY,
        uuid BLOB NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        status TEXT NOT NULL,
        index_uid TEXT,
        enqueued_at INTEGER NOT NULL,
        started_at INTEGER,
        finished_at INTEGER,
        canceled_by INTEGER,
        task TEXT NOT NULL
    );
    CREATE INDEX tasks_by_status ON tasks (status, uid);
    CREATE INDEX tasks_by_kind ON tasks (kind, uid);
    CREATE INDEX tasks_by_index ON tasks (index_uid, uid);
    CREATE INDEX tasks_by_enqueued_at ON tasks (enqueued_at);
    CREATE INDEX tasks_by_started_at ON tasks (started_at);
    CREATE INDEX tasks_by_finished_at ON tasks (finished_at);
    CREATE INDEX tasks_by_canceler ON tasks (canceled_by) WHERE canceled_by IS NOT NULL;

    CREATE TABLE indexes (
        uid TEXT PRIMARY KEY,
        entry TEXT NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE stale (
        node TEXT NOT NULL,
        index_uid TEXT NOT NULL,
        shards TEXT NOT NULL,
        PRIMARY KEY (node, index_uid)
    ) WITHOUT ROWID;

    CREATE TABLE keys (
        uid BLOB PRIMARY KEY,
        key TEXT NOT NULL
    ) WITHOUT ROWID;
",
    "
    -- Tasks as they ended, for who is to be told of each. A place is never given twice.
    CREATE TABLE ends (
        place INTEGER PRIMARY KEY AUTOINCREMENT,
        task TEXT NOT NULL
    );
",
];

const NEXT_UID: &str = "next_task_uid";

/// Brings the file to the newest version, and makes sure that it belongs to a cluster of `shards` shards, of as many as it has where
/// nobody says how many.
pub fn prepare(connection: &mut Connection, shards: Option<u16>) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    let known = i64::try_from(STEPS.len()).expect("there are few steps");
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (version, step) in (1i64..).zip(STEPS).filter(|(version, _)| *version > found) {
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    check_shards(&transaction, shards)?;
    transaction.commit()?;
    Ok(())
}

fn check_shards(connection: &Connection, configured: Option<u16>) -> Result<(), StoreError> {
    let stored = match get_meta(connection, SHARDS)? {
        None => return put_meta(connection, SHARDS, &configured.unwrap_or(DEFAULT_SHARDS).to_string()),
        Some(stored) => number_of_shards(&stored)?,
    };
    match configured {
        Some(configured) if configured != stored => Err(StoreError::ShardsChanged { stored, configured }),
        Some(_) | None => Ok(()),
    }
}

/// `None` if no value of that name was ever put.
pub fn get_meta(connection: &Connection, name: &str) -> Result<Option<String>, StoreError> {
    let mut select = connection.prepare_cached("SELECT value FROM meta WHERE name = ?")?;
    Ok(select.query_row([name], |row| row.get(0)).optional()?)
}

/// Takes the place of an older value.
pub fn put_meta(connection: &Connection, name: &str, value: &str) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)")?;
    insert.execute([name, value])?;
    Ok(())
}

/// How long the state's file is, without what waits in its log.
pub fn bytes(connection: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let bytes: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// The first uid that no task ever had, be it deleted since.
pub fn next_task_uid(connection: &Connection) -> Result<u32, StoreError> {
    match get_meta(connection, NEXT_UID)? {
        None => Ok(0),
        Some(next) => next.parse().map_err(|_| StoreError::Unknown { what: "task counter", value: next }),
    }
}

/// Remembers that `uid` was handed out.
pub fn use_task_uid(connection: &Connection, uid: u32) -> Result<(), StoreError> {
    let next = uid.saturating_add(1);
    if next_task_uid(connection)? < next {
        put_meta(connection, NEXT_UID, &next.to_string())?;
    }
    Ok(())
}
