use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::meili::operation::route;

fn veil(names: &[&str]) -> Veil {
    let hidden = Hidden::parse(names.iter().map(ToString::to_string).collect()).unwrap();
    Veil::new(vec![(vec![IndexPattern::parse("a").unwrap()], hidden)]).unwrap()
}

fn asked(request: &str, body: &Value) -> Asked {
    let (method, target) = request.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    Asked::new(method, path, query, body, route(method, path).unwrap())
}

/// The body that goes on under a mask of `cost` and `supplier.name`, where words are looked for in `title`, `cost`, `supplier`.
fn closed(request: &str, body: Value) -> Result<Value, ResponseError> {
    let mut asked = asked(request, &body);
    let words = |_: &str| ["title", "cost", "supplier", "text.de"].map(str::to_owned).to_vec();
    veil(&["cost", "supplier.name"]).close(&mut asked, &words, &|_| Vec::new())?;
    Ok(serde_json::from_slice(&asked.finish().unwrap().body).unwrap_or_default())
}

fn shown(request: &str, body: Value, answer: Value) -> Value {
    let mut veil = veil(&["cost", "supplier.name", "_geo", "internal_*"]);
    let mut asked = asked(request, &body);
    veil.close(&mut asked, &|_| vec!["title".to_owned()], &|_| Vec::new()).unwrap();
    serde_json::from_slice(&veil.answer(&Bytes::from(answer.to_string())).unwrap()).unwrap()
}

#[test]
fn a_question_that_names_what_is_masked_is_refused() {
    for (request, body) in [
        ("POST /indexes/a/search", json!({"filter": "cost > 1"})),
        ("POST /indexes/a/search", json!({"filter": [["x = 1", "'co\\u{73}t' = 1"]]})),
        ("GET /indexes/a/search?filter=cost+%3E+1", Value::Null),
        ("GET /indexes/a/search?sort=x:asc,cost:desc", Value::Null),
        ("POST /indexes/a/search", json!({"sort": [" cost :desc"]})),
        ("POST /indexes/a/search", json!({"facets": ["cost"]})),
        ("POST /indexes/a/search", json!({"facets": ["supplier"]})),
        ("POST /indexes/a/search", json!({"distinct": "supplier.name"})),
        ("POST /indexes/a/search", json!({"q": "x", "attributesToSearchOn": ["title", "cost"]})),
        ("POST /indexes/a/facet-search", json!({"facetName": "cost"})),
        ("POST /indexes/a/facet-search", json!({"facetName": "x", "filter": "cost EXISTS"})),
        ("POST /indexes/a/similar", json!({"id": 1, "embedder": "e", "filter": "cost = 1"})),
        ("POST /indexes/a/documents/fetch", json!({"filter": "cost = 1"})),
        ("GET /indexes/a/documents?sort=cost:asc", Value::Null),
        ("GET /indexes/a/documents?filter=cost=1", Value::Null),
        ("POST /indexes/a/documents/delete", json!({"filter": "cost = 1"})),
        ("POST /indexes/a/documents/edit", json!({"function": "doc.x = doc.cost"})),
        ("PATCH /indexes/a/settings", json!({"rankingRules": ["cost:asc"]})),
        ("PUT /indexes/a/settings/distinct-attribute", json!("cost")),
        ("DELETE /indexes/a/settings", Value::Null),
        ("POST /swap-indexes", json!([{"indexes": ["b", "a"]}])),
        ("PATCH /indexes/a", json!({"uid": "b"})),
        ("PATCH /indexes/b", json!({"uid": "a"})),
        (
            "POST /render-template",
            json!({"template": {"inline": "{{ doc.cost }}"}, "input": {"indexUid": "a", "id": 1}}),
        ),
        ("GET /tasks/1/documents", Value::Null),
        ("POST /keys", json!({})),
        ("GET /keys", Value::Null),
        ("GET /keys/x", Value::Null),
        ("POST /multi-search", json!({"queries": [{"indexUid": "b"}, {"indexUid": "a", "filter": "cost = 1"}]})),
        (
            "POST /multi-search",
            json!({"federation": {"facetsByIndex": {"a": ["cost"]}}, "queries": [{"indexUid": "a"}]}),
        ),
        ("POST /multi-search", json!({"federation": {"distinct": "cost"}, "queries": [{"indexUid": "a"}]})),
    ] {
        let refused = closed(request, body.clone()).expect_err(request);
        assert_eq!((refused.status, refused.code.as_str()), (403, "miroir_refused"), "{request} {body}");
    }
}

