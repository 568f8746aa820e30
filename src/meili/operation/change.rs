//! What every node changes alike.

use serde::Serialize;

use super::facts::{Facts, Reach, Takes};
use crate::meili::action::Action;
use crate::meili::settings::Setting;

/// A change that every node makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum Change {
    CreateIndex,
    UpdateIndex { index: String },
    DeleteIndex { index: String },
    SwapIndexes,
    CompactIndex { index: String },
    DeleteDocumentsByFilter { index: String },
    DeleteAllDocuments { index: String },
    EditDocuments { index: String },
    UpdateSettings { index: String },
    ResetSettings { index: String },
    UpdateSetting { index: String, setting: Setting },
    ResetSetting { index: String, setting: Setting },
    UpdateExperimentalFeatures,
    UpdateDynamicSearchRule { uid: String },
    DeleteDynamicSearchRule { uid: String },
    ClearDynamicSearchRules,
}

// === impl Change ===

impl Change {
    /// See [`Facts`]; the one place where a change's name, key action and body are said.
    pub(super) fn facts(&self) -> Facts<'_> {
        match self {
            Self::CreateIndex => {
                Facts::new("createIndex", Action::IndexesCreate).taking(Takes::Json).reaching(Reach::Uid)
            }
            Self::UpdateIndex { index } => {
                Facts::new("updateIndex", Action::IndexesUpdate).of(index).taking(Takes::Json).reaching(Reach::Uid)
            }
            Self::DeleteIndex { index } => Facts::new("deleteIndex", Action::IndexesDelete).of(index),
            Self::SwapIndexes => {
                Facts::new("swapIndexes", Action::IndexesSwap).taking(Takes::Json).reaching(Reach::Swaps)
            }
            Self::CompactIndex { index } => Facts::new("compactIndex", Action::IndexesCompact).of(index),

            Self::DeleteDocumentsByFilter { index } => {
                Facts::new("deleteDocumentsByFilter", Action::DocumentsDelete).of(index).taking(Takes::Json)
            }
            Self::DeleteAllDocuments { index } => Facts::new("deleteAllDocuments", Action::DocumentsDelete).of(index),
            Self::EditDocuments { index } => {
                Facts::new("editDocuments", Action::DocumentsAny).of(index).taking(Takes::Json)
            }

            Self::UpdateSettings { index } => {
                Facts::new("updateSettings", Action::SettingsUpdate).of(index).taking(Takes::Json)
            }
            Self::ResetSettings { index } => Facts::new("resetSettings", Action::SettingsUpdate).of(index),
            Self::UpdateSetting { index, .. } => {
                Facts::new("updateSetting", Action::SettingsUpdate).of(index).taking(Takes::Json)
            }
            Self::ResetSetting { index, .. } => Facts::new("resetSetting", Action::SettingsUpdate).of(index),

            Self::UpdateExperimentalFeatures => {
                Facts::new("updateExperimentalFeatures", Action::ExperimentalUpdate).taking(Takes::Json)
            }

            Self::UpdateDynamicSearchRule { .. } => {
                Facts::new("updateDynamicSearchRule", Action::DynamicSearchRulesUpdate).taking(Takes::Json)
            }
            Self::DeleteDynamicSearchRule { .. } => {
                Facts::new("deleteDynamicSearchRule", Action::DynamicSearchRulesDelete)
            }
            Self::ClearDynamicSearchRules => Facts::new("clearDynamicSearchRules", Action::DynamicSearchRulesDelete),
        }
    }
}
