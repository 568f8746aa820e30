//! Documents like one document.
//!
//! Only the nodes that hold the document know its vectors. One of them is asked for these, and then all nodes of a cover
//! which of their documents lie near.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::shown::{Helper, Shown};
use crate::meili::error::{Code, ResponseError};
use crate::meili::query::QueryMap;
use crate::placement::cover::CoverPart;
use crate::placement::document::{normalize_id, shard_of};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::stable_hash::hash_bytes;

use super::Obstacle;
use super::filter;
use super::index_info::IndexInfo;
use super::known;
use super::node_request::NodeRequest;
use super::query_search;
use super::reserved;
use super::scattered::{Covered, Lasting, ReadKind, Scattered};
use super::search_body::helper;

const DEFAULT_LIMIT: u64 = 20;
const PERFORMANCE: &str = "showPerformanceDetails";

/// The document itself is no hit.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SimilarPlan {
    pub index: String,
    /// As the engine normalises it.
    pub id: String,
    pub shard: ShardId,
    pub embedder: String,
    /// The client's request, in the form of a POST body.
    pub body: Map<String, Value>,
    pub offset: u64,
    pub limit: u64,
    /// Hits with a lower score are left out.
    pub threshold: Option<f64>,
    pub shown: Shown,
    /// Whether the answer says how long it took. Nodes are not asked for theirs.
    pub performance: bool,
    /// `None` while it is not known.
    pub primary_key: Option<String>,
    /// How many hits a search can list.
    pub max_total_hits: u64,
    /// Why searches of several nodes could not be compared, if they cannot.
    pub obstacle: Option<&'static str>,
    /// True if a search by a vector lists the nearest first. Example where not: the ranking rules begin with `price:asc`, and the cheapest
    /// are listed first.
    pub nearest_first: bool,
    /// True if a search leaves out documents with a value that another one has. Example: two films of one maker, the distinct attribute.
    /// Both are like a third film, and a search would list only one of them: so nodes are asked to tell hits apart by their keys.
    pub distinct: bool,
}

/// The body that asks the same as a query string; an obstacle where the engine would refuse that.
pub fn body_of(query: &QueryMap) -> Result<Map<String, Value>, Obstacle> {
    let mut body = Map::new();
    for (name, text) in query.iter() {
        let value: Value = match name {
            "id" | "embedder" => text.into(),
            "offset" | "limit" => query_search::count(text)?.into(),
            "retrieveVectors" | "showRankingScore" | "showRankingScoreDetails" | PERFORMANCE => {
                query_search::flag(text)?.into()
            }
            "attributesToRetrieve" => query_search::list(text).into(),
            "filter" => query_search::filter(text),
            "rankingScoreThreshold" => query_search::number(text)?,
            _ => return Err(known::unserved(name)),
        };
        body.insert(name.to_owned(), value);
    }
    Ok(body)
}

// === impl SimilarPlan ===

