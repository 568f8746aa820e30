//! Clients that write and search while the cluster is being broken, and keep the history of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::checker::{Problems, Question};
use super::history::{Family, History, State, WriteKind};
use super::wrong;
use crate::support::Client;
use crate::support::client::{Reply, pause};
use crate::support::corpus::ndjson;
use crate::support::random::Dice;

pub const INDEX: &str = "chaos";
/// Words so different that no typo leads from one to another.
pub const WORDS: [&str; 8] =
    ["harbour", "clockwork", "meadow", "lantern", "orchestra", "glacier", "pepper", "wilderness"];
/// Documents that all clients update in part, each its own fields.
const SHARED: u64 = 6;
const GROUPS: u64 = 5;

/// What all clients have in common.
pub struct Stage<'a> {
    pub client: Client,
    /// May search and read documents, and nothing else, where there are keys.
    pub reader: Client,
    pub history: &'a History,
    pub problems: &'a Problems,
    pub stop: &'a AtomicBool,
    pub searches: &'a Searches,
}

/// Searches by how they were answered.
#[derive(Default)]
pub struct Searches {
    pub complete: AtomicUsize,
    /// With the header that says which shards are missing.
    pub degraded: AtomicUsize,
    /// With an error, or not at all.
    pub unanswered: AtomicUsize,
}

/// A client that writes documents of its own, one write after the other.
pub struct Writer<'a> {
    stage: &'a Stage<'a>,
    dice: Dice,
    family: Family,
    next_number: u64,
    sequence: u64,
    /// What is there, if all that was acknowledged is.
    documents: BTreeMap<String, Value>,
    deleted: Vec<String>,
}

/// A write ready to be sent.
struct Request {
    kind: WriteKind,
    method: &'static str,
    path: String,
    content_type: &'static str,
    body: Vec<u8>,
    changes: Vec<(String, State)>,
}

// === impl Stage ===

impl Stage<'_> {
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

// === impl Writer ===

impl<'a> Writer<'a> {
    pub fn new(stage: &'a Stage<'a>, client: u64, dice: Dice) -> Self {
        let family = Family { client, generation: 0 };
        Self { stage, dice, family, next_number: 0, sequence: 0, documents: BTreeMap::new(), deleted: Vec::new() }
    }

    pub fn run(&mut self) {
        while !self.stage.stopped() {
            let request = self.next_request();
            self.send(request);
            pause(Duration::from_millis(self.dice.range(3, 40)));
        }
    }

    fn next_request(&mut self) -> Request {
        self.sequence += 1;
        if self.documents.len() > 60 {
            return self.delete_by_filter();
        }
        match self.dice.range(0, 99) {
            0..30 => self.add(),
            _ if self.documents.is_empty() => self.add(),
            30..50 => self.replace(),
            50..75 => self.update(),
            75..82 => self.share(),
            82..90 => self.delete_one(),
            90..95 => self.delete_batch(),
            _ => self.delete_by_filter(),
        }
    }

    fn fresh(&mut self, id: &str) -> Value {
        json!({
            "id": id, "client": self.family.client, "generation": self.family.generation,
            "group": self.dice.range(0, GROUPS - 1), "v": self.sequence, "text": *self.dice.one::<&str>(&WORDS),
        })
    }

    fn add(&mut self) -> Request {
        let mut documents = Vec::new();
        for _ in 0..self.dice.range(1, 8) {
            let again = !self.deleted.is_empty() && self.dice.range(1, 100) <= 30;
            let id = if again {
                let at = self.dice.range(0, self.deleted.len() as u64 - 1) as usize;
                self.deleted.swap_remove(at)
            } else {
                self.next_number += 1;
                format!("w{}-{}-{}", self.family.client, self.family.generation, self.next_number)
            };
            documents.push(self.fresh(&id));
        }
        self.put_whole(WriteKind::Add, documents)
    }

    fn replace(&mut self) -> Request {
        let documents = self.some_ids(6).iter().map(|id| self.fresh(id)).collect();
        self.put_whole(WriteKind::Replace, documents)
    }

