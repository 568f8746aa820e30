//! Settings: each index keeps its hidden part, whatever the client sets.

use serde_json::{Map, Value, json};

use super::hidden::HiddenSettings;
use super::intent::{of_index, reserved, whole};
use crate::meili::error::{Code, ResponseError};
use crate::meili::payload;
use crate::meili::settings::Setting;
use crate::meili::task::TaskKind;
use crate::meili::versions::has_setting;
use crate::plan::write::{RegistryChange, Step, StepBody, WriteIntent};
use crate::settings::secret::masked;

/// In which order the engine shows the parts of a setting.
const ORDERS: &[(&str, &[&str])] = &[
    ("typoTolerance", &["enabled", "minWordSizeForTypos", "disableOnWords", "disableOnAttributes", "disableOnNumbers"]),
    ("faceting", &["maxValuesPerFacet", "sortFacetValuesBy"]),
    ("chat", &["description", "documentTemplate", "documentTemplateMaxBytes", "searchParameters"]),
];

/// The same of an embedder.
const EMBEDDER: [&str; 18] = [
    "source",
    "model",
    "revision",
    "pooling",
    "apiKey",
    "dimensions",
    "binaryQuantized",
    "documentTemplate",
    "documentTemplateMaxBytes",
    "url",
    "indexingFragments",
    "searchFragments",
    "request",
    "response",
    "headers",
    "searchEmbedder",
    "indexingEmbedder",
    "distribution",
];

/// What nodes get has Miroir's part put into the settings named. Refused where one names a field of Miroir's.
pub(super) fn update_settings(index: &str, body: &[u8], hidden: &HiddenSettings) -> Result<WriteIntent, ResponseError> {
    let settings = payload::object(body)?;
    refuse_reserved(&settings)?;
    let sent = hidden.complete(&settings);
    let step = whole("PATCH", &format!("/indexes/{index}/settings"), StepBody::Json(Value::Object(sent)));
    Ok(settings_write(index, shown(settings), step))
}

/// The engine's own `DELETE` would take the hidden part away, so every setting is set to `null` instead.
pub(super) fn reset_settings(index: &str, hidden: &HiddenSettings, exists: bool) -> WriteIntent {
    let details: Map<String, Value> =
        Setting::ALL.iter().map(|setting| (setting.key().to_owned(), Value::Null)).collect();
    let sent = hidden.complete(&details);
    let path = format!("/indexes/{index}/settings");
    // A reset creates no index: of one that does not exist it is a task that fails, on every node alike.
    let step = if exists {
        whole("PATCH", &path, StepBody::Json(Value::Object(sent)))
    } else {
        whole("DELETE", &path, StepBody::Empty)
    };
    WriteIntent { ensure_index: false, ..settings_write(index, details, step) }
}

/// As with [`update_settings`]; `null` resets it.
pub(super) fn update_setting(
    index: &str,
    setting: Setting,
    body: &[u8],
    hidden: &HiddenSettings,
) -> Result<WriteIntent, ResponseError> {
    let value = payload::parse(body)?;
    let settings = Map::from_iter([(setting.key().to_owned(), value.clone())]);
    refuse_reserved(&settings)?;
    let sent = hidden.value(setting, &value);
    let path = format!("/indexes/{index}/settings/{}", setting.route());
    let step = whole(setting.update_method(), &path, StepBody::Json(sent));
    Ok(settings_write(index, shown(settings), step))
}

