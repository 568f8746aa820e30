use serde_json::{Map, Value, json};

use super::{HiddenSettings, is_hidden_filterable, plan, refused_as_of};
use crate::meili::error::ResponseError;
use crate::meili::operation::Change;
use crate::meili::settings::Setting;
use crate::placement::topology::{Node, NodeId, NodeState, Topology};
use crate::plan::Plan;
use crate::plan::scatter::NodeRequest;
use crate::plan::write::{RegistryChange, StepBody, WriteIntent};

fn topology() -> Topology {
    let node = |id| Node { id: NodeId::new(id), url: "http://x".into(), zone: None, weight: 1.0, state: NodeState::Up };
    Topology::build(vec![node("a"), node("b"), node("c")], 4, 2)
}

fn intent(change: Change, query: &str, body: Value) -> WriteIntent {
    match plan(
        &change,
        &format!("/?{query}"),
        body.to_string().as_bytes(),
        &topology(),
        &HiddenSettings::default(),
        &|_| true,
    ) {
        Plan::Broadcast(intent) | Plan::DeleteMatching(intent) | Plan::Edit(intent) => *intent,
        other => panic!("{other:?}"),
    }
}

fn refused(change: Change, query: &str, body: &str) -> ResponseError {
    match plan(&change, &format!("/?{query}"), body.as_bytes(), &topology(), &HiddenSettings::default(), &|_| true) {
        Plan::Refuse(error) => error,
        other => panic!("{other:?}"),
    }
}

fn index() -> String {
    "cities".to_owned()
}

fn hidden() -> Value {
    json!({
        "attributePatterns": ["_miroir_shard"],
        "features": {"facetSearch": false, "filter": {"equality": true, "comparison": false}},
    })
}

#[test]
fn an_index_is_created_on_all_nodes() {
    let intent = intent(Change::CreateIndex, "", json!({"uid": "cities", "primaryKey": "id"}));
    assert_eq!(
        serde_json::to_value(&intent).unwrap(),
        json!({
            "kind": "indexCreation", "indexUid": "cities", "indexes": ["cities"],
            "details": {"primaryKey": "id"}, "customMetadata": null, "ensureIndex": false,
            "registry": {"create": {"index": "cities", "primary_key": "id"}}, "copies": 1,
            "steps": [{
                "to": "allNodes", "method": "POST", "path": "/indexes", "contentType": "application/json",
                "body": {"json": {"uid": "cities", "primaryKey": "id"}}, "shards": [],
            }],
        })
    );
}

#[test]
fn settings_carry_the_hidden_item_and_the_task_does_not_show_it() {
    let body = json!({"filterableAttributes": ["country"], "stopWords": ["the"]});
    let intent = intent(Change::UpdateSettings { index: index() }, "", body.clone());
    assert_eq!(Value::Object(intent.details.unwrap()), body);
    let StepBody::Json(sent) = &intent.steps[0].body else { panic!() };
    assert_eq!(*sent, json!({"filterableAttributes": ["country", hidden()], "stopWords": ["the"]}));
    assert!(intent.ensure_index);
    assert!(is_hidden_filterable(&hidden()) && is_hidden_filterable(&json!("_miroir_shard")));
}

#[test]
fn settings_that_leave_filterable_attributes_alone_are_sent_as_they_are() {
    let body = json!({"stopWords": ["the"]});
    let intent = intent(Change::UpdateSettings { index: index() }, "", body.clone());
    let StepBody::Json(sent) = &intent.steps[0].body else { panic!() };
    assert_eq!(*sent, body);
}

#[test]
fn a_reset_of_all_settings_keeps_the_hidden_item() {
    let intent = intent(Change::ResetSettings { index: index() }, "", json!(null));
    let StepBody::Json(sent) = &intent.steps[0].body else { panic!() };
    assert_eq!(intent.steps[0].method, "PATCH");
    assert_eq!(sent["filterableAttributes"], json!([hidden()]));
    assert_eq!(sent["typoTolerance"], Value::Null);
    let details = intent.details.unwrap();
    assert_eq!(details.len(), Setting::ALL.len());
    assert_eq!(details["displayedAttributes"], json!(["*"]));
    assert_eq!(details["filterableAttributes"], Value::Null);
}

