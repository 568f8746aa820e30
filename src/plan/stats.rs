//! Figures about indexes.

use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "of")]
pub enum StatsPlan {
    Index { index: String },
    AllIndexes,
}