    fn put_whole(&mut self, kind: WriteKind, documents: Vec<Value>) -> Request {
        let (content_type, body) = if self.dice.range(1, 100) <= 50 {
            ("application/x-ndjson", ndjson(&documents))
        } else {
            ("application/json", json!(documents).to_string().into_bytes())
        };
        let changes = documents.into_iter().map(|document| (id_of(&document), Some(document))).collect();
        Request { kind, method: "POST", path: documents_path(""), content_type, body, changes }
    }

    /// Adds fields to documents that are there: their base must not get lost on the way.
    fn update(&mut self) -> Request {
        let mut parts = Vec::new();
        let mut changes = Vec::new();
        for id in self.some_ids(6) {
            let field = format!("u{}", self.sequence % 12);
            parts.push(json!({"id": id, "v": self.sequence, field.clone(): self.sequence}));
            let mut document = self.documents[&id].clone();
            document["v"] = self.sequence.into();
            document[&field] = self.sequence.into();
            changes.push((id, Some(document)));
        }
        let body = json!(parts).to_string().into_bytes();
        Request { kind: WriteKind::Update, method: "PUT", path: documents_path(""), content_type: JSON, body, changes }
    }

    /// Writes the client's own field of documents that others write as well; each such field counts as a document.
    fn share(&mut self) -> Request {
        let field = format!("s{}_{}", self.family.client, self.family.generation);
        let document = format!("shared-{}", self.dice.range(0, SHARED - 1));
        let body = json!([{"id": document, field.clone(): self.sequence}]).to_string().into_bytes();
        let changes = vec![(shared_field(&document, &field), Some(json!(self.sequence)))];
        Request { kind: WriteKind::Share, method: "PUT", path: documents_path(""), content_type: JSON, body, changes }
    }

    fn delete_one(&mut self) -> Request {
        let id = self.some_ids(1).remove(0);
        let path = documents_path(&format!("/{id}"));
        let changes = vec![(id, None)];
        Request { kind: WriteKind::Delete, method: "DELETE", path, content_type: JSON, body: Vec::new(), changes }
    }

    fn delete_batch(&mut self) -> Request {
        let ids = self.some_ids(5);
        let (path, body) = (documents_path("/delete-batch"), json!(ids).to_string().into_bytes());
        let changes = ids.into_iter().map(|id| (id, None)).collect();
        Request { kind: WriteKind::DeleteBatch, method: "POST", path, content_type: JSON, body, changes }
    }

    fn delete_by_filter(&mut self) -> Request {
        let Family { client, generation } = self.family;
        let group = self.dice.range(0, GROUPS - 1);
        let hit = self.documents.iter().filter(|(_, document)| document["group"] == group);
        let changes = hit.map(|(id, _)| (id.clone(), None)).collect();
        let filter = format!("client = {client} AND generation = {generation} AND group = {group}");
        let (path, body) = (documents_path("/delete"), json!({"filter": filter}).to_string().into_bytes());
        Request { kind: WriteKind::DeleteByFilter, method: "POST", path, content_type: JSON, body, changes }
    }

    fn some_ids(&mut self, most: u64) -> Vec<String> {
        let ids: Vec<String> = self.documents.keys().cloned().collect();
        let count = self.dice.range(1, most) as usize;
        self.dice.some(&ids, count)
    }

    fn send(&mut self, request: Request) {
        let Request { kind, method, path, content_type, body, changes } = request;
        let family = if kind == WriteKind::Share { Family::SHARED } else { self.family };
        let write = self.stage.history.begin(family, kind, changes.clone());
        let headers: &[(&str, &str)] = if body.is_empty() { &[] } else { &[("Content-Type", content_type)] };
        let reply = self.stage.client.try_send(method, &path, headers, &body);
        match verdict(reply) {
            Ok(task) => {
                self.stage.history.acknowledged(write, task);
                self.remember(kind, changes);
            }
            Err((reason, refused)) => {
                if refused {
                    self.stage.problems.wrong(format!("{method} {path} was refused: {reason}"));
                }
                self.stage.history.doubtful(write, reason);
                self.family.generation += 1;
                self.documents.clear();
                self.deleted.clear();
                pause(Duration::from_millis(150));
            }
        }
    }

