//! Keys to other indexes as nodes have them: under a name that no document has. A node puts documents of another index in the place of
//! their ids, and has only those of its own shards. So it is given a field to look at that is nowhere, and the gateway does what the
//! engine would do with the client's.

use serde::Serialize;
use serde_json::Value;

use crate::meili::settings::Setting;

/// What stands before the client's field in a node's settings. Documents have no field that begins so.
pub const KEPT: &str = "_miroir_key_";

const FIELD: &str = "fieldName";

/// A field that holds ids of another index's documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    pub field: String,
    /// The other index.
    pub foreign: String,
}

/// A client's keys as nodes are sent them. What is no key is left for the nodes to refuse.
pub fn kept(keys: &Value) -> Value {
    let mut keys = keys.clone();
    each_field(&mut keys, |field| (!field.starts_with(KEPT)).then(|| format!("{KEPT}{field}")));
    keys
}

/// A node's keys as the client set them.
pub fn shown(keys: &mut Value) {
    each_field(keys, |field| field.strip_prefix(KEPT).map(str::to_owned));
}

fn each_field(keys: &mut Value, other: impl Fn(&str) -> Option<String>) {
    for key in keys.as_array_mut().into_iter().flatten() {
        if let Some(Value::String(field)) = key.get_mut(FIELD)
            && let Some(name) = other(field)
        {
            *field = name;
        }
    }
}

// === impl Key ===

impl Key {
    /// Of the settings of an index, as a node has them. While the feature is off a node shows none.
    pub fn of_settings(settings: &Value) -> Vec<Self> {
        let mut keys = settings.get(Setting::ForeignKeys.key()).cloned().unwrap_or_default();
        shown(&mut keys);
        let text = |key: &Value, name: &str| key.get(name).and_then(Value::as_str).map(str::to_owned);
        let keys = keys.as_array().into_iter().flatten();
        keys.filter_map(|key| Some(Self { field: text(key, FIELD)?, foreign: text(key, "foreignIndexUid")? })).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_those_that_the_client_set() {
        let held = json!({"foreignKeys": [{"foreignIndexUid": "authors", "fieldName": "_miroir_key_author"}, 1]});
        assert_eq!(Key::of_settings(&held), [Key { field: "author".into(), foreign: "authors".into() }]);
        assert_eq!(Key::of_settings(&json!({})), []);
    }

    #[test]
    fn a_key_comes_back_as_it_was_set() {
        let set =
            json!([{"foreignIndexUid": "authors", "fieldName": "author"}, {"foreignIndexUid": "a", "fieldName": 1}, 7]);
        let mut held = kept(&set);
        assert_eq!(held[0], json!({"foreignIndexUid": "authors", "fieldName": "_miroir_key_author"}));
        assert_eq!(kept(&held), held);
        shown(&mut held);
        assert_eq!(held, set);
        for other in [json!(null), json!("x"), json!({"fieldName": "a"})] {
            assert_eq!(kept(&other), other);
        }
    }
}
