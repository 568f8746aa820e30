//! API keys: what they allow, how their secret comes from the master key, and where they are kept.

use std::path::{Path, PathBuf};

use deserr::Deserr;
use hmac::{Hmac, Mac as _};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time, macros::format_description};
use uuid::Uuid;

use super::durable;
use super::http::extract::{
    InvalidApiKeyActions, InvalidApiKeyDescription, InvalidApiKeyExpiresAt, InvalidApiKeyIndexes, InvalidApiKeyName,
    InvalidApiKeyUid, JsonRefusal, Sentence, immutable_field, missing_field, unknown_field,
};
use super::names::IndexPattern;
use crate::meili::error::{Code, ResponseError};

macro_rules! actions {
    ($($name:ident => $code:literal;)+) => {
        /// Something that a key can be allowed to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Deserr)]
        pub enum Action {
            $(#[serde(rename = $code)] #[deserr(rename = $code)] $name),+
        }
    };
}

actions! {
    All => "*";
    Search => "search";
    DocumentsAll => "documents.*";
    DocumentsAdd => "documents.add";
    DocumentsGet => "documents.get";
    DocumentsDelete => "documents.delete";
    IndexesAll => "indexes.*";
    IndexesCreate => "indexes.create";
    IndexesGet => "indexes.get";
    IndexesUpdate => "indexes.update";
    IndexesDelete => "indexes.delete";
    IndexesSwap => "indexes.swap";
    TasksAll => "tasks.*";
    TasksCancel => "tasks.cancel";
    TasksDelete => "tasks.delete";
    TasksGet => "tasks.get";
    SettingsAll => "settings.*";
    SettingsGet => "settings.get";
    SettingsUpdate => "settings.update";
    StatsAll => "stats.*";
    StatsGet => "stats.get";
    MetricsAll => "metrics.*";
    MetricsGet => "metrics.get";
    DumpsAll => "dumps.*";
    DumpsCreate => "dumps.create";
    SnapshotsAll => "snapshots.*";
    SnapshotsCreate => "snapshots.create";
    Version => "version";
    KeysCreate => "keys.create";
    KeysGet => "keys.get";
    KeysUpdate => "keys.update";
    KeysDelete => "keys.delete";
    ExperimentalGet => "experimental.get";
    ExperimentalUpdate => "experimental.update";
    NetworkGet => "network.get";
    NetworkUpdate => "network.update";
    ChatCompletions => "chatCompletions";
    ChatsAll => "chats.*";
    ChatsGet => "chats.get";
    ChatsDelete => "chats.delete";
    ChatsSettingsAll => "chatsSettings.*";
    ChatsSettingsGet => "chatsSettings.get";
    ChatsSettingsUpdate => "chatsSettings.update";
}

/// A key without its secret, which is computed from the master key when it is needed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Key {
    pub name: Option<String>,
    pub description: Option<String>,
    pub uid: Uuid,
    pub actions: Vec<Action>,
    pub indexes: Vec<IndexPattern>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

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
    pub actions: Vec<Action>,
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

/// A pattern in a request body.
#[derive(Debug, Deserr)]
#[deserr(try_from(&String) = parse_pattern -> Sentence)]
pub struct KeyPattern(pub IndexPattern);

/// The keys of a node, kept in one file.
pub struct KeyStore {
    path: PathBuf,
    master_key: Option<String>,
    /// All keys; the file is written before this changes.
    keys: RwLock<Vec<Key>>,
}

// === impl Action ===

impl Action {
    /// True when holding `self` allows `asked`. As in the engine, `documents.*` and its like stand for their members only.
    fn allows(self, asked: Self) -> bool {
        match self {
            Self::All => true,
            Self::DocumentsAll => matches!(asked, Self::DocumentsAdd | Self::DocumentsGet | Self::DocumentsDelete),
            Self::IndexesAll => matches!(
                asked,
                Self::IndexesCreate | Self::IndexesGet | Self::IndexesUpdate | Self::IndexesDelete | Self::IndexesSwap
            ),
            Self::TasksAll => matches!(asked, Self::TasksCancel | Self::TasksDelete | Self::TasksGet),
            Self::SettingsAll => matches!(asked, Self::SettingsGet | Self::SettingsUpdate),
            Self::StatsAll => asked == Self::StatsGet,
            Self::MetricsAll => asked == Self::MetricsGet,
            Self::DumpsAll => asked == Self::DumpsCreate,
            Self::SnapshotsAll => asked == Self::SnapshotsCreate,
            Self::ChatsAll => matches!(asked, Self::ChatsGet | Self::ChatsDelete),
            Self::ChatsSettingsAll => matches!(asked, Self::ChatsSettingsGet | Self::ChatsSettingsUpdate),
            Self::Search
            | Self::DocumentsAdd
            | Self::DocumentsGet
            | Self::DocumentsDelete
            | Self::IndexesCreate
            | Self::IndexesGet
            | Self::IndexesUpdate
            | Self::IndexesDelete
            | Self::IndexesSwap
            | Self::TasksCancel
            | Self::TasksDelete
            | Self::TasksGet
            | Self::SettingsGet
            | Self::SettingsUpdate
            | Self::StatsGet
            | Self::MetricsGet
            | Self::DumpsCreate
            | Self::SnapshotsCreate
            | Self::Version
            | Self::KeysCreate
            | Self::KeysGet
            | Self::KeysUpdate
            | Self::KeysDelete
            | Self::ExperimentalGet
            | Self::ExperimentalUpdate
            | Self::NetworkGet
            | Self::NetworkUpdate
            | Self::ChatCompletions
            | Self::ChatsGet
            | Self::ChatsDelete
            | Self::ChatsSettingsGet
            | Self::ChatsSettingsUpdate => self == asked,
        }
    }

    /// True for what only the master key's holder may do on a node without keys.
    pub fn is_about_keys(self) -> bool {
        matches!(self, Self::KeysCreate | Self::KeysGet | Self::KeysUpdate | Self::KeysDelete)
    }
}

// === impl Key ===

impl Key {
    fn default_with(name: &str, description: &str, actions: Vec<Action>) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            name: Some(name.to_owned()),
            description: Some(description.to_owned()),
            uid: Uuid::new_v4(),
            actions,
            indexes: vec![IndexPattern::all()],
            expires_at: None,
            created_at: now,
            updated_at: now,
        }
    }

    /// True when the key allows `action` on `index` (on any index where none is named) and has not expired.
    pub fn allows(&self, action: Action, index: Option<&str>) -> bool {
        let on_index = match index {
            Some(index) => self.indexes.iter().any(|pattern| pattern.matches(index)),
            None => !self.indexes.is_empty(),
        };
        let in_time = self.expires_at.is_none_or(|end| OffsetDateTime::now_utc() < end);
        on_index && in_time && self.actions.iter().any(|held| held.allows(action))
    }
}

