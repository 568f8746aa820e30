//! The tables of the state file, and the steps from one version of them to the next.

use rusqlite::{Connection, OptionalExtension as _};

use crate::placement::settings::DEFAULT_SHARDS;
use crate::store::{SHARDS, StoreError, number_of_shards};

/// A task is counted in its block.
macro_rules! counted {
    () => {
        "
        INSERT INTO blocks VALUES (new.uid >> 13, new.status, new.kind, coalesce(new.index_uid, ''), new.canceled_by IS NOT NULL,
            new.started_at IS NOT NULL, new.finished_at IS NOT NULL, 1, new.enqueued_at, new.enqueued_at,
            new.started_at, new.started_at, new.finished_at, new.finished_at)
        ON CONFLICT DO UPDATE SET n = n + 1,
            enqueued_from = iif(n > 0, min(enqueued_from, excluded.enqueued_from), excluded.enqueued_from),
            enqueued_to = iif(n > 0, max(enqueued_to, excluded.enqueued_to), excluded.enqueued_to),
            started_from = iif(n > 0, min(started_from, excluded.started_from), excluded.started_from),
            started_to = iif(n > 0, max(started_to, excluded.started_to), excluded.started_to),
            finished_from = iif(n > 0, min(finished_from, excluded.finished_from), excluded.finished_from),
            finished_to = iif(n > 0, max(finished_to, excluded.finished_to), excluded.finished_to);
"
    };
}

/// A task is not counted in its block any more.
macro_rules! left_out {
    () => {
        "
        UPDATE blocks SET n = n - 1
        WHERE block = old.uid >> 13 AND status = old.status AND kind = old.kind AND index_uid = coalesce(old.index_uid, '')
            AND canceled = (old.canceled_by IS NOT NULL) AND started = (old.started_at IS NOT NULL)
            AND finished = (old.finished_at IS NOT NULL);
"
    };
}

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
    concat!(
        "
    -- How many tasks there are of each status, kind and index ('' of none), canceled by another or not, by which dates they have, in every
    -- 8,192 uids; and bounds of their dates: so that a filter of a million tasks counts blocks and looks at few rows.
    CREATE TABLE blocks (
        block INTEGER NOT NULL,
        status TEXT NOT NULL,
        kind TEXT NOT NULL,
        index_uid TEXT NOT NULL,
        canceled INTEGER NOT NULL,
        started INTEGER NOT NULL,
        finished INTEGER NOT NULL,
        n INTEGER NOT NULL,
        enqueued_from INTEGER,
        enqueued_to INTEGER,
        started_from INTEGER,
        started_to INTEGER,
        finished_from INTEGER,
        finished_to INTEGER,
        PRIMARY KEY (block, status, kind, index_uid, canceled, started, finished)
    ) WITHOUT ROWID;
    INSERT INTO blocks
        SELECT uid >> 13, status, kind, coalesce(index_uid, ''), canceled_by IS NOT NULL, started_at IS NOT NULL,
            finished_at IS NOT NULL, count(*), min(enqueued_at), max(enqueued_at), min(started_at), max(started_at),
            min(finished_at), max(finished_at)
        FROM tasks GROUP BY 1, 2, 3, 4, 5, 6, 7;
    CREATE TRIGGER block_of_added AFTER INSERT ON tasks BEGIN
",
        counted!(),
        "    END;
    CREATE TRIGGER block_of_removed AFTER DELETE ON tasks BEGIN
",
        left_out!(),
        "    END;
    CREATE TRIGGER block_of_changed AFTER UPDATE OF status, index_uid, started_at, finished_at, canceled_by ON tasks BEGIN
",
        left_out!(),
        counted!(),
        "    END;
"
    ),
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
