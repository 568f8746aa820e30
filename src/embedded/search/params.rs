//! What a search can be asked, in a body or a query string.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use deserr::Deserr;
use milli::TermsMatchingStrategy;
use milli_core as milli;
use serde_json::Value;

use crate::embedded::deser::codes::{
    BadRequest, InvalidFacetSearchExhaustiveFacetCount, InvalidFacetSearchFacetName, InvalidFacetSearchQuery,
    InvalidIndexUid, InvalidMultiSearchFacetsByIndex, InvalidMultiSearchMaxValuesPerFacet,
    InvalidMultiSearchMergeFacets, InvalidMultiSearchQueryPosition, InvalidMultiSearchRemote, InvalidMultiSearchWeight,
    InvalidSearchAttributesToCrop, InvalidSearchAttributesToHighlight, InvalidSearchAttributesToRetrieve,
    InvalidSearchAttributesToSearchOn, InvalidSearchCropLength, InvalidSearchCropMarker, InvalidSearchDistinct,
    InvalidSearchEmbedder, InvalidSearchFacets, InvalidSearchFilter, InvalidSearchHighlightPostTag,
    InvalidSearchHighlightPreTag, InvalidSearchHitsPerPage, InvalidSearchHybridQuery, InvalidSearchLimit,
    InvalidSearchLocales, InvalidSearchMatchingStrategy, InvalidSearchOffset, InvalidSearchPage, InvalidSearchQ,
    InvalidSearchRankingScoreThreshold, InvalidSearchRetrieveVectors, InvalidSearchSemanticRatio,
    InvalidSearchShowMatchesPosition, InvalidSearchShowRankingScore, InvalidSearchShowRankingScoreDetails,
    InvalidSearchSort, InvalidSearchVector, InvalidSimilarAttributesToRetrieve, InvalidSimilarEmbedder,
    InvalidSimilarFilter, InvalidSimilarId, InvalidSimilarLimit, InvalidSimilarOffset,
    InvalidSimilarRankingScoreThreshold, InvalidSimilarRetrieveVectors, InvalidSimilarShowRankingScore,
    InvalidSimilarShowRankingScoreDetails, MissingFacetSearchFacetName, MissingIndexUid,
};
use crate::embedded::deser::{CommaList, Invalid, JsonFailure, Param, QueryFailure, body, missing, query};
use crate::embedded::locale::Locale;
use crate::meili::error::{Code, ResponseError};

pub const DEFAULT_LIMIT: usize = 20;
pub const DEFAULT_CROP_LENGTH: usize = 10;

