//! Searches written as query strings.

use deserr::Deserr;
use serde_json::Value;

use super::values::{Hybrid, MatchingStrategy, SemanticRatio, Threshold};
use super::{DEFAULT_CROP_LENGTH, DEFAULT_LIMIT, SearchQuery, SimilarQuery, crop_marker, post_tag, pre_tag};
use crate::deser::{CommaList, Invalid, Param, QueryFailure, codes, query};
use crate::error::{Code, ResponseError};
use crate::locale::Locale;

/// The query string's forms of numbers that bodies give as numbers.
#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(try_from(String) = SemanticRatioParam::new -> Invalid)]
struct SemanticRatioParam(SemanticRatio);

#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(try_from(String) = ThresholdParam::new -> Invalid)]
struct ThresholdParam(Threshold);

#[derive(Debug, Deserr)]
#[deserr(error = QueryFailure, rename_all = camelCase, deny_unknown_fields)]
struct SearchParams {
    #[deserr(default, error = QueryFailure<codes::InvalidSearchQ>)]
    q: Option<String>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchVector>)]
    vector: Option<CommaList<f32>>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchOffset>)]
    offset: Param<usize>,
    #[deserr(default = Param(DEFAULT_LIMIT), error = QueryFailure<codes::InvalidSearchLimit>)]
    limit: Param<usize>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchPage>)]
    page: Option<Param<usize>>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchHitsPerPage>)]
    hits_per_page: Option<Param<usize>>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchAttributesToRetrieve>)]
    attributes_to_retrieve: Option<CommaList<String>>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchRetrieveVectors>)]
    retrieve_vectors: Param<bool>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchAttributesToCrop>)]
    attributes_to_crop: Option<CommaList<String>>,
    #[deserr(default = Param(DEFAULT_CROP_LENGTH), error = QueryFailure<codes::InvalidSearchCropLength>)]
    crop_length: Param<usize>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchAttributesToHighlight>)]
    attributes_to_highlight: Option<CommaList<String>>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchFilter>)]
    filter: Option<String>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchSort>)]
    sort: Option<String>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchDistinct>)]
    distinct: Option<String>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchShowMatchesPosition>)]
    show_matches_position: Param<bool>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchShowRankingScore>)]
    show_ranking_score: Param<bool>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchShowRankingScoreDetails>)]
    show_ranking_score_details: Param<bool>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchFacets>)]
    facets: Option<CommaList<String>>,
    #[deserr(default = pre_tag(), error = QueryFailure<codes::InvalidSearchHighlightPreTag>)]
    highlight_pre_tag: String,
    #[deserr(default = post_tag(), error = QueryFailure<codes::InvalidSearchHighlightPostTag>)]
    highlight_post_tag: String,
    #[deserr(default = crop_marker(), error = QueryFailure<codes::InvalidSearchCropMarker>)]
    crop_marker: String,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchMatchingStrategy>)]
    matching_strategy: MatchingStrategy,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchAttributesToSearchOn>)]
    attributes_to_search_on: Option<CommaList<String>>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchEmbedder>)]
    hybrid_embedder: Option<String>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchSemanticRatio>)]
    hybrid_semantic_ratio: Option<SemanticRatioParam>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchRankingScoreThreshold>)]
    ranking_score_threshold: Option<ThresholdParam>,
    #[deserr(default, error = QueryFailure<codes::InvalidSearchLocales>)]
    locales: Option<CommaList<Locale>>,
}

#[derive(Debug, Deserr)]
#[deserr(error = QueryFailure, rename_all = camelCase, deny_unknown_fields)]
struct SimilarParams {
    #[deserr(error = QueryFailure<codes::InvalidSimilarId>)]
    id: Param<String>,
    #[deserr(default, error = QueryFailure<codes::InvalidSimilarOffset>)]
    offset: Param<usize>,
    #[deserr(default = Param(DEFAULT_LIMIT), error = QueryFailure<codes::InvalidSimilarLimit>)]
    limit: Param<usize>,
    #[deserr(default, error = QueryFailure<codes::InvalidSimilarAttributesToRetrieve>)]
    attributes_to_retrieve: Option<CommaList<String>>,
    #[deserr(default, error = QueryFailure<codes::InvalidSimilarRetrieveVectors>)]
    retrieve_vectors: Param<bool>,
    #[deserr(default, error = QueryFailure<codes::InvalidSimilarFilter>)]
    filter: Option<String>,
    #[deserr(default, error = QueryFailure<codes::InvalidSimilarShowRankingScore>)]
    show_ranking_score: Param<bool>,
    #[deserr(default, error = QueryFailure<codes::InvalidSimilarShowRankingScoreDetails>)]
    show_ranking_score_details: Param<bool>,
    #[deserr(default, error = QueryFailure<codes::InvalidSimilarRankingScoreThreshold>)]
    ranking_score_threshold: Option<ThresholdParam>,
    #[deserr(error = QueryFailure<codes::InvalidSimilarEmbedder>)]
    embedder: String,
}

