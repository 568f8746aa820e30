//! Which indexes exist, and what is cached of their settings. The store holds the truth.

use std::sync::Arc;

use super::Cluster;
use super::client::Trace;
use crate::meili::error::ResponseError;
use crate::plan::index_info::IndexInfo;
use crate::store::IndexEntry;

/// The indexes of the cluster.
pub struct Registry {}

// === impl Registry ===

impl Registry {
    /// What plans need to know of an index; read from a node when it is not cached. `index_not_found` when unknown.
    pub async fn info(&self, cluster: &Cluster, index: &str, trace: &Trace) -> Result<Arc<IndexInfo>, ResponseError> {
        let _ = (cluster, index, trace);
        todo!()
    }

    pub fn exists(&self, index: &str) -> bool {
        self.entry(index).is_some()
    }

    pub fn entry(&self, index: &str) -> Option<IndexEntry> {
        let _ = index;
        todo!()
    }

    /// All indexes, by uid.
    pub fn entries(&self) -> Vec<IndexEntry> {
        todo!()
    }
}
