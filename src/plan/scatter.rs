//! A read that nodes answer for the shards they cover, as data.

use crate::meili::error::ResponseError;
use crate::meili::settings::Setting;
use serde::Serialize;
use serde_json::{Map, Value};

use super::broadcast::HiddenPart;
use super::documents::{DocumentPlan, DocumentsPlan};
use super::facet_search::FacetSearchPlan;
use super::federation::FederationPlan;
use super::fields::FieldsPlan;
use super::multi_search::MultiSearchPlan;
use super::render::RenderPlan;
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
    Render(RenderPlan),
    Stats(StatsPlan),
}

/// Whether an answer is still the answer another time, if nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lasting<'a> {
    /// It is about the moment, or an embedder may make another vector of the same words.
    Never,
    Always,
    /// If none of these indexes' searches ran out of its time: then it shows what was found by then.
    IfInTime {
        indexes: Vec<&'a str>,
    },
}

// === impl Ask ===

impl Ask {
    pub fn lasting(&self) -> Lasting<'_> {
        let searches: Vec<&SearchPlan> = match self {
            Self::Judge
            | Self::Refused(_)
            | Self::Settings
            | Self::Setting { .. }
            | Self::Fields(_)
            | Self::Render(_)
            | Self::Stats(_) => {
                return Lasting::Never;
            }
            Self::Documents(_) | Self::Document(_) => return Lasting::Always,
            Self::Similar(plan) => return Lasting::IfInTime { indexes: vec![&plan.index] },
            Self::FacetSearch(plan) if embeds(&plan.body) => return Lasting::Never,
            Self::FacetSearch(plan) => return Lasting::IfInTime { indexes: vec![&plan.index] },
            Self::Search(plan) => vec![plan],
            Self::MultiSearch(plan) => plan.queries.iter().collect(),
            Self::Federation(plan) => {
                plan.indexes.iter().flat_map(|index| &index.queries).map(|query| &query.search).collect()
            }
        };
        if searches.iter().any(|search| embeds(&search.body)) {
            return Lasting::Never;
        }
        Lasting::IfInTime { indexes: searches.into_iter().map(|search| search.index.as_str()).collect() }
    }
}

/// True if nodes make a vector of what a search says.
fn embeds(search: &Map<String, Value>) -> bool {
    let gives = |name: &str| search.get(name).is_some_and(|value| !value.is_null());
    gives("hybrid") && !gives("vector")
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
