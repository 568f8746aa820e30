//! A state moved from one store to another.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::Connection;
use serde_json::json;
use uuid::Uuid;

use super::facts::{ended, task};
use super::place::{candidate, lead, open_as};
use super::server::{Postgres, database_of};
use crate::meili::task::TaskStatus;
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::NodeId;
use crate::store::leadership::Loss;
use crate::store::moving::{MoveError, move_state, summary};
use crate::store::open::Place;
use crate::store::rows::{AT_ONCE, TABLES};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::rows::FileSource;
use crate::store::{IndexEntry, Store, StoreError, TaskPage};

fn at(state: &str) -> Place<'_> {
    Place { state, password: None }
}

async fn fill(store: &dyn Store) {
    store.keep_ends(true);
    // Several pages of rows.
    for uid in 0..AT_ONCE * 2 + 7 {
        let status = if uid % 3 == 0 { TaskStatus::Failed } else { TaskStatus::Succeeded };
        store.insert_task(if uid % 5 == 0 { task(uid) } else { ended(uid, status) }).await.unwrap();
    }
    store.forget_ends(3).await.unwrap();
    for uid in ["Ä", "a-b", "a_b", "B"] {
        let entry = IndexEntry { uid: uid.to_owned(), primary_key: Some("id".to_owned()), leading: Vec::new() };
        store.put_index(entry).await.unwrap();
        let shards: ShardSet = [ShardId(0), ShardId(40)].into_iter().collect();
        store.put_stale(NodeId::new(&format!("node-{uid}")), uid.to_owned(), shards.clone()).await.unwrap();
        store.put_stale(NodeId::new("node"), uid.to_owned(), shards).await.unwrap();
    }
    store.put_key(Uuid::from_u128(7), json!({ "name": "\"quoted\"\u{1f6aa}" })).await.unwrap();
    store.put_meta("cluster_id", "one".to_owned()).await.unwrap();
}

/// All that the trait shows.
async fn seen(store: &dyn Store) -> String {
    let tasks = store.list_tasks(TaskPage { limit: 5000, ..TaskPage::default() }).await.unwrap();
    let mut stale = store.stale().await.unwrap();
    stale.sort_by_key(|(node, index, _)| (node.clone(), index.clone()));
    format!(
        "{tasks:#?} {:?} {:?} {:?} {stale:?} {:?} {} {:?} {:?} {:?}",
        store.task_stats().await.unwrap(),
        store.next_task_uid().await.unwrap(),
        store.indexes().await.unwrap(),
        store.keys().await.unwrap(),
        store.last_end().await.unwrap(),
        store.ends_after(0, 5000).await.unwrap(),
        store.get_meta("cluster_id").await.unwrap(),
        crate::store::shards(store).await.unwrap(),
    )
}

#[tokio::test]
async fn a_state_goes_to_a_server_and_back_and_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}/deep/state.db", folder.path().display());
    let path = Path::new(file.strip_prefix("sqlite:").unwrap());
    let server = Postgres::shared().database();
    let before = {
        let store = SqliteStore::open(&file, 16).unwrap();
        fill(&store).await;
        seen(&store).await
    };

    let there = move_state(at(&file), at(&server)).await.unwrap();
    assert_eq!(there.summary.counts[1], ("tasks", u64::from(AT_ONCE * 2 + 7)));
    assert!(!path.exists() && Path::new(&there.left).exists(), "{}", there.left);
    let error = move_state(at(&file), at(&server)).await.unwrap_err();
    assert!(matches!(error, MoveError::Missing { .. }), "{error}");
    {
        let opened = lead(&server, None, &candidate("gw")).unwrap();
        assert_eq!(seen(opened.store.as_ref()).await, before);
        opened.leadership.release();
    }

    let back = move_state(at(&server), at(&file)).await.unwrap();
    assert_eq!(back.summary, there.summary);
    let error = open_as(&server, "gw").err().unwrap();
    assert!(matches!(&error, StoreError::Lost(Loss::Moved { to }) if *to == file), "{error}");
    assert_eq!(seen(&SqliteStore::open(&file, 16).unwrap()).await, before);

    // What is left there is no state, so it stands in nobody's way.
    assert_eq!(move_state(at(&file), at(&server)).await.unwrap().summary, there.summary);
    let opened = lead(&server, Some(16), &candidate("gw")).unwrap();
    assert_eq!(seen(opened.store.as_ref()).await, before);
    opened.leadership.release();
}

