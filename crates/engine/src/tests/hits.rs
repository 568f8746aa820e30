//! Hits: their order, pages, scores, filters and facets.

use miroir_words::settings::Setting;
use serde_json::{Value, json};

use super::{Node, films};
use crate::engine::Features;
use crate::indexing::{AdditionMethod, IndexOperation, apply};
use crate::search::{FacetSearchQuery, MultiSearchQuery, facet_search, multi_search};
use crate::settings;

#[test]
fn hits_keep_the_order_of_fields_and_the_form_of_numbers() {
    let node = Node::new();
    node.add(films());
    let answer = node.search(json!({"q": "blue", "showRankingScore": true}));
    let hit = &answer["hits"][0];
    let keys: Vec<&str> = hit.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["id", "title", "genres", "year", "director", "_rankingScore"]);
    assert_eq!(hit["_rankingScore"], json!(0.8787878787878788), "{hit}");
    let keys: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["hits", "query", "processingTimeMs", "limit", "offset", "estimatedTotalHits"]);
    let answer = node.search(json!({"q": "balloon", "attributesToRetrieve": ["year", "director.name"]}));
    assert_eq!(answer["hits"], json!([{"year": 2018.5}, {"year": 1956, "director": {"name": "Lamorisse"}}]));
}

#[test]
fn pages_count_exactly_and_page_nought_is_empty() {
    let node = Node::new();
    node.add(films());
    let mut answer = node.search(json!({"hitsPerPage": 3, "page": 2, "attributesToRetrieve": ["id"]}));
    answer["processingTimeMs"] = json!(0);
    let expected =
        r#"{"hits":[{"id":4}],"query":"","processingTimeMs":0,"hitsPerPage":3,"page":2,"totalPages":2,"totalHits":4}"#;
    assert_eq!(answer.to_string(), expected);
    let answer = node.search(json!({"page": 0}));
    assert_eq!((&answer["hits"], &answer["totalPages"], &answer["page"]), (&json!([]), &json!(1), &json!(0)));
}

#[test]
fn score_details_list_the_rules_in_order() {
    let node = Node::new();
    node.add(films());
    let answer = node.search(json!({"q": "three red", "limit": 1, "showRankingScoreDetails": true}));
    let details = answer["hits"][0]["_rankingScoreDetails"].as_object().unwrap();
    let rules: Vec<&str> = details.keys().map(String::as_str).collect();
    assert_eq!(rules, ["words", "typo", "proximity", "attribute", "exactness"]);
    assert_eq!(details["words"], json!({"order": 0, "matchingWords": 2, "maxMatchingWords": 2, "score": 1.0}));
}

#[test]
fn filters_select_and_refuse_as_the_engine_does() {
    let node = Node::new();
    node.add(films());
    let error = node.try_search(json!({"filter": "year > 1990"})).unwrap_err();
    assert_eq!((error.status, error.code.as_str()), (400, "invalid_search_filter"));
    assert_eq!(
        error.message,
        "Index `movies`: Attribute `year` is not filterable. This index does not have configured filterable attributes.\n1:5 year > 1990"
    );
    node.set(json!({"filterableAttributes": ["year", "genres"]}));
    assert_eq!(node.ids(json!({"filter": "year > 1990 AND genres = drama"})), [2, 3, 4]);
    assert_eq!(node.ids(json!({"filter": [["year = 1956", "year = 1993"], "NOT genres = Short"]})), [3]);
    let error = node.try_search(json!({"filter": "year >"})).unwrap_err();
    assert_eq!(error.code, "invalid_search_filter");
    assert!(error.message.starts_with("Was expecting a value but instead got nothing."), "{}", error.message);
    let error = node.try_search(json!({"filter": 5})).unwrap_err();
    assert_eq!(error.message, "Invalid syntax for the filter parameter: `expected String, Array, found: 5`.");
    let error = node.try_search(json!({"filter": "genres CONTAINS ram"})).unwrap_err();
    assert_eq!(error.code, "feature_not_enabled");
    assert_eq!(
        error.message,
        "Using `CONTAINS` or `STARTS WITH` in a filter requires enabling the `contains filter` experimental feature. See https://github.com/orgs/meilisearch/discussions/763\n8:16 genres CONTAINS ram"
    );
}

