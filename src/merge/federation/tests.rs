//! Replies to federated searches, and the list that they make.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{IndexReplies, Merged};
use crate::plan::federation::{FederationPlan, IndexQueries};
use crate::plan::index_info::Infos;
use crate::plan::index_info::{FacetOrder, IndexInfo};

fn infos() -> Infos {
    let info = |uid: &str| {
        let info = IndexInfo { primary_key: Some("id".into()), ..IndexInfo::new(uid) };
        (uid.to_owned(), Arc::new(info))
    };
    [info("films"), info("books")].into()
}

fn planned(federation: Value, queries: Value) -> FederationPlan {
    let body = json!({ "federation": federation, "queries": queries });
    FederationPlan::new(body.as_object().unwrap(), &infos()).unwrap()
}

/// A hit as a node shows it: found by its `query`th search, with `words` as its only rule.
fn hit(index: &str, id: u64, query: u64, score: f64, weight: f64) -> Value {
    json!({
        "id": id, "_miroir_shard": "{{{{{{{{",
        "_federation": {"indexUid": index, "queriesPosition": query, "weightedRankingScore": score * weight},
        "_rankingScoreDetails": {"words": {"order": 0, "matchingWords": 1, "maxMatchingWords": 2, "score": score}},
    })
}

/// A hit of a placeholder search that sorts by price.
fn sorted(index: &str, id: u64, query: u64, price: Value) -> Value {
    json!({
        "id": id,
        "_federation": {"indexUid": index, "queriesPosition": query, "weightedRankingScore": 1.0},
        "_rankingScoreDetails": {"price:asc": {"order": 0, "value": price}},
    })
}

fn reply(hits: &[Value], total: u64) -> Value {
    json!({"hits": hits, "processingTimeMs": hits.len(), "limit": 20, "offset": 0, "estimatedTotalHits": total})
}

/// Merges the replies of each index's nodes to its searches together, and to each search alone where there are any. Also
/// says whether facet values were cut among equals.
fn merge_all(plan: &FederationPlan, together: &[Vec<Value>], apart: &[Vec<Vec<Value>>]) -> (Value, bool) {
    let text = |replies: &[Value]| replies.iter().map(Value::to_string).collect::<Vec<String>>();
    let together: Vec<Vec<String>> = together.iter().map(|replies| text(replies)).collect();
    let apart: Vec<Vec<Vec<String>>> =
        apart.iter().map(|index| index.iter().map(|each| text(each)).collect()).collect();
    let replies: Vec<IndexReplies<'_>> = together
        .iter()
        .enumerate()
        .map(|(at, together)| IndexReplies {
            together: together.iter().map(String::as_bytes).collect(),
            apart: apart
                .get(at)
                .into_iter()
                .flatten()
                .map(|each| each.iter().map(String::as_bytes).collect())
                .collect(),
            list_all: false,
        })
        .collect();
    let merged = Merged::new(plan, &replies, false).unwrap();
    let facets: Vec<_> = (0..plan.indexes.len()).map(|at| merged.facets(at).unwrap()).collect();
    let (body, tied) = merged.write(&facets).unwrap();
    (serde_json::from_slice(&body).unwrap(), tied)
}

fn merge(plan: &FederationPlan, together: &[Vec<Value>]) -> Value {
    merge_all(plan, together, &[]).0
}

/// Index, search and id of each hit.
fn order(answer: &Value) -> Vec<String> {
    let hits = answer["hits"].as_array().unwrap().iter();
    hits.map(|hit| {
        let origin = &hit["_federation"];
        format!("{}#{} {}", origin["indexUid"].as_str().unwrap(), origin["queriesPosition"], hit["id"])
    })
    .collect()
}

