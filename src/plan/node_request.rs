//! A request to one node.

use serde::Serialize;
use serde_json::{Map, Value};

/// A request to one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRequest {
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// JSON, or empty.
    #[serde(serialize_with = "as_text")]
    pub body: Vec<u8>,
}

// === impl NodeRequest ===

impl NodeRequest {
    /// `path` with its query string, without a body.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), body: Vec::new() }
    }

    /// `body` as JSON.
    pub fn post(path: impl Into<String>, body: &Map<String, Value>) -> Self {
        let body = serde_json::to_vec(body).expect("a JSON value always serializes into memory");
        Self { method: "POST", path: path.into(), body }
    }
}

fn as_text<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}