/// Parameters of a search, from either form of request.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
pub struct SearchQuery {
    #[deserr(default, error = JsonFailure<InvalidSearchQ>)]
    pub q: Option<String>,
    #[deserr(default, error = JsonFailure<InvalidSearchVector>)]
    pub vector: Option<Vec<f32>>,
    #[deserr(default, error = JsonFailure<InvalidSearchHybridQuery>)]
    pub hybrid: Option<Hybrid>,
    #[deserr(default, error = JsonFailure<InvalidSearchOffset>)]
    pub offset: usize,
    #[deserr(default = DEFAULT_LIMIT, error = JsonFailure<InvalidSearchLimit>)]
    pub limit: usize,
    #[deserr(default, error = JsonFailure<InvalidSearchPage>)]
    pub page: Option<usize>,
    #[deserr(default, error = JsonFailure<InvalidSearchHitsPerPage>)]
    pub hits_per_page: Option<usize>,
    #[deserr(default, error = JsonFailure<InvalidSearchAttributesToRetrieve>)]
    pub attributes_to_retrieve: Option<BTreeSet<String>>,
    #[deserr(default, error = JsonFailure<InvalidSearchRetrieveVectors>)]
    pub retrieve_vectors: bool,
    #[deserr(default, error = JsonFailure<InvalidSearchAttributesToCrop>)]
    pub attributes_to_crop: Option<Vec<String>>,
    #[deserr(default = DEFAULT_CROP_LENGTH, error = JsonFailure<InvalidSearchCropLength>)]
    pub crop_length: usize,
    #[deserr(default, error = JsonFailure<InvalidSearchAttributesToHighlight>)]
    pub attributes_to_highlight: Option<HashSet<String>>,
    #[deserr(default, error = JsonFailure<InvalidSearchShowMatchesPosition>)]
    pub show_matches_position: bool,
    #[deserr(default, error = JsonFailure<InvalidSearchShowRankingScore>)]
    pub show_ranking_score: bool,
    #[deserr(default, error = JsonFailure<InvalidSearchShowRankingScoreDetails>)]
    pub show_ranking_score_details: bool,
    #[deserr(default, error = JsonFailure<InvalidSearchFilter>)]
    pub filter: Option<Value>,
    #[deserr(default, error = JsonFailure<InvalidSearchSort>)]
    pub sort: Option<Vec<String>>,
    #[deserr(default, error = JsonFailure<InvalidSearchDistinct>)]
    pub distinct: Option<String>,
    #[deserr(default, error = JsonFailure<InvalidSearchFacets>)]
    pub facets: Option<Vec<String>>,
    #[deserr(default = pre_tag(), error = JsonFailure<InvalidSearchHighlightPreTag>)]
    pub highlight_pre_tag: String,
    #[deserr(default = post_tag(), error = JsonFailure<InvalidSearchHighlightPostTag>)]
    pub highlight_post_tag: String,
    #[deserr(default = crop_marker(), error = JsonFailure<InvalidSearchCropMarker>)]
    pub crop_marker: String,
    #[deserr(default, error = JsonFailure<InvalidSearchMatchingStrategy>)]
    pub matching_strategy: MatchingStrategy,
    #[deserr(default, error = JsonFailure<InvalidSearchAttributesToSearchOn>)]
    pub attributes_to_search_on: Option<Vec<String>>,
    #[deserr(default, error = JsonFailure<InvalidSearchRankingScoreThreshold>)]
    pub ranking_score_threshold: Option<Threshold>,
    #[deserr(default, error = JsonFailure<InvalidSearchLocales>)]
    pub locales: Option<Vec<Locale>>,
}

