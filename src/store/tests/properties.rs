//! Filters and pages of tasks, against a naive model.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::facts::{T0, task};
use super::place::{Held, Place, on_each_store};
use crate::meili::task::{TaskKind, TaskStatus};
use crate::store::{TaskFilter, TaskList, TaskPage, TaskRef};
use crate::tasks::entry::MiroirTask;
use crate::tasks::filter::{IndexAccess, TaskKey, Unit};

const INDEXES: [Option<&str>; 4] = [None, Some("a"), Some("b"), Some("b*")];

/// The uid of the task with this number: they are far from each other, because the server counts by blocks of uids.
fn uid(number: u32) -> u32 {
    number * 3_000
}

fn at(step: u8) -> OffsetDateTime {
    T0 + Duration::nanoseconds(i64::from(step))
}

fn any_task() -> impl Strategy<Value = MiroirTask> {
    (
        proptest::sample::select(TaskStatus::ALL),
        proptest::sample::select(&TaskKind::ALL[..4]),
        proptest::sample::select(&INDEXES[..]),
        proptest::option::of((0u32..4).prop_map(uid)),
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
            (0u32..12).prop_map(|number| TaskRef::Uid(uid(number))),
            (0u128..12).prop_map(|at| TaskRef::Uuid(Uuid::from_u128(at))),
        ];
        proptest::option::weighted(0.3, proptest::collection::vec(id, 0..4))
    };
    let access = prop_oneof![
        3 => Just(IndexAccess::All),
        1 => Just(IndexAccess::Only(vec!["a".to_owned(), "b*".to_owned()])),
    ];
    let batches = proptest::option::weighted(0.3, proptest::collection::vec((0u32..12).prop_map(uid), 0..4));
    let unit = prop_oneof![3 => Just(Unit::Task), 1 => Just(Unit::Batch)];
    (
        (uids(), uids(), access, batches, unit),
        (
            proptest::option::weighted(0.3, proptest::sample::subsequence(TaskStatus::ALL.to_vec(), 0..4)),
            proptest::option::weighted(0.3, proptest::sample::subsequence(TaskKind::ALL.to_vec(), 0..9)),
            proptest::option::weighted(0.3, proptest::sample::subsequence(vec!["a".to_owned(), "b".to_owned()], 0..2)),
        ),
        (date(), date(), date(), date(), date(), date()),
    )
        .prop_map(|((uids, canceled_by, access, batches, unit), (statuses, kinds, index_uids), dates)| {
            TaskFilter {
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
                batches,
                unit,
            }
        })
}

fn batch_of(task: &MiroirTask) -> Option<u32> {
    match task.status {
        TaskStatus::Enqueued => None,
        TaskStatus::Canceled => Some(task.canceled_by.unwrap_or(task.uid)),
        TaskStatus::Processing | TaskStatus::Succeeded | TaskStatus::Failed => Some(task.uid),
    }
}

/// A batch is met by the task that has its uid, if any of its tasks meets the filter.
fn is_met(task: &MiroirTask, filter: &TaskFilter, all: &[MiroirTask]) -> bool {
    match filter.unit {
        Unit::Task => meets(task, filter, all),
        Unit::Batch => all.iter().any(|other| batch_of(other) == Some(task.uid) && meets(other, filter, all)),
    }
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
        && filter.batches.as_ref().is_none_or(|batches| batch_of(task).is_some_and(|batch| batches.contains(&batch)))
        && filter.access.allows(task.index_uid.as_deref())
}

type Page = (TaskFilter, Option<u32>, u32, bool);

async fn agrees(store: &Held, tasks: Vec<MiroirTask>, pages: Vec<Page>) -> Result<(), TestCaseError> {
    let tasks: Vec<MiroirTask> = tasks
        .into_iter()
        .enumerate()
        .map(|(at, task)| MiroirTask { uid: uid(at as u32), uuid: Uuid::from_u128(at as u128), ..task })
        .collect();
    for number in 0..12 {
        store.remove_task(uid(number)).await.unwrap();
    }
    for (number, task) in tasks.iter().enumerate() {
        if number % 2 == 0 {
            store.insert_task(task.clone()).await.unwrap();
            continue;
        }
        // A row that is written anew is found by what it says now.
        let earlier = MiroirTask {
            index_uid: Some("earlier".to_owned()),
            ..MiroirTask::new(task.uid, task.kind, None, task.enqueued_at)
        };
        store.insert_task(MiroirTask { uuid: task.uuid, ..earlier }).await.unwrap();
        store.update_task(task.clone()).await.unwrap();
    }
    for (filter, from, limit, reverse) in pages {
        let mut met: Vec<&MiroirTask> = tasks.iter().filter(|task| is_met(task, &filter, &tasks)).collect();
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
}

async fn filters_and_pages_agree_with_a_naive_model(place: &Place) {
    let store = place.open();
    let pages = (any_filter(), proptest::option::of((0u32..12).prop_map(uid)), 0u32..6, any::<bool>());
    let cases = (proptest::collection::vec(any_task(), 0..12), proptest::collection::vec(pages, 8));
    let runtime = tokio::runtime::Handle::current();
    // The runner is not async, and the runtime must go on meanwhile.
    let runs = tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new(ProptestConfig::with_cases(64));
        runner.run(&cases, |(tasks, pages)| runtime.block_on(agrees(&store, tasks, pages)))
    });
    runs.await.unwrap().unwrap();
}

on_each_store! {
    filters_and_pages_agree_with_a_naive_model,
}
