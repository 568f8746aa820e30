//! Routes of tasks and batches.

use deserr::Deserr;
use miroir_words::action::Action;
use miroir_words::task::{TaskKind, TaskStatus};
use miroir_words::uid::IndexUid;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime};

use super::access::Access;
use super::extract::{
    InvalidBatchUids, InvalidIndexUid, InvalidTaskAfterEnqueuedAt, InvalidTaskAfterFinishedAt,
    InvalidTaskAfterStartedAt, InvalidTaskBeforeEnqueuedAt, InvalidTaskBeforeFinishedAt, InvalidTaskBeforeStartedAt,
    InvalidTaskCanceledBy, InvalidTaskFrom, InvalidTaskLimit, InvalidTaskReverse, InvalidTaskStatuses,
    InvalidTaskTypes, InvalidTaskUids, Param, Parameter, QueryRefusal, Sentence, StarList, from_query,
};
use super::instance::{ENGINE_RELEASE, feature_off};
use super::{Answer, Call, Node, blocking, ok};
use crate::error::{Code, ResponseError};
use crate::queue::filter::{DateRange, TaskFilter, TaskPage};
use crate::queue::task::TaskContent;
use crate::queue::view;

/// The bare name of an index in a query string.
#[derive(Debug)]
struct IndexName(String);

/// A bound that a bare day puts at the start of the next day.
#[derive(Debug, Clone, Copy, Default)]
struct After(Option<OffsetDateTime>);

/// A bound that a bare day puts at its own start.
#[derive(Debug, Clone, Copy, Default)]
struct Before(Option<OffsetDateTime>);

/// The parameters of `GET /tasks` and `GET /batches`.
#[derive(Debug, Deserr)]
#[deserr(error = QueryRefusal, rename_all = camelCase, deny_unknown_fields)]
struct ListTasks {
    #[deserr(default = Param(20), error = QueryRefusal<InvalidTaskLimit>)]
    limit: Param<u32>,
    #[deserr(default, error = QueryRefusal<InvalidTaskFrom>)]
    from: Option<Param<u32>>,
    #[deserr(default, error = QueryRefusal<InvalidTaskReverse>)]
    reverse: Option<Param<bool>>,
    #[deserr(default, error = QueryRefusal<InvalidBatchUids>)]
    batch_uids: StarList<u32>,
    #[deserr(default, error = QueryRefusal<InvalidTaskUids>)]
    uids: StarList<u32>,
    #[deserr(default, error = QueryRefusal<InvalidTaskCanceledBy>)]
    canceled_by: StarList<u32>,
    #[deserr(default, error = QueryRefusal<InvalidTaskTypes>)]
    types: StarList<TaskKind>,
    #[deserr(default, error = QueryRefusal<InvalidTaskStatuses>)]
    statuses: StarList<TaskStatus>,
    #[deserr(default, error = QueryRefusal<InvalidIndexUid>)]
    index_uids: StarList<IndexName>,
    #[deserr(default, error = QueryRefusal<InvalidTaskAfterEnqueuedAt>, try_from(String) = after -> Sentence)]
    after_enqueued_at: After,
    #[deserr(default, error = QueryRefusal<InvalidTaskBeforeEnqueuedAt>, try_from(String) = before -> Sentence)]
    before_enqueued_at: Before,
    #[deserr(default, error = QueryRefusal<InvalidTaskAfterStartedAt>, try_from(String) = after -> Sentence)]
    after_started_at: After,
    #[deserr(default, error = QueryRefusal<InvalidTaskBeforeStartedAt>, try_from(String) = before -> Sentence)]
    before_started_at: Before,
    #[deserr(default, error = QueryRefusal<InvalidTaskAfterFinishedAt>, try_from(String) = after -> Sentence)]
    after_finished_at: After,
    #[deserr(default, error = QueryRefusal<InvalidTaskBeforeFinishedAt>, try_from(String) = before -> Sentence)]
    before_finished_at: Before,
}

