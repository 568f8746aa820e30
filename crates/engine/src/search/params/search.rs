//! A search, from either form of request.

use std::collections::{BTreeSet, HashSet};

use deserr::Deserr;
use serde_json::Value;

use super::values::{Hybrid, MatchingStrategy, Threshold};
use super::{DEFAULT_CROP_LENGTH, DEFAULT_LIMIT, crop_marker, join_filters, post_tag, pre_tag};
use crate::deser::{JsonFailure, body, codes};
use crate::error::ResponseError;
use crate::locale::Locale;

/// Parameters of a search, from either form of request.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
pub struct SearchQuery {
    #[deserr(default, error = JsonFailure<codes::InvalidSearchQ>)]
    pub q: Option<String>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchVector>)]
    pub vector: Option<Vec<f32>>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchHybridQuery>)]
    pub hybrid: Option<Hybrid>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchOffset>)]
    pub offset: usize,
    #[deserr(default = DEFAULT_LIMIT, error = JsonFailure<codes::InvalidSearchLimit>)]
    pub limit: usize,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchPage>)]
    pub page: Option<usize>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchHitsPerPage>)]
    pub hits_per_page: Option<usize>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchAttributesToRetrieve>)]
    pub attributes_to_retrieve: Option<BTreeSet<String>>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchRetrieveVectors>)]
    pub retrieve_vectors: bool,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchAttributesToCrop>)]
    pub attributes_to_crop: Option<Vec<String>>,
    #[deserr(default = DEFAULT_CROP_LENGTH, error = JsonFailure<codes::InvalidSearchCropLength>)]
    pub crop_length: usize,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchAttributesToHighlight>)]
    pub attributes_to_highlight: Option<HashSet<String>>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchShowMatchesPosition>)]
    pub show_matches_position: bool,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchShowRankingScore>)]
    pub show_ranking_score: bool,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchShowRankingScoreDetails>)]
    pub show_ranking_score_details: bool,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchFilter>)]
    pub filter: Option<Value>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchSort>)]
    pub sort: Option<Vec<String>>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchDistinct>)]
    pub distinct: Option<String>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchFacets>)]
    pub facets: Option<Vec<String>>,
    #[deserr(default = pre_tag(), error = JsonFailure<codes::InvalidSearchHighlightPreTag>)]
    pub highlight_pre_tag: String,
    #[deserr(default = post_tag(), error = JsonFailure<codes::InvalidSearchHighlightPostTag>)]
    pub highlight_post_tag: String,
    #[deserr(default = crop_marker(), error = JsonFailure<codes::InvalidSearchCropMarker>)]
    pub crop_marker: String,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchMatchingStrategy>)]
    pub matching_strategy: MatchingStrategy,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchAttributesToSearchOn>)]
    pub attributes_to_search_on: Option<Vec<String>>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchRankingScoreThreshold>)]
    pub ranking_score_threshold: Option<Threshold>,
    #[deserr(default, error = JsonFailure<codes::InvalidSearchLocales>)]
    pub locales: Option<Vec<Locale>>,
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
        body::<Self, codes::BadRequest>(bytes)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::MultiSearchQuery;
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
