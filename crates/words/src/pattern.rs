//! The indexes that a key is good for: a uid, the start of one with a star, or a star.

use serde::{Deserialize, Serialize};

use super::uid::IndexUid;

/// `movies`, `movies_*` or `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IndexPattern(String);

// === impl IndexPattern ===

impl IndexPattern {
    /// The pattern that every index meets.
    pub fn all() -> Self {
        Self("*".to_owned())
    }

    /// `Err` holds the engine's message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix('*').unwrap_or(text);
        if text == "*" || IndexUid::parse(name).is_ok() {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "`{name}` is not a valid index uid pattern. Index uid patterns can be an integer or a string containing \
             only alphanumeric characters, hyphens (-), underscores (_), and optionally end with a star (*)."
        ))
    }

    /// As a key lists it: `movies`, `movies_*` or `*`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for `*`, which every index meets.
    pub fn is_all(&self) -> bool {
        self.0 == "*"
    }

    /// True when it names one index only.
    pub fn is_exact(&self) -> bool {
        !self.0.ends_with('*')
    }

    /// True if the index is one of those that the pattern names: `movies_*` is met by `movies_fr`.
    pub fn meets(&self, index: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => index.starts_with(prefix),
            None => self.0 == index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_ending() {
        let pattern = IndexPattern::parse("movies_*").unwrap();
        assert!(pattern.meets("movies_fr") && !pattern.meets("movies"));
        assert!(IndexPattern::all().meets("anything"));
        assert!(IndexPattern::parse("a b*").unwrap_err().starts_with("`a b` is not a valid index uid pattern."));
        assert!(IndexPattern::parse("mov*ies").unwrap_err().starts_with("`mov*ies` is not a valid index uid pattern."));
    }
}
