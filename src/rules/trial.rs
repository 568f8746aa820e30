//! A request, or the end of a task, that is tried on rules, without a gateway: by an example, or by an operator who wants to know.

use core::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answers::Answers;
use super::asked::{Asked, Told};
use super::book::{self, Done, Meter};
use super::concurrency::UnderWay;
use super::conditions;
use super::language::Deadlines;
use super::limit::Limits;
use super::making::Making;
use super::on_document::Rejected;
use super::rule::Rule;
use super::shape::Fit;
use super::subject::Caller;
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::route;
use crate::meili::task::{TaskKind, TaskStatus};
use crate::settings::{FromSection, Section};
use crate::split::Document;

/// What rules are tried on.
#[derive(Debug, Clone)]
pub enum Trial {
    Request(Box<RequestTrial>),
    /// The end of a task: `task: { type: settingsUpdate, indexUid: products, status: failed }`.
    Task(TaskTrial),
}

/// A task that has ended.
#[derive(Debug, Clone)]
pub struct TaskTrial {
    shown: Value,
    kind: TaskKind,
    status: TaskStatus,
    indexes: Vec<String>,
}

/// A request, who sends it, and what the nodes would say.
#[derive(Debug, Clone)]
pub struct RequestTrial {
    method: String,
    /// Path and query.
    target: String,
    body: Value,
    key: Option<Uuid>,
    claims: Option<Map<String, Value>>,
    client: Option<IpAddr>,
    headers: HeaderMap,
    /// One that is written, for a rule about documents.
    document: Value,
    /// What the nodes answer, for a rule that masks.
    answer: Value,
    /// Where words of the index are looked for.
    searchable: Vec<String>,
}

/// What rules make of it.
#[derive(Debug)]
pub struct Tried {
    /// Names of those that have held.
    pub held: Vec<String>,
    pub skipped: Vec<String>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub labels: Vec<String>,
    /// The indexes that are asked again, afterwards.
    pub mirrored: Vec<String>,
    /// Whose programs have come to no end, and why.
    pub failed: Vec<(String, String)>,
    pub outcome: Result<Passed, ResponseError>,
}

/// A request that goes on.
#[derive(Debug)]
pub struct Passed {
    pub told: Told,
    /// The document as it is written; `None` for one that is left out, or where there is none.
    pub document: Option<String>,
    /// What is shown of the answer.
    pub answer: Option<Bytes>,
}

// === impl Trial ===

impl FromSection for Trial {
    fn read(section: &mut Section) -> Self {
        let expected = "a mapping with a `type`, a `status` that a task ends with, and an `indexUid`, if it has one";
        match section.parsed("task", None, expected, |value| TaskTrial::parse(value).map(Some)) {
            Some(task) => Self::Task(task),
            None => Self::Request(Box::new(RequestTrial::read(section))),
        }
    }
}

impl Trial {
    /// What `rules` make of it, as JSON: a request before and after, and which rules have held.
    pub fn shown(&self, rules: &[Rule]) -> Result<Value, String> {
        match self {
            Self::Request(request) => request.shown(rules),
            Self::Task(task) => Ok(json!({ "rules": task.told_by(rules), "task": task.shown })),
        }
    }
}

// === impl TaskTrial ===

impl TaskTrial {
    fn parse(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name)?.as_str();
        let kind = TaskKind::ALL.iter().copied().find(|kind| Some(kind.as_str()) == text("type"))?;
        let status = TaskStatus::ALL.iter().copied().find(|status| Some(status.as_str()) == text("status"))?;
        let indexes = text("indexUid").map(str::to_owned).into_iter().collect();
        status.is_final().then(|| Self { shown: value.clone(), kind, status, indexes })
    }

    /// The names of the rules that tell somebody of it.
    pub fn told_by(&self, rules: &[Rule]) -> Vec<String> {
        let hooks = rules.iter().filter_map(Rule::task_hook);
        let told = hooks.filter(|hook| hook.is_about_end(self.kind, self.status, &self.indexes));
        told.map(|hook| hook.rule).collect()
    }
}

// === impl RequestTrial ===

impl FromSection for RequestTrial {
    fn read(section: &mut Section) -> Self {
        let any = |value: &Value| Some(value.clone());
        let request = section.required_text("request");
        let (method, target) = request.split_once(' ').unwrap_or(("POST", &request));
        let headers = section.parsed("headers", Map::new(), "a mapping", |value| value.as_object().cloned());
        let headers = headers.iter().filter_map(|(name, value)| {
            let value = value.as_str().and_then(|value| HeaderValue::try_from(value).ok());
            let pair = name.parse::<HeaderName>().ok().zip(value);
            if pair.is_none() {
                section.problem("headers", format!("`{name}` is no header with a text"));
            }
            pair
        });
        let headers = headers.collect();
        Self {
            method: method.to_owned(),
            target: target.trim().to_owned(),
            body: section.parsed("body", Value::Null, "JSON", any),
            key: section.parsed("key", None, "the uid of an API key", |value| value.as_str()?.parse().ok().map(Some)),
            claims: section.parsed("claims", None, "a mapping", |value| value.as_object().cloned().map(Some)),
            client: section.parsed("client", None, "an IP address", |value| value.as_str()?.parse().ok().map(Some)),
            headers,
            document: section.parsed("document", Value::Null, "JSON", any),
            answer: section.parsed("answer", Value::Null, "JSON", any),
            searchable: conditions::texts(section, "searchable"),
        }
    }
}

