//! A client's filter together with the one that restricts a node to shards.

use serde_json::{Map, Value};

use crate::placement::cover::{Besides, CoverPart};
use crate::placement::shard::shard_filter;
use crate::placement::vocabulary::{filter_without, no_words};

/// `filter` and the shards of `part`, in the fewest values: those that are asked for, or those that are not; of a node that is
/// asked for all it has, all but documents of words.
pub fn with_shards(filter: Option<&Value>, part: &CoverPart, shards: u16) -> Value {
    let only = match &part.besides {
        Besides::Nothing => no_words(),
        Besides::Shards(others) if others.len() + 1 < part.shards.len() => filter_without(others, shards),
        Besides::Shards(_) | Besides::Unknown => shard_filter(&part.shards, shards),
    };
    let only = Value::String(only);
    match filter {
        None | Some(Value::Null) => only,
        // The engine takes the items of an array together with AND.
        Some(Value::Array(items)) => items.iter().cloned().chain([only]).collect(),
        Some(other) => Value::Array(vec![other.clone(), only]),
    }
}

/// A change's filter `body` for a node's own documents: all but documents of words. What selects nothing is left for the
/// node to refuse.
pub fn spare_words(body: &mut Map<String, Value>) {
    let selects = match body.get("filter") {
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    };
    if selects {
        and(body, &no_words());
    }
}

/// Narrows the search `body` by one more expression.
pub fn and(body: &mut Map<String, Value>, expression: &str) {
    let more = Value::String(expression.to_owned());
    let joined = match body.remove("filter") {
        None | Some(Value::Null) => more,
        Some(Value::Array(mut items)) => {
            items.push(more);
            items.into()
        }
        Some(other) => vec![other, more].into(),
    };
    body.insert("filter".into(), joined);
}

/// True for what the engine takes as a filter at all; the rest of its rules the engine itself checks.
pub fn has_shape(filter: &Value) -> bool {
    match filter {
        Value::Null | Value::String(_) | Value::Array(_) => true,
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// True if a filter compares a field whose name Miroir keeps to itself. Quoted text is a value, not a field, unless
/// it stands before an operator; the engine allows that too, so it is looked at as well.
pub fn names_reserved(filter: &Value) -> bool {
    match filter {
        Value::String(text) => expression_names_reserved(text),
        Value::Array(items) => items.iter().any(names_reserved),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

fn expression_names_reserved(text: &str) -> bool {
    let mut at = 0;
    while let Some(found) = text[at..].find("_miroir") {
        let start = at + found;
        let before = text[..start].chars().next_back();
        let after = text[start..].trim_start_matches(|c: char| c.is_alphanumeric() || "_-.".contains(c));
        let after = after.strip_prefix(['"', '\'']).unwrap_or(after).trim_start();
        let begins_word = before.is_none_or(|c| c.is_whitespace() || "(\"'!".contains(c));
        if begins_word && begins_operator(after) {
            return true;
        }
        at = start + "_miroir".len();
    }
    false
}

fn begins_operator(text: &str) -> bool {
    let word: String = text.chars().take_while(|c| c.is_alphabetic()).collect::<String>().to_ascii_uppercase();
    let words = ["IN", "NOT", "EXISTS", "IS", "CONTAINS", "STARTS"];
    text.starts_with(['=', '!', '<', '>'])
        || words.contains(&word.as_str())
        || text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::placement::shard::{ShardId, ShardSet};
    use crate::placement::topology::NodeIx;

    fn part(whole: bool) -> CoverPart {
        let besides = if whole { Besides::Nothing } else { Besides::Unknown };
        CoverPart { node: NodeIx(0), shards: [ShardId(0), ShardId(2)].into_iter().collect(), besides }
    }

    #[test]
    fn what_is_left_out_is_named_where_that_is_less() {
        let shards = |range: std::ops::Range<u16>| -> ShardSet { range.map(ShardId).collect() };
        let asked = |others: ShardSet| {
            with_shards(None, &CoverPart { besides: Besides::Shards(others), shards: shards(0..3), ..part(false) }, 8)
        };
        assert_eq!(asked(shards(7..8)), json!(r#"_miroir_shard NOT IN ["{{{{{}}}", "}"]"#));
        assert_eq!(asked(shards(6..8)), json!(r#"_miroir_shard IN ["{{{{{{{{", "{{{{{{{}", "{{{{{{}{"]"#));
    }

    #[test]
    fn a_filter_of_any_shape_is_joined_with_the_shards() {
        let only = r#"_miroir_shard IN ["{{{{{{{{", "{{{{{{}{"]"#;
        let joined = |filter: Option<Value>| with_shards(filter.as_ref(), &part(false), 4);
        assert_eq!(joined(None), json!(only));
        assert_eq!(joined(Some(json!("a = 1 OR b = 2"))), json!(["a = 1 OR b = 2", only]));
        assert_eq!(joined(Some(json!(["a = 1", ["b = 2", "c = 3"]]))), json!(["a = 1", ["b = 2", "c = 3"], only]));
        assert_eq!(joined(Some(json!([]))), json!([only]));
    }

    #[test]
    fn a_node_that_holds_nothing_else_leaves_out_documents_of_words() {
        let only = r#"_miroir_shard != "}""#;
        assert_eq!(with_shards(None, &part(true), 4), json!(only));
        assert_eq!(with_shards(Some(&json!("a = 1")), &part(true), 4), json!(["a = 1", only]));
    }

    #[test]
    fn a_change_by_filter_spares_documents_of_words() {
        let spared = |filter: Value| {
            let mut body = Map::from_iter([("filter".to_owned(), filter)]);
            spare_words(&mut body);
            body["filter"].clone()
        };
        let only = r#"_miroir_shard != "}""#;
        assert_eq!(spared(json!("a = 1")), json!(["a = 1", only]));
        assert_eq!(spared(json!([["a = 1", "b = 2"]])), json!([["a = 1", "b = 2"], only]));
        for nothing in [json!(null), json!(" "), json!([]), json!(7)] {
            assert_eq!(spared(nothing.clone()), nothing);
        }
    }

    #[test]
    fn a_reserved_field_is_found_and_a_value_of_that_name_is_not() {
        for filter in
            ["_miroir_shard = x", "a = 1 AND (_miroir_shard IN [x])", "NOT \"_miroir_x\" EXISTS", "_miroir.a>1"]
        {
            assert!(names_reserved(&json!([["b = 1", filter]])), "{filter}");
        }
        for filter in ["name = _miroir", "name = \"_miroir_shard\" AND b = 2", "my_miroir = 1", "name = '_miroir'"] {
            assert!(!names_reserved(&json!(filter)), "{filter}");
        }
    }
}
