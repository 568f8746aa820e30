//! The bodies of `POST` and `PATCH /keys` and the query of `GET /keys`, judged with the engine's words.

use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::serde::rfc3339;
use uuid::Uuid;

use crate::meili::action::Action;
use crate::meili::error::{Code, ResponseError};
use crate::meili::key::{self, Key};
use crate::meili::pattern::IndexPattern;
use crate::meili::payload::wrong_kind;
use crate::meili::query::QueryMap;
use crate::meili::unknown;

/// What `PATCH /keys/{key}` changes; the outer `None` leaves a field as it is, the inner one clears it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct KeyPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Option<String>>,
}

/// A key to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewKey {
    pub name: Option<String>,
    pub description: Option<String>,
    /// Where the client chooses it itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uuid>,
    pub actions: Vec<Action>,
    pub indexes: Vec<IndexPattern>,
    #[serde(serialize_with = "rfc3339::option::serialize")]
    pub expires_at: Option<OffsetDateTime>,
}

/// A page of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KeyPage {
    pub offset: usize,
    pub limit: usize,
}

const CREATE_FIELDS: &[&str] = &["description", "name", "uid", "actions", "indexes", "expiresAt"];
const PATCH_FIELDS: &[&str] = &["description", "name"];

/// Refuses all that is about keys where there can be none.
pub fn require_master_key(is_there: bool) -> Result<(), ResponseError> {
    if is_there {
        return Ok(());
    }
    let message = "Meilisearch is running without a master key. To access this API endpoint, you must have set a \
                   master key at launch.";
    Err(ResponseError::new(Code::MissingMasterKey, message))
}

/// Reads the body of `POST /keys`. A key's time must end after `now`.
pub fn creation(body: &Value, now: OffsetDateTime) -> Result<NewKey, ResponseError> {
    let mut key = NewKey::default();
    let fields = object(body)?;
    for (name, value) in fields {
        match name.as_str() {
            "description" => key.description = text(value, "description", Code::InvalidApiKeyDescription)?,
            "name" => key.name = text(value, "name", Code::InvalidApiKeyName)?,
            "uid" => key.uid = Some(uid(value)?),
            "actions" => key.actions = actions(value)?,
            "indexes" => key.indexes = indexes(value)?,
            "expiresAt" => key.expires_at = expiration(value, now)?,
            _ => return Err(unknown::field(name, CREATE_FIELDS)),
        }
    }
    for (field, code) in [
        ("actions", Code::MissingApiKeyActions),
        ("indexes", Code::MissingApiKeyIndexes),
        ("expiresAt", Code::MissingApiKeyExpiresAt),
    ] {
        if !fields.contains_key(field) {
            return Err(ResponseError::new(code, format!("Missing field `{field}`")));
        }
    }
    refuse_global_actions(&key)?;
    Ok(key)
}

/// A key for some indexes has no action that concerns none.
fn refuse_global_actions(key: &NewKey) -> Result<(), ResponseError> {
    if key.indexes.is_empty() || key.indexes.iter().any(IndexPattern::is_all) {
        return Ok(());
    }
    let Some(action) = key.actions.iter().find(|action| action.concerns_no_index()) else { return Ok(()) };
    let action = format!("`\"{}\"`", action.as_str());
    let message = format!(
        "cannot create index-scoped API key with global action {action}\n  - Hint: remove action {action} from the \
         action list, or remove `indexes` to make the key global"
    );
    Err(ResponseError::new(Code::IndexScopedApiKeyWithGlobalAction, message))
}

/// Reads the body of `PATCH /keys/{key}`.
pub fn patch(body: &Value) -> Result<KeyPatch, ResponseError> {
    let mut patch = KeyPatch::default();
    for (name, value) in object(body)? {
        let immutable = match name.as_str() {
            "description" => {
                patch.description = Some(text(value, "description", Code::InvalidApiKeyDescription)?);
                continue;
            }
            "name" => {
                patch.name = Some(text(value, "name", Code::InvalidApiKeyName)?);
                continue;
            }
            "uid" => Code::ImmutableApiKeyUid,
            "actions" => Code::ImmutableApiKeyActions,
            "indexes" => Code::ImmutableApiKeyIndexes,
            "expiresAt" => Code::ImmutableApiKeyExpiresAt,
            "createdAt" => Code::ImmutableApiKeyCreatedAt,
            "updatedAt" => Code::ImmutableApiKeyUpdatedAt,
            _ => return Err(unknown::field(name, PATCH_FIELDS)),
        };
        let message = format!("Immutable field `{name}`: expected one of {}", unknown::listed(PATCH_FIELDS));
        return Err(ResponseError::new(immutable, message));
    }
    Ok(patch)
}

