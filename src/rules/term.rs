//! One value of the request, by name: `claims.tenant`, `headers["x-user-id"] ?? client.ip`.

use http::HeaderName;
use serde_json::Value;

use super::subject::Subject;

/// The first of several names that has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term(Vec<Source>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    KeyUid,
    ClientIp,
    /// In the tenant token, step by step.
    Claim(Vec<String>),
    Header(HeaderName),
    Index,
    Operation,
    /// What a search says under this name.
    Parameter(String),
}

const NAMES: &str = "expected `key.uid`, `client.ip`, `claims.NAME`, `headers.NAME`, `request.index`, `request.operation` or `search.NAME`, \
     and others after `??` for where there is none";

// === impl Term ===

impl Term {
    /// The message says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let sources: Result<Vec<Source>, String> = text.split("??").map(|name| Source::parse(name.trim())).collect();
        Ok(Self(sources?))
    }

    /// `None` where there is none, or null.
    pub fn value(&self, subject: &Subject<'_>) -> Option<Value> {
        self.0.iter().find_map(|source| source.value(subject).filter(|value| !value.is_null()))
    }

    /// The value as a text; `None` also for a list or an object.
    pub fn text(&self, subject: &Subject<'_>) -> Option<String> {
        scalar(&self.value(subject)?)
    }
}

/// A value that is no list and no object, as a text.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

// === impl Source ===

impl Source {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` names no value: {NAMES}");
        let steps = steps(text).ok_or_else(wrong)?;
        let names: Vec<&str> = steps.iter().map(String::as_str).collect();
        Ok(match names[..] {
            ["key", "uid"] => Self::KeyUid,
            ["client", "ip"] => Self::ClientIp,
            ["request", "index"] => Self::Index,
            ["request", "operation"] => Self::Operation,
            ["claims", ref rest @ ..] if !rest.is_empty() => {
                Self::Claim(rest.iter().map(ToString::to_string).collect())
            }
            ["headers", name] => Self::Header(name.parse().map_err(|_| wrong())?),
            ["search", name] => Self::Parameter(name.to_owned()),
            _ => return Err(wrong()),
        })
    }

    fn value(&self, subject: &Subject<'_>) -> Option<Value> {
        let caller = subject.caller;
        match self {
            Self::KeyUid => Some(caller.key?.to_string().into()),
            Self::ClientIp => Some(caller.address?.to_string().into()),
            Self::Claim(path) => {
                let (first, rest) = path.split_first()?;
                let claim = caller.claims.as_ref()?.get(first)?;
                rest.iter().try_fold(claim, |value, step| value.get(step)).cloned()
            }
            Self::Header(name) => Some(caller.headers.get(name)?.to_str().ok()?.into()),
            Self::Index => Some(subject.index?.into()),
            Self::Operation => Some(subject.deed.into()),
            Self::Parameter(name) => subject.parameters?.get(name).cloned(),
        }
    }
}

/// `a.b["c d"]` is `a`, `b`, `c d`; `None` for what is no path.
fn steps(text: &str) -> Option<Vec<String>> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let mut steps = Vec::new();
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix('[') {
            let quote = after.chars().next().filter(|first| matches!(first, '"' | '\''))?;
            let (name, after) = after[1..].split_once(quote)?;
            rest = after.strip_prefix(']')?;
            steps.push(name.to_owned());
        } else {
            let end = rest.find(|letter| !is_plain(letter)).unwrap_or(rest.len());
            steps.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
        if steps.last().is_none_or(String::is_empty) {
            return None;
        }
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Some(steps),
            None if rest.starts_with('[') => {}
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::subject::tests::caller;

    #[test]
    fn the_first_name_with_a_value_counts() {
        let caller = caller(json!({"tenant": "a", "org": {"id": 7}, "none": null}), "10.1.2.3", &[("x-user-id", "u1")]);
        let parameters = json!({"q": "shoe"}).as_object().cloned().unwrap();
        let subject = Subject { parameters: Some(&parameters), ..Subject::of(&caller, "search", Some("products")) };
        for (text, value) in [
            ("claims.tenant", json!("a")),
            ("claims.org.id", json!(7)),
            ("claims.none ?? claims.org['id']", json!(7)),
            ("headers[\"x-user-id\"] ?? client.ip", json!("u1")),
            ("headers.x-other ?? client.ip", json!("10.1.2.3")),
            ("request.index", json!("products")),
            ("search.q", json!("shoe")),
        ] {
            assert_eq!(Term::parse(text).unwrap().value(&subject), Some(value), "{text}");
        }
        assert_eq!(Term::parse("claims.other").unwrap().value(&subject), None);
        assert_eq!(Term::parse("claims.org").unwrap().text(&subject), None);
    }

    #[test]
    fn a_name_that_nothing_has_is_refused() {
        for text in
            ["", "claim.tenant", "claims", "client", "claims..a", "headers[x]", "claims.a b", "a ?? b", "claims.a ??"]
        {
            assert!(Term::parse(text).is_err(), "{text}");
        }
    }
}
