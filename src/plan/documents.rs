//! Documents by page, by filter, by ids, and one by its id.

use serde::Serialize;
use serde_json::{Map, Value};

use super::shown::Helper;
use crate::meili::error::{Code, ResponseError};
use crate::meili::query::QueryMap;
use crate::placement::cover::CoverPart;
use crate::placement::document::{normalize_id, shard_of};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::stable_hash::hash_bytes;
use crate::placement::vocabulary::is_words_id;
use crate::placement::written::WRITTEN_FIELD;

use super::Obstacle;
use super::filter;
use super::known;
use super::node_request::NodeRequest;
use super::query_search::{self, count, flag, list};
use super::reserved;
use super::scattered::{Covered, Lasting, ReadKind, Scattered};
use super::search_body::is_at_or_below;

const DEFAULT_LIMIT: u64 = 20;

/// A page that ends no later is asked of every node from the first document on.
const IN_ONE_ROUND: u64 = 1000;

/// So many documents, and no more, are listed in the order in which they were written.
pub const IN_ORDER: u64 = IN_ONE_ROUND;

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
    /// What the documents are sorted by; empty for none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sort: Vec<SortBy>,
    /// Fields that are asked for only to compare documents by them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub helpers: Vec<Helper>,
}

/// One criterion of a sort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SortBy {
    /// `None` for the distance from a point, which documents do not show as the engine computes it.
    pub field: Option<String>,
    pub ascending: bool,
}

/// One document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentPlan {
    pub index: String,
    pub id: String,
    pub shard: ShardId,
}

/// The body that asks the same as a query string; an obstacle where the engine would refuse that.
pub fn body_of(query: &QueryMap) -> Result<Map<String, Value>, Obstacle> {
    let mut body = Map::new();
    for (name, text) in query.iter() {
        let value: Value = match name {
            "offset" | "limit" => count(text)?.into(),
            "retrieveVectors" => flag(text)?.into(),
            "ids" => list(text).into(),
            "filter" => filter_of(text),
            "sort" => query_search::sort(text).into(),
            // A star anywhere means every field, which is what no list means.
            "fields" if list(text).iter().any(|name| name.trim() == "*") => Value::Null,
            "fields" => list(text).into(),
            _ => return Err(known::unserved(name)),
        };
        body.insert(name.to_owned(), value);
    }
    Ok(body)
}

// === impl DocumentsPlan ===

impl DocumentsPlan {
    /// Of a POST body.
    pub fn new(index: &str, body: Map<String, Value>, shards: u16) -> Result<Self, Obstacle> {
        const KNOWN: &[&str] = &["offset", "limit", "fields", "retrieveVectors", "ids", "filter", "sort"];
        known::check(&body, KNOWN)?;
        if body.get("filter").is_some_and(|filter| !filter::has_shape(filter)) {
            return Err(Obstacle::Judge);
        }
        reserved::check_search(&body)?;
        let number = |name: &str, default| match body.get(name) {
            None => Ok(default),
            Some(value) => value.as_u64().ok_or(Obstacle::Judge),
        };
        let sort = sort_of(body.get("sort"))?;
        Ok(Self {
            index: index.to_owned(),
            offset: number("offset", 0)?,
            limit: number("limit", DEFAULT_LIMIT)?,
            shards: shards_of(body.get("ids"), shards),
            helpers: sort.iter().filter_map(|by| helper(&body, by.field.as_deref()?)).collect(),
            sort,
            body,
        })
    }

    /// Of a query string.
    pub fn from_query(index: &str, query: &QueryMap, shards: u16) -> Result<Self, Obstacle> {
        Self::new(index, body_of(query)?, shards)
    }

    /// True if the page reaches so far that what each node holds is counted first, and then the slices that make it up are
    /// fetched. What several nodes answer at once is of one moment.
    pub fn is_counted_first(&self) -> bool {
        self.sort.is_empty() && self.offset.saturating_add(self.limit) > IN_ONE_ROUND
    }

    /// Every document of an index, to be counted.
    pub fn counting(index: &str) -> Self {
        Self::whole(index, 0)
    }

