//! A read that nodes answer for the shards they cover, as data.

use crate::meili::error::ResponseError;
use crate::meili::settings::Setting;
use serde::Serialize;

use super::broadcast::HiddenPart;
use super::documents::{DocumentPlan, DocumentsPlan};
use super::facet_search::FacetSearchPlan;
use super::federation::FederationPlan;
use super::fields::FieldsPlan;
use super::multi_search::MultiSearchPlan;
use super::search::SearchPlan;
use super::similar::SimilarPlan;
use super::stats::StatsPlan;

/// A request to one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRequest {
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// JSON, or empty.
    #[serde(serialize_with = "as_text")]
    pub body: Vec<u8>,
}

/// What is asked of the nodes and how their answers become one.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scatter {
    /// The client's request as it came: a node that finds fault with its own part is asked to judge this one, so that
    /// the client reads the engine's words about what it wrote.
    pub original: NodeRequest,
    /// Chooses among equal covers: the same for every page of a query, so that pages do not bounce between replicas.
    pub seed: u64,
    pub ask: Ask,
}

/// The kinds of scattered reads.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Ask {
    /// The request looks wrong or names an unknown index: one node says what the engine says of it.
    Judge,
    /// Several nodes have to answer, and cannot: one says what is wrong with the request, as with [`Ask::Judge`]; if nothing
    /// is, this is the answer.
    Refused(ResponseError),
    /// One node's settings, without the hidden part.
    Settings,
    /// One setting as a node has it, without the hidden part.
    Setting {
        setting: Setting,
        hidden: HiddenPart,
    },
    Search(Box<SearchPlan>),
    FacetSearch(FacetSearchPlan),
    MultiSearch(MultiSearchPlan),
    Similar(Box<SimilarPlan>),
    Fields(FieldsPlan),
    Federation(Box<FederationPlan>),
    Documents(DocumentsPlan),
    Document(DocumentPlan),
    Stats(StatsPlan),
}

// === impl NodeRequest ===

impl NodeRequest {
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), body: Vec::new() }
    }

    pub fn post(path: impl Into<String>, body: &serde_json::Map<String, serde_json::Value>) -> Self {
        let body = serde_json::to_vec(body).expect("a JSON value always serializes into memory");
        Self { method: "POST", path: path.into(), body }
    }
}

fn as_text<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}
