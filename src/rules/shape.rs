//! What documents must be, and what is made of them, before anything else is done with them. What a rule does not name stays as it is,
//! byte by byte.

use std::collections::BTreeMap;

use serde_json::Value;

use super::action::Given;
use super::subject::Subject;
use super::template::Missing;
use crate::settings::{FromSection, Section};
use crate::split::Document;
use crate::split::document::RESERVED_PREFIX;

/// `fields: { require: [id], types: { price: number }, drop: [notes], default: { currency: EUR }, set: {...}, invalid: reject }`.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    require: Vec<String>,
    types: Vec<(String, Kind)>,
    drop: Vec<String>,
    default: Vec<(String, Given)>,
    set: Vec<(String, Given)>,
    skips: bool,
}

/// What the value of a field must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    is: Is,
    /// Null will do, too.
    nullable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Text,
    Number,
    Integer,
    Truth,
    List,
    Object,
}

/// A shape for the documents of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Shaped {
    rule: String,
    require: Vec<String>,
    types: Vec<(String, Kind)>,
    drop: Vec<String>,
    /// Values as JSON.
    default: Vec<(String, String)>,
    set: Vec<(String, String)>,
    skips: bool,
}

/// What becomes of a document.
#[derive(Debug, PartialEq, Eq)]
pub enum Fit {
    AsItIs,
    /// Its text now.
    Changed(String),
    /// It is left out.
    Skipped,
}

const KINDS: [(&str, Is); 6] = [
    ("string", Is::Text),
    ("number", Is::Number),
    ("integer", Is::Integer),
    ("boolean", Is::Truth),
    ("array", Is::List),
    ("object", Is::Object),
];

// === impl Shape ===

impl FromSection for Shape {
    fn read(section: &mut Section) -> Self {
        let expected = "a mapping of fields to `string`, `number`, `integer`, `boolean`, `array` or `object`, each with a `?` if null will do";
        let types = section.parsed("types", Vec::new(), expected, |value| {
            let types =
                value.as_object()?.iter().map(|(name, kind)| Some((name.clone(), Kind::parse(kind.as_str()?)?)));
            types.collect()
        });
        let read = Self {
            require: names(section, "require"),
            types,
            drop: names(section, "drop"),
            default: values(section, "default"),
            set: values(section, "set"),
            skips: section.choice("invalid", &[("reject", false), ("skip", true)], false),
        };
        let reserved = read.default.iter().chain(&read.set).any(|(name, _)| name.starts_with(RESERVED_PREFIX));
        if reserved {
            section.problem("set", format!("names that begin with `{RESERVED_PREFIX}` belong to Miroir"));
        }
        read
    }
}

impl Shape {
    /// True if it demands and changes nothing.
    pub fn is_empty(&self) -> bool {
        self.require.is_empty()
            && self.types.is_empty()
            && self.drop.is_empty()
            && self.default.is_empty()
            && self.set.is_empty()
    }

    /// For the documents of the request of `subject`.
    pub fn of(&self, rule: &str, subject: &Subject<'_>) -> Result<Shaped, Missing> {
        let worked_out = |values: &[(String, Given)]| {
            let values = values.iter().map(|(name, given)| Ok((name.clone(), given.value(subject)?.to_string())));
            values.collect::<Result<Vec<_>, Missing>>()
        };
        Ok(Shaped {
            rule: rule.to_owned(),
            require: self.require.clone(),
            types: self.types.clone(),
            drop: self.drop.clone(),
            default: worked_out(&self.default)?,
            set: worked_out(&self.set)?,
            skips: self.skips,
        })
    }
}

// === impl Shaped ===

