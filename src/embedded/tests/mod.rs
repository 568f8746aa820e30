//! The engine on small corpora: what clients would see.

use std::io::Write as _;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::documents::{self, BrowseQuery, GetDocument};
use super::engine::{Engine, EngineOptions, Features, IndexHandle};
use super::indexing::{AdditionMethod, IndexOperation, OperationOutcome, apply};
use super::search::{FacetSearchQuery, MultiSearchQuery, SearchQuery, facet_search, multi_search, search};
use super::settings;
use crate::meili::error::ResponseError;
use crate::meili::settings::Setting;

struct Node {
    engine: Engine,
    folder: TempDir,
}

impl Node {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self { engine: open(&folder), folder }
    }

    fn restarted(self) -> Self {
        let Self { engine, folder } = self;
        drop(engine);
        Self { engine: open(&folder), folder }
    }

    fn addition(&self, method: AdditionMethod, key: Option<&str>, docs: &Value) -> IndexOperation {
        let mut file = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        for doc in docs.as_array().unwrap() {
            writeln!(file, "{doc}").unwrap();
        }
        let payload = file.into_temp_path().keep().unwrap();
        IndexOperation::DocumentAddition { method, primary_key: key.map(str::to_owned), payload }
    }

    fn run(&self, operations: &[IndexOperation]) -> Vec<OperationOutcome> {
        apply(&self.engine, "movies", operations, &|| false).unwrap()
    }

    fn one(&self, operation: IndexOperation) -> OperationOutcome {
        self.run(&[operation]).pop().unwrap()
    }

    fn add(&self, docs: Value) {
        let outcome = self.one(self.addition(AdditionMethod::Replace, None, &docs));
        assert_eq!(outcome.error, None);
        assert_eq!(outcome.indexed_documents, Some(docs.as_array().unwrap().len() as u64));
    }

    fn set(&self, update: Value) {
        let settings = settings::parse_update(update.to_string().as_bytes(), Features::default()).unwrap();
        assert_eq!(self.one(IndexOperation::Settings { settings }).error, None);
    }

    fn index(&self) -> IndexHandle {
        self.engine.index("movies").unwrap()
    }

    fn try_search(&self, query: Value) -> Result<Value, ResponseError> {
        search(&self.index(), &SearchQuery::from_json(query.to_string().as_bytes()).unwrap())
    }

    fn search(&self, query: Value) -> Value {
        self.try_search(query).unwrap()
    }

    fn ids(&self, query: Value) -> Vec<i64> {
        let answer = self.search(query);
        answer["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_i64().unwrap()).collect()
    }
}

fn open(folder: &TempDir) -> Engine {
    let options = EngineOptions { index_map_size: 256 << 20, indexing_threads: Some(1) };
    Engine::open(folder.path(), options).unwrap()
}

fn films() -> Value {
    json!([
        {"id": 1, "title": "The Red Balloon", "genres": ["Fantasy", "Short"], "year": 1956, "director": {"name": "Lamorisse"}},
        {"id": 2, "title": "Three Colours: Red", "genres": ["Drama"], "year": 1994, "director": {"name": "Kieślowski"}},
        {"id": 3, "title": "Three Colours: Blue", "genres": ["Drama"], "year": 1993, "director": {"name": "Kieślowski"}},
        {"id": 4, "title": "Balloon", "genres": ["Thriller", "Drama"], "year": 2018.5, "director": null}
    ])
}

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
fn default_settings_read_as_the_engines() {
    let node = Node::new();
    node.engine.create("movies", None).unwrap();
    assert_eq!(
        settings::get(&node.index()).unwrap().to_string(),
        concat!(
            r#"{"displayedAttributes":["*"],"searchableAttributes":["*"],"filterableAttributes":[],"#,
            r#""sortableAttributes":[],"rankingRules":["words","typo","proximity","attribute","sort","exactness"],"#,
            r#""stopWords":[],"nonSeparatorTokens":[],"separatorTokens":[],"dictionary":[],"synonyms":{},"#,
            r#""distinctAttribute":null,"proximityPrecision":"byWord","typoTolerance":{"enabled":true,"#,
            r#""minWordSizeForTypos":{"oneTypo":5,"twoTypos":9},"disableOnWords":[],"disableOnAttributes":[],"#,
            r#""disableOnNumbers":false},"faceting":{"maxValuesPerFacet":100,"sortFacetValuesBy":{"*":"alpha"}},"#,
            r#""pagination":{"maxTotalHits":1000},"embedders":{},"searchCutoffMs":null,"localizedAttributes":null,"#,
            r#""facetSearch":true,"prefixSearch":"indexingTime"}"#
        )
    );
}