#[test]
fn words_are_looked_for_where_nothing_is_masked() {
    let search = "POST /indexes/a/search";
    let on = |body: Value| closed(search, body).unwrap()["attributesToSearchOn"].clone();
    assert_eq!(on(json!({"q": "x"})), json!(["title", "text.de"]));
    assert_eq!(on(json!({"q": "x", "attributesToSearchOn": ["*"]})), json!(["title", "text.de"]));
    assert_eq!(on(json!({"q": "x", "attributesToSearchOn": ["text.*"]})), json!(["text.de"]));
    assert_eq!(on(json!({"q": "x", "attributesToSearchOn": ["title"]})), json!(["title"]));
    assert_eq!(on(json!({"q": ""})), Value::Null);
    assert_eq!(
        closed("GET /indexes/a/search?q=x", Value::Null).unwrap()["attributesToSearchOn"],
        json!(["title", "text.de"])
    );
    let facet = closed("POST /indexes/a/facet-search", json!({"facetName": "x", "q": "y"})).unwrap();
    assert_eq!(facet["attributesToSearchOn"], json!(["title", "text.de"]));
    assert!(closed(search, json!({"q": "x", "attributesToSearchOn": ["supplier*"]})).is_err());
    // Another index is not masked.
    let other = json!({"q": "x", "filter": "cost = 1", "sort": ["cost:asc"]});
    assert_eq!(closed("POST /indexes/b/search", other.clone()).unwrap(), other);
}

#[test]
fn where_a_rule_leads_to_another_index_both_masks_hold() {
    let mut asked = asked("POST /indexes/a/search", &json!({"filter": "cost = 1"}));
    asked.whole.from = asked.whole.index.replace("b".to_owned());
    assert!(veil(&["cost"]).close(&mut asked, &|_| Vec::new(), &|_| Vec::new()).is_err());
}

#[test]
fn answers_are_without_what_is_masked() {
    let hit = json!({"id": 1, "cost": 7, "costs": 8, "supplier": {"name": "x", "city": "y"}, "internal_a": 1, "_geo": {"lat": 1},
        "_geoDistance": 5, "_formatted": {"id": "1", "cost": "7"}, "_matchesPosition": {"cost": [], "supplier.name": [], "id": []},
        "_rankingScoreDetails": {"words": {}, "cost:asc": {"value": 7}, "_geoPoint(1,2):asc": {}}});
    let clean = json!({"id": 1, "costs": 8, "supplier": {"city": "y"}, "_formatted": {"id": "1"}, "_matchesPosition": {"id": []},
        "_rankingScoreDetails": {"words": {}}});
    let facets = json!({"cost": {"7": 1}, "x": {"y": 1}});
    let answer =
        json!({"hits": [hit], "facetDistribution": facets, "facetStats": {"cost": {"min": 7}}, "query": "cost"});
    let wanted = json!({"hits": [clean], "facetDistribution": {"x": {"y": 1}}, "facetStats": {}, "query": "cost"});
    assert_eq!(shown("POST /indexes/a/search", json!({}), answer.clone()), wanted);
    let queries = json!({"queries": [{"indexUid": "b"}, {"indexUid": "a"}]});
    let results = shown("POST /multi-search", queries.clone(), json!({"results": [answer, answer]}));
    assert_eq!(results, json!({"results": [answer, wanted]}));

    let mut federated = queries;
    federated["federation"] = json!({});
    let of = |place: u64| json!({"cost": 1, "_federation": {"queriesPosition": place}});
    let by_index = json!({"a": {"distribution": facets, "stats": {}}, "b": {"distribution": facets, "stats": {}}});
    let answer = json!({"hits": [of(0), of(1), {"cost": 1}], "facetDistribution": facets, "facetsByIndex": by_index});
    let shown_as_one = shown("POST /multi-search", federated, answer);
    assert_eq!(shown_as_one["hits"], json!([of(0), {"_federation": {"queriesPosition": 1}}, {}]));
    assert_eq!(shown_as_one["facetDistribution"], json!({"x": {"y": 1}}));
    assert_eq!(shown_as_one["facetsByIndex"]["a"]["distribution"], json!({"x": {"y": 1}}));
    assert_eq!(shown_as_one["facetsByIndex"]["b"]["distribution"], facets);

    let documents = json!({"results": [{"id": 1, "cost": 1, "list": [{"cost": 2}]}], "total": 1});
    let listed = json!({"results": [{"id": 1, "list": [{"cost": 2}]}], "total": 1});
    assert_eq!(shown("GET /indexes/a/documents", Value::Null, documents), listed);
    assert_eq!(shown("GET /indexes/a/documents/1", Value::Null, json!({"id": 1, "cost": 1})), json!({"id": 1}));
    let fields = json!({"results": [{"name": "cost"}, {"name": "id"}], "total": 2});
    assert_eq!(shown("POST /indexes/a/fields", json!({}), fields), json!({"results": [{"name": "id"}], "total": 2}));
    let stats = json!({"numberOfDocuments": 1, "fieldDistribution": {"id": 1, "cost": 1}});
    let clean = json!({"numberOfDocuments": 1, "fieldDistribution": {"id": 1}});
    assert_eq!(shown("GET /indexes/a/stats", Value::Null, stats.clone()), clean);
    let all = json!({"databaseSize": 1, "indexes": {"a": stats, "b": stats}});
    assert_eq!(shown("GET /stats", Value::Null, all), json!({"databaseSize": 1, "indexes": {"a": clean, "b": stats}}));
}

