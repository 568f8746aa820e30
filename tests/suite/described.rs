//! The engine's OpenAPI description against what Miroir knows of its API: `MIROIR_OPENAPI` names a description, and each operation,
//! parameter and field in it that is not classified in `tests/golden` is told.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

const OPERATIONS: &str = include_str!("../golden/operations.txt");
const FIELDS: &str = include_str!("../golden/api_fields.txt");
const CLASSES: [&str; 5] = ["read", "passes", "refused", "parts", "unserved"];

static NOTHING: Value = Value::Null;

/// The words of each line of a table.
fn lines(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_whitespace().collect())
}

/// What `reference` points at; a schema that is none stands for itself.
fn resolved<'a>(description: &'a Value, mut schema: &'a Value) -> &'a Value {
    while let Some(reference) = schema["$ref"].as_str() {
        schema = description.pointer(reference.trim_start_matches('#')).unwrap_or(&NOTHING);
    }
    schema
}

/// The fields of an object, or of the objects in a list.
fn fields(description: &Value, schema: &Value, depth: usize) -> Map<String, Value> {
    let schema = resolved(description, schema);
    let mut all = Map::new();
    if depth > 12 {
        return all;
    }
    for alternatives in ["allOf", "anyOf", "oneOf"] {
        for one in schema[alternatives].as_array().into_iter().flatten() {
            all.extend(fields(description, one, depth + 1));
        }
    }
    all.extend(fields_of_items(description, schema, depth));
    all.extend(schema["properties"].as_object().cloned().unwrap_or_default());
    all
}

fn fields_of_items(description: &Value, schema: &Value, depth: usize) -> Map<String, Value> {
    schema.get("items").map(|items| fields(description, items, depth + 1)).unwrap_or_default()
}

/// `METHOD path where name` of what `description` has and the tables do not; `METHOD path` of whole operations.
fn unclassified(description: &Value) -> Vec<String> {
    let operations: BTreeSet<(&str, &str)> = lines(OPERATIONS).map(|words| (words[0], words[1])).collect();
    let known: BTreeSet<Vec<&str>> = lines(FIELDS).map(|words| words[..4].to_vec()).collect();
    let in_parts: BTreeSet<Vec<&str>> =
        lines(FIELDS).filter(|words| words[4] == "parts").map(|words| words[..4].to_vec()).collect();
    let mut missing = Vec::new();
    for (path, methods) in description["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let method = method.to_uppercase();
            if !operations.contains(&(method.as_str(), path.as_str())) {
                missing.push(format!("{method} {path}"));
                continue;
            }
            let mut look = |place: &str, name: &str| {
                if !known.contains(&vec![method.as_str(), path.as_str(), place, name]) {
                    missing.push(format!("{method} {path} {place} {name}"));
                }
                in_parts.contains(&vec![method.as_str(), path.as_str(), place, name])
            };
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if parameter["in"] == "query" {
                    look("query", parameter["name"].as_str().unwrap_or_default());
                }
            }
            // The fields of documents are the client's own.
            if path.ends_with("/documents") {
                continue;
            }
            let contents = operation.pointer("/requestBody/content").and_then(Value::as_object);
            let Some((_, content)) = contents.and_then(|contents| contents.iter().min_by_key(|(name, _)| *name)) else {
                continue;
            };
            let mut open = vec![(String::new(), content["schema"].clone())];
            while let Some((within, schema)) = open.pop() {
                for (name, field) in fields(description, &schema, 0) {
                    let name = format!("{within}{name}");
                    if look("body", &name) {
                        open.push((format!("{name}."), field));
                    }
                }
            }
        }
    }
    missing.sort_unstable();
    missing
}

#[test]
fn each_line_of_the_table_of_fields_is_of_an_operation_and_has_a_class_described() {
    let served = |name: &str| name != "unsupported";
    let operations: Vec<Vec<&str>> = lines(OPERATIONS).collect();
    let mut seen = BTreeSet::new();
    for words in lines(FIELDS) {
        assert_eq!(words.len(), 5, "{words:?}");
        assert!(seen.insert(words[..4].to_vec()), "{words:?} stands there twice");
        assert!(CLASSES.contains(&words[4]), "{words:?}");
        let operation = operations.iter().find(|operation| operation[..2] == words[..2]);
        let operation = operation.unwrap_or_else(|| panic!("{words:?} is of no operation"));
        assert_eq!(words[4] == "unserved", !served(operation[2]), "{words:?}");
    }
}

#[test]
fn what_is_new_in_a_description_is_told() {
    let body = json!({"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Many"}}}});
    let description = json!({
        "paths": {
            "/health": {"get": {}},
            "/new": {"post": {}},
            "/stats": {"get": {"parameters": [
                {"in": "query", "name": "sizeFormat"}, {"in": "query", "name": "colour"}, {"in": "path", "name": "x"},
            ]}},
            "/multi-search": {"post": {"requestBody": body}},
        },
        "components": {"schemas": {
            "Many": {"properties": {
                "queries": {"type": "array", "items": {"allOf": [{"$ref": "#/components/schemas/One"}]}},
                "mood": {},
            }},
            "One": {"properties": {"q": {}, "taste": {"properties": {"deep": {}}}}},
        }},
    });
    assert_eq!(
        unclassified(&description),
        [
            "GET /stats query colour",
            "POST /multi-search body mood",
            "POST /multi-search body queries.taste",
            "POST /new"
        ]
    );
}

#[test]
fn everything_described_by_the_given_description_is_classified() {
    // Given by `make described`; the tables were made of the newest there was.
    let Ok(path) = std::env::var("MIROIR_OPENAPI") else { return };
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let missing = unclassified(&serde_json::from_str(&text).expect("a description is JSON"));
    assert!(
        missing.is_empty(),
        "not classified in tests/golden/operations.txt or api_fields.txt:\n{}",
        missing.join("\n")
    );
}
