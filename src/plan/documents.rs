//! Documents by page, by filter, by ids, and one by its id.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::meili::query::QueryMap;
use crate::placement::cover::CoverPart;
use crate::placement::document::{normalize_id, shard_of};
use crate::placement::shard::{ShardId, ShardSet};

use super::Obstacle;
use super::filter;
use super::query_search::{count, flag, list};
use super::reserved;
use super::scatter::NodeRequest;

const DEFAULT_LIMIT: u64 = 20;

/// A page of an index's documents: a slice of what the parts of the cover hold, one after the other.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentsPlan {
    pub index: String,
    /// The client's request, in the form of a POST body.
    pub body: Map<String, Value>,
    pub offset: u64,
    pub limit: u64,
    /// The only shards in which the documents can be; `None` for all.
    pub shards: Option<ShardSet>,
}

/// One document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentPlan {
    pub index: String,
    pub id: String,
    pub shard: ShardId,
}

// === impl DocumentsPlan ===

impl DocumentsPlan {
    /// Of a POST body.
    pub fn new(index: &str, body: Map<String, Value>, shards: u16) -> Result<Self, Obstacle> {
        const KNOWN: &[&str] = &["offset", "limit", "fields", "retrieveVectors", "ids", "filter"];
        if body.keys().any(|name| !KNOWN.contains(&name.as_str())) {
            return Err(Obstacle::Judge);
        }
        if body.get("filter").is_some_and(|filter| !filter::has_shape(filter)) {
            return Err(Obstacle::Judge);
        }
        reserved::check_search(&body)?;
        let number = |name: &str, default| match body.get(name) {
            None => Ok(default),
            Some(value) => value.as_u64().ok_or(Obstacle::Judge),
        };
        Ok(Self {
            index: index.to_owned(),
            offset: number("offset", 0)?,
            limit: number("limit", DEFAULT_LIMIT)?,
            shards: shards_of(body.get("ids"), shards),
            body,
        })
    }

    /// Of a query string.
    pub fn from_query(index: &str, query: &QueryMap, shards: u16) -> Result<Self, Obstacle> {
        let mut body = Map::new();
        for (name, text) in query.iter() {
            let value: Value = match name {
                "offset" | "limit" => count(text)?.into(),
                "retrieveVectors" => flag(text)?.into(),
                "ids" => list(text).into(),
                "filter" => filter_of(text),
                // A star anywhere means every field, which is what no list means.
                "fields" if list(text).iter().any(|name| name.trim() == "*") => Value::Null,
                "fields" => list(text).into(),
                _ => return Err(Obstacle::Judge),
            };
            if body.insert(name.to_owned(), value).is_some() {
                return Err(Obstacle::Judge);
            }
        }
        Self::new(index, body, shards)
    }

    /// Every document of an index, to be counted.
    pub fn counting(index: &str) -> Self {
        Self { index: index.to_owned(), body: Map::new(), offset: 0, limit: 0, shards: None }
    }

    /// Asks the node of `part` for `limit` of its documents after the first `offset`.
    pub fn request(&self, part: &CoverPart, shards: u16, offset: u64, limit: u64) -> NodeRequest {
        let mut body = self.body.clone();
        body.insert("offset".into(), offset.into());
        body.insert("limit".into(), limit.into());
        if let Some(filter) = filter::with_shards(body.get("filter"), part, shards) {
            body.insert("filter".into(), filter);
        }
        NodeRequest::post(format!("/indexes/{}/documents/fetch", self.index), &body)
    }

    /// The slices of parts with these `totals` that make up the page: offset and limit for each part, `None` where it
    /// has nothing to give.
    pub fn slices(&self, totals: &[u64]) -> Vec<Option<(u64, u64)>> {
        let mut skip = self.offset;
        let mut left = self.limit;
        let mut slices = Vec::with_capacity(totals.len());
        for total in totals {
            let offset = skip.min(*total);
            let limit = left.min(total - offset);
            skip -= offset;
            left -= limit;
            slices.push((limit > 0).then_some((offset, limit)));
        }
        slices
    }
}

