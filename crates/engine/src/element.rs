//! An object of an array of documents, as the engine understands one that names a key twice.

use std::collections::HashMap;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// The keys of the first level, each with its place and its last value.
struct Members<'a> {
    members: HashMap<String, (usize, &'a RawValue)>,
    repeats: bool,
}

struct MembersVisitor;

/// The object with each key of its first level once, in the place of its first occurrence and with its last value:
/// `{"a":1,"b":2,"\u0061":3}` becomes `{"a":3,"b":2}`. `None` for an object that repeats none, and for what is no object.
pub fn with_each_key_once(raw: &str) -> Option<String> {
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    let object = deserializer.deserialize_map(MembersVisitor).ok().filter(|object| object.repeats)?;
    let mut members: Vec<(String, (usize, &RawValue))> = object.members.into_iter().collect();
    members.sort_unstable_by_key(|(_, (place, _))| *place);
    let text =
        |(key, (_, value)): &(String, (usize, &RawValue))| format!("{}:{value}", serde_json::Value::from(&**key));
    Some(format!("{{{}}}", members.iter().map(text).collect::<Vec<_>>().join(",")))
}

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Members { members: HashMap::new(), repeats: false };
        while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
            let next = found.members.len();
            found.members.entry(key).and_modify(|(_, last)| *last = value).or_insert((next, value));
            found.repeats |= found.members.len() == next;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_key_keeps_its_first_place_and_its_last_value() {
        assert_eq!(
            with_each_key_once(r#"{"a": 1, "b":2.00,"\u0061":[3, 4]}"#).as_deref(),
            Some(r#"{"a":[3, 4],"b":2.00}"#)
        );
        assert_eq!(with_each_key_once(r#"{"\"":1,"\"":2}"#).as_deref(), Some(r#"{"\"":2}"#));
    }

    #[test]
    fn other_values_are_left_as_they_are() {
        for raw in [r#"{"a":1,"b":{"c":1,"c":2}}"#, "{}", "[1]", "\"a\"", "{\"a\":"] {
            assert_eq!(with_each_key_once(raw), None, "{raw}");
        }
    }
}
