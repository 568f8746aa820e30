//! The tables, in a schema of their own, and the steps from one version of them to the next. They are taken by who leads, in the
//! transaction that locks the leader's row: nobody changes them under a gateway that runs.

use tokio_postgres::Client;

use super::address::chain;
use super::claim::Claim;
use super::statement::{Replies, Statement};
use crate::placement::settings::DEFAULT_SHARDS;
use crate::store::leadership::WhenLost;
use crate::store::{SHARDS, StoreError, number_of_shards};

/// The oldest version of the server that has what the tables need, as it counts them.
const OLDEST: i64 = 150_000;

/// What is there before any version. Never changed once released.
const FOUNDATION: &str = "
    BEGIN;
    CREATE SCHEMA IF NOT EXISTS miroir;
    CREATE TABLE IF NOT EXISTS miroir.leader (
        id integer PRIMARY KEY CHECK (id = 1),
        epoch bigint NOT NULL,
        holder text NOT NULL,
        name text NOT NULL,
        url text,
        since timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        commits bigint NOT NULL,
        followers text[] NOT NULL,
        alone bigint NOT NULL,
        resigned boolean NOT NULL,
        lost text,
        schema bigint NOT NULL
    ) WITH (fillfactor = 20);
    CREATE TABLE IF NOT EXISTS miroir.members (
        gateway text PRIMARY KEY,
        name text NOT NULL,
        url text,
        version text NOT NULL,
        seen_at timestamptz NOT NULL
    );
    INSERT INTO miroir.leader VALUES
        (1, 0, '', '', NULL, now(), now() - interval '1 second', 0, '{}', 0, false, NULL, 0) ON CONFLICT DO NOTHING;
    COMMIT";

