//! What nodes answer without a change.

use serde::Serialize;

use super::facts::{Facts, Reach, Takes};
use crate::meili::action::Action;
use crate::meili::settings::Setting;

/// An operation that changes nothing and that nodes answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "read")]
pub enum Read {
    Version,
    Stats,
    ListIndexes,
    GetIndex { index: String },
    IndexStats { index: String },
    GetDocument { index: String, id: String },
    ListDocuments { index: String },
    FetchDocuments { index: String },
    ListFields { index: String },
    SearchGet { index: String },
    SearchPost { index: String },
    FacetSearch { index: String },
    MultiSearch,
    SimilarGet { index: String },
    SimilarPost { index: String },
    GetSettings { index: String },
    GetSetting { index: String, setting: Setting },
    GetExperimentalFeatures,
    GetNetwork,
    RenderTemplate,
    ListDynamicSearchRules,
    GetDynamicSearchRule { uid: String },
}

// === impl Read ===

impl Read {
    /// See [`Facts`]; the one place where a read's name, key action and body are said.
    pub(super) fn facts(&self) -> Facts<'_> {
        match self {
            Self::Version => Facts::new("version", Action::Version),
            Self::Stats => Facts::new("stats", Action::StatsGet),
            Self::ListIndexes => Facts::new("listIndexes", Action::IndexesGet),
            Self::GetIndex { index } => Facts::new("getIndex", Action::IndexesGet).of(index),
            Self::IndexStats { index } => Facts::new("indexStats", Action::StatsGet).of(index),

            Self::GetDocument { index, .. } => Facts::new("getDocument", Action::DocumentsGet).of(index),
            Self::ListDocuments { index } => Facts::new("listDocuments", Action::DocumentsGet).of(index),
            Self::FetchDocuments { index } => {
                Facts::new("fetchDocuments", Action::DocumentsGet).of(index).taking(Takes::Json)
            }
            Self::ListFields { index } => Facts::new("listFields", Action::FieldsPost).of(index).taking(Takes::Json),

            Self::SearchGet { index } => search("searchGet").of(index).reaching(Reach::QueryFilter),
            Self::SearchPost { index } => {
                search("searchPost").of(index).taking(Takes::Json).reaching(Reach::BodyFilter)
            }
            Self::FacetSearch { index } => {
                search("facetSearch").of(index).taking(Takes::Json).reaching(Reach::BodyFilter)
            }
            Self::MultiSearch => search("multiSearch").taking(Takes::Json).reaching(Reach::Queries),
            Self::SimilarGet { index } => search("similarGet").of(index).reaching(Reach::QueryFilter),
            Self::SimilarPost { index } => {
                search("similarPost").of(index).taking(Takes::Json).reaching(Reach::BodyFilter)
            }

            Self::GetSettings { index } => Facts::new("getSettings", Action::SettingsGet).of(index),
            Self::GetSetting { index, .. } => Facts::new("getSetting", Action::SettingsGet).of(index),
            Self::GetExperimentalFeatures => Facts::new("getExperimentalFeatures", Action::ExperimentalGet),
            Self::GetNetwork => Facts::new("getNetwork", Action::NetworkGet),
            Self::RenderTemplate => Facts::new("renderTemplate", Action::SettingsGet)
                .and(Action::DocumentsGet)
                .taking(Takes::Json)
                .reaching(Reach::Template),
            Self::ListDynamicSearchRules => {
                Facts::new("listDynamicSearchRules", Action::DynamicSearchRulesGet).taking(Takes::Json)
            }
            Self::GetDynamicSearchRule { .. } => Facts::new("getDynamicSearchRule", Action::DynamicSearchRulesGet),
        }
    }
}

fn search<'a>(name: &'static str) -> Facts<'a> {
    Facts::new(name, Action::Search)
}
