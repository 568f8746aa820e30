//! Several searches in one request, each with an answer of its own.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Obstacle;
use super::federation::FederationPlan;
use super::index_info::Infos;
use super::known;
use super::node_request::NodeRequest;
use super::scatter::Ask;
use super::scattered::{Covered, Lasting, ReadKind, Scattered};
use super::search::SearchPlan;

/// The answers stand in the order of the searches.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MultiSearchPlan {
    pub queries: Vec<SearchPlan>,
}

/// The indexes that a body names, valid or not.
pub fn indexes(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let queries = body.get("queries").and_then(Value::as_array).into_iter().flatten();
    let faceted = body.pointer("/federation/facetsByIndex").and_then(Value::as_object).into_iter().flatten();
    let mut indexes: Vec<String> = queries
        .filter_map(|query| query.get("indexUid")?.as_str())
        .chain(faceted.map(|(index, _)| index.as_str()))
        .map(str::to_owned)
        .collect();
    indexes.sort();
    indexes.dedup();
    indexes
}

/// Plans a multi-search: an answer for each search, or one list of all.
pub fn plan(body: &Map<String, Value>, infos: &Infos) -> Result<Ask, Obstacle> {
    known::check(body, &["queries", "federation"])?;
    match body.get("federation") {
        None | Some(Value::Null) => Ok(Ask::MultiSearch(MultiSearchPlan::new(body, infos)?)),
        Some(Value::Object(_)) => {
            let plan = FederationPlan::new(body, infos)?;
            match infos.values().find(|info| !info.pins.is_empty()) {
                Some(info) => Err(Obstacle::Unserved(info.pins.not_placed(&info.uid, "a federated search"))),
                None => Ok(Ask::Federation(Box::new(plan))),
            }
        }
        Some(_) => Err(Obstacle::Judge),
    }
}

// === impl MultiSearchPlan ===

impl MultiSearchPlan {
    fn new(body: &Map<String, Value>, infos: &Infos) -> Result<Self, Obstacle> {
        let Some(Value::Array(queries)) = body.get("queries") else { return Err(Obstacle::Judge) };
        let queries = queries.iter().map(|query| Self::query(query, infos)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { queries })
    }

    fn query(query: &Value, infos: &Infos) -> Result<SearchPlan, Obstacle> {
        let mut body = query.as_object().ok_or(Obstacle::Judge)?.clone();
        let index = body.remove("indexUid").ok_or(Obstacle::Judge)?;
        let info = index.as_str().and_then(|index| infos.get(index)).ok_or(Obstacle::Judge)?;
        if body.remove("federationOptions").is_some_and(|options| !options.is_null()) {
            return Err(Obstacle::Judge);
        }
        // Unlike a search of its own, a query among several may say `null` here.
        for name in ["offset", "limit"] {
            if body.get(name) == Some(&Value::Null) {
                body.remove(name);
            }
        }
        SearchPlan::new(info, body)
    }
}

impl Scattered for MultiSearchPlan {
    fn kind(&self) -> ReadKind {
        ReadKind::MultiSearch
    }

    fn lasting(&self) -> Lasting<'_> {
        Lasting::of_all(self.queries.iter().map(SearchPlan::lasting))
    }

    /// Each search has covers of its own.
    fn covers<'a>(&'a self, original: &'a NodeRequest, shards: u16) -> Vec<Covered<'a>> {
        self.queries.iter().flat_map(|query| query.covers(original, shards)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::plan::index_info::IndexInfo;

    fn planned(body: Value) -> Result<Ask, Obstacle> {
        let Value::Object(body) = body else { panic!("a multi-search is an object") };
        let infos = [("a".to_owned(), Arc::new(IndexInfo::new("a")))].into();
        plan(&body, &infos)
    }

    #[test]
    fn each_query_is_a_search_of_its_index() {
        let body = json!({"queries": [{"indexUid": "a", "q": "x", "limit": null}, {"indexUid": "a"}]});
        let Ok(Ask::MultiSearch(several)) = planned(body) else { panic!("no list of searches") };
        assert_eq!(several.queries.len(), 2);
        assert_eq!(Value::Object(several.queries[0].body.clone()), json!({"q": "x"}));
    }

    #[test]
    fn what_the_engine_would_refuse_is_left_to_the_engine() {
        for body in [
            json!({}),
            json!({"queries": [{"indexUid": "b"}]}),
            json!({"queries": [{}]}),
            json!({"queries": [{"indexUid": "a", "federationOptions": {}}]}),
            json!({"queries": [], "federation": []}),
        ] {
            assert!(matches!(planned(body.clone()), Err(Obstacle::Judge)), "{body}");
        }
        assert!(matches!(planned(json!({"queries": [], "x": 1})), Err(Obstacle::Unserved(_))));
        assert!(matches!(planned(json!({"queries": [], "federation": {}})), Ok(Ask::Federation(_))));
    }

    #[test]
    fn the_indexes_of_a_body_are_named_once() {
        assert_eq!(indexes(br#"{"queries":[{"indexUid":"b"},{"indexUid":"a"},{"indexUid":"b"},{}]}"#), ["a", "b"]);
        let faceted = br#"{"queries":[{"indexUid":"b"}],"federation":{"facetsByIndex":{"c":null,"b":[]}}}"#;
        assert_eq!(indexes(faceted), ["b", "c"]);
        assert!(indexes(b"nonsense").is_empty());
    }
}
