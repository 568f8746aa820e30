//! Names of indexes and the patterns that stand for several of them.

use serde::{Deserialize, Serialize};

use crate::meili::error::{Code, ResponseError};

/// Longest name in bytes. The engine's message says 512; its check has 400.
const MAX_LENGTH: usize = 400;

/// An index name, or the start of one followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IndexPattern(String);

pub fn is_index_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_LENGTH
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// What is wrong with `name` as the name of an index.
pub fn invalid_name_message(name: &str) -> String {
    format!(
        "`{name}` is not a valid index uid. Index uid can be an integer or a string containing only alphanumeric \
         characters, hyphens (-) and underscores (_), and can not be more than 512 bytes."
    )
}

/// `name` if it can name an index, otherwise `invalid_index_uid`.
pub fn checked(name: &str) -> Result<String, ResponseError> {
    if is_index_name(name) {
        Ok(name.to_owned())
    } else {
        Err(ResponseError::new(Code::InvalidIndexUid, invalid_name_message(name)))
    }
}

// === impl IndexPattern ===

impl IndexPattern {
    pub fn all() -> Self {
        Self("*".to_owned())
    }

    /// `Err` tells what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let fits = text == "*" || is_index_name(name);
        if fits {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "`{name}` is not a valid index uid pattern. Index uid patterns can be an integer or a string containing \
             only alphanumeric characters, hyphens (-), underscores (_), and optionally end with a star (*)."
        ))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_all(&self) -> bool {
        self.0 == "*"
    }

    /// True when it names one index only.
    pub fn is_exact(&self) -> bool {
        !self.0.ends_with('*')
    }

    pub fn matches(&self, index: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => index.starts_with(start),
            None => self.0 == index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_letters_digits_hyphens_and_underscores() {
        assert!(is_index_name("Movies-2_b"));
        assert!(!is_index_name(""));
        assert!(!is_index_name("the good doggo"));
        assert!(!is_index_name(&"a".repeat(401)));
    }

    #[test]
    fn a_pattern_matches_by_its_start() {
        let pattern = IndexPattern::parse("prod_*").unwrap();
        assert!(pattern.matches("prod_movies"));
        assert!(!pattern.matches("dev_movies"));
        assert!(IndexPattern::parse("a b*").is_err());
    }
}