/// Reads the query of `GET /keys`.
pub fn page(query: &str) -> Result<KeyPage, ResponseError> {
    let mut page = KeyPage { offset: 0, limit: 20 };
    for (name, value) in QueryMap::parse(query).iter() {
        let (place, code) = match name {
            "offset" => (&mut page.offset, Code::InvalidApiKeyOffset),
            "limit" => (&mut page.limit, Code::InvalidApiKeyLimit),
            _ => return Err(unknown::parameter(name, &["offset", "limit"])),
        };
        *place = value.parse().map_err(|_| {
            let reason = format!("could not parse `{value}` as a positive integer");
            ResponseError::new(code, format!("Invalid value in parameter `{name}`: {reason}"))
        })?;
    }
    Ok(page)
}

// === impl NewKey ===

impl NewKey {
    /// The key, made at the moment `now`; `uid` is its uid where the client has chosen none.
    pub fn made(self, uid: Uuid, now: OffsetDateTime) -> Key {
        let Self { name, description, uid: chosen, actions, indexes, expires_at } = self;
        let uid = chosen.unwrap_or(uid);
        Key { name, description, uid, actions, indexes, expires_at, created_at: now, updated_at: now }
    }
}

fn object(body: &Value) -> Result<&Map<String, Value>, ResponseError> {
    body.as_object().ok_or_else(|| wrong_kind(body, "an object", "", Code::BadRequest))
}

fn text(value: &Value, field: &str, code: Code) -> Result<Option<String>, ResponseError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(wrong_kind(value, "a string", &format!(".{field}"), code))
        }
    }
}

fn uid(value: &Value) -> Result<Uuid, ResponseError> {
    let Some(text) = value.as_str() else {
        return Err(wrong_kind(value, "a string", ".uid", Code::InvalidApiKeyUid));
    };
    Uuid::parse_str(text)
        .map_err(|error| ResponseError::new(Code::InvalidApiKeyUid, format!("Invalid value at `.uid`: {error}")))
}

fn actions(value: &Value) -> Result<Vec<Action>, ResponseError> {
    let code = Code::InvalidApiKeyActions;
    let mut actions = Vec::new();
    for (place, item) in list(value, ".actions", code)? {
        let Some(word) = item.as_str() else {
            return Err(wrong_kind(item, "a string", &place, code));
        };
        let Some(action) = Action::ALL.iter().find(|action| action.as_str() == word) else {
            let accepted: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
            return Err(unknown::value(word, &place, &accepted, code));
        };
        actions.push(*action);
    }
    Ok(actions)
}

fn indexes(value: &Value) -> Result<Vec<IndexPattern>, ResponseError> {
    let code = Code::InvalidApiKeyIndexes;
    let mut patterns = Vec::new();
    for (place, item) in list(value, ".indexes", code)? {
        let Some(text) = item.as_str() else {
            return Err(wrong_kind(item, "a string", &place, code));
        };
        let pattern = IndexPattern::parse(text)
            .map_err(|reason| ResponseError::new(code, format!("Invalid value at `{place}`: {reason}")))?;
        patterns.push(pattern);
    }
    Ok(patterns)
}

