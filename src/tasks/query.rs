//! Query strings of the task routes, with the engine's errors.

use super::filter::{IndexAccess, TaskFilter, TaskPage, TaskRef, Unit};
use super::params::{self, Side};
use super::view::Named;
use crate::meili::error::{Code, ResponseError};
use crate::meili::query::QueryMap;
use crate::meili::task::{TaskKind, TaskStatus};
use crate::meili::uid::IndexUid;
use crate::meili::unknown;

/// The parameters of `GET /tasks`, in the order in which the engine names them.
const LIST_PARAMETERS: [&str; 15] = [
    "limit",
    "from",
    "reverse",
    "batchUids",
    "uids",
    "canceledBy",
    "types",
    "statuses",
    "indexUids",
    "afterEnqueuedAt",
    "beforeEnqueuedAt",
    "afterStartedAt",
    "beforeStartedAt",
    "afterFinishedAt",
    "beforeFinishedAt",
];

/// Those of the routes that cancel and delete.
const FILTER_PARAMETERS: [&str; 12] = [
    "uids",
    "batchUids",
    "canceledBy",
    "types",
    "statuses",
    "indexUids",
    "afterEnqueuedAt",
    "beforeEnqueuedAt",
    "afterStartedAt",
    "beforeStartedAt",
    "afterFinishedAt",
    "beforeFinishedAt",
];

const DEFAULT_LIMIT: u32 = 20;

/// What the words of a task route depend on besides the query string.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Whose tasks are meant.
    pub access: IndexAccess,
    /// Major and minor version of the engine whose words are spoken.
    pub release: (u32, u32),
}

/// `GET /tasks?...`.
pub fn parse_list(query: &str, asking: Asking) -> Result<TaskPage, ResponseError> {
    let Asking { access, release } = asking;
    let filter = TaskFilter { access, ..TaskFilter::default() };
    let mut page = TaskPage { filter, from: None, limit: DEFAULT_LIMIT, reverse: false };
    for (name, value) in QueryMap::parse(query).iter() {
        let refuse = |complaint: String, code| params::invalid(name, &complaint, code);
        match name {
            "limit" => page.limit = params::integer(value).map_err(|c| refuse(c, Code::InvalidTaskLimit))?,
            "from" => page.from = Some(params::task_ref(value).map_err(|c| refuse(c, Code::InvalidTaskFrom))?),
            "reverse" => page.reverse = params::boolean(value).map_err(|c| refuse(c, Code::InvalidTaskReverse))?,
            _ if LIST_PARAMETERS.contains(&name) => read_filter(&mut page.filter, (name, value), release)?,
            _ => return Err(unknown::parameter(name, &LIST_PARAMETERS)),
        }
    }
    Ok(page)
}

/// `GET /batches?...`.
pub fn parse_batches(query: &str, asking: Asking) -> Result<TaskPage, ResponseError> {
    let mut page = parse_list(query, asking)?;
    page.filter.unit = Unit::Batch;
    Ok(page)
}

/// The id in `/batches/{id}`.
pub fn parse_batch_id(id: &str) -> Result<u32, ResponseError> {
    id.parse().map_err(|_| {
        ResponseError::new(
            Code::InvalidBatchUids,
            format!("Batch uid `{id}` is invalid. It should only contain numeric characters."),
        )
    })
}

/// `POST /tasks/cancel?...`.
pub fn parse_cancel(query: &str, asking: Asking) -> Result<TaskFilter, ResponseError> {
    parse_filter(query, asking, "cancel")
}

/// `DELETE /tasks?...`.
pub fn parse_delete(query: &str, asking: Asking) -> Result<TaskFilter, ResponseError> {
    parse_filter(query, asking, "delete")
}

/// The id in `/tasks/{id}`.
pub fn parse_id(id: &str) -> Result<TaskRef, ResponseError> {
    TaskRef::parse(id).ok_or_else(|| {
        ResponseError::new(
            Code::InvalidTaskUids,
            format!("Task uid `{id}` is invalid. It should only contain numeric characters."),
        )
    })
}

