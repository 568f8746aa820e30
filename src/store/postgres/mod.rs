//! State on a PostgreSQL server. Plain transactions only, none of whose statements has a name, so a pooler in transaction mode may
//! stand in between; and every commit is fenced by the leader's row.
//!
//! | module | what lives there |
//! |---|---|
//! | `address` | where the server is, without its password |
//! | `claim` | the leader's row |
//! | `group` | one try to carry out a group of commands |
//! | `lease` | the leader's row, renewed |
//! | `link` | a connection |
//! | `schema` | the tables, and the steps from one version of them to the next |
//! | `statement` | SQL with its values |
//! | `task_sql` | the table of tasks |
//! | `tls` | TLS towards the server |
//! | `worker` | a thread that owns a connection |

mod address;
mod claim;
mod group;
mod lease;
mod link;
mod schema;
mod statement;
mod task_sql;
mod tls;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};
use tokio_postgres::Row;

use super::leadership::{Candidate, Leadership, Loss, WhenLost};
use super::told::Told;
use super::{
    Durable, IndexChanges, IndexEntry, Store, StoreError, TaskFilter, TaskList, TaskPage, TaskRef, TaskTableStats,
};
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeId;
use crate::tasks::entry::MiroirTask;
pub use address::Address;
use address::chain;
use claim::{Claim, Seen};
use group::Role;
use lease::Lease;
use link::Link;
use statement::{Statement, Value};
use worker::{Ask, Frame, Patience, Replies, Then, Worker};

/// How often who waits for a lease looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The shared store: one thread writes, and commits what is queued together; another reads, so that a long list of tasks delays
/// no write.
pub struct PostgresStore {
    writer: Worker,
    reader: Worker,
    told: Told,
    /// Last, so that it is released after everything is committed.
    _lease: Arc<Lease>,
}

// === impl PostgresStore ===

impl PostgresStore {
    /// Takes the lease and brings the tables to the newest version. Blocks until it is held; an error where another gateway
    /// holds it and `candidate` is not to wait.
    pub fn open(
        address: Address,
        shards: u16,
        candidate: &Candidate,
    ) -> Result<(Self, Arc<dyn Leadership>), StoreError> {
        // On a thread of its own: a caller may be inside of another runtime.
        let (claim, taken) = std::thread::scope(|scope| {
            let taking = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map_err(StoreError::Thread)?.block_on(take(&address, shards, candidate))
            });
            taking.join().unwrap_or(Err(StoreError::Stopped))
        })?;
        let loss = Arc::new(watch::Sender::new(None));
        let name = &candidate.name;
        let lease = Lease::hold(address.clone(), claim.clone(), name, taken, Arc::clone(&loss))?;
        let writes = Role::Writes(claim);
        let store = Self {
            writer: Worker::spawn("miroir-state", address.clone(), writes, Arc::clone(&loss))?,
            reader: Worker::spawn("miroir-state-read", address, Role::Reads, loss)?,
            told: Told::default(),
            _lease: Arc::clone(&lease),
        };
        Ok((store, lease))
    }

    async fn change(&self, patience: Patience, statements: Vec<Statement>) -> Result<(), StoreError> {
        self.writer.call(Ask::new(patience, statements), |_| Ok(())).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        statements: Vec<Statement>,
        read: impl FnOnce(Replies) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reader.call(Ask::new(Patience::Bounded, statements), read).await
    }

    async fn rewrite(&self, task: MiroirTask, more: Option<(Statement, Then)>) -> Result<(), StoreError> {
        let mut ask = Ask::new(Patience::UntilBack, vec![task_sql::update(&task, self.told.keeps_ends())?]);
        if let Some((first, then)) = more {
            ask.statements.push(first);
            ask.then = Some(then);
        }
        let written = self.writer.call(ask, move |replies| {
            let ended = task_sql::has_ended(&task, &replies);
            Ok((task, ended))
        });
        let (task, ended) = written.await?;
        self.told.tell(task, ended);
        Ok(())
    }

    async fn begin(&self, task: MiroirTask, mut statements: Vec<Statement>) -> Result<(), StoreError> {
        statements.extend(task_sql::insert(&task, self.told.keeps_ends())?);
        self.change(Patience::Bounded, statements).await?;
        let ended = task.status.is_final();
        self.told.tell(task, ended);
        Ok(())
    }

    /// Deletes until less than what is deleted at once is left.
    async fn delete(&self, deletion: Statement) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            let ask = Ask::new(Patience::UntilBack, vec![deletion.clone()]);
            let deleted = self
                .writer
                .call(ask, |replies| Ok(number(replies.first().map(Vec::as_slice).unwrap_or_default())))
                .await?;
            total += deleted;
            if i64::try_from(deleted).is_ok_and(|deleted| deleted < task_sql::DELETED_AT_ONCE) {
                return Ok(total);
            }
        }
    }
}