#[test]
fn weights_decide_among_searches_of_all_nodes_and_indexes() {
    let plan = planned(
        json!({}),
        json!([
            {"indexUid": "films", "q": "a b"},
            {"indexUid": "books", "q": "a b", "federationOptions": {"weight": 2.0}},
            {"indexUid": "films", "q": "a"},
        ]),
    );
    // Indexes stand in the order of their names.
    let names: Vec<&str> = plan.indexes.iter().map(|index| index.index.as_str()).collect();
    assert_eq!(names, ["books", "films"]);
    let answer = merge(
        &plan,
        &[
            vec![reply(&[hit("books", 1, 0, 0.6, 2.0)], 1), reply(&[hit("books", 2, 0, 0.4, 2.0)], 5)],
            vec![
                reply(&[hit("films", 3, 1, 1.0, 1.0), hit("films", 4, 0, 0.3, 1.0)], 2),
                reply(&[hit("films", 5, 0, 0.9, 1.0)], 1),
            ],
        ],
    );
    assert_eq!(order(&answer), ["books#1 1", "films#2 3", "films#0 5", "books#1 2", "films#0 4"]);
    assert_eq!(answer["estimatedTotalHits"], json!(9));
    assert_eq!(answer["processingTimeMs"], json!(2));
    let first = &answer["hits"][0];
    assert_eq!(first["_federation"], json!({"indexUid": "books", "queriesPosition": 1, "weightedRankingScore": 1.2}));
    assert!(!answer.to_string().contains("_miroir") && first.get("_rankingScoreDetails").is_none());
}

#[test]
fn of_equal_hits_that_of_the_earlier_search_goes_first() {
    let queries = json!([
        {"indexUid": "films", "q": "a", "federationOptions": {"queryPosition": 7}},
        {"indexUid": "films", "q": "b", "federationOptions": {"queryPosition": 3}},
    ]);
    let plan = planned(json!({}), queries);
    // Nodes are asked in the order of the positions, and count from 0.
    let of_films = &plan.indexes[0].queries;
    assert_eq!(of_films.iter().map(|query| query.position).collect::<Vec<_>>(), [3, 7]);
    let answer =
        merge(&plan, &[vec![reply(&[hit("films", 1, 1, 0.5, 1.0)], 1), reply(&[hit("films", 2, 0, 0.5, 1.0)], 1)]]);
    assert_eq!(order(&answer), ["films#3 2", "films#7 1"]);
}

#[test]
fn the_page_is_cut_after_all_lists_are_one() {
    let hits = |ids: &[u64], scores: &[f64]| {
        let hits: Vec<Value> = ids.iter().zip(scores).map(|(id, score)| hit("films", *id, 0, *score, 1.0)).collect();
        reply(&hits, 10)
    };
    let nodes = [vec![hits(&[1, 2, 3], &[0.9, 0.5, 0.1]), hits(&[4, 5, 6], &[0.8, 0.7, 0.6])]];
    let queries = json!([{"indexUid": "films", "q": "a"}]);
    let answer = merge(&planned(json!({"offset": 1, "limit": 3}), queries.clone()), &nodes);
    assert_eq!(order(&answer), ["films#0 4", "films#0 5", "films#0 6"]);
    assert_eq!((&answer["offset"], &answer["limit"]), (&json!(1), &json!(3)));

    let mut paged = nodes.clone();
    for reply in &mut paged[0] {
        *reply = json!({"hits": reply["hits"], "processingTimeMs": 0, "hitsPerPage": 4, "page": 1, "totalPages": 3, "totalHits": 10});
    }
    let answer = merge(&planned(json!({"page": 2, "hitsPerPage": 2}), queries), &paged);
    assert_eq!(order(&answer), ["films#0 5", "films#0 6"]);
    let stated = ["page", "hitsPerPage", "totalPages", "totalHits"].map(|name| answer[name].clone());
    assert_eq!(stated, [json!(2), json!(2), json!(10), json!(20)]);
    assert!(answer.get("estimatedTotalHits").is_none());
}

#[test]
fn a_document_that_searches_asked_apart_find_is_shown_once_and_counted_once() {
    let query = |q: &str| json!({"indexUid": "films", "q": q, "distinct": "id"});
    let plan = planned(json!({}), json!([query("a"), query("b")]));
    assert_eq!(plan.indexes[0].apart.as_deref(), Some("id"));
    let first = vec![reply(&[hit("films", 1, 0, 0.5, 1.0)], 1), reply(&[hit("films", 2, 0, 0.4, 1.0)], 1)];
    let second = vec![reply(&[hit("films", 1, 0, 0.9, 1.0)], 1), reply(&[], 0)];
    let answer = merge_all(&plan, &[vec![reply(&[], 7), reply(&[], 7)]], &[vec![first, second]]).0;
    assert_eq!(order(&answer), ["films#1 1", "films#0 2"]);
    // The list ended before the page did, so that it tells the total.
    assert_eq!(answer["estimatedTotalHits"], json!(2));
}

