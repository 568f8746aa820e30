//! What nodes are asked of a federation.

use serde_json::{Map, Value};

use super::facets::PRESENTATION;
use super::federation::{FederatedQuery, FederationPlan, IndexQueries};
use super::filter;
use super::node_request::NodeRequest;
use super::scattered::{Covered, Lasting, ReadKind, Scattered};
use super::window::Paging;
use crate::placement::cover::CoverPart;
use crate::placement::shard::ShardSet;
use crate::placement::stable_hash::hash_bytes;

/// Which of an index's searches a node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Together,
    One(usize),
    /// One, with what it finds of facets.
    Counted(usize),
}

// === impl FederationPlan ===

impl FederationPlan {
    /// What the node of `part` is asked about `index`. When it is `alone`, and there is no other index, its page is the
    /// client's page.
    pub fn request(
        &self,
        index: &IndexQueries,
        which: Which,
        part: &CoverPart,
        shards: u16,
        alone: bool,
    ) -> NodeRequest {
        let relayed = alone && which == Which::Together && self.indexes.len() == 1;
        let mut queries: Vec<_> =
            index.asked(which).iter().map(|query| query.body(index, part, shards, relayed)).collect();
        let facets = match which {
            Which::Together | Which::Counted(_) => index.facets.as_ref(),
            Which::One(_) => None,
        };
        let mut federation = self.page(relayed);
        if let (Which::Together, Some(distinct)) = (which, &self.distinct) {
            // Of all searches, as far as they tell hits apart at all.
            let of_each = queries.iter_mut().map(|query| query.remove("distinct"));
            if of_each.fold(false, |any, one| any | one.is_some()) {
                federation.insert("distinct".into(), distinct.clone().into());
            }
        }
        let queries = queries.into_iter().map(Value::Object).collect();
        federated(queries, federation, facets.map(|facets| (index, facets.names.clone())))
    }

    /// Asks the node of `part` for one facet of `index`, of the documents found that `filter` lets through.
    pub fn request_facet(
        &self,
        index: &IndexQueries,
        facet: &str,
        filter: &str,
        part: &CoverPart,
        shards: u16,
    ) -> NodeRequest {
        let queries = index.queries.iter().map(|query| {
            let mut body = query.named(index);
            for name in PRESENTATION {
                body.remove(name);
            }
            body.insert("attributesToRetrieve".into(), Value::Array(Vec::new()));
            query.narrow(&mut body, part, shards);
            filter::and(&mut body, filter);
            body.into()
        });
        let page = Map::from_iter([("limit".to_owned(), 0.into())]);
        federated(queries.collect(), page, Some((index, vec![facet.to_owned()])))
    }

    fn page(&self, relayed: bool) -> Map<String, Value> {
        let reach = self.window().reach();
        let [first, second] = match self.paging {
            Paging::Offset { offset, limit } if relayed => [("offset", offset), ("limit", limit)],
            Paging::Offset { .. } => [("offset", 0), ("limit", reach)],
            // An empty page stays as it is: only its totals matter.
            Paging::Page { page, hits_per_page } if relayed || reach == 0 => {
                [("page", page), ("hitsPerPage", hits_per_page)]
            }
            Paging::Page { .. } => [("page", 1), ("hitsPerPage", reach)],
        };
        Map::from_iter([first, second].map(|(name, value)| (name.to_owned(), value.into())))
    }
}

impl Scattered for FederationPlan {
    fn kind(&self) -> ReadKind {
        ReadKind::Federation
    }

    fn seed(&self) -> u64 {
        hash_bytes(&self.identity())
    }

    fn lasting(&self) -> Lasting<'_> {
        let queries = self.indexes.iter().flat_map(|index| &index.queries);
        Lasting::of_all(queries.map(|query| query.search.lasting()))
    }

    fn covers<'a>(&'a self, _: &'a NodeRequest, shards: u16) -> Vec<Covered<'a>> {
        let mut covers = Vec::new();
        for index in &self.indexes {
            let each = (0..index.queries.len()).map(Which::One).filter(|_| index.apart.is_some());
            for which in [Which::Together].into_iter().chain(each) {
                let request = move |part: &CoverPart, alone| self.request(index, which, part, shards, alone);
                let client = index.asked(which).iter().map(|query| &query.search.body).collect();
                let covered = Covered::new(&index.index, ShardSet::all(shards), self.seed(), request);
                covers.push(Covered { client, ..covered });
            }
        }
        covers
    }
}

/// The request of a federation of `queries`, with the facets named of one index.
pub(super) fn federated(
    queries: Vec<Value>,
    mut federation: Map<String, Value>,
    facets: Option<(&IndexQueries, Vec<String>)>,
) -> NodeRequest {
    if let Some((index, names)) = facets {
        let by_index = Map::from_iter([(index.index.clone(), names.into())]);
        federation.insert("facetsByIndex".into(), by_index.into());
    }
    let members = [("queries", Value::Array(queries)), ("federation", federation.into())];
    NodeRequest::post("/multi-search", &Map::from_iter(members.map(|(name, value)| (name.to_owned(), value))))
}

// === impl IndexQueries ===

impl IndexQueries {
    /// Its searches that `which` names; none where there are fewer than that.
    pub fn asked(&self, which: Which) -> &[FederatedQuery] {
        match which {
            Which::Together => &self.queries,
            Which::One(at) | Which::Counted(at) => self.queries.get(at..=at).unwrap_or_default(),
        }
    }
}

// === impl FederatedQuery ===

impl FederatedQuery {
    fn body(&self, index: &IndexQueries, part: &CoverPart, shards: u16, relayed: bool) -> Map<String, Value> {
        let mut body = self.named(index);
        self.narrow(&mut body, part, shards);
        if !relayed {
            self.search.show_ranks(&mut body);
        }
        if self.weight != 1.0 {
            let options = Map::from_iter([("weight".to_owned(), self.weight.into())]);
            body.insert("federationOptions".into(), options.into());
        }
        body
    }

    fn named(&self, index: &IndexQueries) -> Map<String, Value> {
        let mut body = Map::from_iter([("indexUid".to_owned(), index.index.clone().into())]);
        body.extend(self.search.body.clone());
        body
    }

    fn narrow(&self, body: &mut Map<String, Value>, part: &CoverPart, shards: u16) {
        body.insert("filter".into(), filter::with_shards(body.get("filter"), part, shards));
    }
}