#[test]
fn an_answer_that_cannot_be_read_is_not_shown() {
    let mut veil = veil(&["cost"]);
    veil.close(&mut asked("GET /indexes/a/documents/1", &Value::Null), &|_| Vec::new(), &|_| Vec::new()).unwrap();
    assert!(veil.answer(&Bytes::from_static(b"{\"cost\": 1")).is_err());
}

/// Documents with names of which some are masked, at any depth.
fn document() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![any::<i64>().prop_map(Value::from), "[a-z\"\\\\]{0,4}".prop_map(Value::from), Just(Value::Null)];
    let name =
        prop_oneof![Just("cost"), Just("supplier"), Just("name"), Just("x"), Just("supplier.name"), Just("cost.net")];
    let inner = leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("cost|supplier|x|supplier\\.name", inner, 0..5)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

/// The paths of all values, as the engine flattens documents.
fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                found.push(at.clone());
                paths(value, &at, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, at, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

proptest! {
    #[test]
    fn no_masked_path_is_in_an_answer_and_all_others_are(document in document()) {
        let mut veil = veil(&["cost", "supplier.name"]);
        veil.close(&mut asked("GET /indexes/a/documents/1", &Value::Null), &|_| Vec::new(), &|_| Vec::new()).unwrap();
        let shown: Value = serde_json::from_slice(&veil.answer(&Bytes::from(document.to_string())).unwrap()).unwrap();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        paths(&document, "", &mut before);
        paths(&shown, "", &mut after);
        let hidden = veil.of("a");
        before.retain(|path| !hidden.hides(path));
        prop_assert_eq!(before, after);
    }
}

#[test]
fn what_is_masked_is_masked_in_hits_of_other_indexes_too() {
    let key = |field: &str| crate::placement::joins::Key { field: field.to_owned(), foreign: "a".to_owned() };
    let joined = |keys: Vec<crate::placement::joins::Key>, body: Value| {
        let mut veil = veil(&["cost", "internal_*"]);
        let mut asked = asked("POST /indexes/b/search", &body);
        assert_eq!(veil.joined(&asked), ["b"]);
        veil.close(&mut asked, &|_| Vec::new(), &|_| keys.clone())?;
        let hit = json!({"cost": 1, "part": [{"id": 1, "cost": 2, "internal_x": 3}], "other": {"cost": 4}});
        let answer = json!({"hits": [{"part": hit["part"], "cost": 1, "other": hit["other"], "_formatted": hit}]});
        let answer = veil.answer(&Bytes::from(answer.to_string()))?;
        Ok::<_, ResponseError>(serde_json::from_slice::<Value>(&answer).unwrap()["hits"][0].clone())
    };
    let hit = |part: Value| json!({"cost": 1, "part": part, "other": {"cost": 4}});
    let shown = joined(vec![key("part")], json!({"filter": "x = 1"})).unwrap();
    assert_eq!(shown["_formatted"], hit(json!([{"id": 1}])));
    assert_eq!((&shown["part"], &shown["cost"]), (&json!([{"id": 1}]), &json!(1)));
    let twice = joined(vec![key("part"), key("part.id")], json!({})).unwrap();
    assert_eq!(twice["_formatted"], hit(json!([{}])), "a document may stand deeper than its field");
    assert!(joined(vec![key("part")], json!({"filter": "_foreign(part, cost > 1)"})).is_err());
    assert!(joined(vec![], json!({"filter": "_foreign(part, cost > 1)"})).is_ok());
}
