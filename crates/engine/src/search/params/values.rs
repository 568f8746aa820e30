//! Values that several requests share.

use deserr::Deserr;
use milli::TermsMatchingStrategy;
use milli_core as milli;

use crate::deser::{Invalid, JsonFailure, codes};

/// How keyword and semantic search share a query.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure<codes::InvalidSearchHybridQuery>, rename_all = camelCase, deny_unknown_fields)]
pub struct Hybrid {
    #[deserr(default, error = JsonFailure<codes::InvalidSearchSemanticRatio>)]
    pub semantic_ratio: SemanticRatio,
    #[deserr(error = JsonFailure<codes::InvalidSearchEmbedder>)]
    pub embedder: String,
}

/// Share of semantic search, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Deserr)]
#[deserr(try_from(f32) = SemanticRatio::new -> Invalid)]
pub struct SemanticRatio(pub f32);

/// Lowest ranking score of a hit, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Deserr)]
#[deserr(try_from(f64) = Threshold::new -> Invalid)]
pub struct Threshold(pub f64);

/// Which of the query's words may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserr)]
#[deserr(rename_all = camelCase)]
pub enum MatchingStrategy {
    #[default]
    Last,
    All,
    Frequency,
}

// === impl SemanticRatio ===

impl Default for SemanticRatio {
    fn default() -> Self {
        Self(0.5)
    }
}

impl SemanticRatio {
    pub(super) fn new(ratio: f32) -> Result<Self, Invalid> {
        if (0.0..=1.0).contains(&ratio) { Ok(Self(ratio)) } else { Err(Self::refused()) }
    }

    pub(super) fn refused() -> Invalid {
        Invalid("the value of `semanticRatio` is invalid, expected a float between `0.0` and `1.0`.".to_owned())
    }
}

// === impl Threshold ===

impl Threshold {
    pub(super) fn new(score: f64) -> Result<Self, Invalid> {
        if (0.0..=1.0).contains(&score) { Ok(Self(score)) } else { Err(Self::refused()) }
    }

    pub(super) fn refused() -> Invalid {
        Invalid("the value of `rankingScoreThreshold` is invalid, expected a float between `0.0` and `1.0`.".to_owned())
    }
}

// === impl MatchingStrategy ===

impl From<MatchingStrategy> for TermsMatchingStrategy {
    fn from(strategy: MatchingStrategy) -> Self {
        match strategy {
            MatchingStrategy::Last => Self::Last,
            MatchingStrategy::All => Self::All,
            MatchingStrategy::Frequency => Self::Frequency,
        }
    }
}