    /// The first `limit` documents of an index, whole.
    pub fn whole(index: &str, limit: u64) -> Self {
        Self {
            index: index.to_owned(),
            body: Map::new(),
            offset: 0,
            limit,
            shards: None,
            sort: Vec::new(),
            helpers: Vec::new(),
        }
    }

    /// Asks the node of `part` for `limit` of its documents after the first `offset`.
    pub fn request(&self, part: &CoverPart, shards: u16, offset: u64, limit: u64) -> NodeRequest {
        let mut body = self.body.clone();
        body.insert("offset".into(), offset.into());
        body.insert("limit".into(), limit.into());
        body.insert("filter".into(), filter::with_shards(body.get("filter"), part, shards));
        // Documents of several nodes are put into the order in which they were written.
        if let Some(Value::Array(fields)) = body.get_mut("fields")
            && !fields.iter().any(|field| field == "*")
        {
            fields.push(WRITTEN_FIELD.into());
        }
        NodeRequest::post(format!("/indexes/{}/documents/fetch", self.index), &body)
    }

    /// Asks the node of `part` for every document that may lie in a sorted page, with what documents are sorted by.
    pub fn request_sorted(&self, part: &CoverPart, shards: u16) -> NodeRequest {
        let mut wide = self.clone();
        if let Some(Value::Array(fields)) = wide.body.get_mut("fields") {
            fields.extend(self.helpers.iter().map(|helper| Value::String(helper.field.clone())));
        }
        wide.request(part, shards, 0, self.offset.saturating_add(self.limit))
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

fn sort_of(sort: Option<&Value>) -> Result<Vec<SortBy>, Obstacle> {
    match sort {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(criteria)) => {
            criteria.iter().map(|criterion| criterion.as_str().and_then(SortBy::parse).ok_or(Obstacle::Judge)).collect()
        }
        Some(_) => Err(Obstacle::Judge),
    }
}

/// `field` as a helper, where the client's own list of fields does not bring it.
fn helper(body: &Map<String, Value>, field: &str) -> Option<Helper> {
    let mut fields = body.get("fields")?.as_array()?.iter().filter_map(Value::as_str);
    let is_brought = fields.any(|name| name == "*" || is_at_or_below(field, name));
    (!is_brought).then(|| Helper { field: field.to_owned(), formatted: false })
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

// === impl SortBy ===

impl SortBy {
    fn parse(criterion: &str) -> Option<Self> {
        let (by, direction) = criterion.rsplit_once(':')?;
        let ascending = match direction {
            "asc" => true,
            "desc" => false,
            _ => return None,
        };
        Some(Self { field: (!by.starts_with("_geoPoint(")).then(|| by.to_owned()), ascending })
    }
}

// === impl DocumentPlan ===

impl DocumentPlan {
    /// Of one document. An id of documents of words finds nothing.
    pub fn new(index: &str, id: &str, query: &QueryMap, shards: u16) -> Result<Self, Obstacle> {
        let mut named = Map::new();
        named.insert("fields".into(), list(query.get("fields").unwrap_or_default()).into());
        reserved::check_search(&named)?;
        if is_words_id(id) {
            let message = format!("Document `{id}` not found.");
            return Err(Obstacle::Refuse(ResponseError::new(Code::DocumentNotFound, message)));
        }
        Ok(Self { index: index.to_owned(), id: id.to_owned(), shard: shard_of(id, shards) })
    }
}

impl Scattered for DocumentsPlan {
    fn kind(&self) -> ReadKind {
        ReadKind::Documents
    }

    /// Whatever the filter, documents are listed in one order.
    fn seed(&self) -> u64 {
        hash_bytes(self.index.as_bytes())
    }

    fn lasting(&self) -> Lasting<'_> {
        Lasting::Always
    }

    fn covers<'a>(&'a self, _: &'a NodeRequest, shards: u16) -> Vec<Covered<'a>> {
        let wanted = self.shards.clone().unwrap_or_else(|| ShardSet::all(shards));
        let request = move |part: &CoverPart, _| self.request(part, shards, self.offset, self.limit);
        vec![Covered { client: vec![&self.body], ..Covered::new(&self.index, wanted, self.seed(), request) }]
    }
}

impl Scattered for DocumentPlan {
    fn kind(&self) -> ReadKind {
        ReadKind::Documents
    }