#[test]
fn sorting_and_distinct_need_their_settings() {
    let node = Node::new();
    node.add(films());
    assert_eq!(node.try_search(json!({"sort": ["year:asc"]})).unwrap_err().code, "invalid_search_sort");
    node.set(json!({"sortableAttributes": ["year"], "filterableAttributes": ["director.name"]}));
    assert_eq!(node.ids(json!({"sort": ["year:desc"]})), [4, 2, 3, 1]);
    let error = node.try_search(json!({"sort": ["year"]})).unwrap_err();
    assert_eq!(
        error.message,
        "Invalid syntax for the sort parameter: expected expression ending by `:asc` or `:desc`, found `year`."
    );
    assert_eq!(node.ids(json!({"distinct": "director.name"})), [1, 2, 4]);
    let error = node.try_search(json!({"distinct": "title"})).unwrap_err();
    assert_eq!(error.code, "invalid_search_distinct");
}

#[test]
fn distances_are_shown_for_the_point_that_sorts() {
    let node = Node::new();
    node.set(json!({"sortableAttributes": ["_geo"], "filterableAttributes": ["_geo"]}));
    node.add(json!([
        {"id": 1, "name": "Berlin", "_geo": {"lat": 52.52, "lng": 13.405}},
        {"id": 2, "name": "Paris", "_geo": {"lat": 48.8566, "lng": 2.3522}},
        {"id": 3, "name": "nowhere"}
    ]));
    let answer = node.search(json!({"sort": ["_geoPoint(48.8566, 2.3522):asc"]}));
    let seen: Vec<(&Value, &Value)> =
        answer["hits"].as_array().unwrap().iter().map(|hit| (&hit["id"], &hit["_geoDistance"])).collect();
    assert_eq!(seen, [(&json!(2), &json!(0)), (&json!(1), &json!(877463)), (&json!(3), &Value::Null)]);
    assert_eq!(node.ids(json!({"filter": "_geoRadius(52.5, 13.4, 5000)"})), [1]);
}

#[test]
fn words_are_highlighted_cropped_and_located() {
    let node = Node::new();
    node.add(films());
    let answer = node.search(json!({
        "q": "red", "limit": 1, "attributesToHighlight": ["title"], "attributesToCrop": ["title:2"],
        "showMatchesPosition": true, "attributesToRetrieve": ["id"], "highlightPreTag": "[", "highlightPostTag": "]",
    }));
    assert_eq!(
        answer["hits"][0].to_string(),
        r#"{"id":1,"_formatted":{"id":"1","title":"The [Red]…"},"_matchesPosition":{"title":[{"start":4,"length":3}]}}"#
    );
    let answer = node.search(json!({"q": "drama", "limit": 1, "showMatchesPosition": true}));
    assert_eq!(answer["hits"][0]["_matchesPosition"], json!({"genres": [{"start": 0, "length": 5, "indices": [0]}]}));
    let answer = node.search(json!({"q": "1956", "attributesToHighlight": ["*"], "attributesToRetrieve": ["year"]}));
    assert_eq!(answer["hits"][0]["_formatted"]["year"], json!("<em>1956</em>"));
}