#[test]
fn of_hits_with_one_distinct_value_the_better_stays_whichever_node_has_it() {
    let plan = planned(json!({}), json!([{"indexUid": "films", "q": "a", "distinct": "maker"}]));
    let made = |id: u64, score: f64, maker: &str| {
        let mut hit = hit("films", id, 0, score, 1.0);
        hit["maker"] = json!(maker);
        hit
    };
    let nodes = vec![reply(&[made(1, 0.5, "x"), made(2, 0.4, "y")], 2), reply(&[made(3, 0.9, "x")], 1)];
    let answer = merge(&plan, &[nodes]);
    assert_eq!(order(&answer), ["films#0 3", "films#0 2"]);
    assert_eq!(answer["estimatedTotalHits"], json!(2));
}

/// The best of each maker, whichever search, node or index found it; what is left out is not counted.
#[test]
fn of_all_hits_with_one_distinct_value_the_best_stays() {
    let queries =
        json!([{"indexUid": "films", "q": "a"}, {"indexUid": "books", "q": "a"}, {"indexUid": "films", "q": "b"}]);
    let plan = planned(json!({"distinct": "maker", "limit": 2}), queries);
    assert!(plan.check.is_some(), "a version that does not know it says so");
    assert_eq!(plan.indexes.iter().map(|index| index.apart.is_some()).collect::<Vec<_>>(), [false, true]);
    let made = |index: &str, id: u64, query: u64, score: f64, maker: &str| {
        let mut hit = hit(index, id, query, score, 1.0);
        hit["maker"] = json!(maker);
        hit
    };
    let books = vec![reply(&[made("books", 1, 0, 0.7, "x"), made("books", 2, 0, 0.2, "z")], 2), reply(&[], 0)];
    let first = vec![reply(&[made("films", 3, 0, 0.5, "x")], 1), reply(&[made("films", 4, 0, 0.4, "y")], 1)];
    let second = vec![reply(&[made("films", 5, 0, 0.6, "y")], 1), reply(&[], 0)];
    let together = [books, vec![reply(&[], 7), reply(&[], 7)]];
    let answer = merge_all(&plan, &together, &[vec![], vec![first, second]]).0;
    assert_eq!(order(&answer), ["books#1 1", "films#2 5"]);
    // The other film is met and left out for a book.
    assert_eq!(answer["estimatedTotalHits"], json!(2 + 14 - 1));
}