#[test]
fn a_single_setting_goes_by_its_own_route() {
    let filterable = Change::UpdateSetting { index: index(), setting: Setting::FilterableAttributes };
    let update = intent(filterable, "", json!(["country"]));
    assert_eq!(
        (update.steps[0].method, update.steps[0].path.as_str()),
        ("PUT", "/indexes/cities/settings/filterable-attributes")
    );
    let StepBody::Json(sent) = &update.steps[0].body else { panic!() };
    assert_eq!(*sent, json!(["country", hidden()]));
    assert_eq!(Value::Object(update.details.unwrap()), json!({"filterableAttributes": ["country"]}));
    let reset = Change::ResetSetting { index: index(), setting: Setting::FilterableAttributes };
    let reset = intent(reset, "", json!(null));
    assert_eq!(reset.steps[0].method, "PUT");
    let typo = Change::ResetSetting { index: index(), setting: Setting::TypoTolerance };
    assert_eq!(intent(typo, "", json!(null)).steps[0].method, "DELETE");
}

#[test]
fn a_swap_passes_the_lanes_of_all_its_indexes() {
    let body = json!([{"indexes": ["b", "a"]}, {"indexes": ["c", "d"]}]);
    let intent = intent(Change::SwapIndexes, "", body.clone());
    assert_eq!(intent.indexes, ["a", "b", "c", "d"]);
    assert_eq!(intent.index_uid, None);
    assert_eq!(Value::Object(intent.details.unwrap()), json!({"swaps": body}));
}

#[test]
fn each_pair_of_a_swap_says_whether_it_renames() {
    let body = json!([{"indexes": ["b", "a"]}, {"indexes": ["c", "d"], "rename": true}]);
    let intent = intent(Change::SwapIndexes, "", body.clone());
    let pair = |left: &str, right: &str| vec![(left.to_owned(), right.to_owned())];
    assert_eq!(intent.registry, RegistryChange::Swap { pairs: pair("b", "a"), renamed: pair("c", "d") });
    assert_eq!(intent.registry.moved(), [("b", "a"), ("c", "d")]);
    assert_eq!(
        refused_as_of(Some("1.15.0"), &Change::SwapIndexes, &intent).map(|error| error.code.to_string()),
        Some("miroir_not_supported".into())
    );
    assert_eq!(Value::Object(intent.details.unwrap()), json!({"swaps": body}));
}

#[test]
fn deletion_by_filter_shows_its_filter_as_the_engine_does() {
    let operation = Change::DeleteDocumentsByFilter { index: index() };
    let intent = intent(operation, "customMetadata=mine", json!({"filter": "country = \"FR\""}));
    assert_eq!(
        Value::Object(intent.details.unwrap()),
        json!({"providedIds": 0, "deletedDocuments": null, "originalFilter": "\"country = \\\"FR\\\"\""})
    );
    assert_eq!(intent.custom_metadata.as_deref(), Some("mine"));
    assert_eq!((intent.copies, intent.steps[0].shards.len()), (2, 4));
    assert_eq!(intent.steps[0].path, "/indexes/cities/documents/delete");
}

#[test]
fn editing_documents_shows_function_context_and_filter() {
    let body = json!({"function": "doc.x = 1", "context": {"y": 2}});
    let intent = intent(Change::EditDocuments { index: index() }, "", body);
    assert_eq!(
        Value::Object(intent.details.unwrap()),
        json!({"editedDocuments": null, "deletedDocuments": null, "originalFilter": null, "context": {"y": 2}, "function": "doc.x = 1"})
    );
}

