//! What every store keeps, forgets and refuses.

use serde_json::json;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::place::{Place, on_each_store};
use crate::meili::error::{Code, ResponseError};
use crate::meili::task::{TaskKind, TaskStatus};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::NodeId;
use crate::store::{IndexEntry, StoreError, TaskFilter, TaskPage, TaskRef};
use crate::tasks::entry::{MiroirTask, NodeTask, NodeTaskState, Purpose};
use crate::tasks::filter::{IndexAccess, TaskKey};

pub const T0: OffsetDateTime = time::macros::datetime!(2026-01-02 03:04:05.123456789 UTC);

pub fn task(uid: u32) -> MiroirTask {
    MiroirTask::new(uid, TaskKind::DocumentAdditionOrUpdate, Some("cities".to_owned()), T0)
}

pub fn ended(uid: u32, status: TaskStatus) -> MiroirTask {
    MiroirTask { status, started_at: Some(T0), finished_at: Some(T0 + Duration::seconds(1)), ..task(uid) }
}

async fn a_reopened_store_has_forgotten_nothing(place: &Place) {
    let mut rich = task(4);
    rich.details = json!({ "receivedDocuments": 1, "indexedDocuments": null }).as_object().cloned();
    rich.error = Some(ResponseError::new(Code::InvalidDocumentId, "bad"));
    rich.custom_metadata = Some("mine".to_owned());
    rich.subjects = vec![1, 2];
    let mut part = NodeTask::unsent(NodeId::new("a"), Purpose::Main, [ShardId(3), ShardId(63)].into_iter().collect());
    part.state = NodeTaskState::Unreachable;
    part.task_uid = Some(9);
    part.started_at = Some(T0);
    rich.parts = vec![part];
    let entry = IndexEntry { uid: "cities".to_owned(), primary_key: Some("id".to_owned()), leading: Vec::new() };
    let shards: ShardSet = [ShardId(0), ShardId(40)].into_iter().collect();
    let key_uid = Uuid::from_u128(7);
    {
        let store = place.open();
        store.insert_task(rich.clone()).await.unwrap();
        store.put_index(entry.clone()).await.unwrap();
        store.put_index(IndexEntry { uid: "gone".to_owned(), primary_key: None, leading: Vec::new() }).await.unwrap();
        store.delete_index("gone".to_owned()).await.unwrap();
        store.put_stale(NodeId::new("a"), "cities".to_owned(), shards.clone()).await.unwrap();
        store.put_stale(NodeId::new("b"), "cities".to_owned(), shards.clone()).await.unwrap();
        store.put_stale(NodeId::new("b"), "cities".to_owned(), ShardSet::new()).await.unwrap();
        store.put_key(key_uid, json!({ "name": "old" })).await.unwrap();
        store.put_key(key_uid, json!({ "name": "new" })).await.unwrap();
        store.put_meta("cluster", "one".to_owned()).await.unwrap();
    }
    let store = place.open();
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

async fn the_number_of_shards_is_fixed_when_the_cluster_is_made(place: &Place) {
    drop(place.open());
    let error = place.try_open(128).err().unwrap();
    assert!(matches!(error, StoreError::ShardsChanged { stored: 64, configured: 128 }), "{error}");
}

async fn a_state_that_is_there_keeps_its_shards_where_nobody_names_them(place: &Place) {
    drop(place.try_open(256).unwrap());
    for _ in 0..2 {
        let store = place.try_open(None).unwrap();
        assert_eq!(crate::store::shards(&*store.0.store).await.unwrap(), 256);
    }
}

async fn a_new_state_has_the_default_of_shards(place: &Place) {
    let store = place.try_open(None).unwrap();
    assert_eq!(crate::store::shards(&*store.0.store).await.unwrap(), crate::placement::settings::DEFAULT_SHARDS);
}

async fn a_write_and_what_it_changes_of_the_registry_are_stored_together(place: &Place) {
    let store = place.open();
    let entry = |uid: &str| IndexEntry { uid: uid.to_owned(), primary_key: None, leading: Vec::new() };
    let created = vec![("a".to_owned(), Some(entry("a")))];
    store.begin_write(task(0), created).await.unwrap();
    // The row cannot be inserted twice, so the index is not removed either.
    let removed = vec![("a".to_owned(), None), ("b".to_owned(), Some(entry("b")))];
    assert!(store.begin_write(task(0), removed).await.is_err());
    drop(store);
    let store = place.open();
    assert_eq!(store.indexes().await.unwrap(), [entry("a")]);
    store.begin_write(task(1), vec![("a".to_owned(), None)]).await.unwrap();
    assert_eq!(store.indexes().await.unwrap(), []);
    assert_eq!(store.unfinished_tasks().await.unwrap().len(), 2);
}

async fn uids_of_deleted_tasks_are_not_handed_out_again(place: &Place) {
    let store = place.open();
    assert_eq!(store.next_task_uid().await.unwrap(), 0);
    store.insert_task(ended(11, TaskStatus::Succeeded)).await.unwrap();
    store.insert_task(ended(3, TaskStatus::Failed)).await.unwrap();
    assert_eq!(store.delete_tasks(TaskFilter::default()).await.unwrap(), 2);
    drop(store);
    assert_eq!(place.open().next_task_uid().await.unwrap(), 12);
}

async fn only_final_tasks_are_deleted_and_deleted_ones_do_not_come_back(place: &Place) {
    let store = place.open();
    store.insert_task(task(0)).await.unwrap();
    store.insert_task(ended(1, TaskStatus::Canceled)).await.unwrap();
    assert_eq!(store.delete_tasks(TaskFilter::default()).await.unwrap(), 1);
    store.update_task(ended(1, TaskStatus::Failed)).await.unwrap();
    assert_eq!(store.get_task(TaskRef::Uid(1)).await.unwrap(), None);
    store.remove_task(0).await.unwrap();
    assert_eq!(store.get_task(TaskRef::Uid(0)).await.unwrap(), None);
}

async fn retention_removes_old_final_tasks_only(place: &Place) {
    let store = place.open();
    let old = MiroirTask { finished_at: Some(T0 - Duration::days(8)), ..ended(0, TaskStatus::Succeeded) };
    store.insert_task(old).await.unwrap();
    store.insert_task(ended(1, TaskStatus::Succeeded)).await.unwrap();
    store.insert_task(task(2)).await.unwrap();
    assert_eq!(store.purge_tasks(T0 - Duration::days(7)).await.unwrap(), 1);
    assert_eq!(store.task_uids(TaskFilter::default()).await.unwrap(), [1, 2]);
}

async fn the_table_is_counted_by_status(place: &Place) {
    let store = place.open();
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

async fn many_writers_at_once_lose_nothing(place: &Place) {
    let store = place.open();
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
    let store = place.open();
    let list = store.list_tasks(TaskPage { limit: 1000, ..TaskPage::default() }).await.unwrap();
    assert_eq!(list.total, 300);
    assert!(list.tasks.iter().rev().map(|task| task.uid).eq(0..300));
    assert!(list.tasks.iter().all(|task| task.status == TaskStatus::Succeeded));
}

async fn a_restricted_client_sees_its_indexes_only(place: &Place) {
    let store = place.open();
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

async fn pages_follow_each_other(place: &Place) {
    let store = place.open();
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

async fn older_tasks_follow_a_swapped_index(place: &Place) {
    let store = place.open();
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

async fn a_task_is_open_until_its_row_says_that_it_has_ended(place: &Place) {
    {
        let store = place.open();
        store.begin_write(task(1), Vec::new()).await.unwrap();
        store.begin_write(task(2), Vec::new()).await.unwrap();
        store.begin_write(ended(3, TaskStatus::Failed), Vec::new()).await.unwrap();
        store.finish_task(ended(1, TaskStatus::Succeeded), Vec::new()).await.unwrap();
    }
    let store = place.open();
    let deletion = [TaskKind::DocumentDeletion];
    assert!(store.has_open_tasks("cities", None) && !store.has_open_tasks("cities", Some(&deletion)));
    store.remove_task(2).await.unwrap();
    assert!(!store.has_open_tasks("cities", None));
    let swaps = json!({ "swaps": [{ "indexes": ["cities", "towns"] }] }).as_object().cloned();
    let swap =
        |task: MiroirTask| MiroirTask { index_uid: None, kind: TaskKind::IndexSwap, details: swaps.clone(), ..task };
    store.begin_write(task(4), Vec::new()).await.unwrap();
    store.begin_write(swap(task(5)), Vec::new()).await.unwrap();
    assert!(store.has_open_tasks("towns", Some(&deletion)));
    let pairs = vec![("cities".to_owned(), "towns".to_owned())];
    store.finish_task(swap(ended(5, TaskStatus::Succeeded)), pairs).await.unwrap();
    assert!(store.has_open_tasks("towns", None) && !store.has_open_tasks("cities", None));
}

async fn each_end_is_told_once(place: &Place) {
    let store = place.open();
    let mut told = store.ended_tasks();
    store.insert_task(task(1)).await.unwrap();
    store.begin_write(ended(2, TaskStatus::Failed), Vec::new()).await.unwrap();
    store.finish_task(ended(1, TaskStatus::Succeeded), Vec::new()).await.unwrap();
    // Notes are made in rows of tasks that ended long ago.
    store.update_task(ended(1, TaskStatus::Succeeded)).await.unwrap();
    store.update_task(ended(7, TaskStatus::Succeeded)).await.unwrap();
    assert_eq!([told.try_recv().unwrap().uid, told.try_recv().unwrap().uid], [2, 1]);
    assert!(told.try_recv().is_err());
}

async fn each_state_of_a_task_is_told_until_its_end(place: &Place) {
    let store = place.open();
    let mut told = store.changed_tasks();
    store.insert_task(task(1)).await.unwrap();
    store.update_task(MiroirTask { status: TaskStatus::Processing, ..task(1) }).await.unwrap();
    store.finish_task(ended(1, TaskStatus::Succeeded), Vec::new()).await.unwrap();
    // A note in the row of a task that ended.
    store.update_task(ended(1, TaskStatus::Succeeded)).await.unwrap();
    store.begin_write(ended(2, TaskStatus::Failed), Vec::new()).await.unwrap();
    let mut states = Vec::new();
    while let Ok(task) = told.try_recv() {
        states.push((task.uid, task.status));
    }
    let of_first = [TaskStatus::Enqueued, TaskStatus::Processing, TaskStatus::Succeeded].map(|status| (1, status));
    assert_eq!(states[..3], of_first);
    assert_eq!(states[3..], [(2, TaskStatus::Failed)]);
}

async fn a_compacted_state_is_smaller_and_has_what_was_not_deleted(place: &Place) {
    let store = place.open();
    for uid in 0..400 {
        let details = json!({ "text": "x".repeat(1000) }).as_object().cloned();
        store.insert_task(MiroirTask { details, ..ended(uid, TaskStatus::Succeeded) }).await.unwrap();
    }
    let uids = Some((1..400).map(TaskRef::Uid).collect());
    store.delete_tasks(TaskFilter { uids, ..TaskFilter::default() }).await.unwrap();
    let (before, mut after) = store.compact().await.unwrap();
    for _ in 0..place.later_compactions() {
        if after * 2 < before {
            break;
        }
        (_, after) = store.compact().await.unwrap();
    }
    assert!(after * 2 < before, "{before} {after}");
    assert_eq!(store.task_uids(TaskFilter::default()).await.unwrap(), [0]);
    store.insert_task(task(400)).await.unwrap();
    assert_eq!(store.next_task_uid().await.unwrap(), 401);
}

async fn ends_are_kept_in_order_until_they_are_forgotten_and_no_place_is_given_twice(place: &Place) {
    let store = place.open();
    store.insert_task(ended(1, TaskStatus::Failed)).await.unwrap();
    assert_eq!((store.last_end().await.unwrap(), store.ends_after(0, 9).await.unwrap().len()), (0, 0));
    store.keep_ends(true);
    for uid in [5, 3, 4] {
        store.insert_task(ended(uid, TaskStatus::Succeeded)).await.unwrap();
    }
    store.update_task(ended(5, TaskStatus::Succeeded)).await.unwrap();
    let kept = async |after, limit| {
        let ends = store.ends_after(after, limit).await.unwrap();
        ends.into_iter().map(|(place, task)| (place, task.uid)).collect::<Vec<_>>()
    };
    assert_eq!(kept(0, 2).await, [(1, 5), (2, 3)]);
    assert_eq!(kept(1, 9).await, [(2, 3), (3, 4)]);
    store.forget_ends(3).await.unwrap();
    assert_eq!((kept(0, 9).await.len(), store.last_end().await.unwrap()), (0, 3));
    store.insert_task(ended(6, TaskStatus::Succeeded)).await.unwrap();
    assert_eq!(kept(0, 9).await, [(4, 6)]);
}

on_each_store! {
    a_reopened_store_has_forgotten_nothing,
    the_number_of_shards_is_fixed_when_the_cluster_is_made,
    a_state_that_is_there_keeps_its_shards_where_nobody_names_them,
    a_new_state_has_the_default_of_shards,
    a_write_and_what_it_changes_of_the_registry_are_stored_together,
    uids_of_deleted_tasks_are_not_handed_out_again,
    only_final_tasks_are_deleted_and_deleted_ones_do_not_come_back,
    retention_removes_old_final_tasks_only,
    the_table_is_counted_by_status,
    many_writers_at_once_lose_nothing,
    a_restricted_client_sees_its_indexes_only,
    pages_follow_each_other,
    older_tasks_follow_a_swapped_index,
    a_task_is_open_until_its_row_says_that_it_has_ended,
    each_end_is_told_once,
    each_state_of_a_task_is_told_until_its_end,
    a_compacted_state_is_smaller_and_has_what_was_not_deleted,
    ends_are_kept_in_order_until_they_are_forgotten_and_no_place_is_given_twice,
}
