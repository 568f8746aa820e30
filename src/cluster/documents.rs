//! Document writes: a body becomes one NDJSON payload per node, and the payloads one write.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::Cluster;
use super::body::BodySource;
use crate::meili::error::ResponseError;
use crate::meili::operation::DocumentMethod;
use crate::placement::topology::Topology;
use crate::tasks::entry::MiroirTask;

/// How bodies are collected; part of the configuration's `write` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct DocumentSettings {
    /// Bytes of a node's payload that are kept in memory before a temporary file takes over.
    pub spool_memory: usize,
    /// Where the temporary files go; the system's directory for such files if none is given.
    pub spool_dir: Option<std::path::PathBuf>,
    /// Payloads to a node are cut so that none is longer, in bytes. No document can be longer either.
    pub max_payload_size: u64,
}

/// A request that adds documents.
#[derive(Debug, Clone)]
pub struct AddDocuments {
    pub index: String,
    pub method: DocumentMethod,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    /// As the client sent it, without the question mark.
    pub query: String,
}

// === impl DocumentSettings ===

impl Default for DocumentSettings {
    fn default() -> Self {
        Self { spool_memory: 1 << 20, spool_dir: None, max_payload_size: 64 << 20 }
    }
}

/// Reads `body` to its end and hands its documents, each with its shard, to the nodes that own them.
pub async fn add(
    _cluster: &Arc<Cluster>,
    _topology: Arc<Topology>,
    _request: AddDocuments,
    _body: &mut dyn BodySource,
) -> Result<MiroirTask, ResponseError> {
    todo!()
}

/// Deletes documents by id; each node is told only the ids of its shards. `single`: the id stood in the path.
pub async fn delete_ids(
    _cluster: &Arc<Cluster>,
    _topology: Arc<Topology>,
    _index: &str,
    _ids: Vec<Value>,
    _custom_metadata: Option<String>,
    _single: bool,
) -> Result<MiroirTask, ResponseError> {
    todo!()
}