/// A setting that holds something of Miroir's is not deleted but set to just that, if the index is there.
pub(super) fn reset_setting(index: &str, setting: Setting, hidden: &HiddenSettings, exists: bool) -> WriteIntent {
    let path = format!("/indexes/{index}/settings/{}", setting.route());
    let step = if exists && hidden.has_default(setting) {
        whole(setting.update_method(), &path, StepBody::Json(hidden.value(setting, &Value::Null)))
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

/// The settings as the engine shows them in a task: in its order, sets and what has names sorted, features in full, API keys of embedders cut.
fn shown(mut settings: Map<String, Value>) -> Map<String, Value> {
    const SETS: [&str; 5] = ["sortableAttributes", "stopWords", "nonSeparatorTokens", "separatorTokens", "dictionary"];
    for key in SETS {
        sort_set(settings.get_mut(key));
    }
    if let Some(typos) = settings.get_mut("typoTolerance") {
        for key in ["disableOnWords", "disableOnAttributes"] {
            sort_set(typos.get_mut(key));
        }
    }
    if let Some(Value::Object(synonyms)) = settings.get_mut("synonyms") {
        synonyms.sort_keys();
    }
    for (setting, order) in ORDERS {
        order_fields(settings.get_mut(*setting), order);
    }
    let filterable = settings.get_mut("filterableAttributes").and_then(Value::as_array_mut);
    filterable.into_iter().flatten().for_each(show_features);
    if let Some(Value::Object(embedders)) = settings.get_mut("embedders") {
        embedders.sort_keys();
        embedders.values_mut().for_each(show_embedder);
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

fn sort_set(set: Option<&mut Value>) {
    if let Some(Value::Array(items)) = set {
        items.sort_by(|left, right| left.as_str().cmp(&right.as_str()));
        items.dedup();
    }
}

/// `{"attributePatterns": ["a"], "features": {"facetSearch": true}}` is shown with what it leaves to the engine's defaults.
fn show_features(rule: &mut Value) {
    let Some(rule) = rule.as_object_mut().filter(|rule| rule.contains_key("attributePatterns")) else { return };
    let given = |path: &str, default: bool| {
        rule.get("features").and_then(|features| features.pointer(path)).and_then(Value::as_bool).unwrap_or(default)
    };
    let filter = json!({"equality": given("/filter/equality", true), "comparison": given("/filter/comparison", false)});
    let features = json!({"facetSearch": given("/facetSearch", false), "filter": filter});
    rule.insert("features".to_owned(), features);
}

fn show_embedder(embedder: &mut Value) {
    if let Some(Value::String(key)) = embedder.get_mut("apiKey") {
        *key = masked(key);
    }
    for inner in ["searchEmbedder", "indexingEmbedder"] {
        if let Some(inner @ Value::Object(_)) = embedder.get_mut(inner) {
            show_embedder(inner);
        }
    }
    for named in ["indexingFragments", "searchFragments", "headers"] {
        if let Some(Value::Object(named)) = embedder.get_mut(named) {
            named.sort_keys();
        }
    }
    order_fields(Some(embedder), &EMBEDDER);
}

/// The fields that the engine knows in its order, then the others.
fn order_fields(of: Option<&mut Value>, order: &[&str]) {
    let Some(Value::Object(fields)) = of else { return };
    let mut rest = std::mem::take(fields);
    for name in order {
        if let Some(value) = rest.shift_remove(*name) {
            fields.insert((*name).to_owned(), value);
        }
    }
    fields.extend(rest);
}

/// Refuses settings that name the hidden field, or that would make its value a word that searches find.
fn refuse_reserved(settings: &Map<String, Value>) -> Result<(), ResponseError> {
    const NAMING: [&str; 9] = [
        "displayedAttributes",
        "searchableAttributes",
        "filterableAttributes",
        "sortableAttributes",
        "rankingRules",
        "distinctAttribute",
        "localizedAttributes",
        "faceting",
        "foreignKeys",
    ];
    for key in NAMING {
        if settings.get(key).is_some_and(names_reserved) {
            return Err(reserved(key));
        }
    }
    let tokens = settings.get("nonSeparatorTokens").and_then(Value::as_array);
    let brackets = |token: &Value| token.as_str().is_some_and(|token| token.contains(['{', '}', '[', ']']));
    if tokens.is_some_and(|tokens| tokens.iter().any(brackets)) {
        return Err(ResponseError::new(
            Code::MiroirReservedField,
            "`nonSeparatorTokens` cannot contain `{`, `}`, `[` or `]`: Miroir marks documents with them.",
        ));
    }
    Ok(())
}

/// What engines of `version` have no setting for; `None` where the nodes answer. What is no key they refuse in their words.
pub(super) fn newer_than(version: Option<&str>, settings: &Map<String, Value>) -> Option<ResponseError> {
    let newer = Setting::NEWER.iter().find(|setting| {
        let items = settings.get(setting.key()).and_then(Value::as_array);
        items.is_some_and(|items| items.iter().any(Value::is_object)) && !has_setting(version, **setting)
    });
    newer.map(|setting| {
        let message = format!("`{}` is supported where all nodes run Meilisearch 1.50 or newer.", setting.key());
        ResponseError::new(Code::MiroirNotSupported, message)
    })
}

fn names_reserved(value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with("_miroir"),
        Value::Array(items) => items.iter().any(names_reserved),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.starts_with("_miroir") || names_reserved(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
