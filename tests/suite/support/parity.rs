//! The same searches for one node and for a cluster, and what the answers differ in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Client;
use super::client::Reply;
use super::corpus::{NDJSON, ndjson};
use super::random::Dice;

fn settings() -> Value {
    json!({
        "filterableAttributes": ["country", "feature", "population", "_geo"],
        "sortableAttributes": ["population", "name", "_geo"],
        "faceting": {"maxValuesPerFacet": 300, "sortFacetValuesBy": {"*": "alpha", "country": "count"}},
    })
}

/// Loads the same cities and settings into an endpoint.
pub fn load(client: &Client, index: &str, documents: &[Value]) {
    client.done(&client.post("/indexes", &json!({"uid": index, "primaryKey": "id"})));
    client.done(&client.json("PATCH", &format!("/indexes/{index}/settings"), &settings()));
    let replies: Vec<_> = documents
        .chunks(2000)
        .map(|chunk| client.send("POST", &format!("/indexes/{index}/documents"), NDJSON, &ndjson(chunk)))
        .collect();
    for reply in replies {
        client.done(&reply);
    }
}

/// True when a key that begins with `_miroir` stands anywhere.
pub fn leaks(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| key.starts_with("_miroir") || leaks(value)),
        Value::Array(items) => items.iter().any(leaks),
        Value::String(text) => text.contains("_miroir"),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What the engine sorted a hit by: scores and sort values in the order of the rules.
fn rank(hit: &Value) -> String {
    let Some(details) = hit["_rankingScoreDetails"].as_object() else { return String::new() };
    let mut rules: Vec<_> = details.iter().collect();
    rules.sort_by_key(|(_, rule)| rule["order"].as_u64());
    let fields = ["attributeRankingOrderScore", "queryWordDistanceScore", "score", "value", "distance"];
    let parts = rules.iter().flat_map(|(name, rule)| {
        fields.iter().filter_map(move |field| rule.get(*field).map(|value| format!("{name}.{field}={value}")))
    });
    parts.collect::<Vec<_>>().join(";")
}

/// What one node answers to a search, and how it ranks: the cluster's answers are held against it.
pub struct Expected {
    pub query: Value,
    status: u16,
    answer: Value,
    /// The documents of the first thousand hits and what each was sorted by.
    ranked: Vec<(String, String)>,
}

// === impl Expected ===

impl Expected {
    pub fn of(single: &Client, index: &str, query: &Value) -> Self {
        let reply = single.post(&search_path(index), query);
        let mut wide = query.clone();
        let object = wide.as_object_mut().expect("a query");
        for key in ["page", "hitsPerPage", "attributesToRetrieve"] {
            object.remove(key);
        }
        object.insert("offset".into(), json!(0));
        object.insert("limit".into(), json!(1000));
        object.insert("showRankingScoreDetails".into(), json!(true));
        let is_answer = (200..300).contains(&reply.status);
        let ranked = if is_answer { single.post(&search_path(index), &wide).ok() } else { Value::Null };
        let ranked = ranked["hits"].as_array().into_iter().flatten();
        Self {
            query: query.clone(),
            status: reply.status,
            answer: reply.value(),
            ranked: ranked.map(|hit| (hit["id"].to_string(), rank(hit))).collect(),
        }
    }

    /// The first difference between `got` and what one node says; documents that tie may change places.
    pub fn difference(&self, got: &Reply) -> Option<String> {
        let (query, want) = (&self.query, &self.answer);
        if self.status != got.status {
            return Some(format!("status {} / {}: {want} / {}", self.status, got.status, got.text));
        }
        let inexact = got.header("x-miroir-inexact").unwrap_or_default().to_owned();
        let got = got.value();
        if leaks(&got) {
            return Some("a _miroir name leaks".to_owned());
        }
        if want.get("code").is_some() {
            return (*want != got).then(|| format!("error {want} / {got}"));
        }
        let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
        if keys(want) != keys(&got) {
            return Some(format!("keys {:?} / {:?}", keys(want), keys(&got)));
        }
        // An estimate of how many hits survive these two depends on where the engine stopped looking.
        let soft = query.get("distinct").is_some() || query.get("rankingScoreThreshold").is_some();
        for (key, value) in want.as_object().expect("an answer") {
            let skipped = match key.as_str() {
                "processingTimeMs" | "hits" | "requestUid" => true,
                "estimatedTotalHits" => soft || inexact.contains("totals"),
                "totalHits" | "totalPages" => inexact.contains("totals"),
                "facetDistribution" | "facetStats" => inexact.contains("facets"),
                _ => false,
            };
            if skipped {
                continue;
            }
            if *value != got[key] {
                return Some(format!("{key}: {value} / {}", got[key]));
            }
        }
        self.difference_of_hits(&got)
    }

    fn difference_of_hits(&self, got: &Value) -> Option<String> {
        let query = &self.query;
        let (want_hits, got_hits) = (self.answer["hits"].as_array()?, got["hits"].as_array()?);
        if want_hits.len() != got_hits.len() {
            return Some(format!("{} hits / {}", want_hits.len(), got_hits.len()));
        }
        let page = query["page"].as_u64().unwrap_or(1);
        let per_page = query["hitsPerPage"].as_u64().unwrap_or(20);
        let paged = query.get("page").is_some() || query.get("hitsPerPage").is_some();
        let offset = if paged { (page - 1) * per_page } else { query["offset"].as_u64().unwrap_or(0) };
        let rank_of: BTreeMap<&str, &str> = self.ranked.iter().map(|(id, rank)| (id.as_str(), rank.as_str())).collect();
        let truncated = self.ranked.len() >= 1000;
        let bodies: BTreeMap<String, &Value> = want_hits.iter().map(|hit| (hit["id"].to_string(), hit)).collect();
        let mut seen = BTreeSet::new();
        for (at, hit) in got_hits.iter().enumerate() {
            let id = hit["id"].to_string();
            if !seen.insert(id.clone()) {
                return Some(format!("id {id} is repeated"));
            }
            let place = self.ranked.get(offset as usize + at).map(|(_, rank)| rank.as_str());
            match rank_of.get(id.as_str()) {
                Some(rank) if Some(*rank) != place => {
                    return Some(format!("position {}: id {id} has rank {rank}, not {place:?}", offset as usize + at));
                }
                None if !truncated && query.get("distinct").is_none() => {
                    return Some(format!("id {id} should not be found"));
                }
                Some(_) | None => {}
            }
            if let Some(twin) = bodies.get(&id).filter(|twin| shown(twin, query) != shown(hit, query)) {
                return Some(format!("id {id}: {twin} / {hit}"));
            }
        }
        None
    }
}

