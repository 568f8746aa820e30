//! Searches by meaning: vectors, hybrids of words and vectors, documents like one document.
//!
//! The indexes are small enough for the engine to look at every vector, so one node and the cluster must agree exactly.

use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::corpus::cities;
use crate::support::embedder::{DIMENSIONS, Embedder, UNSPEAKABLE, embed};
use crate::support::parity::leaks;
use crate::support::random::Dice;
use crate::support::{Client, Fleet, FleetOptions, Single};

const DOCUMENTS: usize = 150;

/// Cities, numbered in the order in which they are added: one node breaks ties by it, the cluster by the number.
fn documents() -> Vec<Value> {
    let all = cities(0);
    let chosen = all.iter().step_by((all.len() / DOCUMENTS).max(1)).take(DOCUMENTS);
    chosen
        .enumerate()
        .map(|(id, city)| {
            let name = city["name"].as_str().unwrap_or_default();
            let mut document = json!({
                "id": id, "name": name, "country": city["country"], "population": city["population"],
                "group": id % 7, "text": format!("{name} {} number{} city", city["country"].as_str().unwrap_or(""), id % 40),
            });
            let own = embed(&format!("{name} {id}"));
            document["_vectors"] = match id % 10 {
                // No vector at all.
                3 => json!({"own": null}),
                // Several.
                7 => json!({"own": [own, embed(&format!("other {id}"))]}),
                5 => json!({"own": {"embeddings": own, "regenerate": false}}),
                _ => json!({"own": own}),
            };
            document
        })
        .collect()
}

fn settings(embedder: &Embedder) -> Value {
    json!({
        "typoTolerance": {"enabled": false},
        "filterableAttributes": ["country", "population", "group"],
        "sortableAttributes": ["population", "name"],
        "searchableAttributes": ["name", "text"],
        "embedders": {
            "own": {"source": "userProvided", "dimensions": DIMENSIONS},
            "rest": embedder.settings("{{doc.text}}"),
        },
    })
}

fn load(client: &Client, index: &str, settings: &Value, documents: &[Value]) {
    client.done(&client.post("/indexes", &json!({"uid": index, "primaryKey": "id"})));
    client.done(&client.json("PATCH", &format!("/indexes/{index}/settings"), settings));
    client.add(index, &json!(documents));
}

struct Pair {
    embedder: Embedder,
    single: Single,
    fleet: Fleet,
    documents: Vec<Value>,
}

impl Pair {
    fn start(replication_factor: usize) -> Self {
        let embedder = Embedder::start();
        let single = Single::start();
        let fleet = Fleet::with(FleetOptions { replication_factor, ..FleetOptions::default() });
        let documents = documents();
        for client in [&single.client, &fleet.client] {
            load(client, "cities", &settings(&embedder), &documents);
        }
        Self { embedder, single, fleet, documents }
    }

    /// Asks both and insists on one answer.
    fn agree(&self, path: &str, body: &Value) -> Value {
        let (want, got) = (self.single.client.post(path, body), self.fleet.client.post(path, body));
        if let Some(difference) = difference(&want, &got) {
            panic!("{path} {body}\n{difference}");
        }
        got.value()
    }
}

