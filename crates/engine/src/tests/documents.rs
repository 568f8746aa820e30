//! Documents added, edited, read and deleted.

use serde_json::{Value, json};

use super::{Node, films};
use crate::documents::{self, BrowseQuery, GetDocument};
use crate::engine::Features;
use crate::indexing::{AdditionMethod, IndexOperation, apply};

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
fn additions_without_a_document_give_the_primary_key_they_name() {
    let node = Node::new();
    let key = || node.engine.view("movies").unwrap().primary_key;
    for (given, then) in [(None, None), (Some("film_id"), Some("film_id")), (Some("id"), Some("film_id"))] {
        let outcome = node.one(node.addition(AdditionMethod::Replace, given, &json!([])));
        assert_eq!((outcome.error, outcome.indexed_documents), (None, Some(0)));
        assert_eq!(key().as_deref(), then);
    }
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
