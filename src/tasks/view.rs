//! A task as the client sees it, in Meilisearch's JSON.

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::entry::{MiroirTask, NodeTaskState};
use super::filter::{TaskKey, TaskList, TaskRef};
use crate::meili::task::{TaskKind, TaskStatus};
use crate::meili::uid::RULES_INDEX;

/// How ids of tasks are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UidFormat {
    Integer,
    Mtask,
}

/// The setting `tasks.uid_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UidFormatSetting {
    /// Integers for clients that name themselves as a Meilisearch SDK or name tasks by integers, now or of late; `mtask-…`
    /// for others.
    Auto,
    Integer,
    Mtask,
}

/// How a request names tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Nothing,
    Integers,
    /// One of them, at least.
    Mtasks,
}

// === impl Named ===

impl Named {
    /// What names more wins: one list with an mtask is a list of mtasks.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Mtasks, _) | (_, Self::Mtasks) => Self::Mtasks,
            (Self::Integers, _) | (_, Self::Integers) => Self::Integers,
            (Self::Nothing, Self::Nothing) => Self::Nothing,
        }
    }
}

impl From<Option<TaskRef>> for Named {
    fn from(named: Option<TaskRef>) -> Self {
        match named {
            None => Self::Nothing,
            Some(TaskRef::Uid(_)) => Self::Integers,
            Some(TaskRef::Uuid(_)) => Self::Mtasks,
        }
    }
}

// === impl UidFormat ===

impl UidFormat {
    /// `user_agent` and `client_header` are the headers `User-Agent` and `X-Meilisearch-Client`. The official SDKs
    /// send `Meilisearch Python (v0.34)` and the like in one of them, several joined by `;` where one wraps another. They
    /// leave it out of some requests: who does not say what it is, is answered in the form that it `named` tasks in, and
    /// else in integers if it is `known` to speak so.
    pub fn choose(
        setting: UidFormatSetting,
        user_agent: Option<&str>,
        client_header: Option<&str>,
        named: Named,
        known: impl Fn() -> bool,
    ) -> Self {
        let is_sdk = |header: Option<&str>| {
            header.is_some_and(|names| names.split(';').any(|name| name.trim_start().starts_with("Meilisearch ")))
        };
        match setting {
            UidFormatSetting::Integer => Self::Integer,
            UidFormatSetting::Mtask => Self::Mtask,
            UidFormatSetting::Auto if is_sdk(user_agent) || is_sdk(client_header) => Self::Integer,
            UidFormatSetting::Auto => match named {
                Named::Integers => Self::Integer,
                Named::Mtasks => Self::Mtask,
                Named::Nothing if known() => Self::Integer,
                Named::Nothing => Self::Mtask,
            },
        }
    }

    fn write(self, key: TaskKey) -> Value {
        match self {
            Self::Integer => key.uid.into(),
            Self::Mtask => format!("mtask-{}", key.uuid).into(),
        }
    }
}

/// What `GET /tasks/{id}` shows. `canceledBy` is an integer in either format.
pub fn task_view(task: &MiroirTask, format: UidFormat) -> Value {
    let canceled_by = if task.status == TaskStatus::Canceled { task.canceled_by } else { None };
    let mut view = Map::new();
    let mut put = |name: &str, value: Value| view.insert(name.to_owned(), value);
    put("uid", format.write(TaskKey::of(task)));
    put("batchUid", json!(batch_of(task)));
    put("indexUid", json!(index_of(task)));
    put("status", json!(task.status));
    put("type", json!(task.kind));
    put("canceledBy", json!(canceled_by));
    if let Some(details) = details(task) {
        put("details", Value::Object(details));
    }
    put("error", json!(task.error));
    put("duration", json!(span(task.started_at, task.finished_at)));
    put("enqueuedAt", json!(rfc3339(task.enqueued_at)));
    put("startedAt", json!(task.started_at.map(rfc3339)));
    put("finishedAt", json!(task.finished_at.map(rfc3339)));
    if let Some(metadata) = &task.custom_metadata {
        put("customMetadata", json!(metadata));
    }
    Value::Object(view)
}

/// The batch that a task belongs to, once it has begun: its own, or that of the cancelation that kept it from beginning.
pub(super) fn batch_of(task: &MiroirTask) -> Option<u32> {
    match task.status {
        TaskStatus::Enqueued => None,
        TaskStatus::Canceled => Some(task.canceled_by.unwrap_or(task.uid)),
        TaskStatus::Processing | TaskStatus::Succeeded | TaskStatus::Failed => Some(task.uid),
    }
}

/// The index that a task is shown to be of. The engine keeps its rules in one, which no request can name.
pub(super) fn index_of(task: &MiroirTask) -> Option<&str> {
    match task.kind {
        TaskKind::DsrUpdate | TaskKind::DsrClear => Some(RULES_INDEX),
        TaskKind::DocumentAdditionOrUpdate
        | TaskKind::DocumentEdition
        | TaskKind::DocumentDeletion
        | TaskKind::SettingsUpdate
        | TaskKind::IndexCreation
        | TaskKind::IndexDeletion
        | TaskKind::IndexUpdate
        | TaskKind::IndexSwap
        | TaskKind::IndexCompaction
        | TaskKind::TaskCancelation
        | TaskKind::TaskDeletion
        | TaskKind::DumpCreation
        | TaskKind::SnapshotCreation
        | TaskKind::Export
        | TaskKind::UpgradeDatabase
        | TaskKind::NetworkTopologyChange => task.index_uid.as_deref(),
    }
}

