//! A client that writes, waits until that has been carried out, and knows what must be there afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::load::{Stage, Tally};
use crate::support::Client;
use crate::support::client::{id_of, pause, within};
use crate::support::random::Dice;
use crate::{CITIES, LIMIT, WRITTEN};

/// Documents in one write.
pub const BATCH: usize = 10;
/// How long a client waits between two looks at its task.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub struct Writer {
    number: u64,
    dice: Dice,
    next: u64,
    /// What the writer's own index must hold of it.
    pub documents: BTreeMap<String, Value>,
    /// The ids of all that it wrote or deleted there since [`Writer::forget`].
    pub touched: BTreeSet<String>,
}

enum Kind {
    Add,
    Replace,
    /// A part of a document: what it says of the rest is that the rest stays.
    Update,
    Delete,
    /// Documents of the index that is searched, whole and as they are: answers must not change.
    Rewrite,
    /// The same with one field only: had the document no base on some node, answers would change.
    Touch,
}

struct Write {
    method: &'static str,
    path: String,
    body: Value,
    /// What becomes of the writer's documents.
    changes: Vec<(String, Option<Value>)>,
}

// === impl Writer ===

impl Writer {
    pub fn new(number: u64, dice: Dice) -> Self {
        Self { number, dice, next: 0, documents: BTreeMap::new(), touched: BTreeSet::new() }
    }

    pub fn forget(&mut self) {
        self.touched.clear();
    }

    /// One write, with the times until it was acknowledged and until it was carried out.
    pub fn write(&mut self, stage: &Stage<'_>, tally: &mut Tally) {
        let write = self.choose(stage);
        let headers = [("Content-Type", "application/json")];
        let started = Instant::now();
        let reply = stage.client.try_send(write.method, &write.path, &headers, write.body.to_string().as_bytes());
        tally.acknowledged.0.push(started.elapsed());
        match reply {
            Ok(reply) if reply.status == 202 => {
                let id = reply.value()["taskUid"].to_string();
                let task = ended(stage.client, id.trim_matches('"'));
                tally.carried_out.0.push(started.elapsed());
                if task["status"] == "succeeded" {
                    self.remember(write.changes);
                } else {
                    tally.refused.push(format!("a write failed: {task}"));
                }
            }
            Ok(reply) => tally.refused.push(format!("status {}: {}", reply.status, reply.text)),
            Err(error) => tally.refused.push(error),
        }
    }

    fn choose(&mut self, stage: &Stage<'_>) -> Write {
        let own = [Kind::Add, Kind::Add, Kind::Replace, Kind::Update, Kind::Delete];
        let of_all = [Kind::Rewrite, Kind::Touch];
        let rewrites = stage.rewrites && self.dice.roll(2) == 0;
        let kind = if rewrites { self.dice.one(&of_all) } else { self.dice.one(&own) };
        let kind = if self.documents.len() < BATCH && !rewrites { &Kind::Add } else { kind };
        match kind {
            Kind::Add => {
                let ids = (0..BATCH).map(|_| {
                    self.next += 1;
                    format!("w{}-{}", self.number, self.next)
                });
                let ids: Vec<String> = ids.collect();
                self.put(stage, ids)
            }
            Kind::Replace => {
                let ids = self.some_of_own();
                self.put(stage, ids)
            }
            Kind::Update => {
                self.next += 1;
                let (mut parts, mut changes) = (Vec::new(), Vec::new());
                for id in self.some_of_own() {
                    let mut whole = self.documents[&id].clone();
                    whole["note"] = self.next.into();
                    parts.push(json!({"id": id, "note": self.next}));
                    changes.push((id, Some(whole)));
                }
                Write { method: "PUT", path: documents_path(WRITTEN), body: parts.into(), changes }
            }
            Kind::Delete => {
                let ids: Vec<String> = self.some_of_own().into_iter().take(BATCH / 2).collect();
                let path = format!("{}/delete-batch", documents_path(WRITTEN));
                let body = json!(ids);
                Write { method: "POST", path, body, changes: ids.into_iter().map(|id| (id, None)).collect() }
            }
            Kind::Rewrite => {
                let body = self.some_cities(stage).into_iter().cloned().collect();
                Write { method: "POST", path: documents_path(CITIES), body, changes: Vec::new() }
            }
            Kind::Touch => {
                let part = |city: &Value| json!({"id": city["id"], "population": city["population"]});
                let body = self.some_cities(stage).into_iter().map(part).collect();
                Write { method: "PUT", path: documents_path(CITIES), body, changes: Vec::new() }
            }
        }
    }

    fn put(&mut self, stage: &Stage<'_>, ids: Vec<String>) -> Write {
        let cities = self.some_cities(stage).into_iter().cycle();
        let as_own = |(id, city): (String, &Value)| {
            let mut document = city.clone();
            document["id"] = id.clone().into();
            (id, Some(document))
        };
        let changes: Vec<(String, Option<Value>)> = ids.into_iter().zip(cities).map(as_own).collect();
        let body = changes.iter().filter_map(|(_, document)| document.clone()).collect();
        Write { method: "POST", path: documents_path(WRITTEN), body, changes }
    }

    fn some_of_own(&mut self) -> Vec<String> {
        let ids: Vec<String> = self.documents.keys().cloned().collect();
        self.dice.some(&ids, BATCH)
    }

    fn some_cities<'a>(&mut self, stage: &Stage<'a>) -> Vec<&'a Value> {
        (0..BATCH).map(|_| self.dice.one(stage.cities)).collect()
    }

    fn remember(&mut self, changes: Vec<(String, Option<Value>)>) {
        for (id, document) in changes {
            self.touched.insert(id.clone());
            match document {
                Some(document) => {
                    self.documents.insert(id, document);
                }
                None => {
                    self.documents.remove(&id);
                }
            }
        }
    }
}

pub fn documents_path(index: &str) -> String {
    format!("/indexes/{index}/documents")
}

/// The task once it has ended.
fn ended(client: &Client, id: &str) -> Value {
    within(LIMIT, "a task ends", || {
        // Not so often that asking is what the cluster is busy with.
        pause(LOOK_EVERY);
        let task = client.get(&format!("/tasks/{id}")).ok();
        matches!(task["status"].as_str(), Some("succeeded" | "failed" | "canceled")).then_some(task)
    })
}

/// What all writers together must have left in their index.
pub fn all_written(writers: &[Writer]) -> BTreeMap<String, Value> {
    let documents = writers.iter().flat_map(|writer| writer.documents.values());
    documents.map(|document| (id_of(document), document.clone())).collect()
}
