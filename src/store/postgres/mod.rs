//! State on a PostgreSQL server. Plain transactions only, none of whose statements has a name, so a pooler in transaction mode may
//! stand in between; and every commit is fenced by the leader's row.
//!
//! | module | what lives there |
//! |---|---|
//! | `address` | where the server is, without its password |
//! | `claim` | the leader's row |
//! | `group` | one try to carry out a group of commands |
//! | `keeper` | the thread that keeps the lease, or waits for it |
//! | `known` | what is known of the lease, by all threads that go by it |
//! | `link` | a connection |
//! | `rows` | the tables as rows |
//! | `schema` | the tables, and the steps from one version of them to the next |
//! | `seat` | a gateway's seat at the database |
//! | `statement` | SQL with its values |
//! | `task_dates` | filters of tasks by dates |
//! | `task_filter` | filters and pages of tasks |
//! | `task_sql` | the table of tasks |
//! | `tls` | TLS towards the server |
//! | `worker` | a thread that owns a connection |

mod address;
mod claim;
mod group;
mod keeper;
mod known;
mod link;
mod rows;
mod schema;
mod seat;
mod statement;
mod task_dates;
mod task_filter;
mod task_sql;
mod tls;
mod worker;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio_postgres::Row;

use super::leadership::WhenLost;
use super::open_tasks::OpenTasks;
use super::told::Told;
use super::{
    Durable, IndexChanges, IndexEntry, Store, StoreError, TaskFilter, TaskList, TaskPage, TaskRef, TaskTableStats,
};
use crate::meili::task::TaskKind;
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeId;
use crate::tasks::entry::MiroirTask;
pub use address::Address;
use address::chain;
use claim::Claim;
use group::Role;
use link::Link;
pub use rows::ServerRows;
pub use seat::Seat;
use statement::{Replies, Statement, Value};
use worker::{Ask, Frame, Patience, Wants, Worker};

/// The shared store: one thread writes, and commits what is queued together; another reads, so that a long list of tasks delays
/// no write.
pub struct PostgresStore {
    writer: Worker,
    reader: Worker,
    told: Told,
    open: Arc<OpenTasks>,
    /// Last, so that it is given up after everything is committed.
    _seat: Arc<Seat>,
}

// === impl PostgresStore ===

impl PostgresStore {
    /// The state of a cluster of `shards` shards, of as many as it has where nobody says how many. Blocks until `seat` leads, and brings
    /// the tables to the newest version then.
    pub fn open(
        address: Address,
        shards: Option<u16>,
        seat: Arc<Seat>,
        when_lost: WhenLost,
    ) -> Result<Self, StoreError> {
        let claim = seat.lead()?;
        let (claim, unfinished) = on_a_thread(|| prepare(&address, claim, shards, when_lost))?;
        let known = &seat.known;
        Ok(Self {
            writer: Worker::spawn("miroir-state", address.clone(), Role::Writes(claim), Arc::clone(known))?,
            reader: Worker::spawn("miroir-state-read", address, Role::Reads, Arc::clone(known))?,
            told: Told::default(),
            open: Arc::new(OpenTasks::new(&unfinished)),
            _seat: seat,
        })
    }

    async fn change(&self, patience: Patience, statements: Vec<Statement>) -> Result<(), StoreError> {
        self.writer.call(Ask { wants: Wants::Nothing, ..Ask::new(patience, statements) }, |_| Ok(())).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        statements: Vec<Statement>,
        read: impl FnOnce(Replies) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reader.call(Ask::new(Patience::Bounded, statements), read).await
    }

    /// Writes a row anew. Where the task has ended with it, rows of older tasks follow the indexes that it has swapped.
    async fn rewrite(&self, task: MiroirTask, swaps: Vec<(String, String)>) -> Result<(), StoreError> {
        let mut ask = Ask::new(Patience::UntilBack, vec![task_sql::update(&task, self.told.keeps_ends())?]);
        // Whether it was open is known here as well.
        ask.wants = Wants::Nothing;
        if !swaps.is_empty() {
            let (first, then) = task_sql::older_follow(task.uid, swaps.clone());
            ask.statements.push(first);
            ask.then = Some(then);
        }
        let open = Arc::clone(&self.open);
        // Also where nobody waits for it any more.
        let written = self.writer.call(ask, move |_| {
            let ended = task.status.is_final() && open.is_open(task.uid);
            if ended {
                // While the swap is open it concerns either name.
                open.follow(task.uid, &swaps);
                open.end(task.uid);
            }
            Ok((task, ended))
        });
        let (task, ended) = written.await?;
        self.told.tell(task, ended);
        Ok(())
    }

    async fn begin(&self, task: MiroirTask, mut statements: Vec<Statement>) -> Result<(), StoreError> {
        statements.extend(task_sql::insert(&task, self.told.keeps_ends())?);
        self.open.begin(&task);
        let written = self.change(Patience::Bounded, statements).await;
        written.inspect_err(|_| self.open.end(task.uid))?;
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

/// Carries `work` out on a runtime of its own: a caller may be inside of another.
fn on_a_thread<T: Send, F: Future<Output = Result<T, StoreError>>>(
    work: impl FnOnce() -> F + Send,
) -> Result<T, StoreError> {
    std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(StoreError::Thread)?.block_on(work())
        });
        working.join().unwrap_or(Err(StoreError::Stopped))
    })
}

/// The tables at their newest version, and the tasks in them that have not ended.
async fn prepare(
    address: &Address,
    mut claim: Claim,
    shards: Option<u16>,
    when_lost: WhenLost,
) -> Result<(Claim, Vec<MiroirTask>), StoreError> {
    let link = Link::connect(address).await.map_err(StoreError::Away)?;
    claim.is_at(link.system.as_ref())?;
    schema::prepare(&link.client, &mut claim, shards, when_lost).await?;
    let rows = task_sql::unfinished().run(&link.client).await;
    let rows = rows.map_err(|error| StoreError::Postgres(chain(&error)))?;
    Ok((claim, task_sql::tasks(&rows)?))
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
        self.rewrite(task, Vec::new()).await
    }

    async fn finish_task(&self, task: MiroirTask, swaps: Vec<(String, String)>) -> Result<(), StoreError> {
        self.rewrite(task, swaps).await
    }

    fn ended_tasks(&self) -> broadcast::Receiver<Arc<MiroirTask>> {
        self.told.ended()
    }

    fn changed_tasks(&self) -> broadcast::Receiver<Arc<MiroirTask>> {
        self.told.changed()
    }

    async fn compact(&self) -> Result<(u64, u64), StoreError> {
        let tables = ["tasks", "counts", "blocks", "ends", "meta", "indexes", "stale", "keys"];
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
        self.ask(task_filter::list(&page), move |replies| task_sql::as_list(&replies, page.limit)).await
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
        self.change(Patience::UntilBack, vec![task_sql::remove(uid)]).await?;
        self.open.end(uid);
        Ok(())
    }

    fn has_open_tasks(&self, index: &str, kinds: Option<&[TaskKind]>) -> bool {
        self.open.has(index, kinds)
    }

    async fn purge_tasks(&self, cutoff: time::OffsetDateTime) -> Result<u64, StoreError> {
        let purged = self.delete(task_sql::purge(cutoff)).await?;
        self.change(Patience::UntilBack, task_sql::forget_groups().into()).await?;
        Ok(purged)
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