/// How the client names tasks in a query string.
pub fn named_in(query: &str) -> Named {
    let query = QueryMap::parse(query);
    ["uids", "canceledBy", "from"]
        .into_iter()
        .filter_map(|name| query.get(name))
        .flat_map(|ids| ids.split(','))
        .fold(Named::Nothing, |named, id| named.and(TaskRef::parse(id).into()))
}

fn parse_filter(query: &str, asking: Asking, verb: &str) -> Result<TaskFilter, ResponseError> {
    let Asking { access, release } = asking;
    let query = QueryMap::parse(query);
    let mut filter = TaskFilter { access, ..TaskFilter::default() };
    for (name, value) in query.iter() {
        if !FILTER_PARAMETERS.contains(&name) {
            return Err(unknown::parameter(name, &FILTER_PARAMETERS));
        }
        read_filter(&mut filter, (name, value), release)?;
    }
    if query.is_empty() {
        return Err(ResponseError::new(
            Code::MissingTaskFilters,
            format!(
                "Query parameters to filter the tasks to {verb} are missing. Available query parameters are: `uids`, \
                 `indexUids`, `statuses`, `types`, `canceledBy`, `beforeEnqueuedAt`, `afterEnqueuedAt`, \
                 `beforeStartedAt`, `afterStartedAt`, `beforeFinishedAt`, `afterFinishedAt`."
            ),
        ));
    }
    Ok(filter)
}

