//! Search, facet search, similar documents and multi-search: JSON in, JSON out, exactly as the engine.

use serde_json::Value;

use super::engine::{Engine, IndexHandle};
use crate::meili::error::ResponseError;

/// Parameters of a search, from either form of request.
#[derive(Debug, Clone)]
pub struct SearchQuery {}

/// Body of `POST /indexes/{uid}/facet-search`.
#[derive(Debug, Clone)]
pub struct FacetSearchQuery {}

/// Parameters of `/indexes/{uid}/similar`.
#[derive(Debug, Clone)]
pub struct SimilarQuery {}

/// Body of `POST /multi-search`, federated or not.
#[derive(Debug, Clone)]
pub struct MultiSearchQuery {}

/// What a key allows on an index: an error, or the filter of a tenant token to add.
pub type Authorize<'a> = &'a dyn Fn(&str) -> Result<Option<Value>, ResponseError>;

// === impl SearchQuery ===

impl SearchQuery {
    pub fn from_json(_body: &[u8]) -> Result<Self, ResponseError> {
        todo!()
    }

    pub fn from_query(_query: &str) -> Result<Self, ResponseError> {
        todo!()
    }

    /// Adds a tenant token's filter.
    pub fn restrict(&mut self, _filter: Option<Value>) {
        todo!()
    }
}

// === impl FacetSearchQuery ===

impl FacetSearchQuery {
    pub fn from_json(_body: &[u8]) -> Result<Self, ResponseError> {
        todo!()
    }

    pub fn restrict(&mut self, _filter: Option<Value>) {
        todo!()
    }
}

// === impl SimilarQuery ===

impl SimilarQuery {
    pub fn from_json(_body: &[u8]) -> Result<Self, ResponseError> {
        todo!()
    }

    pub fn from_query(_query: &str) -> Result<Self, ResponseError> {
        todo!()
    }

    pub fn restrict(&mut self, _filter: Option<Value>) {
        todo!()
    }
}

// === impl MultiSearchQuery ===

impl MultiSearchQuery {
    pub fn from_json(_body: &[u8]) -> Result<Self, ResponseError> {
        todo!()
    }
}

pub fn search(_index: &IndexHandle, _query: &SearchQuery) -> Result<Value, ResponseError> {
    todo!()
}

pub fn facet_search(_index: &IndexHandle, _query: &FacetSearchQuery) -> Result<Value, ResponseError> {
    todo!()
}

pub fn similar(_index: &IndexHandle, _query: &SimilarQuery) -> Result<Value, ResponseError> {
    todo!()
}

/// Each query in turn; an error names the query: ``Inside `.queries[1]`: …``.
pub fn multi_search(
    _engine: &Engine,
    _query: &MultiSearchQuery,
    _authorize: Authorize<'_>,
) -> Result<Value, ResponseError> {
    todo!()
}