/// How keyword and semantic search share a query.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure<InvalidSearchHybridQuery>, rename_all = camelCase, deny_unknown_fields)]
pub struct Hybrid {
    #[deserr(default, error = JsonFailure<InvalidSearchSemanticRatio>)]
    pub semantic_ratio: SemanticRatio,
    #[deserr(error = JsonFailure<InvalidSearchEmbedder>)]
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
    #[deserr(default, error = QueryFailure<InvalidSearchQ>)]
    q: Option<String>,
    #[deserr(default, error = QueryFailure<InvalidSearchVector>)]
    vector: Option<CommaList<f32>>,
    #[deserr(default, error = QueryFailure<InvalidSearchOffset>)]
    offset: Param<usize>,
    #[deserr(default = Param(DEFAULT_LIMIT), error = QueryFailure<InvalidSearchLimit>)]
    limit: Param<usize>,
    #[deserr(default, error = QueryFailure<InvalidSearchPage>)]
    page: Option<Param<usize>>,
    #[deserr(default, error = QueryFailure<InvalidSearchHitsPerPage>)]
    hits_per_page: Option<Param<usize>>,
    #[deserr(default, error = QueryFailure<InvalidSearchAttributesToRetrieve>)]
    attributes_to_retrieve: Option<CommaList<String>>,
    #[deserr(default, error = QueryFailure<InvalidSearchRetrieveVectors>)]
    retrieve_vectors: Param<bool>,
    #[deserr(default, error = QueryFailure<InvalidSearchAttributesToCrop>)]
    attributes_to_crop: Option<CommaList<String>>,
    #[deserr(default = Param(DEFAULT_CROP_LENGTH), error = QueryFailure<InvalidSearchCropLength>)]
    crop_length: Param<usize>,
    #[deserr(default, error = QueryFailure<InvalidSearchAttributesToHighlight>)]
    attributes_to_highlight: Option<CommaList<String>>,
    #[deserr(default, error = QueryFailure<InvalidSearchFilter>)]
    filter: Option<String>,
    #[deserr(default, error = QueryFailure<InvalidSearchSort>)]
    sort: Option<String>,
    #[deserr(default, error = QueryFailure<InvalidSearchDistinct>)]
    distinct: Option<String>,
    #[deserr(default, error = QueryFailure<InvalidSearchShowMatchesPosition>)]
    show_matches_position: Param<bool>,
    #[deserr(default, error = QueryFailure<InvalidSearchShowRankingScore>)]
    show_ranking_score: Param<bool>,
    #[deserr(default, error = QueryFailure<InvalidSearchShowRankingScoreDetails>)]
    show_ranking_score_details: Param<bool>,
    #[deserr(default, error = QueryFailure<InvalidSearchFacets>)]
    facets: Option<CommaList<String>>,
    #[deserr(default = pre_tag(), error = QueryFailure<InvalidSearchHighlightPreTag>)]
    highlight_pre_tag: String,
    #[deserr(default = post_tag(), error = QueryFailure<InvalidSearchHighlightPostTag>)]
    highlight_post_tag: String,
    #[deserr(default = crop_marker(), error = QueryFailure<InvalidSearchCropMarker>)]
    crop_marker: String,
    #[deserr(default, error = QueryFailure<InvalidSearchMatchingStrategy>)]
    matching_strategy: MatchingStrategy,
    #[deserr(default, error = QueryFailure<InvalidSearchAttributesToSearchOn>)]
    attributes_to_search_on: Option<CommaList<String>>,
    #[deserr(default, error = QueryFailure<InvalidSearchEmbedder>)]
    hybrid_embedder: Option<String>,
    #[deserr(default, error = QueryFailure<InvalidSearchSemanticRatio>)]
    hybrid_semantic_ratio: Option<SemanticRatioParam>,
    #[deserr(default, error = QueryFailure<InvalidSearchRankingScoreThreshold>)]
    ranking_score_threshold: Option<ThresholdParam>,
    #[deserr(default, error = QueryFailure<InvalidSearchLocales>)]
    locales: Option<CommaList<Locale>>,
}

/// Body of `POST /indexes/{uid}/facet-search`. Unknown fields are let through: clients send a search's parameters.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase)]
pub struct FacetSearchQuery {
    #[deserr(default, error = JsonFailure<InvalidFacetSearchQuery>)]
    pub facet_query: Option<String>,
    #[deserr(
        error = JsonFailure<InvalidFacetSearchFacetName>,
        missing_field_error = missing::<MissingFacetSearchFacetName>
    )]
    pub facet_name: String,
    #[deserr(default, error = JsonFailure<InvalidSearchQ>)]
    pub q: Option<String>,
    #[deserr(default, error = JsonFailure<InvalidSearchVector>)]
    pub vector: Option<Vec<f32>>,
    #[deserr(default, error = JsonFailure<InvalidSearchHybridQuery>)]
    pub hybrid: Option<Hybrid>,
    #[deserr(default, error = JsonFailure<InvalidSearchFilter>)]
    pub filter: Option<Value>,
    #[deserr(default, error = JsonFailure<InvalidSearchMatchingStrategy>)]
    pub matching_strategy: MatchingStrategy,
    #[deserr(default, error = JsonFailure<InvalidSearchAttributesToSearchOn>)]
    pub attributes_to_search_on: Option<Vec<String>>,
    #[deserr(default, error = JsonFailure<InvalidSearchRankingScoreThreshold>)]
    pub ranking_score_threshold: Option<Threshold>,
    #[deserr(default, error = JsonFailure<InvalidSearchLocales>)]
    pub locales: Option<Vec<Locale>>,
    #[deserr(default, error = JsonFailure<InvalidFacetSearchExhaustiveFacetCount>)]
    pub exhaustive_facet_count: Option<bool>,
}