/// Waits for the lease and takes it; the tables are at their newest version then. With the moment before it was taken.
async fn take(address: &Address, shards: u16, candidate: &Candidate) -> Result<(Claim, Duration), StoreError> {
    let failed = |error: tokio_postgres::Error| StoreError::Postgres(chain(&error));
    let link = Link::connect(address).await.map_err(StoreError::Away)?;
    schema::lay_foundation(&link.client).await?;
    // A lease that is renewed while one looks belongs to somebody who lives.
    let mut first: Option<String> = None;
    let (mut claim, empty, taken) = loop {
        let seen = Seen::look(&link.client).await.map_err(failed)?;
        let seen = seen.ok_or_else(|| StoreError::Postgres("the leader's row is gone".to_owned()))?;
        if seen.schema > schema::known() {
            return Err(StoreError::Newer { found: seen.schema, known: schema::known() });
        }
        let empty = match (seen.lost, candidate.when_lost) {
            (Some(why), WhenLost::Refuse) => return Err(StoreError::Lost(Loss::Tail { why })),
            (Some(_), WhenLost::Empty) => true,
            (None, WhenLost::Refuse | WhenLost::Empty) => false,
        };
        let taken = lease::since_start();
        let claim = Claim::take(&link.client, &candidate.name, link.system.clone()).await.map_err(failed)?;
        if let Some(claim) = claim {
            break (claim, empty, taken);
        }
        match &first {
            None => {
                tracing::info!(leader = %seen.name, seconds = seen.left, "waiting for the end of the leader's lease");
                first = Some(seen.expires_at);
            }
            Some(first) if *first != seen.expires_at => candidate.when_led.may_wait(&seen.name)?,
            Some(_) => {}
        }
        for statement in lease::membership(&format!("waits:{}", candidate.name), &candidate.name) {
            statement.run(&link.client).await.map_err(failed)?;
        }
        tokio::time::sleep(LOOK_EVERY.min(Duration::from_secs_f64(seen.left.clamp(0.01, 1.0)))).await;
    };
    let prepared = schema::prepare(&link.client, &mut claim, shards, empty).await;
    let _ = lease::leave(&format!("waits:{}", candidate.name)).run(&link.client).await;
    if prepared.is_err() {
        // For whoever can.
        let _ = link.client.batch_execute("ROLLBACK").await;
        let _ = claim.release().run(&link.client).await;
    }
    prepared.map(|()| (claim, taken))
}

fn corrupt(what: &'static str) -> impl Fn(serde_json::Error) -> StoreError {
    move |source| StoreError::Corrupt { what, source }
}

/// Writes an entry of the registry, or removes it.
fn write_index(uid: &str, entry: Option<&IndexEntry>) -> Result<Statement, StoreError> {
    let Some(entry) = entry else {
        return Ok(Statement::new("DELETE FROM miroir.indexes WHERE uid = $1", vec![uid.into()]));
    };
    let json = serde_json::to_string(entry).map_err(corrupt("index"))?;
    Ok(Statement::new(
        "INSERT INTO miroir.indexes (uid, entry) VALUES ($1, $2) ON CONFLICT (uid) DO UPDATE SET entry = excluded.entry",
        vec![uid.into(), json.into()],
    ))
}

/// The first column of each row of the first answer, read as JSON.
fn json_rows<T: serde::de::DeserializeOwned>(replies: &Replies, what: &'static str) -> Result<Vec<T>, StoreError> {
    let rows = replies.iter().take(1).flatten();
    rows.map(|row| serde_json::from_str(row.get(0)).map_err(corrupt(what))).collect()
}

/// The first column of the first row.
fn number(rows: &[Row]) -> u64 {
    rows.first().and_then(|row| u64::try_from(row.get::<_, i64>(0)).ok()).unwrap_or(0)
}

/// No greater number is known there.
fn as_sql(place: u64) -> Value {
    i64::try_from(place).unwrap_or(i64::MAX).into()
}