/// Reads one of [`FILTER_PARAMETERS`].
fn read_filter(filter: &mut TaskFilter, (name, value): (&str, &str), release: (u32, u32)) -> Result<(), ResponseError> {
    let kind = |text: &str| TaskKind::parse(text, release);
    let date = |code, side| params::date(name, value, code, side);
    match name {
        "uids" => filter.uids = params::list(name, value, Code::InvalidTaskUids, params::task_ref)?,
        "batchUids" => filter.batches = params::list(name, value, Code::InvalidBatchUids, params::integer)?,
        "canceledBy" => {
            filter.canceled_by = params::list(name, value, Code::InvalidTaskCanceledBy, params::task_ref)?;
        }
        "types" => filter.kinds = params::list(name, value, Code::InvalidTaskTypes, kind)?,
        "statuses" => filter.statuses = params::list(name, value, Code::InvalidTaskStatuses, TaskStatus::parse)?,
        "indexUids" => {
            let index_uid = |uid: &str| IndexUid::parse(uid).map(IndexUid::into_string).map_err(|error| error.message);
            filter.index_uids = params::list(name, value, Code::InvalidIndexUid, index_uid)?;
        }
        "afterEnqueuedAt" => filter.after_enqueued_at = date(Code::InvalidTaskAfterEnqueuedAt, Side::After)?,
        "beforeEnqueuedAt" => filter.before_enqueued_at = date(Code::InvalidTaskBeforeEnqueuedAt, Side::Before)?,
        "afterStartedAt" => filter.after_started_at = date(Code::InvalidTaskAfterStartedAt, Side::After)?,
        "beforeStartedAt" => filter.before_started_at = date(Code::InvalidTaskBeforeStartedAt, Side::Before)?,
        "afterFinishedAt" => filter.after_finished_at = date(Code::InvalidTaskAfterFinishedAt, Side::After)?,
        "beforeFinishedAt" => filter.before_finished_at = date(Code::InvalidTaskBeforeFinishedAt, Side::Before)?,
        _ => unreachable!("callers pass members of FILTER_PARAMETERS"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everyone() -> Asking {
        Asking { access: IndexAccess::All, release: (1, 15) }
    }

    fn list(query: &str) -> TaskPage {
        parse_list(query, everyone()).unwrap()
    }

    fn refusal(query: &str) -> (String, String) {
        let error = parse_cancel(query, everyone()).unwrap_err();
        (error.code, error.message)
    }

    #[test]
    fn a_list_has_the_engines_defaults() {
        assert_eq!(list(""), TaskPage { limit: 20, ..TaskPage::default() });
    }

    #[test]
    fn every_parameter_is_read() {
        let page = list(
            "from=12&limit=15&reverse=true&indexUids=toto,tata-78&statuses=Succeeded,enqueued&types=indexSwap\
             &afterEnqueuedAt=2012-04-23&uids=1,mtask-01890a5d-ac96-774b-bcce-b302099a8057&canceledBy=4",
        );
        assert_eq!((page.from, page.limit, page.reverse), (Some(TaskRef::Uid(12)), 15, true));
        assert_eq!(page.filter.index_uids, Some(vec!["toto".to_owned(), "tata-78".to_owned()]));
        assert_eq!(page.filter.statuses, Some(vec![TaskStatus::Succeeded, TaskStatus::Enqueued]));
        assert_eq!(page.filter.kinds, Some(vec![TaskKind::IndexSwap]));
        assert_eq!(page.filter.canceled_by, Some(vec![TaskRef::Uid(4)]));
        assert_eq!(page.filter.after_enqueued_at.unwrap().to_string(), "2012-04-24 0:00:00.0 +00:00:00");
        let uuid = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        assert_eq!(page.filter.uids, Some(vec![TaskRef::Uid(1), TaskRef::Uuid(uuid)]));
    }

    #[test]
    fn a_star_leaves_a_field_open_but_counts_as_a_filter() {
        let page = list("indexUids=*&statuses=succeeded,*&uids=1,2,3&beforeFinishedAt=*");
        assert_eq!((page.filter.index_uids, page.filter.statuses, page.filter.before_finished_at), (None, None, None));
        assert_eq!(parse_delete("statuses=*", everyone()).unwrap(), TaskFilter::default());
    }

    #[test]
    fn batches_and_tasks_are_named_apart() {
        let filter = list("batchUids=1,4&uids=2").filter;
        assert_eq!((filter.batches, filter.uids), (Some(vec![1, 4]), Some(vec![TaskRef::Uid(2)])));
        let filter = list("batchUids=*&uids=1").filter;
        assert_eq!((filter.batches, filter.uids), (None, Some(vec![TaskRef::Uid(1)])));
    }

    #[test]
    fn batches_are_listed_as_tasks_are() {
        let page = parse_batches("limit=3&from=7&statuses=failed", everyone()).unwrap();
        assert_eq!((page.limit, page.from, page.filter.unit), (3, Some(TaskRef::Uid(7)), Unit::Batch));
        assert_eq!(parse_batch_id("12"), Ok(12));
        let error = parse_batch_id("x").unwrap_err();
        assert_eq!(error.code, "invalid_batch_uids");
        assert_eq!(error.message, "Batch uid `x` is invalid. It should only contain numeric characters.");
    }

    #[test]
    fn bad_values_are_refused_in_the_engines_words() {
        let cases = [
            ("uids=cat,*,dog", "invalid_task_uids", "`uids[0]`: could not parse `cat` as a positive integer"),
            ("uids=78,hello,world", "invalid_task_uids", "`uids[1]`: could not parse `hello` as a positive integer"),
            ("uids=cat", "invalid_task_uids", "`uids`: could not parse `cat` as a positive integer"),
            ("canceledBy=x", "invalid_task_canceled_by", "`canceledBy`: could not parse `x` as a positive integer"),
            (
                "statuses=finished",
                "invalid_task_statuses",
                "`statuses`: `finished` is not a valid task status. Available statuses are `enqueued`, `processing`, \
                 `succeeded`, `failed`, `canceled`.",
            ),
            (
                "types=createIndex",
                "invalid_task_types",
                "`types`: `createIndex` is not a valid task type. Available types are `documentAdditionOrUpdate`, \
                 `documentEdition`, `documentDeletion`, `settingsUpdate`, `indexCreation`, `indexDeletion`, \
                 `indexUpdate`, `indexSwap`, `taskCancelation`, `taskDeletion`, `dumpCreation`, `snapshotCreation`, \
                 `upgradeDatabase`.",
            ),
            (
                "indexUids=1,h%C3%A9",
                "invalid_index_uid",
                "`indexUids[1]`: `hé` is not a valid index uid. Index uid can be an integer or a string containing \
                 only alphanumeric characters, hyphens (-) and underscores (_), and can not be more than 512 bytes.",
            ),
            (
                "beforeEnqueuedAt=2021-12-03T23",
                "invalid_task_before_enqueued_at",
                "`beforeEnqueuedAt`: `2021-12-03T23` is an invalid date-time. It should follow the YYYY-MM-DD or RFC \
                 3339 date-time format.",
            ),
        ];
        for (query, code, message) in cases {
            assert_eq!(refusal(query), (code.to_owned(), format!("Invalid value in parameter {message}")), "{query}");
        }
    }

    #[test]
    fn kinds_are_listed_as_the_engine_of_the_nodes_lists_them() {
        let listed = |release| {
            let asking = Asking { release, ..everyone() };
            parse_list("types=doggo", asking).unwrap_err().message
        };
        assert!(listed((1, 15)).ends_with("`snapshotCreation`, `upgradeDatabase`."), "{}", listed((1, 15)));
        // Seen of an engine of 1.50.
        assert!(
            listed((1, 50)).ends_with(
                "`snapshotCreation`, `export`, `upgradeDatabase`, `indexCompaction`, `networkTopologyChange`, \
                 `dsrUpdate`, `dsrClear`."
            ),
            "{}",
            listed((1, 50))
        );
        assert_eq!(list("types=export").filter.kinds, Some(vec![TaskKind::Export]), "the gateway has such tasks");
    }

    #[test]
    fn pages_are_refused_in_the_engines_words() {
        let refusal = |query| parse_list(query, everyone()).unwrap_err().message;
        assert_eq!(
            refusal("uids=*&from=*"),
            "Invalid value in parameter `from`: could not parse `*` as a positive integer"
        );
        assert_eq!(
            refusal("limit=-1"),
            "Invalid value in parameter `limit`: could not parse `-1` as a positive integer"
        );
        assert_eq!(
            refusal("reverse=1"),
            "Invalid value in parameter `reverse`: could not parse `1` as a boolean, expected either `true` or `false`"
        );
    }

    #[test]
    fn unknown_parameters_are_named_with_those_that_are_known() {
        assert_eq!(
            refusal("from=12"),
            (
                "bad_request".to_owned(),
                "Unknown parameter `from`: expected one of `uids`, `batchUids`, `canceledBy`, `types`, `statuses`, \
                 `indexUids`, `afterEnqueuedAt`, `beforeEnqueuedAt`, `afterStartedAt`, `beforeStartedAt`, \
                 `afterFinishedAt`, `beforeFinishedAt`"
                    .to_owned()
            )
        );
        let hint = parse_list("statuse=x", everyone()).unwrap_err().message;
        assert!(hint.starts_with("Unknown parameter `statuse`: did you mean `statuses`? expected one of `limit`, "));
    }

    #[test]
    fn nothing_is_canceled_or_deleted_without_a_filter() {
        let error = parse_delete("", everyone()).unwrap_err();
        assert_eq!(error.code, "missing_task_filters");
        assert!(error.message.starts_with("Query parameters to filter the tasks to delete are missing."));
        assert!(refusal("").1.starts_with("Query parameters to filter the tasks to cancel are missing."));
    }

    #[test]
    fn who_names_tasks_by_integers_understands_integers() {
        let long = "mtask-01890a5d-ac96-774b-bcce-b302099a8057";
        for query in ["uids=5", "uids=4,5&statuses=failed", "from=3&limit=2", "canceledBy=1", "uids=*,2"] {
            assert_eq!(named_in(query), Named::Integers, "{query}");
        }
        for query in ["", "statuses=failed&limit=5", "uids=*"] {
            assert_eq!(named_in(query), Named::Nothing, "{query}");
        }
        for query in [&format!("uids=5,{long}"), &format!("uids={long},5"), &format!("from={long}")] {
            assert_eq!(named_in(query), Named::Mtasks, "{query}");
        }
    }

    #[test]
    fn an_id_has_either_form() {
        assert_eq!(parse_id("12").unwrap(), TaskRef::Uid(12));
        let uuid = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(parse_id(&format!("mtask-{uuid}")).unwrap(), TaskRef::Uuid(uuid.parse().unwrap()));
        let error = parse_id("mtask-12").unwrap_err();
        assert_eq!(error.code, "invalid_task_uids");
        assert_eq!(error.message, "Task uid `mtask-12` is invalid. It should only contain numeric characters.");
    }
}
