//! A read that nodes answer for the shards they cover, as data.

use crate::meili::error::ResponseError;
use crate::meili::settings::Setting;
use serde::Serialize;

use super::broadcast::HiddenPart;
use super::documents::{DocumentPlan, DocumentsPlan};
use super::facet_search::FacetSearchPlan;
use super::federation::FederationPlan;
use super::fields::FieldsPlan;
use super::joins::Joins;
use super::multi_search::MultiSearchPlan;
pub use super::node_request::NodeRequest;
use super::render::RenderPlan;
use super::scattered::{OfOneNode, Scattered};
use super::search::SearchPlan;
use super::similar::SimilarPlan;
use super::stats::StatsPlan;

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
    /// What is put into its hits.
    #[serde(skip_serializing_if = "Joins::is_empty")]
    pub joins: Joins,
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
    /// The dynamic search rules, which every node has, as one has them.
    DynamicSearchRules,
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

// === impl Scatter ===

impl Scatter {
    /// Of a read that brings no hits, or joins nothing to them.
    pub fn new(original: NodeRequest, seed: u64, ask: Ask) -> Self {
        Self { original, seed, ask, joins: Joins::default() }
    }
}

// === impl Ask ===

impl Ask {
    /// The indexes whose hits it brings: into those, documents of other indexes may be put.
    pub fn searched(&self) -> Vec<&str> {
        match self {
            Self::Search(plan) => vec![&plan.index],
            Self::MultiSearch(plan) => plan.queries.iter().map(|query| query.index.as_str()).collect(),
            Self::Federation(plan) => plan.indexes.iter().map(|index| index.index.as_str()).collect(),
            // Whatever is like a document, the engine joins nothing to it.
            Self::Similar(_)
            | Self::Judge
            | Self::Refused(_)
            | Self::Settings
            | Self::Setting { .. }
            | Self::FacetSearch(_)
            | Self::Fields(_)
            | Self::Documents(_)
            | Self::Document(_)
            | Self::Render(_)
            | Self::DynamicSearchRules
            | Self::Stats(_) => Vec::new(),
        }
    }

    /// What the read says of itself.
    pub fn plan(&self) -> &dyn Scattered {
        match self {
            Self::Judge | Self::Refused(_) | Self::Settings | Self::Setting { .. } | Self::DynamicSearchRules => {
                &OfOneNode
            }
            Self::Search(plan) => &**plan,
            Self::FacetSearch(plan) => plan,
            Self::MultiSearch(plan) => plan,
            Self::Similar(plan) => &**plan,
            Self::Fields(plan) => plan,
            Self::Federation(plan) => &**plan,
            Self::Documents(plan) => plan,
            Self::Document(plan) => plan,
            Self::Render(plan) => plan,
            Self::Stats(plan) => plan,
        }
    }
}
