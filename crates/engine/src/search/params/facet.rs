//! A search among the values of a facet.

use deserr::Deserr;
use serde_json::Value;

use super::values::{Hybrid, MatchingStrategy, Threshold};
use super::{SearchQuery, join_filters};
use crate::deser::{JsonFailure, body, codes, missing};
use crate::error::ResponseError;
use crate::locale::Locale;

/// Body of `POST /indexes/{uid}/facet-search`. Unknown fields are let through: clients send a search's parameters.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase)]
pub struct FacetSearchQuery {
    #[deserr(default, error = JsonFailure<codes::InvalidFacetSearchQuery>)]
    pub facet_query: Option<String>,
    #[deserr(
        error = JsonFailure<codes::InvalidFacetSearchFacetName>,
        missing_field_error = missing::<codes::MissingFacetSearchFacetName>
    )]
    pub facet_name: String,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchQ>)]
    pub q: Option<String>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchVector>)]
    pub vector: Option<Vec<f32>>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchHybridQuery>)]
    pub hybrid: Option<Hybrid>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchFilter>)]
    pub filter: Option<Value>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchMatchingStrategy>)]
    pub matching_strategy: MatchingStrategy,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchAttributesToSearchOn>)]
    pub attributes_to_search_on: Option<Vec<String>>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchRankingScoreThreshold>)]
    pub ranking_score_threshold: Option<Threshold>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchLocales>)]
    pub locales: Option<Vec<Locale>>,
    #[deserr(default, error = JsonFailure<codes::InvalidFacetSearchExhaustiveFacetCount>)]
    pub exhaustive_facet_count: Option<bool>,
}

// === impl FacetSearchQuery ===

impl FacetSearchQuery {
    pub fn from_json(bytes: &[u8]) -> Result<Self, ResponseError> {
        body::<Self, codes::BadRequest>(bytes)
    }

    pub fn restrict(&mut self, filter: Option<Value>) {
        self.filter = join_filters(self.filter.take(), filter);
    }

    /// The search whose hits are counted. Without exhaustive counts it takes the engine's shortcut.
    pub fn to_search(&self) -> SearchQuery {
        SearchQuery {
            q: self.q.clone(),
            // Page 0 has no hits, so nothing is sorted, yet a paged search counts to the end.
            page: if self.exhaustive_facet_count.unwrap_or_default() { Some(0) } else { None },
            vector: self.vector.clone(),
            hybrid: self.hybrid.clone(),
            filter: self.filter.clone(),
            matching_strategy: self.matching_strategy,
            attributes_to_search_on: self.attributes_to_search_on.clone(),
            ranking_score_threshold: self.ranking_score_threshold,
            locales: self.locales.clone(),
            ..SearchQuery::default()
        }
    }
}