/// The version that each step leads to is its position plus one. Steps are never changed once released.
const STEPS: &[&str] = &["
    CREATE TABLE miroir.meta (
        name text PRIMARY KEY,
        value text NOT NULL
    ) WITH (fillfactor = 50);

    -- Dates are nanoseconds since 1970. The columns beside `task` repeat what can be filtered by.
    CREATE TABLE miroir.tasks (
        uid bigint PRIMARY KEY,
        uuid bytea NOT NULL UNIQUE,
        kind text COLLATE \"C\" NOT NULL,
        status text COLLATE \"C\" NOT NULL,
        index_uid text COLLATE \"C\",
        enqueued_at bigint NOT NULL,
        started_at bigint,
        finished_at bigint,
        canceled_by bigint,
        task text NOT NULL
    );
    CREATE INDEX tasks_by_group ON miroir.tasks (status, kind, uid);
    CREATE INDEX tasks_by_index ON miroir.tasks (index_uid, status, kind, uid);
    CREATE INDEX tasks_by_enqueued_at ON miroir.tasks (enqueued_at, uid);
    CREATE INDEX tasks_by_started_at ON miroir.tasks (started_at, uid);
    CREATE INDEX tasks_by_finished_at ON miroir.tasks (finished_at, uid);
    CREATE INDEX tasks_by_canceler ON miroir.tasks (canceled_by) WHERE canceled_by IS NOT NULL;

    -- How many tasks there are of each status, kind and index, canceled by another or not.
    CREATE TABLE miroir.counts (
        status text COLLATE \"C\" NOT NULL,
        kind text COLLATE \"C\" NOT NULL,
        index_uid text COLLATE \"C\",
        canceled boolean NOT NULL,
        n bigint NOT NULL
    ) WITH (fillfactor = 20);
    CREATE UNIQUE INDEX counts_by_group ON miroir.counts (status, kind, index_uid, canceled) NULLS NOT DISTINCT;
    CREATE FUNCTION miroir.count_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO miroir.counts AS known
            SELECT status, kind, index_uid, canceled_by IS NOT NULL, count(*) FROM added GROUP BY 1, 2, 3, 4
            ON CONFLICT (status, kind, index_uid, canceled) DO UPDATE SET n = known.n + excluded.n;
        ELSIF TG_OP = 'UPDATE' THEN
            INSERT INTO miroir.counts AS known
            SELECT status, kind, index_uid, canceled_by IS NOT NULL, sum(change) FROM (
                SELECT status, kind, index_uid, canceled_by, 1 AS change FROM added
                UNION ALL SELECT status, kind, index_uid, canceled_by, -1 FROM removed) changes
            GROUP BY 1, 2, 3, 4 HAVING sum(change) <> 0
            ON CONFLICT (status, kind, index_uid, canceled) DO UPDATE SET n = known.n + excluded.n;
        ELSE
            UPDATE miroir.counts known SET n = known.n - gone.n FROM (
                SELECT status, kind, index_uid, canceled_by IS NOT NULL AS canceled, count(*) AS n FROM removed
                GROUP BY 1, 2, 3, 4) gone
            WHERE known.status = gone.status AND known.kind = gone.kind
                AND known.index_uid IS NOT DISTINCT FROM gone.index_uid AND known.canceled = gone.canceled;
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER count_added AFTER INSERT ON miroir.tasks REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION miroir.count_tasks();
    CREATE TRIGGER count_changed AFTER UPDATE ON miroir.tasks REFERENCING NEW TABLE AS added OLD TABLE AS removed
        FOR EACH STATEMENT EXECUTE FUNCTION miroir.count_tasks();
    CREATE TRIGGER count_removed AFTER DELETE ON miroir.tasks REFERENCING OLD TABLE AS removed
        FOR EACH STATEMENT EXECUTE FUNCTION miroir.count_tasks();

    CREATE TABLE miroir.indexes (
        uid text COLLATE \"C\" PRIMARY KEY,
        entry text NOT NULL
    );

    CREATE TABLE miroir.stale (
        node text COLLATE \"C\" NOT NULL,
        index_uid text COLLATE \"C\" NOT NULL,
        shards text NOT NULL,
        PRIMARY KEY (node, index_uid)
    );

    CREATE TABLE miroir.keys (
        uid bytea PRIMARY KEY,
        key text NOT NULL
    );

    -- Tasks as they ended, for who is to be told of each. A place is never given twice: the last one is remembered.
    CREATE TABLE miroir.ends (
        place bigint PRIMARY KEY,
        task text NOT NULL
    );
    CREATE TABLE miroir.last_end (
        id integer PRIMARY KEY CHECK (id = 1),
        place bigint NOT NULL
    ) WITH (fillfactor = 50);
    INSERT INTO miroir.last_end VALUES (1, 0);
", "
    -- As miroir.counts, of every 8,192 uids, by which dates tasks have, too: so that dates, which grow with uids, are looked at in few places.
    -- All dates of a row lie between its bounds.
    CREATE TABLE miroir.blocks (
        block bigint NOT NULL,
        status text COLLATE \"C\" NOT NULL,
        kind text COLLATE \"C\" NOT NULL,
        index_uid text COLLATE \"C\",
        canceled boolean NOT NULL,
        started boolean NOT NULL,
        finished boolean NOT NULL,
        n bigint NOT NULL,
        enqueued_from bigint,
        enqueued_to bigint,
        started_from bigint,
        started_to bigint,
        finished_from bigint,
        finished_to bigint
    ) WITH (fillfactor = 50);
    CREATE UNIQUE INDEX blocks_by_group ON miroir.blocks
        (block, status, kind, index_uid, canceled, started, finished) NULLS NOT DISTINCT;
    INSERT INTO miroir.blocks
        SELECT uid >> 13, status, kind, index_uid, canceled_by IS NOT NULL, started_at IS NOT NULL, finished_at IS NOT NULL, count(*), min(enqueued_at), max(enqueued_at), min(started_at), max(started_at), min(finished_at), max(finished_at)
        FROM miroir.tasks GROUP BY 1, 2, 3, 4, 5, 6, 7;
    CREATE FUNCTION miroir.count_blocks() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO miroir.blocks AS known
            SELECT uid >> 13, status, kind, index_uid, canceled_by IS NOT NULL, started_at IS NOT NULL, finished_at IS NOT NULL, count(*), min(enqueued_at), max(enqueued_at), min(started_at), max(started_at), min(finished_at), max(finished_at)
            FROM added GROUP BY 1, 2, 3, 4, 5, 6, 7
            ON CONFLICT (block, status, kind, index_uid, canceled, started, finished) DO UPDATE SET
                n = known.n + excluded.n,
                enqueued_from = least(CASE WHEN known.n > 0 THEN known.enqueued_from END, excluded.enqueued_from),
                enqueued_to = greatest(CASE WHEN known.n > 0 THEN known.enqueued_to END, excluded.enqueued_to),
                started_from = least(CASE WHEN known.n > 0 THEN known.started_from END, excluded.started_from),
                started_to = greatest(CASE WHEN known.n > 0 THEN known.started_to END, excluded.started_to),
                finished_from = least(CASE WHEN known.n > 0 THEN known.finished_from END, excluded.finished_from),
                finished_to = greatest(CASE WHEN known.n > 0 THEN known.finished_to END, excluded.finished_to);
        ELSIF TG_OP = 'UPDATE' THEN
            INSERT INTO miroir.blocks AS known
            SELECT uid >> 13, status, kind, index_uid, canceled_by IS NOT NULL, started_at IS NOT NULL, finished_at IS NOT NULL, sum(change),
                min(enqueued_at) FILTER (WHERE change > 0), max(enqueued_at) FILTER (WHERE change > 0), min(started_at) FILTER (WHERE change > 0), max(started_at) FILTER (WHERE change > 0), min(finished_at) FILTER (WHERE change > 0), max(finished_at) FILTER (WHERE change > 0)
            FROM (
                SELECT uid, status, kind, index_uid, canceled_by, enqueued_at, started_at, finished_at, 1 AS change FROM added
                UNION ALL
                SELECT uid, status, kind, index_uid, canceled_by, enqueued_at, started_at, finished_at, -1 FROM removed) changes
            WHERE EXISTS (
                SELECT FROM added JOIN removed USING (uid) WHERE uid = changes.uid
                    AND (added.status, added.kind, added.index_uid, added.canceled_by, added.enqueued_at, added.started_at, added.finished_at)
                    IS DISTINCT FROM (removed.status, removed.kind, removed.index_uid, removed.canceled_by, removed.enqueued_at,
                        removed.started_at, removed.finished_at))
            GROUP BY 1, 2, 3, 4, 5, 6, 7
            ON CONFLICT (block, status, kind, index_uid, canceled, started, finished) DO UPDATE SET
                n = known.n + excluded.n,
                enqueued_from = least(CASE WHEN known.n > 0 THEN known.enqueued_from END, excluded.enqueued_from),
                enqueued_to = greatest(CASE WHEN known.n > 0 THEN known.enqueued_to END, excluded.enqueued_to),
                started_from = least(CASE WHEN known.n > 0 THEN known.started_from END, excluded.started_from),
                started_to = greatest(CASE WHEN known.n > 0 THEN known.started_to END, excluded.started_to),
                finished_from = least(CASE WHEN known.n > 0 THEN known.finished_from END, excluded.finished_from),
                finished_to = greatest(CASE WHEN known.n > 0 THEN known.finished_to END, excluded.finished_to);
        ELSE
            UPDATE miroir.blocks known SET n = known.n - gone.n FROM (
                SELECT uid >> 13 AS block, status, kind, index_uid, canceled_by IS NOT NULL AS canceled, started_at IS NOT NULL AS started, finished_at IS NOT NULL AS finished, count(*) AS n
                FROM removed GROUP BY 1, 2, 3, 4, 5, 6, 7) gone
            WHERE known.block = gone.block AND known.status = gone.status AND known.kind = gone.kind
                AND known.index_uid IS NOT DISTINCT FROM gone.index_uid AND known.canceled = gone.canceled
                AND known.started = gone.started AND known.finished = gone.finished;
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER count_added_blocks AFTER INSERT ON miroir.tasks REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION miroir.count_blocks();
    CREATE TRIGGER count_changed_blocks AFTER UPDATE ON miroir.tasks REFERENCING NEW TABLE AS added OLD TABLE AS removed
        FOR EACH STATEMENT EXECUTE FUNCTION miroir.count_blocks();
    CREATE TRIGGER count_removed_blocks AFTER DELETE ON miroir.tasks REFERENCING OLD TABLE AS removed
        FOR EACH STATEMENT EXECUTE FUNCTION miroir.count_blocks();
"];

/// All that a version has made, without the leader's row.
pub const EMPTY: &str = "
    TRUNCATE miroir.meta, miroir.tasks, miroir.counts, miroir.blocks, miroir.indexes, miroir.stale, miroir.keys, miroir.ends;
    UPDATE miroir.last_end SET place = 0";

const NEXT_UID: &str = "next_task_uid";

/// The newest version of the tables.
pub fn known() -> i64 {
    i64::try_from(STEPS.len()).expect("there are few steps")
}

/// Makes what is there before any version. Two gateways may do so at once, then one of them tries again.
pub async fn lay_foundation(client: &Client) -> Result<(), StoreError> {
    let there = Statement::plain(
        "SELECT to_regclass('miroir.members') IS NOT NULL AND to_regclass('miroir.leader') IS NOT NULL",
    );
    let is_there = there.run(client).await.is_ok_and(|rows| rows.first().is_some_and(|row| row.get(0)));
    if is_there {
        return Ok(());
    }
    let version = Statement::plain("SELECT current_setting('server_version_num')::bigint").run(client).await;
    let version = version.map_err(|error| StoreError::Postgres(chain(&error)))?;
    let version: i64 = version.first().map_or(0, |row| row.get(0));
    if version < OLDEST {
        let found = format!("PostgreSQL {} or newer is needed, found {}", OLDEST / 10_000, version / 10_000);
        return Err(StoreError::Postgres(found));
    }
    let mut tries = 0;
    while let Err(error) = client.batch_execute(FOUNDATION).await {
        let _ = client.batch_execute("ROLLBACK").await;
        tries += 1;
        if tries > 3 {
            return Err(StoreError::Postgres(chain(&error)));
        }
    }
    Ok(())
}

/// Brings the tables to the newest version, and makes sure that they belong to a cluster of `shards` shards, of as many as they have
/// where nobody says how many. Nothing is left of a state that lost its last commits, where that is to be emptied.
pub async fn prepare(
    client: &Client,
    claim: &mut Claim,
    shards: Option<u16>,
    when_lost: WhenLost,
) -> Result<(), StoreError> {
    let failed = |error: tokio_postgres::Error| StoreError::Postgres(chain(&error));
    client.batch_execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = '30s'").await.map_err(failed)?;
    let empty = match when_lost {
        WhenLost::Refuse => false,
        WhenLost::Empty => {
            let mend = "UPDATE miroir.leader SET lost = NULL WHERE id = 1 AND lost IS NOT NULL RETURNING 1";
            !Statement::plain(mend).run(client).await.map_err(failed)?.is_empty()
        }
    };
    let counted = claim.fence().run(client).await.map_err(failed)?;
    let Some(commits) = counted.first().map(|row| row.get(0)) else {
        client.batch_execute("ROLLBACK").await.map_err(failed)?;
        return Err(StoreError::Lost(claim.diagnose(client).await.map_err(failed)?));
    };
    let version =
        Statement::plain("SELECT schema FROM miroir.leader WHERE id = 1").run(client).await.map_err(failed)?;
    let found: i64 = version.first().map_or(0, |row| row.get(0));
    if found > known() {
        return Err(StoreError::Newer { found, known: known() });
    }
    for (version, step) in (1i64..).zip(STEPS).filter(|(version, _)| *version > found) {
        client.batch_execute(step).await.map_err(failed)?;
        let note = Statement::new("UPDATE miroir.leader SET schema = $1 WHERE id = 1", vec![version.into()]);
        note.run(client).await.map_err(failed)?;
    }
    if empty {
        client.batch_execute(EMPTY).await.map_err(failed)?;
    }
    let stored = text(&[get_meta(SHARDS).run(client).await.map_err(failed)?].into());
    match (stored.as_deref().map(number_of_shards).transpose()?, shards) {
        (None, shards) => {
            let shards = shards.unwrap_or(DEFAULT_SHARDS).to_string();
            drop(put_meta(SHARDS, &shards).run(client).await.map_err(failed)?);
        }
        (Some(stored), Some(configured)) if stored != configured => {
            return Err(StoreError::ShardsChanged { stored, configured });
        }
        (Some(_), Some(_) | None) => {}
    }
    client.batch_execute("COMMIT").await.map_err(failed)?;
    claim.commits = commits;
    Ok(())
}

/// The first column of the first row, if there is one.
pub fn text(replies: &Replies) -> Option<String> {
    replies.first().and_then(|rows| rows.first()).map(|row| row.get(0))
}

/// No row if no value of that name was ever put.
pub fn get_meta(name: &str) -> Statement {
    Statement::new("SELECT value FROM miroir.meta WHERE name = $1", vec![name.into()])
}

/// Takes the place of an older value.
pub fn put_meta(name: &str, value: &str) -> Statement {
    Statement::new(
        "INSERT INTO miroir.meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        vec![name.into(), value.into()],
    )
}

/// The first uid that no task ever had, be it deleted since.
pub fn next_task_uid() -> Statement {
    get_meta(NEXT_UID)
}

/// Reads what [`next_task_uid`] asks.
pub fn as_task_uid(replies: &Replies) -> Result<u32, StoreError> {
    match text(replies) {
        None => Ok(0),
        Some(next) => next.parse().map_err(|_| StoreError::Unknown { what: "task counter", value: next }),
    }
}

/// Remembers that `uid` was handed out.
pub fn use_task_uid(uid: u32) -> Statement {
    Statement::new(
        "INSERT INTO miroir.meta AS known (name, value) VALUES ($1, $2) ON CONFLICT (name)
         DO UPDATE SET value = excluded.value WHERE known.value::bigint < excluded.value::bigint",
        vec![NEXT_UID.into(), uid.saturating_add(1).to_string().into()],
    )
}

/// How much of the disk the tables take.
pub fn bytes() -> Statement {
    Statement::plain(
        "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
         WHERE relkind = 'r' AND relnamespace = 'miroir'::regnamespace",
    )
}
