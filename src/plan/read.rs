//! Plans every operation that changes nothing.

use serde_json::{Map, Value};

use crate::meili::operation::Read;
use crate::meili::query::QueryMap;
use crate::placement::topology::Topology;

use super::broadcast::HiddenPart;
use super::documents::{DocumentPlan, DocumentsPlan};
use super::facet_search::FacetSearchPlan;
use super::fields::FieldsPlan;
use super::forward::Forward;
use super::index_info::{IndexInfo, Infos};
use super::indexes::IndexList;
use super::joins::Joins;
use super::multi_search;
use super::query_search;
use super::render::{self, RenderPlan};
use super::scatter::{Ask, NodeRequest, Scatter};
use super::search::SearchPlan;
use super::similar::SimilarPlan;
use super::stats::StatsPlan;
use super::{Obstacle, Plan};

/// The indexes whose settings [`plan`] needs in its `infos`.
pub fn indexes(read: &Read, body: &[u8]) -> Vec<String> {
    match read {
        Read::MultiSearch => multi_search::indexes(body),
        Read::RenderTemplate => render::indexes(body),
        Read::SearchGet { index }
        | Read::SearchPost { index }
        | Read::FacetSearch { index }
        | Read::SimilarGet { index }
        | Read::SimilarPost { index }
        | Read::ListDocuments { index }
        | Read::FetchDocuments { index }
        | Read::ListFields { index }
        | Read::IndexStats { index } => vec![index.clone()],
        Read::Version
        | Read::Stats
        | Read::ListIndexes
        | Read::GetIndex { .. }
        | Read::GetDocument { .. }
        | Read::GetSettings { .. }
        | Read::GetSetting { .. }
        | Read::GetExperimentalFeatures
        | Read::GetNetwork
        | Read::ListDynamicSearchRules
        | Read::GetDynamicSearchRule { .. } => Vec::new(),
    }
}

/// The plan of a read. `path` is the request's path and query as the client wrote them.
pub fn plan(read: &Read, path: &str, body: &[u8], infos: &Infos, topology: &Topology) -> Plan {
    let request = Request { path, body, infos, shards: topology.shards };
    match read {
        // Nodes are in no network: what they say of it is that there is none.
        Read::Version | Read::GetIndex { .. } | Read::GetExperimentalFeatures | Read::GetNetwork => {
            Plan::Forward(Forward::to_any(topology))
        }
        Read::ListDynamicSearchRules => request.scatter("POST", path, Ask::DynamicSearchRules),
        Read::GetDynamicSearchRule { .. } => request.scatter("GET", path, Ask::DynamicSearchRules),
        Read::GetSetting { setting, .. } => match HiddenPart::of(*setting) {
            Some(hidden) => request.scatter("GET", path, Ask::Setting { setting: *setting, hidden }),
            None => Plan::Forward(Forward::to_any(topology)),
        },
        Read::ListIndexes => match IndexList::new(&request.query(), topology) {
            Ok(list) => Plan::List(list),
            Err(obstacle) => request.instead("GET", obstacle),
        },
        Read::GetSettings { .. } => request.scatter("GET", path, Ask::Settings),
        Read::Stats => request.scatter("GET", path, Ask::Stats(StatsPlan::AllIndexes)),
        Read::IndexStats { index } => request.read("GET", request.index_stats(index)),
        Read::SearchGet { index } => request.read("GET", request.search_get(index)),
        Read::SearchPost { index } => request.read("POST", request.search_post(index)),
        Read::FacetSearch { index } => request.read("POST", request.facet_search(index)),
        Read::MultiSearch => request.read("POST", request.multi_search()),
        Read::ListDocuments { index } => request.read("GET", request.list_documents(index)),
        Read::FetchDocuments { index } => request.read("POST", request.fetch_documents(index)),
        Read::ListFields { index } => request.read("POST", request.fields(index)),
        Read::GetDocument { index, id } => request.read("GET", request.document(index, id)),
        Read::SimilarGet { index } => request.read("GET", request.similar_get(index)),
        Read::SimilarPost { index } => request.read("POST", request.similar_post(index)),
        Read::RenderTemplate => request.read("POST", request.render()),
    }
}

/// What every read is planned from.
struct Request<'a> {
    path: &'a str,
    body: &'a [u8],
    infos: &'a Infos,
    shards: u16,
}

// === impl Request ===

