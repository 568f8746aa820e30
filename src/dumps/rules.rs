//! Dynamic search rules in a dump. An engine keeps them in an index of its own, which no request can name, and dumps it as any other:
//! each rule a document, with the number of values that its condition on filters has beside these.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::format::{Entry, IndexMetadata, IndexPart};
use crate::meili::uid::RULES_INDEX;
use crate::nodes::dynamic_rules::{uid, written};

/// How many values a condition on filters has, for the engine to look rules up by.
const CONSTRAINTS: &str = "nbConstraints";

/// The files of the index that has these rules; none where there are none.
pub fn files(rules: &[Value]) -> Vec<(Entry, String)> {
    let mut rules: Vec<&Value> = rules.iter().filter(|rule| uid(rule).is_some()).collect();
    rules.sort_by_key(|rule| uid(rule).map(str::to_owned));
    let moments = rules.iter().filter_map(|rule| moment(rule)).collect::<Vec<_>>();
    let (Some(created_at), Some(updated_at)) = (moments.iter().min().copied(), moments.iter().max().copied()) else {
        return Vec::new();
    };
    let metadata =
        IndexMetadata { uid: RULES_INDEX.to_owned(), primary_key: Some("uid".to_owned()), created_at, updated_at };
    let lines: String = rules.iter().map(|rule| format!("{}\n", document(rule))).collect();
    let entry = |part| Entry::Index { uid: RULES_INDEX.to_owned(), part };
    vec![
        (entry(IndexPart::Metadata), json!(metadata).to_string()),
        (entry(IndexPart::Settings), settings().to_string()),
        (entry(IndexPart::Documents), lines),
    ]
}

/// What a rule is made with, out of a line of that index: its name, and the body that writes it.
pub fn rule(line: &str) -> Result<(String, Value), serde_json::Error> {
    let mut rule: Value = serde_json::from_str(line)?;
    if let Some(filter) = rule.pointer_mut("/conditions/filter").and_then(Value::as_object_mut) {
        filter.shift_remove(CONSTRAINTS);
    }
    Ok((uid(&rule).unwrap_or_default().to_owned(), written(&rule)))
}

fn moment(rule: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(rule.get("lastUpdatedAt")?.as_str()?, &Rfc3339).ok()
}

/// A rule as the engine keeps it.
fn document(rule: &Value) -> Value {
    let mut document = rule.clone();
    if let Some(filter) = document.pointer_mut("/conditions/filter").and_then(Value::as_object_mut) {
        let values = filter.get("values").and_then(Value::as_object).into_iter().flatten();
        let count: u64 = values.map(|(_, value)| constraints(value)).sum();
        filter.insert(CONSTRAINTS.to_owned(), count.into());
    }
    document
}

fn constraints(value: &Value) -> u64 {
    match value {
        Value::Null => 0,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
        Value::Array(items) => items.iter().map(constraints).sum(),
        Value::Object(fields) => fields.values().map(constraints).sum(),
    }
}

/// Those that the engine gives the index: what it looks rules up by.
fn settings() -> Value {
    let by = |pattern: &str, compares: bool| {
        let filter = Map::from_iter([("equality".to_owned(), true.into()), ("comparison".to_owned(), compares.into())]);
        json!({"attributePatterns": [pattern], "features": {"facetSearch": false, "filter": filter}})
    };
    json!({
        "displayedAttributes": ["*"],
        "searchableAttributes": ["conditions.query.words", "description"],
        "filterableAttributes": [
            by("active", false),
            by("conditions.time.start", true),
            by("conditions.time.end", true),
            by("conditions.query.isEmpty", false),
            by("conditions.filter.values.*", true),
            by("conditions.filter.nbConstraints", true),
        ],
        "sortableAttributes": ["lastUpdatedAt", "precedence"],
        "proximityPrecision": "byAttribute",
        "typoTolerance": {"enabled": false, "disableOnNumbers": true},
        "facetSearch": false,
        "prefixSearch": "disabled",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_dumped_as_the_engine_keeps_them_and_come_back() {
        let late = json!({"uid": "b", "lastUpdatedAt": "2026-02-01T00:00:00Z", "active": true, "conditions": {}, "actions": []});
        let filtering = json!({"uid": "a", "lastUpdatedAt": "2026-01-01T00:00:00Z", "active": false,
            "conditions": {"filter": {"values": {"color": ["red", "blue"], "size": 1}}}, "actions": []});
        let files = files(&[late.clone(), filtering.clone()]);
        let paths: Vec<String> = files.iter().map(|(entry, _)| entry.path()).collect();
        assert_eq!(
            paths,
            ["metadata.json", "settings.json", "documents.jsonl"].map(|file| format!("indexes/.meili_dsr/{file}"))
        );
        assert_eq!(
            files[0].1,
            r#"{"uid":".meili_dsr","primaryKey":"uid","createdAt":"2026-01-01T00:00:00Z","updatedAt":"2026-02-01T00:00:00Z"}"#
        );
        let lines: Vec<&str> = files[2].1.lines().collect();
        assert!(lines[0].contains(r#""nbConstraints":3"#) && lines[1].starts_with(r#"{"uid":"b","#), "{lines:?}");
        assert_eq!(rule(lines[0]).unwrap(), ("a".to_owned(), written(&filtering)));
        assert_eq!(rule(lines[1]).unwrap(), ("b".to_owned(), written(&late)));
        assert!(super::files(&[]).is_empty());
    }
}