fn filter_of(text: &str) -> Value {
    super::query_search::filter(text)
}

/// The shards of `ids`; `None` if one of them is no id, which the engine then says.
fn shards_of(ids: Option<&Value>, shards: u16) -> Option<ShardSet> {
    let ids = ids?.as_array()?;
    if ids.is_empty() {
        return None;
    }
    ids.iter().map(|id| normalize_id(id).map(|id| shard_of(&id, shards))).collect()
}

// === impl DocumentPlan ===

impl DocumentPlan {
    pub fn new(index: &str, id: &str, query: &QueryMap, shards: u16) -> Result<Self, Obstacle> {
        let mut named = Map::new();
        named.insert("fields".into(), list(query.get("fields").unwrap_or_default()).into());
        reserved::check_search(&named)?;
        Ok(Self { index: index.to_owned(), id: id.to_owned(), shard: shard_of(id, shards) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::placement::topology::NodeIx;

    fn plan(body: Value) -> Result<DocumentsPlan, Obstacle> {
        let Value::Object(body) = body else { panic!("a fetch is an object") };
        DocumentsPlan::new("movies", body, 16)
    }

    #[test]
    fn slices_lie_end_to_end() {
        let page = |offset, limit| plan(json!({"offset": offset, "limit": limit})).unwrap().slices(&[3, 0, 4, 5]);
        assert_eq!(page(0, 3), [Some((0, 3)), None, None, None]);
        assert_eq!(page(2, 6), [Some((2, 1)), None, Some((0, 4)), Some((0, 1))]);
        assert_eq!(page(11, 20), [None, None, None, Some((4, 1))]);
        assert_eq!(page(12, 20), [None, None, None, None]);
        assert_eq!(page(0, 0), [None, None, None, None]);
    }

    #[test]
    fn a_part_is_asked_with_its_shards() {
        let part = CoverPart { node: NodeIx(0), shards: [ShardId(0)].into_iter().collect(), whole: false };
        let request = plan(json!({"filter": "a = 1", "fields": ["id"]})).unwrap().request(&part, 16, 7, 8);
        assert_eq!(request.path, "/indexes/movies/documents/fetch");
        assert_eq!(
            serde_json::from_slice::<Value>(&request.body).unwrap(),
            json!({"filter": ["a = 1", "_miroir_shard IN [\"{{{{{{{{\"]"], "fields": ["id"], "offset": 7, "limit": 8})
        );
    }

    #[test]
    fn ids_lead_to_their_shards_only() {
        let shards = plan(json!({"ids": [1, "2"]})).unwrap().shards.unwrap();
        assert_eq!(shards, [shard_of("1", 16), shard_of("2", 16)].into_iter().collect());
        assert_eq!(plan(json!({"ids": [1, true]})).unwrap().shards, None);
        assert_eq!(plan(json!({})).unwrap().shards, None);
    }

    #[test]
    fn a_query_string_is_the_same_fetch_as_a_body() {
        let query = QueryMap::parse("limit=2&fields=id,name&ids=1,2&filter=a%20%3D%201&retrieveVectors=true");
        let body = DocumentsPlan::from_query("movies", &query, 16).unwrap().body;
        let want = json!({"limit": 2, "fields": ["id", "name"], "ids": ["1", "2"], "filter": "a = 1", "retrieveVectors": true});
        assert_eq!(Value::Object(body), want);
        let star = DocumentsPlan::from_query("movies", &QueryMap::parse("fields=*"), 16).unwrap();
        assert_eq!(star.body["fields"], Value::Null);
    }

    #[test]
    fn what_the_engine_would_refuse_is_left_to_the_engine() {
        for body in [json!({"limit": -1}), json!({"nope": 1}), json!({"filter": 1}), json!({"offset": null})] {
            assert!(matches!(plan(body.clone()), Err(Obstacle::Judge)), "{body}");
        }
    }
}