/// Parameters of `/indexes/{uid}/similar`.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
pub struct SimilarQuery {
    #[deserr(error = JsonFailure<InvalidSimilarId>)]
    pub id: Value,
    #[deserr(default, error = JsonFailure<InvalidSimilarOffset>)]
    pub offset: usize,
    #[deserr(default = DEFAULT_LIMIT, error = JsonFailure<InvalidSimilarLimit>)]
    pub limit: usize,
    #[deserr(default, error = JsonFailure<InvalidSimilarFilter>)]
    pub filter: Option<Value>,
    #[deserr(error = JsonFailure<InvalidSimilarEmbedder>)]
    pub embedder: String,
    #[deserr(default, error = JsonFailure<InvalidSimilarAttributesToRetrieve>)]
    pub attributes_to_retrieve: Option<BTreeSet<String>>,
    #[deserr(default, error = JsonFailure<InvalidSimilarRetrieveVectors>)]
    pub retrieve_vectors: bool,
    #[deserr(default, error = JsonFailure<InvalidSimilarShowRankingScore>)]
    pub show_ranking_score: bool,
    #[deserr(default, error = JsonFailure<InvalidSimilarShowRankingScoreDetails>)]
    pub show_ranking_score_details: bool,
    #[deserr(default, error = JsonFailure<InvalidSimilarRankingScoreThreshold>)]
    pub ranking_score_threshold: Option<Threshold>,
}

#[derive(Debug, Deserr)]
#[deserr(error = QueryFailure, rename_all = camelCase, deny_unknown_fields)]
struct SimilarParams {
    #[deserr(error = QueryFailure<InvalidSimilarId>)]
    id: Param<String>,
    #[deserr(default, error = QueryFailure<InvalidSimilarOffset>)]
    offset: Param<usize>,
    #[deserr(default = Param(DEFAULT_LIMIT), error = QueryFailure<InvalidSimilarLimit>)]
    limit: Param<usize>,
    #[deserr(default, error = QueryFailure<InvalidSimilarAttributesToRetrieve>)]
    attributes_to_retrieve: Option<CommaList<String>>,
    #[deserr(default, error = QueryFailure<InvalidSimilarRetrieveVectors>)]
    retrieve_vectors: Param<bool>,
    #[deserr(default, error = QueryFailure<InvalidSimilarFilter>)]
    filter: Option<String>,
    #[deserr(default, error = QueryFailure<InvalidSimilarShowRankingScore>)]
    show_ranking_score: Param<bool>,
    #[deserr(default, error = QueryFailure<InvalidSimilarShowRankingScoreDetails>)]
    show_ranking_score_details: Param<bool>,
    #[deserr(default, error = QueryFailure<InvalidSimilarRankingScoreThreshold>)]
    ranking_score_threshold: Option<ThresholdParam>,
    #[deserr(error = QueryFailure<InvalidSimilarEmbedder>)]
    embedder: String,
}

/// Body of `POST /multi-search`, federated or not.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
pub struct MultiSearchQuery {
    pub queries: Vec<IndexedQuery>,
    #[deserr(default)]
    pub federation: Option<Federation>,
}

/// How the answers of a multi-search become one list.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
pub struct Federation {
    #[deserr(default = DEFAULT_LIMIT, error = JsonFailure<InvalidSearchLimit>)]
    pub limit: usize,
    #[deserr(default, error = JsonFailure<InvalidSearchOffset>)]
    pub offset: usize,
    #[deserr(default, error = JsonFailure<InvalidMultiSearchFacetsByIndex>)]
    pub facets_by_index: BTreeMap<IndexName, Option<Vec<String>>>,
    #[deserr(default, error = JsonFailure<InvalidMultiSearchMergeFacets>)]
    pub merge_facets: Option<MergeFacets>,
}