#[test]
fn parts_of_settings_stand_in_the_engines_order_in_the_task() {
    let body = json!({
        "typoTolerance": {"disableOnWords": ["b", "a"], "enabled": true},
        "embedders": {
            "b": {"indexingEmbedder": {"url": "u", "source": "rest"}, "source": "composite"},
            "a": {"distribution": {"mean": 1}, "url": "u", "unknown": 1, "apiKey": "sk-0123456789", "source": "rest"},
        },
    });
    let intent = intent(Change::UpdateSettings { index: index() }, "", body);
    assert_eq!(
        Value::Object(intent.details.unwrap()).to_string(),
        r#"{"typoTolerance":{"enabled":true,"disableOnWords":["a","b"]},"embedders":{"a":{"source":"rest","apiKey":"skXXXX...","url":"u","distribution":{"mean":1},"unknown":1},"b":{"source":"composite","indexingEmbedder":{"source":"rest","url":"u"}}}}"#
    );
}

#[test]
fn keys_of_embedders_are_cut_in_the_task_and_sent_whole() {
    let body = json!({"embedders": {"e": {"source": "openAi", "apiKey": "sk-0123456789"}}});
    let intent = intent(Change::UpdateSettings { index: index() }, "", body.clone());
    assert_eq!(intent.details.unwrap()["embedders"]["e"]["apiKey"], "skXXXX...");
    let StepBody::Json(sent) = &intent.steps[0].body else { panic!() };
    assert_eq!(*sent, body);
}

