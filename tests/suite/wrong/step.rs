//! What a sequence of requests is made of.

use serde::{Deserialize, Serialize};

/// Requests that are sent one after the other, each once the task of the one before has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    pub steps: Vec<Step>,
}

/// One request. `$A` and `$B` in path and body stand for two indexes of the sequence's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub kind: Kind,
    pub method: String,
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// What a request asks for; each is drawn right and wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    AddDocuments,
    Settings,
    Edit,
    DeleteDocuments,
    CreateIndex,
    UpdateIndex,
    DeleteIndex,
    Swap,
    Search,
    HeavySearch,
    HugePage,
    ReadDocuments,
}

// === impl Kind ===

impl Kind {
    pub const ALL: [Kind; 12] = [
        Self::AddDocuments,
        Self::Settings,
        Self::Edit,
        Self::DeleteDocuments,
        Self::CreateIndex,
        Self::UpdateIndex,
        Self::DeleteIndex,
        Self::Swap,
        Self::Search,
        Self::HeavySearch,
        Self::HugePage,
        Self::ReadDocuments,
    ];

    /// True when the request may change what is there.
    pub fn writes(self) -> bool {
        match self {
            Self::AddDocuments
            | Self::Settings
            | Self::Edit
            | Self::DeleteDocuments
            | Self::CreateIndex
            | Self::UpdateIndex
            | Self::DeleteIndex
            | Self::Swap => true,
            Self::Search | Self::HeavySearch | Self::HugePage | Self::ReadDocuments => false,
        }
    }
}

// === impl Step ===

impl std::fmt::Display for Step {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body: String = self.body.chars().take(300).collect();
        write!(formatter, "{} {} {body}", self.method, self.path)
    }
}

impl Step {
    pub fn json(kind: Kind, method: &str, path: &str, body: impl ToString) -> Self {
        Self::of(kind, method, path, Some("application/json"), body.to_string())
    }

    pub fn bare(kind: Kind, method: &str, path: &str) -> Self {
        Self::of(kind, method, path, None, String::new())
    }

    pub fn of(kind: Kind, method: &str, path: &str, content_type: Option<&str>, body: String) -> Self {
        Self {
            kind,
            method: method.to_owned(),
            path: path.to_owned(),
            content_type: content_type.map(str::to_owned),
            body,
        }
    }
}
