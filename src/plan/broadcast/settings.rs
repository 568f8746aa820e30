//! Settings: each index keeps the hidden field filterable, whatever the client sets.

use serde_json::{Map, Value, json};

use super::{of_index, reserved, whole};
use crate::meili::error::{Code, ResponseError};
use crate::meili::payload;
use crate::meili::settings::Setting;
use crate::meili::task::TaskKind;
use crate::placement::shard::SHARD_FIELD;
use crate::plan::write::{RegistryChange, Step, StepBody, WriteIntent};

/// The settings key to which the hidden field is added.
const FILTERABLE: &str = "filterableAttributes";

/// What every index's `filterableAttributes` has on the nodes besides what the client set.
pub fn hidden_filterable() -> Value {
    json!({
        "attributePatterns": [SHARD_FIELD],
        "features": {"facetSearch": false, "filter": {"equality": true, "comparison": false}},
    })
}

/// True for the item that [`hidden_filterable`] makes, in whatever form a node shows it.
pub fn is_hidden_filterable(item: &Value) -> bool {
    item.as_str() == Some(SHARD_FIELD)
        || item
            .get("attributePatterns")
            .and_then(Value::as_array)
            .is_some_and(|patterns| patterns.len() == 1 && patterns[0] == SHARD_FIELD)
}

pub(super) fn update_settings(index: &str, body: &[u8]) -> Result<WriteIntent, ResponseError> {
    let settings = payload::object(body)?;
    refuse_reserved(&settings)?;
    let mut sent = settings.clone();
    if let Some(filterable) = settings.get(FILTERABLE) {
        sent.insert(FILTERABLE.to_owned(), with_hidden(filterable));
    }
    let step = whole("PATCH", &format!("/indexes/{index}/settings"), StepBody::Json(Value::Object(sent)));
    Ok(settings_write(index, shown(settings), step))
}

/// The engine's own `DELETE` would take the hidden item away, so every setting is set to `null` instead.
pub(super) fn reset_settings(index: &str, exists: bool) -> WriteIntent {
    let mut sent: Map<String, Value> =
        Setting::ALL.iter().map(|setting| (setting.key().to_owned(), Value::Null)).collect();
    let mut details = sent.clone();
    // The engine's own list names it, although Miroir does not serve it.
    details.insert("chat".to_owned(), Value::Null);
    sent.insert(FILTERABLE.to_owned(), json!([hidden_filterable()]));
    let path = format!("/indexes/{index}/settings");
    // A reset creates no index: of one that does not exist it is a task that fails, on every node alike.
    let step = if exists {
        whole("PATCH", &path, StepBody::Json(Value::Object(sent)))
    } else {
        whole("DELETE", &path, StepBody::Empty)
    };
    WriteIntent { ensure_index: false, ..settings_write(index, details, step) }
}

pub(super) fn update_setting(index: &str, setting: Setting, body: &[u8]) -> Result<WriteIntent, ResponseError> {
    let value = payload::parse(body)?;
    let settings = Map::from_iter([(setting.key().to_owned(), value.clone())]);
    refuse_reserved(&settings)?;
    let sent = if setting == Setting::FilterableAttributes { with_hidden(&value) } else { value };
    let path = format!("/indexes/{index}/settings/{}", setting.route());
    let step = whole(setting.update_method(), &path, StepBody::Json(sent));
    Ok(settings_write(index, shown(settings), step))
}

pub(super) fn reset_setting(index: &str, setting: Setting, exists: bool) -> WriteIntent {
    let path = format!("/indexes/{index}/settings/{}", setting.route());
    let step = if exists && setting == Setting::FilterableAttributes {
        whole("PUT", &path, StepBody::Json(json!([hidden_filterable()])))
    } else {
        whole("DELETE", &path, StepBody::Empty)
    };
    let details = Map::from_iter([(setting.key().to_owned(), Value::Null)]);
    WriteIntent { ensure_index: false, ..settings_write(index, details, step) }
}