impl Shaped {
    /// What becomes of `document`; an error says why it is none that may be written.
    pub fn fit(&self, document: &Document<'_>) -> Result<Fit, String> {
        // Of a key that comes twice the last counts, as for the engine.
        let fields: BTreeMap<&str, &str> =
            document.fields().iter().map(|(name, value)| (&**name, value.get())).collect();
        let is_dropped = |name: &str| self.drop.iter().any(|dropped| dropped == name);
        let is_set = |name: &str| self.set.iter().any(|(set, _)| set == name);
        let given = self.default.iter().filter(|(name, _)| is_dropped(name) || !fields.contains_key(name.as_str()));
        let given: Vec<&(String, String)> = given.filter(|(name, _)| !is_set(name)).chain(&self.set).collect();
        let value = |name: &str| match given.iter().find(|(given, _)| given == name) {
            Some((_, value)) => Some(value.as_str()),
            None => fields.get(name).copied().filter(|_| !is_dropped(name)),
        };
        if let Err(why) = self.check(&value) {
            return if self.skips { Ok(Fit::Skipped) } else { Err(format!("{why} (rule `{}`)", self.rule)) };
        }
        if given.is_empty() && !fields.keys().any(|name| is_dropped(name)) {
            return Ok(Fit::AsItIs);
        }
        let kept = document.fields().iter().filter(|(name, _)| !is_dropped(name) && !is_set(name));
        let kept = kept.map(|(name, value)| (&**name, value.get()));
        let added = given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let members = kept.chain(added).map(|(name, value)| format!("{}:{value}", Value::from(name)));
        Ok(Fit::Changed(format!("{{{}}}", members.collect::<Vec<_>>().join(","))))
    }

    fn check<'v>(&self, value: &dyn Fn(&str) -> Option<&'v str>) -> Result<(), String> {
        for name in &self.require {
            if value(name).is_none_or(|value| value == "null") {
                return Err(format!("`{name}` is missing"));
            }
        }
        for (name, kind) in &self.types {
            if let Some(value) = value(name).filter(|value| !kind.fits(value)) {
                let shown: String = value.chars().take(40).collect();
                return Err(format!("`{name}` should be {} and is `{shown}`", kind.name()));
            }
        }
        Ok(())
    }
}

// === impl Kind ===

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        let (name, nullable) = text.strip_suffix('?').map_or((text, false), |name| (name, true));
        KINDS.iter().find(|(known, _)| *known == name).map(|(_, is)| Self { is: *is, nullable })
    }

    fn name(self) -> &'static str {
        KINDS.iter().find(|(_, is)| *is == self.is).map_or("", |(name, _)| *name)
    }

    /// By the text of a value.
    fn fits(self, value: &str) -> bool {
        match value.as_bytes().first() {
            Some(b'"') => self.is == Is::Text,
            Some(b'{') => self.is == Is::Object,
            Some(b'[') => self.is == Is::List,
            Some(b't' | b'f') => self.is == Is::Truth,
            Some(b'n') => self.nullable,
            Some(_) | None => self.is == Is::Number || (self.is == Is::Integer && !value.contains(['.', 'e', 'E'])),
        }
    }
}

fn names(section: &mut Section, key: &str) -> Vec<String> {
    section.parsed(key, Vec::new(), "a list of names of fields", |value| {
        value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    })
}

