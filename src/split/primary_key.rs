//! The primary key: which field it is, and what a document says in it, by Meilisearch's rules.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::document::{Document, Raw};
use crate::meili::error::{Code, ResponseError};

/// What the last letters of a key are, in lower case, that is guessed to be the primary one.
const GUESSED_ENDING: &str = "id";
/// Separates the levels of a nested primary key.
const LEVEL_SEPARATOR: char = '.';
/// An id is shorter than this, in bytes.
const ID_LIMIT: usize = 512;
/// The engine numbers fields with 16 bits.
const FIELD_LIMIT: usize = 65_535;

/// Why a batch fails for the sake of one document; the batch's task says it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum IdError {
    #[error("Document doesn't have a `{primary_key}` attribute: `{document}`.")]
    Missing { primary_key: String, document: String },
    #[error("Document have too many matching `{primary_key}` attribute: `{document}`.")]
    TooMany { primary_key: String, document: String },
    #[error(
        "Document identifier `{id}` is invalid. A document identifier can be of type integer or string, only composed \
         of alphanumeric characters (a-z A-Z 0-9), hyphens (-) and underscores (_), and can not be more than 511 bytes."
    )]
    Invalid { id: Value },
    #[error(
        "The primary key inference failed as the engine did not find any field ending with `id` in its name. Please \
         specify the primary key manually using the `primaryKey` query parameter."
    )]
    NoCandidate,
    #[error(
        "The primary key inference failed as the engine found {} fields ending with `id` in their names: '{}' and \
         '{}'. Please specify the primary key manually using the `primaryKey` query parameter.",
        candidates.len(), candidates[0], candidates[1]
    )]
    ManyCandidates { candidates: Vec<String> },
    /// The request names another primary key than the index has.
    #[error("Index already has a primary key: `{stored}`.")]
    Changed { stored: String },
    /// It could be that of a document of words.
    #[error("Document identifier `{id}` is reserved.")]
    Reserved { id: String },
    #[error("A document cannot contain more than 65,535 fields.")]
    TooManyFields,
}

/// The primary key that `first`, the first document of an index, suggests.
pub fn infer(first: &Document<'_>) -> Result<String, IdError> {
    let candidates: BTreeSet<&str> =
        first.fields().iter().map(|(key, _)| key.as_ref()).filter(|key| is_candidate(key)).collect();
    let mut candidates = candidates.into_iter();
    match (candidates.next(), candidates.next()) {
        (None, _) => Err(IdError::NoCandidate),
        (Some(only), None) => Ok(only.to_owned()),
        (Some(first), Some(second)) => Err(IdError::ManyCandidates {
            candidates: [first, second].into_iter().chain(candidates).map(str::to_owned).collect(),
        }),
    }
}

/// True for a field that could be guessed to be the primary key.
pub fn is_candidate(name: &str) -> bool {
    name.to_lowercase().ends_with(GUESSED_ENDING)
}

/// The id of `document` as text: what `primary_key` says, at the first level or deeper when it has dots.
pub fn document_id<'a>(document: &Document<'a>, primary_key: &str) -> Result<Cow<'a, str>, IdError> {
    let mut found = None;
    for (key, value) in document.fields() {
        match look(key, *value, primary_key, &mut found) {
            Ok(()) => {}
            Err(Refusal::Invalid(id)) => return Err(IdError::Invalid { id }),
            Err(Refusal::TooMany) => {
                return Err(IdError::TooMany { primary_key: primary_key.to_owned(), document: anew(document) });
            }
        }
    }
    if document.fields().len() > FIELD_LIMIT {
        return Err(IdError::TooManyFields);
    }
    found.ok_or_else(|| IdError::Missing { primary_key: primary_key.to_owned(), document: anew(document) })
}

/// Why a value is no id.
enum Refusal {
    Invalid(Value),
    TooMany,
}

/// Looks for the id under `key`; `path` is what of the primary key is below the current level. A key may hold dots
/// itself, so each way of cutting the path is tried.
fn look<'a>(key: &str, value: Raw<'a>, path: &str, found: &mut Option<Cow<'a, str>>) -> Result<(), Refusal> {
    let Some(below) = path.strip_prefix(key) else { return Ok(()) };
    let id = if below.is_empty() {
        id_of(value)?
    } else {
        let Some(below) = below.strip_prefix(LEVEL_SEPARATOR).filter(|_| !key.is_empty()) else { return Ok(()) };
        // A value that is no object has nothing below it; that is no error.
        let Ok(object) = Document::parse(value.get()) else { return Ok(()) };
        let mut nested = None;
        for (name, inner) in object.fields() {
            look(name, *inner, below, &mut nested)?;
        }
        match nested {
            Some(id) => id,
            None => return Ok(()),
        }
    };
    match found.replace(id) {
        Some(_) => Err(Refusal::TooMany),
        None => Ok(()),
    }
}

/// The text of an id: a string of few characters, or an integer.
fn id_of(value: Raw<'_>) -> Result<Cow<'_, str>, Refusal> {
    let raw = value.get();
    if let Some(text) = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'))
        && is_valid_id(text)
    {
        return Ok(Cow::Borrowed(text));
    }
    match serde_json::from_str(raw) {
        Ok(Value::String(text)) if is_valid_id(&text) => Ok(Cow::Owned(text)),
        Ok(Value::Number(number)) if !number.is_f64() => Ok(Cow::Owned(number.to_string())),
        Ok(other) => Err(Refusal::Invalid(other)),
        Err(_) => Err(Refusal::Invalid(Value::String(raw.to_owned()))),
    }
}

/// True for what the engine takes as an id given as text.
pub fn is_valid_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !id.is_empty() && id.len() < ID_LIMIT && id.bytes().all(is_plain)
}

