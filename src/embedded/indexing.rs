//! Operations of tasks applied to an index, each batch in one write transaction.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::engine::Engine;
use crate::meili::error::ResponseError;

/// How a document meets one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdditionMethod {
    /// `POST`: the new document replaces the old one.
    Replace,
    /// `PUT`: the new document's fields are laid over the old one's.
    Update,
}

/// What one task does to an index.
#[derive(Debug, Clone)]
pub enum IndexOperation {
    /// `payload` is an NDJSON file (one object a line); it must stay in place until `apply` is back.
    DocumentAddition {
        method: AdditionMethod,
        primary_key: Option<String>,
        payload: PathBuf,
    },
    /// Ids as text: integer 1 and "1" are both "1".
    DocumentDeletion {
        ids: Vec<String>,
    },
    DocumentDeletionByFilter {
        filter: Value,
    },
    DocumentClear,
    DocumentEdition {
        filter: Option<Value>,
        context: Option<Map<String, Value>>,
        function: String,
    },
    /// `settings` is what `settings::parse_update` or `settings::reset` gave (JSON, safe to store with the task).
    Settings {
        settings: Value,
    },
}

/// What came of one operation; counts are for the task's details.
#[derive(Debug, Clone, Default)]
pub struct OperationOutcome {
    pub indexed_documents: Option<u64>,
    pub deleted_documents: Option<u64>,
    pub edited_documents: Option<u64>,
    pub error: Option<ResponseError>,
}

/// Applies `operations` in order to the index `uid` and answers one outcome for each.
///
/// A batch is committed as a whole: several operations are allowed only where all are `DocumentAddition` with the same
/// `primary_key`, or all are deletions by id; `can_batch` tells. An operation's own mistake (a bad id) is its outcome's
/// error and leaves the others alone. The index is created when absent for additions and settings; for the others an
/// absent index is `index_not_found` in the outcome. `must_stop` cancels: nothing is committed then and the answer is `None`.
pub fn apply(
    _engine: &Engine,
    _uid: &str,
    _operations: &[IndexOperation],
    _must_stop: &(dyn Fn() -> bool + Send + Sync),
) -> Option<Vec<OperationOutcome>> {
    todo!()
}

/// True when `next` may join a batch that starts with `first`.
pub fn can_batch(_first: &IndexOperation, _next: &IndexOperation) -> bool {
    todo!()
}
