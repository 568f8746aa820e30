//! The bodies of `POST` and `PATCH /keys`.

use deserr::{DeserializeError, Deserr, ErrorKind, IntoValue, ValuePointerRef, take_cf_content};
use miroir_words::action::Action;
use miroir_words::key;
use miroir_words::pattern::IndexPattern;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::Code;
use crate::http::extract::{
    InvalidApiKeyActions, InvalidApiKeyDescription, InvalidApiKeyExpiresAt, InvalidApiKeyIndexes, InvalidApiKeyName,
    InvalidApiKeyUid, JsonRefusal, Sentence, immutable_field, missing_field, unknown_field,
};

/// The body of `POST /keys`.
#[derive(Debug, Deserr)]
#[deserr(error = JsonRefusal, rename_all = camelCase, deny_unknown_fields)]
pub struct CreateKey {
    #[deserr(default, error = JsonRefusal<InvalidApiKeyDescription>)]
    pub description: Option<String>,
    #[deserr(default, error = JsonRefusal<InvalidApiKeyName>)]
    pub name: Option<String>,
    #[deserr(default = Uuid::new_v4(), error = JsonRefusal<InvalidApiKeyUid>, try_from(&String) = parse_uid -> Sentence)]
    pub uid: Uuid,
    #[deserr(error = JsonRefusal<InvalidApiKeyActions>, missing_field_error = missing_actions)]
    pub actions: Vec<KeyAction>,
    #[deserr(error = JsonRefusal<InvalidApiKeyIndexes>, missing_field_error = missing_indexes)]
    pub indexes: Vec<KeyPattern>,
    #[deserr(error = JsonRefusal<InvalidApiKeyExpiresAt>, try_from(Option<String>) = parse_expiration -> Sentence, missing_field_error = missing_expiration)]
    pub expires_at: Option<OffsetDateTime>,
}

/// The body of `PATCH /keys/{key}`.
#[derive(Debug, Deserr)]
#[deserr(error = JsonRefusal, rename_all = camelCase, deny_unknown_fields = refuse_key_field)]
pub struct PatchKey {
    #[deserr(default, error = JsonRefusal<InvalidApiKeyDescription>)]
    pub description: Patch,
    #[deserr(default, error = JsonRefusal<InvalidApiKeyName>)]
    pub name: Patch,
}

/// A text that a request leaves alone, clears or sets.
#[derive(Debug, Default)]
pub enum Patch {
    #[default]
    Keep,
    Clear,
    Set(String),
}

/// An action in a request body.
#[derive(Debug)]
pub struct KeyAction(pub Action);

/// A pattern in a request body.
#[derive(Debug, Deserr)]
#[deserr(try_from(&String) = parse_pattern -> Sentence)]
pub struct KeyPattern(pub IndexPattern);

// === impl KeyAction ===

impl<E: DeserializeError> Deserr<E> for KeyAction {
    fn deserialize_from_value<V: IntoValue>(value: deserr::Value<V>, location: ValuePointerRef<'_>) -> Result<Self, E> {
        let word = <String as Deserr<E>>::deserialize_from_value(value, location)?;
        let known = Action::ALL.iter().copied().find(|action| action.as_str() == word);
        known.map(Self).ok_or_else(|| {
            let accepted: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
            let unknown: ErrorKind<'_, V> = ErrorKind::UnknownValue { value: &word, accepted: &accepted };
            take_cf_content(E::error(None, unknown, location))
        })
    }
}

// === impl Patch ===

impl Patch {
    pub(super) fn apply(self, field: &mut Option<String>) {
        match self {
            Self::Keep => {}
            Self::Clear => *field = None,
            Self::Set(text) => *field = Some(text),
        }
    }
}

impl<E: DeserializeError> Deserr<E> for Patch {
    fn deserialize_from_value<V: IntoValue>(value: deserr::Value<V>, location: ValuePointerRef<'_>) -> Result<Self, E> {
        match Option::<String>::deserialize_from_value(value, location)? {
            None => Ok(Self::Clear),
            Some(text) => Ok(Self::Set(text)),
        }
    }
}

#[allow(clippy::ptr_arg, reason = "the signature that deserr calls")]
fn parse_uid(text: &String) -> Result<Uuid, Sentence> {
    text.parse().map_err(|error: uuid::Error| Sentence(error.to_string()))
}

#[allow(clippy::ptr_arg, reason = "the signature that deserr calls")]
fn parse_pattern(text: &String) -> Result<KeyPattern, Sentence> {
    IndexPattern::parse(text).map(KeyPattern).map_err(Sentence)
}

fn parse_expiration(text: Option<String>) -> Result<Option<OffsetDateTime>, Sentence> {
    text.map(|text| key::expiration(&text, OffsetDateTime::now_utc())).transpose().map_err(Sentence)
}

fn missing_actions(field: &str, location: ValuePointerRef<'_>) -> JsonRefusal {
    missing_field(field, location, Code::MissingApiKeyActions)
}

fn missing_indexes(field: &str, location: ValuePointerRef<'_>) -> JsonRefusal {
    missing_field(field, location, Code::MissingApiKeyIndexes)
}

fn missing_expiration(field: &str, location: ValuePointerRef<'_>) -> JsonRefusal {
    missing_field(field, location, Code::MissingApiKeyExpiresAt)
}

fn refuse_key_field(field: &str, accepted: &[&str], location: ValuePointerRef<'_>) -> JsonRefusal {
    let code = match field {
        "uid" => Code::ImmutableApiKeyUid,
        "actions" => Code::ImmutableApiKeyActions,
        "indexes" => Code::ImmutableApiKeyIndexes,
        "expiresAt" => Code::ImmutableApiKeyExpiresAt,
        "createdAt" => Code::ImmutableApiKeyCreatedAt,
        "updatedAt" => Code::ImmutableApiKeyUpdatedAt,
        _ => return unknown_field(field, accepted, location),
    };
    immutable_field(field, accepted, code)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::extract::from_json;

    #[test]
    fn a_key_without_actions_is_refused_with_its_own_code() {
        let error = from_json::<CreateKey>(json!({"indexes": ["*"], "expiresAt": null})).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("missing_api_key_actions", "Missing field `actions`")
        );
    }

    #[test]
    fn what_a_key_may_do_cannot_be_changed_later() {
        let error = from_json::<PatchKey>(json!({"actions": ["*"]})).unwrap_err();
        assert_eq!(error.code, "immutable_api_key_actions");
        assert_eq!(error.message, "Immutable field `actions`: expected one of `description`, `name`");
    }
}
