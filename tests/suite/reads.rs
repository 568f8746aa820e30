//! Searches and document reads: one node and the cluster give the same answer.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::corpus::cities;
use crate::support::parity::{difference, leaks, load, random_query};
use crate::support::random::Dice;
use crate::support::{Fleet, FleetOptions, Single};

/// A number from the environment: `make parity` asks more than `make test`.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Words are capped by the engine for each vocabulary (docs/exactness.md), which few of many searches meet.
fn allowed(queries: u64) -> usize {
    if queries < 1000 { 0 } else { queries as usize / 200 }
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
    println!("{} of {queries} searches agree", queries as usize - differences.len());
    assert!(differences.len() <= allowed(queries), "{}", differences.join("\n\n"));
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
fn distinct_values_are_counted_by_the_page_where_it_has_room_for_all_of_them() {
    let documents = cities(0);
    let (single, fleet) = (Single::start(), Fleet::start());
    load(&single.client, "cities", &documents);
    load(&fleet.client, "cities", &documents);
    // There are 12 features and 174 countries, and a node lists 45 hits.
    for (field, room) in [("feature", true), ("country", false)] {
        for facets in [json!(null), json!(["feature"]), json!(["country", "feature"])] {
            let search = json!({"distinct": field, "page": 1, "hitsPerPage": 5, "facets": facets});
            assert_eq!(difference(&single.client, &fleet.client, "cities", &search), None, "{search}");
            let explained = fleet.admin.post("/indexes/cities/explain", &json!({"body": search, "run": true})).ok();
            let followed = explained["run"]["followed"].as_array().expect("what followed");
            assert_eq!(followed.contains(&json!("census")), !room, "{search}: {followed:?}");
        }
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
        let results = value["results"].as_array_mut().expect("results");
        // It is one request, if the engine says which.
        assert_eq!(results[0]["requestUid"], results[1]["requestUid"]);
        for result in results {
            for name in ["processingTimeMs", "requestUid"] {
                result.as_object_mut().expect("a result").remove(name);
            }
        }
    }
    assert_eq!(want, got);
    // InstantSearch sends along what it says of its searches, and no engine looks at that.
    let idle =
        json!({"facetName": "country", "facetQuery": "f", "facets": ["country"], "limit": 1, "sort": 7, "page": 2});
    for facets in [json!({"facetName": "country", "facetQuery": "f"}), idle] {
        let (want, got) = (
            single.client.post("/indexes/cities/facet-search", &facets).ok(),
            fleet.client.post("/indexes/cities/facet-search", &facets).ok(),
        );
        assert_eq!(want["facetHits"], got["facetHits"]);
    }
}

/// A pattern for every attribute is one for hidden ones, too.
#[test]
fn an_index_that_filters_by_every_attribute_shows_no_hidden_one() {
    let documents = cities(800);
    let (single, fleet) = (Single::start(), Fleet::start());
    for client in [&single.client, &fleet.client] {
        load(client, "cities", &documents);
        let all = json!({"attributePatterns": ["*"],
            "features": {"facetSearch": true, "filter": {"equality": true, "comparison": true}}});
        let settings = json!({"filterableAttributes": [all]});
        client.done(&client.json("PATCH", "/indexes/cities/settings", &settings));
    }
    for query in [
        json!({"q": "san", "facets": ["*"]}),
        json!({"q": "a", "facets": ["*"], "filter": "admin EXISTS", "page": 2, "hitsPerPage": 5}),
        json!({"facets": ["*"], "distinct": "country", "sort": ["population:desc", "name:asc"], "limit": 7}),
    ] {
        let difference = difference(&single.client, &fleet.client, "cities", &query);
        assert_eq!(difference, None, "{query}");
        let answer = fleet.client.post("/indexes/cities/search", &query).ok();
        assert!(answer["facetDistribution"]["country"].is_object() && !leaks(&answer), "{query}");
    }
}

/// Which words are left out follows from all documents, of which no node has more than a part.
#[test]
fn words_are_left_out_by_how_frequent_they_are_in_all_documents() {
    let documents = cities(0);
    let single = Single::start();
    let fleet = Fleet::with(FleetOptions { replication_factor: 1, ..FleetOptions::default() });
    for client in [&single.client, &fleet.client] {
        load(client, "cities", &documents);
    }
    let mut dice = Dice::new(setting("MIROIR_PARITY_SEED", 5));
    let name = |dice: &mut Dice| dice.one(&documents)["name"].as_str().expect("a name").to_owned();
    let queries = setting("MIROIR_PARITY_QUERIES", 120);
    let mut differences = Vec::new();
    let mut left_out = 0;
    for n in 0..queries {
        let words = match dice.roll(3) {
            0 => format!("{} {}", name(&mut dice), name(&mut dice)),
            1 => format!("{} san {}", name(&mut dice), name(&mut dice)),
            _ => format!("new {} city", name(&mut dice)),
        };
        let mut query = json!({"q": words, "matchingStrategy": "frequency"});
        match dice.roll(4) {
            0 => query["facets"] = json!(["feature"]),
            1 => query["limit"] = json!(3),
            2 => query["page"] = json!(1),
            _ => query["filter"] = json!("population > 5000"),
        }
        let inexact = fleet.client.post("/indexes/cities/search", &query).header("x-miroir-inexact").map(str::to_owned);
        // What the engine takes for a word cannot always be told.
        if inexact.is_some_and(|names| names.contains("order")) {
            continue;
        }
        if let Some(difference) = difference(&single.client, &fleet.client, "cities", &query) {
            differences.push(format!("query {n}: {query}\n{difference}"));
        }
        let found = |strategy: &str| {
            query["matchingStrategy"] = json!(strategy);
            fleet.client.post("/indexes/cities/search", &query).ok()["estimatedTotalHits"].as_u64()
        };
        let counts = ["frequency", "all", "last"].map(found);
        left_out += usize::from(counts[0] != counts[1] && counts[0] != counts[2]);
    }
    assert!(differences.len() <= allowed(queries), "{}", differences.join("\n\n"));
    assert!(left_out > 10, "{left_out} searches left out other words than the last ones");
}