#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(error = JsonFailure<InvalidMultiSearchMergeFacets>, rename_all = camelCase, deny_unknown_fields)]
pub struct MergeFacets {
    #[deserr(default, error = JsonFailure<InvalidMultiSearchMaxValuesPerFacet>)]
    pub max_values_per_facet: Option<usize>,
}

#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
pub struct FederationOptions {
    #[deserr(default, error = JsonFailure<InvalidMultiSearchWeight>)]
    pub weight: Weight,
    #[deserr(default, error = JsonFailure<InvalidMultiSearchRemote>)]
    pub remote: Option<String>,
    #[deserr(default, error = JsonFailure<InvalidMultiSearchQueryPosition>)]
    pub query_position: Option<usize>,
}

/// What a hit's score is multiplied by, 0 or more.
#[derive(Debug, Clone, Copy, PartialEq, Deserr)]
#[deserr(try_from(f64) = Weight::new -> Invalid)]
pub struct Weight(pub f64);

/// A valid name of an index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserr)]
#[deserr(try_from(String) = IndexName::new -> Invalid)]
pub struct IndexName(pub String);

/// A search of a multi-search: its fields are those of [`SearchQuery`], but pages have no defaults here, because a
/// federated search refuses them.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
pub struct IndexedQuery {
    #[deserr(error = JsonFailure<InvalidIndexUid>, missing_field_error = missing::<MissingIndexUid>)]
    pub index_uid: IndexName,
    #[deserr(default, error = JsonFailure<InvalidSearchQ>)]
    q: Option<String>,
    #[deserr(default, error = JsonFailure<InvalidSearchQ>)]
    vector: Option<Vec<f32>>,
    #[deserr(default, error = JsonFailure<InvalidSearchHybridQuery>)]
    hybrid: Option<Hybrid>,
    #[deserr(default, error = JsonFailure<InvalidSearchOffset>)]
    offset: Option<usize>,
    #[deserr(default, error = JsonFailure<InvalidSearchLimit>)]
    limit: Option<usize>,
    #[deserr(default, error = JsonFailure<InvalidSearchPage>)]
    page: Option<usize>,
    #[deserr(default, error = JsonFailure<InvalidSearchHitsPerPage>)]
    hits_per_page: Option<usize>,
    #[deserr(default, error = JsonFailure<InvalidSearchAttributesToRetrieve>)]
    attributes_to_retrieve: Option<BTreeSet<String>>,
    #[deserr(default, error = JsonFailure<InvalidSearchRetrieveVectors>)]
    retrieve_vectors: bool,
    #[deserr(default, error = JsonFailure<InvalidSearchAttributesToCrop>)]
    attributes_to_crop: Option<Vec<String>>,
    #[deserr(default = DEFAULT_CROP_LENGTH, error = JsonFailure<InvalidSearchCropLength>)]
    crop_length: usize,
    #[deserr(default, error = JsonFailure<InvalidSearchAttributesToHighlight>)]
    attributes_to_highlight: Option<HashSet<String>>,
    #[deserr(default, error = JsonFailure<InvalidSearchShowRankingScore>)]
    show_ranking_score: bool,
    #[deserr(default, error = JsonFailure<InvalidSearchShowRankingScoreDetails>)]
    show_ranking_score_details: bool,
    #[deserr(default, error = JsonFailure<InvalidSearchShowMatchesPosition>)]
    show_matches_position: bool,
    #[deserr(default, error = JsonFailure<InvalidSearchFilter>)]
    filter: Option<Value>,
    #[deserr(default, error = JsonFailure<InvalidSearchSort>)]
    sort: Option<Vec<String>>,
    #[deserr(default, error = JsonFailure<InvalidSearchDistinct>)]
    distinct: Option<String>,
    #[deserr(default, error = JsonFailure<InvalidSearchFacets>)]
    facets: Option<Vec<String>>,
    #[deserr(default = pre_tag(), error = JsonFailure<InvalidSearchHighlightPreTag>)]
    highlight_pre_tag: String,
    #[deserr(default = post_tag(), error = JsonFailure<InvalidSearchHighlightPostTag>)]
    highlight_post_tag: String,
    #[deserr(default = crop_marker(), error = JsonFailure<InvalidSearchCropMarker>)]
    crop_marker: String,
    #[deserr(default, error = JsonFailure<InvalidSearchMatchingStrategy>)]
    matching_strategy: MatchingStrategy,
    #[deserr(default, error = JsonFailure<InvalidSearchAttributesToSearchOn>)]
    attributes_to_search_on: Option<Vec<String>>,
    #[deserr(default, error = JsonFailure<InvalidSearchRankingScoreThreshold>)]
    ranking_score_threshold: Option<Threshold>,
    #[deserr(default, error = JsonFailure<InvalidSearchLocales>)]
    locales: Option<Vec<Locale>>,
    #[deserr(default)]
    pub federation_options: Option<FederationOptions>,
}

