//! A document's content as a number: equal on two nodes when the documents are.

use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

/// Where a node shows vectors.
const VECTORS: &str = "_vectors";
const EMBEDDINGS: &str = "embeddings";
const REGENERATE: &str = "regenerate";

/// The digest of a document as a node shows it. The order of fields does not count, since nodes number fields in the
/// order in which they meet them. Vectors that the engine makes itself do not count either: each node computes its own.
pub fn digest(document: &Value) -> u128 {
    let mut hash = Xxh3::new();
    match document {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            for name in names {
                text(&mut hash, b'k', name);
                if name == VECTORS { vectors(&mut hash, &fields[name]) } else { value(&mut hash, &fields[name]) }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            value(&mut hash, document);
        }
    }
    hash.digest128()
}

fn vectors(hash: &mut Xxh3, shown: &Value) {
    let Value::Object(embedders) = shown else { return value(hash, shown) };
    let mut names: Vec<&String> = embedders.keys().collect();
    names.sort_unstable();
    for name in names {
        text(hash, b'k', name);
        let entry = &embedders[name];
        if entry.get(REGENERATE) == Some(&Value::Bool(true)) && entry.get(EMBEDDINGS).is_some() {
            hash.update(b"regenerated");
        } else {
            value(hash, entry);
        }
    }
}

/// Each kind of value has a letter, and what has a length says it first, so that no two values give the same bytes.
fn value(hash: &mut Xxh3, shown: &Value) {
    match shown {
        Value::Null => hash.update(b"n"),
        Value::Bool(true) => hash.update(b"t"),
        Value::Bool(false) => hash.update(b"f"),
        Value::Number(number) => text(hash, b'#', &number.to_string()),
        Value::String(string) => text(hash, b's', string),
        Value::Array(items) => {
            hash.update(b"a");
            hash.update(&items.len().to_le_bytes());
            for item in items {
                value(hash, item);
            }
        }
        Value::Object(fields) => {
            hash.update(b"o");
            hash.update(&fields.len().to_le_bytes());
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            for name in names {
                text(hash, b'k', name);
                value(hash, &fields[name]);
            }
        }
    }
}

fn text(hash: &mut Xxh3, kind: u8, text: &str) {
    hash.update(&[kind]);
    hash.update(&text.len().to_le_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(text: &str) -> u128 {
        digest(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn the_order_of_fields_does_not_count_and_that_of_items_does() {
        assert_eq!(of(r#"{"a":1,"b":{"c":2,"d":3}}"#), of(r#"{"b":{"d":3,"c":2},"a":1}"#));
        assert_ne!(of(r#"{"a":[1,2]}"#), of(r#"{"a":[2,1]}"#));
    }

    #[test]
    fn different_values_have_different_digests() {
        let values = [
            json!({}),
            json!({"a": null}),
            json!({"a": ""}),
            json!({"a": "1"}),
            json!({"a": 1}),
            json!({"a": 1.0}),
            json!({"a": true}),
            json!({"a": [1]}),
            json!({"a": [[1]]}),
            json!({"a": {"b": 1}}),
            json!({"a": "b", "b": ""}),
            json!({"a": "", "b": "b"}),
            json!({"ab": ""}),
        ];
        for (at, one) in values.iter().enumerate() {
            for other in &values[..at] {
                assert_ne!(digest(one), digest(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn vectors_that_the_engine_makes_do_not_count_and_given_ones_do() {
        let with = |x: f64, regenerate: bool| {
            digest(&json!({"id": 1, "_vectors": {"e": {"embeddings": [[x]], "regenerate": regenerate}}}))
        };
        assert_eq!(with(0.1, true), with(0.2, true));
        assert_ne!(with(0.1, false), with(0.2, false));
        assert_ne!(with(0.1, true), with(0.1, false));
    }
}