#[test]
fn every_setting_comes_back_as_it_was_set_and_resets() {
    let node = Node::new();
    node.engine.create("movies", None).unwrap();
    let before = settings::get(&node.index()).unwrap();
    let update = json!({
        "displayedAttributes": ["id", "title"], "searchableAttributes": ["title"],
        "filterableAttributes": ["year", {"attributePatterns": ["_miroir_shard"], "features": {"facetSearch": false, "filter": {"equality": true, "comparison": false}}}],
        "sortableAttributes": ["title", "year"], "rankingRules": ["words", "year:desc"],
        "stopWords": ["a", "the"], "nonSeparatorTokens": ["#"], "separatorTokens": ["&"], "dictionary": ["J. R. R."],
        "synonyms": {"film": ["movie"]}, "distinctAttribute": "year", "proximityPrecision": "byAttribute",
        "typoTolerance": {"enabled": false, "minWordSizeForTypos": {"oneTypo": 4, "twoTypos": 8}, "disableOnWords": ["x"], "disableOnAttributes": ["title"], "disableOnNumbers": true},
        "faceting": {"maxValuesPerFacet": 7, "sortFacetValuesBy": {"*": "count", "year": "alpha"}},
        "pagination": {"maxTotalHits": 50},
        "embedders": {"own": {"source": "userProvided", "dimensions": 2}},
        "searchCutoffMs": 150, "localizedAttributes": [{"attributePatterns": ["title*"], "locales": ["eng", "fra"]}],
        "facetSearch": false, "prefixSearch": "disabled"
    });
    node.set(update.clone());
    let after = settings::get(&node.index()).unwrap();
    for (name, value) in update.as_object().unwrap() {
        assert_eq!(after[name], *value, "{name}");
    }
    assert_eq!(settings::get_one(&node.index(), Setting::SearchCutoffMs).unwrap(), json!(150));
    assert_eq!(node.one(IndexOperation::Settings { settings: settings::reset() }).error, None);
    let mut after = settings::get(&node.index()).unwrap();
    // The engine's reset of all typo settings leaves this one alone.
    assert_eq!(after["typoTolerance"]["disableOnNumbers"], json!(true));
    after["typoTolerance"]["disableOnNumbers"] = json!(false);
    assert_eq!(after, before);
}