/// Everything is compared but the time, and what the cluster says of itself that it may differ.
fn difference(want: &Reply, got: &Reply) -> Option<String> {
    if want.status != got.status {
        return Some(format!("status {} / {}: {} / {}", want.status, got.status, want.text, got.text));
    }
    let inexact = got.header("x-miroir-inexact").unwrap_or_default().to_owned();
    let (mut want, mut got) = (want.value(), got.value());
    if leaks(&got) {
        return Some(format!("a _miroir name leaks: {got}"));
    }
    for value in [&mut want, &mut got] {
        let Some(map) = value.as_object_mut() else { continue };
        let mut ignored = vec!["processingTimeMs", "requestUid"];
        if inexact.contains("totals") {
            ignored.extend(["estimatedTotalHits", "totalHits", "totalPages", "semanticHitCount"]);
        }
        if inexact.contains("facets") {
            ignored.extend(["facetDistribution", "facetStats"]);
        }
        ignored.into_iter().for_each(|name| {
            map.remove(name);
        });
        for result in map.get_mut("results").and_then(Value::as_array_mut).into_iter().flatten() {
            result
                .as_object_mut()
                .expect("a result")
                .retain(|name, _| !["processingTimeMs", "requestUid"].contains(&name.as_str()));
        }
    }
    if want == got {
        return None;
    }
    let members = want.as_object().into_iter().flatten().filter(|(name, value)| got.get(*name) != Some(*value));
    let told: Vec<String> = members
        .map(|(name, value)| match name.as_str() {
            "hits" => format!("hits: {:?} / {:?}", brief(value), brief(&got["hits"])),
            _ => format!("{name}: {value} / {}", got[name]),
        })
        .collect();
    let pairs = want["hits"].as_array().into_iter().flatten().zip(got["hits"].as_array().into_iter().flatten());
    let first =
        pairs.filter(|(want, got)| want != got).map(|(want, got)| format!("{}\n{}", plain(want), plain(got))).next();
    Some(format!("{}\n{}", told.join("\n"), first.unwrap_or_default()))
}

/// A hit without its vectors, which are long.
fn plain(hit: &Value) -> Value {
    let mut hit = hit.clone();
    hit.as_object_mut().map(|hit| hit.remove("_vectors"));
    hit
}

/// Ids and scores.
fn brief(hits: &Value) -> Vec<String> {
    let hit = |hit: &Value| format!("{}:{}", hit["id"], hit.get("_rankingScore").unwrap_or(&Value::Null));
    hits.as_array().into_iter().flatten().map(hit).collect()
}

fn page(dice: &mut Dice, query: &mut Value) {
    match dice.roll(5) {
        0 => {
            query["offset"] = json!(dice.roll(30));
            query["limit"] = json!(dice.roll(12));
        }
        1 => {
            query["page"] = json!(dice.roll(4));
            query["hitsPerPage"] = json!(1 + dice.roll(9));
        }
        2 => query["limit"] = json!([0, 1, 3, 200][dice.roll(4)]),
        _ => {}
    }
}

fn random_filter(dice: &mut Dice, documents: &[Value]) -> Value {
    let city = &documents[dice.roll(documents.len())];
    [
        json!(format!("country = {}", city["country"])),
        json!([format!("population > {}", city["population"])]),
        json!("group IN [1, 2, 3]"),
        json!("group = 99"),
    ][dice.roll(4)]
    .clone()
}

/// A search by a vector, or by words and a vector.
fn random_search(dice: &mut Dice, documents: &[Value]) -> Value {
    let city = &documents[dice.roll(documents.len())];
    let text = city["text"].as_str().unwrap_or_default();
    let words: Vec<&str> = text.split(' ').collect();
    let ratio = [0.0, 0.1, 0.3, 0.5, 0.55, 0.7, 0.9, 1.0][dice.roll(8)];
    let mut query =
        json!({"hybrid": {"embedder": if dice.roll(2) == 0 { "own" } else { "rest" }, "semanticRatio": ratio}});
    query["q"] = match dice.roll(6) {
        0 => json!(text),
        1 => json!("city"),
        2 => json!(words[0]),
        3 => json!(format!("{} {}", words[0], documents[dice.roll(documents.len())]["name"].as_str().unwrap_or(""))),
        4 => json!(""),
        _ => json!(format!("number{} city", dice.roll(40))),
    };
    if dice.roll(4) == 0 {
        query["hybrid"].as_object_mut().expect("an object").remove("semanticRatio");
    }
    let embedder = query["hybrid"]["embedder"].clone();
    if embedder == "own" || dice.roll(4) == 0 {
        query["vector"] = json!(embed(&format!("{} {}", city["name"].as_str().unwrap_or(""), dice.roll(200))));
        if dice.roll(4) == 0 {
            query.as_object_mut().expect("an object").remove("q");
        }
    }
    if dice.roll(3) == 0 {
        query["filter"] = random_filter(dice, documents);
    }
    if dice.roll(5) == 0 {
        query["sort"] = json!(["population:desc"]);
    }
    if dice.roll(4) == 0 {
        query["facets"] = [json!(["country"]), json!(["group", "country"]), json!(["*"])][dice.roll(3)].clone();
    }
    // Documents with several vectors come out of order on one node too, once it looks beyond the page.
    if dice.roll(5) == 0 && embedder == "rest" {
        query["distinct"] = json!("group");
    }
    let switches = [
        ("matchingStrategy", json!("all")),
        ("retrieveVectors", json!(true)),
        ("showRankingScore", json!(true)),
        ("showRankingScoreDetails", json!(true)),
        ("attributesToRetrieve", json!(["name"])),
        ("attributesToHighlight", json!(["*"])),
        ("attributesToCrop", json!(["text:2"])),
        ("showMatchesPosition", json!(true)),
        ("rankingScoreThreshold", json!([0.3, 0.6, 0.9][dice.roll(3)])),
    ];
    for (key, value) in switches {
        if dice.roll(6) == 0 {
            query[key] = value;
        }
    }
    page(dice, &mut query);
    query
}