pub fn search_path(index: &str) -> String {
    format!("/indexes/{index}/search")
}

/// Asks both the same and describes the first difference; documents that tie may change places.
pub fn difference(single: &Client, cluster: &Client, index: &str, query: &Value) -> Option<String> {
    Expected::of(single, index, query).difference(&cluster.post(&search_path(index), query))
}

/// A hit as it is compared. How far a word is marked that the query's last word only begins depends on which shorter words
/// a node knows, and which words a prefix of one or two letters stands for is capped by the engine for each
/// vocabulary (docs/exactness.md): there, what is marked is compared less closely.
fn shown(hit: &Value, query: &Value) -> Value {
    let mut shown = hit.clone();
    let text = query["q"].as_str().unwrap_or_default();
    let is_prefix = !text.ends_with(['"', ' ']);
    let last = text.split_whitespace().last().unwrap_or_default();
    if let Some(hit) = shown.as_object_mut().filter(|_| is_prefix) {
        if last.chars().count() < 3 {
            hit.remove("_formatted");
            hit.remove("_matchesPosition");
        }
        for field in hit.get_mut("_formatted").and_then(Value::as_object_mut).into_iter().flatten() {
            *field.1 = json!(field.1.to_string().replace("<em>", "").replace("</em>", ""));
        }
        for field in hit.get_mut("_matchesPosition").and_then(Value::as_object_mut).into_iter().flatten() {
            field.1.as_array_mut().into_iter().flatten().for_each(|position| position["length"] = Value::Null);
        }
    }
    shown
}

/// A random search that real people might send.
pub fn random_query(dice: &mut Dice, documents: &[Value]) -> Value {
    let city = dice.one(documents).clone();
    let mut query = json!({});
    let name = city["name"].as_str().unwrap_or_default();
    let words: Vec<&str> = name.split_whitespace().collect();
    match dice.roll(8) {
        0 => {}
        1 => query["q"] = json!(name.chars().take(1 + dice.roll(4)).collect::<String>()),
        2 => {
            let mut text: Vec<char> = name.chars().collect();
            if text.len() > 5 {
                let at = 1 + dice.roll(text.len() - 2);
                text.swap(at - 1, at);
            }
            query["q"] = json!(text.into_iter().collect::<String>());
        }
        3 => query["q"] = json!(format!("\"{name}\"")),
        4 => query["q"] = json!(format!("{} {}", words.first().unwrap_or(&""), city["country"].as_str().unwrap_or(""))),
        _ => query["q"] = json!(name),
    }
    let filters = [
        json!(format!("country = {}", city["country"])),
        json!(format!("population > {}", city["population"])),
        json!([format!("country = {}", city["country"]), ["feature = PPLA", "feature = PPLC"]]),
        json!("NOT feature = PPL"),
        json!("population 1000 TO 500000 AND country IN [FR, US, DE]"),
        json!(format!("_geoRadius({}, {}, 500000)", city["_geo"]["lat"], city["_geo"]["lng"])),
    ];
    if dice.roll(3) == 0 {
        query["filter"] = dice.one(&filters).clone();
    }
    let sorts = [
        json!(["population:desc"]),
        json!(["name:asc"]),
        json!(["population:asc", "name:desc"]),
        json!([format!("_geoPoint({}, {}):asc", city["_geo"]["lat"], city["_geo"]["lng"])]),
    ];
    if dice.roll(4) == 0 {
        query["sort"] = dice.one(&sorts).clone();
    }
    if dice.roll(4) == 0 {
        query["facets"] =
            dice.one(&[json!(["country"]), json!(["feature", "country"]), json!(["population"]), json!(["*"])]).clone();
    }
    match dice.roll(6) {
        0 => query["limit"] = dice.one(&[json!(0), json!(1), json!(5), json!(50)]).clone(),
        1 => {
            query["offset"] = dice.one(&[json!(1), json!(7), json!(20)]).clone();
            query["limit"] = json!(10);
        }
        2 => {
            query["page"] = dice.one(&[json!(1), json!(2), json!(4)]).clone();
            query["hitsPerPage"] = dice.one(&[json!(5), json!(20)]).clone();
        }
        _ => {}
    }
    if dice.roll(8) == 0 {
        query["distinct"] = dice.one(&[json!("country"), json!("feature")]).clone();
    }
    let switches = [
        ("matchingStrategy", json!("all")),
        ("showRankingScore", json!(true)),
        ("showRankingScoreDetails", json!(true)),
        ("attributesToRetrieve", json!(["id", "name"])),
        ("attributesToHighlight", json!(["*"])),
        ("showMatchesPosition", json!(true)),
        ("rankingScoreThreshold", json!(0.6)),
    ];
    for (key, value) in switches {
        if dice.roll(8) == 0 {
            query[key] = value;
        }
    }
    query
}