#[test]
fn facets_are_counted_and_searched() {
    let node = Node::new();
    node.set(json!({"filterableAttributes": ["year", "genres"]}));
    node.add(films());
    let answer = node.search(json!({"facets": ["*"], "limit": 0}));
    assert_eq!(
        answer["facetDistribution"].to_string(),
        r#"{"genres":{"Drama":3,"Fantasy":1,"Short":1,"Thriller":1},"year":{"1956":1,"1993":1,"1994":1,"2018.5":1}}"#
    );
    assert_eq!(answer["facetStats"].to_string(), r#"{"year":{"min":1956.0,"max":2018.5}}"#);
    node.set(json!({"faceting": {"sortFacetValuesBy": {"genres": "count"}, "maxValuesPerFacet": 2}}));
    let answer = node.search(json!({"facets": ["genres"]}));
    assert_eq!(answer["facetDistribution"].to_string(), r#"{"genres":{"Drama":3,"Thriller":1}}"#);
    let error = node.try_search(json!({"facets": ["title"]})).unwrap_err();
    assert_eq!(error.code, "invalid_search_facets");
    assert_eq!(
        error.message,
        "Invalid facet distribution: Attribute `title` is not filterable. Available filterable attributes patterns are: `genres, year`."
    );
    let query = FacetSearchQuery::from_json(br#"{"facetName":"genres","facetQuery":"f","unknown":1}"#).unwrap();
    let mut answer = facet_search(&node.index(), &query).unwrap();
    answer["processingTimeMs"] = json!(0);
    assert_eq!(
        answer.to_string(),
        r#"{"facetHits":[{"value":"Fantasy","count":1}],"facetQuery":"f","processingTimeMs":0}"#
    );
    let error = FacetSearchQuery::from_json(b"{}").unwrap_err();
    assert_eq!(error.code, "missing_facet_search_facet_name");
    node.set(json!({"facetSearch": false}));
    assert_eq!(facet_search(&node.index(), &query).unwrap_err().code, "facet_search_disabled");
}

#[test]
fn the_hidden_shard_field_filters_and_shows_as_any_other() {
    let node = Node::new();
    node.set(json!({"filterableAttributes": [
        {"attributePatterns": ["_miroir_shard"], "features": {"facetSearch": false, "filter": {"equality": true, "comparison": false}}}
    ]}));
    node.add(json!([{"id": 1, "_miroir_shard": "{{{{{{{{"}, {"id": 2, "_miroir_shard": "{{{{{{{}"}]));
    assert_eq!(node.ids(json!({"filter": "_miroir_shard IN [\"{{{{{{{}\"]"})), [2]);
    assert_eq!(node.search(json!({"q": "{{{{{{{{"}))["estimatedTotalHits"], json!(2));
}

#[test]
fn several_searches_name_the_one_that_fails() {
    let node = Node::new();
    node.add(films());
    let ask = |body: Value| {
        let query = MultiSearchQuery::from_json(body.to_string().as_bytes()).unwrap();
        multi_search(&node.engine, &query, &|_| Ok(None))
    };
    let answer = ask(json!({"queries": [{"indexUid": "movies", "q": "blue"}, {"indexUid": "movies", "limit": 1}]}));
    let answer = answer.unwrap();
    assert_eq!(answer["results"][0]["indexUid"], json!("movies"));
    assert_eq!(answer["results"][0]["hits"][0]["id"], json!(3));
    assert_eq!(answer["results"][1]["hits"].as_array().unwrap().len(), 1);
    let error = ask(json!({"queries": [{"indexUid": "movies"}, {"indexUid": "nope"}]})).unwrap_err();
    assert_eq!((error.status, error.code.as_str()), (400, "index_not_found"));
    assert_eq!(error.message, "Inside `.queries[1]`: Index `nope` not found.");
}

#[test]
fn a_federation_is_one_list_by_weighted_scores() {
    let node = Node::new();
    node.set(json!({"filterableAttributes": ["genres"], "sortableAttributes": ["year"]}));
    node.add(films());
    node.engine.create("books", Some("id")).unwrap();
    let books = json!([{"id": 9, "title": "Red Mars", "genres": ["Drama"]}]);
    let operation = node.addition(AdditionMethod::Replace, None, &books);
    let settings = settings::parse_one(Setting::FilterableAttributes, br#"["genres"]"#, Features::default()).unwrap();
    for operation in [operation, IndexOperation::Settings { settings }] {
        assert_eq!(apply(&node.engine, "books", &[operation], &|| false).unwrap()[0].error, None);
    }
    let ask = |body: Value| {
        let query = MultiSearchQuery::from_json(body.to_string().as_bytes()).unwrap();
        multi_search(&node.engine, &query, &|_| Ok(None))
    };
    let mut answer = ask(json!({
        "federation": {"limit": 3, "facetsByIndex": {"movies": ["genres"], "books": ["genres"]}, "mergeFacets": {}},
        "queries": [
            {"indexUid": "movies", "q": "red", "attributesToRetrieve": ["id"]},
            {"indexUid": "books", "q": "red", "attributesToRetrieve": ["id"], "federationOptions": {"weight": 0.5}},
            {"indexUid": "movies", "q": "blue", "attributesToRetrieve": ["id"], "showRankingScore": true}
        ]
    }))
    .unwrap();
    answer["processingTimeMs"] = json!(0);
    let ids: Vec<&Value> = answer["hits"].as_array().unwrap().iter().map(|hit| &hit["id"]).collect();
    assert_eq!(ids, [1, 2, 3]);
    let keys: Vec<&str> = answer["hits"][2].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["id", "_federation", "_rankingScore"]);
    assert_eq!(answer["hits"][0]["_federation"]["queriesPosition"], json!(0));
    assert_eq!(answer["estimatedTotalHits"], json!(4));
    assert_eq!(answer["facetDistribution"].to_string(), r#"{"genres":{"Drama":3,"Fantasy":1,"Short":1}}"#);
    let error = ask(json!({"federation": {}, "queries": [{"indexUid": "movies", "limit": 1}]})).unwrap_err();
    assert_eq!(error.code, "invalid_multi_search_query_pagination");
    let error = ask(json!({"federation": {}, "queries": [
        {"indexUid": "movies", "sort": ["year:asc"]}, {"indexUid": "movies", "sort": ["year:desc"]}
    ]}))
    .unwrap_err();
    assert_eq!(error.code, "invalid_multi_search_query_ranking_rules");
    assert!(
        error.message.starts_with(
            "Inside `.queries[1]`: The results of queries #0 and #1 are incompatible: \n  1. `queries[0].sort[0]`, `movies.rankingRules[0]`: ascending sort rule(s) on field `year`\n  2. `queries[1].sort[0]`, `movies.rankingRules[0]`: descending sort rule(s) on field `year`\n  - cannot compare two sort rules in opposite directions\n"
        ),
        "{}",
        error.message
    );
}

#[test]
fn given_vectors_find_their_neighbours() {
    let node = Node::new();
    node.set(json!({"embedders": {"own": {"source": "userProvided", "dimensions": 2}}}));
    node.add(json!([
        {"id": 1, "_vectors": {"own": [1.0, 0.0]}},
        {"id": 2, "_vectors": {"own": [0.0, 1.0]}}
    ]));
    let near = json!({"vector": [0.1, 0.9], "hybrid": {"embedder": "own"}, "retrieveVectors": true});
    let answer = node.search(near);
    assert_eq!(answer["hits"][0]["id"], json!(2));
    assert_eq!(answer["hits"][0]["_vectors"], json!({"own": {"embeddings": [[0.0, 1.0]], "regenerate": false}}));
    assert_eq!(answer["semanticHitCount"], json!(2));
    let error = node.try_search(json!({"vector": [1.0], "hybrid": {"embedder": "own"}})).unwrap_err();
    assert_eq!(error.code, "invalid_vector_dimensions");
    assert_eq!(node.try_search(json!({"vector": [1.0]})).unwrap_err().code, "missing_search_hybrid");
    let stats = node.engine.index_stats("movies", false).unwrap();
    assert_eq!((&stats["numberOfEmbeddings"], &stats["numberOfEmbeddedDocuments"]), (&json!(2), &json!(2)));
}
