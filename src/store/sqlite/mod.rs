//! State in an SQLite file.
//!
//! | module | what lives there |
//! |---|---|
//! | `ends` | the ends of tasks that somebody is to be told of |
//! | [`rows`] | a state file as rows |
//! | `schema` | the tables of the state file, and the steps from one version of them to the next |
//! | `task_blocks` | filters of tasks by blocks of uids |
//! | `task_sql` | the table of tasks |
//! | `worker` | a thread that owns a connection |

mod ends;
pub mod rows;
mod schema;
mod task_blocks;
mod task_sql;
mod worker;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, params};
use tokio::sync::broadcast;

use super::open_tasks::OpenTasks;
use super::told::Told;
use super::{
    Durable, IndexChanges, IndexEntry, Store, StoreError, TaskFilter, TaskList, TaskPage, TaskRef, TaskTableStats,
};
use crate::meili::task::TaskKind;
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeId;
use crate::tasks::entry::MiroirTask;
use worker::Worker;

/// The default store: one thread writes, commits what is queued together, and answers when it is on disk; another
/// reads, so that a long list of tasks delays no write.
pub struct SqliteStore {
    writer: Worker,
    /// `None` in memory, where a second connection would see another database.
    reader: Option<Worker>,
    told: Told,
    open: Arc<OpenTasks>,
}

// === impl SqliteStore ===

