//! Reads whose answers hang on what the single nodes do not know: one node and clusters of three say the same.

use serde_json::{Value, json};

use crate::support::fleet::is_embedded;
use crate::support::parity::leaks;
use crate::support::{Client, Fleet, FleetOptions, Single};

pub struct Pair {
    pub single: Single,
    pub fleet: Fleet,
}

impl Pair {
    pub fn start(replication_factor: usize) -> Self {
        let fleet = Fleet::with(FleetOptions { replication_factor, ..FleetOptions::default() });
        Self { single: Single::start(), fleet }
    }

    pub fn load(&self, index: &str, settings: &Value, documents: &Value) {
        let load = |client: &Client| {
            client.done(&client.post("/indexes", &json!({"uid": index, "primaryKey": "id"})));
            client.done(&client.json("PATCH", &format!("/indexes/{index}/settings"), settings));
            client.add(index, documents);
        };
        load(&self.single.client);
        load(&self.fleet.client);
    }

    /// Asks both; the same status and every member but the times must agree, the order of keys too, and the header must
    /// be there if and only if `inexact` names what it says. The gateway's answer.
    pub fn agree(&self, path: &str, body: &Value, inexact: Option<&str>) -> Value {
        let (want, got) = (self.single.client.post(path, body), self.fleet.client.post(path, body));
        assert_eq!(want.status, got.status, "{path} {body}: {} / {}", want.text, got.text);
        assert_eq!(got.header("x-miroir-inexact"), inexact, "{path} {body}: {}", got.text);
        assert_eq!(got.header("x-miroir-degraded"), None, "{path} {body}: {}", got.text);
        let text = got.text.clone();
        let (mut want, mut got) = (want.value(), got.value());
        for value in [&mut want, &mut got] {
            let Some(members) = value.as_object_mut() else { continue };
            ["processingTimeMs", "requestUid"].iter().for_each(|name| _ = members.remove(*name));
        }
        assert!(!leaks(&got), "{path} {body}: {text}");
        if inexact != Some("facets") {
            assert_eq!(want, got, "{path} {body}");
            assert_eq!(want.to_string(), got.to_string(), "{path} {body}: {text}");
        }
        got
    }
}

/// The values of a facet in the order in which they are listed.
fn listed(answer: &Value, facet: &str) -> Vec<(String, u64)> {
    let values = answer["facetDistribution"][facet].as_object().expect("a facet");
    values.iter().map(|(value, count)| (value.clone(), count.as_u64().expect("a count"))).collect()
}

fn numbers_and_digits(pair: &Pair) {
    let kinds = [json!(-1), json!("-1"), json!("-1"), json!(5), json!("5")];
    let documents: Vec<Value> = (0..15)
        .map(|id| {
            let v = &kinds[id % 5];
            let zero = if id % 4 == 0 { json!(0) } else { json!("-0") };
            json!({"id": id, "v": v, "w": [v, (id % 2).to_string()], "z": zero, "both": [id % 3, (id % 2).to_string()]})
        })
        .collect();
    for (index, order) in [("values", "alpha"), ("counts", "count")] {
        let settings = json!({"filterableAttributes": ["v", "w", "z", "both"],
            "faceting": {"maxValuesPerFacet": 100, "sortFacetValuesBy": {"*": order}}});
        pair.load(index, &settings, &json!(documents));
        let path = format!("/indexes/{index}/search");
        let answer = pair.agree(&path, &json!({"facets": ["v", "w", "z", "both"]}), None);
        assert_eq!(answer["facetDistribution"]["v"], json!({"-1": 6, "5": 3}));
        assert_eq!(answer["facetDistribution"]["w"], json!({"-1": 6, "5": 3, "0": 8, "1": 7}));
        assert_eq!(answer["facetDistribution"]["z"], json!({"0": 4, "-0": 11}));
        assert_eq!(answer["facetStats"]["w"], json!({"min": -1.0, "max": 5.0}));
        for filter in ["id < 6", "w = 5", "w = 0", "v = -1"] {
            // `id` is not filterable: an error like any other.
            pair.agree(&path, &json!({"facets": ["w", "v"], "filter": filter, "hitsPerPage": 2}), None);
        }
    }
}

