//! Who is told when a task has ended.

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use crate::meili::pattern::IndexPattern;
use crate::meili::task::{TaskKind, TaskStatus};
use crate::meili::webhook::Webhook;
use crate::placement::stable_hash::hash_bytes;
use crate::settings::{FromSection, Section};
use crate::tasks::entry::MiroirTask;
use crate::tasks::swap::swapped_pairs;

/// `on_task: { url: "https://host/path", headers: {...}, types: [...], status: [...] }`.
#[derive(Clone)]
pub struct OnTask {
    webhook: Webhook,
    /// Any of them; none for all.
    types: Vec<TaskKind>,
    /// As `types`.
    statuses: Vec<TaskStatus>,
}

/// Whom a rule tells of which tasks.
#[derive(Debug, Clone)]
pub struct TaskHook {
    /// The rule's name.
    pub rule: String,
    indexes: Vec<IndexPattern>,
    on_task: OnTask,
}

/// The section `on_task`; `None` where there is none.
pub(super) struct Read(pub Option<OnTask>);

// === impl OnTask ===

impl FromSection for Read {
    fn read(section: &mut Section) -> Self {
        let url = section.text("url");
        let headers = headers(section);
        let types = named(section, "types", |name| {
            TaskKind::ALL.iter().copied().find(|kind| kind.as_str() == name).ok_or("no task has this type")
        });
        let statuses = named(section, "status", |name| {
            let mut ends = TaskStatus::ALL.iter().copied().filter(|status| status.is_final());
            ends.find(|status| status.as_str() == name).ok_or("expected `succeeded`, `failed` or `canceled`")
        });
        let Some(url) = url else {
            if !(headers.is_empty() && types.is_empty() && statuses.is_empty()) {
                section.problem("url", "missing");
            }
            return Self(None);
        };
        let is_web = Url::parse(&url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        if !is_web {
            // It may hold a secret, so it is not shown.
            section.problem("url", "expected an address such as `https://host/path`");
        }
        Self(Some(OnTask { webhook: Webhook { url, headers }, types, statuses }))
    }
}

/// Address and headers may hold secrets: all that is shown of them tells one from another.
impl fmt::Debug for OnTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { webhook: Webhook { url, headers }, types, statuses } = self;
        let whom = hash_bytes(format!("{url}\n{headers:?}").as_bytes());
        f.debug_struct("OnTask")
            .field("whom", &whom)
            .field("types", types)
            .field("statuses", statuses)
            .finish_non_exhaustive()
    }
}

// === impl TaskHook ===

impl TaskHook {
    pub(super) fn new(rule: &str, indexes: &[IndexPattern], on_task: &OnTask) -> Self {
        Self { rule: rule.to_owned(), indexes: indexes.to_owned(), on_task: on_task.clone() }
    }

    /// Whom it tells.
    pub fn webhook(&self) -> &Webhook {
        &self.on_task.webhook
    }

    /// True if it tells of the end of `task`.
    pub fn is_about(&self, task: &MiroirTask) -> bool {
        let swapped = swapped_pairs(task).into_iter().flat_map(|(one, other)| [one, other]);
        self.is_about_end(task.kind, task.status, &task.index_uid.iter().cloned().chain(swapped).collect::<Vec<_>>())
    }

    /// With which ends it tells of tasks of a kind that are about `indexes`.
    pub fn ends(&self, kind: TaskKind, indexes: &[String]) -> Vec<TaskStatus> {
        let ends = TaskStatus::ALL.iter().copied().filter(|status| status.is_final());
        ends.filter(|status| self.is_about_end(kind, *status, indexes)).collect()
    }

    /// The same of a task that is about `indexes`.
    pub(super) fn is_about_end(&self, kind: TaskKind, status: TaskStatus, indexes: &[String]) -> bool {
        let OnTask { types, statuses, .. } = &self.on_task;
        (types.is_empty() || types.contains(&kind))
            && (statuses.is_empty() || statuses.contains(&status))
            && (self.indexes.is_empty()
                || indexes.iter().any(|index| self.indexes.iter().any(|pattern| pattern.meets(index))))
    }
}

/// Values of headers are never shown.
fn headers(section: &mut Section) -> BTreeMap<String, String> {
    let headers = section.parsed("headers", BTreeMap::new(), "a mapping of names to texts", |value| {
        let pairs = value.as_object()?.iter();
        pairs.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
    });
    for (name, value) in &headers {
        if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
            section.problem("headers", format!("`{name}` and its value cannot be a header"));
        }
    }
    headers
}

fn named<T>(section: &mut Section, key: &str, parse: impl Fn(&str) -> Result<T, &'static str>) -> Vec<T> {
    let names = section.parsed(key, Vec::new(), "a name, or a list of names", |value| match value {
        Value::String(name) => Some(vec![name.clone()]),
        Value::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    });
    let parsed = names.iter().filter_map(|name| {
        parse(name).map_err(|message| section.problem(key, format!("{message}, found `{name}`"))).ok()
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::Report;
    use crate::tasks::fold::samples::{T0, task};

    fn read(value: Value) -> (Option<OnTask>, Vec<String>) {
        let report = Report::default();
        let mut section = Section::new("on_task", value, &report);
        let Read(read) = Read::read(&mut section);
        section.finish();
        (read, report.into_parts().0.iter().map(ToString::to_string).collect())
    }

    fn hook(value: Value, indexes: &[&str]) -> TaskHook {
        let (read, problems) = read(value);
        assert!(problems.is_empty(), "{problems:?}");
        let indexes: Vec<IndexPattern> = indexes.iter().map(|index| IndexPattern::parse(index).unwrap()).collect();
        TaskHook::new("hook", &indexes, &read.unwrap())
    }

    #[test]
    fn tasks_are_told_by_type_status_and_index() {
        let mut failed = task(Vec::new());
        failed.kind = TaskKind::DocumentAdditionOrUpdate;
        failed.status = TaskStatus::Failed;
        failed.index_uid = Some("products".to_owned());
        let url = |more: Value| {
            let mut whole = json!({"url": "http://a"});
            whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            whole
        };
        for (wanted, indexes, expected) in [
            (json!({}), &[][..], true),
            (json!({"types": "documentAdditionOrUpdate", "status": ["failed", "canceled"]}), &["prod*", "x"][..], true),
            (json!({"types": ["settingsUpdate"]}), &[][..], false),
            (json!({"status": "succeeded"}), &[][..], false),
            (json!({}), &["orders"][..], false),
        ] {
            assert_eq!(hook(url(wanted.clone()), indexes).is_about(&failed), expected, "{wanted} {indexes:?}");
        }
        let mut swap = MiroirTask::new(1, TaskKind::IndexSwap, None, T0);
        swap.details = json!({"swaps": [{"indexes": ["a", "b"]}]}).as_object().cloned();
        assert!(hook(url(json!({})), &["b"]).is_about(&swap) && !hook(url(json!({})), &["c"]).is_about(&swap));
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        let secrets = json!({"url": "gopher:sesame", "headers": {"Authorization": "sesame\n"}, "types": "sing", "status": "enqueued"});
        let problems = read(secrets).1;
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(!format!("{problems:?}").contains("sesame"), "{problems:?}");
        assert_eq!(read(json!({"status": "failed"})).1, ["on_task.url: missing"]);
        assert!(read(json!({})).0.is_none());
        let shown = |key: &str| format!("{:?}", hook(json!({"url": "http://sesame", "headers": {"a": key}}), &[]));
        assert!(!shown("sesame").contains("sesame"), "{}", shown("sesame"));
        assert_ne!(shown("sesame"), shown("other"), "a reload sees that it has changed");
    }
}