fn list<'a>(
    value: &'a Value,
    at: &str,
    code: Code,
) -> Result<impl Iterator<Item = (String, &'a Value)> + use<'a>, ResponseError> {
    let Some(items) = value.as_array() else {
        return Err(wrong_kind(value, "an array", at, code));
    };
    let at = at.to_owned();
    Ok(items.iter().enumerate().map(move |(position, item)| (format!("{at}[{position}]"), item)))
}

fn expiration(value: &Value, now: OffsetDateTime) -> Result<Option<OffsetDateTime>, ResponseError> {
    let Some(text) = text(value, "expiresAt", Code::InvalidApiKeyExpiresAt)? else {
        return Ok(None);
    };
    key::expiration(&text, now).map(Some).map_err(|reason| {
        ResponseError::new(Code::InvalidApiKeyExpiresAt, format!("Invalid value at `.expiresAt`: {reason}"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(body: Value) -> (String, String) {
        let error = creation(&body, OffsetDateTime::now_utc()).unwrap_err();
        (error.code, error.message)
    }

    #[test]
    fn a_whole_key_is_read() {
        let uid = Uuid::new_v4();
        let body = json!({
            "uid": uid, "name": "n", "description": null, "actions": ["search", "documents.*"], "indexes": ["a", "b*"],
            "expiresAt": "2999-01-01",
        });
        let key = creation(&body, OffsetDateTime::now_utc()).unwrap();
        assert_eq!((key.uid, key.name.as_deref(), &key.description), (Some(uid), Some("n"), &None));
        assert_eq!(key.actions, [Action::Search, Action::DocumentsAny]);
        assert_eq!(key.expires_at.unwrap().year(), 2999);
    }

    #[test]
    fn refusals_are_worded_as_the_engine_words_them() {
        assert_eq!(
            refused(json!({"indexes": ["a"], "expiresAt": null})),
            ("missing_api_key_actions".into(), "Missing field `actions`".into())
        );
        assert_eq!(
            refused(json!([1])),
            ("bad_request".into(), "Invalid value type: expected an object, but found an array: `[1]`".into())
        );
        assert_eq!(
            refused(json!({"description": {"a": 1}})),
            (
                "invalid_api_key_description".into(),
                "Invalid value type at `.description`: expected a string, but found an object: `{\"a\":1}`".into()
            )
        );
        let (code, message) = refused(json!({"actions": ["doc.add"]}));
        assert_eq!(code, "invalid_api_key_actions");
        assert!(message.starts_with("Unknown value `doc.add` at `.actions[0]`: expected one of `*`, `search`, "));
        let (code, message) = refused(json!({"expiresAt": "2010-01-01"}));
        assert_eq!(code, "invalid_api_key_expires_at");
        assert!(message.starts_with("Invalid value at `.expiresAt`: `2010-01-01` is not a valid date."));
        let (code, message) = refused(json!({"uid": "aaaaabbbbbccc"}));
        assert_eq!(code, "invalid_api_key_uid");
        assert!(message.starts_with("Invalid value at `.uid`: invalid length: "), "{message}");
        let (_, message) = refused(json!({"decription": "x"}));
        assert!(message.starts_with("Unknown field `decription`: did you mean `description`? expected one of"));
    }

    #[test]
    fn a_key_for_some_indexes_has_no_action_that_concerns_none() {
        let made = |actions: Value, indexes: Value| {
            creation(&json!({"actions": actions, "indexes": indexes, "expiresAt": null}), OffsetDateTime::UNIX_EPOCH)
        };
        let error = made(json!(["search", "version"]), json!(["films"])).unwrap_err();
        assert_eq!(error.code, "index_scoped_api_key_with_global_action");
        assert_eq!(
            error.message,
            "cannot create index-scoped API key with global action `\"version\"`\n  - Hint: remove action `\"version\"` from \
             the action list, or remove `indexes` to make the key global"
        );
        for (actions, indexes) in [
            (json!(["version"]), json!(["films", "*"])),
            (json!(["version"]), json!([])),
            (json!(["*", "stats.get", "tasks.*", "chatCompletions"]), json!(["films"])),
        ] {
            assert!(made(actions.clone(), indexes).is_ok(), "{actions}");
        }
    }

    #[test]
    fn only_name_and_description_can_be_changed() {
        let patched = patch(&json!({"name": null, "description": "d"})).unwrap();
        assert_eq!(patched, KeyPatch { name: Some(None), description: Some(Some("d".into())) });
        let error = patch(&json!({"actions": []})).unwrap_err();
        assert_eq!(error.code, "immutable_api_key_actions");
        assert_eq!(error.message, "Immutable field `actions`: expected one of `description`, `name`");
    }

    #[test]
    fn a_page_is_read_from_the_query() {
        assert_eq!(page("offset=2&limit=5"), Ok(KeyPage { offset: 2, limit: 5 }));
        let error = page("limit=five").unwrap_err();
        assert_eq!(error.message, "Invalid value in parameter `limit`: could not parse `five` as a positive integer");
        assert_eq!(page("ofset=1").unwrap_err().code, "bad_request");
    }
}
