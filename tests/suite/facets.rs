//! Facets by count, cut anywhere: a cluster of three states the counts of one node.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::alike::Pair;

const INDEX: &str = "things";

/// Tags that few documents have and tags that many have, several in each document; sizes are numbers, and each document
/// has a code of its own.
fn documents() -> Vec<Value> {
    let mut state: u64 = 17;
    let mut roll = move |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    let colours = ["red", "green", "blue"];
    (0..400)
        .map(|id| {
            let tags: Vec<String> = (0..1 + roll(4)).map(|_| format!("tag {}", roll(60).min(roll(60)))).collect();
            let sizes: Vec<u64> = (0..1 + roll(2)).map(|_| roll(30).min(roll(30))).collect();
            json!({"id": id, "name": colours[roll(3) as usize], "tags": tags, "sizes": sizes, "code": format!("c{id}")})
        })
        .collect()
}

/// In how many of `documents` each value of `facet` is.
fn counted(documents: &[Value], facet: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for document in documents {
        let values = document[facet].as_array().cloned().unwrap_or_else(|| vec![document[facet].clone()]);
        let texts: std::collections::BTreeSet<String> =
            values.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect();
        texts.into_iter().for_each(|text| *counts.entry(text).or_default() += 1);
    }
    counts
}

/// The list in order, and the right counts; where it ends among equals, the answer says so.
fn check(listed: &[(String, u64)], counts: &BTreeMap<String, u64>, most: usize, inexact: Option<&str>, what: &str) {
    let mut all: Vec<u64> = counts.values().copied().collect();
    all.sort_unstable_by(|left, right| right.cmp(left));
    let shown: Vec<u64> = listed.iter().map(|(_, count)| *count).collect();
    assert_eq!(shown, all[..most.min(all.len())], "{what}: {listed:?}");
    for (value, count) in listed {
        assert_eq!(counts.get(value), Some(count), "{what}: {value} of {listed:?}");
    }
    let tied = most < all.len() && all[most - 1] == all[most];
    assert_eq!(inexact, tied.then_some("facets"), "{what}: {listed:?}");
}

fn agree(replication_factor: usize, max_total_hits: u64, limits: &[usize]) {
    let pair = Pair::start(replication_factor);
    let documents = documents();
    let client = &pair.fleet.client;
    let settings = json!({"filterableAttributes": ["tags", "sizes", "code", "id"],
        "faceting": {"sortFacetValuesBy": {"*": "count"}}, "pagination": {"maxTotalHits": max_total_hits}});
    pair.load(INDEX, &settings, &json!(documents));
    let search = format!("/indexes/{INDEX}/search");
    for most in limits.iter().copied() {
        let faceting = json!({"maxValuesPerFacet": most});
        for client in [&pair.single.client, client] {
            client.done(&client.json("PATCH", &format!("/indexes/{INDEX}/settings/faceting"), &faceting));
        }
        let red: Vec<Value> = documents.iter().filter(|document| document["name"] == "red").cloned().collect();
        for (q, found) in [("", &documents), ("red", &red)] {
            for facet in ["tags", "sizes", "code"] {
                let body = json!({"q": q, "facets": [facet], "limit": 3});
                let reply = client.post(&search, &body);
                let answer = reply.value();
                let values = answer["facetDistribution"][facet].as_object().expect("a facet");
                let listed: Vec<(String, u64)> =
                    values.iter().map(|(value, count)| (value.clone(), count.as_u64().expect("a count"))).collect();
                let counts = counted(found, facet);
                check(&listed, &counts, most, reply.header("x-miroir-inexact"), &body.to_string());
            }
            if found.len() as u64 > max_total_hits && !q.is_empty() {
                // No search for values tells more of documents than one search for them lists, and says so.
                continue;
            }
            for query in [json!(null), json!("tag 1"), json!("tag"), json!("tga 2")] {
                let body = json!({"facetName": "tags", "facetQuery": query, "q": q});
                facet_search(&pair, &body, &counted(found, "tags"), most);
            }
        }
    }
}

fn facet_search(pair: &Pair, body: &Value, counts: &BTreeMap<String, u64>, most: usize) {
    let path = format!("/indexes/{INDEX}/facet-search");
    let reply = pair.fleet.client.post(&path, body);
    let listed = |answer: &Value| -> Vec<(String, u64)> {
        let hits = answer["facetHits"].as_array().expect("hits");
        hits.iter()
            .map(|hit| (hit["value"].as_str().expect("a value").to_owned(), hit["count"].as_u64().expect("a count")))
            .collect()
    };
    let (got, want) = (listed(&reply.value()), listed(&pair.single.client.post(&path, body).ok()));
    let only_counts = |list: &[(String, u64)]| list.iter().map(|(_, count)| *count).collect::<Vec<_>>();
    assert_eq!(only_counts(&got), only_counts(&want), "{most} {body}: {got:?} {want:?}");
    for (value, count) in &got {
        assert_eq!(counts.get(value), Some(count), "{most} {body}: {value} of {got:?}");
    }
    if reply.header("x-miroir-inexact").is_none() {
        assert_eq!(got, want, "{most} {body}");
    } else {
        let last = got.last().map(|(_, count)| *count);
        let open = counts.values().filter(|count| Some(**count) == last).count();
        let listed = got.iter().filter(|(_, count)| Some(*count) == last).count();
        assert!(open > listed, "{most} {body}: nothing is left open in {got:?}");
    }
}

#[test]
fn facets_by_count_are_those_of_one_node_at_any_limit_with_one_replica() {
    agree(1, 1000, &[1, 3, 7, 100]);
}

#[test]
fn facets_by_count_are_those_of_one_node_at_any_limit_with_two_replicas() {
    agree(2, 1000, &[1, 3, 7, 100]);
}

/// Each of three nodes finds more than 40 red documents, and has more than twice as many in all.
#[test]
fn facets_by_count_are_those_of_one_node_where_no_search_lists_all_documents() {
    agree(1, 40, &[3, 7]);
}