impl Request<'_> {
    /// A read, or what takes its place: the engine's word on a request that is wrong, or Miroir's refusal.
    fn read(&self, method: &'static str, ask: Result<Ask, Obstacle>) -> Plan {
        match ask {
            Ok(ask) => self.scatter(method, self.path, ask),
            Err(obstacle) => self.instead(method, obstacle),
        }
    }

    /// What takes the place of a read.
    fn instead(&self, method: &'static str, obstacle: Obstacle) -> Plan {
        match obstacle {
            Obstacle::Judge => self.scatter(method, self.path, Ask::Judge),
            Obstacle::Unserved(error) => self.scatter(method, self.path, Ask::Refused(error)),
            Obstacle::Refuse(error) => Plan::Refuse(error),
        }
    }

    fn scatter(&self, method: &'static str, path: &str, ask: Ask) -> Plan {
        let body = if method == "GET" { Vec::new() } else { self.body.to_vec() };
        let seed = ask.plan().seed();
        let joins = Joins::of(ask.searched().into_iter(), self.infos);
        let original = NodeRequest { method, path: path.to_owned(), body };
        Plan::Scatter(Box::new(Scatter { original, seed, ask, joins }))
    }

    fn info(&self, index: &str) -> Result<&IndexInfo, Obstacle> {
        self.infos.get(index).map(|info| info.as_ref()).ok_or(Obstacle::Judge)
    }

    fn query(&self) -> QueryMap {
        QueryMap::parse(self.path.split_once('?').map_or("", |(_, query)| query))
    }

    fn json(&self) -> Result<Map<String, Value>, Obstacle> {
        serde_json::from_slice(self.body).map_err(|_| Obstacle::Judge)
    }

    fn search_get(&self, index: &str) -> Result<Ask, Obstacle> {
        let body = query_search::body(&self.query())?;
        let info = self.info(index)?;
        // An older engine refuses it in the words for parameters, which are not those for fields of a body.
        if body.contains_key("showPerformanceDetails") && !info.searches_from_the_first {
            return Err(Obstacle::Judge);
        }
        Ok(Ask::Search(Box::new(SearchPlan::new(info, body)?)))
    }

    fn search_post(&self, index: &str) -> Result<Ask, Obstacle> {
        Ok(Ask::Search(Box::new(SearchPlan::new(self.info(index)?, self.json()?)?)))
    }

    fn facet_search(&self, index: &str) -> Result<Ask, Obstacle> {
        Ok(Ask::FacetSearch(FacetSearchPlan::new(self.info(index)?, self.json()?)?))
    }

    fn multi_search(&self) -> Result<Ask, Obstacle> {
        multi_search::plan(&self.json()?, self.infos)
    }

    fn similar_get(&self, index: &str) -> Result<Ask, Obstacle> {
        let plan = SimilarPlan::from_query(self.info(index)?, &self.query(), self.shards)?;
        Ok(Ask::Similar(Box::new(plan)))
    }

    fn similar_post(&self, index: &str) -> Result<Ask, Obstacle> {
        Ok(Ask::Similar(Box::new(SimilarPlan::new(self.info(index)?, self.json()?, self.shards)?)))
    }

    fn list_documents(&self, index: &str) -> Result<Ask, Obstacle> {
        self.info(index)?;
        Ok(Ask::Documents(DocumentsPlan::from_query(index, &self.query(), self.shards)?))
    }

    fn fetch_documents(&self, index: &str) -> Result<Ask, Obstacle> {
        self.info(index)?;
        Ok(Ask::Documents(DocumentsPlan::new(index, self.json()?, self.shards)?))
    }

    fn fields(&self, index: &str) -> Result<Ask, Obstacle> {
        self.info(index)?;
        Ok(Ask::Fields(FieldsPlan::new(index, self.json()?)?))
    }

    fn render(&self) -> Result<Ask, Obstacle> {
        Ok(Ask::Render(RenderPlan::new(self.json()?, self.shards)?))
    }

    fn document(&self, index: &str, id: &str) -> Result<Ask, Obstacle> {
        Ok(Ask::Document(DocumentPlan::new(index, id, &self.query(), self.shards)?))
    }

    fn index_stats(&self, index: &str) -> Result<Ask, Obstacle> {
        self.info(index)?;
        Ok(Ask::Stats(StatsPlan::Index { index: index.to_owned() }))
    }
}