impl SqliteStore {
    /// Opens `sqlite:PATH`, a plain path, or `:memory:`; makes the file and its folder where they are missing. A file that is
    /// there must be of a cluster of `shards` shards; without, it goes on with as many as it has, and a new one has the default.
    pub fn open(path: &str, shards: impl Into<Option<u16>>) -> Result<Self, StoreError> {
        let path = path.strip_prefix("sqlite:").unwrap_or(path);
        let in_memory = path == ":memory:";
        if !in_memory {
            make_folder(path)?;
        }
        let opening = |source| StoreError::Open { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(opening)?;
        configure(&connection).map_err(opening)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(opening)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(opening)?;
        schema::prepare(&mut connection, shards.into())?;
        let open = Arc::new(OpenTasks::new(&task_sql::unfinished(&connection)?));
        let reader = if in_memory {
            None
        } else {
            let reading = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(opening)?;
            configure(&reading).map_err(opening)?;
            Some(Worker::spawn("miroir-state-read", reading)?)
        };
        Ok(Self { writer: Worker::spawn("miroir-state", connection)?, reader, told: Told::default(), open })
    }

    /// Writes a row; `write` says whether the task has ended with it.
    async fn write_task(
        &self,
        task: MiroirTask,
        write: impl FnOnce(&Connection, &MiroirTask) -> Result<bool, StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let keep = self.told.keeps_ends();
        let open = Arc::clone(&self.open);
        let written = self.writer.call(move |connection| {
            let ended = write(connection, &task)?;
            if ended {
                open.end(task.uid);
            }
            if ended && keep {
                ends::keep(connection, &task)?;
            }
            Ok((task, ended))
        });
        let (task, ended) = written.await?;
        self.told.tell(task, ended);
        Ok(())
    }

    /// Writes the first row of a task.
    async fn begin_task(&self, task: MiroirTask, indexes: IndexChanges) -> Result<(), StoreError> {
        let uid = task.uid;
        self.open.begin(&task);
        let written = self.write_task(task, move |connection, task| {
            for (uid, entry) in &indexes {
                write_index(connection, uid, entry.as_ref())?;
            }
            task_sql::insert(connection, task).map(|()| task.status.is_final())
        });
        written.await.inspect_err(|_| self.open.end(uid))
    }

    fn reader(&self) -> &Worker {
        self.reader.as_ref().unwrap_or(&self.writer)
    }
}

fn make_folder(path: &str) -> Result<(), StoreError> {
    match Path::new(path).parent() {
        Some(folder) if !folder.as_os_str().is_empty() => {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "foreign_keys", "ON")
}

fn corrupt(what: &'static str) -> impl Fn(serde_json::Error) -> StoreError {
    move |source| StoreError::Corrupt { what, source }
}

/// Writes an entry of the registry, or removes it.
fn write_index(connection: &Connection, uid: &str, entry: Option<&IndexEntry>) -> Result<(), StoreError> {
    let Some(entry) = entry else {
        connection.prepare_cached("DELETE FROM indexes WHERE uid = ?")?.execute([uid])?;
        return Ok(());
    };
    let json = serde_json::to_string(entry).map_err(corrupt("index"))?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO indexes (uid, entry) VALUES (?, ?)")?
        .execute([uid, json.as_str()])?;
    Ok(())
}

/// The single text column of each row of `sql`, read as JSON.
fn json_rows<T: serde::de::DeserializeOwned>(
    connection: &Connection,
    sql: &str,
    what: &'static str,
) -> Result<Vec<T>, StoreError> {
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query([])?;
    let mut values = Vec::new();
    while let Some(row) = rows.next()? {
        let json: String = row.get(0)?;
        values.push(serde_json::from_str(&json).map_err(corrupt(what))?);
    }
    Ok(values)
}

#[async_trait]
impl Store for SqliteStore {
    async fn next_task_uid(&self) -> Result<u32, StoreError> {
        self.reader().call(schema::next_task_uid).await
    }

    async fn insert_task(&self, task: MiroirTask) -> Result<(), StoreError> {
        self.begin_task(task, IndexChanges::new()).await
    }

    async fn begin_write(&self, task: MiroirTask, indexes: IndexChanges) -> Result<Durable, StoreError> {
        let uid = task.uid;
        self.begin_task(task, indexes).await.map(|()| Durable { uid })
    }

    async fn update_task(&self, task: MiroirTask) -> Result<(), StoreError> {
        self.write_task(task, task_sql::update).await
    }

    async fn finish_task(&self, task: MiroirTask, swaps: Vec<(String, String)>) -> Result<(), StoreError> {
        let open = Arc::clone(&self.open);
        let finish = move |connection: &Connection, task: &MiroirTask| {
            let ended = task_sql::finish(connection, task, &swaps)?;
            // While the swap is open it concerns either name.
            open.follow(task.uid, if ended { &swaps } else { &[] });
            Ok(ended)
        };
        self.write_task(task, finish).await
    }

    fn ended_tasks(&self) -> broadcast::Receiver<Arc<MiroirTask>> {
        self.told.ended()
    }

    fn changed_tasks(&self) -> broadcast::Receiver<Arc<MiroirTask>> {
        self.told.changed()
    }

    async fn compact(&self) -> Result<(u64, u64), StoreError> {
        self.writer
            .call_alone(|connection| {
                let before = schema::bytes(connection)?;
                connection.execute_batch("VACUUM")?;
                // What is freed goes back to the disk now, unless somebody still reads what was there before: then later.
                let _busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
                Ok((before, schema::bytes(connection)?))
            })
            .await
    }

    fn keep_ends(&self, keep: bool) {
        self.told.keep_ends(keep);
    }

    async fn last_end(&self) -> Result<u64, StoreError> {
        // By the writer: what it has queued may be an end.
        self.writer.call(ends::last).await
    }

    async fn ends_after(&self, place: u64, limit: u32) -> Result<Vec<(u64, MiroirTask)>, StoreError> {
        self.reader().call(move |connection| ends::after(connection, place, limit)).await
    }

    async fn forget_ends(&self, place: u64) -> Result<(), StoreError> {
        self.writer.call(move |connection| ends::forget(connection, place)).await
    }

    async fn get_task(&self, id: TaskRef) -> Result<Option<MiroirTask>, StoreError> {
        self.reader().call(move |connection| task_sql::get(connection, id)).await
    }

    async fn list_tasks(&self, page: TaskPage) -> Result<TaskList, StoreError> {
        self.reader().call(move |connection| task_sql::list(connection, &page)).await
    }

    async fn task_uids(&self, filter: TaskFilter) -> Result<Vec<u32>, StoreError> {
        self.reader().call(move |connection| task_sql::uids(connection, &filter)).await
    }

    async fn unfinished_tasks(&self) -> Result<Vec<MiroirTask>, StoreError> {
        self.reader().call(task_sql::unfinished).await
    }

    async fn delete_tasks(&self, filter: TaskFilter) -> Result<u64, StoreError> {
        self.writer.call(move |connection| task_sql::delete(connection, &filter)).await
    }

    async fn remove_task(&self, uid: u32) -> Result<(), StoreError> {
        self.writer.call(move |connection| task_sql::remove(connection, uid)).await?;
        self.open.end(uid);
        Ok(())
    }

    fn has_open_tasks(&self, index: &str, kinds: Option<&[TaskKind]>) -> bool {
        self.open.has(index, kinds)
    }

    async fn purge_tasks(&self, cutoff: time::OffsetDateTime) -> Result<u64, StoreError> {
        self.writer.call(move |connection| task_sql::purge(connection, cutoff)).await
    }

    async fn task_stats(&self) -> Result<TaskTableStats, StoreError> {
        self.reader().call(task_sql::stats).await
    }

    async fn indexes(&self) -> Result<Vec<IndexEntry>, StoreError> {
        self.reader().call(|connection| json_rows(connection, "SELECT entry FROM indexes ORDER BY uid", "index")).await
    }

    async fn put_index(&self, entry: IndexEntry) -> Result<(), StoreError> {
        self.writer.call(move |connection| write_index(connection, &entry.uid, Some(&entry))).await
    }

    async fn delete_index(&self, uid: String) -> Result<(), StoreError> {
        self.writer.call(move |connection| write_index(connection, &uid, None)).await
    }

    async fn stale(&self) -> Result<Vec<(NodeId, String, ShardSet)>, StoreError> {
        self.reader()
            .call(|connection| {
                let mut select = connection.prepare_cached("SELECT node, index_uid, shards FROM stale")?;
                let mut rows = select.query([])?;
                let mut sets = Vec::new();
                while let Some(row) = rows.next()? {
                    let node: String = row.get(0)?;
                    let shards: String = row.get(2)?;
                    let shards = serde_json::from_str(&shards).map_err(corrupt("stale set"))?;
                    sets.push((NodeId::new(&node), row.get(1)?, shards));
                }
                Ok(sets)
            })
            .await
    }

    async fn put_stale(&self, node: NodeId, index: String, shards: ShardSet) -> Result<(), StoreError> {
        let json = serde_json::to_string(&shards).map_err(corrupt("stale set"))?;
        self.writer
            .call(move |connection| {
                if shards.is_empty() {
                    connection
                        .prepare_cached("DELETE FROM stale WHERE node = ? AND index_uid = ?")?
                        .execute([node.as_str(), &index])?;
                } else {
                    connection
                        .prepare_cached("INSERT OR REPLACE INTO stale (node, index_uid, shards) VALUES (?, ?, ?)")?
                        .execute([node.as_str(), &index, &json])?;
                }
                Ok(())
            })
            .await
    }

    async fn keys(&self) -> Result<Vec<serde_json::Value>, StoreError> {
        self.reader().call(|connection| json_rows(connection, "SELECT key FROM keys ORDER BY uid", "key")).await
    }

    async fn put_key(&self, uid: uuid::Uuid, key: serde_json::Value) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO keys (uid, key) VALUES (?, ?)")?
                    .execute(params![uid.as_bytes().as_slice(), key.to_string()])?;
                Ok(())
            })
            .await
    }

    async fn delete_key(&self, uid: uuid::Uuid) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| {
                connection.prepare_cached("DELETE FROM keys WHERE uid = ?")?.execute([uid.as_bytes().as_slice()])?;
                Ok(())
            })
            .await
    }

    async fn get_meta(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        self.reader().call(move |connection| schema::get_meta(connection, name)).await
    }

    async fn put_meta(&self, name: &'static str, value: String) -> Result<(), StoreError> {
        self.writer.call(move |connection| schema::put_meta(connection, name, &value)).await
    }
}