#[test]
fn what_is_reserved_is_refused() {
    let settings = |body: &str| refused(Change::UpdateSettings { index: index() }, "", body).code;
    assert_eq!(settings(r#"{"sortableAttributes":["_miroir_shard"]}"#), "miroir_reserved_field");
    assert_eq!(settings(r#"{"filterableAttributes":[{"attributePatterns":["_miroir_x"]}]}"#), "miroir_reserved_field");
    assert_eq!(settings(r#"{"nonSeparatorTokens":["{{"]}"#), "miroir_reserved_field");
    let filter = Change::DeleteDocumentsByFilter { index: index() };
    assert_eq!(refused(filter, "", r#"{"filter":[["_miroir_shard = x"]]}"#).code, "miroir_reserved_field");
}

#[test]
fn malformed_bodies_are_refused_before_any_node_sees_them() {
    let settings = || Change::UpdateSettings { index: index() };
    assert_eq!(refused(settings(), "", "{").code, "malformed_payload");
    assert_eq!(refused(settings(), "", "").code, "missing_payload");
    assert_eq!(
        refused(settings(), "", "[1]").message,
        "Invalid value type: expected an object, but found an array: `[1]`"
    );
    let clear = Change::DeleteAllDocuments { index: index() };
    assert_eq!(refused(clear, "x=1", "").message, "Unknown parameter `x`: expected one of `customMetadata`");
}

#[test]
fn a_reset_of_an_index_that_does_not_exist_creates_none() {
    let reset = Change::ResetSettings { index: index() };
    let Plan::Broadcast(intent) = plan(&reset, "", b"", &topology(), &HiddenSettings::default(), &|_| false) else {
        panic!()
    };
    assert_eq!((intent.steps[0].method, intent.ensure_index), ("DELETE", false));
}

#[test]
fn what_the_engine_has_no_task_for_is_told_to_all_nodes_at_once() {
    let (topology, hidden) = (topology(), HiddenSettings::default());
    let path = "/experimental-features?a=1";
    let plan = plan(&Change::UpdateExperimentalFeatures, path, b"{", &topology, &hidden, &|_| true);
    let Plan::Everywhere(request) = plan else { panic!("{plan:?}") };
    // As the client wrote it: what is wrong with it the nodes say.
    assert_eq!(request, NodeRequest { method: "PATCH", path: path.into(), body: b"{".to_vec() });
}

#[test]
fn details_show_sets_sorted_and_features_in_full() {
    let body = json!({
        "filterableAttributes": ["b", {"attributePatterns": ["a"]}, {"attributePatterns": ["c"], "features": {"facetSearch": true}}],
        "synonyms": {"b": ["z", "a"], "a": ["c"]},
        "typoTolerance": {"disableOnWords": ["z", "a", "z"], "disableOnAttributes": ["y", "x"]},
    });
    let intent = intent(Change::UpdateSettings { index: index() }, "", body.clone());
    let features = |facets| json!({"facetSearch": facets, "filter": {"equality": true, "comparison": false}});
    let shown = json!({
        "filterableAttributes": [
            "b",
            {"attributePatterns": ["a"], "features": features(false)},
            {"attributePatterns": ["c"], "features": features(true)},
        ],
        "synonyms": {"a": ["c"], "b": ["z", "a"]},
        "typoTolerance": {"disableOnWords": ["a", "z"], "disableOnAttributes": ["x", "y"]},
    });
    // As text: the order of keys counts.
    assert_eq!(Value::Object(intent.details.unwrap()).to_string(), shown.to_string());
    let StepBody::Json(sent) = &intent.steps[0].body else { panic!() };
    assert_eq!(sent["typoTolerance"], body["typoTolerance"], "the nodes get what the client sent");
}

#[test]
fn details_show_fragments_and_headers_of_an_embedder_by_their_names() {
    let pieces =
        |names: [&str; 2]| Map::from_iter(names.map(|name| (name.to_owned(), json!({"value": {"z": 1, "a": 2}}))));
    let embedder = |names: [&str; 2]| {
        let parts = json!({"url": "u", "indexingFragments": pieces(names), "searchFragments": pieces(names),
            "request": {"z": 1, "a": 2}, "headers": Map::from_iter(names.map(|name| (name.to_owned(), json!("x"))))});
        json!({"embedders": {"rest": parts.clone(), "two": {"searchEmbedder": parts}}})
    };
    let intent = intent(Change::UpdateSettings { index: index() }, "", embedder(["withBreed", "basic"]));
    // As text: the order of keys counts. What an embedder's server is sent stays as it was written.
    assert_eq!(Value::Object(intent.details.unwrap()).to_string(), embedder(["basic", "withBreed"]).to_string());
}

#[test]
fn keys_to_other_indexes_name_a_field_of_no_document_on_nodes() {
    let keys = |field: &str| json!([{"foreignIndexUid": "b", "fieldName": field}]);
    let whole = || Change::UpdateSettings { index: index() };
    let setting = Setting::ForeignKeys;
    let alone = || Change::UpdateSetting { index: index(), setting };
    let set = json!({"foreignKeys": keys("x")});
    for (intent, sent) in [
        (intent(whole(), "", set.clone()), json!({"foreignKeys": keys("_miroir_key_x")})),
        (intent(alone(), "", keys("x")), keys("_miroir_key_x")),
    ] {
        assert_eq!(intent.details.clone().map(Value::Object).as_ref(), Some(&set));
        let StepBody::Json(body) = &intent.steps[0].body else { panic!("a setting is sent") };
        assert_eq!(*body, sent);
    }
    let error = refused(alone(), "", &keys("_miroir_shard").to_string());
    assert_eq!(error.code.as_str(), "miroir_reserved_field");
    let older = super::refused_as_of(Some("1.15.0"), &whole(), &intent(whole(), "", set.clone()));
    assert_eq!(older.map(|error| error.code.as_str().to_owned()).as_deref(), Some("miroir_not_supported"));
    assert!(super::refused_as_of(Some("1.50.0"), &whole(), &intent(whole(), "", set)).is_none());
    // The last two are for the nodes to refuse.
    for none in [json!(null), json!([]), json!([1]), json!("x")] {
        intent(Change::UpdateSettings { index: index() }, "", json!({"foreignKeys": none}));
        assert_eq!(intent(alone(), "", none).steps[0].path, "/indexes/cities/settings/foreign-keys");
    }
    assert_eq!(intent(Change::ResetSetting { index: index(), setting }, "", json!(null)).steps[0].method, "DELETE");
}