impl SimilarPlan {
    /// Of a POST body.
    pub fn new(info: &IndexInfo, mut body: Map<String, Value>, shards: u16) -> Result<Self, Obstacle> {
        const KNOWN: &[&str] = &[
            "id",
            "embedder",
            "offset",
            "limit",
            "filter",
            "attributesToRetrieve",
            "retrieveVectors",
            "showRankingScore",
            "showRankingScoreDetails",
            PERFORMANCE,
            "rankingScoreThreshold",
        ];
        known::check(&body, KNOWN)?;
        // Older engines do not know it.
        if body.contains_key(PERFORMANCE) && !info.searches_from_the_first {
            return Err(Obstacle::Judge);
        }
        if body.get("filter").is_some_and(|filter| !filter::has_shape(filter)) {
            return Err(Obstacle::Judge);
        }
        reserved::check_search(&body)?;
        let id = body.get("id").and_then(normalize_id).ok_or(Obstacle::Judge)?;
        let embedder = body.get("embedder").and_then(Value::as_str).ok_or(Obstacle::Judge)?.to_owned();
        let number = |name: &str, default| match body.get(name) {
            None => Ok(default),
            Some(value) => value.as_u64().ok_or(Obstacle::Judge),
        };
        let flag = |name: &str| match body.get(name) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or(Obstacle::Judge),
        };
        flag("retrieveVectors")?;
        let performance = flag(PERFORMANCE)?;
        let threshold = match body.get("rankingScoreThreshold") {
            None | Some(Value::Null) => None,
            Some(threshold) => Some(threshold.as_f64().ok_or(Obstacle::Judge)?),
        };
        let (score, details) = (flag("showRankingScore")?, flag("showRankingScoreDetails")?);
        let (offset, limit) = (number("offset", 0)?, number("limit", DEFAULT_LIMIT)?);
        body.remove(PERFORMANCE);
        Ok(Self {
            index: info.uid.clone(),
            shard: shard_of(&id, shards),
            id,
            embedder,
            offset,
            limit,
            threshold,
            shown: Shown { score, details, helpers: key_helper(info, &body) },
            performance,
            primary_key: info.primary_key.clone(),
            max_total_hits: info.max_total_hits as u64,
            obstacle: obstacle(info),
            nearest_first: info.ranking_rules.iter().find(|rule| *rule != "sort").is_some_and(|rule| !is_sort(rule)),
            distinct: info.distinct.is_some(),
            body,
        })
    }

    /// Of a query string.
    pub fn from_query(info: &IndexInfo, query: &QueryMap, shards: u16) -> Result<Self, Obstacle> {
        Self::new(info, body_of(query)?, shards)
    }

    /// Asks a node that holds everything.
    pub fn request_whole(&self, part: &CoverPart, shards: u16) -> NodeRequest {
        let mut body = self.body.clone();
        body.insert("filter".into(), filter::with_shards(body.get("filter"), part, shards));
        NodeRequest::post(format!("/indexes/{}/similar", self.index), &body)
    }

    /// Asks a node that holds the document for its vectors.
    pub fn request_vectors(&self) -> NodeRequest {
        let mut body = self.only_the_document();
        body.insert("retrieveVectors".into(), true.into());
        body.insert("fields".into(), Value::Array(self.primary_key.iter().cloned().map(Value::String).collect()));
        NodeRequest::post(format!("/indexes/{}/documents/fetch", self.index), &body)
    }

    /// Asks a node that holds the document whether it passes the filter itself.
    pub fn request_own(&self) -> NodeRequest {
        let mut body = self.only_the_document();
        if let Some(filter) = self.body.get("filter") {
            body.insert("filter".into(), filter.clone());
        }
        body.insert("fields".into(), Value::Array(Vec::new()));
        NodeRequest::post(format!("/indexes/{}/documents/fetch", self.index), &body)
    }

    fn only_the_document(&self) -> Map<String, Value> {
        Map::from_iter([("ids".to_owned(), json!([self.id]))])
    }

    /// Asks the node of `part` for its documents near each of `vectors`, each a query of its own.
    pub fn request_near(&self, vectors: &[Value], part: &CoverPart, shards: u16) -> NodeRequest {
        let mut query = self.shared(part, shards);
        let limit = if self.nearest_first { self.reach() } else { self.max_total_hits };
        query.insert("limit".into(), limit.into());
        query.insert("hybrid".into(), json!({"embedder": self.embedder, "semanticRatio": 1.0}));
        query.insert("showRankingScore".into(), true.into());
        query.insert("showRankingScoreDetails".into(), true.into());
        for name in ["attributesToRetrieve", "retrieveVectors"] {
            if let Some(value) = self.body.get(name) {
                query.insert(name.into(), value.clone());
            }
        }
        if let Some(Value::Array(attributes)) = query.get_mut("attributesToRetrieve") {
            attributes.extend(self.shown.helpers.iter().map(|helper| Value::String(helper.field.clone())));
        }
        if self.distinct {
            // Each document is the only one with its key: nothing is left out.
            query.insert("distinct".into(), self.primary_key.clone().into());
        }
        let queries = vectors.iter().map(|vector| {
            let mut query = query.clone();
            query.insert("vector".into(), vector.clone());
            Value::Object(query)
        });
        NodeRequest::post("/multi-search", &Map::from_iter([("queries".to_owned(), queries.collect())]))
    }

    /// Asks the node of `part` how many documents pass the filter.
    pub fn request_count(&self, part: &CoverPart, shards: u16) -> NodeRequest {
        let mut query = self.shared(part, shards);
        query.insert("limit".into(), 0.into());
        let queries = Value::Array(vec![query.into()]);
        NodeRequest::post("/multi-search", &Map::from_iter([("queries".to_owned(), queries)]))
    }

    fn shared(&self, part: &CoverPart, shards: u16) -> Map<String, Value> {
        let mut query = Map::new();
        query.insert("indexUid".into(), self.index.clone().into());
        query.insert("filter".into(), filter::with_shards(self.body.get("filter"), part, shards));
        query
    }

    /// How many hits each node is asked for: those up to the end of the page, and the document itself.
    fn reach(&self) -> u64 {
        self.offset.saturating_add(self.limit).saturating_add(1).min(self.max_total_hits)
    }

    /// True if a node that lists `listed` documents may have more that belong into the page.
    pub fn may_be_cut(&self, listed: u64) -> bool {
        let wanted = self.offset.saturating_add(self.limit).saturating_add(1);
        listed >= self.max_total_hits && (!self.nearest_first || listed < wanted)
    }

    /// The same for every page.
    pub fn identity(&self) -> Vec<u8> {
        let mut identity = self.index.as_bytes().to_vec();
        identity.push(0);
        identity.extend_from_slice(self.id.as_bytes());
        identity
    }
}