#[tokio::test]
async fn a_state_in_use_is_not_moved_nor_is_another_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| format!("sqlite:{}/{name}.db", folder.path().display());
    let (one, two) = (file("one"), file("two"));
    let server = Postgres::shared().database();
    let refused = async |from: &str, to: &str| move_state(at(from), at(to)).await.unwrap_err();

    let used = SqliteStore::open(&one, 64).unwrap();
    used.put_meta("cluster_id", "one".to_owned()).await.unwrap();
    let error = refused(&one, &server).await;
    assert!(matches!(error, MoveError::InUse { .. }), "{error}");
    drop(used);
    let gateway = open_as(&server, "gw").unwrap();
    let error = refused(&one, &server).await;
    assert!(matches!(&error, MoveError::Store(StoreError::Lost(Loss::Led { leader })) if leader == "gw"), "{error}");
    gateway.store.put_index(IndexEntry { uid: "i".to_owned(), primary_key: None, leading: Vec::new() }).await.unwrap();
    let error = refused(&server, &two).await;
    assert!(matches!(&error, MoveError::Store(StoreError::Lost(Loss::Led { .. }))), "{error}");
    gateway.leadership.release();

    for (from, to) in [(&one, &server), (&server, &one)] {
        let error = refused(from, to).await;
        assert!(matches!(&error, MoveError::Occupied { place } if place == to), "{error}");
    }
    // And both are what they were.
    let store = SqliteStore::open(&one, 64).unwrap();
    assert_eq!(store.get_meta("cluster_id").await.unwrap().as_deref(), Some("one"));
    let gateway = open_as(&server, "gw").unwrap();
    assert_eq!(gateway.store.indexes().await.unwrap().len(), 1);
    gateway.leadership.release();
}

#[tokio::test]
async fn no_gateway_starts_on_a_file_while_it_is_moved_and_a_changed_value_changes_the_digest() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("{}/state.db", folder.path().display());
    fill(&SqliteStore::open(&path, 64).unwrap()).await;
    let digest = async || summary(&mut FileSource::open(&path).ok().unwrap()).await.unwrap();
    let (first, again) = (digest().await, digest().await);
    assert_eq!(first, again);
    let held = FileSource::open(&path).ok().unwrap();
    assert!(SqliteStore::open(&path, 64).is_err(), "somebody else has it");
    drop(held);
    Connection::open(&path).unwrap().execute("UPDATE tasks SET started_at = 1 WHERE uid = 9", []).unwrap();
    let changed = digest().await;
    assert_eq!(changed.counts, first.counts);
    assert_ne!(changed.digest, first.digest);
}

#[tokio::test]
async fn every_table_of_either_store_is_moved() {
    let known: BTreeSet<String> = TABLES
        .iter()
        .flat_map(|table| table.columns.iter().map(move |(name, _)| format!("{}.{name}", table.name)))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = format!("{}/state.db", folder.path().display());
    drop(SqliteStore::open(&path, 64).unwrap());
    let file = Connection::open(&path).unwrap();
    let mut select = file
        .prepare(
            "SELECT tables.name || '.' || columns.name FROM sqlite_schema tables, pragma_table_info(tables.name) columns
             WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%'
                 AND tables.name <> 'blocks'",
        )
        .unwrap();
    let in_file: BTreeSet<String> = select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(in_file, known);

    let server = Postgres::shared().database();
    open_as(&server, "gw").unwrap().leadership.release();
    let columns = Postgres::shared().sql(
        database_of(&server),
        "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'miroir'
         AND table_name NOT IN ('leader', 'members', 'counts', 'blocks', 'last_end')",
    );
    assert_eq!(columns.lines().map(str::to_owned).collect::<BTreeSet<_>>(), known);
}
