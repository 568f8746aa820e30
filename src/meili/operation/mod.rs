//! Every operation of the HTTP API that Miroir knows.
//!
//! # Layout
//!
//! | file | what |
//! |---|---|
//! | [`facts`] | what the other layers have to know of each: the one place that lists them all |
//! | [`route`](mod@route) | the route table that finds one |

pub mod facts;
pub mod route;
#[cfg(test)]
pub mod tests;

use serde::Serialize;

use super::error::{Code, ResponseError};
use super::settings::Setting;
use super::uid::IndexUid;

pub use facts::{Class, Facts, Reach};
pub use route::{RouteError, route};

/// How a document write treats a document that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DocumentMethod {
    /// POST: the new document takes the old one's place.
    Replace,
    /// PUT: the new document's fields are written over the old one's.
    Update,
}

/// What a client asks for, without its query string and body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "operation")]
pub enum Operation {
    Health,
    Version,
    Stats,
    ListIndexes,
    CreateIndex,
    GetIndex {
        index: String,
    },
    UpdateIndex {
        index: String,
    },
    DeleteIndex {
        index: String,
    },
    IndexStats {
        index: String,
    },
    SwapIndexes,
    AddDocuments {
        index: String,
        method: DocumentMethod,
    },
    GetDocument {
        index: String,
        id: String,
    },
    ListDocuments {
        index: String,
    },
    FetchDocuments {
        index: String,
    },
    ListFields {
        index: String,
    },
    DeleteDocument {
        index: String,
        id: String,
    },
    DeleteDocumentsBatch {
        index: String,
    },
    DeleteDocumentsByFilter {
        index: String,
    },
    DeleteAllDocuments {
        index: String,
    },
    EditDocuments {
        index: String,
    },
    SearchGet {
        index: String,
    },
    SearchPost {
        index: String,
    },
    FacetSearch {
        index: String,
    },
    MultiSearch,
    SimilarGet {
        index: String,
    },
    SimilarPost {
        index: String,
    },
    GetSettings {
        index: String,
    },
    UpdateSettings {
        index: String,
    },
    ResetSettings {
        index: String,
    },
    GetSetting {
        index: String,
        setting: Setting,
    },
    UpdateSetting {
        index: String,
        setting: Setting,
    },
    ResetSetting {
        index: String,
        setting: Setting,
    },
    ListTasks,
    GetTask {
        id: String,
    },
    CancelTasks,
    DeleteTasks,
    DeleteTask {
        id: String,
    },
    ListKeys,
    CreateKey,
    GetKey {
        key: String,
    },
    UpdateKey {
        key: String,
    },
    DeleteKey {
        key: String,
    },
    GetExperimentalFeatures,
    UpdateExperimentalFeatures,
    /// Part of Meilisearch's API that Miroir does not serve; answered with `miroir_not_supported`.
    Unsupported {
        name: &'static str,
    },
}

// === impl Operation ===

impl Operation {
    /// The uid in the path, valid or not.
    pub fn index(&self) -> Option<&str> {
        self.facts().index
    }

    /// A word for logs and metric labels, the same for every index.
    pub fn name(&self) -> &'static str {
        self.facts().name
    }

    /// What the engine says of the uid in the path. To be asked after the key was checked, because the engine looks at
    /// the key first.
    pub fn validate(&self) -> Result<(), ResponseError> {
        let Some(index) = self.index() else { return Ok(()) };
        IndexUid::parse(index)?;
        match self.facts().class {
            Class::Read | Class::Own if IndexUid::is_reserved(index) => {
                Err(ResponseError::new(Code::IndexNotFound, format!("Index `{index}` not found.")))
            }
            Class::Read | Class::Own => Ok(()),
            Class::Documents | Class::Change => IndexUid::refuse_reserved(index),
        }
    }
}