fn random_similar(dice: &mut Dice, documents: &[Value]) -> Value {
    let mut query =
        json!({"id": dice.roll(documents.len()), "embedder": if dice.roll(4) == 0 { "own" } else { "rest" }});
    if dice.roll(3) == 0 {
        query["filter"] = random_filter(dice, documents);
    }
    if dice.roll(2) == 0 {
        query["offset"] = json!(dice.roll(20));
        query["limit"] = json!([0, 1, 5, 200][dice.roll(4)]);
    }
    let switches = [
        ("retrieveVectors", json!(true)),
        ("showRankingScore", json!(true)),
        ("showRankingScoreDetails", json!(true)),
        ("attributesToRetrieve", json!(["name"])),
        ("rankingScoreThreshold", json!([0.3, 0.55, 0.9][dice.roll(3)])),
    ];
    for (key, value) in switches {
        if dice.roll(3) == 0 {
            query[key] = value;
        }
    }
    query
}

/// True if the engine compares vectors of a document in pairs there, which a search by a vector does not.
fn has_several(query: &Value, pair: &Pair) -> bool {
    query["embedder"] == "own" && pair.documents.iter().any(|document| document["_vectors"]["own"][0].is_array())
}

fn random(replication_factor: usize) {
    let pair = Pair::start(replication_factor);
    let seed = 100 + replication_factor as u64;
    let mut dice = Dice::new(seed);
    // With typos, what is marked as matching depends on the words that a node knows (docs/compatibility.md).
    let tolerant = replication_factor > 1;
    for client in [&pair.single.client, &pair.fleet.client] {
        let typos = json!({"typoTolerance": {"enabled": tolerant}});
        client.done(&client.json("PATCH", "/indexes/cities/settings", &typos));
    }
    let (mut mixed, mut exact) = (0, 0);
    for n in 0..400 {
        let mut query = random_search(&mut dice, &pair.documents);
        if tolerant {
            for name in ["attributesToHighlight", "attributesToCrop", "showMatchesPosition"] {
                query.as_object_mut().expect("an object").remove(name);
            }
        }
        let path = "/indexes/cities/search";
        let (want, got) = (pair.single.client.post(path, &query), pair.fleet.client.post(path, &query));
        if let Some(difference) = difference(&want, &got) {
            query.as_object_mut().expect("an object").remove("vector");
            panic!("seed {seed}, query {n}: {query}\n{difference}");
        }
        let semantic = want.value()["semanticHitCount"].as_u64().unwrap_or_default();
        let hits = want.value()["hits"].as_array().map_or(0, Vec::len) as u64;
        mixed += u64::from(semantic > 0 && semantic < hits);
        exact += u64::from(got.header("x-miroir-inexact").is_none());
    }
    assert!(mixed >= 20, "only {mixed} answers had hits of both kinds");
    assert!(exact >= 300, "only {exact} answers claim to be exact");
    for n in 0..120 {
        let query = random_similar(&mut dice, &pair.documents);
        if has_several(&query, &pair) {
            continue;
        }
        let (want, got) = (
            pair.single.client.post("/indexes/cities/similar", &query),
            pair.fleet.client.post("/indexes/cities/similar", &query),
        );
        assert_eq!(want.status, 200, "{}", want.text);
        if let Some(difference) = difference(&want, &got) {
            panic!("seed {seed}, similar {n}: {query}\n{difference}");
        }
    }
}

