//! State in an SQLite file.

use std::path::Path;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, params};

use super::worker::Worker;
use super::{IndexEntry, Store, StoreError, TaskFilter, TaskList, TaskPage, TaskRef, TaskTableStats, schema, task_sql};
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeId;
use crate::tasks::entry::MiroirTask;

/// The default store: one thread writes, commits what is queued together, and answers when it is on disk; another
/// reads, so that a long list of tasks delays no write.
pub struct SqliteStore {
    writer: Worker,
    /// `None` in memory, where a second connection would see another database.
    reader: Option<Worker>,
}

// === impl SqliteStore ===

impl SqliteStore {
    /// Opens `sqlite:PATH`, a plain path, or `:memory:`; makes the file and its folder where they are missing.
    pub fn open(path: &str, shards: u16) -> Result<Self, StoreError> {
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
        schema::prepare(&mut connection, shards)?;
        let reader = if in_memory {
            None
        } else {
            let reading = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(opening)?;
            configure(&reading).map_err(opening)?;
            Some(Worker::spawn("miroir-state-read", reading)?)
        };
        Ok(Self { writer: Worker::spawn("miroir-state", connection)?, reader })
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
        self.writer.call(move |connection| task_sql::insert(connection, &task)).await
    }

    async fn update_task(&self, task: MiroirTask) -> Result<(), StoreError> {
        self.writer.call(move |connection| task_sql::update(connection, &task)).await
    }

    async fn finish_task(&self, task: MiroirTask, swaps: Vec<(String, String)>) -> Result<(), StoreError> {
        self.writer.call(move |connection| task_sql::finish(connection, &task, &swaps)).await
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
        self.writer.call(move |connection| task_sql::remove(connection, uid)).await
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
        let json = serde_json::to_string(&entry).map_err(corrupt("index"))?;
        self.writer
            .call(move |connection| {
                let mut insert =
                    connection.prepare_cached("INSERT OR REPLACE INTO indexes (uid, entry) VALUES (?, ?)")?;
                insert.execute([&entry.uid, &json])?;
                Ok(())
            })
            .await
    }

