//! Every operation of the API, asked of one node and of the gateway: one sequence of requests for both, and the same answers. The
//! sequence is `cases.ndjson`; the table of operations says what must be in it.
//!
//! A case says what one node makes of it: `works` (2xx, and its task succeeds), `refuses` (4xx) or `fails` (a task that fails).
//! `since` names the first engine that has what it asks for. `keep` names the uuid in the answer, for paths of later cases.

mod normal;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::support::client::Reply;
use crate::support::{Client, Fleet, FleetOptions, Single};

const CASES: &str = include_str!("cases.ndjson");
const OPERATIONS: &str = include_str!("../../golden/operations.txt");
const KEY: &str = "a-master-key-of-enough-bytes";

/// What is answered to an official client: tasks have integers as ids.
const CLIENT: (&str, &str) = ("X-Meilisearch-Client", "Meilisearch Rust (v0.30.0)");

/// Answers without an end; `streams` listens to them. Engines have these since 1.52.
const STREAMS: [(&str, &str); 2] = [("GET", "/tasks/stream"), ("GET", "/batches/stream")];
/// The same, since long.
const LOGS: (&str, &str) = ("POST", "/logs/stream");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    method: String,
    path: String,
    body: Option<Value>,
    /// A body that is no JSON, or not JSON alone.
    raw: Option<String>,
    #[serde(rename = "type")]
    content_type: Option<String>,
    says: Says,
    since: Option<String>,
    keep: Option<String>,
    /// Why what this answers is not compared beyond its status and headers.
    apart: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "camelCase")]
enum Says {
    Works,
    Refuses,
    Fails,
}

/// One of the two who are asked.
struct Asked<'a> {
    client: &'a Client,
    kept: BTreeMap<String, String>,
}

/// What came of a case.
struct Outcome {
    reply: Reply,
    task: Option<Value>,
}

fn cases() -> Vec<Case> {
    CASES.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Method, path and name of every operation.
fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    OPERATIONS.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[0], words[1], words[2])
    })
}

/// The operation that a request is; the more literal of two paths that fit.
fn operation_of(method: &str, path: &str) -> Option<(&'static str, &'static str)> {
    let path = path.split('?').next()?;
    let fits = |known: &str| {
        let (known, asked) = (known.split('/'), path.split('/'));
        known.clone().count() == asked.clone().count()
            && known.zip(asked).all(|(part, text)| part.starts_with('{') || part == text)
    };
    let fitting = operations().filter(|(known, path, _)| *known == method && fits(path));
    let literal = |path: &str| path.split('/').filter(|part| !part.starts_with('{')).count();
    fitting.max_by_key(|(_, path, _)| literal(path)).map(|(method, path, _)| (method, path))
}

/// True if an engine of `version` has what came with `since`.
fn has(version: &str, since: Option<&str>) -> bool {
    let parts = |text: &str| -> Vec<u32> { text.split('.').take(2).filter_map(|part| part.parse().ok()).collect() };
    since.is_none_or(|since| parts(version) >= parts(since))
}

// === impl Asked ===

impl Asked<'_> {
    fn ask(&mut self, case: &Case) -> Outcome {
        let mut path = case.path.clone();
        for (name, value) in &self.kept {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        let body = match (&case.raw, &case.body) {
            (Some(raw), _) => raw.clone().into_bytes(),
            (None, Some(body)) => body.to_string().into_bytes(),
            (None, None) => Vec::new(),
        };
        let content_type = case.content_type.as_deref().unwrap_or("application/json");
        let headers = [CLIENT, ("Content-Type", content_type)];
        let headers = if body.is_empty() && case.content_type.is_none() { &headers[..1] } else { &headers[..] };
        let reply = self.client.send(&case.method, &path, headers, &body);
        if let Some(name) = &case.keep
            && let Some(uuid) = reply.value()["uuid"].as_str()
        {
            self.kept.insert(name.clone(), uuid.to_owned());
        }
        let announced = serde_json::from_str::<Value>(&reply.text).ok().and_then(|value| value["taskUid"].as_u64());
        let task = announced.map(|uid| {
            self.client.wait_id(&uid.to_string());
            self.client.send("GET", &format!("/tasks/{uid}"), &[CLIENT], b"").ok()
        });
        Outcome { reply, task }
    }
}

// === impl Outcome ===

impl Outcome {
    fn says(&self) -> Option<Says> {
        match (self.reply.status, self.task.as_ref().map(|task| task["status"] == "failed")) {
            (200..300, Some(true)) => Some(Says::Fails),
            (200..300, _) => Some(Says::Works),
            (400..500, _) => Some(Says::Refuses),
            _ => None,
        }
    }

    /// All that must be alike.
    fn normal(&self, case: &Case) -> Value {
        let whole = case.apart.is_none();
        normal::outcome(&case.path, &self.reply, self.task.as_ref().filter(|_| whole), whole)
    }
}

#[test]
fn each_operation_has_a_case_that_works_and_one_that_does_not() {
    // What cannot be asked wrongly, but by a method that it does not have.
    let mut missing = Vec::new();
    for (method, path, _) in operations().filter(|(.., name)| *name != "unsupported") {
        let said: Vec<Says> = cases()
            .iter()
            .filter(|case| operation_of(&case.method, &case.path) == Some((method, path)))
            .map(|case| case.says)
            .collect();
        let never_wrong = matches!(path, "/health" | "/version" | "/dumps" | "/snapshots")
            || STREAMS.contains(&(method, path))
            || matches!((method, path), ("GET", "/webhooks" | "/experimental-features"));
        // Its documents are gone from the queue before anybody can ask; `task_documents` looks at those that are not.
        let never_right =
            path == "/tasks/{task_id}/documents" || STREAMS.contains(&(method, path)) || (method, path) == LOGS;
        if !said.contains(&Says::Works) && !never_right {
            missing.push(format!("{method} {path} works"));
        }
        if !said.iter().any(|says| *says != Says::Works) && !never_wrong {
            missing.push(format!("{method} {path} does not"));
        }
    }
    assert!(missing.is_empty(), "no case where {missing:#?}");
}

#[test]
fn the_gateway_answers_each_operation_as_one_node_does() {
    let single = Single::with_key(Some(KEY));
    let options = FleetOptions { master_key: Some(KEY), node_key: Some(KEY), ..FleetOptions::default() };
    let fleet = Fleet::with(options);
    let version = single.client.get("/version").ok()["pkgVersion"].as_str().unwrap_or_default().to_owned();
    let asked = |client| Asked { client, kept: BTreeMap::new() };
    let (mut one, mut many) = (asked(&single.client), asked(&fleet.client));
    let mut differences = Vec::new();
    let mut compared = 0;
    for case in cases().iter().filter(|case| has(&version, case.since.as_deref())) {
        let (want, got) = (one.ask(case), many.ask(case));
        let request = format!("{} {} {:?}", case.method, case.path, case.body);
        if want.says() != Some(case.says) {
            differences.push(format!("{request}: one node does not say {:?}: {}", case.says, want.reply.text));
        }
        let (want, got) = (want.normal(case), got.normal(case));
        if want != got {
            differences.push(format!("{request}\n  one node: {want}\n  gateway:  {got}"));
        }
        compared += 1;
    }
    assert!(differences.is_empty(), "{} of {compared} differ:\n{}", differences.len(), differences.join("\n"));
}
