//! What is counted under `distinct`, where no node knows which of its documents better ones elsewhere stand for: one node and clusters
//! of three say the same.

use serde_json::{Value, json};

use crate::alike::Pair;
use crate::support::fleet::is_embedded;

/// Films of a few makers, of which some have several.
fn films() -> Vec<Value> {
    let makers = ["ada", "Bob", "cy", "dee", "eve", "fay", "gil"];
    let genres = ["Drama", "comedy", "crime", "war"];
    let film = |id: usize| {
        let maker = makers[(id * 3 + id / 7) % 7];
        let words = ["blue", "red", "green"][id % 3];
        json!({"id": id, "title": format!("film {words} {}", "x".repeat(id % 5)), "maker": {"name": maker}, "year": id % 11,
            "rank": id, "genre": [genres[id % 4], genres[id * 3 % 4]]})
    };
    (0..60).map(film).collect()
}

fn settings() -> Value {
    json!({"filterableAttributes": ["maker.name", "genre", "year"], "sortableAttributes": ["rank", "year"],
        "rankingRules": ["sort", "words", "typo", "proximity", "attribute", "exactness"]})
}

fn load(replication_factor: usize) -> Pair {
    let pair = Pair::start(replication_factor);
    let mut films = films();
    // What a displaced document has twice Meilisearch takes out twice, the embedded engine once.
    for genres in films.iter_mut().filter(|_| is_embedded()).filter_map(|film| film["genre"].as_array_mut()) {
        genres.dedup();
    }
    let books = films[20..].to_vec();
    pair.load("films", &settings(), &json!(films));
    pair.load("books", &settings(), &json!(books));
    pair
}

fn facets_of_federations(replication_factor: usize) {
    let pair = load(replication_factor);
    let by_rank = json!(["rank:asc"]);
    // The embedded engine takes what other indexes displace out of ranges, too; Meilisearch does not.
    let facets = if is_embedded() {
        json!({"films": ["genre", "maker.name"], "books": ["genre"]})
    } else {
        json!({"films": ["genre", "year", "maker.name"], "books": ["genre", "year"]})
    };
    for (federation, queries) in [
        // Each search has a distinct attribute of its own.
        (
            json!({"facetsByIndex": {"films": ["genre", "year"]}}),
            json!([{"indexUid": "films", "sort": by_rank, "distinct": "maker.name", "attributesToRetrieve": ["id", "year"]}]),
        ),
        (
            json!({"facetsByIndex": facets}),
            json!([{"indexUid": "films", "sort": by_rank, "distinct": "maker.name"},
                {"indexUid": "films", "sort": by_rank, "filter": "year > 4", "distinct": "year"},
                {"indexUid": "books", "sort": by_rank, "filter": "genre = war"}]),
        ),
        // All of them have one.
        (
            json!({"facetsByIndex": {"films": ["genre", "year"]}, "mergeFacets": {}, "distinct": "maker.name"}),
            json!([{"indexUid": "films", "sort": by_rank, "attributesToRetrieve": ["title"]},
                {"indexUid": "films", "sort": by_rank, "filter": "year > 4", "attributesToRetrieve": ["title"]}]),
        ),
        (
            json!({"facetsByIndex": facets, "distinct": "maker.name"}),
            json!([{"indexUid": "films", "sort": by_rank, "filter": "year > 5", "attributesToRetrieve": ["title"]},
                {"indexUid": "books", "sort": by_rank, "attributesToRetrieve": ["title"]}]),
        ),
        (
            json!({"facetsByIndex": facets, "mergeFacets": {"maxValuesPerFacet": 3}, "distinct": "year", "limit": 50}),
            json!([{"indexUid": "films", "sort": by_rank}, {"indexUid": "books", "sort": by_rank}]),
        ),
        (
            json!({"facetsByIndex": facets, "mergeFacets": {}, "distinct": "genre", "page": 1, "hitsPerPage": 20}),
            json!([{"indexUid": "books", "sort": by_rank, "attributesToRetrieve": ["maker.name"]},
                {"indexUid": "films", "sort": by_rank}]),
        ),
    ] {
        let body = json!({"federation": federation, "queries": queries});
        // What hits of one index displace of another's, the embedded engine takes out of merged facets in its own way.
        let is_merged =
            body["federation"].get("mergeFacets").is_some() && body["federation"]["facetsByIndex"] == facets;
        if is_embedded() && is_merged {
            continue;
        }
        pair.agree("/multi-search", &body, None);
    }
    // The page is full before all hits are met.
    let body = json!({"federation": {"facetsByIndex": {"films": ["genre"]}, "limit": 2},
        "queries": [{"indexUid": "films", "sort": by_rank, "distinct": "maker.name"}]});
    let said = pair.fleet.client.post("/multi-search", &body);
    assert_eq!(said.header("x-miroir-inexact"), Some("totals, facets"), "{}", said.text);
}

