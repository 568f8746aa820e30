//! Attributes to search on, where nodes do not know the same.

use serde_json::{Map, Value};

use crate::placement::cover::CoverPart;
use crate::placement::topology::NodeIx;

use super::node_request::NodeRequest;
use super::search::SearchPlan;
use super::search_body::names;

const SEARCH_ON: &str = "attributesToSearchOn";

// === impl SearchPlan ===

impl SearchPlan {
    /// Says to the node of `part` what it is to be told otherwise than the others.
    pub(super) fn fit(&self, body: &mut Map<String, Value>, part: &CoverPart) {
        self.search_on_known(body, part);
        self.judge_alike(body, part);
    }

    /// Leaves out attributes to search on that the node of `part` does not know.
    fn search_on_known(&self, body: &mut Map<String, Value>, part: &CoverPart) {
        if let Some(known) = self.known_attributes.get(&part.node) {
            body.insert(SEARCH_ON.into(), known.iter().cloned().map(Value::String).collect());
        }
    }

    /// The attributes to search on, but for the one that stands for all: what one fits depends on the fields that a node
    /// knows.
    pub fn patterns_to_search_on(&self) -> Vec<String> {
        let all = names(&self.body, SEARCH_ON).unwrap_or_default();
        all.into_iter().filter(|name| *name != "*").map(str::to_owned).collect()
    }

    /// True if the client says on which attributes to search.
    pub fn names_attributes_to_search_on(&self) -> bool {
        self.body.get(SEARCH_ON).is_some_and(|names| !names.is_null())
    }

    /// The same search where each node is asked to search on those `patterns` only that it `knows`.
    pub fn searching_on_known(&self, knows: &[(NodeIx, Vec<bool>)], patterns: &[String]) -> SearchPlan {
        let all = names(&self.body, SEARCH_ON).unwrap_or_default();
        let known_of = |knows: &[bool]| -> Vec<String> {
            let fits = |name: &str| patterns.iter().position(|pattern| pattern == name).is_none_or(|at| knows[at]);
            all.iter().filter(|name| fits(name)).map(|name| (*name).to_owned()).collect()
        };
        let known_attributes = knows.iter().map(|(node, knows)| (*node, known_of(knows))).collect();
        SearchPlan { known_attributes, ..self.clone() }
    }

    /// Asks whether a node knows attributes that `patterns` fit; all that the client names where there are none.
    pub fn request_patterns(&self, patterns: &[String]) -> NodeRequest {
        let client = || self.body.get(SEARCH_ON).cloned().unwrap_or_default();
        let named = if patterns.is_empty() { client() } else { patterns.into() };
        let body = [("limit", 0.into()), (SEARCH_ON, named)];
        let body = body.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        NodeRequest::post(format!("/indexes/{}/search", self.index), &body)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::placement::cover::Besides;
    use crate::placement::shard::ShardId;
    use crate::plan::index_info::IndexInfo;

    #[test]
    fn nodes_search_on_the_attributes_that_they_know() {
        let body = json!({"q": "x", "attributesToSearchOn": ["a", "*.b", "c.*"]}).as_object().unwrap().clone();
        let plan = SearchPlan::new(&IndexInfo::new("movies"), body).unwrap();
        let patterns = plan.patterns_to_search_on();
        assert_eq!(patterns, ["a", "*.b", "c.*"]);
        let plan = plan.searching_on_known(
            &[(NodeIx(0), vec![true, false, true]), (NodeIx(1), vec![true, true, true])],
            &patterns,
        );
        let of = |node| {
            let part =
                CoverPart { node: NodeIx(node), shards: [ShardId(1)].into_iter().collect(), besides: Besides::Unknown };
            let body: Value = serde_json::from_slice(&plan.request(&part, 2, true).body).unwrap();
            body["attributesToSearchOn"].clone()
        };
        assert_eq!((of(0), of(1)), (json!(["a", "c.*"]), json!(["a", "*.b", "c.*"])));
    }
}