impl Scattered for SimilarPlan {
    fn kind(&self) -> ReadKind {
        ReadKind::Similar
    }

    fn seed(&self) -> u64 {
        hash_bytes(&self.identity())
    }

    fn lasting(&self) -> Lasting<'_> {
        Lasting::IfInTime { indexes: vec![&self.index] }
    }

    fn faults_are_the_clients(&self) -> bool {
        true
    }

    /// What the document's vectors are is not known yet.
    fn covers<'a>(&'a self, _: &'a NodeRequest, shards: u16) -> Vec<Covered<'a>> {
        let holder = [self.shard].into_iter().collect();
        let near = move |part: &CoverPart, _| self.request_near(&[Value::Null], part, shards);
        vec![
            Covered::new(&self.index, holder, self.seed(), |_, _| self.request_vectors()),
            Covered::new(&self.index, ShardSet::all(shards), self.seed(), near),
        ]
    }
}

fn key_helper(info: &IndexInfo, body: &Map<String, Value>) -> Vec<Helper> {
    info.primary_key.as_deref().and_then(|key| helper(body, key)).into_iter().collect()
}

/// The refusal where several nodes have to answer, and `why`.
pub fn not_comparable(why: &str) -> ResponseError {
    let message = format!("Similar documents cannot be compared over several nodes: {why}.");
    ResponseError::new(Code::MiroirNotSupported, message)
}

fn obstacle(info: &IndexInfo) -> Option<&'static str> {
    if info.primary_key.as_deref().is_some_and(|key| !info.shows(key)) {
        return Some("the primary key is not among the displayed attributes");
    }
    (!info.ranks_words()).then_some("no ranking rule is about words, for which vectors stand in")
}

