//! A search among the values of a facet.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::placement::cover::CoverPart;
use crate::placement::shard::ShardSet;
use crate::placement::stable_hash::hash_bytes;

use super::Obstacle;
use super::filter;
use super::index_info::{FacetOrder, IndexInfo};
use super::known;
use super::node_request::NodeRequest;
use super::reserved;
use super::scattered::{Covered, Lasting, ReadKind, Scattered};

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FacetSearchPlan {
    pub index: String,
    pub facet: String,
    /// As the client sent it.
    pub body: Map<String, Value>,
    pub order: FacetOrder,
    pub max_values: usize,
    /// True if values are searched for, false if they are only listed: the engine orders the two differently.
    pub searched: bool,
    /// True if only the best document of each distinct value is counted, of which no node knows those of others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub distinct: bool,
}

// === impl FacetSearchPlan ===

impl Scattered for FacetSearchPlan {
    fn kind(&self) -> ReadKind {
        ReadKind::FacetSearch
    }

    fn seed(&self) -> u64 {
        hash_bytes(&self.identity())
    }

    fn lasting(&self) -> Lasting<'_> {
        Lasting::of_search(&self.index, &self.body)
    }

    fn covers<'a>(&'a self, _: &'a NodeRequest, shards: u16) -> Vec<Covered<'a>> {
        let request = move |part: &CoverPart, _| self.request(part, shards, None);
        let covered = Covered::new(&self.index, ShardSet::all(shards), self.seed(), request);
        vec![Covered { client: vec![&self.body], ..covered }]
    }
}

impl FacetSearchPlan {
    /// Of a POST body. [`Obstacle::Judge`] where it names no facet or the filter is none.
    pub fn new(info: &IndexInfo, body: Map<String, Value>) -> Result<Self, Obstacle> {
        let Some(Value::String(facet)) = body.get("facetName") else { return Err(Obstacle::Judge) };
        if body.get("filter").is_some_and(|filter| !filter::has_shape(filter)) {
            return Err(Obstacle::Judge);
        }
        reserved::check_search(&body)?;
        known::check(&body, known::FACET_SEARCH)?;
        Ok(Self {
            index: info.uid.clone(),
            facet: facet.clone(),
            order: info.order_of(facet),
            max_values: info.max_values_per_facet,
            distinct: info.distinct.is_some(),
            searched: body.get("facetQuery").is_some_and(|query| !query.is_null()),
            body,
        })
    }

    /// What the node of `part` is asked, narrowed by one more filter expression if there is one.
    pub fn request(&self, part: &CoverPart, shards: u16, more: Option<&str>) -> NodeRequest {
        let mut body = self.body.clone();
        body.insert("filter".into(), filter::with_shards(body.get("filter"), part, shards));
        if let Some(more) = more {
            filter::and(&mut body, more);
        }
        NodeRequest::post(format!("/indexes/{}/facet-search", self.index), &body)
    }

    /// Where a cover sticks: the same search always goes the same way.
    pub fn identity(&self) -> Vec<u8> {
        let mut identity = self.index.as_bytes().to_vec();
        identity.push(0);
        serde_json::to_writer(&mut identity, &self.body).expect("a JSON value always serializes into memory");
        identity
    }
}
