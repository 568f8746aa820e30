//! What is done, by names that rules use. Both forms of one thing have one name: a search by GET is a search.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::meili::operation::{Change, DocumentMethod, Documents, Operation, Read, route};

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum On {
    /// One name.
    Deed(String),
    /// All that only reads, the gateway's own answers aside.
    Reads,
    /// All that changes documents, indexes or settings.
    Writes,
    /// Changes of settings.
    Settings,
}

/// One search.
pub const SEARCH: &str = "search";
/// A search among the values of a facet.
pub const FACET_SEARCH: &str = "facetSearch";
/// Documents like another one.
pub const SIMILAR: &str = "similar";
/// Documents by filter or ids, asked for with a body.
pub const FETCH_DOCUMENTS: &str = "fetchDocuments";
/// An edit of documents by a function.
pub const EDIT_DOCUMENTS: &str = "editDocuments";
/// A deletion of documents by a filter.
pub const DELETE_BY_FILTER: &str = "deleteDocumentsByFilter";

/// What has a filter in its body.
pub const FILTERED: &[&str] = &[SEARCH, FACET_SEARCH, SIMILAR, FETCH_DOCUMENTS, EDIT_DOCUMENTS, DELETE_BY_FILTER];

/// What has parameters that rules can change.
pub const ASKED: &[&str] = &[SEARCH, FACET_SEARCH, SIMILAR, FETCH_DOCUMENTS];

/// The name of what an operation does.
pub fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Read(Read::SearchGet { .. } | Read::SearchPost { .. }) => SEARCH,
        Operation::Read(Read::SimilarGet { .. } | Read::SimilarPost { .. }) => SIMILAR,
        Operation::Read(Read::ListDocuments { .. } | Read::FetchDocuments { .. }) => FETCH_DOCUMENTS,
        Operation::Documents(Documents::Add { method: DocumentMethod::Update, .. }) => "updateDocuments",
        Operation::Documents(Documents::Delete { .. } | Documents::DeleteBatch { .. }) => "deleteDocuments",
        Operation::Documents(Documents::Add { method: DocumentMethod::Replace, .. })
        | Operation::Own(_)
        | Operation::Read(_)
        | Operation::Change(_)
        | Operation::Work(_)
        | Operation::Unsupported { .. } => operation.name(),
    }
}

/// All names that there are.
pub fn names() -> &'static BTreeSet<&'static str> {
    static NAMES: LazyLock<BTreeSet<&'static str>> =
        LazyLock::new(|| route::every().iter().map(name).filter(|name| *name != "unsupported").collect());
    &NAMES
}

/// The names of what is done to one index, which a rule can exchange.
pub fn of_one_index() -> &'static [&'static str] {
    &KINDS.of_one_index
}

// === impl On ===

impl On {
    /// `None` for a name that nothing has.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "reads" => Some(Self::Reads),
            "writes" => Some(Self::Writes),
            "settings" => Some(Self::Settings),
            name => names().contains(name).then(|| Self::Deed(name.to_owned())),
        }
    }

    /// True if it is about `deed`.
    pub fn is_about(&self, deed: &str) -> bool {
        match self {
            Self::Deed(name) => name == deed,
            Self::Reads => KINDS.reads.contains(deed),
            Self::Writes => KINDS.writes.contains(deed),
            Self::Settings => KINDS.settings.contains(deed),
        }
    }

    /// The names that it stands for.
    pub fn deeds(&self) -> Vec<&'static str> {
        names().iter().copied().filter(|name| self.is_about(name)).collect()
    }
}

struct Kinds {
    reads: BTreeSet<&'static str>,
    writes: BTreeSet<&'static str>,
    settings: BTreeSet<&'static str>,
    of_one_index: Vec<&'static str>,
}

static KINDS: LazyLock<Kinds> = LazyLock::new(|| {
    let every = route::every();
    let named = |is: fn(&Operation) -> bool| every.iter().filter(|operation| is(operation)).map(name).collect();
    Kinds {
        reads: named(|operation| matches!(operation, Operation::Read(_))),
        writes: named(|operation| matches!(operation, Operation::Change(_) | Operation::Documents(_))),
        of_one_index: every.iter().filter(|operation| operation.index().is_some()).map(name).collect(),
        settings: named(|operation| {
            matches!(
                operation,
                Operation::Change(
                    Change::UpdateSettings { .. }
                        | Change::ResetSettings { .. }
                        | Change::UpdateSetting { .. }
                        | Change::ResetSetting { .. }
                )
            )
        }),
    }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_one_thing_have_one_name() {
        for (method, path, named) in [
            ("GET", "/indexes/a/search", SEARCH),
            ("POST", "/indexes/a/search", SEARCH),
            ("GET", "/indexes/a/documents", FETCH_DOCUMENTS),
            ("POST", "/indexes/a/documents/fetch", FETCH_DOCUMENTS),
            ("POST", "/indexes/a/documents", "addDocuments"),
            ("PUT", "/indexes/a/documents", "updateDocuments"),
            ("POST", "/indexes/a/documents/delete-batch", "deleteDocuments"),
            ("POST", "/multi-search", "multiSearch"),
        ] {
            assert_eq!(name(&route::route(method, path).unwrap()), named);
        }
    }

    #[test]
    fn every_name_is_known_and_kinds_hold_what_they_say() {
        assert!(ASKED.iter().chain(FILTERED).all(|name| names().contains(name)));
        assert!(
            On::parse("fetchDocuments").is_some() && On::parse("searchGet").is_none() && On::parse("sing").is_none()
        );
        assert!(
            On::Writes.is_about("addDocuments") && On::Writes.is_about("swapIndexes") && !On::Writes.is_about(SEARCH)
        );
        assert!(On::Settings.is_about("updateSetting") && !On::Settings.is_about("getSettings"));
        assert!(On::Reads.is_about(SEARCH) && !On::Reads.is_about("listTasks"));
        assert!(of_one_index().contains(&SEARCH) && !of_one_index().contains(&"multiSearch"));
    }
}
