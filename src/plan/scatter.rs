//! A read that nodes answer for the shards they cover, as data.

use serde::Serialize;

/// The client's request as it came, for the node that judges it when it is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Original {
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    #[serde(serialize_with = "as_text")]
    pub body: Vec<u8>,
}

/// What is asked of the nodes and how their answers become one.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scatter {
    pub original: Original,
    /// Chooses among equal covers: the same for every page of a query, so that pages do not bounce between replicas.
    pub seed: u64,
}

fn as_text<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}
