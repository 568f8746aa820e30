//! The uid of an index, and what Meilisearch says of a bad one.

use std::fmt;

use serde::Serialize;

use super::error::{Code, ResponseError};

/// The index on every node in which Miroir keeps who the node is. No client sees it, nor any name that begins so.
pub const RESERVED_INDEX: &str = "_miroir";

/// The index in which an engine keeps its dynamic search rules. No request can name it; tasks and dumps do.
pub const RULES_INDEX: &str = ".meili_dsr";

/// A valid index uid: 1 to 400 ASCII letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct IndexUid(String);

/// Meilisearch's own words for an index that does not exist.
pub fn index_not_found(index: &str) -> ResponseError {
    ResponseError::new(Code::IndexNotFound, format!("Index `{index}` not found."))
}

// === impl IndexUid ===

impl IndexUid {
    /// Refuses what the engine refuses, with the engine's words. (They say 512 bytes; the engine's bound is 400.)
    pub fn parse(uid: &str) -> Result<Self, ResponseError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if uid.is_empty() || uid.len() > 400 || !uid.bytes().all(legal) {
            return Err(ResponseError::new(
                Code::InvalidIndexUid,
                format!(
                    "`{uid}` is not a valid index uid. Index uid can be an integer or a string containing only \
                     alphanumeric characters, hyphens (-) and underscores (_), and can not be more than 512 bytes."
                ),
            ));
        }
        Ok(Self(uid.to_owned()))
    }

    /// The uid as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for names that no client can use.
    pub fn is_reserved(uid: &str) -> bool {
        uid.starts_with(RESERVED_INDEX)
    }

    /// What a client is told that wants to read such an index: it is not there.
    pub fn hide_reserved(uid: &str) -> Result<(), ResponseError> {
        if Self::is_reserved(uid) { Err(index_not_found(uid)) } else { Ok(()) }
    }

    /// What a client is told that wants to write to such an index.
    pub fn refuse_reserved(uid: &str) -> Result<(), ResponseError> {
        if !Self::is_reserved(uid) {
            return Ok(());
        }
        let message = format!("`{uid}` is reserved: names that begin with `{RESERVED_INDEX}` belong to Miroir.");
        Err(ResponseError::new(Code::InvalidIndexUid, message))
    }

    /// The uid as text of its own.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for IndexUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_digits_hyphens_and_underscores_make_a_uid() {
        for uid in ["a", "0", "Movies_2-x", &"x".repeat(400)] {
            assert_eq!(IndexUid::parse(uid).map(IndexUid::into_string).as_deref(), Ok(uid));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for uid in ["", "a b", "é", "a/b", "*", &"x".repeat(401)] {
            assert!(IndexUid::parse(uid).is_err_and(|error| error.is(Code::InvalidIndexUid)), "{uid}");
        }
    }
}
