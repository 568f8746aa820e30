//! The decision: may this token do this?

use time::OffsetDateTime;

use super::access::Access;
use super::keyring::Keyring;
use super::tenant::{self, TokenError};
use crate::meili::action::Action;
use crate::meili::error::{Code, ResponseError};
use crate::meili::key;
use crate::settings::Secret;

/// Reads the token of an `Authorization` header; `Ok(None)` where there is no header.
pub fn bearer(header: Option<&[u8]>) -> Result<Option<&str>, ResponseError> {
    let Some(header) = header else {
        return Ok(None);
    };
    let text = std::str::from_utf8(header).unwrap_or_default();
    let mut words = text.splitn(2, ' ');
    match (words.next(), words.next()) {
        (Some("Bearer"), Some(token)) => Ok(Some(token)),
        (Some("Bearer"), None) => Err(invalid()),
        (Some(_) | None, _) => Err(missing_header()),
    }
}

/// What a request with `token` may touch when it asks for `action`, on `index` if its path names one.
pub fn check(
    keyring: &Keyring,
    token: Option<&str>,
    action: Action,
    index: Option<&str>,
    now: OffsetDateTime,
) -> Result<Access, ResponseError> {
    if !keyring.has_master_key() {
        return if action.concerns_keys() { Err(missing_master_key()) } else { Ok(Access::full()) };
    }
    let Some(token) = token else {
        return Err(missing_header());
    };
    if keyring.is_master(token) {
        return Ok(Access::full());
    }
    let (held, rules) = match tenant_token(keyring, token, action, now)? {
        Some(tenant) => (keyring.by_uid(tenant.key_uid), Some(tenant.rules)),
        None => (keyring.by_secret(token), None),
    };
    let Some(held) = held else {
        return Err(invalid());
    };
    let access = Access {
        may_not_create: !held.key.allows(Action::IndexesCreate, None, now),
        key_indexes: Some(held.key.indexes.clone()),
        rules,
        key_uid: Some(held.key.uid),
    };
    if let Some(index) = index {
        refuse_index(&access, index)?;
    }
    if held.key.allows(action, index, now) { Ok(access) } else { Err(invalid()) }
}

/// The tenant token that `token` is, if it is one; only searches take them.
fn tenant_token(
    keyring: &Keyring,
    token: &str,
    action: Action,
    now: OffsetDateTime,
) -> Result<Option<tenant::TenantToken>, ResponseError> {
    if action != Action::Search {
        return Ok(None);
    }
    match tenant::check(token, |uid| keyring.secret(uid), now.unix_timestamp()) {
        Ok(tenant) => Ok(Some(tenant)),
        Err(TokenError::NotAToken) => Ok(None),
        Err(TokenError::Undecodable(error)) => Err(forbidden(format!("Could not decode tenant token, {error}."))),
        Err(TokenError::Expired { exp, now }) => {
            Err(forbidden(format!("Tenant token expired. Was valid up to `{exp}` and we're now `{now}`.")))
        }
    }
}

/// What a token says is no secret to its bearer, what its key says is: hence the different messages.
fn refuse_index(access: &Access, index: &str) -> Result<(), ResponseError> {
    if let Some(rules) = access.rules.as_ref().filter(|rules| !rules.allow(index)) {
        let names = rules.names();
        return Err(forbidden(format!(
            "The provided tenant token cannot acces the index `{index}`, allowed indexes are {names:?}."
        )));
    }
    if access.key_allows(index) {
        return Ok(());
    }
    Err(forbidden(if access.rules.is_some() {
        format!("The API key used to generate this tenant token cannot acces the index `{index}`.")
    } else {
        let names = access.key_patterns();
        format!("The API key cannot acces the index `{index}`, authorized indexes are {names:?}.")
    }))
}

/// 403 `invalid_api_key`, whatever is wrong with the key.
pub fn invalid() -> ResponseError {
    forbidden("The provided API key is invalid.".to_owned())
}

fn forbidden(message: String) -> ResponseError {
    ResponseError::new(Code::InvalidApiKey, message)
}

fn missing_header() -> ResponseError {
    let message = "The Authorization header is missing. It must use the bearer authorization method.";
    ResponseError::new(Code::MissingAuthorizationHeader, message)
}

fn missing_master_key() -> ResponseError {
    let message = "Meilisearch is running without a master key. To access this API endpoint, you must have set a \
                   master key at launch.";
    ResponseError::new(Code::MissingMasterKey, message)
}

// === impl Keyring ===

impl Keyring {
    /// The secret of a key, whether it exists or not: that of a deleted key still tells a well-made token from a forgery.
    fn secret(&self, uid: uuid::Uuid) -> Option<Secret> {
        match self.by_uid(uid) {
            Some(held) => Some(held.secret),
            None => self.master_key().map(|master| Secret::new(key::secret(master.expose(), uid))),
        }
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