#[async_trait]
impl Store for PostgresStore {
    async fn next_task_uid(&self) -> Result<u32, StoreError> {
        self.ask(vec![schema::next_task_uid()], |replies| schema::as_task_uid(&replies)).await
    }

    async fn insert_task(&self, task: MiroirTask) -> Result<(), StoreError> {
        self.begin(task, Vec::new()).await
    }

    async fn begin_write(&self, task: MiroirTask, indexes: IndexChanges) -> Result<Durable, StoreError> {
        let uid = task.uid;
        let entries: Result<_, _> = indexes.iter().map(|(uid, entry)| write_index(uid, entry.as_ref())).collect();
        self.begin(task, entries?).await.map(|()| Durable { uid })
    }

    async fn update_task(&self, task: MiroirTask) -> Result<(), StoreError> {
        self.rewrite(task, None).await
    }

    async fn finish_task(&self, task: MiroirTask, swaps: Vec<(String, String)>) -> Result<(), StoreError> {
        let follow = (!swaps.is_empty()).then(|| task_sql::older_follow(task.uid, swaps));
        self.rewrite(task, follow).await
    }

    fn ended_tasks(&self) -> broadcast::Receiver<Arc<MiroirTask>> {
        self.told.ended()
    }

    fn changed_tasks(&self) -> broadcast::Receiver<Arc<MiroirTask>> {
        self.told.changed()
    }

    async fn compact(&self) -> Result<(u64, u64), StoreError> {
        let tables = ["tasks", "ends", "meta", "indexes", "stale", "keys"];
        let mut statements = vec![schema::bytes()];
        statements.extend(tables.map(|table| Statement::plain(&format!("VACUUM FULL miroir.{table}"))));
        statements.push(schema::bytes());
        let ask = Ask { frame: Frame::Alone, ..Ask::new(Patience::Bounded, statements) };
        self.writer
            .call(ask, |replies| {
                let first = |rows: Option<&Vec<Row>>| number(rows.map(Vec::as_slice).unwrap_or_default());
                Ok((first(replies.first()), first(replies.last())))
            })
            .await
    }

    fn keep_ends(&self, keep: bool) {
        self.told.keep_ends(keep);
    }

    async fn last_end(&self) -> Result<u64, StoreError> {
        // By the writer: what it has queued may be an end.
        let last = Statement::plain("SELECT place FROM miroir.last_end");
        self.writer
            .call(Ask::new(Patience::Bounded, vec![last]), |replies| {
                Ok(number(replies.first().map(Vec::as_slice).unwrap_or_default()))
            })
            .await
    }

    async fn ends_after(&self, place: u64, limit: u32) -> Result<Vec<(u64, MiroirTask)>, StoreError> {
        let select = Statement::new(
            "SELECT place, task FROM miroir.ends WHERE place > $1 ORDER BY place LIMIT $2",
            vec![as_sql(place), i64::from(limit).into()],
        );
        self.ask(vec![select], |replies| {
            let mut ends = Vec::new();
            for row in replies.iter().flatten() {
                let task = serde_json::from_str(row.get(1)).map_err(corrupt("task"))?;
                ends.push((u64::try_from(row.get::<_, i64>(0)).unwrap_or(0), task));
            }
            Ok(ends)
        })
        .await
    }

    async fn forget_ends(&self, place: u64) -> Result<(), StoreError> {
        let forget = Statement::new("DELETE FROM miroir.ends WHERE place <= $1", vec![as_sql(place)]);
        self.change(Patience::UntilBack, vec![forget]).await
    }

    async fn get_task(&self, id: TaskRef) -> Result<Option<MiroirTask>, StoreError> {
        self.ask(vec![task_sql::get(id)], |replies| {
            let rows = replies.first().map(Vec::as_slice).unwrap_or_default();
            Ok(task_sql::tasks(rows)?.pop())
        })
        .await
    }

    async fn list_tasks(&self, page: TaskPage) -> Result<TaskList, StoreError> {
        self.ask(task_sql::list(&page), move |replies| task_sql::as_list(&replies, page.limit)).await
    }

