//! Several searches answered as one list.
use serde_json::Value;

use super::params::{Federation, IndexedQuery};
use crate::embedded::engine::Engine;
use crate::meili::error::{Code, ResponseError};

pub fn search(
    _engine: &Engine,
    _queries: Vec<IndexedQuery>,
    _federation: &Federation,
) -> Result<Value, ResponseError> {
    Err(ResponseError::new(Code::MiroirNotSupported, "federated search is not supported yet"))
}