fn pre_tag() -> String {
    "<em>".to_owned()
}

fn post_tag() -> String {
    "</em>".to_owned()
}

fn crop_marker() -> String {
    "…".to_owned()
}

/// A filter in a query string is JSON where it reads as such, else an expression.
pub fn filter_param(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// Both filters must hold; each may be a list already.
fn join_filters(own: Option<Value>, rules: Option<Value>) -> Option<Value> {
    let as_list = |filter: Value| match filter {
        Value::Array(list) => list,
        single => vec![single],
    };
    match (own, rules) {
        (None, rules) => rules,
        (own, None) => own,
        (Some(own), Some(rules)) => Some(Value::Array([as_list(own), as_list(rules)].concat())),
    }
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

impl Default for SearchQuery {
    fn default() -> Self {
        Self {
            q: None,
            vector: None,
            hybrid: None,
            offset: 0,
            limit: DEFAULT_LIMIT,
            page: None,
            hits_per_page: None,
            attributes_to_retrieve: None,
            retrieve_vectors: false,
            attributes_to_crop: None,
            crop_length: DEFAULT_CROP_LENGTH,
            attributes_to_highlight: None,
            show_matches_position: false,
            show_ranking_score: false,
            show_ranking_score_details: false,
            filter: None,
            sort: None,
            distinct: None,
            facets: None,
            highlight_pre_tag: pre_tag(),
            highlight_post_tag: post_tag(),
            crop_marker: crop_marker(),
            matching_strategy: MatchingStrategy::default(),
            attributes_to_search_on: None,
            ranking_score_threshold: None,
            locales: None,
        }
    }
}

impl SearchQuery {
    pub fn from_json(bytes: &[u8]) -> Result<Self, ResponseError> {
        body::<Self, BadRequest>(bytes)
    }

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

    /// Adds a tenant token's filter.
    pub fn restrict(&mut self, filter: Option<Value>) {
        self.filter = join_filters(self.filter.take(), filter);
    }

    /// True when pages are asked for: the hits are then counted to the end.
    pub fn is_paged(&self) -> bool {
        self.page.is_some() || self.hits_per_page.is_some()
    }
}

// === impl FacetSearchQuery ===

impl FacetSearchQuery {
    pub fn from_json(bytes: &[u8]) -> Result<Self, ResponseError> {
        body::<Self, BadRequest>(bytes)
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

// === impl SimilarQuery ===

impl SimilarQuery {
    pub fn from_json(bytes: &[u8]) -> Result<Self, ResponseError> {
        body::<Self, BadRequest>(bytes)
    }

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

    pub fn restrict(&mut self, filter: Option<Value>) {
        self.filter = join_filters(self.filter.take(), filter);
    }
}

// === impl MultiSearchQuery ===

impl MultiSearchQuery {
    pub fn from_json(bytes: &[u8]) -> Result<Self, ResponseError> {
        body::<Self, BadRequest>(bytes)
    }
}

// === impl IndexedQuery ===

impl IndexedQuery {
    /// The first page parameter that is given, by name.
    pub fn page_parameter(&self) -> Option<&'static str> {
        let given = [
            ("offset", self.offset.is_some()),
            ("limit", self.limit.is_some()),
            ("page", self.page.is_some()),
            ("hitsPerPage", self.hits_per_page.is_some()),
        ];
        given.iter().find(|(_, given)| *given).map(|(name, _)| *name)
    }

    pub fn facets(&self) -> Option<&[String]> {
        self.facets.as_deref().filter(|facets| !facets.is_empty())
    }

    pub fn restrict(&mut self, filter: Option<Value>) {
        self.filter = join_filters(self.filter.take(), filter);
    }

    pub fn to_search(&self) -> SearchQuery {
        let own = self.clone();
        SearchQuery {
            q: own.q,
            vector: own.vector,
            hybrid: own.hybrid,
            offset: own.offset.unwrap_or_default(),
            limit: own.limit.unwrap_or(DEFAULT_LIMIT),
            page: own.page,
            hits_per_page: own.hits_per_page,
            attributes_to_retrieve: own.attributes_to_retrieve,
            retrieve_vectors: own.retrieve_vectors,
            attributes_to_crop: own.attributes_to_crop,
            crop_length: own.crop_length,
            attributes_to_highlight: own.attributes_to_highlight,
            show_matches_position: own.show_matches_position,
            show_ranking_score: own.show_ranking_score,
            show_ranking_score_details: own.show_ranking_score_details,
            filter: own.filter,
            sort: own.sort,
            distinct: own.distinct,
            facets: own.facets,
            highlight_pre_tag: own.highlight_pre_tag,
            highlight_post_tag: own.highlight_post_tag,
            crop_marker: own.crop_marker,
            matching_strategy: own.matching_strategy,
            attributes_to_search_on: own.attributes_to_search_on,
            ranking_score_threshold: own.ranking_score_threshold,
            locales: own.locales,
        }
    }
}

// === impl of small values ===

impl Default for SemanticRatio {
    fn default() -> Self {
        Self(0.5)
    }
}

impl SemanticRatio {
    fn new(ratio: f32) -> Result<Self, Invalid> {
        if (0.0..=1.0).contains(&ratio) { Ok(Self(ratio)) } else { Err(Self::refused()) }
    }

    fn refused() -> Invalid {
        Invalid("the value of `semanticRatio` is invalid, expected a float between `0.0` and `1.0`.".to_owned())
    }
}

impl SemanticRatioParam {
    fn new(text: String) -> Result<Self, Invalid> {
        let ratio: f32 = text.parse().map_err(|_| SemanticRatio::refused())?;
        SemanticRatio::new(ratio).map(Self)
    }
}

impl Threshold {
    fn new(score: f64) -> Result<Self, Invalid> {
        if (0.0..=1.0).contains(&score) { Ok(Self(score)) } else { Err(Self::refused()) }
    }

    fn refused() -> Invalid {
        Invalid("the value of `rankingScoreThreshold` is invalid, expected a float between `0.0` and `1.0`.".to_owned())
    }
}

impl ThresholdParam {
    fn new(text: String) -> Result<Self, Invalid> {
        let score: f64 = text.parse().map_err(|_| Threshold::refused())?;
        Threshold::new(score).map(Self)
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Weight {
    fn new(weight: f64) -> Result<Self, Invalid> {
        match weight < 0.0 {
            true => Err(Invalid("the value of `weight` is invalid, expected a positive float (>= 0.0).".to_owned())),
            false => Ok(Self(weight)),
        }
    }
}

impl IndexName {
    fn new(uid: String) -> Result<Self, Invalid> {
        let known = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        if uid.is_empty() || uid.len() > 400 || !uid.chars().all(known) {
            return Err(Invalid(format!(
                "`{uid}` is not a valid index uid. Index uid can be an integer or a string containing only \
                 alphanumeric characters, hyphens (-) and underscores (_), and can not be more than 400 bytes."
            )));
        }
        Ok(Self(uid))
    }
}

impl std::str::FromStr for IndexName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::new(text.to_owned())
    }
}

impl From<MatchingStrategy> for TermsMatchingStrategy {
    fn from(strategy: MatchingStrategy) -> Self {
        match strategy {
            MatchingStrategy::Last => Self::Last,
            MatchingStrategy::All => Self::All,
            MatchingStrategy::Frequency => Self::Frequency,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_unknown_field_is_named_with_the_known_ones() {
        let error = SearchQuery::from_json(br#"{"Q":"x"}"#).unwrap_err();
        assert_eq!(error.code, "bad_request");
        let known =
            "Unknown field `Q`: expected one of `q`, `vector`, `hybrid`, `offset`, `limit`, `page`, `hitsPerPage`,";
        assert!(error.message.starts_with(known), "{}", error.message);
    }

    #[test]
    fn a_wrong_type_has_the_fields_code() {
        let error = SearchQuery::from_json(br#"{"limit":"ten"}"#).unwrap_err();
        assert_eq!(error.code, "invalid_search_limit");
        assert_eq!(
            error.message,
            "Invalid value type at `.limit`: expected a positive integer, but found a string: `\"ten\"`"
        );
        let error = SearchQuery::from_query("limit=ten").unwrap_err();
        assert_eq!(error.code, "invalid_search_limit");
        assert_eq!(error.message, "Invalid value in parameter `limit`: could not parse `ten` as a positive integer");
    }

    #[test]
    fn malformed_and_absent_bodies_have_their_own_codes() {
        assert_eq!(SearchQuery::from_json(b"").unwrap_err().code, "missing_payload");
        let error = SearchQuery::from_json(b"{").unwrap_err();
        assert_eq!(error.code, "malformed_payload");
        assert_eq!(
            error.message,
            "The json payload provided is malformed. `EOF while parsing an object at line 1 column 1`."
        );
    }

    #[test]
    fn both_forms_read_the_same() {
        let from_query = SearchQuery::from_query(
            "q=a%20b&facets=x,y&sort=_geoPoint(1.0,%202.0):asc,price:desc&filter=[[\"a=1\"]]&page=2&matchingStrategy=all",
        )
        .unwrap();
        assert_eq!(from_query.q.as_deref(), Some("a b"));
        assert_eq!(from_query.facets.as_deref(), Some(&["x".to_owned(), "y".to_owned()][..]));
        assert_eq!(from_query.sort.unwrap(), ["_geoPoint(1.0,2.0):asc", "price:desc"]);
        assert_eq!(from_query.filter, Some(json!([["a=1"]])));
        assert_eq!(from_query.page, Some(2));
        assert_eq!(from_query.matching_strategy, MatchingStrategy::All);
    }

    #[test]
    fn a_restriction_is_joined_by_and() {
        let mut search = SearchQuery::from_json(br#"{"filter":"a = 1 OR b = 2"}"#).unwrap();
        search.restrict(Some(json!("tenant = 7")));
        assert_eq!(search.filter, Some(json!(["a = 1 OR b = 2", "tenant = 7"])));
    }

    #[test]
    fn a_query_without_its_index_is_refused() {
        let error = MultiSearchQuery::from_json(br#"{"queries":[{"q":"x"}]}"#).unwrap_err();
        assert_eq!(error.code, "missing_index_uid");
        assert_eq!(error.message, "Missing field `indexUid` inside `.queries[0]`");
    }
}
