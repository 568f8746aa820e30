//! Writes of documents that the request names, which go to the nodes that own their shards.

use serde::Serialize;

use super::facts::{Facts, Takes};
use crate::meili::action::Action;

/// How a document write treats a document that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DocumentMethod {
    /// POST: the new document takes the old one's place.
    Replace,
    /// PUT: the new document's fields are written over the old one's.
    Update,
}

/// A write of documents that the request names, by their bodies or their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "documents")]
pub enum Documents {
    Add { index: String, method: DocumentMethod },
    Delete { index: String, id: String },
    DeleteBatch { index: String },
}

// === impl Documents ===

impl Documents {
    /// See [`Facts`]; the one place where a write of documents says its name, key action and body.
    pub(super) fn facts(&self) -> Facts<'_> {
        match self {
            Self::Add { index, .. } => {
                Facts::new("addDocuments", Action::DocumentsAdd).of(index).taking(Takes::Documents)
            }
            Self::Delete { index, .. } => Facts::new("deleteDocument", Action::DocumentsDelete).of(index),
            Self::DeleteBatch { index } => {
                Facts::new("deleteDocumentsBatch", Action::DocumentsDelete).of(index).taking(Takes::Json)
            }
        }
    }
}
