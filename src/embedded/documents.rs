//! Reading documents back: one by id, or pages of them.

use serde_json::Value;

use super::engine::IndexHandle;
use crate::meili::error::ResponseError;

/// Parameters of `GET /indexes/{uid}/documents/{id}`.
#[derive(Debug, Clone, Default)]
pub struct GetDocument {}

/// Parameters of `GET /indexes/{uid}/documents` and the body of `POST /indexes/{uid}/documents/fetch`.
#[derive(Debug, Clone, Default)]
pub struct BrowseQuery {}

// === impl GetDocument ===

impl GetDocument {
    pub fn from_query(_query: &str) -> Result<Self, ResponseError> {
        todo!()
    }
}

// === impl BrowseQuery ===

impl BrowseQuery {
    pub fn from_query(_query: &str) -> Result<Self, ResponseError> {
        todo!()
    }

    pub fn from_json(_body: &[u8]) -> Result<Self, ResponseError> {
        todo!()
    }
}

/// One document, or `document_not_found`.
pub fn get(_index: &IndexHandle, _id: &str, _query: &GetDocument) -> Result<Value, ResponseError> {
    todo!()
}

/// `{results, offset, limit, total}`.
pub fn browse(_index: &IndexHandle, _query: &BrowseQuery) -> Result<Value, ResponseError> {
    todo!()
}

/// The body of `POST /indexes/{uid}/documents/delete`: the filter, or the engine's error.
pub fn parse_delete_by_filter(_body: &[u8]) -> Result<Value, ResponseError> {
    todo!()
}
