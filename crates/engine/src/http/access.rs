//! Who asks, and what they may do: master key, API keys, tenant tokens.

use std::collections::HashMap;

use axum::http::{HeaderMap, header};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use miroir_words::action::Action;
use miroir_words::key::Key;
use miroir_words::pattern::IndexPattern;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::{Code, ResponseError};
use crate::keys::KeyStore;

/// What a request may see and do.
#[derive(Debug, Clone)]
pub struct Access {
    tenant: Option<SearchRules>,
    indexes: Vec<IndexPattern>,
    creates_indexes: bool,
}

/// The indexes of a tenant token, each with a filter that is laid over every search.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum SearchRules {
    Set(Vec<IndexPattern>),
    Map(HashMap<IndexPattern, Option<SearchRule>>),
}

#[derive(Debug, Clone, Default, Deserialize)]
struct SearchRule {
    filter: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    search_rules: SearchRules,
    exp: Option<i64>,
    api_key_uid: Uuid,
}

// === impl Access ===

impl Access {
    fn everything() -> Self {
        Self { tenant: None, indexes: vec![IndexPattern::all()], creates_indexes: true }
    }

    pub fn sees(&self, index: &str) -> bool {
        self.indexes.iter().any(|pattern| pattern.meets(index))
            && self.tenant.as_ref().is_none_or(|rules| rules.cover(index))
    }

    pub fn may_create(&self, index: &str) -> bool {
        self.creates_indexes && self.sees(index)
    }

    /// The indexes whose tasks may be seen; `None` is all.
    pub fn visible(&self) -> Option<Vec<IndexPattern>> {
        let all = self.tenant.is_none() && self.indexes.iter().any(IndexPattern::is_all);
        (!all).then(|| self.indexes.clone())
    }

    /// The filter that the tenant token lays over searches of `index`.
    pub fn search_filter(&self, index: &str) -> Option<Value> {
        self.tenant.as_ref().and_then(|rules| rules.filter(index))
    }
}

// === impl SearchRules ===

impl SearchRules {
    fn patterns(&self) -> Vec<&IndexPattern> {
        match self {
            Self::Set(patterns) => patterns.iter().collect(),
            Self::Map(rules) => rules.keys().collect(),
        }
    }

    fn cover(&self, index: &str) -> bool {
        self.patterns().into_iter().any(|pattern| pattern.meets(index))
    }

    /// The filter of the narrowest pattern that names the index.
    fn filter(&self, index: &str) -> Option<Value> {
        match self {
            Self::Set(_) => None,
            Self::Map(rules) => rules
                .iter()
                .filter(|(pattern, _)| pattern.meets(index))
                .max_by_key(|(pattern, _)| (pattern.is_exact(), pattern.as_str().len()))
                .and_then(|(_, rule)| rule.clone())
                .and_then(|rule| rule.filter),
        }
    }
}

/// Checks the request's key for `action` on `index`.
pub fn authorize(
    keys: &KeyStore,
    headers: &HeaderMap,
    action: Action,
    index: Option<&str>,
) -> Result<Access, ResponseError> {
    let token = token(headers)?;
    let outcome = match token {
        Some(token) => authenticate(keys, token, action, index),
        None => authenticate(keys, "", action, None),
    };
    match outcome {
        Ok(access) => Ok(access),
        Err(_) if !keys.has_master_key() => Err(ResponseError::new(
            Code::MissingMasterKey,
            "Meilisearch is running without a master key. To access this API endpoint, you must have set a master key \
             at launch.",
        )),
        Err(_) if token.is_none() => Err(missing_header()),
        Err(reason) => Err(ResponseError::new(Code::InvalidApiKey, reason)),
    }
}

/// The refusal of a key that is not allowed something.
pub fn invalid_key() -> ResponseError {
    ResponseError::new(Code::InvalidApiKey, INVALID_KEY)
}

const INVALID_KEY: &str = "The provided API key is invalid.";

fn missing_header() -> ResponseError {
    ResponseError::new(
        Code::MissingAuthorizationHeader,
        "The Authorization header is missing. It must use the bearer authorization method.",
    )
}

fn token(headers: &HeaderMap) -> Result<Option<&str>, ResponseError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    match text.split_once(' ') {
        Some(("Bearer", token)) => Ok(Some(token)),
        None if text == "Bearer" => Err(invalid_key()),
        Some(_) | None => Err(missing_header()),
    }
}

/// `Err` is the sentence that tells why not.
fn authenticate(keys: &KeyStore, token: &str, action: Action, index: Option<&str>) -> Result<Access, String> {
    let open_to_all = !keys.has_master_key() && !action.concerns_keys();
    if open_to_all || keys.is_master_key(token) {
        return Ok(Access::everything());
    }
    let (key, tenant) = match tenant_token(keys, token, action)? {
        Some((key, rules)) => (key, Some(rules)),
        None => (keys.find_by_secret(token).ok_or(INVALID_KEY)?, None),
    };
    if let Some(index) = index {
        check_index(&key, tenant.as_ref(), index)?;
    }
    let now = OffsetDateTime::now_utc();
    if !key.allows(action, index, now) {
        return Err(INVALID_KEY.to_owned());
    }
    let creates_indexes = key.allows(Action::IndexesCreate, None, now);
    Ok(Access { tenant, indexes: key.indexes, creates_indexes })
}

/// What a tenant token names is public, what its key names is not: the messages differ.
fn check_index(key: &Key, tenant: Option<&SearchRules>, index: &str) -> Result<(), String> {
    if let Some(rules) = tenant
        && !rules.cover(index)
    {
        return Err(format!(
            "The provided tenant token cannot acces the index `{index}`, allowed indexes are {:?}.",
            names(&rules.patterns())
        ));
    }
    if key.indexes.iter().any(|pattern| pattern.meets(index)) {
        return Ok(());
    }
    Err(match tenant {
        Some(_) => format!("The API key used to generate this tenant token cannot acces the index `{index}`."),
        None => format!(
            "The API key cannot acces the index `{index}`, authorized indexes are {:?}.",
            names(&key.indexes.iter().collect::<Vec<_>>())
        ),
    })
}

fn names(patterns: &[&IndexPattern]) -> Vec<String> {
    let mut names: Vec<String> = patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The key and rules of a tenant token, `None` if `token` is not one. Only searches take them.
fn tenant_token(keys: &KeyStore, token: &str, action: Action) -> Result<Option<(Key, SearchRules)>, String> {
    if !matches!(action, Action::Search | Action::ChatCompletions) {
        return Ok(None);
    }
    let unsigned = match jsonwebtoken::dangerous::insecure_decode::<Claims>(token) {
        Ok(data) => data.claims,
        Err(error) if matches!(error.kind(), ErrorKind::InvalidToken) => return Ok(None),
        Err(error) => return Err(format!("Could not decode tenant token, {error}.")),
    };
    let Some(secret) = keys.secret(unsigned.api_key_uid) else { return Ok(None) };
    let mut validation = Validation::default();
    validation.validate_exp = false;
    validation.required_spec_claims.remove("exp");
    validation.algorithms = vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    let claims = jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_secret(secret.as_bytes()), &validation)
        .map_err(|error| format!("Could not decode tenant token, {error}."))?
        .claims;
    let now = OffsetDateTime::now_utc().unix_timestamp();
    if let Some(exp) = claims.exp
        && now > exp
    {
        return Err(format!("Tenant token expired. Was valid up to `{exp}` and we're now `{now}`."));
    }
    let key = keys.find(claims.api_key_uid).ok_or(INVALID_KEY)?;
    Ok(Some((key, claims.search_rules)))
}