    async fn delete_index(&self, uid: String) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| {
                connection.prepare_cached("DELETE FROM indexes WHERE uid = ?")?.execute([&uid])?;
                Ok(())
            })
            .await
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;
    use time::{Duration, OffsetDateTime};
    use uuid::Uuid;

    use super::*;
    use crate::meili::error::{Code, ResponseError};
    use crate::meili::task::{TaskKind, TaskStatus};
    use crate::placement::shard::ShardId;
    use crate::tasks::entry::{NodeTask, NodeTaskState, Purpose};
    use crate::tasks::filter::{IndexAccess, TaskKey};

    const T0: OffsetDateTime = time::macros::datetime!(2026-01-02 03:04:05.123456789 UTC);

    fn task(uid: u32) -> MiroirTask {
        MiroirTask::new(uid, TaskKind::DocumentAdditionOrUpdate, Some("cities".to_owned()), T0)
    }

    fn ended(uid: u32, status: TaskStatus) -> MiroirTask {
        MiroirTask { status, started_at: Some(T0), finished_at: Some(T0 + Duration::seconds(1)), ..task(uid) }
    }

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> String {
            format!("sqlite:{}/deep/down/state.db", self.0.path().display())
        }

        fn open(&self) -> SqliteStore {
            SqliteStore::open(&self.path(), 64).unwrap()
        }
    }

    #[tokio::test]
    async fn a_reopened_store_has_forgotten_nothing() {
        let folder = Folder::new();
        let mut rich = task(4);
        rich.details = json!({ "receivedDocuments": 1, "indexedDocuments": null }).as_object().cloned();
        rich.error = Some(ResponseError::new(Code::InvalidDocumentId, "bad"));
        rich.custom_metadata = Some("mine".to_owned());
        rich.subjects = vec![1, 2];
        let mut part =
            NodeTask::unsent(NodeId::new("a"), Purpose::Main, [ShardId(3), ShardId(63)].into_iter().collect());
        part.state = NodeTaskState::Unreachable;
        part.task_uid = Some(9);
        part.started_at = Some(T0);
        rich.parts = vec![part];
        let entry = IndexEntry { uid: "cities".to_owned(), primary_key: Some("id".to_owned()) };
        let shards: ShardSet = [ShardId(0), ShardId(40)].into_iter().collect();
        let key_uid = Uuid::from_u128(7);
        {
            let store = folder.open();
            store.insert_task(rich.clone()).await.unwrap();
            store.put_index(entry.clone()).await.unwrap();
            store.put_index(IndexEntry { uid: "gone".to_owned(), primary_key: None }).await.unwrap();
            store.delete_index("gone".to_owned()).await.unwrap();
            store.put_stale(NodeId::new("a"), "cities".to_owned(), shards.clone()).await.unwrap();
            store.put_stale(NodeId::new("b"), "cities".to_owned(), shards.clone()).await.unwrap();
            store.put_stale(NodeId::new("b"), "cities".to_owned(), ShardSet::new()).await.unwrap();
            store.put_key(key_uid, json!({ "name": "old" })).await.unwrap();
            store.put_key(key_uid, json!({ "name": "new" })).await.unwrap();
            store.put_meta("cluster", "one".to_owned()).await.unwrap();
        }
        let store = folder.open();
        assert_eq!(store.get_task(TaskRef::Uid(4)).await.unwrap(), Some(rich.clone()));
        assert_eq!(store.get_task(TaskRef::Uuid(rich.uuid)).await.unwrap(), Some(rich.clone()));
        assert_eq!(store.unfinished_tasks().await.unwrap(), [rich]);
        assert_eq!(store.next_task_uid().await.unwrap(), 5);
        assert_eq!(store.indexes().await.unwrap(), [entry]);
        assert_eq!(store.stale().await.unwrap(), [(NodeId::new("a"), "cities".to_owned(), shards)]);
        assert_eq!(store.keys().await.unwrap(), [json!({ "name": "new" })]);
        assert_eq!(store.get_meta("cluster").await.unwrap().as_deref(), Some("one"));
        assert_eq!(store.get_meta("other").await.unwrap(), None);
        store.delete_key(key_uid).await.unwrap();
        assert_eq!(store.keys().await.unwrap(), [json!({})][..0]);
    }

    #[test]
    fn the_number_of_shards_is_fixed_when_the_cluster_is_made() {
        let folder = Folder::new();
        drop(folder.open());
        let error = SqliteStore::open(&folder.path(), 128).err().unwrap();
        assert!(matches!(error, StoreError::ShardsChanged { stored: 64, configured: 128 }), "{error}");
    }

    #[test]
    fn a_file_of_a_newer_version_is_refused() {
        let folder = Folder::new();
        drop(folder.open());
        let path = folder.path();
        Connection::open(path.strip_prefix("sqlite:").unwrap())
            .unwrap()
            .pragma_update(None, "user_version", 99)
            .unwrap();
        let error = SqliteStore::open(&path, 64).err().unwrap();
        assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_no_database_is_refused() {
        let folder = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(folder.path(), "this is no database, but long enough to be looked at as one".repeat(30))
            .unwrap();
        assert!(SqliteStore::open(&folder.path().display().to_string(), 64).is_err());
    }

    #[tokio::test]
    async fn uids_of_deleted_tasks_are_not_handed_out_again() {
        let folder = Folder::new();
        let store = folder.open();
        assert_eq!(store.next_task_uid().await.unwrap(), 0);
        store.insert_task(ended(11, TaskStatus::Succeeded)).await.unwrap();
        store.insert_task(ended(3, TaskStatus::Failed)).await.unwrap();
        assert_eq!(store.delete_tasks(TaskFilter::default()).await.unwrap(), 2);
        drop(store);
        assert_eq!(folder.open().next_task_uid().await.unwrap(), 12);
    }

    #[tokio::test]
    async fn only_final_tasks_are_deleted_and_deleted_ones_do_not_come_back() {
        let store = SqliteStore::open(":memory:", 64).unwrap();
        store.insert_task(task(0)).await.unwrap();
        store.insert_task(ended(1, TaskStatus::Canceled)).await.unwrap();
        assert_eq!(store.delete_tasks(TaskFilter::default()).await.unwrap(), 1);
        store.update_task(ended(1, TaskStatus::Failed)).await.unwrap();
        assert_eq!(store.get_task(TaskRef::Uid(1)).await.unwrap(), None);
        store.remove_task(0).await.unwrap();
        assert_eq!(store.get_task(TaskRef::Uid(0)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn retention_removes_old_final_tasks_only() {
        let store = SqliteStore::open(":memory:", 64).unwrap();
        let old = MiroirTask { finished_at: Some(T0 - Duration::days(8)), ..ended(0, TaskStatus::Succeeded) };
        store.insert_task(old).await.unwrap();
        store.insert_task(ended(1, TaskStatus::Succeeded)).await.unwrap();
        store.insert_task(task(2)).await.unwrap();
        assert_eq!(store.purge_tasks(T0 - Duration::days(7)).await.unwrap(), 1);
        assert_eq!(store.task_uids(TaskFilter::default()).await.unwrap(), [1, 2]);
    }

    #[tokio::test]
    async fn the_table_is_counted_by_status() {
        let store = SqliteStore::open(":memory:", 64).unwrap();
        assert_eq!(store.task_stats().await.unwrap().oldest_unfinished, None);
        for uid in 0..3 {
            store.insert_task(task(uid)).await.unwrap();
        }
        store.insert_task(ended(3, TaskStatus::Failed)).await.unwrap();
        let stats = store.task_stats().await.unwrap();
        assert_eq!(stats.oldest_unfinished, Some(T0));
        let counts: Vec<u64> = stats.by_status.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [3, 0, 0, 1, 0]);
    }

    #[tokio::test]
    async fn many_writers_at_once_lose_nothing() {
        let folder = Folder::new();
        let store = Arc::new(folder.open());
        let writes: Vec<_> = (0..300)
            .map(|uid| {
                let store = store.clone();
                tokio::spawn(async move {
                    store.insert_task(task(uid)).await?;
                    store.update_task(ended(uid, TaskStatus::Succeeded)).await
                })
            })
            .collect();
        for write in writes {
            write.await.unwrap().unwrap();
        }
        drop(store);
        let store = folder.open();
        let list = store.list_tasks(TaskPage { limit: 1000, ..TaskPage::default() }).await.unwrap();
        assert_eq!(list.total, 300);
        assert!(list.tasks.iter().rev().map(|task| task.uid).eq(0..300));
        assert!(list.tasks.iter().all(|task| task.status == TaskStatus::Succeeded));
    }

    #[tokio::test]
    async fn a_restricted_client_sees_its_indexes_only() {
        let store = SqliteStore::open(":memory:", 64).unwrap();
        for (uid, index) in [Some("movies"), Some("movies_fr"), Some("m%"), None, Some("Movies")].iter().enumerate() {
            let index_uid = index.map(str::to_owned);
            store.insert_task(MiroirTask { index_uid, ..task(uid as u32) }).await.unwrap();
        }
        let seen = async |patterns: &[&str]| {
            let access = IndexAccess::Only(patterns.iter().map(|pattern| (*pattern).to_owned()).collect());
            store.task_uids(TaskFilter { access, ..TaskFilter::default() }).await.unwrap()
        };
        assert_eq!(seen(&["movies"]).await, [0]);
        assert_eq!(seen(&["movies*"]).await, [0, 1]);
        assert_eq!(seen(&["m%", "M*"]).await, [2, 4]);
        assert_eq!(seen(&["*"]).await, [0, 1, 2, 4]);
        assert_eq!(seen(&[]).await, [0; 0]);
    }

    #[tokio::test]
    async fn pages_follow_each_other() {
        let store = SqliteStore::open(":memory:", 64).unwrap();
        let mut keys = Vec::new();
        for uid in 0..5 {
            let task = task(uid);
            keys.push(TaskKey::of(&task));
            store.insert_task(task).await.unwrap();
        }
        let page = async |from, limit, reverse| {
            let page = TaskPage { filter: TaskFilter::default(), from, limit, reverse };
            let list = store.list_tasks(page).await.unwrap();
            assert_eq!(list.total, 5);
            (list.tasks.iter().map(|task| task.uid).collect::<Vec<_>>(), list.next.map(|key| key.uid))
        };
        assert_eq!(page(None, 2, false).await, (vec![4, 3], Some(2)));
        assert_eq!(page(Some(TaskRef::Uid(2)), 2, false).await, (vec![2, 1], Some(0)));
        assert_eq!(page(Some(TaskRef::Uuid(keys[1].uuid)), 2, false).await, (vec![1, 0], None));
        assert_eq!(page(Some(TaskRef::Uid(3)), 9, true).await, (vec![3, 4], None));
        assert_eq!(page(Some(TaskRef::Uid(900)), 1, false).await, (vec![4], Some(3)));
        assert_eq!(page(Some(TaskRef::Uuid(Uuid::nil())), 1, false).await, (vec![], None));
        assert_eq!(page(None, 0, false).await, (vec![], Some(4)));
    }

    #[tokio::test]
    async fn older_tasks_follow_a_swapped_index() {
        let store = SqliteStore::open(":memory:", 64).unwrap();
        for (uid, index) in ["a", "b", "c", "", "a"].iter().enumerate() {
            let index_uid = Some((*index).to_owned()).filter(|index| !index.is_empty());
            store.insert_task(MiroirTask { index_uid, ..task(uid as u32) }).await.unwrap();
        }
        let swap = MiroirTask { index_uid: None, kind: TaskKind::IndexSwap, ..ended(3, TaskStatus::Succeeded) };
        let swap = MiroirTask { uuid: store.get_task(TaskRef::Uid(3)).await.unwrap().unwrap().uuid, ..swap };
        store.finish_task(swap, vec![("a".to_owned(), "b".to_owned())]).await.unwrap();
        let mut names = Vec::new();
        for uid in 0..5 {
            names.push(store.get_task(TaskRef::Uid(uid)).await.unwrap().unwrap().index_uid);
        }
        let names: Vec<Option<&str>> = names.iter().map(Option::as_deref).collect();
        assert_eq!(names, [Some("b"), Some("a"), Some("c"), None, Some("a")]);
        let filter = TaskFilter { index_uids: Some(vec!["a".to_owned()]), ..TaskFilter::default() };
        assert_eq!(store.task_uids(filter).await.unwrap(), [1, 4]);
    }

    // === filters against a naive model ===

    const INDEXES: [Option<&str>; 4] = [None, Some("a"), Some("b"), Some("b*")];

    fn at(step: u8) -> OffsetDateTime {
        T0 + Duration::nanoseconds(i64::from(step))
    }

    fn any_task() -> impl Strategy<Value = MiroirTask> {
        (
            proptest::sample::select(TaskStatus::ALL),
            proptest::sample::select(&TaskKind::ALL[..4]),
            proptest::sample::select(&INDEXES[..]),
            proptest::option::of(0u32..4),
            (0u8..6, proptest::option::of(0u8..6), proptest::option::of(0u8..6)),
        )
            .prop_map(|(status, kind, index, canceled_by, (enqueued, started, finished))| MiroirTask {
                status,
                kind,
                index_uid: index.map(str::to_owned),
                canceled_by,
                enqueued_at: at(enqueued),
                started_at: started.map(at),
                finished_at: finished.map(at),
                ..task(0)
            })
    }

    fn any_filter() -> impl Strategy<Value = TaskFilter> {
        let date = || proptest::option::weighted(0.3, (0u8..6).prop_map(at));
        let uids = || {
            let id = prop_oneof![
                (0u32..12).prop_map(TaskRef::Uid),
                (0u128..12).prop_map(|at| TaskRef::Uuid(Uuid::from_u128(at))),
            ];
            proptest::option::weighted(0.3, proptest::collection::vec(id, 0..4))
        };
        let access = prop_oneof![
            3 => Just(IndexAccess::All),
            1 => Just(IndexAccess::Only(vec!["a".to_owned(), "b*".to_owned()])),
        ];
        (
            (uids(), uids(), access),
            (
                proptest::option::weighted(0.3, proptest::sample::subsequence(TaskStatus::ALL.to_vec(), 0..4)),
                proptest::option::weighted(0.3, proptest::sample::subsequence(TaskKind::ALL.to_vec(), 0..9)),
                proptest::option::weighted(
                    0.3,
                    proptest::sample::subsequence(vec!["a".to_owned(), "b".to_owned()], 0..2),
                ),
            ),
            (date(), date(), date(), date(), date(), date()),
        )
            .prop_map(|((uids, canceled_by, access), (statuses, kinds, index_uids), dates)| TaskFilter {
                uids,
                statuses,
                kinds,
                index_uids,
                canceled_by,
                before_enqueued_at: dates.0,
                after_enqueued_at: dates.1,
                before_started_at: dates.2,
                after_started_at: dates.3,
                before_finished_at: dates.4,
                after_finished_at: dates.5,
                access,
            })
    }

    fn meets(task: &MiroirTask, filter: &TaskFilter, all: &[MiroirTask]) -> bool {
        let canceler = |id: &TaskRef| match id {
            TaskRef::Uid(uid) => Some(*uid),
            TaskRef::Uuid(uuid) => all.iter().find(|task| task.uuid == *uuid).map(|task| task.uid),
        };
        let canceled_by = task.canceled_by.filter(|_| task.status == TaskStatus::Canceled);
        let before = |date: Option<OffsetDateTime>, bound: Option<OffsetDateTime>| {
            bound.is_none_or(|bound| date.is_some_and(|date| date < bound))
        };
        let after = |date: Option<OffsetDateTime>, bound: Option<OffsetDateTime>| {
            bound.is_none_or(|bound| date.is_some_and(|date| date > bound))
        };
        filter.uids.as_ref().is_none_or(|ids| ids.iter().any(|id| id.names(task)))
            && filter.statuses.as_ref().is_none_or(|statuses| statuses.contains(&task.status))
            && filter.kinds.as_ref().is_none_or(|kinds| kinds.contains(&task.kind))
            && filter
                .index_uids
                .as_ref()
                .is_none_or(|uids| task.index_uid.as_ref().is_some_and(|index| uids.contains(index)))
            && filter
                .canceled_by
                .as_ref()
                .is_none_or(|ids| canceled_by.is_some_and(|by| ids.iter().any(|id| canceler(id) == Some(by))))
            && before(Some(task.enqueued_at), filter.before_enqueued_at)
            && after(Some(task.enqueued_at), filter.after_enqueued_at)
            && before(task.started_at, filter.before_started_at)
            && after(task.started_at, filter.after_started_at)
            && before(task.finished_at, filter.before_finished_at)
            && after(task.finished_at, filter.after_finished_at)
            && filter.access.allows(task.index_uid.as_deref())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn filters_and_pages_agree_with_a_naive_model(
            tasks in proptest::collection::vec(any_task(), 0..12),
            pages in proptest::collection::vec(
                (any_filter(), proptest::option::of(0u32..12), 0u32..6, any::<bool>()), 8),
        ) {
            let tasks: Vec<MiroirTask> = tasks
                .into_iter()
                .enumerate()
                .map(|(at, task)| MiroirTask { uid: at as u32, uuid: Uuid::from_u128(at as u128), ..task })
                .collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let store = SqliteStore::open(":memory:", 64).unwrap();
                for task in &tasks {
                    store.insert_task(task.clone()).await.unwrap();
                }
                for (filter, from, limit, reverse) in pages {
                    let mut met: Vec<&MiroirTask> = tasks.iter().filter(|task| meets(task, &filter, &tasks)).collect();
                    let uids: Vec<u32> = met.iter().map(|task| task.uid).collect();
                    prop_assert_eq!(store.task_uids(filter.clone()).await.unwrap(), uids);
                    let total = met.len() as u64;
                    if !reverse {
                        met.reverse();
                    }
                    met.retain(|task| from.is_none_or(|from| if reverse { task.uid >= from } else { task.uid <= from }));
                    let expected = TaskList {
                        total,
                        tasks: met.iter().take(limit as usize).map(|task| (*task).clone()).collect(),
                        next: met.get(limit as usize).map(|task| TaskKey::of(task)),
                    };
                    let page = TaskPage { filter, from: from.map(TaskRef::Uid), limit, reverse };
                    prop_assert_eq!(store.list_tasks(page).await.unwrap(), expected);
                }
                Ok(())
            })?;
        }
    }
}
