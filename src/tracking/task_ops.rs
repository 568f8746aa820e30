//! The task routes.

use std::sync::Arc;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::task_host::TaskHost;
use super::{task_cancel, task_delete};
use crate::meili::error::{Code, ResponseError};
use crate::meili::task::{TaskKind, TaskStatus};
use crate::nodes::error::store_failed;
use crate::store::StoreError;
use crate::tasks::batch::{batch_view, batches_view};
use crate::tasks::entry::MiroirTask;
use crate::tasks::filter::{IndexAccess, TaskFilter, TaskKey, TaskPage, TaskRef, Unit};
use crate::tasks::view::{UidFormat, list_view, summary_view, task_view};

/// `GET /tasks`: the answer's body.
pub async fn list<H: TaskHost>(host: &Arc<H>, page: TaskPage, format: UidFormat) -> Result<Value, ResponseError> {
    let limit = page.limit;
    let mut list = host.store().list_tasks(page).await.map_err(|error| store_failed(&error))?;
    host.reconciler().refresh(&mut list.tasks);
    Ok(list_view(&list, limit, format))
}

/// `GET /tasks/{id}`.
pub async fn get<H: TaskHost>(
    host: &Arc<H>,
    id: TaskRef,
    access: IndexAccess,
    format: UidFormat,
) -> Result<Value, ResponseError> {
    let task = find(host, id, &access).await?;
    Ok(task_view(&task, format))
}

/// `GET /batches`: the answer's body.
pub async fn list_batches<H: TaskHost>(host: &Arc<H>, page: TaskPage) -> Result<Value, ResponseError> {
    let limit = page.limit;
    let mut list = host.store().list_tasks(page).await.map_err(|error| store_failed(&error))?;
    host.reconciler().refresh(&mut list.tasks);
    let mut views = Vec::new();
    for task in &list.tasks {
        views.push(batch_of(host, task).await?);
    }
    Ok(batches_view(&list, views, limit))
}

/// `GET /batches/{id}`.
pub async fn get_batch<H: TaskHost>(host: &Arc<H>, uid: u32, access: IndexAccess) -> Result<Value, ResponseError> {
    let filter = TaskFilter { batches: Some(vec![uid]), access, unit: Unit::Batch, ..TaskFilter::default() };
    let page = TaskPage { filter, limit: 1, ..TaskPage::default() };
    let mut list = host.store().list_tasks(page).await.map_err(|error| store_failed(&error))?;
    host.reconciler().refresh(&mut list.tasks);
    match list.tasks.first() {
        Some(task) => batch_of(host, task).await,
        None => Err(ResponseError::new(Code::BatchNotFound, format!("Batch `{uid}` not found."))),
    }
}

/// The batch that `task` leads, as clients see it.
pub async fn batch_of<H: TaskHost>(host: &Arc<H>, task: &MiroirTask) -> Result<Value, ResponseError> {
    Ok(batch_view(task, &canceled_by(host, task).await?))
}

/// The tasks that a cancelation has kept from beginning.
async fn canceled_by<H: TaskHost>(host: &Arc<H>, task: &MiroirTask) -> Result<Vec<MiroirTask>, ResponseError> {
    if task.kind != TaskKind::TaskCancelation {
        return Ok(Vec::new());
    }
    let filter = TaskFilter { canceled_by: Some(vec![TaskRef::Uid(task.uid)]), ..TaskFilter::default() };
    let page = TaskPage { filter, limit: u32::MAX, ..TaskPage::default() };
    host.store().list_tasks(page).await.map(|list| list.tasks).map_err(|error| store_failed(&error))
}

/// `POST /tasks/cancel`: the summary of the cancelation (status 200). `query` is the filter as the client wrote it.
pub async fn cancel<H: TaskHost>(
    host: &Arc<H>,
    filter: TaskFilter,
    query: &str,
    format: UidFormat,
) -> Result<Value, ResponseError> {
    let matched = uids(host, filter.clone()).await?.len();
    let unfinished = [TaskStatus::Enqueued, TaskStatus::Processing];
    let statuses = match &filter.statuses {
        Some(asked) => unfinished.into_iter().filter(|status| asked.contains(status)).collect(),
        None => unfinished.to_vec(),
    };
    let subjects = uids(host, TaskFilter { statuses: Some(statuses), ..filter }).await?;
    let mut task = own_task(host, TaskKind::TaskCancelation, subjects);
    task.details = json!({ "matchedTasks": matched, "canceledTasks": null, "originalFilter": format!("?{query}") })
        .as_object()
        .cloned();
    insert(host, &task).await?;
    let summary = summary_view(&task, format);
    task_cancel::start(host, task);
    Ok(summary)
}

/// `DELETE /tasks`: the summary of the deletion (status 200). `query` is the filter as the client wrote it.
pub async fn delete<H: TaskHost>(
    host: &Arc<H>,
    filter: TaskFilter,
    query: &str,
    format: UidFormat,
) -> Result<Value, ResponseError> {
    let subjects = uids(host, filter).await?;
    start_deletion(host, subjects, format!("?{query}"), format).await
}

