//! What Miroir refuses where several nodes have to answer, and one node that has everything would not be refused: known from
//! the request and the settings, and raised once it is clear that no node answers alone.

use super::documents::DocumentsPlan;
use super::federation::FederationPlan;
use super::scatter::Ask;
use super::search::SearchPlan;
use crate::meili::error::{Code, ResponseError};

fn not_supported(message: impl Into<String>) -> ResponseError {
    ResponseError::new(Code::MiroirNotSupported, message)
}

// === impl SearchPlan ===

impl SearchPlan {
    /// Hits of several nodes are told apart by the distinct attribute, which no hit shows.
    pub fn hidden_distinct(&self) -> ResponseError {
        let field = self.distinct.as_deref().unwrap_or_default();
        not_supported(format!(
            "The distinct attribute `{field}` is not among the displayed attributes, which Miroir needs to compare hits of several nodes."
        ))
    }

    /// Hits by words and hits by the vector cannot be told apart, or are not known to be of one document.
    pub fn unmixable(&self) -> ResponseError {
        let key = self.primary_key.as_deref().unwrap_or_default();
        not_supported(format!(
            "A hybrid search over several nodes needs the primary key `{key}` among the displayed attributes, and a \
             ranking rule about words."
        ))
    }

    fn refused_by_several(&self) -> Option<ResponseError> {
        match self.semantic_ratio {
            Some(_) if !self.mixable => Some(self.unmixable()),
            None if !self.comparable && !self.by_frequency.is_known() => Some(self.hidden_distinct()),
            Some(_) | None => None,
        }
    }
}

// === impl FederationPlan ===

impl FederationPlan {
    /// Hits of several nodes are compared by an attribute that they do not show.
    pub fn hidden_attribute(&self) -> Option<ResponseError> {
        self.indexes.iter().find_map(|index| {
            let field = index.hidden.as_deref()?;
            Some(not_supported(format!(
                "The attribute `{field}` of index `{}` is not among the displayed attributes, which Miroir needs to compare \
                 hits of several nodes.",
                index.index
            )))
        })
    }
}

// === impl DocumentsPlan ===

impl DocumentsPlan {
    /// Documents do not show the distance as the engine computes it.
    pub fn sorted_by_distance(&self) -> Option<ResponseError> {
        let by_distance = self.sort.iter().any(|by| by.field.is_none());
        by_distance
            .then(|| not_supported("Documents of several nodes cannot be sorted by their distance from a point."))
    }
}

// === impl Ask ===

impl Ask {
    /// The refusal where no node answers alone.
    pub fn refused_by_several(&self) -> Option<ResponseError> {
        match self {
            Self::Search(plan) => plan.refused_by_several(),
            Self::MultiSearch(plan) => plan.queries.iter().find_map(SearchPlan::refused_by_several),
            Self::Federation(plan) => plan.hidden_attribute(),
            Self::Documents(plan) => plan.sorted_by_distance(),
            Self::Similar(plan) => plan.obstacle.map(super::similar::not_comparable),
            Self::Judge
            | Self::Settings
            | Self::Setting { .. }
            | Self::FacetSearch(_)
            | Self::Fields(_)
            | Self::Document(_)
            | Self::Stats(_) => None,
        }
    }
}
