//! Several searches in one body, and how their answers become one.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use deserr::Deserr;
use serde_json::Value;

use super::values::{Hybrid, MatchingStrategy, Threshold};
use super::{DEFAULT_CROP_LENGTH, DEFAULT_LIMIT, SearchQuery, crop_marker, join_filters, post_tag, pre_tag};
use crate::deser::{Invalid, JsonFailure, body, codes, missing};
use crate::error::ResponseError;
use crate::locale::Locale;

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
    #[deserr(default = DEFAULT_LIMIT, error = JsonFailure<codes::InvalidSearchLimit>)]
    pub limit: usize,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchOffset>)]
    pub offset: usize,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchPage>)]
    pub page: Option<usize>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchHitsPerPage>)]
    pub hits_per_page: Option<usize>,
    #[deserr(default, error = JsonFailure<codes::InvalidMultiSearchFacetsByIndex>)]
    pub facets_by_index: BTreeMap<IndexName, Option<Vec<String>>>,
    #[deserr(default, error = JsonFailure<codes::InvalidMultiSearchMergeFacets>)]
    pub merge_facets: Option<MergeFacets>,
    /// The attribute of whose values only the best hit of all searches is kept.
    #[deserr(default, error = JsonFailure<codes::InvalidSearchDistinct>)]
    pub distinct: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(error = JsonFailure<codes::InvalidMultiSearchMergeFacets>, rename_all = camelCase, deny_unknown_fields)]
pub struct MergeFacets {
    #[deserr(default, error = JsonFailure<codes::InvalidMultiSearchMaxValuesPerFacet>)]
    pub max_values_per_facet: Option<usize>,
}

#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
pub struct FederationOptions {
    #[deserr(default, error = JsonFailure<codes::InvalidMultiSearchWeight>)]
    pub weight: Weight,
    #[deserr(default, error = JsonFailure<codes::InvalidMultiSearchRemote>)]
    pub remote: Option<String>,
    #[deserr(default, error = JsonFailure<codes::InvalidMultiSearchQueryPosition>)]
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
    #[deserr(error = JsonFailure<codes::InvalidIndexUid>, missing_field_error = missing::<codes::MissingIndexUid>)]
    pub index_uid: IndexName,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchQ>)]
    q: Option<String>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchQ>)]
    vector: Option<Vec<f32>>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchHybridQuery>)]
    hybrid: Option<Hybrid>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchOffset>)]
    offset: Option<usize>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchLimit>)]
    limit: Option<usize>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchPage>)]
    page: Option<usize>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchHitsPerPage>)]
    hits_per_page: Option<usize>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchAttributesToRetrieve>)]
    attributes_to_retrieve: Option<BTreeSet<String>>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchRetrieveVectors>)]
    retrieve_vectors: bool,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchAttributesToCrop>)]
    attributes_to_crop: Option<Vec<String>>,
    #[deserr(default = DEFAULT_CROP_LENGTH, error = JsonFailure<codes::InvalidSearchCropLength>)]
    crop_length: usize,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchAttributesToHighlight>)]
    attributes_to_highlight: Option<HashSet<String>>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchShowRankingScore>)]
    show_ranking_score: bool,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchShowRankingScoreDetails>)]
    show_ranking_score_details: bool,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchShowMatchesPosition>)]
    show_matches_position: bool,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchFilter>)]
    filter: Option<Value>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchSort>)]
    sort: Option<Vec<String>>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchDistinct>)]
    distinct: Option<String>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchFacets>)]
    facets: Option<Vec<String>>,
    #[deserr(default = pre_tag(), error = JsonFailure<codes::InvalidSearchHighlightPreTag>)]
    highlight_pre_tag: String,
    #[deserr(default = post_tag(), error = JsonFailure<codes::InvalidSearchHighlightPostTag>)]
    highlight_post_tag: String,
    #[deserr(default = crop_marker(), error = JsonFailure<codes::InvalidSearchCropMarker>)]
    crop_marker: String,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchMatchingStrategy>)]
    matching_strategy: MatchingStrategy,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchAttributesToSearchOn>)]
    attributes_to_search_on: Option<Vec<String>>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchRankingScoreThreshold>)]
    ranking_score_threshold: Option<Threshold>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchLocales>)]
    locales: Option<Vec<Locale>>,
    #[deserr(default)]
    pub federation_options: Option<FederationOptions>,
}

// === impl MultiSearchQuery ===

impl MultiSearchQuery {
    pub fn from_json(bytes: &[u8]) -> Result<Self, ResponseError> {
        body::<Self, codes::BadRequest>(bytes)
    }
}

// === impl Federation ===

impl Federation {
    pub fn is_paged(&self) -> bool {
        self.page.is_some() || self.hits_per_page.is_some()
    }

    pub fn page_size(&self) -> usize {
        self.hits_per_page.unwrap_or(DEFAULT_LIMIT)
    }

    /// How many hits are skipped, and how many shown after them.
    pub fn window(&self) -> (usize, usize) {
        if !self.is_paged() {
            return (self.offset, self.limit);
        }
        // Page 0 has no hits.
        let size = self.page_size();
        self.page.unwrap_or(1).checked_sub(1).map_or((0, 0), |before| (size.saturating_mul(before), size))
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

    pub fn has_distinct(&self) -> bool {
        self.distinct.is_some()
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