    fn remember(&mut self, kind: WriteKind, changes: Vec<(String, State)>) {
        if kind == WriteKind::Share {
            return;
        }
        for (id, state) in changes {
            match state {
                Some(document) => {
                    self.documents.insert(id, document);
                }
                None => {
                    self.documents.remove(&id);
                    self.deleted.push(id);
                }
            }
        }
    }
}

pub const JSON: &str = "application/json";

pub fn documents_path(rest: &str) -> String {
    format!("/indexes/{INDEX}/documents{rest}")
}

pub fn id_of(document: &Value) -> String {
    document["id"].as_str().unwrap_or_default().to_owned()
}

/// The name under which the history keeps a field of a shared document.
pub fn shared_field(document: &str, field: &str) -> String {
    format!("{document}/{field}")
}

/// The task's id, or why there is none and whether the request itself was refused, which no fault excuses.
pub fn verdict(reply: Result<Reply, String>) -> Result<String, (String, bool)> {
    let reply = reply.map_err(|error| (error, false))?;
    let reason = format!("status {}: {}", reply.status, reply.text);
    let refused = matches!(reply.status, 400..500) && !matches!(reply.status, 408 | 429);
    let value: Value = serde_json::from_str(&reply.text).map_err(|_| (reason.clone(), refused))?;
    match value["taskUid"].as_str() {
        Some(task) if reply.status == 202 => Ok(task.to_owned()),
        Some(_) | None => Err((reason, refused)),
    }
}

/// Asks how the acknowledged writes stand, until the stage is over.
pub fn watch_tasks(stage: &Stage) {
    while !stage.stopped() {
        ask_tasks(stage);
        pause(Duration::from_millis(60));
    }
}

/// Asks once, for the oldest open tasks.
pub fn ask_tasks(stage: &Stage) {
    let open: Vec<_> = stage.history.open_tasks().into_iter().take(80).collect();
    if open.is_empty() {
        return;
    }
    let ids: Vec<&str> = open.iter().map(|(_, task)| task.as_str()).collect();
    let path = format!("/tasks?limit=100&uids={}", ids.join(","));
    let Ok(reply) = stage.client.try_send("GET", &path, &[], b"") else { return };
    let Ok(page) = serde_json::from_str::<Value>(&reply.text) else { return };
    for task in page["results"].as_array().into_iter().flatten() {
        let Some((write, _)) = open.iter().find(|(_, id)| task["uid"] == id.as_str()) else { continue };
        match task["status"].as_str() {
            Some("succeeded" | "failed" | "canceled") if stage.history.is_wrong(*write) => {
                wrong::judge(task, stage.problems);
                stage.history.ended(*write, task["status"] == "succeeded");
            }
            Some("succeeded") => stage.history.ended(*write, true),
            Some("failed" | "canceled") => {
                stage.problems.lost(format!("an acknowledged write failed: {task}"));
                stage.history.ended(*write, false);
            }
            Some(_) | None => {}
        }
    }
}

/// Searches in every way that shows whole documents, and has each answer checked.
pub fn search(stage: &Stage, mut dice: Dice) {
    while !stage.stopped() {
        let families = stage.history.families(3);
        if families.is_empty() {
            pause(Duration::from_millis(20));
            continue;
        }
        let question = Question::random(&mut dice, &families, stage.history);
        let since = stage.history.now();
        let reply = question.ask(&stage.reader);
        let until = stage.history.now();
        let counted = match &reply {
            Ok(reply) if matches!(reply.status, 200 | 404) && reply.header("x-miroir-degraded").is_some() => {
                &stage.searches.degraded
            }
            Ok(reply) if matches!(reply.status, 200 | 404) => &stage.searches.complete,
            Ok(_) | Err(_) => &stage.searches.unanswered,
        };
        counted.fetch_add(1, Ordering::Relaxed);
        if std::ptr::eq(counted, &stage.searches.unanswered) {
            pause(Duration::from_millis(50));
        }
        if let Ok(reply) = reply {
            question.check(&reply, stage.history, since, until, stage.problems);
        }
        pause(Duration::from_millis(dice.range(2, 15)));
    }
}
