//! When a rule holds: what is done, on which index, by whom, from where.

use http::HeaderName;
use serde_json::Value;
use uuid::Uuid;

use super::deed::On;
use super::network::Network;
use super::split::Share;
use super::subject::Subject;
use super::term::scalar;
use crate::meili::pattern::IndexPattern;
use crate::settings::{FromSection, Section};

/// All that a rule asks of a request; what it does not name, it does not ask.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// Any of them.
    pub on: Vec<On>,
    /// Any of them; of a request that names several indexes, for any of these.
    pub indexes: Vec<IndexPattern>,
    who: Who,
    /// The rule does not hold for these.
    unless: Option<Who>,
}

/// Who asks, and from where.
#[derive(Debug, Clone, Default)]
struct Who {
    keys: Vec<Uuid>,
    claims: Vec<(Vec<String>, Wanted)>,
    clients: Vec<Network>,
    headers: Vec<(HeaderName, Wanted)>,
    share: Option<Share>,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    /// There, whatever it is.
    Any,
    /// One of these texts, or a list that has one of them.
    OneOf(Vec<String>),
}

// === impl Conditions ===

impl Conditions {
    /// Takes the keys of a rule that say when it holds.
    pub fn read(section: &mut Section) -> Self {
        let on = texts(section, "on");
        let known = on.iter().filter_map(|name| {
            let found = On::parse(name);
            if found.is_none() {
                section.problem("on", format!("no operation is called `{name}`; docs/programs.md lists them"));
            }
            found
        });
        let on = known.collect();
        let indexes = texts(section, "indexes");
        let patterns = indexes.iter().filter_map(|text| match IndexPattern::parse(text) {
            Ok(pattern) => Some(pattern),
            Err(message) => {
                section.problem("indexes", message);
                None
            }
        });
        let indexes = patterns.collect();
        let who = Who::read(section);
        let unless: Who = section.read("unless");
        let unless = (!unless.is_anybody()).then_some(unless);
        Self { on, indexes, who, unless }
    }

    /// True if something is asked that only a request can tell.
    pub fn look_at_requests(&self) -> bool {
        !self.on.is_empty() || !self.who.is_anybody() || self.unless.is_some()
    }

    /// True for a caller to whom the rule applies, whatever is asked.
    pub fn concern(&self, subject: &Subject<'_>) -> bool {
        self.who.is_met(subject) && !self.unless.as_ref().is_some_and(|unless| unless.is_met(subject))
    }

    /// True if all of them hold for this request.
    pub fn hold(&self, subject: &Subject<'_>) -> bool {
        (self.on.is_empty() || self.on.iter().any(|on| on.is_about(subject.deed)))
            && (self.indexes.is_empty()
                || subject.indexes().any(|index| self.indexes.iter().any(|pattern| pattern.meets(index))))
            && self.concern(subject)
    }
}

// === impl Who ===

impl Who {
    fn is_anybody(&self) -> bool {
        self.keys.is_empty()
            && self.claims.is_empty()
            && self.clients.is_empty()
            && self.headers.is_empty()
            && self.share.is_none()
    }

    fn is_met(&self, subject: &Subject<'_>) -> bool {
        let caller = subject.caller;
        (self.keys.is_empty() || caller.key.is_some_and(|key| self.keys.contains(&key)))
            && (self.clients.is_empty()
                || caller.address.is_some_and(|address| self.clients.iter().any(|network| network.contains(address))))
            && self.claims.iter().all(|(path, wanted)| {
                let claim = path.split_first().and_then(|(first, rest)| {
                    let claim = caller.claims.as_ref()?.get(first)?;
                    rest.iter().try_fold(claim, |value, step| value.get(step))
                });
                wanted.is_met(claim)
            })
            && self.headers.iter().all(|(name, wanted)| {
                let value = caller.headers.get(name).and_then(|value| value.to_str().ok());
                wanted.is_met(value.map(Value::from).as_ref())
            })
            && self.share.as_ref().is_none_or(|share| share.has(subject))
    }
}

impl FromSection for Who {
    fn read(section: &mut Section) -> Self {
        let keys = texts(section, "keys");
        let uids = keys.iter().filter_map(|text| {
            let uid = text.parse().ok();
            if uid.is_none() {
                section.problem(
                    "keys",
                    format!("expected uids of API keys (not their secrets), found {} letters", text.len()),
                );
            }
            uid
        });
        let keys = uids.collect();
        let clients = texts(section, "clients");
        let networks = clients.iter().filter_map(|text| {
            let network = text.parse().ok();
            if network.is_none() {
                section.problem("clients", format!("expected networks such as `10.0.0.0/8` or `::1`, found `{text}`"));
            }
            network
        });
        let clients = networks.collect();
        let claims = wanted(section, "claims");
        let claims =
            claims.into_iter().map(|(name, wanted)| (name.split('.').map(str::to_owned).collect(), wanted)).collect();
        let mut headers = Vec::new();
        for (name, value) in wanted(section, "headers") {
            match name.parse() {
                Ok(name) => headers.push((name, value)),
                Err(_) => section.problem("headers", format!("`{name}` is no name of a header")),
            }
        }
        let share = Share::read(section);
        Self { keys, claims, clients, headers, share }
    }
}