    fn seed(&self) -> u64 {
        hash_bytes(self.id.as_bytes())
    }

    fn lasting(&self) -> Lasting<'_> {
        Lasting::Always
    }

    fn faults_are_the_clients(&self) -> bool {
        true
    }

    /// Its node gets the client's own request.
    fn covers<'a>(&'a self, original: &'a NodeRequest, _: u16) -> Vec<Covered<'a>> {
        let wanted = [self.shard].into_iter().collect();
        vec![Covered::new(&self.index, wanted, self.seed(), |_, _| original.clone())]
    }
}

#[cfg(test)]
mod tests {
    use crate::placement::vocabulary::no_words;
    use serde_json::json;

    use super::*;
    use crate::placement::cover::Besides;
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
        let part = CoverPart { node: NodeIx(0), shards: [ShardId(0)].into_iter().collect(), besides: Besides::Unknown };
        let request = plan(json!({"filter": "a = 1", "fields": ["id"]})).unwrap().request(&part, 16, 7, 8);
        assert_eq!(request.path, "/indexes/movies/documents/fetch");
        assert_eq!(
            serde_json::from_slice::<Value>(&request.body).unwrap(),
            json!({"filter": ["a = 1", "_miroir_shard IN [\"{{{{{{{{\"]"], "fields": ["id", "_miroir_written"], "offset": 7, "limit": 8})
        );
    }

    #[test]
    fn a_sorted_page_is_asked_for_from_its_first_document() {
        let part = CoverPart { node: NodeIx(0), shards: [ShardId(0)].into_iter().collect(), besides: Besides::Nothing };
        let plan = plan(json!({"sort": ["price:desc", "maker.name:asc"], "fields": ["id", "maker"], "offset": 7}));
        let request = plan.unwrap().request_sorted(&part, 1);
        assert_eq!(
            serde_json::from_slice::<Value>(&request.body).unwrap(),
            json!({"sort": ["price:desc", "maker.name:asc"], "fields": ["id", "maker", "price", "_miroir_written"], "offset": 0,
                "limit": 27, "filter": no_words()})
        );
    }

    #[test]
    fn criteria_of_a_sort_are_read() {
        let sort = |sort: Value| plan(json!({"sort": sort})).map(|plan| plan.sort);
        let by = |field: Option<&str>, ascending| SortBy { field: field.map(str::to_owned), ascending };
        let two = sort(json!(["a:b:asc", "_geoPoint(1, 2):desc"])).unwrap();
        assert_eq!(two, [by(Some("a:b"), true), by(None, false)]);
        assert_eq!(sort(Value::Null).unwrap(), []);
        for wrong in [json!("a:asc"), json!(["a"]), json!(["a:up"]), json!([1])] {
            assert!(matches!(sort(wrong.clone()), Err(Obstacle::Judge)), "{wrong}");
        }
        let query = DocumentsPlan::from_query("movies", &QueryMap::parse("sort=a:asc,b:desc"), 16).unwrap();
        assert_eq!(query.sort, [by(Some("a"), true), by(Some("b"), false)]);
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
        let ids =
            |query: &str| DocumentsPlan::from_query("movies", &QueryMap::parse(query), 16).unwrap().body["ids"].clone();
        assert_eq!((ids("ids="), ids("ids=1,,2")), (json!([]), json!(["1", "2"])));
        let star = DocumentsPlan::from_query("movies", &QueryMap::parse("fields=*"), 16).unwrap();
        assert_eq!(star.body["fields"], Value::Null);
    }

    #[test]
    fn what_the_engine_would_refuse_is_left_to_the_engine() {
        for body in [json!({"limit": -1}), json!({"filter": 1}), json!({"offset": null})] {
            assert!(matches!(plan(body.clone()), Err(Obstacle::Judge)), "{body}");
        }
        assert!(matches!(plan(json!({"nope": 1})), Err(Obstacle::Unserved(_))));
    }
}
