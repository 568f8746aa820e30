//! Facet values as the engine compares them.

use std::collections::HashSet;

use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

/// The form under which the engine stores a string for filters, facets, sort and distinct: trimmed, compatibility
/// decomposed, in lower case. Two strings of one form are one value.
pub fn normalize(text: &str) -> String {
    let trimmed = text.trim();
    if trimmed.is_ascii() {
        return trimmed.to_ascii_lowercase();
    }
    trimmed.nfkd().collect::<String>().to_lowercase()
}

/// A value as `distinct` compares it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// The bits of the number, zero without its sign.
    Number(u64),
    Text(String),
}

/// The values of `field`, a path such as `maker.name`, in `document`; objects and arrays on the way are entered, null
/// is no value.
pub fn values_at(document: &Value, field: &str) -> HashSet<Key> {
    let mut found = HashSet::new();
    visit(document, field, &mut |leaf| {
        found.extend(key(leaf));
    });
    found
}

/// Shows every scalar at `path` to `see`: objects and arrays on the way are entered.
pub fn visit(value: &Value, path: &str, see: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                if key == path {
                    leaves(inner, see);
                } else if let Some(rest) = path.strip_prefix(key.as_str()).and_then(|rest| rest.strip_prefix('.')) {
                    visit(inner, rest, see);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| visit(item, path, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn leaves(value: &Value, see: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(_) => {}
        Value::Array(items) => items.iter().for_each(|item| leaves(item, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => see(value),
    }
}

fn key(leaf: &Value) -> Option<Key> {
    match leaf {
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        Value::Bool(truth) => Some(Key::Text(truth.to_string())),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            Some(Key::Number(if number == 0.0 { 0 } else { number.to_bits() }))
        }
        // What is empty is no value to the engine.
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(Key::Text(normalize(text))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_are_one_value_whatever_their_case_and_composition() {
        assert_eq!(normalize("  ÉCOLE "), normalize("e\u{301}cole"));
        assert_eq!(normalize("Red"), "red");
        assert_ne!(normalize("école"), normalize("ecole"));
    }

    #[test]
    fn values_are_found_through_objects_and_arrays() {
        let document = json!({"a": [{"b": "X"}, {"b": [1, 2.0, null]}], "a.b": true});
        let values = values_at(&document, "a.b");
        let one = Key::Number(1f64.to_bits());
        let two = Key::Number(2f64.to_bits());
        assert_eq!(values, [Key::Text("x".into()), one, two, Key::Text("true".into())].into());
        assert!(values_at(&document, "a.c").is_empty());
        assert!(values_at(&json!({"a": ["", null, {}]}), "a").is_empty());
    }
}