/// The document as the engine prints it in errors.
fn anew(document: &Document<'_>) -> String {
    match serde_json::from_str::<Map<String, Value>>(document.raw()) {
        Ok(object) => serde_json::to_string(&object).expect("a parsed object always serializes"),
        Err(_) => document.raw().to_owned(),
    }
}

// === impl IdError ===

impl IdError {
    /// What the engine calls it.
    pub fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code::MissingDocumentId,
            Self::TooMany { .. } | Self::Invalid { .. } | Self::Reserved { .. } => Code::InvalidDocumentId,
            Self::NoCandidate => Code::IndexPrimaryKeyNoCandidateFound,
            Self::ManyCandidates { .. } => Code::IndexPrimaryKeyMultipleCandidatesFound,
            Self::Changed { .. } => Code::IndexPrimaryKeyAlreadyExists,
            Self::TooManyFields => Code::MaxFieldsLimitExceeded,
        }
    }
}

impl From<IdError> for ResponseError {
    fn from(error: IdError) -> Self {
        ResponseError::new(error.code(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(raw: &str, key: &str) -> Result<String, String> {
        let document = Document::parse(raw).unwrap();
        document_id(&document, key).map(|id| id.into_owned()).map_err(|error| error.to_string())
    }

    fn guess(raw: &str) -> Result<String, IdError> {
        infer(&Document::parse(raw).unwrap())
    }

    #[test]
    fn the_one_field_that_ends_with_id_is_guessed() {
        assert_eq!(guess(r#"{"name":1,"bookID":2}"#), Ok("bookID".into()));
        assert_eq!(guess(r#"{"id":1,"id":2}"#), Ok("id".into()));
        let error = guess(r#"{"name":1,"idx":2}"#).unwrap_err();
        assert_eq!(error, IdError::NoCandidate);
        assert_eq!(
            error.to_string(),
            "The primary key inference failed as the engine did not find any field ending with `id` in its name. \
             Please specify the primary key manually using the `primaryKey` query parameter."
        );
        let error = guess(r#"{"project_id":1,"object_id":3,"id":2}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "The primary key inference failed as the engine found 3 fields ending with `id` in their names: 'id' and \
             'object_id'. Please specify the primary key manually using the `primaryKey` query parameter."
        );
    }

    #[test]
    fn integers_and_strings_are_ids() {
        assert_eq!(id(r#"{"id":1}"#, "id"), Ok("1".into()));
        assert_eq!(id(r#"{"id":-7}"#, "id"), Ok("-7".into()));
        assert_eq!(id(r#"{"id":18446744073709551615}"#, "id"), Ok("18446744073709551615".into()));
        assert_eq!(id(r#"{"id":"a-B_9"}"#, "id"), Ok("a-B_9".into()));
        assert_eq!(id(r#"{"id":"\u0061"}"#, "id"), Ok("a".into()));
        assert_eq!(id(r#"{"\u0069d":"x"}"#, "id"), Ok("x".into()));
    }

    #[test]
    fn nothing_else_is() {
        for value in
            ["1.5", "1.0", "-0", "null", "true", "[1]", "{\"a\":1}", "\"\"", "\"a b\"", "\"é\"", "18446744073709551616"]
        {
            let error = id(&format!(r#"{{"id":{value}}}"#), "id").unwrap_err();
            assert!(error.starts_with("Document identifier `"), "{value}: {error}");
        }
        assert_eq!(
            id(r#"{"id":"not valid!"}"#, "id").unwrap_err(),
            "Document identifier `\"not valid!\"` is invalid. A document identifier can be of type integer or string, \
             only composed of alphanumeric characters (a-z A-Z 0-9), hyphens (-) and underscores (_), and can not be \
             more than 511 bytes."
        );
        assert!(id(&format!(r#"{{"id":"{}"}}"#, "a".repeat(511)), "id").is_ok());
        assert!(id(&format!(r#"{{"id":"{}"}}"#, "a".repeat(512)), "id").is_err());
    }

    #[test]
    fn a_missing_id_shows_the_document() {
        assert_eq!(
            id(r#"{ "id": "11", "content": "foobar" }"#, "docid").unwrap_err(),
            "Document doesn't have a `docid` attribute: `{\"id\":\"11\",\"content\":\"foobar\"}`."
        );
    }

    #[test]
    fn a_key_with_dots_looks_below_and_in_names_with_dots() {
        assert_eq!(id(r#"{"a":{"b":{"c":1}}}"#, "a.b.c"), Ok("1".into()));
        assert_eq!(id(r#"{"a.b":{"c":1}}"#, "a.b.c"), Ok("1".into()));
        assert_eq!(id(r#"{"a":{"b.c":1}}"#, "a.b.c"), Ok("1".into()));
        assert_eq!(id(r#"{"a.b.c":1}"#, "a.b.c"), Ok("1".into()));
        assert!(id(r#"{"a":{"b":1}}"#, "a.b.c").unwrap_err().starts_with("Document doesn't have a `a.b.c` attribute"));
        assert!(id(r#"{"a":5,"ab":{"c":1}}"#, "a.b").unwrap_err().starts_with("Document doesn't have"));
        assert!(
            id(r#"{"a":{"b":1},"a.b":2}"#, "a.b")
                .unwrap_err()
                .starts_with("Document have too many matching `a.b` attribute")
        );
    }

    #[test]
    fn a_key_given_twice_is_too_many() {
        assert_eq!(
            id(r#"{"id":1,"id":2}"#, "id").unwrap_err(),
            "Document have too many matching `id` attribute: `{\"id\":2}`."
        );
    }
}