/// A filter in a query string is JSON where it reads as such, else an expression.
pub fn filter_param(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// Criteria between commas; the comma within `_geoPoint(…)` does not part them.
fn split_sort(text: &str) -> Vec<String> {
    let mut criteria: Vec<String> = Vec::new();
    let mut inside_point = false;
    for part in text.trim_matches('"').split(',').map(str::trim) {
        match criteria.last_mut() {
            Some(point) if inside_point => {
                point.push(',');
                point.push_str(part);
                inside_point = !(part.ends_with("):desc") || part.ends_with("):asc"));
            }
            Some(_) | None => {
                inside_point = part.starts_with("_geoPoint(");
                criteria.push(part.to_owned());
            }
        }
    }
    criteria
}

// === impl SearchQuery ===

impl SearchQuery {
    /// `text` is what follows the `?`.
    pub fn from_query(text: &str) -> Result<Self, ResponseError> {
        let params: SearchParams = query(text)?;
        let hybrid = match (params.hybrid_embedder, params.hybrid_semantic_ratio) {
            (None, None) => None,
            (None, Some(_)) => {
                return Err(ResponseError::new(
                    Code::InvalidSearchHybridQuery,
                    "`hybridEmbedder` is mandatory when `hybridSemanticRatio` is present",
                ));
            }
            (Some(embedder), ratio) => {
                Some(Hybrid { semantic_ratio: ratio.map(|ratio| ratio.0).unwrap_or_default(), embedder })
            }
        };
        if params.vector.is_some() && hybrid.is_none() {
            return Err(ResponseError::new(
                Code::MissingSearchHybrid,
                "`hybridEmbedder` is mandatory when `vector` is present",
            ));
        }
        Ok(Self {
            q: params.q,
            vector: params.vector.map(|list| list.0),
            hybrid,
            offset: params.offset.0,
            limit: params.limit.0,
            page: params.page.map(|page| page.0),
            hits_per_page: params.hits_per_page.map(|count| count.0),
            attributes_to_retrieve: params.attributes_to_retrieve.map(|list| list.0.into_iter().collect()),
            retrieve_vectors: params.retrieve_vectors.0,
            attributes_to_crop: params.attributes_to_crop.map(|list| list.0),
            crop_length: params.crop_length.0,
            attributes_to_highlight: params.attributes_to_highlight.map(|list| list.0.into_iter().collect()),
            show_matches_position: params.show_matches_position.0,
            show_ranking_score: params.show_ranking_score.0,
            show_ranking_score_details: params.show_ranking_score_details.0,
            filter: params.filter.map(filter_param),
            sort: params.sort.map(|text| split_sort(&text)),
            distinct: params.distinct,
            facets: params.facets.map(|list| list.0),
            highlight_pre_tag: params.highlight_pre_tag,
            highlight_post_tag: params.highlight_post_tag,
            crop_marker: params.crop_marker,
            matching_strategy: params.matching_strategy,
            attributes_to_search_on: params.attributes_to_search_on.map(|list| list.0),
            ranking_score_threshold: params.ranking_score_threshold.map(|threshold| threshold.0),
            locales: params.locales.map(|list| list.0),
        })
    }
}

// === impl SimilarQuery ===

impl SimilarQuery {
    pub fn from_query(text: &str) -> Result<Self, ResponseError> {
        let params: SimilarParams = query(text)?;
        Ok(Self {
            id: Value::String(params.id.0),
            offset: params.offset.0,
            limit: params.limit.0,
            filter: params.filter.map(filter_param),
            embedder: params.embedder,
            attributes_to_retrieve: params.attributes_to_retrieve.map(|list| list.0.into_iter().collect()),
            retrieve_vectors: params.retrieve_vectors.0,
            show_ranking_score: params.show_ranking_score.0,
            show_ranking_score_details: params.show_ranking_score_details.0,
            ranking_score_threshold: params.ranking_score_threshold.map(|threshold| threshold.0),
        })
    }
}

// === impl SemanticRatioParam ===

impl SemanticRatioParam {
    fn new(text: String) -> Result<Self, Invalid> {
        let ratio: f32 = text.parse().map_err(|_| SemanticRatio::refused())?;
        SemanticRatio::new(ratio).map(Self)
    }
}

// === impl ThresholdParam ===

impl ThresholdParam {
    fn new(text: String) -> Result<Self, Invalid> {
        let score: f64 = text.parse().map_err(|_| Threshold::refused())?;
        Threshold::new(score).map(Self)
    }
}
