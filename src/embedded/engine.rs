//! The indexes of one data folder: which there are, opening, creating, deleting, swapping and counting them.

use std::path::Path;

use milli_core as milli;
use serde_json::Value;
use time::OffsetDateTime;

use crate::meili::error::ResponseError;

/// Sizes and threads of an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Virtual size of each index's memory map in bytes; the file grows only as it fills.
    pub index_map_size: usize,
    /// Threads that index; `None` is half the cores, at least one.
    pub indexing_threads: Option<usize>,
}

/// All indexes of a data folder.
pub struct Engine {}

/// One open index. Cheap to clone; readers see the state of the moment they start.
#[derive(Clone)]
pub struct IndexHandle {
    pub uid: String,
    pub index: milli::Index,
}

/// What `GET /indexes/{uid}` shows.
#[derive(Debug, Clone)]
pub struct IndexView {
    pub uid: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub primary_key: Option<String>,
}

// === impl Engine ===

impl Engine {
    /// Opens the data folder, creating it when absent. Each index is opened when first asked for.
    pub fn open(_data_dir: &Path, _options: EngineOptions) -> Result<Self, ResponseError> {
        todo!()
    }

    /// The index `uid`, or `index_not_found`.
    pub fn index(&self, _uid: &str) -> Result<IndexHandle, ResponseError> {
        todo!()
    }

    pub fn exists(&self, _uid: &str) -> Result<bool, ResponseError> {
        todo!()
    }

    /// Names of all indexes in byte order.
    pub fn names(&self) -> Result<Vec<String>, ResponseError> {
        todo!()
    }

    pub fn view(&self, _uid: &str) -> Result<IndexView, ResponseError> {
        todo!()
    }

    /// The task `indexCreation`: `index_already_exists` when it is there.
    pub fn create(&self, _uid: &str, _primary_key: Option<&str>) -> Result<(), ResponseError> {
        todo!()
    }

    /// The index, created when absent (as document and settings tasks do).
    pub fn get_or_create(&self, _uid: &str) -> Result<IndexHandle, ResponseError> {
        todo!()
    }

    /// The task `indexUpdate`.
    pub fn update_primary_key(&self, _uid: &str, _primary_key: Option<&str>) -> Result<(), ResponseError> {
        todo!()
    }

    /// The task `indexDeletion`: removes the index and answers how many documents it had.
    pub fn delete(&self, _uid: &str) -> Result<u64, ResponseError> {
        todo!()
    }

    /// The task `indexSwap`: every pair in one transaction, or none.
    pub fn swap(&self, _pairs: &[(String, String)]) -> Result<(), ResponseError> {
        todo!()
    }

    /// The body of `GET /indexes/{uid}/stats`. `is_indexing` is the queue's to know.
    pub fn index_stats(&self, _uid: &str, _is_indexing: bool) -> Result<Value, ResponseError> {
        todo!()
    }

    /// The body of `GET /stats` for the indexes that `allowed` lets through.
    pub fn stats(
        &self,
        _allowed: &dyn Fn(&str) -> bool,
        _processing: Option<&str>,
        _queue_size: u64,
        _last_update: Option<OffsetDateTime>,
    ) -> Result<Value, ResponseError> {
        todo!()
    }
}

// === impl IndexView ===

impl IndexView {
    /// `{uid, createdAt, updatedAt, primaryKey}`.
    pub fn to_json(&self) -> Value {
        todo!()
    }
}
