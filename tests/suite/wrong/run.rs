//! Sends sequences to one node and to a cluster.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::allowed::{self, Allowance, Then};
use super::compare::{self, Difference, Hits, Of};
use super::step::{Sequence, Step};
use crate::support::client::{Reply, pause};
use crate::support::{Client, Fleet, Single};

/// An index that nobody writes to, and how many documents it has.
const BESIDE: &str = "beside";
const BESIDE_DOCUMENTS: u64 = 60;

/// The judge and the cluster, and how many sequences they have had.
pub struct Court {
    pub single: Single,
    pub fleet: Fleet,
    sequences: AtomicU64,
}

/// A step after which the two differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub at: usize,
    pub step: Option<Step>,
    pub difference: Difference,
}

/// How a sequence ended.
#[derive(Debug)]
pub enum Outcome {
    /// After all its steps.
    Alike,
    /// Alike but for open differences that are known.
    Allowed(Vec<&'static Allowance>),
    Differs(Box<Failure>),
}

// === impl Failure ===

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "after step {}: {}", self.at, self.difference)
    }
}

impl Failure {
    /// True when a smaller sequence fails as this one does.
    pub fn is_like(&self, other: &Self) -> bool {
        let kind = |failure: &Self| failure.step.as_ref().map(|step| step.kind);
        self.difference.of == other.difference.of && kind(self) == kind(other)
    }
}

// === impl Court ===

impl Court {
    pub fn start() -> Self {
        let court = Self { single: Single::start(), fleet: Fleet::start(), sequences: AtomicU64::new(0) };
        let documents: Vec<Value> = (0..BESIDE_DOCUMENTS).map(|id| json!({"id": id, "text": "beside"})).collect();
        for client in court.both() {
            client.json("PATCH", "/experimental-features", &json!({"editDocumentsByFunction": true})).ok();
            client.add(BESIDE, &Value::from(documents.clone()));
        }
        court
    }

    fn both(&self) -> [&Client; 2] {
        [&self.single.client, &self.fleet.client]
    }

    /// Runs a sequence on indexes of its own, which are gone afterwards.
    pub fn run(&self, sequence: &Sequence) -> Outcome {
        let number = self.sequences.fetch_add(1, Ordering::Relaxed);
        let uids = [format!("w{number}-a"), format!("w{number}-b")];
        let mut at = 0;
        let outcome = catch_unwind(AssertUnwindSafe(|| self.steps(sequence, &uids, &mut at)));
        let outcome = outcome.unwrap_or_else(|panic| {
            let told = panic.downcast_ref::<String>().cloned();
            let told = told.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let difference = Difference { of: Of::Broken, want: String::new(), got: told.unwrap_or_default() };
            Outcome::Differs(Box::new(Failure { at, step: sequence.steps.get(at).cloned(), difference }))
        });
        for client in self.both() {
            let replies: Vec<Reply> = uids.iter().map(|uid| client.delete(&format!("/indexes/{uid}"))).collect();
            replies.iter().for_each(|reply| _ = client.wait(reply));
        }
        outcome
    }

    fn steps(&self, sequence: &Sequence, uids: &[String; 2], reached: &mut usize) -> Outcome {
        let mentions =
            |word: &str| sequence.steps.iter().any(|step| step.path.contains(word) || step.body.contains(word));
        let hits = if mentions("istinct") || mentions("maxTotalHits") { Hits::Counted } else { Hits::Compared };
        let used = if mentions("$B") { &uids[..] } else { &uids[..1] };
        let mut met = Vec::new();
        for (at, step) in sequence.steps.iter().enumerate() {
            *reached = at;
            let answered = || self.step(step, uids, hits);
            let left = || if step.kind.writes() { self.state(uids, used, hits) } else { Ok(()) };
            for look in [&answered as &dyn Fn() -> Result<(), Difference>, &left] {
                let Err(difference) = look() else { continue };
                let Some(allowance) = allowed::find(sequence, step, &difference) else {
                    return Outcome::Differs(Box::new(Failure { at, step: Some(step.clone()), difference }));
                };
                met.push(allowance);
                if allowance.then == Then::Ends {
                    return Outcome::Allowed(met);
                }
            }
        }
        if met.is_empty() { Outcome::Alike } else { Outcome::Allowed(met) }
    }

    /// Everything that is there of the indexes of a sequence.
    fn state(&self, uids: &[String; 2], used: &[String], hits: Hits) -> Result<(), Difference> {
        used.iter().try_for_each(|uid| compare::state(&self.single.client, &self.fleet.client, uid, hits))?;
        compare::listed(&self.single.client, &self.fleet.client, uids[0].trim_end_matches('a'))
    }

    fn step(&self, step: &Step, uids: &[String; 2], hits: Hits) -> Result<(), Difference> {
        let named = |text: &str| text.replace("$A", &uids[0]).replace("$B", &uids[1]);
        let (path, body) = (named(&step.path), named(&step.body));
        let content_type = step.content_type.as_deref().map(|value| ("Content-Type", value));
        let headers: Vec<(&str, &str)> = content_type.into_iter().collect();
        let [want, got] = self.both().map(|client| client.send(&step.method, &path, &headers, body.as_bytes()));
        compare::answers(&want, &got, hits)?;
        if !step.kind.writes() || want.status != 202 {
            return Ok(());
        }
        let [want, got] = [(&self.single.client, &want), (&self.fleet.client, &got)]
            .map(|(client, reply)| compare::task(client.wait(reply)));
        Difference::between(Of::Task, &want, &got)
    }

    /// Searches the index that nobody writes to until `stop`; every answer that is not whole is told.
    pub fn watch_beside(&self, stop: &AtomicBool) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut asked = 0_u64;
        while !stop.load(Ordering::Relaxed) || asked == 0 {
            asked += 1;
            let path = format!("/indexes/{BESIDE}/search");
            let words = if asked.is_multiple_of(2) { "" } else { "beside" };
            let body = json!({"q": words, "limit": 100}).to_string();
            let headers = [("Content-Type", "application/json")];
            let told = match self.fleet.client.try_send("POST", &path, &headers, body.as_bytes()) {
                Ok(reply) => incomplete(&reply),
                Err(error) => Some(error),
            };
            wrong.extend(told);
            pause(Duration::from_millis(20));
        }
        wrong
    }

    /// What is not as it should be of nodes and replicas after all sequences.
    pub fn unwell(&self) -> Vec<String> {
        let topology = self.fleet.admin.get("/topology").ok();
        let nodes = topology["nodes"].as_array().cloned().unwrap_or_default();
        let mut told: Vec<String> =
            nodes.iter().filter(|node| node["state"] != "up").map(|node| format!("a node is not up: {node}")).collect();
        let stale = self.fleet.admin.get("/resilver").ok()["stale"].clone();
        if stale != json!([]) {
            told.push(format!("stale replicas: {stale}"));
        }
        told
    }
}

/// What is missing from an answer of the index that nobody writes to.
fn incomplete(reply: &Reply) -> Option<String> {
    let body: Value = serde_json::from_str(&reply.text).unwrap_or_default();
    let hits = body["hits"].as_array().map(|hits| hits.len() as u64);
    let whole = reply.status == 200
        && hits == Some(BESIDE_DOCUMENTS)
        && body["estimatedTotalHits"] == json!(BESIDE_DOCUMENTS)
        && reply.header("x-miroir-degraded").is_none();
    (!whole).then(|| format!("status {}, {hits:?} hits, {:?}", reply.status, reply.header("x-miroir-degraded")))
}