/// Settings of an index that does not exist create it, as in the engine. The nodes do so themselves when they carry the
/// step out, so a request that they refuse has created nothing.
fn settings_write(index: &str, mut details: Map<String, Value>, step: Step) -> WriteIntent {
    // What is reset to everything is shown so.
    for key in ["displayedAttributes", "searchableAttributes"] {
        if let Some(value) = details.get_mut(key).filter(|value| value.is_null()) {
            *value = json!(["*"]);
        }
    }
    let registry = RegistryChange::Settings { index: index.to_owned() };
    WriteIntent { ensure_index: true, registry, ..of_index(TaskKind::SettingsUpdate, index, details, step) }
}

/// `filterable` with the hidden item behind the client's; what is no list is left for the nodes to refuse.
fn with_hidden(filterable: &Value) -> Value {
    match filterable {
        Value::Null => json!([hidden_filterable()]),
        Value::Array(items) => Value::Array(items.iter().cloned().chain([hidden_filterable()]).collect()),
        other => other.clone(),
    }
}

/// The settings as the engine shows them in a task: in its order, sets sorted, API keys of embedders cut.
fn shown(mut settings: Map<String, Value>) -> Map<String, Value> {
    const SETS: [&str; 5] = ["sortableAttributes", "stopWords", "nonSeparatorTokens", "separatorTokens", "dictionary"];
    for key in SETS {
        if let Some(Value::Array(items)) = settings.get_mut(key) {
            items.sort_by(|left, right| left.as_str().cmp(&right.as_str()));
            items.dedup();
        }
    }
    let embedders = settings.get_mut("embedders").and_then(Value::as_object_mut);
    for embedder in embedders.into_iter().flat_map(|embedders| embedders.values_mut()) {
        hide_key(embedder);
        for inner in ["searchEmbedder", "indexingEmbedder"] {
            if let Some(inner) = embedder.get_mut(inner) {
                hide_key(inner);
            }
        }
    }
    let mut shown = Map::new();
    for setting in Setting::ALL {
        if let Some(value) = settings.remove(setting.key()) {
            shown.insert(setting.key().to_owned(), value);
        }
    }
    shown.extend(settings);
    shown
}

fn hide_key(embedder: &mut Value) {
    if let Some(Value::String(key)) = embedder.get_mut("apiKey") {
        let (kept, mask) = match key.len() {
            0..10 => (0, "XXX..."),
            10..20 => (2, "XXXX..."),
            20..30 => (3, "XXXXX..."),
            30.. => (5, "XXXXXX..."),
        };
        let start: String = key.chars().take(kept).collect();
        *key = format!("{start}{mask}");
    }
}

/// Refuses settings that name the hidden field, or that would make its value a word that searches find.
fn refuse_reserved(settings: &Map<String, Value>) -> Result<(), ResponseError> {
    const NAMING: [&str; 8] = [
        "displayedAttributes",
        "searchableAttributes",
        FILTERABLE,
        "sortableAttributes",
        "rankingRules",
        "distinctAttribute",
        "localizedAttributes",
        "faceting",
    ];
    for key in NAMING {
        if settings.get(key).is_some_and(names_reserved) {
            return Err(reserved(key));
        }
    }
    let tokens = settings.get("nonSeparatorTokens").and_then(Value::as_array);
    let braces = |token: &Value| token.as_str().is_some_and(|token| token.contains(['{', '}']));
    if tokens.is_some_and(|tokens| tokens.iter().any(braces)) {
        return Err(ResponseError::new(
            Code::MiroirReservedField,
            "`nonSeparatorTokens` cannot contain `{` or `}`: Miroir marks the shard of a document with them.",
        ));
    }
    Ok(())
}

fn names_reserved(value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with("_miroir"),
        Value::Array(items) => items.iter().any(names_reserved),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.starts_with("_miroir") || names_reserved(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