fn frequent_values_of_arrays(pair: &Pair) {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];
    let documents: Vec<Value> = (0..80)
        .map(|id| json!({"id": id, "tags": [names[id % 5], names[5 + id % 8], names[5 + (id / 5) % 8]]}))
        .collect();
    let settings = json!({"filterableAttributes": ["tags"],
        "faceting": {"maxValuesPerFacet": 3, "sortFacetValuesBy": {"*": "count"}}});
    pair.load("tags", &settings, &json!(documents));
    // Which of equals are listed no answer tells.
    let body = json!({"facets": ["tags"]});
    let answer = pair.agree("/indexes/tags/search", &body, Some("facets"));
    let one = pair.single.client.post("/indexes/tags/search", &body).ok();
    let counts = |answer: &Value| listed(answer, "tags").into_iter().map(|(_, count)| count).collect::<Vec<_>>();
    assert_eq!(counts(&answer), counts(&one), "{answer} {one}");
}

fn pages_of_distinct_values(pair: &Pair) {
    let documents: Vec<Value> =
        (0..40).map(|id| json!({"id": id, "group": id % 9, "name": format!("thing {}", id % 2)})).collect();
    let settings = json!({"filterableAttributes": ["group"], "pagination": {"maxTotalHits": 30}});
    pair.load("groups", &settings, &json!(documents));
    let path = "/indexes/groups/search";
    for more in [json!({"hitsPerPage": 0}), json!({"hitsPerPage": 0, "q": "thing"}), json!({"page": 0})] {
        let mut body = more;
        body["distinct"] = json!("group");
        assert_eq!(pair.agree(path, &body, None)["totalHits"], json!(9), "{body}");
    }
    for offset in [29, 30, 31, 500] {
        pair.agree(path, &json!({"offset": offset, "limit": 5}), None);
        pair.agree(path, &json!({"offset": offset, "limit": 0, "q": "thing"}), None);
    }
}

/// A filter for the number 9 finds the text "9" as well, `distinct` does not: what is left beside a hit must not be asked for by such a
/// filter.
fn distinct_numbers_and_their_digits(pair: &Pair) {
    let prices = [json!(9), json!("9"), json!([6, 9]), json!(["6", "x"]), json!(null), json!("6"), json!(6)];
    let documents: Vec<Value> = (0..35).map(|id| json!({"id": id, "n": id, "price": prices[id % 7]})).collect();
    let settings = json!({"filterableAttributes": ["price", "genre"], "sortableAttributes": ["n"]});
    pair.load("prices", &settings, &json!(documents));
    let path = "/indexes/prices/search";
    for offset in 0..9 {
        for facets in [json!(null), json!(["genre"])] {
            let body = json!({"sort": ["n:desc"], "offset": offset, "limit": 2, "distinct": "price", "facets": facets});
            let (want, got) = (pair.single.client.post(path, &body).ok(), pair.fleet.client.post(path, &body).ok());
            assert_eq!(
                (&want["hits"], &want["facetDistribution"]),
                (&got["hits"], &got["facetDistribution"]),
                "{body}"
            );
            if facets != json!(null) {
                assert_eq!(want["estimatedTotalHits"], got["estimatedTotalHits"], "{body}");
            }
        }
    }
}

fn attributes_that_few_documents_have(pair: &Pair) {
    let documents: Vec<Value> = (0..30)
        .map(|id| match id {
            7 => json!({"id": id, "name": "plain", "deep": {"rare": "lamp"}}),
            _ => json!({"id": id, "name": "lamp"}),
        })
        .collect();
    pair.load("rare", &json!({"searchableAttributes": ["name", "deep"]}), &json!(documents));
    for (attributes, hits) in
        [(json!(["*.rare"]), 1), (json!(["*.rare", "name"]), 30), (json!(["deep.*"]), 1), (json!(["deep.rare"]), 1)]
    {
        let body = json!({"q": "lamp", "attributesToSearchOn": attributes, "limit": 40});
        let answer = pair.agree("/indexes/rare/search", &body, None);
        assert_eq!(answer["hits"].as_array().expect("hits").len(), hits, "{body}");
    }
    for attributes in [json!(["*.none"]), json!(["*.rare", "none"])] {
        let body = json!({"q": "lamp", "attributesToSearchOn": attributes});
        let refused = pair.agree("/indexes/rare/search", &body, None);
        assert_eq!(refused["code"], json!("invalid_search_attributes_to_search_on"));
    }
}