#[test]
fn facets_of_a_federation_are_those_of_what_distinct_leaves_with_one_replica() {
    facets_of_federations(1);
}

#[test]
fn facets_of_a_federation_are_those_of_what_distinct_leaves_with_two_replicas() {
    facets_of_federations(2);
}

fn values_of_facets(replication_factor: usize) {
    let pair = Pair::start(replication_factor);
    for (index, order) in [("alpha", "alpha"), ("count", "count")] {
        let mut settings = settings();
        settings["distinctAttribute"] = json!("maker.name");
        settings["faceting"] = json!({"sortFacetValuesBy": {"*": order}});
        pair.load(index, &settings, &json!(films()));
        let path = format!("/indexes/{index}/facet-search");
        // Which of the films of a maker that tie is counted, no answer tells.
        for (more, told) in [
            (json!({}), false),
            (json!({"facetQuery": "c"}), false),
            (json!({"facetQuery": "cr", "q": ""}), false),
            (json!({"facetQuery": "comedi", "filter": "year > 3"}), false),
            (json!({"facetQuery": "war", "exhaustiveFacetCount": true}), false),
            (json!({"facetQuery": "romance"}), false),
            (json!({"filter": "maker.name = nobody"}), true),
        ] {
            let mut body = more;
            body["facetName"] = json!("genre");
            let (want, got) = (pair.single.client.post(&path, &body), pair.fleet.client.post(&path, &body));
            assert_eq!(got.header("x-miroir-inexact").is_none(), told, "{body}: {}", got.text);
            assert_eq!(want.ok()["facetHits"], got.ok()["facetHits"], "{index} {body}");
        }
        // Of makers there are as many as values of the attribute itself.
        pair.agree(&path, &json!({"facetName": "maker.name", "facetQuery": "f"}), None);
    }
    // More values than are listed: what is not told is said.
    pair.load(
        "many",
        &json!({"filterableAttributes": ["maker.name", "title"], "distinctAttribute": "maker.name",
        "faceting": {"maxValuesPerFacet": 2}}),
        &json!(films()),
    );
    let said =
        pair.fleet.client.post("/indexes/many/facet-search", &json!({"facetName": "title", "facetQuery": "film"}));
    assert_eq!(said.header("x-miroir-inexact"), Some("facets"), "{}", said.text);
}

#[test]
fn a_facet_search_counts_what_distinct_leaves_of_all_nodes_with_one_replica() {
    values_of_facets(1);
}

#[test]
fn a_facet_search_counts_what_distinct_leaves_of_all_nodes_with_two_replicas() {
    values_of_facets(2);
}

fn totals_of_full_pages(replication_factor: usize) {
    let pair = Pair::start(replication_factor);
    let none = json!({"rankingRules": [], "distinctAttribute": "maker.name"});
    pair.load("unranked", &none, &json!(films()));
    let mut filtered = settings();
    filtered["distinctAttribute"] = json!("maker.name");
    pair.load("filtered", &filtered, &json!(films()));
    pair.load("asked", &settings(), &json!(films()));
    for index in ["unranked", "filtered", "asked"] {
        let path = format!("/indexes/{index}/search");
        let mut asked = 0;
        for more in
            [json!({}), json!({"q": "film"}), json!({"sort": ["year:asc"]}), json!({"q": "red", "filter": "year < 9"})]
        {
            if index == "unranked" && more != json!({}) {
                continue;
            }
            for (offset, limit) in [(0, 1), (0, 2), (1, 3), (2, 2), (4, 2), (6, 1), (6, 2), (7, 3), (0, 7)] {
                let mut body = more.clone();
                body["offset"] = json!(offset);
                body["limit"] = json!(limit);
                if index == "asked" {
                    body["distinct"] = json!("maker.name");
                }
                let got = pair.agree(&path, &body, None);
                asked += usize::from(got["hits"].as_array().is_some_and(|hits| hits.len() == limit));
            }
        }
        assert!(asked > 4, "some pages are full");
    }
    // Without a filter for the attribute, nobody can count what words find beside what was met.
    let words = json!({"q": "film", "limit": 2});
    let said = pair.fleet.client.post("/indexes/unranked/search", &words);
    assert_eq!(said.header("x-miroir-inexact"), Some("totals"), "{}", said.text);
}

#[test]
fn the_total_of_a_full_page_under_distinct_is_that_of_one_node_with_one_replica() {
    totals_of_full_pages(1);
}

#[test]
fn the_total_of_a_full_page_under_distinct_is_that_of_one_node_with_two_replicas() {
    totals_of_full_pages(2);
}