#[test]
fn random_searches_by_meaning_agree_with_one_node_at_replication_factor_one() {
    random(1);
}

#[test]
fn random_searches_by_meaning_agree_with_one_node_at_replication_factor_two() {
    random(2);
}

#[test]
fn documents_keep_their_vectors_wherever_they_are() {
    let pair = Pair::start(2);
    for path in
        ["/indexes/cities/documents/7?retrieveVectors=true", "/indexes/cities/documents/13?retrieveVectors=true"]
    {
        let (want, got) = (pair.single.client.get(path).ok(), pair.fleet.client.get(path).ok());
        assert_eq!(want, got, "{path}");
        assert!(got["_vectors"]["rest"]["embeddings"][0].is_array(), "{got}");
    }
    let all = json!({"limit": 1000, "retrieveVectors": true});
    let sorted = |client: &Client| {
        let mut documents = client.post("/indexes/cities/documents/fetch", &all).ok()["results"].clone();
        documents.as_array_mut().expect("documents").sort_by_key(|document| document["id"].as_u64());
        documents
    };
    assert_eq!(sorted(&pair.single.client), sorted(&pair.fleet.client));

    // A partial update of a document keeps its vectors, a new text gets a new one, and a vector can be taken away.
    for client in [&pair.single.client, &pair.fleet.client] {
        let update =
            json!([{"id": 7, "group": 70}, {"id": 8, "text": "another text"}, {"id": 9, "_vectors": {"own": null}}]);
        client.done(&client.json("PUT", "/indexes/cities/documents", &update));
    }
    assert_eq!(sorted(&pair.single.client), sorted(&pair.fleet.client));
    pair.agree("/indexes/cities/similar", &json!({"id": 8, "embedder": "rest", "showRankingScore": true}));
    let gone = pair.agree("/indexes/cities/similar", &json!({"id": 9, "embedder": "own", "filter": "group < 4"}));
    assert_eq!(gone["hits"], json!([]));
}

#[test]
fn what_is_wrong_with_a_search_by_meaning_is_said_in_the_engines_words() {
    let pair = Pair::start(1);
    let vector = vec![0.5; DIMENSIONS];
    for body in [
        json!({"embedder": "own"}),
        json!({"id": 1}),
        json!({"id": 9999, "embedder": "own"}),
        json!({"id": "no id", "embedder": "own"}),
        json!({"id": 1.5, "embedder": "own"}),
        json!({"id": 1, "embedder": "nobody"}),
        json!({"id": 9999, "embedder": "nobody"}),
        json!({"id": 1, "embedder": "own", "filter": "nothing = 1"}),
        json!({"id": 1, "embedder": "own", "filter": "country"}),
        json!({"id": 1, "embedder": "own", "limit": -1}),
        json!({"id": 1, "embedder": "own", "rankingScoreThreshold": 2}),
        json!({"id": 1, "embedder": "own", "more": 2}),
    ] {
        let error = pair.agree("/indexes/cities/similar", &body);
        assert!(error["code"].is_string(), "{body}: {error}");
    }
    pair.agree("/indexes/nothing/similar", &json!({"id": 1, "embedder": "own"}));
    for body in [
        json!({"q": "city", "hybrid": {"embedder": "nobody"}}),
        json!({"q": "city", "hybrid": {"embedder": "own"}, "vector": [1.0]}),
        json!({"q": "city", "hybrid": {"embedder": "own", "semanticRatio": 2}}),
        json!({"q": "city", "hybrid": {"embedder": "own", "semanticRatio": 1}}),
        json!({"q": "city", "hybrid": {}}),
        json!({"q": "city", "vector": vector}),
    ] {
        let error = pair.agree("/indexes/cities/search", &body);
        assert!(error["code"].is_string(), "{body}: {error}");
    }
    let path = "/indexes/cities/similar?id=12&embedder=rest&limit=3&showRankingScore=true&filter=group%20%3C%205";
    let (want, got) = (pair.single.client.get(path), pair.fleet.client.get(path));
    assert_eq!((want.status, difference(&want, &got)), (200, None));
}

