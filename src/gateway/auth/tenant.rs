//! Tenant tokens: JSON Web Tokens that a client signs with an API key, and the search rules in them.

use std::collections::BTreeMap;

use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::access::sorted;
use crate::meili::pattern::IndexPattern;
use crate::settings::Secret;

/// Which indexes a token is good for, and what each search in them is narrowed by.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum SearchRules {
    List(Vec<IndexPattern>),
    Map(BTreeMap<IndexPattern, Option<IndexRule>>),
}

/// The rule of one index.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct IndexRule {
    /// A filter, joined to the client's own by AND.
    pub filter: Option<Value>,
}

/// A token whose signature and time were checked.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantToken {
    pub key_uid: Uuid,
    pub rules: SearchRules,
}

/// Why a token is not accepted.
#[derive(Debug)]
pub enum TokenError {
    /// It is no token at all, so it may be an API key.
    NotAToken,
    Undecodable(Error),
    Expired {
        exp: i64,
        now: i64,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    search_rules: SearchRules,
    exp: Option<i64>,
    api_key_uid: Uuid,
}

/// Checks `token` against the secret of the key that it says it was signed with; `secret_of` computes that.
pub fn check(token: &str, secret_of: impl Fn(Uuid) -> Option<Secret>, now: i64) -> Result<TenantToken, TokenError> {
    // Read before it is checked, because it names the key to check with. Nothing else of it is used.
    let unchecked = insecure_decode::<Claims>(token)?;
    let Some(secret) = secret_of(unchecked.claims.api_key_uid) else {
        return Err(TokenError::NotAToken);
    };
    let claims = decode::<Claims>(token, &DecodingKey::from_secret(secret.expose().as_bytes()), &validation())?.claims;
    match claims.exp {
        Some(exp) if now > exp => Err(TokenError::Expired { exp, now }),
        Some(_) | None => Ok(TenantToken { key_uid: claims.api_key_uid, rules: claims.search_rules }),
    }
}

/// All that a token says; of one that [`check`] has accepted.
pub fn claims(token: &str) -> Option<Map<String, Value>> {
    insecure_decode::<Map<String, Value>>(token).ok().map(|decoded| decoded.claims)
}

/// HMAC only, so that a token cannot choose a weaker proof. `exp` is optional and compared by [`check`]. A token that names an
/// audience is meant for another than the engine, which refuses it, too.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    validation.algorithms = vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    validation
}

// === impl TokenError ===

impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidToken => Self::NotAToken,
            _ => Self::Undecodable(error),
        }
    }
}

// === impl SearchRules ===

impl SearchRules {
    /// True if one of its patterns fits.
    pub fn allow(&self, index: &str) -> bool {
        self.patterns().any(|pattern| pattern.meets(index))
    }

    /// True if `*` is among its patterns.
    pub fn names_all(&self) -> bool {
        self.patterns().any(IndexPattern::is_all)
    }

    /// The patterns in order, for the message that names them.
    pub fn names(&self) -> Vec<String> {
        sorted(self.patterns())
    }

    /// The filter of `index`, by the pattern that names it most exactly.
    pub fn filter(&self, index: &str) -> Option<&Value> {
        match self {
            Self::List(_) => None,
            Self::Map(rules) => {
                let best = rules
                    .iter()
                    .filter(|(pattern, _)| pattern.meets(index))
                    .max_by_key(|(pattern, _)| (pattern.is_exact(), pattern.as_str().len()));
                best.and_then(|(_, rule)| rule.as_ref()?.filter.as_ref())
            }
        }
    }

    fn patterns(&self) -> impl Iterator<Item = &IndexPattern> {
        let (list, map) = match self {
            Self::List(list) => (Some(list.iter()), None),
            Self::Map(map) => (None, Some(map.keys())),
        };
        list.into_iter().flatten().chain(map.into_iter().flatten())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;

    pub fn token(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    #[test]
    fn a_token_signed_with_its_key_is_accepted_until_it_expires() {
        let uid = Uuid::new_v4();
        let claims = json!({"searchRules": {"a": {"filter": "x = 1"}, "b": null}, "apiKeyUid": uid, "exp": 100});
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let token = token(algorithm, "secret", &claims);
            let accepted = check(&token, |_| Some(Secret::new("secret")), 100).unwrap();
            assert_eq!(accepted.key_uid, uid);
            assert_eq!(accepted.rules.filter("a"), Some(&json!("x = 1")));
            assert!(accepted.rules.allow("b") && !accepted.rules.allow("c"));
            assert!(matches!(check(&token, |_| Some(Secret::new("secret")), 101), Err(TokenError::Expired { .. })));
            assert!(matches!(check(&token, |_| Some(Secret::new("other")), 1), Err(TokenError::Undecodable(_))));
        }
    }

    #[test]
    fn a_token_for_an_audience_is_for_another() {
        let uid = Uuid::new_v4();
        for audience in [json!("shop"), json!(["shop", "admin"])] {
            let claims = json!({"searchRules": ["*"], "apiKeyUid": uid, "aud": audience});
            let token = token(Algorithm::HS256, "secret", &claims);
            let error = check(&token, |_| Some(Secret::new("secret")), 1).unwrap_err();
            assert!(matches!(&error, TokenError::Undecodable(why) if *why.kind() == ErrorKind::InvalidAudience));
        }
    }

    #[test]
    fn an_api_key_is_no_token() {
        assert!(matches!(check("d0552b41536279a0", |_| None, 0), Err(TokenError::NotAToken)));
    }

    #[test]
    fn the_most_exact_rule_counts() {
        let rules: SearchRules = serde_json::from_value(json!({
            "*": {"filter": "a"}, "mov*": {"filter": "b"}, "movies": {"filter": "c"}, "books": {}
        }))
        .unwrap();
        assert_eq!(rules.filter("movies"), Some(&json!("c")));
        assert_eq!(rules.filter("movers"), Some(&json!("b")));
        assert_eq!(rules.filter("songs"), Some(&json!("a")));
        assert_eq!(rules.filter("books"), None);
    }
}
