//! What an answer to a search says beside it, where that was asked for: which query, index and primary key it is about (the
//! header `Meili-Include-Metadata`), and how long a federated search took, or one for similar documents.

use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::head::Head;
use crate::merge::raw::Members;
use crate::plan::scatter::{Ask, Scatter};
use crate::plan::search::SearchPlan;

/// Asks for metadata by `true` or `1`.
const INCLUDE_METADATA: &str = "meili-include-metadata";

#[derive(serde::Deserialize)]
struct Results<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

/// Adds to `body`, the answer to `scatter`, what `head` and the request ask for. `key_of` tells the primary key of an index.
pub(super) fn describe(
    head: &Head,
    scatter: &Scatter,
    took: Duration,
    key_of: &dyn Fn(&str) -> Option<String>,
    body: Bytes,
) -> Bytes {
    let metadata = head.text(INCLUDE_METADATA).is_some_and(|text| matches!(text.to_lowercase().as_str(), "true" | "1"));
    match &scatter.ask {
        Ask::Search(plan) if metadata => with_member(&body, "metadata", &of_search(plan)).map_or(body, Bytes::from),
        Ask::MultiSearch(plan) if metadata => with_each(&body, &plan.queries).map_or(body, Bytes::from),
        Ask::Federation(_) => federated(scatter, metadata, took, key_of, body),
        Ask::Similar(plan) if plan.performance => {
            with_member(&body, "performanceDetails", &whole_time(took)).map_or(body, Bytes::from)
        }
        Ask::Search(_)
        | Ask::MultiSearch(_)
        | Ask::Judge
        | Ask::Refused(_)
        | Ask::Settings
        | Ask::Setting { .. }
        | Ask::DynamicSearchRules
        | Ask::Stats(_)
        | Ask::FacetSearch(_)
        | Ask::Similar(_)
        | Ask::Documents(_)
        | Ask::Fields(_)
        | Ask::Render(_)
        | Ask::Document(_) => body,
    }
}

fn federated(
    scatter: &Scatter,
    metadata: bool,
    took: Duration,
    key_of: &dyn Fn(&str) -> Option<String>,
    mut body: Bytes,
) -> Bytes {
    let asked: Value = serde_json::from_slice(&scatter.original.body).unwrap_or_default();
    if metadata {
        let queries = asked.get("queries").and_then(Value::as_array).into_iter().flatten();
        let each: Vec<Value> = queries
            .map(|query| {
                let index = query.get("indexUid").and_then(Value::as_str).unwrap_or_default();
                of_query(query.get("q").and_then(Value::as_str), index, key_of(index).as_deref())
            })
            .collect();
        body = with_member(&body, "metadata", &Value::Array(each)).map_or(body, Bytes::from);
    }
    if asked.pointer("/federation/showPerformanceDetails") == Some(&Value::Bool(true)) {
        body = with_member(&body, "performanceDetails", &whole_time(took)).map_or(body, Bytes::from);
    }
    body
}

/// Nodes' times are those of other requests, and of each node.
fn whole_time(took: Duration) -> Value {
    json!({ "search": format!("{took:.2?}") })
}

fn of_search(plan: &SearchPlan) -> Value {
    of_query(plan.body.get("q").and_then(Value::as_str), &plan.index, plan.primary_key.as_deref())
}

/// As the engine writes it: without a query for a search of nothing, without a key where the index has none yet.
fn of_query(query: Option<&str>, index: &str, primary_key: Option<&str>) -> Value {
    let mut metadata = Map::new();
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        metadata.insert("query".to_owned(), query.into());
    }
    metadata.insert("queryUid".to_owned(), json!(Uuid::now_v7()));
    metadata.insert("indexUid".to_owned(), index.into());
    if let Some(key) = primary_key {
        metadata.insert("primaryKey".to_owned(), key.into());
    }
    Value::Object(metadata)
}

/// Metadata in each of several results; `None` for what is no list of so many.
fn with_each(body: &[u8], queries: &[SearchPlan]) -> Option<Vec<u8>> {
    let Results { results } = serde_json::from_slice(body).ok()?;
    if results.len() != queries.len() {
        return None;
    }
    let mut out = br#"{"results":["#.to_vec();
    for (at, (result, query)) in results.iter().zip(queries).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend(with_member(result.get().as_bytes(), "metadata", &of_search(query))?);
    }
    out.extend_from_slice(b"]}");
    Some(out)
}

