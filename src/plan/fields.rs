//! The fields of an index's documents.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Obstacle;
use super::node_request::NodeRequest;
use super::scattered::{Covered, ReadKind, Scattered};
use crate::placement::shard::ShardSet;
use crate::placement::stable_hash::hash_bytes;

const DEFAULT_LIMIT: u64 = 20;

/// Each node knows the fields of the documents that it was ever given.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldsPlan {
    pub index: String,
    pub body: Map<String, Value>,
    pub offset: u64,
    pub limit: u64,
}

// === impl FieldsPlan ===

impl FieldsPlan {
    /// Of a POST body; 20 fields from the first, unless it says otherwise.
    pub fn new(index: &str, body: Map<String, Value>) -> Result<Self, Obstacle> {
        let number = |name: &str, default| match body.get(name) {
            None => Ok(default),
            Some(value) => value.as_u64().ok_or(Obstacle::Judge),
        };
        Ok(Self { index: index.to_owned(), offset: number("offset", 0)?, limit: number("limit", DEFAULT_LIMIT)?, body })
    }

    /// Asks a node for all its fields that pass the client's filter.
    pub fn request(&self) -> NodeRequest {
        let mut body = self.body.clone();
        body.insert("offset".into(), 0.into());
        body.insert("limit".into(), u32::MAX.into());
        NodeRequest::post(format!("/indexes/{}/fields", self.index), &body)
    }
}

impl Scattered for FieldsPlan {
    fn kind(&self) -> ReadKind {
        ReadKind::Other
    }

    fn seed(&self) -> u64 {
        hash_bytes(self.index.as_bytes())
    }

    fn covers<'a>(&'a self, _: &'a NodeRequest, shards: u16) -> Vec<Covered<'a>> {
        vec![Covered::new(&self.index, ShardSet::all(shards), self.seed(), |_, _| self.request())]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_asked_for_all_its_fields() {
        let Value::Object(body) = json!({"offset": 3, "limit": 2, "filter": {"sortable": true}}) else { panic!() };
        let plan = FieldsPlan::new("movies", body).unwrap();
        let request = plan.request();
        assert_eq!(request.path, "/indexes/movies/fields");
        assert_eq!(
            serde_json::from_slice::<Value>(&request.body).unwrap(),
            json!({"offset": 0, "limit": u32::MAX, "filter": {"sortable": true}})
        );
        let wrong = Map::from_iter([("limit".to_owned(), json!("x"))]);
        assert!(matches!(FieldsPlan::new("movies", wrong), Err(Obstacle::Judge)));
    }
}