#[test]
fn a_query_that_cannot_be_embedded_is_searched_by_its_words() {
    let pair = Pair::start(2);
    let query = json!({"q": format!("city {UNSPEAKABLE}"), "hybrid": {"embedder": "rest", "semanticRatio": 0.7}});
    let found = pair.agree("/indexes/cities/search", &query);
    assert_eq!(found["semanticHitCount"], json!(0));
    assert_eq!(found["hits"].as_array().map(Vec::len), Some(20));
    let by_vector = json!({"q": UNSPEAKABLE, "hybrid": {"embedder": "rest", "semanticRatio": 1}});
    let statuses = [&pair.single.client, &pair.fleet.client].map(|client| {
        let reply = client.post("/indexes/cities/search", &by_vector);
        (reply.status, reply.value()["code"].clone())
    });
    assert_eq!(statuses[0], statuses[1]);
    assert_ne!(statuses[0].0, 200);
}

#[test]
fn the_vector_of_a_query_is_shown_where_it_finds_nothing() {
    let pair = Pair::start(1);
    for limit in [0, 5] {
        let query = json!({
            "q": "city", "limit": limit, "offset": 1, "filter": "country = nowhere", "retrieveVectors": true,
            "hybrid": {"embedder": "rest", "semanticRatio": 0.9},
        });
        let found = pair.agree("/indexes/cities/search", &query);
        assert_eq!((&found["hits"], &found["semanticHitCount"]), (&json!([]), &json!(0)));
    }
}

#[test]
fn a_query_whose_words_are_good_enough_is_never_embedded() {
    let pair = Pair::start(1);
    let before = pair.embedder.asked();
    let query = json!({"q": "city", "limit": 5, "hybrid": {"embedder": "rest", "semanticRatio": 0.1}});
    let found = pair.fleet.client.search("cities", &query);
    assert_eq!((&found["semanticHitCount"], pair.embedder.asked()), (&json!(0), before));
    pair.agree("/indexes/cities/search", &query);
    // Words fill no page of all documents.
    let deep = json!({"q": "number3 city", "limit": 100, "hybrid": {"embedder": "rest", "semanticRatio": 0.1}});
    pair.agree("/indexes/cities/search", &deep);
    assert!(pair.embedder.asked() > before);
}

#[test]
fn each_search_of_several_is_mixed_on_its_own() {
    let pair = Pair::start(2);
    let body = json!({"queries": [
        {"indexUid": "cities", "q": "number3 city", "hybrid": {"embedder": "rest", "semanticRatio": 0.8}, "limit": 7},
        {"indexUid": "cities", "q": "number4"},
        {"indexUid": "cities", "vector": embed("number5"), "hybrid": {"embedder": "own"}, "showRankingScore": true},
    ]});
    let found = pair.agree("/multi-search", &body);
    assert_eq!(found["results"].as_array().map(Vec::len), Some(3));
}

#[test]
fn similar_documents_are_compared_under_a_distinct_attribute_only_if_their_key_is_filterable() {
    let pair = Pair::start(1);
    let query = json!({"id": 4, "embedder": "rest", "showRankingScore": true, "limit": 12});
    let set = |settings: Value| {
        for client in [&pair.single.client, &pair.fleet.client] {
            client.done(&client.json("PATCH", "/indexes/cities/settings", &settings));
        }
    };
    set(json!({"distinctAttribute": "group"}));
    let refused = pair.fleet.client.post("/indexes/cities/similar", &query);
    assert_eq!((refused.status, &refused.value()["code"]), (501, &json!("miroir_not_supported")));
    set(json!({"filterableAttributes": ["id", "group"]}));
    pair.agree("/indexes/cities/similar", &query);
    set(json!({"distinctAttribute": null, "rankingRules": ["population:desc", "words", "typo"]}));
    pair.agree("/indexes/cities/similar", &query);
}