fn values(section: &mut Section, key: &str) -> Vec<(String, Given)> {
    section.parsed(key, Vec::new(), "a mapping of fields to values, texts with templates that are right", |value| {
        let values = value.as_object()?.iter().map(|(name, value)| Some((name.clone(), Given::parse(value).ok()?)));
        values.collect()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::rules::subject::tests::caller;
    use crate::settings::Report;

    fn shaped(value: Value) -> Shaped {
        let report = Report::default();
        let mut section = Section::new("fields", value, &report);
        let shape = Shape::read(&mut section);
        section.finish();
        assert!(report.into_parts().0.is_empty());
        let caller = caller(json!({"team": "t\"1"}), "", &[]);
        shape.of("shape", &Subject::of(&caller, "addDocuments", Some("a"))).unwrap()
    }

    fn fit(shape: Value, document: &str) -> Result<Fit, String> {
        shaped(shape).fit(&Document::parse(document).unwrap())
    }

    fn changed(text: &str) -> Result<Fit, String> {
        Ok(Fit::Changed(text.to_owned()))
    }

    #[test]
    fn fields_are_dropped_given_and_set() {
        let document = r#"{"id": 1.10, "notes":"x", "a\"b":[ 1 ]}"#;
        assert_eq!(fit(json!({"drop": ["notes"]}), document), changed(r#"{"id":1.10,"a\"b":[ 1 ]}"#));
        assert_eq!(fit(json!({"drop": ["other"]}), document), Ok(Fit::AsItIs));
        let given = json!({"default": {"id": 7, "currency": "EUR"}, "set": {"notes": "${claims.team}"}});
        assert_eq!(fit(given, document), changed(r#"{"id":1.10,"a\"b":[ 1 ],"currency":"EUR","notes":"t\"1"}"#));
        assert_eq!(fit(json!({"drop": ["id"], "default": {"id": 7}}), r#"{"id":1}"#), changed(r#"{"id":7}"#));
    }

    #[test]
    fn what_lacks_a_field_or_has_another_kind_is_refused_or_left_out() {
        let shape = |invalid: &str| json!({"require": ["id"], "types": {"price": "number", "n": "integer?", "tags": "array"}, "invalid": invalid});
        for good in [r#"{"id":1}"#, r#"{"id":"x","price":-1.5e3,"n":null,"tags":[]}"#, r#"{"id":0,"n":7}"#] {
            assert_eq!(fit(shape("reject"), good), Ok(Fit::AsItIs), "{good}");
        }
        for bad in [
            r#"{}"#,
            r#"{"id":null}"#,
            r#"{"id":1,"price":"1"}"#,
            r#"{"id":1,"price":null}"#,
            r#"{"id":1,"n":1.5}"#,
            r#"{"id":1,"tags":{}}"#,
        ] {
            assert!(fit(shape("reject"), bad).unwrap_err().ends_with("(rule `shape`)"), "{bad}");
            assert_eq!(fit(shape("skip"), bad), Ok(Fit::Skipped), "{bad}");
        }
        assert_eq!(fit(json!({"require": ["c"], "default": {"c": 1}}), "{}"), changed(r#"{"c":1}"#));
        assert!(fit(json!({"types": {"n": "number"}}), r#"{"n":1,"n":"last"}"#).is_err(), "the last counts");
    }

    #[test]
    fn what_is_no_shape_is_a_problem() {
        for value in [
            json!({"types": {"a": "float"}}),
            json!({"require": "id"}),
            json!({"set": {"_miroir_x": 1}}),
            json!({"default": {"a": "${x"}}),
            json!({"x": 1}),
        ] {
            let report = Report::default();
            let mut section = Section::new("fields", value.clone(), &report);
            Shape::read(&mut section);
            section.finish();
            assert_eq!(report.into_parts().0.len(), 1, "{value}");
        }
    }

    proptest! {
        #[test]
        fn what_no_rule_names_stays_byte_by_byte(fields in prop::collection::btree_map("[a-z\"\\\\]{1,3}", "-?[0-9]{1,30}(\\.[0-9]{1,30})?", 0..5)) {
            let members = fields.iter().filter(|(_, number)| serde_json::from_str::<f64>(number).is_ok());
            let members: Vec<String> = members.map(|(name, number)| format!("{}: {number}", json!(name))).collect();
            let text = format!("{{{}}}", members.join(" ,"));
            prop_assert_eq!(fit(json!({"drop": ["DROPPED"], "types": {"OTHER": "string"}}), &text), Ok(Fit::AsItIs));
            let more = if members.is_empty() { "{\"DROPPED\":1}".to_owned() } else { format!("{},\"DROPPED\":1}}", &text[..text.len() - 1]) };
            let Fit::Changed(left) = fit(json!({"drop": ["DROPPED"]}), &more).unwrap() else { panic!("changed") };
            prop_assert_eq!(left, text.replace(" ,", ",").replace("\": ", "\":"));
        }
    }
}