/// The parameters of `POST /tasks/cancel` and `DELETE /tasks`.
#[derive(Debug, Deserr)]
#[deserr(error = QueryRefusal, rename_all = camelCase, deny_unknown_fields)]
struct ChooseTasks {
    #[deserr(default, error = QueryRefusal<InvalidTaskUids>)]
    uids: StarList<u32>,
    #[deserr(default, error = QueryRefusal<InvalidBatchUids>)]
    batch_uids: StarList<u32>,
    #[deserr(default, error = QueryRefusal<InvalidTaskCanceledBy>)]
    canceled_by: StarList<u32>,
    #[deserr(default, error = QueryRefusal<InvalidTaskTypes>)]
    types: StarList<TaskKind>,
    #[deserr(default, error = QueryRefusal<InvalidTaskStatuses>)]
    statuses: StarList<TaskStatus>,
    #[deserr(default, error = QueryRefusal<InvalidIndexUid>)]
    index_uids: StarList<IndexName>,
    #[deserr(default, error = QueryRefusal<InvalidTaskAfterEnqueuedAt>, try_from(String) = after -> Sentence)]
    after_enqueued_at: After,
    #[deserr(default, error = QueryRefusal<InvalidTaskBeforeEnqueuedAt>, try_from(String) = before -> Sentence)]
    before_enqueued_at: Before,
    #[deserr(default, error = QueryRefusal<InvalidTaskAfterStartedAt>, try_from(String) = after -> Sentence)]
    after_started_at: After,
    #[deserr(default, error = QueryRefusal<InvalidTaskBeforeStartedAt>, try_from(String) = before -> Sentence)]
    before_started_at: Before,
    #[deserr(default, error = QueryRefusal<InvalidTaskAfterFinishedAt>, try_from(String) = after -> Sentence)]
    after_finished_at: After,
    #[deserr(default, error = QueryRefusal<InvalidTaskBeforeFinishedAt>, try_from(String) = before -> Sentence)]
    before_finished_at: Before,
}

// === impl parameters ===

impl Parameter for IndexName {
    fn read(text: &str) -> Result<Self, Sentence> {
        IndexUid::parse(text).map(|uid| Self(uid.into_string())).map_err(|error| Sentence(error.message))
    }
}

impl Parameter for TaskStatus {
    fn read(text: &str) -> Result<Self, Sentence> {
        Self::parse(text).map_err(Sentence)
    }
}

impl Parameter for TaskKind {
    fn read(text: &str) -> Result<Self, Sentence> {
        Self::parse_known(text, ENGINE_RELEASE).map_err(Sentence)
    }
}

// === impl ListTasks ===

impl ListTasks {
    fn split(self, access: &Access) -> (TaskFilter, TaskPage) {
        let page = TaskPage {
            limit: self.limit.0,
            from: self.from.map(|from| from.0),
            reverse: self.reverse.is_some_and(|reverse| reverse.0),
        };
        let choice = ChooseTasks {
            uids: self.uids,
            batch_uids: self.batch_uids,
            canceled_by: self.canceled_by,
            types: self.types,
            statuses: self.statuses,
            index_uids: self.index_uids,
            after_enqueued_at: self.after_enqueued_at,
            before_enqueued_at: self.before_enqueued_at,
            after_started_at: self.after_started_at,
            before_started_at: self.before_started_at,
            after_finished_at: self.after_finished_at,
            before_finished_at: self.before_finished_at,
        };
        (choice.into_filter(access), page)
    }
}

// === impl ChooseTasks ===

impl ChooseTasks {
    fn into_filter(self, access: &Access) -> TaskFilter {
        let names = |list: Vec<IndexName>| list.into_iter().map(|name| name.0).collect();
        TaskFilter {
            uids: self.uids.into_list(),
            batch_uids: self.batch_uids.into_list(),
            canceled_by: self.canceled_by.into_list(),
            kinds: self.types.into_list(),
            statuses: self.statuses.into_list(),
            index_uids: self.index_uids.into_list().map(names),
            enqueued: DateRange { after: self.after_enqueued_at.0, before: self.before_enqueued_at.0 },
            started: DateRange { after: self.after_started_at.0, before: self.before_started_at.0 },
            finished: DateRange { after: self.after_finished_at.0, before: self.before_finished_at.0 },
            visible: access.visible(),
        }
    }
}

pub async fn list(call: Call) -> Answer {
    let access = call.authorize(Action::TasksGet, None)?;
    let parameters: ListTasks = from_query(&call.query)?;
    let (filter, page) = parameters.split(&access);
    let shown = blocking(&call.node, move |node| {
        let one_more = TaskPage { limit: page.limit.saturating_add(1), ..page };
        let (mut tasks, total) = node.queue.store.list(&filter, one_more)?;
        let next = if tasks.len() > page.limit as usize { tasks.pop().map(|task| task.uid) } else { None };
        let from = tasks.first().map(|task| task.uid);
        let results: Vec<Value> = tasks.iter().map(view::task).collect();
        Ok(json!({"results": results, "total": total, "limit": page.limit, "from": from, "next": next}))
    })
    .await?;
    Ok(ok(&shown))
}

pub async fn get(call: Call, uid: &str) -> Answer {
    let access = call.authorize(Action::TasksGet, None)?;
    let uid: u32 = uid.parse().map_err(|_| {
        let message = format!("Task uid `{uid}` is invalid. It should only contain numeric characters.");
        ResponseError::new(Code::InvalidTaskUids, message)
    })?;
    let filter = TaskFilter { visible: access.visible(), ..TaskFilter::default() };
    let shown = blocking(&call.node, move |node| Ok(view::task(&node.queue.get(uid, filter)?))).await?;
    Ok(ok(&shown))
}

