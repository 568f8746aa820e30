//! The primary key: which field it is, and what a document says in it, by Meilisearch's rules.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::document::Document;
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
    #[error("A document cannot contain more than 65,535 fields.")]
    TooManyFields,
}

/// The primary key that `first`, the first document of an index, suggests.
pub fn infer(first: &Document<'_>) -> Result<String, IdError> {
    let candidates: BTreeSet<&str> = first
        .fields()
        .iter()
        .map(|(key, _)| key.as_ref())
        .filter(|key| key.to_lowercase().ends_with(GUESSED_ENDING))
        .collect();
    let mut candidates = candidates.into_iter();
    match (candidates.next(), candidates.next()) {
        (None, _) => Err(IdError::NoCandidate),
        (Some(only), None) => Ok(only.to_owned()),
        (Some(first), Some(second)) => Err(IdError::ManyCandidates {
            candidates: [first, second].into_iter().chain(candidates).map(str::to_owned).collect(),
        }),
    }
}

/// The id of `document` as text: what `primary_key` says, at the first level or deeper when it has dots.
pub fn document_id<'a>(document: &Document<'a>, primary_key: &str) -> Result<Cow<'a, str>, IdError> {
    let mut found = None;
    for (key, value) in document.fields() {
        match look(key, value, primary_key, &mut found) {
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
fn look<'a>(key: &str, value: &'a RawValue, path: &str, found: &mut Option<Cow<'a, str>>) -> Result<(), Refusal> {
    let Some(below) = path.strip_prefix(key) else { return Ok(()) };
    let id = if below.is_empty() {
        id_of(value)?
    } else {
        let Some(below) = below.strip_prefix(LEVEL_SEPARATOR).filter(|_| !key.is_empty()) else { return Ok(()) };
        // A value that is no object has nothing below it; that is no error.
        let Ok(fields) = value.deserialize_map(Fields) else { return Ok(()) };
        let mut nested = None;
        for (name, inner) in fields {
            look(&name, inner, below, &mut nested)?;
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
fn id_of(value: &RawValue) -> Result<Cow<'_, str>, Refusal> {
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

/// The keys and raw values of a nested object.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = map.next_entry()? {
            fields.push(entry);
        }
        Ok(fields)
    }
}

// === impl IdError ===

impl IdError {
    pub fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code::MissingDocumentId,
            Self::TooMany { .. } | Self::Invalid { .. } => Code::InvalidDocumentId,
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
