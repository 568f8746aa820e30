//! Parts of a JSON document by the dotted names of its fields, through arrays of objects.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// Changes a leaf value: its dotted name, its place in each array on the way, the value.
pub type ChangeLeaf<'a> = dyn FnMut(&str, &[usize], &mut Value) + 'a;

/// The fields of `object` that `names` select, in the order of `object`. A field that is only a step on the way to a
/// selected one is kept, though it may end up empty.
pub fn select<'n>(object: &Map<String, Value>, names: impl IntoIterator<Item = &'n str>) -> Map<String, Value> {
    select_in_object(object, &names.into_iter().collect())
}

fn select_in_object(object: &Map<String, Value>, names: &HashSet<&str>) -> Map<String, Value> {
    let mut selected = Map::new();
    for (key, value) in object {
        if names.contains(key.as_str()) {
            selected.insert(key.clone(), value.clone());
            if !key.contains('.') {
                continue;
            }
        }
        let below: HashSet<&str> = names.iter().filter_map(|name| below(name, key)).collect();
        if below.is_empty() {
            continue;
        }
        match value {
            Value::Object(inner) => {
                selected.insert(key.clone(), Value::Object(select_in_object(inner, &below)));
            }
            Value::Array(inner) => {
                selected.insert(key.clone(), Value::Array(select_in_array(inner, &below)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    selected
}

fn select_in_array(array: &[Value], names: &HashSet<&str>) -> Vec<Value> {
    let mut selected = Vec::new();
    for value in array {
        match value {
            Value::Array(inner) => selected.push(Value::Array(select_in_array(inner, names))),
            Value::Object(inner) => {
                let inner = select_in_object(inner, names);
                if !inner.is_empty() {
                    selected.push(Value::Object(inner));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    selected
}

/// What of `name` lies below `key`: `b.c` of `a.b.c` below `a`.
fn below<'n>(name: &'n str, key: &str) -> Option<&'n str> {
    name.strip_prefix(key)?.strip_prefix('.')
}

/// True when `name` is `key` or lies below it.
fn within(name: &str, key: &str) -> bool {
    name == key || below(name, key).is_some()
}

/// Runs `change` on every leaf (no array, no object) that lies in or above a field of `names`.
pub fn change_leaves(object: &mut Map<String, Value>, names: &[&str], change: &mut ChangeLeaf<'_>) {
    leaves_of_object(object, names, "", &[], change);
}

fn leaves_of_object(
    object: &mut Map<String, Value>,
    names: &[&str],
    base: &str,
    places: &[usize],
    change: &mut ChangeLeaf<'_>,
) {
    for (key, value) in object {
        let path = if base.is_empty() { key.clone() } else { format!("{base}.{key}") };
        let wanted = names.iter().any(|name| within(name, &path) || within(&path, name));
        if !wanted {
            continue;
        }
        leaves_of_value(value, names, &path, places, change);
    }
}

fn leaves_of_value(value: &mut Value, names: &[&str], path: &str, places: &[usize], change: &mut ChangeLeaf<'_>) {
    match value {
        Value::Object(inner) => leaves_of_object(inner, names, path, places, change),
        Value::Array(inner) => {
            let mut places = places.to_vec();
            places.push(0);
            for (place, value) in inner.iter_mut().enumerate() {
                if let Some(last) = places.last_mut() {
                    *last = place;
                }
                leaves_of_value(value, names, path, &places, change);
            }
        }
        leaf @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => change(path, places, leaf),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn fields_are_selected_at_any_depth_in_the_documents_order() {
        let doc = object(json!({"z": 1, "a": {"b": {"c": 1, "d": 2}, "e": 3}, "l": [{"x": 1, "y": 2}, 5, {"y": 3}]}));
        let selected = select(&doc, ["a.b.c", "z", "l.x"]);
        let expected = r#"{"z":1,"a":{"b":{"c":1}},"l":[{"x":1}]}"#;
        assert_eq!(serde_json::to_string(&selected).unwrap(), expected);
    }

    #[test]
    fn a_name_is_no_prefix_of_another() {
        let doc = object(json!({"doc": 1, "docs": 2, "a": {"bc": 1}}));
        assert_eq!(Value::Object(select(&doc, ["doc", "a.b"])), json!({"doc": 1, "a": {}}));
    }

    #[test]
    fn leaves_know_their_places_in_arrays() {
        let mut doc = object(json!({"a": [{"b": ["x", "y"]}, {"b": "z"}], "c": "no"}));
        let mut seen = Vec::new();
        change_leaves(&mut doc, &["a.b"], &mut |path, places, value| {
            seen.push((path.to_owned(), places.to_vec(), value.clone()));
        });
        assert_eq!(
            seen,
            [
                ("a.b".to_owned(), vec![0, 0], json!("x")),
                ("a.b".to_owned(), vec![0, 1], json!("y")),
                ("a.b".to_owned(), vec![1], json!("z")),
            ]
        );
    }
}
