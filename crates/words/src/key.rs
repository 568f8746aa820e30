//! An API key, and the JSON that clients and nodes see of it.

use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;
use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, time};
use time::{Date, OffsetDateTime, PrimitiveDateTime};
use uuid::Uuid;

use super::action::Action;
use super::pattern::IndexPattern;

/// An API key without its secret, which follows from the master key and the uid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// What people call it.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// What it is known by; with the master key it makes the secret.
    pub uid: Uuid,
    /// What it allows.
    pub actions: Vec<Action>,
    /// Where it allows that.
    pub indexes: Vec<IndexPattern>,
    /// From then on it opens nothing; `None`: it never ends.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When its name or description was changed last.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// The secret of the key `uid`: the HMAC-SHA256 of its hyphenated text under the master key, in hexadecimal.
pub fn secret(master_key: &str, uid: Uuid) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(master_key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(uid.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The end of a key's time as a request names it; `Err` holds the engine's message, which ends in a line break.
pub fn expiration(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    moment(text).filter(|end| *end > now).ok_or_else(|| {
        format!(
            "`{text}` is not a valid date. It should follow the RFC 3339 format to represents a date or datetime in \
             the future or specified as a null value. e.g. 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'.\n"
        )
    })
}

/// The four forms that the engine takes; without an offset the time is UTC, without a time it is midnight.
fn moment(text: &str) -> Option<OffsetDateTime> {
    let with_t = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    let with_space = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let day = format_description!("[year]-[month]-[day]");
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .or_else(|| PrimitiveDateTime::parse(text, &with_t).ok().map(PrimitiveDateTime::assume_utc))
        .or_else(|| PrimitiveDateTime::parse(text, &with_space).ok().map(PrimitiveDateTime::assume_utc))
        .or_else(|| Date::parse(text, &day).ok().map(|date| PrimitiveDateTime::new(date, time!(00:00)).assume_utc()))
}

// === impl Key ===

impl Key {
    /// The keys of a new Meilisearch, made at the moment `now`.
    pub fn defaults(now: OffsetDateTime) -> Vec<Self> {
        // The one after the other, as lists show the newest first.
        let mut moment = now;
        let mut make = |name: &str, description: &str, actions: Vec<Action>| {
            let made = moment;
            moment += time::Duration::microseconds(1);
            Self {
                name: Some(name.to_owned()),
                description: Some(description.to_owned()),
                uid: Uuid::new_v4(),
                actions,
                indexes: vec![IndexPattern::all()],
                expires_at: None,
                created_at: made,
                updated_at: made,
            }
        };
        let admin =
            "Use it for anything that is not a search operation. Caution! Do not expose it on a public frontend";
        vec![
            make(
                "Default Chat API Key",
                "Use it to chat and search from the frontend",
                vec![Action::ChatCompletions, Action::Search],
            ),
            make(
                "Default Read-Only Admin API Key",
                "Use it to read information across the whole database. Caution! Do not expose this key on a public \
                 frontend",
                vec![Action::AnyGet, Action::KeysGet],
            ),
            make("Default Admin API Key", admin, vec![Action::Any]),
            make("Default Search API Key", "Use it to search from the frontend", vec![Action::Search]),
        ]
    }

    /// True when the key may do `action` on `index`, or on some index when none is named, at the moment `now`.
    pub fn allows(&self, action: Action, index: Option<&str>, now: OffsetDateTime) -> bool {
        let in_time = self.expires_at.is_none_or(|end| now < end);
        let on_index = match index {
            Some(index) => self.indexes.iter().any(|pattern| pattern.meets(index)),
            // `*` of a key for some indexes is no way to what concerns none, as to other keys.
            None if action.concerns_no_index() => self.indexes.iter().any(IndexPattern::is_all),
            None => !self.indexes.is_empty(),
        };
        in_time && on_index && self.actions.iter().any(|held| held.grants(action))
    }

    /// What `GET /keys/{uid}` shows.
    pub fn view(&self, secret: &str) -> Value {
        json!({
            "name": self.name,
            "description": self.description,
            "key": secret,
            "uid": self.uid,
            "actions": self.actions,
            "indexes": self.indexes,
            "expiresAt": self.expires_at.map(text),
            "createdAt": text(self.created_at),
            "updatedAt": text(self.updated_at),
        })
    }

    /// The body of `POST /keys` that makes the same key on a node.
    pub fn creation_body(&self) -> Value {
        json!({
            "name": self.name,
            "description": self.description,
            "uid": self.uid,
            "actions": self.actions,
            "indexes": self.indexes,
            "expiresAt": self.expires_at.map(text),
        })
    }
}

fn text(moment: OffsetDateTime) -> String {
    moment.format(&Rfc3339).expect("every moment that was parsed or taken from the clock has a four-digit year")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_the_one_that_meilisearch_computes() {
        // Computed by `printf %s <uid> | openssl dgst -sha256 -hmac <master key>`.
        let uid: Uuid = "74c9c733-3368-4738-bbe5-1d18a5fecb37".parse().unwrap();
        assert_eq!(secret("MASTER_KEY", uid), SECRET);
    }

    const SECRET: &str = "381fdbc9147f01606b5c04c34e30f1e953caf969562826a0921ae91a463cff2a";

    #[test]
    fn a_key_is_good_for_its_actions_indexes_and_time() {
        let now = OffsetDateTime::now_utc();
        let mut key = Key::defaults(now).remove(3);
        key.indexes = vec![IndexPattern::parse("movies_*").unwrap()];
        assert!(key.allows(Action::Search, Some("movies_fr"), now));
        assert!(key.allows(Action::Search, None, now));
        assert!(!key.allows(Action::Search, Some("books"), now));
        assert!(!key.allows(Action::DocumentsAdd, Some("movies_fr"), now));
        key.expires_at = Some(now);
        assert!(!key.allows(Action::Search, Some("movies_fr"), now));
    }

    #[test]
    fn a_key_survives_the_store() {
        for key in Key::defaults(OffsetDateTime::now_utc()) {
            let stored = serde_json::to_value(&key).unwrap();
            assert_eq!(serde_json::from_value::<Key>(stored).unwrap(), key);
        }
    }
}