/// To a node that has never seen a field, nothing is other than a value of it.
fn fields_that_few_documents_have(pair: &Pair) {
    let documents: Vec<Value> = (0..30)
        .map(|id| match id {
            7 => json!({"id": id, "name": "lamp", "mark": "red", "deep": {"mark": 1}, "is it": "new"}),
            8 => json!({"id": id, "name": "lamp", "mark": null}),
            9 => json!({"id": id, "name": "lamp", "mark": ["red", "blue"]}),
            _ => json!({"id": id, "name": "lamp"}),
        })
        .collect();
    let settings = json!({"filterableAttributes": ["mark", "deep", "is it", "never"]});
    pair.load("marks", &settings, &json!(documents));
    let total = |filter: &Value| {
        let fetched = pair.agree("/indexes/marks/documents/fetch", &json!({"filter": filter, "limit": 40}), None);
        let found =
            pair.agree("/indexes/marks/search", &json!({"filter": filter, "limit": 40, "facets": ["mark"]}), None);
        assert_eq!(found["estimatedTotalHits"], fetched["total"], "{filter}");
        let queries = json!([{"indexUid": "marks", "filter": filter, "limit": 40}]);
        let of_list = |client: &Client| {
            client.post("/multi-search", &json!({"queries": queries})).ok()["results"][0]["hits"].clone()
        };
        assert_eq!(of_list(&pair.fleet.client), of_list(&pair.single.client), "{filter}");
        let encoded = "mark%20%21%3D%20red";
        let by_path = |client: &Client| {
            client.get(&format!("/indexes/marks/search?filter={encoded}")).ok()["estimatedTotalHits"].clone()
        };
        assert_eq!(by_path(&pair.fleet.client), by_path(&pair.single.client));
        fetched["total"].clone()
    };
    for (filter, documents) in [
        (json!("mark != red"), 28),
        (json!("mark != green"), 30),
        (json!("NOT mark != 'red'"), 2),
        (json!("mark!=RED AND name = lamp OR deep.mark != 1"), 0),
        (json!(["deep.mark != 2", ["'is it' != new", "mark = blue"]]), 29),
        // What no document has ever had, nobody knows.
        (json!("never != 1"), 0),
        (json!("NOT never = 1"), 30),
        (json!("never != 1 OR mark != blue"), 29),
    ] {
        // One of them is wrong, and said of what was written.
        if !filter.to_string().contains("name") {
            assert_eq!(total(&filter), documents, "{filter}");
        } else {
            pair.agree("/indexes/marks/search", &json!({"filter": filter}), None);
        }
    }
    // The last one is known from a document that is on its way when the deletion comes.
    let clients = [&pair.single.client, &pair.fleet.client];
    for client in clients {
        let (added, deleted) = (
            client.post("/indexes/marks/documents", &json!([{"id": 99, "never": 2}])),
            client.post("/indexes/marks/documents/delete", &json!({"filter": "never != 2"})),
        );
        client.done(&added);
        assert_eq!(client.done(&deleted)["details"]["deletedDocuments"], 30);
    }
    assert_eq!(pair.fleet.client.documents("marks"), pair.single.client.documents("marks"));
    for client in clients {
        client.json("PATCH", "/experimental-features", &json!({"editDocumentsByFunction": true})).ok();
        client.add("marks", &json!((0..20).map(|id| json!({"id": id})).collect::<Vec<_>>()));
        let edit = json!({"function": "doc.edited = true", "filter": "never != 2"});
        let task = client.done(&client.post("/indexes/marks/documents/edit", &edit));
        assert_eq!(task["details"]["editedDocuments"], 20, "{task}");
    }
    // Of each replica: the cover of each search is another.
    for _ in 0..4 {
        assert_eq!(pair.fleet.client.documents("marks"), pair.single.client.documents("marks"));
    }
}

fn vectors_of_few_documents(pair: &Pair) {
    let documents: Vec<Value> = (0..30)
        .map(|id| {
            // No two are equally far from a third.
            let angle = f64::from(id) * 0.1 + f64::from(id * id) * 0.0013;
            json!({"id": id, "name": format!("n{id}"), "_vectors": {"own": [angle.cos(), angle.sin(), 0.5]}})
        })
        .collect();
    let settings = json!({"embedders": {"own": {"source": "userProvided", "dimensions": 3}}});
    pair.load("near", &settings, &json!(documents));
    for client in [&pair.single.client, &pair.fleet.client] {
        client.done(&client.json("PUT", "/indexes/near/documents", &json!([{"id": 4, "name": "again"}])));
    }
    for id in 0..30 {
        let asked = |client: &Client| {
            let post = |id: Value| json!({"id": id, "embedder": "own", "limit": 3});
            [
                client.post("/indexes/near/similar", &post(json!(id))).ok(),
                client.post("/indexes/near/similar", &post(json!(id.to_string()))).ok(),
                client.get(&format!("/indexes/near/similar?id={id}&embedder=own&limit=3")).ok(),
            ]
        };
        for (want, got) in asked(&pair.single.client).iter().zip(&asked(&pair.fleet.client)) {
            assert_eq!((&want["id"], &want["estimatedTotalHits"]), (&got["id"], &got["estimatedTotalHits"]), "{id}");
            // An older engine looks at some vectors only.
            assert_eq!(got["hits"].as_array().map(Vec::len), Some(3), "{id}");
        }
    }
    // As a number it overflows.
    for ratio in [0.5, 1.0] {
        let hybrid = json!({"embedder": "own", "semanticRatio": ratio});
        let body = json!({"q": "again", "vector": [1e39, 0.0, 1.0], "hybrid": hybrid});
        let reply = pair.single.client.post("/indexes/near/search", &body);
        if reply.status >= 400 {
            let got = pair.fleet.client.post("/indexes/near/search", &body);
            assert_eq!((reply.status, &reply.value()["code"]), (got.status, &got.value()["code"]), "{}", got.text);
        }
    }
}

