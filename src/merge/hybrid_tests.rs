use serde_json::json;

use super::*;
use crate::plan::index_info::IndexInfo;

fn plan(body: Value) -> SearchPlan {
    let Value::Object(body) = body else { panic!("a search is an object") };
    let info = IndexInfo { primary_key: Some("id".into()), ..IndexInfo::new("movies") };
    SearchPlan::new(&info, body).unwrap()
}

fn search(ratio: f64, limit: u64) -> SearchPlan {
    plan(json!({"q": "x", "limit": limit, "hybrid": {"embedder": "e", "semanticRatio": ratio}}))
}

fn word(id: u32, score: f64) -> Value {
    json!({"id": id, "by": "words", "_rankingScore": score,
        "_rankingScoreDetails": {"words": {"order": 0, "score": score}, "typo": {"order": 1, "score": 1.0}}})
}

fn near(id: u32, score: f64) -> Value {
    json!({"id": id, "by": "vector", "_rankingScore": score,
        "_rankingScoreDetails": {"vectorSort": {"order": 0, "similarity": score}}})
}

fn reply(hits: &[Value], total: u64) -> Vec<u8> {
    json!({"hits": hits, "query": "x", "processingTimeMs": 1, "limit": 9, "offset": 0, "estimatedTotalHits": total,
        "semanticHitCount": 9})
    .to_string()
    .into_bytes()
}

/// Ids and their lists as mixed from one node's hits by words and another's by vector, and the answer's own count.
fn mixed(plan: &SearchPlan, words: &[Value], vectors: &[Value]) -> (Vec<(u64, String)>, u64) {
    let hybrid = plan.hybrid().unwrap();
    let (words, vectors) = (reply(words, 2), reply(vectors, 9));
    let by_words = ByWords::new(&hybrid, &[&words]).unwrap();
    let by_vector = ByVector::new(&hybrid, &[&vectors]).unwrap();
    let mixed = Mixed::new(plan, &hybrid, &by_words, &by_vector).unwrap();
    let body: Value = serde_json::from_slice(&mixed.write(None, 9, None).unwrap()).unwrap();
    let hits = body["hits"].as_array().unwrap();
    let listed = |hit: &Value| (hit["id"].as_u64().unwrap(), hit["by"].as_str().unwrap().to_owned());
    assert!(hits.iter().all(|hit| hit.get("_rankingScoreDetails").is_none()));
    (hits.iter().map(listed).collect(), body["semanticHitCount"].as_u64().unwrap())
}

fn pairs(of: &[(u64, &str)]) -> Vec<(u64, String)> {
    of.iter().map(|(id, by)| (*id, (*by).to_owned())).collect()
}

#[test]
fn scores_are_weighed_by_the_share_of_their_list() {
    let (words, vectors) = ([word(1, 0.9), word(2, 0.8)], [near(3, 0.85), near(4, 0.1)]);
    let at = |ratio| mixed(&search(ratio, 10), &words, &vectors);
    assert_eq!(at(0.5), (pairs(&[(1, "words"), (3, "vector"), (2, "words"), (4, "vector")]), 2));
    assert_eq!(at(0.95), (pairs(&[(3, "vector"), (4, "vector"), (1, "words"), (2, "words")]), 2));
}

#[test]
fn a_document_of_both_lists_is_shown_once_as_the_better_of_them() {
    let (words, vectors) = ([word(1, 0.9), word(2, 0.2)], [near(2, 0.8), near(1, 0.7)]);
    assert_eq!(mixed(&search(0.5, 10), &words, &vectors), (pairs(&[(1, "words"), (2, "vector")]), 1));
}

