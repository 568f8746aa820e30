//! A search for documents like one document.

use std::collections::BTreeSet;

use deserr::Deserr;
use serde_json::Value;

use super::values::Threshold;
use super::{DEFAULT_LIMIT, join_filters};
use crate::deser::{JsonFailure, body, codes};
use crate::error::ResponseError;

/// Parameters of `/indexes/{uid}/similar`.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
pub struct SimilarQuery {
    #[deserr(error = JsonFailure<codes::InvalidSimilarId>)]
    pub id: Value,
    #[deserr(default, error = JsonFailure<codes::InvalidSimilarOffset>)]
    pub offset: usize,
    #[deserr(default = DEFAULT_LIMIT, error = JsonFailure<codes::InvalidSimilarLimit>)]
    pub limit: usize,
    #[deserr(default, error = JsonFailure<codes::InvalidSimilarFilter>)]
    pub filter: Option<Value>,
    #[deserr(error = JsonFailure<codes::InvalidSimilarEmbedder>)]
    pub embedder: String,
    #[deserr(default, error = JsonFailure<codes::InvalidSimilarAttributesToRetrieve>)]
    pub attributes_to_retrieve: Option<BTreeSet<String>>,
    #[deserr(default, error = JsonFailure<codes::InvalidSimilarRetrieveVectors>)]
    pub retrieve_vectors: bool,
    #[deserr(default, error = JsonFailure<codes::InvalidSimilarShowRankingScore>)]
    pub show_ranking_score: bool,
    #[deserr(default, error = JsonFailure<codes::InvalidSimilarShowRankingScoreDetails>)]
    pub show_ranking_score_details: bool,
    #[deserr(default, error = JsonFailure<codes::InvalidSimilarRankingScoreThreshold>)]
    pub ranking_score_threshold: Option<Threshold>,
}

// === impl SimilarQuery ===

impl SimilarQuery {
    pub fn from_json(bytes: &[u8]) -> Result<Self, ResponseError> {
        body::<Self, codes::BadRequest>(bytes)
    }

    pub fn restrict(&mut self, filter: Option<Value>) {
        self.filter = join_filters(self.filter.take(), filter);
    }
}
