//! What answers, tasks and whole indexes are held against each other by.

use serde_json::{Map, Value, json};

use crate::support::Client;
use crate::support::client::Reply;

/// Where one node and the cluster differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub of: Of,
    pub want: String,
    pub got: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// The status and the error of an answer, or what a read found.
    Answer,
    Task,
    /// What is there after a step.
    Index,
    Settings,
    Stats,
    Documents,
    Found,
    Listed,
    /// A request that got no answer, or an answer that shows what must not be seen.
    Broken,
}

/// Which hits a page shows where it does not show all: documents that tie change places, and `distinct` keeps one of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hits {
    Compared,
    Counted,
}

impl Difference {
    pub fn between(of: Of, want: &Value, got: &Value) -> Result<(), Self> {
        if want == got { Ok(()) } else { Err(Self { of, want: want.to_string(), got: got.to_string() }) }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cut = |text: &str| text.chars().take(1500).collect::<String>();
        write!(formatter, "{:?}\n  one node: {}\n  cluster:  {}", self.of, cut(&self.want), cut(&self.got))
    }
}

fn without(value: &mut Value, names: &[&str]) {
    if let Some(members) = value.as_object_mut() {
        names.iter().for_each(|name| _ = members.shift_remove(*name));
    }
}

/// The same text for the same value, whatever the order of its keys.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|left, right| left.0.cmp(right.0));
            let written: Vec<String> =
                members.iter().map(|(name, value)| format!("{}:{}", json!(name), canonical(value))).collect();
            format!("{{{}}}", written.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn body(reply: &Reply) -> Value {
    serde_json::from_str(&reply.text).unwrap_or_else(|_| Value::from(reply.text.as_str()))
}

/// An answer without what differs from run to run. Lists that show everything are sorted, because a document that was
/// written again takes another place in the cluster's order; of shorter ones the length is compared.
pub fn answer(reply: &Reply, hits: Hits) -> Value {
    answer_but(reply, hits, "")
}

/// Two answers to one request; what the cluster says may differ (`X-Miroir-Inexact`) is left out of both.
pub fn answers(want: &Reply, got: &Reply, hits: Hits) -> Result<(), Difference> {
    let inexact = got.header("x-miroir-inexact").unwrap_or_default();
    let [want, got] = [want, got].map(|reply| answer_but(reply, hits, inexact));
    Difference::between(Of::Answer, &want, &got)
}

fn answer_but(reply: &Reply, hits: Hits, inexact: &str) -> Value {
    let says = |what: &str| inexact.split(',').any(|name| name.trim() == what);
    let mut body = body(reply);
    without(&mut body, &["processingTimeMs", "requestUid", "createdAt", "updatedAt", "taskUid", "enqueuedAt"]);
    let totals = ["estimatedTotalHits", "totalHits", "total"];
    for list in ["hits", "results"] {
        let total = totals.iter().find_map(|name| body[*name].as_u64());
        let Some(items) = body.get_mut(list).and_then(Value::as_array_mut) else { continue };
        let whole = total.is_none_or(|total| total <= items.len() as u64);
        if whole && hits == Hits::Compared && !says("totals") {
            items.sort_by_cached_key(canonical);
        } else {
            let length = items.len();
            body[list] = length.into();
        }
    }
    if says("totals") {
        without(&mut body, &["estimatedTotalHits", "totalHits", "totalPages"]);
    }
    if says("facets") {
        without(&mut body, &["facetDistribution", "facetStats"]);
    }
    if says("fieldDistribution") {
        without(&mut body, &["fieldDistribution"]);
    }
    json!({"status": reply.status, "body": body, "degraded": reply.header("x-miroir-degraded")})
}

pub fn task(mut task: Value) -> Value {
    let of_the_run = ["uid", "taskUid", "batchUid", "duration", "enqueuedAt", "startedAt", "finishedAt"];
    without(&mut task, &of_the_run);
    task
}

/// What is there of an index.
pub fn state(single: &Client, cluster: &Client, uid: &str, hits: Hits) -> Result<(), Difference> {
    let path = format!("/indexes/{uid}");
    let get = |of: Of, rest: &str, shown: fn(Value) -> Value| {
        let ask = |client: &Client| {
            let mut answer = answer(&client.get(&format!("{path}{rest}")), Hits::Compared);
            answer["body"] = shown(answer["body"].take());
            answer
        };
        Difference::between(of, &ask(single), &ask(cluster))
    };
    get(Of::Index, "", |body| body)?;
    get(Of::Settings, "/settings", |body| body)?;
    get(Of::Stats, "/stats", |mut stats| {
        // Sizes on disk are a node's own, and words are shared in the background.
        without(&mut stats, &["rawDocumentDbSize", "avgDocumentSize", "isIndexing"]);
        stats
    })?;
    documents(single, cluster, &path)?;
    let body = json!({"limit": 1000});
    let ask = |client: &Client| answer(&client.post(&format!("{path}/search"), &body), hits);
    Difference::between(Of::Found, &ask(single), &ask(cluster))
}

/// Only what differs is told.
fn documents(single: &Client, cluster: &Client, path: &str) -> Result<(), Difference> {
    let body = json!({"limit": 1000, "retrieveVectors": true});
    let ask = |client: &Client| answer(&client.post(&format!("{path}/documents/fetch"), &body), Hits::Compared);
    let (want, got) = (ask(single), ask(cluster));
    let list = |answer: &Value| answer["body"]["results"].as_array().cloned();
    match (list(&want), list(&got)) {
        (Some(wanted), Some(found)) if want != got => {
            let only = |these: &[Value], those: &[Value]| {
                Value::from(these.iter().filter(|document| !those.contains(document)).cloned().collect::<Vec<_>>())
            };
            let told = |answer: &Value, these: &[Value], those: &[Value]| json!({"documents": these.len(), "only here": only(these, those), "degraded": answer["degraded"]});
            Difference::between(Of::Documents, &told(&want, &wanted, &found), &told(&got, &found, &wanted))?;
            Difference::between(Of::Documents, &want, &got)
        }
        _ => Difference::between(Of::Documents, &want, &got),
    }
}

/// The indexes of a sequence, as the list of all shows them.
pub fn listed(single: &Client, cluster: &Client, prefix: &str) -> Result<(), Difference> {
    let ask = |client: &Client| {
        let page = client.get("/indexes?limit=1000").ok();
        let mut found = Map::new();
        for index in page["results"].as_array().into_iter().flatten() {
            let uid = index["uid"].as_str().unwrap_or_default();
            if uid.starts_with(prefix) {
                found.insert(uid.to_owned(), index["primaryKey"].clone());
            }
        }
        Value::Object(found)
    };
    Difference::between(Of::Listed, &ask(single), &ask(cluster))
}