#[test]
fn settings_are_refused_with_the_engines_words() {
    let refuse = |body: &str| settings::parse_update(body.as_bytes(), Features::default()).unwrap_err();
    let error = refuse(r#"{"rankingRules":["words","bogus"]}"#);
    assert_eq!(error.code, "invalid_settings_ranking_rules");
    assert_eq!(
        error.message,
        "Invalid value at `.rankingRules[1]`: `bogus` ranking rule is invalid. Valid ranking rules are words, typo, sort, proximity, attribute, exactness and custom ranking rules."
    );
    let error = refuse(r#"{"pagination":{"maxTotalHits":0}}"#);
    assert_eq!(error.code, "invalid_settings_pagination");
    let error = refuse(r#"{"typoTolerance":{"minWordSizeForTypos":{"oneTypo":9,"twoTypos":3}}}"#);
    assert_eq!(error.code, "invalid_settings_typo_tolerance");
    assert_eq!(
        error.message,
        "Invalid value at `.typoTolerance.minWordSizeForTypos`: `minWordSizeForTypos` setting is invalid. `oneTypo` and `twoTypos` fields should be between `0` and `255`, and `twoTypos` should be greater or equals to `oneTypo` but found `oneTypo: 9` and twoTypos: 3`."
    );
    let error = refuse(r#"{"prefixSearch":"never"}"#);
    assert_eq!(error.message, "Unknown value `never` at `.prefixSearch`: expected one of `indexingTime`, `disabled`");
    let error = refuse(r#"{"synonims":{}}"#);
    assert_eq!(error.code, "bad_request");
    assert!(
        error
            .message
            .starts_with("Unknown field `synonims`: did you mean `synonyms`? expected one of `displayedAttributes`,"),
        "{}",
        error.message
    );
    let error = settings::parse_one(Setting::StopWords, br#"{"a":1}"#, Features::default()).unwrap_err();
    assert_eq!(error.code, "invalid_settings_stop_words");
    assert_eq!(error.message, "Invalid value type: expected an array, but found an object: `{\"a\":1}`");
    let reset = settings::parse_one(Setting::StopWords, b"null", Features::default()).unwrap();
    assert_eq!(reset, json!({"stopWords": null}));
    let error = refuse(r#"{"chat":{}}"#);
    assert_eq!(error.code, "feature_not_enabled");
}

#[test]
fn the_primary_key_is_inferred_or_the_mistake_named() {
    let node = Node::new();
    let outcome = node.one(node.addition(AdditionMethod::Replace, None, &json!([{"name": "x"}])));
    let error = outcome.error.unwrap();
    assert_eq!(outcome.indexed_documents, Some(0));
    assert_eq!(error.code, "index_primary_key_no_candidate_found");
    let outcome = node.one(node.addition(AdditionMethod::Replace, None, &json!([{"a_id": 1, "bId": 2}])));
    let error = outcome.error.unwrap();
    assert_eq!(error.code, "index_primary_key_multiple_candidates_found");
    assert_eq!(
        error.message,
        "The primary key inference failed as the engine found 2 fields ending with `id` in their names: 'a_id' and 'bId'. Please specify the primary key manually using the `primaryKey` query parameter."
    );
    let outcome = node.one(node.addition(AdditionMethod::Replace, None, &json!([{"film_id": "a b"}])));
    let error = outcome.error.unwrap();
    assert_eq!(error.code, "invalid_document_id");
    assert_eq!(
        error.message,
        "Document identifier `\"a b\"` is invalid. A document identifier can be of type integer or string, only composed of alphanumeric characters (a-z A-Z 0-9), hyphens (-) and underscores (_), and can not be more than 511 bytes."
    );
    assert_eq!(node.engine.view("movies").unwrap().primary_key, None);
    let outcome = node.one(node.addition(AdditionMethod::Replace, None, &json!([{"film_id": 7, "id": 1}])));
    assert_eq!(outcome.error.unwrap().code, "index_primary_key_multiple_candidates_found");
    let outcome = node.one(node.addition(AdditionMethod::Replace, Some("film_id"), &json!([{"film_id": 7, "id": 1}])));
    assert_eq!(outcome.error, None);
    assert_eq!(node.engine.view("movies").unwrap().primary_key.as_deref(), Some("film_id"));
    let outcome = node.one(node.addition(AdditionMethod::Replace, Some("id"), &json!([{"film_id": 8, "id": 1}])));
    assert_eq!(outcome.error.unwrap().code, "index_primary_key_already_exists");
}

#[test]
fn a_batch_goes_on_past_one_bad_payload() {
    let node = Node::new();
    let outcomes = node.run(&[
        node.addition(AdditionMethod::Replace, Some("id"), &json!([{"id": 1, "a": 1, "b": 1}])),
        node.addition(AdditionMethod::Replace, Some("id"), &json!([{"id": 2}, {"no": 3}])),
        node.addition(AdditionMethod::Replace, Some("id"), &json!([])),
        node.addition(AdditionMethod::Update, Some("id"), &json!([{"id": "1", "a": 2}, {"id": 3}])),
    ]);
    let counts: Vec<Option<u64>> = outcomes.iter().map(|outcome| outcome.indexed_documents).collect();
    assert_eq!(counts, [Some(1), Some(0), Some(0), Some(2)]);
    assert_eq!(outcomes[1].error.as_ref().unwrap().code, "missing_document_id");
    let page = documents::browse(&node.index(), &BrowseQuery::from_query("").unwrap()).unwrap();
    assert_eq!(page.to_string(), r#"{"results":[{"id":"1","a":2,"b":1},{"id":3}],"offset":0,"limit":20,"total":2}"#);
}

#[test]
fn documents_are_deleted_by_id_filter_and_all() {
    let node = Node::new();
    node.set(json!({"filterableAttributes": ["year"]}));
    node.add(films());
    let ids = vec!["1".to_owned(), "99".to_owned()];
    assert_eq!(node.one(IndexOperation::DocumentDeletion { ids }).deleted_documents, Some(1));
    let outcome = node.one(IndexOperation::DocumentDeletionByFilter { filter: json!("year = 1994") });
    assert_eq!((outcome.deleted_documents, outcome.error), (Some(1), None));
    let outcome = node.one(IndexOperation::DocumentDeletionByFilter { filter: json!("nope = 1") });
    assert_eq!(outcome.deleted_documents, Some(0));
    let error = outcome.error.unwrap();
    assert_eq!(error.code, "invalid_document_filter");
    assert_eq!(
        error.message,
        "Index `movies`: Attribute `nope` is not filterable. Available filterable attribute patterns are: `year`.\n1:5 nope = 1"
    );
    assert_eq!(node.one(IndexOperation::DocumentClear).deleted_documents, Some(2));
    assert_eq!(node.engine.index_stats("movies", false).unwrap()["numberOfDocuments"], json!(0));
    let absent = apply(&node.engine, "nope", &[IndexOperation::DocumentClear], &|| false).unwrap();
    assert_eq!(absent[0].error.as_ref().unwrap().message, "Index `nope` not found.");
    let error = documents::parse_delete_by_filter(b"{}", Features::default()).unwrap_err();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("missing_document_filter", "Missing field `filter`"));
    let error = documents::parse_delete_by_filter(br#"{"filter":""}"#, Features::default()).unwrap_err();
    assert_eq!(error.message, "Sending an empty filter is forbidden.");
}

#[test]
fn a_function_edits_documents_where_it_is_enabled() {
    let node = Node::new();
    node.add(films());
    let body = br#"{"function":"doc.year += context.n","context":{"n":1}}"#;
    assert_eq!(documents::parse_edition(body, Features::default()).unwrap_err().code, "feature_not_enabled");
    let features = Features { edit_documents_by_function: true, ..Features::default() };
    let edition = documents::parse_edition(body, features).unwrap();
    let operation = IndexOperation::DocumentEdition {
        filter: edition.filter,
        context: edition.context,
        function: edition.function,
    };
    let outcome = node.one(operation);
    assert_eq!((outcome.edited_documents, outcome.error), (Some(4), None));
    let query = GetDocument::from_query("fields=year").unwrap();
    assert_eq!(documents::get(&node.index(), "1", &query).unwrap(), json!({"year": 1957}));
}

#[test]
fn documents_are_read_by_id_and_page() {
    let node = Node::new();
    node.set(json!({"filterableAttributes": ["genres"]}));
    node.add(films());
    let query = GetDocument::from_query("fields=title,director.name").unwrap();
    assert_eq!(
        documents::get(&node.index(), "2", &query).unwrap().to_string(),
        r#"{"title":"Three Colours: Red","director":{"name":"Kieślowski"}}"#
    );
    let error = documents::get(&node.index(), "9", &GetDocument::default()).unwrap_err();
    assert_eq!((error.status, error.message.as_str()), (404, "Document `9` not found."));
    assert_eq!(GetDocument::from_query("feilds=x").unwrap_err().code, "bad_request");
    let browse =
        |body: Value| documents::browse(&node.index(), &BrowseQuery::from_json(body.to_string().as_bytes()).unwrap());
    let page = browse(json!({"filter": "genres = Drama", "fields": ["id"], "offset": 1, "limit": 1})).unwrap();
    assert_eq!(page.to_string(), r#"{"results":[{"id":3}],"offset":1,"limit":1,"total":3}"#);
    let page = browse(json!({"ids": [4, "1", "none"], "fields": ["id"]})).unwrap();
    assert_eq!(page["results"], json!([{"id": 1}, {"id": 4}]));
    let error = browse(json!({"ids": [{"a": 1}]})).unwrap_err();
    assert_eq!(error.code, "invalid_document_ids");
    let error = browse(json!({"filter": "title = x"})).unwrap_err();
    assert_eq!(error.code, "invalid_document_filter");
}

#[test]
fn all_survives_a_restart() {
    let node = Node::new();
    node.set(json!({"filterableAttributes": ["year"]}));
    node.add(films());
    node.engine.create("empty", Some("key")).unwrap();
    let created = node.engine.view("movies").unwrap().created_at;
    let node = node.restarted();
    assert_eq!(node.engine.names().unwrap(), ["empty", "movies"]);
    assert_eq!(node.engine.view("empty").unwrap().primary_key.as_deref(), Some("key"));
    assert_eq!(node.engine.view("movies").unwrap().created_at, created);
    assert_eq!(node.ids(json!({"filter": "year < 1994"})), [1, 3]);
}

#[test]
fn indexes_are_created_swapped_and_deleted() {
    let node = Node::new();
    node.add(films());
    assert_eq!(node.engine.create("movies", None).unwrap_err().code, "index_already_exists");
    node.engine.create("other", None).unwrap();
    node.engine.swap(&[("movies".to_owned(), "other".to_owned())]).unwrap();
    assert_eq!(node.engine.index("other").unwrap().documents().unwrap(), 4);
    assert_eq!(node.index().documents().unwrap(), 0);
    let error = node.engine.swap(&[("b".to_owned(), "a".to_owned())]).unwrap_err();
    assert_eq!(error.message, "Indexes `a`, `b` not found.");
    assert_eq!(node.engine.delete("other").unwrap(), 4);
    let error = node.engine.index("other").map(|_| ()).unwrap_err();
    assert_eq!((error.status, error.message.as_str()), (404, "Index `other` not found."));
    assert_eq!(node.engine.delete("other").unwrap_err().code, "index_not_found");
    let error = node.engine.update_primary_key("other", Some("id")).unwrap_err();
    assert_eq!(error.code, "index_not_found");
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

#[test]
fn stats_count_documents_and_fields() {
    let node = Node::new();
    node.add(films());
    let stats = node.engine.index_stats("movies", true).unwrap();
    let keys: Vec<&str> = stats.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "numberOfDocuments",
            "rawDocumentDbSize",
            "avgDocumentSize",
            "isIndexing",
            "numberOfEmbeddings",
            "numberOfEmbeddedDocuments",
            "fieldDistribution"
        ]
    );
    assert_eq!((&stats["numberOfDocuments"], &stats["isIndexing"]), (&json!(4), &json!(true)));
    assert_eq!(stats["fieldDistribution"]["director"], json!(4));
    let all = node.engine.stats(&|uid| uid == "movies", None, (0, 0)).unwrap();
    assert_eq!(all["indexes"]["movies"]["isIndexing"], json!(false));
    assert!(all["databaseSize"].as_u64().unwrap() >= all["usedDatabaseSize"].as_u64().unwrap());
}
