//! What is asked, as the key of its answer.

use std::hash::{Hash, Hasher};

use bytes::Bytes;

use super::wish::Wish;
use crate::gateway::head::Head;
use crate::meili::operation::{Operation, Read};
use crate::plan::multi_search;

/// Asks for what names a search, and so is another each time.
const INCLUDE_METADATA: &str = "meili-include-metadata";

/// A read, by all that its answer depends on: what the client wrote, with what its key restricts written into it. Bytes are
/// compared and not their hash alone, so that nobody gets another's answer by a collision.
#[derive(Debug, Clone)]
pub struct Question {
    name: &'static str,
    /// The index in the path; none for several searches.
    index: Option<String>,
    /// Path and query.
    target: String,
    body: Bytes,
    pub wish: Wish,
}

// === impl Question ===

impl Question {
    /// `None` for what is never kept. `target` and `body` are narrowed to what the client may see.
    pub fn of(operation: &Operation, head: &Head, target: &str, body: &Bytes) -> Option<Self> {
        let Operation::Read(read) = operation else { return None };
        match read {
            Read::SearchGet { .. }
            | Read::SearchPost { .. }
            | Read::FacetSearch { .. }
            | Read::MultiSearch
            | Read::SimilarGet { .. }
            | Read::SimilarPost { .. }
            | Read::GetDocument { .. }
            | Read::ListDocuments { .. }
            | Read::FetchDocuments { .. } => {}
            // Seldom asked, or about the moment.
            Read::Version
            | Read::Stats
            | Read::ListIndexes
            | Read::GetIndex { .. }
            | Read::IndexStats { .. }
            | Read::ListFields { .. }
            | Read::RenderTemplate
            | Read::GetSettings { .. }
            | Read::GetSetting { .. }
            | Read::GetExperimentalFeatures
            | Read::GetNetwork
            | Read::ListDynamicSearchRules
            | Read::GetDynamicSearchRule { .. } => return None,
        }
        if head.headers.contains_key(INCLUDE_METADATA) {
            return None;
        }
        let lines = head.headers.get_all(http::header::CACHE_CONTROL).iter();
        Some(Self {
            name: operation.name(),
            index: operation.index().map(str::to_owned),
            target: target.to_owned(),
            body: body.clone(),
            wish: Wish::of(lines.filter_map(|line| line.to_str().ok())),
        })
    }

    /// In bytes.
    pub fn bytes(&self) -> u64 {
        (self.target.len() + self.body.len()) as u64
    }

    /// The indexes whose documents and settings the answer depends on.
    pub fn indexes(&self) -> Vec<String> {
        match &self.index {
            Some(index) => vec![index.clone()],
            None => multi_search::indexes(&self.body),
        }
    }

    fn parts(&self) -> (&str, &str, &[u8]) {
        (self.name, &self.target, &self.body)
    }
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Question {}

impl Hash for Question {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}
