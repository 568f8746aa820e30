//! Several searches in one request.

use serde_json::{Map, Value, json};

use super::federated;
use super::params::MultiSearchQuery;
use super::run::search;
use crate::engine::Engine;
use crate::error::{Code, ResponseError};

/// What a key allows on an index: an error, or the filter of a tenant token to add.
pub type Authorize<'a> = &'a dyn Fn(&str) -> Result<Option<Value>, ResponseError>;

/// Each query in turn, or all as one list where the request asks for a federation. An error names its query:
/// ``Inside `.queries[1]`: …``.
pub fn multi_search(
    engine: &Engine,
    query: &MultiSearchQuery,
    authorize: Authorize<'_>,
) -> Result<Value, ResponseError> {
    let mut queries = query.queries.clone();
    for (position, query) in queries.iter_mut().enumerate() {
        let filter = authorize(&query.index_uid.0).map_err(|error| inside(error, position))?;
        query.restrict(filter);
    }
    if let Some(federation) = &query.federation {
        return federated::search(engine, queries, federation);
    }
    let mut results = Vec::new();
    for (position, query) in queries.iter().enumerate() {
        if query.federation_options.is_some() {
            let message = format!(
                "Using `federationOptions` is not allowed in a non-federated search.\n - Hint: remove \
                 `federationOptions` from query #{position} or add `federation` to the request."
            );
            let error = ResponseError::new(Code::InvalidMultiSearchFederationOptions, message);
            return Err(inside(error, position));
        }
        let uid = &query.index_uid.0;
        let handle = engine.index(uid).map_err(|error| inside(not_in_the_path(error), position))?;
        let answer = search(&handle, &query.to_search()).map_err(|error| inside(error, position))?;
        let mut result = Map::new();
        result.insert("indexUid".to_owned(), json!(uid));
        if let Value::Object(answer) = answer {
            result.extend(answer);
        }
        results.push(Value::Object(result));
    }
    Ok(json!({ "results": results }))
}

/// Says which query an error belongs to.
pub(super) fn inside(mut error: ResponseError, position: usize) -> ResponseError {
    error.message = format!("Inside `.queries[{position}]`: {}", error.message);
    error
}

/// An index that is missing is the body's mistake here, not the path's.
pub(super) fn not_in_the_path(mut error: ResponseError) -> ResponseError {
    error.status = 400;
    error
}