/// `DELETE /tasks/{id}`: the summary of the deletion (status 200). A task that has not ended is canceled first, as
/// far as its nodes still can. `named` is the id as the client wrote it.
pub async fn delete_one<H: TaskHost>(
    host: &Arc<H>,
    (id, named): (TaskRef, &str),
    access: IndexAccess,
    format: UidFormat,
) -> Result<Value, ResponseError> {
    let found = find(host, id, &access).await?;
    let mut task = deletion(host, vec![found.uid], format!("?uids={named}"));
    // Tells the driver, also after a restart, that it is to wait for the task's end.
    task.canceled_by = Some(task.uid);
    insert(host, &task).await?;
    let summary = summary_view(&task, format);
    task_delete::start(host, task);
    Ok(summary)
}

async fn start_deletion<H: TaskHost>(
    host: &Arc<H>,
    subjects: Vec<u32>,
    original_filter: String,
    format: UidFormat,
) -> Result<Value, ResponseError> {
    let task = deletion(host, subjects, original_filter);
    insert(host, &task).await?;
    let summary = summary_view(&task, format);
    task_delete::start(host, task);
    Ok(summary)
}

fn deletion<H: TaskHost>(host: &Arc<H>, subjects: Vec<u32>, original_filter: String) -> MiroirTask {
    let details = json!({ "matchedTasks": subjects.len(), "deletedTasks": null, "originalFilter": original_filter });
    let mut task = own_task(host, TaskKind::TaskDeletion, subjects);
    task.details = details.as_object().cloned();
    task
}

/// A task that the cluster itself carries out; its row is not stored yet.
pub(crate) fn own_task<H: TaskHost>(host: &Arc<H>, kind: TaskKind, subjects: Vec<u32>) -> MiroirTask {
    let mut task = MiroirTask::new(host.next_uid(), kind, None, OffsetDateTime::now_utc());
    task.acknowledged = true;
    task.subjects = subjects;
    task
}

/// Stores the row of a task of [`own_task`].
pub(crate) async fn insert<H: TaskHost>(host: &Arc<H>, task: &MiroirTask) -> Result<(), ResponseError> {
    host.store().insert_task(task.clone()).await.map_err(|error| store_failed(&error))
}

async fn uids<H: TaskHost>(host: &Arc<H>, filter: TaskFilter) -> Result<Vec<u32>, ResponseError> {
    host.store().task_uids(filter).await.map_err(|error| store_failed(&error))
}

/// The task of that id, if whoever asks may see it.
pub(crate) async fn find<H: TaskHost>(
    host: &Arc<H>,
    id: TaskRef,
    access: &IndexAccess,
) -> Result<MiroirTask, ResponseError> {
    let task = freshest(host, id).await.map_err(|error| store_failed(&error))?;
    task.filter(|task| access.allows(task.index_uid.as_deref()))
        .ok_or_else(|| ResponseError::new(Code::TaskNotFound, format!("Task `{id}` not found.")))
}

/// A task's state in memory if it is being polled, else its row.
pub(crate) async fn freshest<H: TaskHost>(host: &Arc<H>, id: TaskRef) -> Result<Option<MiroirTask>, StoreError> {
    match host.reconciler().live(id) {
        Some(task) => Ok(Some(task)),
        None => host.store().get_task(id).await,
    }
}

/// Ends a task that the cluster itself carries out. Does not give up storing it.
pub(crate) async fn finish<H: TaskHost>(host: &Arc<H>, mut task: MiroirTask, count: &'static str, value: u64) {
    let now = OffsetDateTime::now_utc();
    task.status = TaskStatus::Succeeded;
    task.canceled_by = None;
    task.started_at.get_or_insert(now);
    task.finished_at = Some(now);
    task.details.get_or_insert_default().insert(count.to_owned(), value.into());
    store_end(host, task).await;
}

/// Stores the row of a task that has ended, and does not give up.
pub(crate) async fn store_end<H: TaskHost>(host: &Arc<H>, task: MiroirTask) {
    while let Err(error) = host.store().finish_task(task.clone(), Vec::new()).await {
        tracing::error!(key = ?TaskKey::of(&task), %error, "end of a task could not be stored, trying again");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    host.reconciler().metrics().ended(task.status);
}

/// Shows that work on a task has begun.
pub(crate) async fn begin<H: TaskHost>(host: &Arc<H>, task: &mut MiroirTask) {
    task.status = TaskStatus::Processing;
    task.started_at.get_or_insert_with(OffsetDateTime::now_utc);
    save(host, task).await;
}

/// A failure is only logged: the next change writes the whole task again.
pub(crate) async fn save<H: TaskHost>(host: &Arc<H>, task: &MiroirTask) {
    if let Err(error) = host.store().update_task(task.clone()).await {
        tracing::error!(task = %task.id(), %error, "state of a task could not be stored");
    }
}