#[test]
fn of_equal_hits_the_vector_goes_first_and_none_is_worth_nothing() {
    let none = json!({"id": 5, "by": "vector", "_rankingScore": 0.0,
        "_rankingScoreDetails": {"vectorSort": {"order": 0, "similarity": null}}});
    let (words, vectors) = ([word(1, 0.5)], [near(2, 0.5), none]);
    // By the number of rules: a hit by words has as many as one by a vector, since those of words count as one.
    assert_eq!(mixed(&search(0.5, 10), &words, &vectors).0, pairs(&[(2, "vector"), (1, "words"), (5, "vector")]));
}

#[test]
fn a_rule_that_sorts_first_decides_first() {
    let sorted = |mut hit: Value, value: f64| {
        let details = hit["_rankingScoreDetails"].as_object_mut().unwrap();
        details.values_mut().for_each(|rule| rule["order"] = json!(rule["order"].as_u64().unwrap() + 1));
        details.insert("price:asc".into(), json!({"order": 0, "value": value}));
        hit
    };
    let words = [sorted(word(1, 0.1), 1.0), sorted(word(2, 0.9), 3.0)];
    let vectors = [sorted(near(3, 0.9), 2.0), sorted(near(4, 0.1), 3.0)];
    assert_eq!(
        mixed(&search(0.5, 10), &words, &vectors).0,
        pairs(&[(1, "words"), (3, "vector"), (2, "words"), (4, "vector")])
    );
}

#[test]
fn words_alone_will_do_if_all_hits_up_to_the_end_of_the_page_are_good() {
    let good = |ratio, limit, hits: &[Value]| {
        let plan = search(ratio, limit);
        let hybrid = plan.hybrid().unwrap();
        let body = reply(hits, 2);
        ByWords::new(&hybrid, &[&body]).unwrap().are_good_enough(&hybrid)
    };
    assert!(good(0.5, 2, &[word(1, 1.0), word(2, 0.9)]));
    assert!(!good(0.5, 2, &[word(1, 1.0), word(2, 0.89)]));
    assert!(!good(0.5, 3, &[word(1, 1.0), word(2, 0.9)]));
    assert!(!good(0.6, 2, &[word(1, 1.0), word(2, 1.0)]));
}

#[test]
fn newer_engines_keep_a_distinct_value_once_in_both_lists_together() {
    let plan = plan(json!({"q": "x", "distinct": "id2", "hybrid": {"embedder": "e"}}));
    let hybrid = plan.hybrid().unwrap();
    let with = |mut hit: Value| {
        hit["id2"] = json!("same");
        hit
    };
    let words = reply(&[with(word(1, 0.9))], 1);
    let old = reply(&[with(near(2, 0.5))], 1);
    let mut new: Value = serde_json::from_slice(&old).unwrap();
    new["requestUid"] = json!("0190");
    let new = new.to_string().into_bytes();
    let hits = |vectors: &[u8]| {
        let by_words = ByWords::new(&hybrid, &[&words]).unwrap();
        let by_vector = ByVector::new(&hybrid, &[vectors]).unwrap();
        let mixed = Mixed::new(&plan, &hybrid, &by_words, &by_vector).unwrap();
        (mixed.page.len(), mixed.kept_once)
    };
    assert_eq!((hits(&old), hits(&new)), ((2, KeptOnce::No), (1, KeptOnce::Counted(1))));
}

#[test]
fn what_neither_list_cut_is_counted() {
    let plan = search(0.5, 3);
    let hybrid = plan.hybrid().unwrap();
    let count = |words: &[Value], vectors: &[Value]| {
        let (words, vectors) = (reply(words, 9), reply(vectors, 9));
        let by_words = ByWords::new(&hybrid, &[&words]).unwrap();
        let by_vector = ByVector::new(&hybrid, &[&vectors]).unwrap();
        Mixed::new(&plan, &hybrid, &by_words, &by_vector).unwrap().distinct_hits
    };
    assert_eq!(count(&[word(1, 0.5), word(2, 0.4)], &[near(2, 0.3), near(3, 0.2)]), Some(3));
    assert_eq!(count(&[word(1, 0.5)], &[near(2, 0.3), near(3, 0.2), near(4, 0.1)]), None);
}