/// The JSON object `body` with one member more at its end; `None` for what is no object, and where it has the member: one node gave
/// the whole answer then.
fn with_member(body: &[u8], name: &str, value: &Value) -> Option<Vec<u8>> {
    if Members::of_bytes(body).ok()?.0.iter().any(|(known, _)| known == name) {
        return None;
    }
    let inside = body.trim_ascii_end().strip_suffix(b"}")?;
    let comma = if inside.trim_ascii_end().ends_with(b"{") { "" } else { "," };
    let mut out = inside.to_vec();
    out.extend_from_slice(format!("{comma}\"{name}\":{value}}}").as_bytes());
    Some(out)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;
    use crate::plan::index_info::IndexInfo;
    use crate::plan::multi_search;
    use crate::plan::scatter::NodeRequest;

    fn head(value: Option<&'static str>) -> Head {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(INCLUDE_METADATA, http::HeaderValue::from_static(value));
        }
        Head::new(Method::POST, &"/multi-search".parse().unwrap(), headers)
    }

    fn described(header: Option<&'static str>, asked: Value, answer: Value) -> Value {
        let mut info = IndexInfo::new("a");
        info.primary_key = Some("id".to_owned());
        info.searches_from_the_first = true;
        let infos = [("a".to_owned(), std::sync::Arc::new(info))].into();
        let ask = match asked.get("queries") {
            Some(_) => multi_search::plan(asked.as_object().unwrap(), &infos).unwrap(),
            None => Ask::Search(Box::new(SearchPlan::new(&infos["a"], asked.as_object().unwrap().clone()).unwrap())),
        };
        let original = NodeRequest { method: "POST", path: "/x".to_owned(), body: asked.to_string().into_bytes() };
        let scatter = Scatter::new(original, 0, ask);
        let key_of = |_: &str| Some("id".to_owned());
        let took = Duration::from_micros(1500);
        let body = describe(&head(header), &scatter, took, &key_of, Bytes::from(answer.to_string()));
        let mut shown: Value = serde_json::from_slice(&body).unwrap();
        take_uids(&mut shown);
        shown
    }

    /// Takes the uids, each of which is another, out of the metadata.
    fn take_uids(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                if let Some(uid) = fields.remove("queryUid") {
                    assert!(Uuid::parse_str(uid.as_str().unwrap()).is_ok());
                }
                fields.values_mut().for_each(take_uids);
            }
            Value::Array(items) => items.iter_mut().for_each(take_uids),
            _ => {}
        }
    }

    #[test]
    fn metadata_is_there_for_who_asks() {
        let search = json!({"q": "x"});
        let answer = json!({"hits": []});
        for silent in [None, Some("false"), Some("yes")] {
            assert_eq!(described(silent, search.clone(), answer.clone()), answer);
        }
        for asking in [Some("true"), Some("True"), Some("1")] {
            assert_eq!(
                described(asking, search.clone(), answer.clone()),
                json!({"hits": [], "metadata": {"query": "x", "indexUid": "a", "primaryKey": "id"}})
            );
        }
        assert_eq!(described(Some("1"), json!({"q": ""}), json!({}))["metadata"].get("query"), None);
    }

    #[test]
    fn each_of_several_results_has_its_own() {
        let asked = json!({"queries": [{"indexUid": "a", "q": "x"}, {"indexUid": "a"}]});
        let shown = described(Some("1"), asked, json!({"results": [{"hits": [1]}, {"hits": [2]}]}));
        assert_eq!(shown["results"][0]["metadata"]["query"], "x");
        assert_eq!(shown["results"][1], json!({"hits": [2], "metadata": {"indexUid": "a", "primaryKey": "id"}}));
    }

    #[test]
    fn a_federated_answer_has_them_in_one_list_and_says_how_long_it_took() {
        let asked = json!({
            "federation": {"showPerformanceDetails": true},
            "queries": [{"indexUid": "a", "q": "x"}, {"indexUid": "a"}],
        });
        let shown = described(Some("1"), asked.clone(), json!({"hits": []}));
        assert_eq!(shown["metadata"].as_array().unwrap().len(), 2);
        assert_eq!(shown["performanceDetails"], json!({"search": "1.50ms"}));
        assert_eq!(described(None, asked.clone(), json!({"hits": []})).get("metadata"), None);
        // One node had it all, and said so.
        let body = json!({"hits": [], "performanceDetails": {"search": "1.20ms"}}).to_string();
        assert_eq!(with_member(body.as_bytes(), "performanceDetails", &json!({})), None);
        assert_eq!(
            described(None, asked, serde_json::from_str(&body).unwrap())["performanceDetails"]["search"],
            "1.20ms"
        );
    }
}
