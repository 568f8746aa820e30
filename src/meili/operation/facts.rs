//! What the other layers have to know of an operation, said once: a new operation is described here, and the rest
//! follows from its class.

use super::Operation;
use crate::meili::action::Action;

/// What an operation is, whatever it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    /// A word for logs and metric labels, the same for every index.
    pub name: &'static str,
    pub class: Class,
    /// What a key must allow; `None` where no key is needed.
    pub action: Option<Action>,
    /// The uid in the path, valid or not.
    pub index: Option<&'a str>,
    /// True where the body must say that it is JSON. Documents come in several formats, which their own code tells apart.
    pub takes_json: bool,
    pub reach: Reach,
}

/// Who carries an operation out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The nodes that own the shards of the documents that the request names.
    Documents,
    /// Every node makes the same change.
    Change,
    /// Nodes answer, and nothing is changed.
    Read,
    /// The gateway alone.
    Own,
}

/// Where a request, besides its path, says what it reaches: there a key's restrictions must be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nowhere: the path says all, and it is checked with the key.
    Path,
    /// A filter in the query string.
    QueryFilter,
    /// A filter in the body.
    BodyFilter,
    /// Searches in the body, each with its index and its filter.
    Queries,
    /// The uid of a new index, in the body.
    Uid,
    /// Pairs of indexes in the body.
    Swaps,
}

// === impl Operation ===

impl Operation {
    pub fn facts(&self) -> Facts<'_> {
        match self {
            Self::Health => own("health", None),
            Self::Version => read("version", Action::Version),
            Self::Stats => read("stats", Action::StatsGet),
            Self::ListIndexes => read("listIndexes", Action::IndexesGet),
            Self::CreateIndex => change("createIndex", Action::IndexesCreate).json().reaching(Reach::Uid),
            Self::GetIndex { index } => read("getIndex", Action::IndexesGet).of(index),
            Self::UpdateIndex { index } => change("updateIndex", Action::IndexesUpdate).of(index).json(),
            Self::DeleteIndex { index } => change("deleteIndex", Action::IndexesDelete).of(index),
            Self::IndexStats { index } => read("indexStats", Action::StatsGet).of(index),
            Self::SwapIndexes => change("swapIndexes", Action::IndexesSwap).json().reaching(Reach::Swaps),

            Self::AddDocuments { index, .. } => documents("addDocuments", Action::DocumentsAdd).of(index),
            Self::GetDocument { index, .. } => read("getDocument", Action::DocumentsGet).of(index),
            Self::ListDocuments { index } => read("listDocuments", Action::DocumentsGet).of(index),
            Self::FetchDocuments { index } => read("fetchDocuments", Action::DocumentsGet).of(index).json(),
            // Its own action is newer than the others; whoever may do all may do this.
            Self::ListFields { index } => read("listFields", Action::Any).of(index).json(),
            Self::DeleteDocument { index, .. } => documents("deleteDocument", Action::DocumentsDelete).of(index),
            Self::DeleteDocumentsBatch { index } => {
                documents("deleteDocumentsBatch", Action::DocumentsDelete).of(index).json()
            }
            Self::DeleteDocumentsByFilter { index } => {
                change("deleteDocumentsByFilter", Action::DocumentsDelete).of(index).json()
            }
            Self::DeleteAllDocuments { index } => change("deleteAllDocuments", Action::DocumentsDelete).of(index),
            Self::EditDocuments { index } => change("editDocuments", Action::DocumentsAny).of(index).json(),

            Self::SearchGet { index } => read("searchGet", Action::Search).of(index).reaching(Reach::QueryFilter),
            Self::SearchPost { index } => search("searchPost").of(index).reaching(Reach::BodyFilter),
            Self::FacetSearch { index } => search("facetSearch").of(index).reaching(Reach::BodyFilter),
            Self::MultiSearch => search("multiSearch").reaching(Reach::Queries),
            Self::SimilarGet { index } => read("similarGet", Action::Search).of(index).reaching(Reach::QueryFilter),
            Self::SimilarPost { index } => search("similarPost").of(index).reaching(Reach::BodyFilter),

            Self::GetSettings { index } => read("getSettings", Action::SettingsGet).of(index),
            Self::UpdateSettings { index } => change("updateSettings", Action::SettingsUpdate).of(index).json(),
            Self::ResetSettings { index } => change("resetSettings", Action::SettingsUpdate).of(index),
            Self::GetSetting { index, .. } => read("getSetting", Action::SettingsGet).of(index),
            Self::UpdateSetting { index, .. } => change("updateSetting", Action::SettingsUpdate).of(index).json(),
            Self::ResetSetting { index, .. } => change("resetSetting", Action::SettingsUpdate).of(index),

            Self::ListTasks => own("listTasks", Action::TasksGet),
            Self::GetTask { .. } => own("getTask", Action::TasksGet),
            Self::CancelTasks => own("cancelTasks", Action::TasksCancel),
            Self::DeleteTasks => own("deleteTasks", Action::TasksDelete),
            Self::DeleteTask { .. } => own("deleteTask", Action::TasksDelete),

            Self::ListKeys => own("listKeys", Action::KeysGet),
            Self::CreateKey => own("createKey", Action::KeysCreate).json(),
            Self::GetKey { .. } => own("getKey", Action::KeysGet),
            Self::UpdateKey { .. } => own("updateKey", Action::KeysUpdate).json(),
            Self::DeleteKey { .. } => own("deleteKey", Action::KeysDelete),

            Self::GetExperimentalFeatures => read("getExperimentalFeatures", Action::ExperimentalGet),
            Self::UpdateExperimentalFeatures => change("updateExperimentalFeatures", Action::ExperimentalUpdate).json(),
            // What Miroir does not serve is not described to those who may do little.
            Self::Unsupported { .. } => own("unsupported", Action::Any),
        }
    }
}

// === impl Facts ===

impl<'a> Facts<'a> {
    fn new(name: &'static str, class: Class, action: Option<Action>) -> Self {
        Self { name, class, action, index: None, takes_json: false, reach: Reach::Path }
    }

    fn of(self, index: &'a str) -> Self {
        Self { index: Some(index), ..self }
    }

    fn json(self) -> Self {
        Self { takes_json: true, ..self }
    }

    fn reaching(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }
}

fn documents<'a>(name: &'static str, action: Action) -> Facts<'a> {
    Facts::new(name, Class::Documents, Some(action))
}

fn change<'a>(name: &'static str, action: Action) -> Facts<'a> {
    Facts::new(name, Class::Change, Some(action))
}

fn read<'a>(name: &'static str, action: Action) -> Facts<'a> {
    Facts::new(name, Class::Read, Some(action))
}

/// A search whose parameters are in its body.
fn search<'a>(name: &'static str) -> Facts<'a> {
    read(name, Action::Search).json()
}

fn own<'a>(name: &'static str, action: impl Into<Option<Action>>) -> Facts<'a> {
    Facts::new(name, Class::Own, action.into())
}