// === impl Wanted ===

impl Wanted {
    fn is_met(&self, value: Option<&Value>) -> bool {
        let Some(value) = value.filter(|value| !value.is_null()) else { return false };
        match self {
            Self::Any => true,
            Self::OneOf(texts) => {
                let is_one = |value: &Value| scalar(value).is_some_and(|text| texts.contains(&text));
                match value {
                    Value::Array(items) => items.iter().any(is_one),
                    single => is_one(single),
                }
            }
        }
    }
}

/// A list of texts, or one text.
pub(super) fn texts(section: &mut Section, key: &str) -> Vec<String> {
    section.parsed(key, Vec::new(), "a list of texts", |value| match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items.iter().map(scalar).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    })
}

/// `{ plan: gold, region: [eu, us], admin: "*" }`; a star is any value.
fn wanted(section: &mut Section, key: &str) -> Vec<(String, Wanted)> {
    section.parsed(key, Vec::new(), "a mapping of names to a value, a list of values, or `*` for any", |value| {
        let entries = value.as_object()?.iter().map(|(name, value)| {
            let wanted = match value {
                Value::String(star) if star == "*" => Wanted::Any,
                Value::Array(items) => Wanted::OneOf(items.iter().map(scalar).collect::<Option<_>>()?),
                single => Wanted::OneOf(vec![scalar(single)?]),
            };
            Some((name.clone(), wanted))
        });
        entries.collect()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::subject::Caller;
    use crate::rules::subject::tests::caller;
    use crate::settings::Report;

    fn read(value: Value) -> (Conditions, Vec<String>) {
        let report = Report::default();
        let mut section = Section::new("rule", value, &report);
        let conditions = Conditions::read(&mut section);
        section.finish();
        (conditions, report.into_parts().0.iter().map(ToString::to_string).collect())
    }

    fn holds(conditions: Value, caller: &Caller<'_>, deed: &str, index: &str) -> bool {
        let (conditions, problems) = read(conditions);
        assert!(problems.is_empty(), "{problems:?}");
        conditions.hold(&Subject::of(caller, deed, Some(index)))
    }

    #[test]
    fn all_that_is_named_must_be_met() {
        let caller = caller(json!({"plan": "gold", "roles": ["a", "b"], "n": 7}), "10.0.0.1", &[("x-beta", "1")]);
        for (conditions, expected) in [
            (json!({}), true),
            (json!({"on": ["search"]}), true),
            (json!({"on": "writes"}), false),
            (json!({"indexes": ["prod*"]}), true),
            (json!({"indexes": ["orders"]}), false),
            (json!({"claims": {"plan": "gold", "n": 7}}), true),
            (json!({"claims": {"plan": ["silver", "bronze"]}}), false),
            (json!({"claims": {"roles": "b"}}), true),
            (json!({"claims": {"other": "*"}}), false),
            (json!({"headers": {"X-Beta": "*"}}), true),
            (json!({"headers": {"x-beta": "2"}}), false),
            (json!({"clients": ["10.0.0.0/8", "::1"]}), true),
            (json!({"clients": ["192.168.0.0/16"]}), false),
            (json!({"keys": ["6c6ef4f5-4b5e-4d22-8f0b-1f7a2b9a7f11"]}), false),
            (json!({"unless": {"clients": ["10.0.0.0/8"]}}), false),
            (json!({"unless": {"clients": ["10.0.0.0/8"], "claims": {"plan": "silver"}}}), true),
            (json!({"on": "search", "clients": ["11.0.0.0/8"]}), false),
        ] {
            assert_eq!(holds(conditions.clone(), &caller, "search", "products"), expected, "{conditions}");
        }
    }

    #[test]
    fn a_request_without_an_address_is_from_nowhere() {
        let caller = caller(json!({}), "", &[]);
        assert!(!holds(json!({"clients": ["0.0.0.0/0"]}), &caller, "search", "a"));
        assert!(holds(json!({"unless": {"clients": ["0.0.0.0/0"]}}), &caller, "search", "a"));
    }

    #[test]
    fn what_cannot_be_met_is_a_problem() {
        for (conditions, path) in [
            (json!({"on": ["sing"]}), "rule.on"),
            (json!({"indexes": ["a*b"]}), "rule.indexes"),
            (json!({"keys": ["secret"]}), "rule.keys"),
            (json!({"clients": ["office"]}), "rule.clients"),
            (json!({"headers": {"a b": "*"}}), "rule.headers"),
            (json!({"claims": ["plan"]}), "rule.claims"),
            (json!({"unless": {"indexes": ["a"]}}), "rule.unless.indexes"),
        ] {
            let problems = read(conditions).1;
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with(path), "{problems:?}");
        }
    }
}