/// What the answer to a write shows.
pub fn summary_view(task: &MiroirTask, format: UidFormat) -> Value {
    let mut view = json!({
        "taskUid": format.write(TaskKey::of(task)),
        "indexUid": index_of(task),
        // A task that has failed already is shown as the engine shows it: it was enqueued, and no more is known.
        "status": TaskStatus::Enqueued,
        "type": task.kind,
        "enqueuedAt": rfc3339(task.enqueued_at),
    });
    if let Some(metadata) = &task.custom_metadata {
        view["customMetadata"] = json!(metadata);
    }
    view
}

/// What `GET /tasks` shows.
pub fn list_view(list: &TaskList, limit: u32, format: UidFormat) -> Value {
    json!({
        "results": list.tasks.iter().map(|task| task_view(task, format)).collect::<Vec<_>>(),
        "total": list.total,
        "limit": limit,
        "from": list.tasks.first().map(|task| format.write(TaskKey::of(task))),
        "next": list.next.map(|key| format.write(key)),
    })
}

/// While the task goes on they name the nodes that cannot be reached.
pub(super) fn details(task: &MiroirTask) -> Option<Map<String, Value>> {
    let mut details = task.details.clone();
    let mut unreachable: Vec<&str> = task
        .parts
        .iter()
        .filter(|part| part.state == NodeTaskState::Unreachable)
        .map(|part| part.node.as_str())
        .collect();
    unreachable.sort_unstable();
    unreachable.dedup();
    if !task.status.is_final() && !unreachable.is_empty() {
        details.get_or_insert_default().insert("unreachableNodes".to_owned(), json!(unreachable));
    }
    details
}

/// As the engine writes dates.
pub fn rfc3339(date: OffsetDateTime) -> String {
    date.format(&Rfc3339).expect("dates come from clocks, whose years have four digits")
}

/// The time between two moments; see [`duration`].
pub(super) fn span(start: Option<OffsetDateTime>, end: Option<OffsetDateTime>) -> Option<String> {
    start.zip(end).and_then(|(start, end)| duration(end - start))
}