// === impl Patch ===

impl Patch {
    fn apply(self, field: &mut Option<String>) {
        match self {
            Self::Keep => {}
            Self::Clear => *field = None,
            Self::Set(text) => *field = Some(text),
        }
    }
}

impl<E: deserr::DeserializeError> Deserr<E> for Patch {
    fn deserialize_from_value<V: deserr::IntoValue>(
        value: deserr::Value<V>,
        location: deserr::ValuePointerRef<'_>,
    ) -> Result<Self, E> {
        match Option::<String>::deserialize_from_value(value, location)? {
            None => Ok(Self::Clear),
            Some(text) => Ok(Self::Set(text)),
        }
    }
}

// === impl KeyStore ===

impl KeyStore {
    /// Opens the keys of the data folder; the first time, makes the engine's default keys.
    pub fn open(data_dir: &Path, master_key: Option<String>) -> std::io::Result<Self> {
        let path = data_dir.join("keys.json");
        let keys = match durable::read_json(&path)? {
            Some(keys) => keys,
            None => {
                let keys = default_keys();
                durable::write_json(&path, &keys)?;
                keys
            }
        };
        Ok(Self { path, master_key, keys: RwLock::new(keys) })
    }

    pub fn has_master_key(&self) -> bool {
        self.master_key.is_some()
    }

