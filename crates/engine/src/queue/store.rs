//! The queue's rows in SQLite: a task that was accepted is on disk before its client hears of it.

use std::collections::HashSet;
use std::path::Path;

use miroir_words::task::{TaskKind, TaskStatus};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params, params_from_iter};
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;

use super::filter::{TaskFilter, TaskPage, nanoseconds};
use super::task::{Task, TaskContent, TaskEnd};

/// Why the queue's file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("the task queue's file failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the task queue's file has a row that cannot be read: {0}")]
    Row(#[from] serde_json::Error),
}

/// The file of tasks.
pub struct TaskStore {
    /// The one connection that writes; each commit is synced.
    writer: Mutex<Connection>,
    /// Reads beside the writer, so that asking for a task never waits for a disk.
    reader: Mutex<Connection>,
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS tasks (
        uid INTEGER PRIMARY KEY,
        batch_uid INTEGER,
        index_uid TEXT,
        status TEXT NOT NULL,
        kind TEXT NOT NULL,
        canceled_by INTEGER,
        details TEXT,
        error TEXT,
        enqueued_at INTEGER NOT NULL,
        started_at INTEGER,
        finished_at INTEGER,
        custom_metadata TEXT,
        resumed INTEGER NOT NULL DEFAULT 0,
        note TEXT,
        content TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS tasks_status ON tasks (status, uid);
    CREATE INDEX IF NOT EXISTS tasks_index ON tasks (index_uid, uid);
    CREATE INDEX IF NOT EXISTS tasks_batch ON tasks (batch_uid);
";

const COLUMNS: &str = "uid, batch_uid, index_uid, status, canceled_by, details, error, enqueued_at, started_at, \
                       finished_at, custom_metadata, resumed, content";

// === impl TaskStore ===

impl TaskStore {
    /// Opens the file. Tasks that were running when the last run of the node ended wait again, marked as resumed.
    pub fn open(path: &Path) -> Result<Self, QueueError> {
        let writer = Connection::open(path)?;
        writer.pragma_update(None, "journal_mode", "WAL")?;
        writer.pragma_update(None, "synchronous", "FULL")?;
        writer.execute_batch(SCHEMA)?;
        let reader = Connection::open(path)?;
        reader.pragma_update(None, "query_only", true)?;
        let store = Self { writer: Mutex::new(writer), reader: Mutex::new(reader) };
        store.resume()?;
        Ok(store)
    }

    /// Lets tasks wait again, marked as resumed, whose run was broken off: by the end of the process, or because what became
    /// of them could not be stored.
    pub fn resume(&self) -> Result<(), QueueError> {
        self.writer.lock().execute(
            "UPDATE tasks SET status = 'enqueued', batch_uid = NULL, started_at = NULL, resumed = 1
             WHERE status = 'processing'",
            [],
        )?;
        Ok(())
    }

    /// Payloads that unfinished tasks wait for.
    pub fn needed_payloads(&self) -> Result<HashSet<String>, QueueError> {
        let reader = self.reader.lock();
        let mut statement = reader.prepare("SELECT content FROM tasks WHERE status IN ('enqueued', 'processing')")?;
        let mut rows = statement.query([])?;
        let mut payloads = HashSet::new();
        while let Some(row) = rows.next()? {
            let content: TaskContent = serde_json::from_str(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?;
            payloads.extend(content.payload().map(str::to_owned));
        }
        Ok(payloads)
    }

    /// Gives the task its number and stores it; durable when this is back.
    pub fn register(
        &self,
        index_uid: Option<String>,
        content: TaskContent,
        custom_metadata: Option<String>,
    ) -> Result<Task, QueueError> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction()?;
        let uid: u32 = transaction.query_row("SELECT coalesce(max(uid) + 1, 0) FROM tasks", [], |row| row.get(0))?;
        let task = Task {
            uid,
            batch_uid: None,
            index_uid,
            status: TaskStatus::Enqueued,
            canceled_by: None,
            details: Some(content.first_details()),
            error: None,
            enqueued_at: OffsetDateTime::now_utc(),
            started_at: None,
            finished_at: None,
            custom_metadata,
            resumed: false,
            content,
        };
        transaction.execute(
            "INSERT INTO tasks (uid, index_uid, status, kind, details, enqueued_at, custom_metadata, content)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                task.uid,
                task.index_uid,
                task.status.as_str(),
                task.content.kind().as_str(),
                to_text(&task.details)?,
                nanoseconds(task.enqueued_at),
                task.custom_metadata,
                serde_json::to_string(&task.content)?,
            ],
        )?;
        transaction.commit()?;
        Ok(task)
    }

    /// A page of the tasks that meet the filter, and how many meet it in all.
    pub fn list(&self, filter: &TaskFilter, page: TaskPage) -> Result<(Vec<Task>, u64), QueueError> {
        let condition = filter.condition();
        let reader = self.reader.lock();
        let total: i64 = reader.query_row(
            &format!("SELECT count(*) FROM tasks WHERE {}", condition.sql),
            params_from_iter(&condition.texts),
            |row| row.get(0),
        )?;
        let (order, side) = if page.reverse { ("ASC", ">=") } else { ("DESC", "<=") };
        let from = page.from.map(|from| format!(" AND uid {side} {from}")).unwrap_or_default();
        let sql = format!(
            "SELECT {COLUMNS} FROM tasks WHERE {}{from} ORDER BY uid {order} LIMIT {}",
            condition.sql, page.limit
        );
        let tasks = select(&reader, &sql, &condition.texts)?;
        Ok((tasks, total.unsigned_abs()))
    }

    /// The numbers of all tasks that meet the filter, in order.
    pub fn uids(&self, filter: &TaskFilter) -> Result<Vec<u32>, QueueError> {
        let condition = filter.condition();
        let reader = self.reader.lock();
        let mut statement = reader.prepare(&format!("SELECT uid FROM tasks WHERE {} ORDER BY uid", condition.sql))?;
        let uids = statement.query_map(params_from_iter(&condition.texts), |row| row.get(0))?;
        Ok(uids.collect::<Result<_, _>>()?)
    }

    /// Batch numbers of tasks that meet the filter (a page of them, and how many in all).
    pub fn batches(&self, filter: &TaskFilter, page: TaskPage) -> Result<(Vec<u32>, u64), QueueError> {
        let condition = filter.condition();
        let reader = self.reader.lock();
        let base = format!("FROM tasks WHERE batch_uid IS NOT NULL AND {}", condition.sql);
        let total: i64 = reader.query_row(
            &format!("SELECT count(DISTINCT batch_uid) {base}"),
            params_from_iter(&condition.texts),
            |row| row.get(0),
        )?;
        let (order, side) = if page.reverse { ("ASC", ">=") } else { ("DESC", "<=") };
        let from = page.from.map(|from| format!(" AND batch_uid {side} {from}")).unwrap_or_default();
        let mut statement = reader.prepare(&format!(
            "SELECT DISTINCT batch_uid {base}{from} ORDER BY batch_uid {order} LIMIT {}",
            page.limit
        ))?;
        let uids = statement.query_map(params_from_iter(&condition.texts), |row| row.get(0))?;
        Ok((uids.collect::<Result<_, _>>()?, total.unsigned_abs()))
    }

    /// What may run next: waiting tasks in order, those that cancel first, then those that delete tasks.
    pub fn waiting(&self, limit: u32) -> Result<Vec<Task>, QueueError> {
        let reader = self.reader.lock();
        for kind in [TaskKind::TaskCancelation, TaskKind::TaskDeletion] {
            let sql =
                format!("SELECT {COLUMNS} FROM tasks WHERE status = 'enqueued' AND kind = ? ORDER BY uid LIMIT 1");
            let urgent = select(&reader, &sql, &[kind.as_str().to_owned()])?;
            if !urgent.is_empty() {
                return Ok(urgent);
            }
        }
        let sql = format!("SELECT {COLUMNS} FROM tasks WHERE status = 'enqueued' ORDER BY uid LIMIT {limit}");
        select(&reader, &sql, &[])
    }

    /// Marks the tasks as running under a new batch number.
    pub fn begin(&self, uids: &[u32]) -> Result<(), QueueError> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction()?;
        let batch: u32 =
            transaction.query_row("SELECT coalesce(max(batch_uid) + 1, 0) FROM tasks", [], |row| row.get(0))?;
        let now = nanoseconds(OffsetDateTime::now_utc());
        for uid in uids {
            transaction.execute(
                "UPDATE tasks SET status = 'processing', batch_uid = ?2, started_at = ?3 WHERE uid = ?1",
                params![uid, batch, now],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Puts running tasks back where they were: they were interrupted by a cancelation and nothing was done.
    pub fn put_back(&self, uids: &[u32]) -> Result<(), QueueError> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction()?;
        for uid in uids {
            transaction.execute(
                "UPDATE tasks SET status = 'enqueued', batch_uid = NULL, started_at = NULL WHERE uid = ?1",
                [uid],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// What the scheduler wants to know if it meets this task again after a crash.
    pub fn set_note(&self, uid: u32, note: &Value) -> Result<(), QueueError> {
        let writer = self.writer.lock();
        writer.execute("UPDATE tasks SET note = ?2 WHERE uid = ?1", params![uid, note.to_string()])?;
        Ok(())
    }

    pub fn note(&self, uid: u32) -> Result<Option<Value>, QueueError> {
        let reader = self.reader.lock();
        let text: Option<Option<String>> =
            reader.query_row("SELECT note FROM tasks WHERE uid = ?1", [uid], |row| row.get(0)).optional()?;
        from_text(text.flatten())
    }

    /// Stores how the tasks of a batch ended.
    pub fn finish(&self, ends: &[TaskEnd]) -> Result<(), QueueError> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction()?;
        end_tasks(&transaction, ends)?;
        transaction.commit()?;
        Ok(())
    }

    /// As [`finish`](Self::finish), and tasks older than the swap follow their index to its new name.
    pub fn finish_swap(&self, end: &TaskEnd, swaps: &[(String, String)]) -> Result<(), QueueError> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction()?;
        for (left, right) in swaps {
            transaction.execute(
                "UPDATE tasks SET index_uid = CASE index_uid WHEN ?2 THEN ?3 ELSE ?2 END
                 WHERE uid < ?1 AND index_uid IN (?2, ?3)",
                params![end.uid, left, right],
            )?;
        }
        end_tasks(&transaction, std::slice::from_ref(end))?;
        transaction.commit()?;
        Ok(())
    }

    /// Cancels those of `matched` that wait, and ends the task `by` with their number. Answers their payloads.
    pub fn cancel(&self, by: &Task, matched: &[u32]) -> Result<Vec<String>, QueueError> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction()?;
        let now = nanoseconds(OffsetDateTime::now_utc());
        let mut payloads = Vec::new();
        let mut canceled = 0;
        for uid in matched {
            let sql = format!("SELECT {COLUMNS} FROM tasks WHERE status = 'enqueued' AND uid = {uid}");
            let Some(task) = select(&transaction, &sql, &[])?.pop() else { continue };
            transaction.execute(
                "UPDATE tasks SET status = 'canceled', canceled_by = ?2, details = ?3, finished_at = ?4,
                     (batch_uid, started_at) = (SELECT batch_uid, started_at FROM tasks WHERE uid = ?2)
                 WHERE uid = ?1",
                params![uid, by.uid, task.content.failed_details().to_string(), now],
            )?;
            payloads.extend(task.content.payload().map(str::to_owned));
            canceled += 1;
        }
        let details = by.content.details_with(&[("canceledTasks", canceled)]);
        end_tasks(&transaction, &[TaskEnd { uid: by.uid, details: Some(details), error: None }])?;
        transaction.commit()?;
        Ok(payloads)
    }

    /// Deletes those of `matched` that have ended, and ends the task `by` with their number.
    pub fn delete(&self, by: &Task, matched: &[u32]) -> Result<(), QueueError> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction()?;
        let mut deleted = 0;
        for uid in matched {
            deleted += transaction
                .execute("DELETE FROM tasks WHERE uid = ?1 AND status IN ('succeeded', 'failed', 'canceled')", [uid])?;
        }
        let details = by.content.details_with(&[("deletedTasks", deleted as u64)]);
        end_tasks(&transaction, &[TaskEnd { uid: by.uid, details: Some(details), error: None }])?;
        transaction.commit()?;
        Ok(())
    }

    /// Bytes of the file.
    pub fn size(&self) -> Result<u64, QueueError> {
        let reader = self.reader.lock();
        let pages: i64 = reader.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let page: i64 = reader.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        Ok(pages.unsigned_abs() * page.unsigned_abs())
    }
}

fn end_tasks(transaction: &Transaction<'_>, ends: &[TaskEnd]) -> Result<(), QueueError> {
    let now = nanoseconds(OffsetDateTime::now_utc());
    for end in ends {
        let status = if end.error.is_some() { TaskStatus::Failed } else { TaskStatus::Succeeded };
        transaction.execute(
            "UPDATE tasks SET status = ?2, details = ?3, error = ?4, finished_at = ?5, note = NULL WHERE uid = ?1",
            params![end.uid, status.as_str(), to_text(&end.details)?, to_text(&end.error)?, now],
        )?;
    }
    Ok(())
}

fn select(connection: &Connection, sql: &str, texts: &[String]) -> Result<Vec<Task>, QueueError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(texts))?;
    let mut tasks = Vec::new();
    while let Some(row) = rows.next()? {
        tasks.push(read_task(row)?);
    }
    Ok(tasks)
}