    async fn task_uids(&self, filter: TaskFilter) -> Result<Vec<u32>, StoreError> {
        self.ask(vec![task_sql::uids(&filter)], |replies| {
            let uids = replies.iter().flatten().map(|row| u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX));
            Ok(uids.collect())
        })
        .await
    }

    async fn unfinished_tasks(&self) -> Result<Vec<MiroirTask>, StoreError> {
        self.ask(vec![task_sql::unfinished()], |replies| {
            task_sql::tasks(replies.first().map(Vec::as_slice).unwrap_or_default())
        })
        .await
    }

    async fn delete_tasks(&self, filter: TaskFilter) -> Result<u64, StoreError> {
        self.delete(task_sql::delete(&filter)).await
    }

    async fn remove_task(&self, uid: u32) -> Result<(), StoreError> {
        self.change(Patience::UntilBack, vec![task_sql::remove(uid)]).await
    }

    async fn purge_tasks(&self, cutoff: time::OffsetDateTime) -> Result<u64, StoreError> {
        self.delete(task_sql::purge(cutoff)).await
    }

    async fn task_stats(&self) -> Result<TaskTableStats, StoreError> {
        self.ask(task_sql::stats(), |replies| Ok(task_sql::as_stats(&replies))).await
    }

    async fn indexes(&self) -> Result<Vec<IndexEntry>, StoreError> {
        let select = Statement::plain("SELECT entry FROM miroir.indexes ORDER BY uid");
        self.ask(vec![select], |replies| json_rows(&replies, "index")).await
    }

    async fn put_index(&self, entry: IndexEntry) -> Result<(), StoreError> {
        self.change(Patience::UntilBack, vec![write_index(&entry.uid, Some(&entry))?]).await
    }

    async fn delete_index(&self, uid: String) -> Result<(), StoreError> {
        self.change(Patience::UntilBack, vec![write_index(&uid, None)?]).await
    }

    async fn stale(&self) -> Result<Vec<(NodeId, String, ShardSet)>, StoreError> {
        let select = Statement::plain("SELECT node, index_uid, shards FROM miroir.stale");
        self.ask(vec![select], |replies| {
            let mut sets = Vec::new();
            for row in replies.iter().flatten() {
                let shards = serde_json::from_str(row.get(2)).map_err(corrupt("stale set"))?;
                sets.push((NodeId::new(row.get(0)), row.get(1), shards));
            }
            Ok(sets)
        })
        .await
    }

    async fn put_stale(&self, node: NodeId, index: String, shards: ShardSet) -> Result<(), StoreError> {
        let of = vec![node.as_str().into(), index.into()];
        let put = if shards.is_empty() {
            Statement::new("DELETE FROM miroir.stale WHERE node = $1 AND index_uid = $2", of)
        } else {
            let json = serde_json::to_string(&shards).map_err(corrupt("stale set"))?;
            Statement::new(
                "INSERT INTO miroir.stale (node, index_uid, shards) VALUES ($1, $2, $3)
                 ON CONFLICT (node, index_uid) DO UPDATE SET shards = excluded.shards",
                of.into_iter().chain([json.into()]).collect(),
            )
        };
        self.change(Patience::UntilBack, vec![put]).await
    }

    async fn keys(&self) -> Result<Vec<serde_json::Value>, StoreError> {
        let select = Statement::plain("SELECT key FROM miroir.keys ORDER BY uid");
        self.ask(vec![select], |replies| json_rows(&replies, "key")).await
    }

    async fn put_key(&self, uid: uuid::Uuid, key: serde_json::Value) -> Result<(), StoreError> {
        let put = Statement::new(
            "INSERT INTO miroir.keys (uid, key) VALUES ($1, $2) ON CONFLICT (uid) DO UPDATE SET key = excluded.key",
            vec![Value::Bytes(uid.as_bytes().to_vec()), key.to_string().into()],
        );
        self.change(Patience::Bounded, vec![put]).await
    }

    async fn delete_key(&self, uid: uuid::Uuid) -> Result<(), StoreError> {
        let uid = Value::Bytes(uid.as_bytes().to_vec());
        let delete = Statement::new("DELETE FROM miroir.keys WHERE uid = $1", vec![uid]);
        self.change(Patience::Bounded, vec![delete]).await
    }

    async fn get_meta(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        self.ask(vec![schema::get_meta(name)], |replies| Ok(schema::text(&replies))).await
    }

    async fn put_meta(&self, name: &'static str, value: String) -> Result<(), StoreError> {
        self.change(Patience::UntilBack, vec![schema::put_meta(name, &value)]).await
    }
}