fn is_sort(rule: &str) -> bool {
    rule.ends_with(":asc") || rule.ends_with(":desc")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::cover::Besides;
    use crate::placement::topology::NodeIx;

    fn info() -> IndexInfo {
        IndexInfo { primary_key: Some("id".into()), ..IndexInfo::new("movies") }
    }

    fn plan(body: Value) -> Result<SimilarPlan, Obstacle> {
        let Value::Object(body) = body else { panic!("a request is an object") };
        SimilarPlan::new(&info(), body, 16)
    }

    fn part() -> CoverPart {
        CoverPart { node: NodeIx(0), shards: [ShardId(0)].into_iter().collect(), besides: Besides::Unknown }
    }

    #[test]
    fn nodes_are_asked_for_what_lies_near_each_vector() {
        let plan = plan(json!({
            "id": 7, "embedder": "e", "offset": 2, "limit": 3, "filter": "a = 1", "attributesToRetrieve": ["b"],
            "retrieveVectors": true, "rankingScoreThreshold": 0.5,
        }));
        let request = plan.unwrap().request_near(&[json!([1.0]), json!([0.5])], &part(), 16);
        assert_eq!(request.path, "/multi-search");
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let query = |vector: f64| {
            json!({
                "indexUid": "movies", "filter": ["a = 1", "_miroir_shard IN [\"{{{{{{{{\"]"], "limit": 6,
                "vector": [vector], "hybrid": {"embedder": "e", "semanticRatio": 1.0}, "retrieveVectors": true,
                "attributesToRetrieve": ["b", "id"], "showRankingScore": true, "showRankingScoreDetails": true,
            })
        };
        assert_eq!(body, json!({"queries": [query(1.0), query(0.5)]}));
    }

    #[test]
    fn the_vectors_of_the_document_are_asked_of_its_shard() {
        let plan = plan(json!({"id": "a-1", "embedder": "e", "filter": "a = 1"})).unwrap();
        assert_eq!(plan.shard, shard_of("a-1", 16));
        let body = |request: NodeRequest| serde_json::from_slice::<Value>(&request.body).unwrap();
        assert_eq!(plan.request_vectors().path, "/indexes/movies/documents/fetch");
        assert_eq!(body(plan.request_vectors()), json!({"ids": ["a-1"], "retrieveVectors": true, "fields": ["id"]}));
        assert_eq!(body(plan.request_own()), json!({"ids": ["a-1"], "filter": "a = 1", "fields": []}));
    }

    #[test]
    fn how_long_it_took_is_not_asked_of_nodes_and_of_older_ones_not_at_all() {
        let body = json!({"id": 7, "embedder": "e", "showPerformanceDetails": true});
        assert!(matches!(plan(body.clone()), Err(Obstacle::Judge)));
        let newer = IndexInfo { searches_from_the_first: true, ..info() };
        let plan = SimilarPlan::new(&newer, body.as_object().unwrap().clone(), 16).unwrap();
        assert!(plan.performance);
        assert_eq!(Value::from(plan.body), json!({"id": 7, "embedder": "e"}));
    }

    #[test]
    fn a_query_string_is_the_same_request_as_a_body() {
        let query = QueryMap::parse("id=7&embedder=e&limit=2&attributesToRetrieve=a,b&rankingScoreThreshold=0.5");
        let plan = SimilarPlan::from_query(&info(), &query, 16).unwrap();
        let want = json!({
            "id": "7", "embedder": "e", "limit": 2, "attributesToRetrieve": ["a", "b"], "rankingScoreThreshold": 0.5
        });
        assert_eq!((Value::Object(plan.body), plan.threshold), (want, Some(0.5)));
    }

    #[test]
    fn what_the_engine_would_refuse_is_left_to_the_engine() {
        for body in [
            json!({"embedder": "e"}),
            json!({"id": 1}),
            json!({"id": [], "embedder": "e"}),
            json!({"id": 1, "embedder": "e", "limit": null}),
            json!({"id": 1, "embedder": "e", "filter": 7}),
            json!({"id": 1, "embedder": "e", "retrieveVectors": 7}),
        ] {
            assert!(matches!(plan(body.clone()), Err(Obstacle::Judge)), "{body}");
        }
        assert!(matches!(plan(json!({"id": 1, "embedder": "e", "nope": 1})), Err(Obstacle::Unserved(_))));
        let reserved = json!({"id": 1, "embedder": "e", "filter": "_miroir_shard = 1"});
        assert!(matches!(plan(reserved), Err(Obstacle::Refuse(_))));
    }

    #[test]
    fn a_list_that_ends_at_the_most_hits_may_be_cut() {
        let mut plan = plan(json!({"id": 1, "embedder": "e", "limit": 2000})).unwrap();
        assert!(plan.may_be_cut(1000) && !plan.may_be_cut(999));
        plan.limit = 10;
        assert!(!plan.may_be_cut(11));
        plan.nearest_first = false;
        assert!(plan.may_be_cut(1000) && !plan.may_be_cut(11));
    }
}
