//! The list of indexes: one node's, of which the gateway shows the page.

use serde::Serialize;

use super::forward::Forward;
use super::node_request::NodeRequest;
use super::{Obstacle, known};
use crate::meili::query::QueryMap;
use crate::placement::topology::{NodeIx, Topology};

/// What a node is asked, and what is shown of its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexList {
    /// The nodes that may answer, best first.
    pub candidates: Vec<NodeIx>,
    /// Asks for all indexes: which of them a page shows depends on those that the client may see.
    pub request: NodeRequest,
    pub page: IndexPage,
}

/// Which are shown of the indexes that the client may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexPage {
    pub offset: usize,
    pub limit: usize,
}

// === impl IndexList ===

impl IndexList {
    /// What an engine may know and Miroir does not is unserved: `?size=3` on an engine that is newer than this.
    pub(super) fn new(query: &QueryMap, topology: &Topology) -> Result<Self, Obstacle> {
        if query.iter().any(|(name, _)| !matches!(name, "offset" | "limit")) {
            return Err(Obstacle::Unserved(known::not_understood()));
        }
        let number = |name: &str, default: usize| match query.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| Obstacle::Judge),
        };
        let page = IndexPage { offset: number("offset", 0)?, limit: number("limit", 20)? };
        let request = NodeRequest::get(format!("/indexes?limit={}", u32::MAX));
        Ok(Self { candidates: Forward::to_any(topology).candidates, request, page })
    }
}