    /// Compares in a time that does not depend on where the two differ.
    pub fn is_master_key(&self, token: &str) -> bool {
        self.master_key.as_ref().is_some_and(|key| key.as_bytes().ct_eq(token.as_bytes()).into())
    }

    /// The secret of the key `uid`, `None` without a master key.
    pub fn secret(&self, uid: Uuid) -> Option<String> {
        let master_key = self.master_key.as_ref()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(master_key.as_bytes()).expect("HMAC takes a key of any length");
        mac.update(uid.hyphenated().to_string().as_bytes());
        Some(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The key whose secret is `token`.
    pub fn find_by_secret(&self, token: &str) -> Option<Key> {
        let keys = self.keys.read();
        keys.iter()
            .find(|key| self.secret(key.uid).is_some_and(|secret| secret.as_bytes().ct_eq(token.as_bytes()).into()))
            .cloned()
    }

    pub fn find(&self, uid: Uuid) -> Option<Key> {
        self.keys.read().iter().find(|key| key.uid == uid).cloned()
    }

    /// The newest first.
    pub fn list(&self) -> Vec<Key> {
        let mut keys = self.keys.read().clone();
        keys.sort_by_key(|key| std::cmp::Reverse(key.created_at));
        keys
    }

    /// The key that a path names, by uid or by secret.
    pub fn named(&self, name: &str) -> Result<Key, ResponseError> {
        let (found, shown) = match Uuid::parse_str(name) {
            Ok(uid) => (self.find(uid), uid.to_string()),
            Err(_) => (self.find_by_secret(name), name.to_owned()),
        };
        found.ok_or_else(|| ResponseError::new(Code::ApiKeyNotFound, format!("API key `{shown}` not found.")))
    }

    pub fn create(&self, request: CreateKey) -> Result<Key, ResponseError> {
        let now = OffsetDateTime::now_utc();
        let key = Key {
            name: request.name,
            description: request.description,
            uid: request.uid,
            actions: request.actions,
            indexes: request.indexes.into_iter().map(|pattern| pattern.0).collect(),
            expires_at: request.expires_at,
            created_at: now,
            updated_at: now,
        };
        self.change(|keys| {
            if keys.iter().any(|other| other.uid == key.uid) {
                let message = format!("`uid` field value `{}` is already an existing API key.", key.uid);
                return Err(ResponseError::new(Code::ApiKeyAlreadyExists, message));
            }
            keys.push(key.clone());
            Ok(key)
        })
    }

    pub fn update(&self, name: &str, patch: PatchKey) -> Result<Key, ResponseError> {
        let uid = self.named(name)?.uid;
        self.change(|keys| {
            let Some(key) = keys.iter_mut().find(|key| key.uid == uid) else {
                return Err(ResponseError::new(Code::ApiKeyNotFound, format!("API key `{uid}` not found.")));
            };
            patch.description.apply(&mut key.description);
            patch.name.apply(&mut key.name);
            key.updated_at = OffsetDateTime::now_utc();
            Ok(key.clone())
        })
    }

    pub fn delete(&self, name: &str) -> Result<(), ResponseError> {
        let uid = self.named(name)?.uid;
        self.change(|keys| {
            keys.retain(|key| key.uid != uid);
            Ok(())
        })
    }

    /// A key as the API shows it, secret included.
    pub fn view(&self, key: &Key) -> Value {
        let date = |moment: OffsetDateTime| moment.format(&Rfc3339).ok();
        json!({
            "name": key.name,
            "description": key.description,
            "key": self.secret(key.uid).unwrap_or_default(),
            "uid": key.uid,
            "actions": key.actions,
            "indexes": key.indexes,
            "expiresAt": key.expires_at.and_then(date),
            "createdAt": date(key.created_at),
            "updatedAt": date(key.updated_at),
        })
    }

    fn change<T>(&self, edit: impl FnOnce(&mut Vec<Key>) -> Result<T, ResponseError>) -> Result<T, ResponseError> {
        let mut keys = self.keys.write();
        let mut changed = keys.clone();
        let answer = edit(&mut changed)?;
        durable::write_json(&self.path, &changed)
            .map_err(|error| ResponseError::new(Code::Internal, format!("Internal error: {error}")))?;
        *keys = changed;
        Ok(answer)
    }
}

fn default_keys() -> Vec<Key> {
    vec![
        Key::default_with(
            "Default Chat API Key",
            "Use it to chat and search from the frontend",
            vec![Action::ChatCompletions, Action::Search],
        ),
        Key::default_with(
            "Default Admin API Key",
            "Use it for anything that is not a search operation. Caution! Do not expose it on a public frontend",
            vec![Action::All],
        ),
        Key::default_with("Default Search API Key", "Use it to search from the frontend", vec![Action::Search]),
    ]
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
    let Some(text) = text else { return Ok(None) };
    match read_date(&text) {
        Some(moment) if moment > OffsetDateTime::now_utc() => Ok(Some(moment)),
        // The engine's message ends with a line break.
        Some(_) | None => Err(Sentence(format!(
            "`{text}` is not a valid date. It should follow the RFC 3339 format to represents a date or datetime in \
             the future or specified as a null value. e.g. 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'.\n"
        ))),
    }
}

fn read_date(text: &str) -> Option<OffsetDateTime> {
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(moment);
    }
    let with_t =
        format_description!("[year repr:full base:calendar]-[month repr:numerical]-[day]T[hour]:[minute]:[second]");
    let with_space =
        format_description!("[year repr:full base:calendar]-[month repr:numerical]-[day] [hour]:[minute]:[second]");
    let only_date = format_description!("[year repr:full base:calendar]-[month repr:numerical]-[day]");
    PrimitiveDateTime::parse(text, with_t)
        .or_else(|_| PrimitiveDateTime::parse(text, with_space))
        .or_else(|_| Date::parse(text, only_date).map(|date| PrimitiveDateTime::new(date, Time::MIDNIGHT)))
        .map(PrimitiveDateTime::assume_utc)
        .ok()
}

fn missing_actions(field: &str, location: deserr::ValuePointerRef<'_>) -> JsonRefusal {
    missing_field(field, location, Code::MissingApiKeyActions)
}

fn missing_indexes(field: &str, location: deserr::ValuePointerRef<'_>) -> JsonRefusal {
    missing_field(field, location, Code::MissingApiKeyIndexes)
}

fn missing_expiration(field: &str, location: deserr::ValuePointerRef<'_>) -> JsonRefusal {
    missing_field(field, location, Code::MissingApiKeyExpiresAt)
}

fn refuse_key_field(field: &str, accepted: &[&str], location: deserr::ValuePointerRef<'_>) -> JsonRefusal {
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
    use super::*;
    use crate::embedded::http::extract::from_json;

    fn store(folder: &Path) -> KeyStore {
        KeyStore::open(folder, Some("MASTER_KEY".to_owned())).unwrap()
    }

    #[test]
    fn a_secret_is_the_hmac_of_the_uid_under_the_master_key() {
        let folder = tempfile::tempdir().unwrap();
        let uid = Uuid::parse_str("6062abda-a5aa-4414-ac91-ecd7944c0f8d").unwrap();
        let secret = store(folder.path()).secret(uid).unwrap();
        assert_eq!(secret.len(), 64);
        assert!(secret.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn keys_are_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let first = store(folder.path());
        let request = from_json::<CreateKey>(
            json!({"actions": ["documents.*"], "indexes": ["movies_*"], "expiresAt": null, "name": "n"}),
        )
        .unwrap();
        let key = first.create(request).unwrap();
        let secret = first.secret(key.uid).unwrap();
        drop(first);
        let again = store(folder.path());
        assert_eq!(again.list().len(), 4);
        let found = again.find_by_secret(&secret).unwrap();
        assert!(found.allows(Action::DocumentsAdd, Some("movies_fr")));
        assert!(!found.allows(Action::DocumentsAdd, Some("books")));
        assert!(!found.allows(Action::Search, Some("movies_fr")));
    }

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