/// ISO 8601 as the engine writes it: days, then seconds with as many of 0, 3, 6 or 9 digits as are needed.
fn duration(span: Duration) -> Option<String> {
    if span.is_negative() {
        return None;
    }
    let days = span.whole_days();
    let seconds = span.whole_seconds() - days * 86_400;
    let nanos = span.subsec_nanoseconds();
    let mut text = String::from("P");
    if days != 0 {
        text.push_str(&format!("{days}D"));
    }
    if nanos == 0 {
        if seconds != 0 || days == 0 {
            text.push_str(&format!("T{seconds}S"));
        }
    } else if nanos % 1_000_000 == 0 {
        text.push_str(&format!("T{seconds}.{:03}S", nanos / 1_000_000));
    } else if nanos % 1_000 == 0 {
        text.push_str(&format!("T{seconds}.{:06}S", nanos / 1_000));
    } else {
        text.push_str(&format!("T{seconds}.{nanos:09}S"));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meili::error::{Code, ResponseError};
    use crate::meili::task::TaskKind;
    use crate::tasks::fold::samples::{T0, folded, part};

    const UUID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn golden(mut task: MiroirTask, format: UidFormat) -> String {
        task.uuid = UUID.parse().unwrap();
        serde_json::to_string(&task_view(&task, format)).unwrap()
    }

    #[test]
    fn a_succeeded_task_reads_as_the_engines() {
        let mut task = folded(vec![part("a", &[1], NodeTaskState::Succeeded)]);
        task.finished_at = task.started_at.map(|start| start + Duration::microseconds(12_345));
        assert_eq!(
            golden(task, UidFormat::Integer),
            r#"{"uid":3,"batchUid":3,"indexUid":"cities","status":"succeeded","type":"documentAdditionOrUpdate","canceledBy":null,"details":{"receivedDocuments":10,"indexedDocuments":10},"error":null,"duration":"PT0.012345S","enqueuedAt":"2026-01-02T03:04:05Z","startedAt":"2026-01-02T03:04:06Z","finishedAt":"2026-01-02T03:04:06.012345Z"}"#
        );
    }

    #[test]
    fn an_unfinished_task_names_the_nodes_that_do_not_answer() {
        let mut task = folded(vec![
            part("b", &[1], NodeTaskState::Unreachable),
            part("a", &[1], NodeTaskState::Enqueued),
            part("b", &[2], NodeTaskState::Unreachable),
        ]);
        task.custom_metadata = Some("mine".to_owned());
        assert_eq!(
            golden(task, UidFormat::Mtask),
            r#"{"uid":"mtask-01890a5d-ac96-774b-bcce-b302099a8057","batchUid":null,"indexUid":"cities","status":"enqueued","type":"documentAdditionOrUpdate","canceledBy":null,"details":{"receivedDocuments":10,"indexedDocuments":null,"unreachableNodes":["b"]},"error":null,"duration":null,"enqueuedAt":"2026-01-02T03:04:05Z","startedAt":null,"finishedAt":null,"customMetadata":"mine"}"#
        );
    }

    #[test]
    fn a_failed_task_shows_its_error_and_a_task_without_details_leaves_them_out() {
        let mut task = MiroirTask::new(0, TaskKind::IndexSwap, None, T0);
        task.status = TaskStatus::Failed;
        task.error = Some(ResponseError::new(Code::IndexNotFound, "Index `a` not found."));
        (task.started_at, task.finished_at) = (Some(T0), Some(T0));
        assert_eq!(
            golden(task, UidFormat::Integer),
            r#"{"uid":0,"batchUid":0,"indexUid":null,"status":"failed","type":"indexSwap","canceledBy":null,"error":{"message":"Index `a` not found.","code":"index_not_found","type":"invalid_request","link":"https://docs.meilisearch.com/errors#index_not_found"},"duration":"PT0S","enqueuedAt":"2026-01-02T03:04:05Z","startedAt":"2026-01-02T03:04:05Z","finishedAt":"2026-01-02T03:04:05Z"}"#
        );
    }

    #[test]
    fn a_cancelation_that_is_only_asked_for_is_not_shown() {
        let mut task = folded(vec![part("a", &[1], NodeTaskState::Processing)]);
        task.canceled_by = Some(9);
        assert_eq!(task_view(&task, UidFormat::Integer)["canceledBy"], Value::Null);
        task.status = TaskStatus::Canceled;
        assert_eq!(task_view(&task, UidFormat::Integer)["canceledBy"], 9);
        assert_eq!(task_view(&task, UidFormat::Integer)["batchUid"], 9);
    }

    #[test]
    fn a_summary_reads_as_the_engines() {
        let mut task = folded(vec![part("a", &[1], NodeTaskState::Enqueued)]);
        task.uuid = UUID.parse().unwrap();
        assert_eq!(
            summary_view(&task, UidFormat::Integer).to_string(),
            r#"{"taskUid":3,"indexUid":"cities","status":"enqueued","type":"documentAdditionOrUpdate","enqueuedAt":"2026-01-02T03:04:05Z"}"#
        );
        assert_eq!(summary_view(&task, UidFormat::Mtask)["taskUid"], format!("mtask-{UUID}"));
    }

    #[test]
    fn durations_have_as_many_digits_as_they_need() {
        let text = |nanos: i64| duration(Duration::nanoseconds(nanos)).unwrap();
        assert_eq!(text(0), "PT0S");
        assert_eq!(text(1_000_000_000), "PT1S");
        assert_eq!(text(9_330_000), "PT0.009330S");
        assert_eq!(text(9_000_000), "PT0.009S");
        assert_eq!(text(12_345_678), "PT0.012345678S");
        assert_eq!(text(86_400_000_000_000), "P1D");
        assert_eq!(text(90_061_500_000_000), "P1DT3661.500S");
        assert_eq!(duration(Duration::nanoseconds(-1)), None);
    }

    #[test]
    fn only_official_clients_get_integers_by_themselves() {
        let choose = |setting, agent, client| UidFormat::choose(setting, agent, client, Named::Nothing, || false);
        let auto = |agent, client| choose(UidFormatSetting::Auto, agent, client);
        assert_eq!(auto(Some("Meilisearch Python (v0.34.0)"), None), UidFormat::Integer);
        assert_eq!(
            auto(Some("Mozilla/5.0"), Some("Meilisearch instant-meilisearch (v0.1) ; Meilisearch JavaScript (v0.5)")),
            UidFormat::Integer
        );
        assert_eq!(auto(Some("curl/8.0"), None), UidFormat::Mtask);
        assert_eq!(auto(None, None), UidFormat::Mtask);
        assert_eq!(choose(UidFormatSetting::Integer, Some("curl/8.0"), None), UidFormat::Integer);
        assert_eq!(choose(UidFormatSetting::Mtask, Some("Meilisearch Go (v0.1)"), None), UidFormat::Mtask);
    }

    #[test]
    fn who_does_not_say_what_it_is_is_answered_as_it_asks_and_else_as_it_is_known() {
        let choose = |setting, named, known| UidFormat::choose(setting, Some("okhttp/4.9"), None, named, || known);
        let auto = |named, known| choose(UidFormatSetting::Auto, named, known);
        for known in [false, true] {
            assert_eq!(auto(Named::Integers, known), UidFormat::Integer);
            assert_eq!(auto(Named::Mtasks, known), UidFormat::Mtask);
        }
        assert_eq!(auto(Named::Nothing, true), UidFormat::Integer);
        assert_eq!(auto(Named::Nothing, false), UidFormat::Mtask);
        assert_eq!(choose(UidFormatSetting::Mtask, Named::Integers, true), UidFormat::Mtask);
    }
}