impl RequestTrial {
    /// True if it has a document that is written.
    pub fn has_document(&self) -> bool {
        !self.document.is_null()
    }

    /// What `rules` make of it. An error for what is no request of the API.
    pub fn run(&self, rules: &[Rule]) -> Result<Tried, String> {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let operation = route(&self.method, path)
            .map_err(|_| format!("`{} {}` is no request of the API", self.method, self.target))?;
        let body = if self.body.is_null() { Bytes::new() } else { Bytes::from(self.body.to_string()) };
        let caller =
            Caller { key: self.key, claims: self.claims.clone(), address: self.client, headers: &self.headers };
        let mut asked = Asked::new(&self.method, path, query, body, operation);
        let mut done = Done::default();
        let mut failed = Vec::new();
        let outcome = self.go(rules, &mut asked, &caller, &mut done, &mut failed);
        let (document, answer) = match &outcome {
            Ok((document, answer)) => (document.clone(), answer.clone()),
            Err(_) => (None, None),
        };
        let told = asked.finish().map_err(|_| "no route leads to the request that the rules make".to_owned())?;
        let names =
            |places: &[usize]| places.iter().filter_map(|place| Some(rules.get(*place)?.name.clone())).collect();
        let of_requests =
            done.failed.iter().filter_map(|(place, why)| Some((rules.get(*place)?.name.clone(), why.clone())));
        failed.extend(of_requests);
        Ok(Tried {
            failed,
            held: names(&done.held),
            skipped: names(&done.skipped),
            headers: done.headers,
            labels: done.labels,
            mirrored: done.mirrored.into_iter().map(|mirrored| mirrored.to).collect(),
            outcome: outcome.map(|_| Passed { told, document, answer }),
        })
    }

    fn go(
        &self,
        rules: &[Rule],
        asked: &mut Asked,
        caller: &Caller<'_>,
        done: &mut Done,
        failed: &mut Vec<(String, String)>,
    ) -> Result<(Option<String>, Option<Bytes>), ResponseError> {
        let limits = Limits::default();
        let under_way = UnderWay::default();
        let meter = Meter { limits: &limits, under_way: &under_way, now: Duration::ZERO, deadlines: Deadlines::none() };
        let veil = book::veil(rules, caller, done);
        book::apply(rules, asked, caller, &meter, done).map_err(|refused| refused.error)?;
        let document = self.made(&done.makings);
        for (rule, _, why) in done.makings.iter().filter_map(Making::failures) {
            failed.push((rule.to_owned(), why));
        }
        let document = document?;
        let mut answer = (!self.answer.is_null()).then(|| Bytes::from(self.answer.to_string()));
        if let Some(mut veil) = veil {
            veil.close(asked, &|_| self.searchable.clone(), &|_| Vec::new())?;
            answer = answer.map(|answer| veil.answer(&answer)).transpose()?;
        }
        if let (Some(answers), Some(answer)) = (Answers::of(std::mem::take(&mut done.awaiting), asked), &mut answer) {
            let changed = answers.changed(answer, &Deadlines::none().answer()).map_err(|refused| {
                failed.extend(refused.failed);
                refused.error
            })?;
            done.headers.extend(changed.header());
            failed.extend(changed.failed);
            *answer = changed.body;
        }
        Ok((document, answer))
    }

    fn made(&self, makings: &[Making]) -> Result<Option<String>, ResponseError> {
        if self.document.is_null() {
            return Ok(None);
        }
        let refused = |status, why| ResponseError { status, ..ResponseError::new(Code::MiroirRefused, why) };
        let rejected = |rejected| match rejected {
            Rejected::Document(why) => refused(400, why),
            Rejected::Rule(why) => refused(500, why),
        };
        let mut text = self.document.to_string();
        for making in makings {
            let document = Document::parse(&text).map_err(|error| refused(400, error.to_string()))?;
            match making.fit(&document, None).map_err(rejected)? {
                Fit::AsItIs => {}
                Fit::Changed(changed) => text = changed,
                Fit::Skipped => return Ok(None),
            }
        }
        Ok(Some(text))
    }

    fn shown(&self, rules: &[Rule]) -> Result<Value, String> {
        let tried = self.run(rules)?;
        let headers: Map<String, Value> = tried
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
            .collect();
        let failed: Vec<Value> = tried.failed.iter().map(|(rule, why)| json!({ "rule": rule, "why": why })).collect();
        let mut shown = json!({
            "rules": tried.held, "skipped": tried.skipped, "headers": headers, "labels": tried.labels,
            "mirrored": tried.mirrored, "failed": failed,
            "before": { "request": format!("{} {}", self.method, self.target), "body": self.body },
        });
        match tried.outcome {
            Err(error) => shown["refused"] = json!({ "status": error.status, "error": error }),
            Ok(Passed { told, document, answer }) => {
                let body: Value = serde_json::from_slice(&told.body).unwrap_or_default();
                let target = if told.query.is_empty() { told.path } else { format!("{}?{}", told.path, told.query) };
                shown["after"] = json!({ "request": format!("{} {target}", told.method), "body": body });
                if self.has_document() {
                    shown["document"] = document.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
                }
                if let Some(answer) = answer {
                    shown["answer"] = serde_json::from_slice(&answer).unwrap_or_default();
                }
            }
        }
        Ok(shown)
    }
}