/// The key is guessed from the first document, in which other fields stand before it.
fn fields_in_their_order(pair: &Pair) {
    let document = |id: u64| json!({"title": format!("a film {id}"), "year": 1990 + id, "id": id, "cast": ["x"]});
    let documents: Value = (0..30).map(document).collect();
    for client in [&pair.single.client, &pair.fleet.client] {
        client.add("ordered", &documents);
        let settings = json!({"filterableAttributes": ["cast"], "sortableAttributes": ["cast", "year"]});
        client.done(&client.json("PATCH", "/indexes/ordered/settings", &settings));
    }
    let sort = json!(["year:asc"]);
    let search = json!({"q": "film", "sort": sort, "attributesToHighlight": ["*"]});
    let first = pair.agree("/indexes/ordered/search", &search, None)["hits"][0].clone();
    let names: Vec<&String> = first.as_object().expect("a hit").keys().collect();
    assert_eq!(names, ["title", "year", "id", "cast", "_formatted"]);
    let few = json!({"q": "film", "sort": sort, "attributesToRetrieve": ["id", "cast", "title"]});
    pair.agree("/indexes/ordered/search", &few, None);
    let queries = json!([{"indexUid": "ordered", "q": "film", "sort": sort}]);
    pair.agree("/multi-search", &json!({"queries": queries, "federation": {"limit": 30}}), None);
    pair.agree("/indexes/ordered/documents/fetch", &json!({"limit": 30}), None);
    if !is_embedded() {
        // All tie.
        pair.agree("/indexes/ordered/documents/fetch", &json!({"sort": ["cast:asc"], "offset": 5, "limit": 9}), None);
    }
    let one = |client: &Client| client.get("/indexes/ordered/documents/7").ok().to_string();
    assert_eq!(one(&pair.single.client), one(&pair.fleet.client));
}

/// What Miroir sets of an index when it is made is no change of it.
fn a_new_index(pair: &Pair) {
    for client in [&pair.single.client, &pair.fleet.client] {
        client.done(&client.post("/indexes", &json!({"uid": "new"})));
        let shown = || client.get("/indexes/new").ok();
        let listed = || {
            let all = client.get("/indexes?limit=100").ok();
            let mut all = all["results"].as_array().expect("indexes").iter();
            all.find(|index| index["uid"] == "new").expect("the index").clone()
        };
        // The embedded engine says when it has ended the task.
        let tells = !is_embedded() || client.url == pair.fleet.client.url;
        for new in [shown(), listed()].into_iter().filter(|_| tells) {
            assert_eq!(new["updatedAt"], new["createdAt"], "{new}");
        }
        // Nor is the name that it has.
        if !is_embedded() {
            client.done(&client.json("PATCH", "/indexes/new", &json!({"uid": "new"})));
            assert_eq!(shown()["updatedAt"], shown()["createdAt"]);
        }
        client.done(&client.json("PATCH", "/indexes/new/settings", &json!({"stopWords": ["a"]})));
        for changed in [shown(), listed()] {
            assert_ne!(changed["updatedAt"], changed["createdAt"], "{changed}");
        }
    }
}

fn agree(replication_factor: usize) {
    let pair = Pair::start(replication_factor);
    numbers_and_digits(&pair);
    frequent_values_of_arrays(&pair);
    pages_of_distinct_values(&pair);
    distinct_numbers_and_their_digits(&pair);
    attributes_that_few_documents_have(&pair);
    fields_that_few_documents_have(&pair);
    vectors_of_few_documents(&pair);
    fields_in_their_order(&pair);
    a_new_index(&pair);
}

#[test]
fn reads_do_not_hang_on_what_single_nodes_know_with_one_replica() {
    agree(1);
}

#[test]
fn reads_do_not_hang_on_what_single_nodes_know_with_two_replicas() {
    agree(2);
}
