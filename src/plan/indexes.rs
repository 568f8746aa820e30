//! The list of indexes: one node's, of which the gateway shows the page.

use serde::Serialize;

use super::forward::Forward;
use super::node_request::NodeRequest;
use crate::meili::query::QueryMap;
use crate::placement::topology::{NodeIx, Topology};

/// What a node is asked, and what is shown of its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexList {
    /// The nodes that may answer, best first.
    pub candidates: Vec<NodeIx>,
    pub request: NodeRequest,
    pub page: IndexPage,
}

/// Which indexes are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum IndexPage {
    /// These of all that the client may see: the node is asked for all of them.
    OfAll { offset: usize, limit: usize },
    /// The request makes no sense, and the node says so in the engine's words. What it does not object to, Miroir does not
    /// know: `?size=3` on an engine that is newer than this.
    Judged,
}

// === impl IndexList ===

impl IndexList {
    /// `path` is the client's, with its query.
    pub(super) fn new(path: &str, query: &QueryMap, topology: &Topology) -> Self {
        let page = page(query).unwrap_or(IndexPage::Judged);
        let request = match page {
            IndexPage::OfAll { .. } => NodeRequest::get(format!("/indexes?limit={}", u32::MAX)),
            IndexPage::Judged => NodeRequest::get(path),
        };
        Self { candidates: Forward::to_any(topology).candidates, request, page }
    }
}

fn page(query: &QueryMap) -> Option<IndexPage> {
    if query.iter().any(|(name, _)| !matches!(name, "offset" | "limit")) {
        return None;
    }
    let number = |name: &str, default: usize| query.get(name).map_or(Some(default), |text| text.parse().ok());
    Some(IndexPage::OfAll { offset: number("offset", 0)?, limit: number("limit", 20)? })
}
