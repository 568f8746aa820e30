//! The vector of a search's words, asked of one node, so that not every node has to embed them.

use serde_json::{Map, Value, json};

use super::node_request::NodeRequest;
use super::search::SearchPlan;

// === impl SearchPlan ===

impl SearchPlan {
    /// Asks a node for the vector of the words. `None` where words alone are searched, or the vector is known.
    ///
    /// Newer engines show it to whoever wants to see the vectors of hits.
    pub fn request_embedding(&self) -> Option<NodeRequest> {
        let hybrid = self.body.get("hybrid")?.as_object()?;
        let embedder = hybrid.get("embedder")?.as_str()?;
        let ratio = hybrid.get("semanticRatio").map_or(Some(0.5), Value::as_f64)?;
        let words = self.body.get("q")?.as_str().filter(|words| !words.trim().is_empty())?;
        let is_known =
            ["vector", "media"].iter().any(|name| self.body.get(*name).is_some_and(|value| !value.is_null()));
        if is_known || ratio as f32 <= 0.0 {
            return None;
        }
        let body = json!({
            "q": words, "hybrid": {"embedder": embedder, "semanticRatio": 1.0}, "limit": 1,
            "attributesToRetrieve": [], "retrieveVectors": true,
        });
        let body: Map<String, Value> = body.as_object().cloned().unwrap_or_default();
        Some(NodeRequest::post(format!("/indexes/{}/search", self.index), &body))
    }

    /// This search with the `vector` of its words.
    pub fn with_query_vector(&self, vector: Value) -> Self {
        let mut plan = self.clone();
        plan.body.insert("vector".into(), vector);
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::index_info::IndexInfo;

    fn asked(body: Value) -> Option<Value> {
        let Value::Object(body) = body else { panic!("a search is an object") };
        let request = SearchPlan::new(&IndexInfo::new("movies"), body).unwrap().request_embedding()?;
        assert_eq!(request.path, "/indexes/movies/search");
        Some(serde_json::from_slice(&request.body).unwrap())
    }

    #[test]
    fn words_without_a_vector_are_embedded() {
        assert_eq!(
            asked(json!({"q": "x", "hybrid": {"embedder": "e", "semanticRatio": 0.2}, "filter": "a = 1"})).unwrap(),
            json!({"q": "x", "hybrid": {"embedder": "e", "semanticRatio": 1.0}, "limit": 1,
                "attributesToRetrieve": [], "retrieveVectors": true})
        );
        for body in [
            json!({"q": "x"}),
            json!({"q": " ", "hybrid": {"embedder": "e"}}),
            json!({"hybrid": {"embedder": "e"}}),
            json!({"q": "x", "hybrid": {"embedder": "e", "semanticRatio": 0}}),
            json!({"q": "x", "vector": [1.0], "hybrid": {"embedder": "e"}}),
        ] {
            assert_eq!(asked(body.clone()), None, "{body}");
        }
    }
}
