//! Searches and document reads: one node and the cluster give the same answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::corpus::{cities, ndjson};
pub use crate::support::random::Dice;
use crate::support::{Client, Fleet, FleetOptions, Single};

pub const NDJSON: &[(&str, &str)] = &[("Content-Type", "application/x-ndjson")];

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

/// Asks both the same and describes the first difference; documents that tie may change places.
pub fn difference(single: &Client, cluster: &Client, index: &str, query: &Value) -> Option<String> {
    let path = format!("/indexes/{index}/search");
    let (want, got) = (single.post(&path, query), cluster.post(&path, query));
    if want.status != got.status {
        return Some(format!("status {} / {}: {} / {}", want.status, got.status, want.text, got.text));
    }
    let inexact = got.header("x-miroir-inexact").unwrap_or_default().to_owned();
    let (want, got) = (want.value(), got.value());
    if leaks(&got) {
        return Some("a _miroir name leaks".to_owned());
    }
    if want.get("code").is_some() {
        return (want != got).then(|| format!("error {want} / {got}"));
    }
    let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    if keys(&want) != keys(&got) {
        return Some(format!("keys {:?} / {:?}", keys(&want), keys(&got)));
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
    let (want_hits, got_hits) = (want["hits"].as_array()?, got["hits"].as_array()?);
    if want_hits.len() != got_hits.len() {
        return Some(format!("{} hits / {}", want_hits.len(), got_hits.len()));
    }
    let mut wide = query.clone();
    let object = wide.as_object_mut().expect("a query");
    for key in ["page", "hitsPerPage", "attributesToRetrieve"] {
        object.remove(key);
    }
    let page = query["page"].as_u64().unwrap_or(1);
    let per_page = query["hitsPerPage"].as_u64().unwrap_or(20);
    let paged = query.get("page").is_some() || query.get("hitsPerPage").is_some();
    let offset = if paged { (page - 1) * per_page } else { query["offset"].as_u64().unwrap_or(0) };
    object.insert("offset".into(), json!(0));
    object.insert("limit".into(), json!(1000));
    object.insert("showRankingScoreDetails".into(), json!(true));
    let ranked = single.post(&path, &wide).ok();
    let ranked = ranked["hits"].as_array()?;
    let rank_of: BTreeMap<String, String> = ranked.iter().map(|hit| (hit["id"].to_string(), rank(hit))).collect();
    let truncated = ranked.len() >= 1000;
    let bodies: BTreeMap<String, &Value> = want_hits.iter().map(|hit| (hit["id"].to_string(), hit)).collect();
    let mut seen = BTreeSet::new();
    for (at, hit) in got_hits.iter().enumerate() {
        let id = hit["id"].to_string();
        if !seen.insert(id.clone()) {
            return Some(format!("id {id} is repeated"));
        }
        let place = ranked.get(offset as usize + at).map(rank);
        match rank_of.get(&id) {
            Some(rank) if Some(rank) != place.as_ref() => {
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

/// A number from the environment: `make parity` asks more than `make test`.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn agree(replication_factor: usize) {
    let seed = setting("MIROIR_PARITY_SEED", 11) + replication_factor as u64;
    let queries = setting("MIROIR_PARITY_QUERIES", 250);
    let documents = cities(0);
    let single = Single::start();
    let fleet = Fleet::with(FleetOptions { replication_factor, ..FleetOptions::default() });
    load(&single.client, "cities", &documents);
    load(&fleet.client, "cities", &documents);
    let mut dice = Dice::new(seed);
    let mut differences = Vec::new();
    for n in 0..queries {
        let query = random_query(&mut dice, &documents);
        if let Some(difference) = difference(&single.client, &fleet.client, "cities", &query) {
            differences.push(format!("seed {seed}, query {n}: {query}\n{difference}"));
        }
    }
    // Words are capped by the engine for each vocabulary (docs/exactness.md), which few of many searches meet.
    let allowed = if queries < 1000 { 0 } else { queries as usize / 200 };
    println!("{} of {queries} searches agree", queries as usize - differences.len());
    assert!(differences.len() <= allowed, "{}", differences.join("\n\n"));
}

#[test]
fn random_searches_agree_with_one_node_at_replication_factor_one() {
    agree(1);
}

#[test]
fn random_searches_agree_with_one_node_at_replication_factor_two() {
    agree(2);
}

#[test]
fn every_read_route_answers_as_one_node_does() {
    let documents = cities(800);
    let single = Single::start();
    let fleet = Fleet::start();
    load(&single.client, "cities", &documents);
    load(&fleet.client, "cities", &documents);

    let id = &documents[17]["id"];
    for path in [
        format!("/indexes/cities/documents/{id}"),
        format!("/indexes/cities/documents/{id}?fields=name,id"),
        "/indexes/cities/search?q=paris".to_owned(),
        "/indexes/cities/search?q=san&limit=5&offset=2&showRankingScore=true".to_owned(),
        "/indexes/cities/search?q=san&page=2&hitsPerPage=3&facets=feature".to_owned(),
        "/indexes/cities/search?q=new&attributesToHighlight=name&filter=population%20%3E%2010".to_owned(),
        "/indexes/cities/settings".to_owned(),
        "/indexes/cities/settings/filterable-attributes".to_owned(),
        "/indexes/cities/settings/ranking-rules".to_owned(),
        "/indexes/cities/settings/typo-tolerance".to_owned(),
        "/version".to_owned(),
        "/health".to_owned(),
    ] {
        let (mut want, mut got) = (single.client.get(&path).ok(), fleet.client.get(&path).ok());
        for value in [&mut want, &mut got] {
            if let Some(map) = value.as_object_mut() {
                map.remove("processingTimeMs");
                map.remove("requestUid");
            }
        }
        if path.contains("/search") {
            // Documents that tie may change places.
            let sorted = |value: &Value| {
                let mut hits =
                    value["hits"].as_array().expect("hits").iter().map(|hit| hit.to_string().len()).collect::<Vec<_>>();
                hits.sort_unstable();
                hits.len()
            };
            assert_eq!(sorted(&want), sorted(&got), "{path}");
            want["hits"] = json!([]);
            got["hits"] = json!([]);
        }
        assert_eq!(want, got, "{path}");
        assert!(!leaks(&got), "{path}: {got}");
    }

    let (want, got) = (single.client.get("/indexes/cities/stats").ok(), fleet.client.get("/indexes/cities/stats").ok());
    for field in ["numberOfDocuments", "fieldDistribution", "isIndexing"] {
        assert_eq!(want[field], got[field], "stats {field}");
    }
    assert!(!leaks(&got), "{got}");
    let all = fleet.client.get("/stats").ok();
    assert_eq!(all["indexes"]["cities"]["numberOfDocuments"], json!(800));
    assert!(!leaks(&all), "{all}");
    let indexes = fleet.client.get("/indexes").ok();
    assert_eq!(indexes["total"], json!(1));
    assert_eq!(indexes["results"][0]["primaryKey"], json!("id"));
    assert_eq!(fleet.client.get("/indexes/cities").ok()["uid"], json!("cities"));
}

#[test]
fn pages_of_documents_hold_each_document_once() {
    let documents = cities(700);
    let fleet = Fleet::start();
    load(&fleet.client, "cities", &documents);
    let want: BTreeSet<String> = documents.iter().map(|document| document["id"].to_string()).collect();

    for page in [50, 333] {
        let mut got = Vec::new();
        for offset in (0..700).step_by(page) {
            let answer = fleet.client.get(&format!("/indexes/cities/documents?offset={offset}&limit={page}")).ok();
            assert_eq!(answer["total"], json!(700));
            assert!(!leaks(&answer));
            got.extend(
                answer["results"].as_array().expect("results").iter().map(|document| document["id"].to_string()),
            );
        }
        assert_eq!(got.len(), 700, "pages of {page}");
        assert_eq!(got.into_iter().collect::<BTreeSet<_>>(), want, "pages of {page}");
    }

    let filtered = json!({"filter": "country = FR", "fields": ["id", "country"], "limit": 1000});
    let answer = fleet.client.post("/indexes/cities/documents/fetch", &filtered).ok();
    let french: BTreeSet<_> = documents
        .iter()
        .filter(|document| document["country"] == "FR")
        .map(|document| document["id"].to_string())
        .collect();
    let got: BTreeSet<_> =
        answer["results"].as_array().expect("results").iter().map(|document| document["id"].to_string()).collect();
    assert_eq!(got, french);
    assert_eq!(answer["total"], json!(french.len()));
    let wanted: Vec<Value> = documents.iter().take(5).map(|document| document["id"].clone()).collect();
    let by_ids = fleet.client.post("/indexes/cities/documents/fetch", &json!({ "ids": wanted })).ok();
    assert_eq!(by_ids["results"].as_array().map(Vec::len), Some(5), "{by_ids}");
}

#[test]
fn walking_the_pages_of_a_search_gives_the_long_list() {
    let documents = cities(0);
    let fleet = Fleet::start();
    load(&fleet.client, "cities", &documents);
    for query in [json!({"q": "san"}), json!({"q": ""}), json!({"q": "", "sort": ["name:asc"]})] {
        let ids = |answer: &Value| -> Vec<String> {
            answer["hits"].as_array().expect("hits").iter().map(|hit| hit["id"].to_string()).collect()
        };
        let mut whole = query.clone();
        whole["limit"] = json!(100);
        let whole = ids(&fleet.client.search("cities", &whole));
        let mut walked = Vec::new();
        for offset in (0..whole.len()).step_by(9) {
            let mut page = query.clone();
            page["offset"] = json!(offset);
            page["limit"] = json!(9.min(whole.len() - offset));
            walked.extend(ids(&fleet.client.search("cities", &page)));
        }
        assert_eq!(walked, whole, "{query}");
    }
}

#[test]
fn multi_search_answers_each_query_as_one_node_does() {
    let documents = cities(500);
    let single = Single::start();
    let fleet = Fleet::start();
    load(&single.client, "cities", &documents);
    load(&fleet.client, "cities", &documents);
    let body = json!({"queries": [
        {"indexUid": "cities", "q": "paris", "sort": ["population:desc"], "limit": 3},
        {"indexUid": "cities", "q": "", "facets": ["feature"], "limit": 0},
    ]});
    let (mut want, mut got) =
        (single.client.post("/multi-search", &body).ok(), fleet.client.post("/multi-search", &body).ok());
    for value in [&mut want, &mut got] {
        for result in value["results"].as_array_mut().expect("results") {
            result.as_object_mut().expect("a result").remove("processingTimeMs");
        }
    }
    assert_eq!(want, got);
    let facets = json!({"facetName": "country", "facetQuery": "f"});
    let (want, got) = (
        single.client.post("/indexes/cities/facet-search", &facets).ok(),
        fleet.client.post("/indexes/cities/facet-search", &facets).ok(),
    );
    assert_eq!(want["facetHits"], got["facetHits"]);
}