#[test]
fn sort_values_compare_as_in_one_search() {
    let query = json!({"indexUid": "films", "sort": ["price:asc"]});
    let plan = planned(json!({}), json!([query]));
    let node = |hits: &[(u64, Value)]| {
        let hits: Vec<Value> = hits.iter().map(|(id, price)| sorted("films", *id, 0, price.clone())).collect();
        reply(&hits, hits.len() as u64)
    };
    let nodes = vec![
        node(&[(1, json!(2.0)), (2, json!("cheap")), (3, Value::Null)]),
        node(&[(4, json!(1.0)), (5, json!(10.0)), (6, json!("dear"))]),
    ];
    let answer = merge(&plan, &[nodes]);
    let ids: Vec<u64> = answer["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [4, 1, 5, 2, 6, 3]);
}

fn counted(genres: Value, years: (f64, f64)) -> Value {
    let stats = json!({"year": {"min": years.0, "max": years.1}});
    json!({"distribution": {"genre": genres, "_miroir_shard": {"{{{{{{{{": 2}}, "stats": stats})
}

fn with_facets(index: &str, total: u64, facets: Value) -> Value {
    let mut reply = reply(&[], total);
    reply["facetsByIndex"] = json!({ index: facets });
    reply
}

#[test]
fn facets_are_summed_over_nodes_and_stay_with_their_index() {
    let plan = planned(
        json!({"facetsByIndex": {"films": ["genre", "year"]}}),
        json!([{"indexUid": "films"}, {"indexUid": "books"}]),
    );
    let films = vec![
        with_facets("films", 3, counted(json!({"drama": 2, "war": 1}), (1950.0, 1960.0))),
        with_facets("films", 2, counted(json!({"crime": 1, "drama": 1}), (1940.0, 1955.0))),
    ];
    let answer = merge(&plan, &[vec![reply(&[], 4)], films]);
    let expected = json!({"films": {
        "distribution": {"genre": {"crime": 1, "drama": 3, "war": 1}},
        "stats": {"year": {"min": 1940.0, "max": 1960.0}},
    }});
    assert_eq!(answer["facetsByIndex"].to_string(), expected.to_string());
}

#[test]
fn facets_of_several_indexes_become_one_list_that_is_cut_where_the_client_says() {
    let facets = json!({"films": ["genre"], "books": ["genre"]});
    let ask = |merge: Value| {
        let federation = json!({"facetsByIndex": facets, "mergeFacets": merge});
        planned(federation, json!([{"indexUid": "films"}, {"indexUid": "books"}]))
    };
    let nodes = [
        vec![with_facets("books", 9, counted(json!({"crime": 4, "poems": 5}), (1900.0, 1999.0)))],
        vec![
            with_facets("films", 3, counted(json!({"drama": 2, "war": 1}), (1950.0, 1960.0))),
            with_facets("films", 2, counted(json!({"crime": 1, "drama": 1}), (1940.0, 2005.0))),
        ],
    ];
    let answer = merge(&ask(json!({})), &nodes);
    let all = json!({"genre": {"crime": 5, "drama": 3, "poems": 5, "war": 1}});
    assert_eq!(answer["facetDistribution"].to_string(), all.to_string());
    assert_eq!(answer["facetStats"], json!({"year": {"min": 1900.0, "max": 2005.0}}));
    assert!(answer.get("facetsByIndex").is_none());
    let cut = merge(&ask(json!({"maxValuesPerFacet": 2})), &nodes);
    assert_eq!(cut["facetDistribution"], json!({"genre": {"crime": 5, "drama": 3}}));
}

#[test]
fn a_list_of_facet_values_that_ends_among_equals_is_said_to() {
    let mut infos = infos();
    for info in infos.values_mut() {
        let counted = [("genre".to_owned(), FacetOrder::Count)].into();
        *info = Arc::new(IndexInfo { facet_order: counted, ..IndexInfo::clone(info) });
    }
    let films = || with_facets("films", 3, counted(json!({"drama": 2, "war": 1, "crime": 1}), (1950.0, 1960.0)));
    let cut = |most: u64, nodes: usize| {
        let federation = json!({"facetsByIndex": {"films": ["genre"]}, "mergeFacets": {"maxValuesPerFacet": most}});
        let body = json!({"federation": federation, "queries": [{"indexUid": "films"}]});
        let plan = FederationPlan::new(body.as_object().unwrap(), &infos).unwrap();
        merge_all(&plan, &[(0..nodes).map(|_| films()).collect()], &[]).1
    };
    assert!(cut(2, 2));
    assert!(!cut(1, 2) && !cut(3, 2), "a cut between counts, or none");
    assert!(!cut(2, 1), "one node's own order is the engine's");
}

#[test]
fn vectors_of_searches_go_by_the_positions_of_the_client() {
    let plan = planned(json!({}), json!([{"indexUid": "films", "q": "a"}, {"indexUid": "books", "q": "b"}]));
    let with_vector = |vector: Value| {
        let mut reply = reply(&[], 0);
        reply["queryVectors"] = json!({ "0": vector });
        reply
    };
    let (books, films) = (with_vector(json!([2.0])), with_vector(json!([1.0])));
    let answer = merge(&plan, &[vec![books], vec![films.clone(), films]]);
    assert_eq!(answer["queryVectors"].to_string(), r#"{"0":[1.0],"1":[2.0]}"#);
}

fn refused(reply: &Value) -> String {
    let plan = planned(json!({"facetsByIndex": {"films": ["genre"]}}), json!([{"indexUid": "films", "q": "a"}]));
    let body = reply.to_string();
    let replies =
        [IndexReplies { together: vec![body.as_bytes(), body.as_bytes()], apart: Vec::new(), list_all: false }];
    let merged = Merged::new(&plan, &replies, false).and_then(|merged| merged.facets(0).map(|_| ()));
    merged.unwrap_err().to_string()
}

#[test]
fn a_reply_that_lacks_what_it_was_asked_for_is_an_error() {
    assert!(refused(&json!({"hits": []})).contains("a total of hits"));
    assert!(refused(&json!({"estimatedTotalHits": 1})).contains("hits"));
    assert!(refused(&reply(&[], 0)).contains("facets"));
    assert!(refused(&reply(&[hit("films", 1, 8, 0.5, 1.0)], 1)).contains("the search of a hit"));
    assert!(refused(&reply(&[json!({"id": 1})], 1)).contains("_federation"));
}

#[test]
fn searches_are_asked_apart_only_where_scores_do_not_tell_all() {
    let apart = |queries: Value| -> Vec<Option<String>> {
        planned(json!({}), queries).indexes.iter().map(|IndexQueries { apart, .. }| apart.clone()).collect()
    };
    let plain = json!({"indexUid": "films", "q": "a"});
    let nearest = json!({"indexUid": "films", "q": "a", "sort": ["_geoPoint(1, 2):asc"]});
    assert_eq!(apart(json!([plain, plain])), [None]);
    assert_eq!(apart(json!([nearest])), [None]);
    assert_eq!(apart(json!([plain, nearest])), [Some("id".to_owned())]);
}

/// A reply with the facet `tag` of one index.
fn with_tags(index: &str, hits: &[Value], total: u64, tags: Value) -> Value {
    let mut reply = reply(hits, total);
    reply["facetsByIndex"] = json!({index: {"distribution": {"tag": tags}, "stats": {}}});
    reply
}

fn tagged(index: &str, id: u64, score: f64, maker: &str, tags: Value) -> Value {
    let mut hit = hit(index, id, 0, score, 1.0);
    hit["maker"] = json!(maker);
    hit["tag"] = tags;
    hit
}

#[test]
fn facets_under_distinct_are_counted_over_the_hits_that_are_left() {
    let plan = |limit: u64| {
        let federation = json!({"limit": limit, "distinct": "maker", "facetsByIndex": {"films": ["tag"]}});
        planned(federation, json!([{"indexUid": "films", "q": "a b", "attributesToRetrieve": ["id"]}]))
    };
    let nodes = || {
        vec![vec![
            with_tags(
                "films",
                &[tagged("films", 1, 0.9, "x", json!(["Red", "red", "blue"]))],
                1,
                json!({"Red": 1, "blue": 1}),
            ),
            with_tags(
                "films",
                &[tagged("films", 2, 0.8, "X", json!("blue")), tagged("films", 3, 0.7, "y", json!([]))],
                2,
                json!({"blue": 1}),
            ),
        ]]
    };
    let answer = merge(&plan(3), &nodes());
    assert_eq!(order(&answer), ["films#0 1", "films#0 3"]);
    assert_eq!(answer["facetsByIndex"]["films"]["distribution"], json!({"tag": {"Red": 1, "blue": 1}}));
    assert!(answer["hits"][0].get("tag").is_none() && answer["hits"][0].get("maker").is_none());
    // A full page: nobody has looked at what comes after it.
    let (plan, nodes) = (plan(2), nodes());
    let texts: Vec<String> = nodes[0].iter().map(Value::to_string).collect();
    let together = texts.iter().map(String::as_bytes).collect();
    let merged = Merged::new(&plan, &[IndexReplies { together, ..IndexReplies::default() }], false).unwrap();
    assert!(merged.goes_on(0) && !merged.counts_hits(0));
}

#[test]
fn what_hits_of_another_index_displace_is_not_counted() {
    let nodes = [
        vec![with_tags("books", &[tagged("books", 1, 0.9, "x", json!(["red", 2]))], 1, json!({"2": 1, "red": 1}))],
        vec![with_tags(
            "films",
            &[tagged("films", 2, 0.8, "x", json!(["RED", 2.0, true])), tagged("films", 3, 0.7, "y", json!("Blue"))],
            2,
            json!({"2": 1, "Blue": 1, "RED": 1, "true": 1}),
        )],
    ];
    let merged = |more: Value| {
        let mut federation = json!({"distinct": "maker", "facetsByIndex": {"films": ["tag"], "books": ["tag"]}});
        federation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let plan = planned(federation, json!([{"indexUid": "books", "q": "a b"}, {"indexUid": "films", "q": "a b"}]));
        let answer = merge(&plan, &nodes);
        assert_eq!(order(&answer), ["books#0 1", "films#1 3"]);
        answer
    };
    let apart = merged(json!({}));
    assert_eq!(apart["facetsByIndex"]["books"]["distribution"]["tag"], json!({"2": 1, "red": 1}));
    // The engine looks for the text of the number as the document has it.
    assert_eq!(apart["facetsByIndex"]["films"]["distribution"]["tag"], json!({"2": 1, "Blue": 1}));
    let together = merged(json!({"mergeFacets": {}}));
    assert_eq!(together["facetDistribution"]["tag"], json!({"2": 2, "Blue": 1, "red": 1}));
}