fn read_task(row: &Row<'_>) -> Result<Task, QueueError> {
    let status: String = row.get(3)?;
    Ok(Task {
        uid: row.get(0)?,
        batch_uid: row.get(1)?,
        index_uid: row.get(2)?,
        status: serde_json::from_value(Value::String(status))?,
        canceled_by: row.get(4)?,
        details: from_text(row.get(5)?)?,
        error: from_text(row.get(6)?)?,
        enqueued_at: moment(row.get(7)?),
        started_at: row.get::<_, Option<i64>>(8)?.map(moment),
        finished_at: row.get::<_, Option<i64>>(9)?.map(moment),
        custom_metadata: row.get(10)?,
        resumed: row.get(11)?,
        content: serde_json::from_str(&row.get::<_, String>(12)?)?,
    })
}

fn moment(nanoseconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanoseconds))
        .expect("64 bits of nanoseconds stay within the years that can be shown")
}

fn to_text<T: serde::Serialize>(value: &Option<T>) -> Result<Option<String>, QueueError> {
    Ok(value.as_ref().map(serde_json::to_string).transpose()?)
}

fn from_text<T: DeserializeOwned>(text: Option<String>) -> Result<Option<T>, QueueError> {
    Ok(text.as_deref().map(serde_json::from_str).transpose()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn creation() -> TaskContent {
        TaskContent::IndexCreation { primary_key: None }
    }

    fn everything(store: &TaskStore) -> Vec<Task> {
        store.list(&TaskFilter::default(), TaskPage { limit: 100, from: None, reverse: true }).unwrap().0
    }

    #[test]
    fn numbers_go_on_after_a_restart_and_running_tasks_wait_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tasks.db");
        let store = TaskStore::open(&path).unwrap();
        assert_eq!(store.register(Some("a".into()), creation(), Some("stamp".into())).unwrap().uid, 0);
        assert_eq!(store.register(Some("b".into()), creation(), None).unwrap().uid, 1);
        store.begin(&[0]).unwrap();
        drop(store);
        let store = TaskStore::open(&path).unwrap();
        let tasks = everything(&store);
        assert_eq!(tasks[0].status, TaskStatus::Enqueued);
        assert!(tasks[0].resumed && !tasks[1].resumed);
        assert_eq!(tasks[0].custom_metadata.as_deref(), Some("stamp"));
        assert_eq!(store.register(None, TaskContent::IndexSwap { swaps: vec![] }, None).unwrap().uid, 2);
    }

    #[test]
    fn cancelation_comes_before_what_waits_longer() {
        let folder = tempfile::tempdir().unwrap();
        let store = TaskStore::open(&folder.path().join("tasks.db")).unwrap();
        store.register(Some("a".into()), creation(), None).unwrap();
        let content = TaskContent::TaskCancelation { query: "?uids=0".into(), tasks: vec![0] };
        let by = store.register(None, content, None).unwrap();
        assert_eq!(store.waiting(10).unwrap()[0].uid, 1);
        store.begin(&[1]).unwrap();
        store.cancel(&by, &[0]).unwrap();
        let tasks = everything(&store);
        assert_eq!((tasks[0].status, tasks[0].canceled_by), (TaskStatus::Canceled, Some(1)));
        assert_eq!(tasks[0].batch_uid, tasks[1].batch_uid);
        assert_eq!(tasks[1].details, Some(json!({"matchedTasks": 1, "canceledTasks": 1, "originalFilter": "?uids=0"})));
    }

    #[test]
    fn only_tasks_that_have_ended_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let store = TaskStore::open(&folder.path().join("tasks.db")).unwrap();
        store.register(Some("a".into()), creation(), None).unwrap();
        store.register(Some("b".into()), creation(), None).unwrap();
        store.finish(&[TaskEnd { uid: 0, details: None, error: None }]).unwrap();
        let content = TaskContent::TaskDeletion { query: "?uids=*".into(), tasks: vec![0, 1] };
        let by = store.register(None, content, None).unwrap();
        store.delete(&by, &[0, 1]).unwrap();
        let tasks = everything(&store);
        assert_eq!(tasks.iter().map(|task| task.uid).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(tasks[1].details.as_ref().unwrap()["deletedTasks"], 1);
    }

    #[test]
    fn older_tasks_follow_a_swapped_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = TaskStore::open(&folder.path().join("tasks.db")).unwrap();
        store.register(Some("a".into()), creation(), None).unwrap();
        store.register(Some("b".into()), creation(), None).unwrap();
        let swaps = vec![("a".to_owned(), "b".to_owned())];
        store.register(None, TaskContent::IndexSwap { swaps: swaps.clone() }, None).unwrap();
        store.register(Some("a".into()), creation(), None).unwrap();
        store.finish_swap(&TaskEnd { uid: 2, details: None, error: None }, &swaps).unwrap();
        let names: Vec<_> = everything(&store).into_iter().map(|task| task.index_uid).collect();
        assert_eq!(names, [Some("b".to_owned()), Some("a".to_owned()), None, Some("a".to_owned())]);
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended() {
        let folder = tempfile::tempdir().unwrap();
        let store = TaskStore::open(&folder.path().join("tasks.db")).unwrap();
        for name in ["a", "b", "a", "c", "a"] {
            store.register(Some(name.into()), creation(), None).unwrap();
        }
        let filter = TaskFilter { index_uids: Some(vec!["a".into()]), ..TaskFilter::default() };
        let page = |from, reverse| {
            let (tasks, total) = store.list(&filter, TaskPage { limit: 2, from, reverse }).unwrap();
            (tasks.iter().map(|task| task.uid).collect::<Vec<_>>(), total)
        };
        assert_eq!(page(None, false), (vec![4, 2], 3));
        assert_eq!(page(Some(2), false), (vec![2, 0], 3));
        assert_eq!(page(Some(1), true), (vec![2, 4], 3));
    }
}
