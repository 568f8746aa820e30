//! What a request may touch once its key was checked.

use uuid::Uuid;

use super::tenant::SearchRules;
use crate::meili::pattern::IndexPattern;
use crate::tasks::filter::IndexAccess;

/// The indexes that a request may touch, and the rules that narrow its searches.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Of the API key; `None` with the master key or where no key is needed.
    pub key_indexes: Option<Vec<IndexPattern>>,
    /// Of the tenant token, if one was shown.
    pub rules: Option<SearchRules>,
    /// A write may not bring an index into being.
    pub may_not_create: bool,
    /// Of the API key that was shown, or that the tenant token was signed with; `None` with the master key.
    pub key_uid: Option<Uuid>,
}

// === impl Access ===

impl Access {
    /// May touch everything.
    pub fn full() -> Self {
        Self::default()
    }

    /// True when no index is hidden.
    pub fn is_unrestricted(&self) -> bool {
        let by_key = self.key_indexes.as_ref().is_none_or(|patterns| patterns.iter().any(IndexPattern::is_all));
        by_key && self.rules.as_ref().is_none_or(SearchRules::names_all)
    }

    /// By the key and, where there is one, the tenant token.
    pub fn allows(&self, index: &str) -> bool {
        self.key_allows(index) && self.token_allows(index)
    }

    /// True for every index where the key is not restricted.
    pub fn key_allows(&self, index: &str) -> bool {
        self.key_indexes.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.meets(index)))
    }

    /// True for every index without a tenant token.
    pub fn token_allows(&self, index: &str) -> bool {
        self.rules.as_ref().is_none_or(|rules| rules.allow(index))
    }

    /// The key's patterns in order, for the message that names them.
    pub fn key_patterns(&self) -> Vec<String> {
        sorted(self.key_indexes.iter().flatten())
    }

    /// How the task routes see it.
    pub fn tasks(&self) -> IndexAccess {
        match &self.key_indexes {
            Some(patterns) if !self.is_unrestricted() => {
                IndexAccess::Only(patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect())
            }
            Some(_) | None => IndexAccess::All,
        }
    }
}

/// Patterns as texts, in order.
pub fn sorted<'a>(patterns: impl Iterator<Item = &'a IndexPattern>) -> Vec<String> {
    let mut texts: Vec<String> = patterns.map(|pattern| pattern.as_str().to_owned()).collect();
    texts.sort_unstable();
    texts
}