/// The payload of a waiting task is behind an experimental feature of the engine, which the node leaves off.
pub fn documents(call: &Call, _uid: &str) -> Answer {
    call.authorize(Action::TasksGet, None)?;
    Err(feature_off(
        "Getting the documents of an enqueued task",
        "get task documents route",
        "https://github.com/orgs/meilisearch/discussions/808",
    ))
}

pub async fn cancel(call: Call) -> Answer {
    let access = call.authorize(Action::TasksCancel, None)?;
    let filter = chosen(&call, &access, "cancel")?;
    register(call, filter, |query, tasks| TaskContent::TaskCancelation { query, tasks }).await
}

pub async fn delete(call: Call) -> Answer {
    let access = call.authorize(Action::TasksDelete, None)?;
    let filter = chosen(&call, &access, "delete")?;
    register(call, filter, |query, tasks| TaskContent::TaskDeletion { query, tasks }).await
}

pub async fn list_batches(call: Call) -> Answer {
    let access = call.authorize(Action::TasksGet, None)?;
    let parameters: ListTasks = from_query(&call.query)?;
    let (filter, page) = parameters.split(&access);
    let shown = blocking(&call.node, move |node| {
        let one_more = TaskPage { limit: page.limit.saturating_add(1), ..page };
        let (mut uids, total) = node.queue.store.batches(&filter, one_more)?;
        let next = if uids.len() > page.limit as usize { uids.pop() } else { None };
        let mut results = Vec::with_capacity(uids.len());
        for uid in &uids {
            results.push(batch_view(node, *uid)?);
        }
        Ok(json!({"results": results, "total": total, "limit": page.limit, "from": uids.first(), "next": next}))
    })
    .await?;
    Ok(ok(&shown))
}

pub async fn get_batch(call: Call, uid: &str) -> Answer {
    let access = call.authorize(Action::TasksGet, None)?;
    let uid: u32 = uid.parse().map_err(|_| {
        let message = format!("Batch uid `{uid}` is invalid. It should only contain numeric characters.");
        ResponseError::new(Code::InvalidBatchUids, message)
    })?;
    let shown = blocking(&call.node, move |node| {
        let filter = TaskFilter { batch_uids: Some(vec![uid]), visible: access.visible(), ..TaskFilter::default() };
        if node.queue.store.uids(&filter)?.is_empty() {
            return Err(ResponseError::new(Code::BatchNotFound, format!("Batch `{uid}` not found.")));
        }
        batch_view(node, uid)
    })
    .await?;
    Ok(ok(&shown))
}

fn batch_view(node: &Node, uid: u32) -> Result<Value, ResponseError> {
    let filter = TaskFilter { batch_uids: Some(vec![uid]), ..TaskFilter::default() };
    let all = TaskPage { limit: u32::MAX, from: None, reverse: true };
    Ok(view::batch(uid, &node.queue.store.list(&filter, all)?.0))
}

/// The tasks that a request means. Without any condition it is refused, as it would mean all.
fn chosen(call: &Call, access: &Access, verb: &str) -> Result<TaskFilter, ResponseError> {
    let parameters: ChooseTasks = from_query(&call.query)?;
    if call.query.is_empty() {
        let message = format!(
            "Query parameters to filter the tasks to {verb} are missing. Available query parameters are: `uids`, \
             `indexUids`, `statuses`, `types`, `canceledBy`, `beforeEnqueuedAt`, `afterEnqueuedAt`, \
             `beforeStartedAt`, `afterStartedAt`, `beforeFinishedAt`, `afterFinishedAt`."
        );
        return Err(ResponseError::new(Code::MissingTaskFilters, message));
    }
    Ok(parameters.into_filter(access))
}

async fn register(
    call: Call,
    filter: TaskFilter,
    content: impl FnOnce(String, Vec<u32>) -> TaskContent + Send + 'static,
) -> Answer {
    let query = format!("?{}", call.query);
    let task = blocking(&call.node, move |node| {
        let tasks = node.queue.store.uids(&filter)?;
        node.queue.register(None, content(query, tasks), None)
    })
    .await?;
    Ok(ok(&view::summary(&task)))
}

fn after(text: String) -> Result<After, Sentence> {
    Ok(After(bound(&text, Duration::DAY)?))
}

fn before(text: String) -> Result<Before, Sentence> {
    Ok(Before(bound(&text, Duration::ZERO)?))
}

/// `*` is no bound; a bare day is moved by `shift`.
fn bound(text: &str, shift: Duration) -> Result<Option<OffsetDateTime>, Sentence> {
    if text == "*" {
        return Ok(None);
    }
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(Some(moment));
    }
    let day = format_description!("[year repr:full base:calendar]-[month repr:numerical]-[day]");
    match Date::parse(text, day) {
        Ok(date) => {
            let start = date.midnight().assume_utc();
            Ok(Some(start.checked_add(shift).unwrap_or(start)))
        }
        Err(_) => Err(Sentence(format!(
            "`{text}` is an invalid date-time. It should follow the YYYY-MM-DD or RFC 3339 date-time format."
        ))),
    }
}
