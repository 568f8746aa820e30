//! Requests that concern every node: indexes, settings, and changes of documents that name no shard. The nodes check what
//! they are sent: an invalid request is refused by all alike, and then nothing was changed anywhere.

use serde_json::{Map, Value, json};

use super::Plan;
use super::write::{RegistryChange, Step, StepBody, Target, WriteIntent};
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::Operation;
use crate::meili::query::QueryMap;
use crate::meili::settings::Setting;
use crate::meili::task::TaskKind;
use crate::placement::shard::{SHARD_FIELD, ShardSet};
use crate::placement::topology::Topology;

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

/// What a change of documents that names no shard touches.
#[derive(Clone, Copy)]
struct Documents {
    shards: u16,
    copies: u8,
}

/// Plans the operations that every node carries out as one task; any other is refused. `exists` tells whether the
/// registry knows an index.
pub fn plan(
    operation: &Operation,
    query: &str,
    body: &[u8],
    topology: &Topology,
    exists: &dyn Fn(&str) -> bool,
) -> Plan {
    let all = Documents { shards: topology.shards, copies: copies(topology) };
    let plan = match operation {
        Operation::CreateIndex => create_index(body),
        Operation::UpdateIndex { index } => update_index(index, body),
        Operation::DeleteIndex { index } => Ok(delete_index(index, all.copies)),
        Operation::SwapIndexes => swap_indexes(body),
        Operation::UpdateSettings { index } => update_settings(index, body),
        Operation::ResetSettings { index } => Ok(reset_settings(index, exists(index))),
        Operation::UpdateSetting { index, setting } => update_setting(index, *setting, body),
        Operation::ResetSetting { index, setting } => Ok(reset_setting(index, *setting, exists(index))),
        Operation::DeleteAllDocuments { index } => delete_all_documents(index, query, all),
        Operation::DeleteDocumentsByFilter { index } => delete_by_filter(index, query, body, all),
        Operation::EditDocuments { index } => edit_documents(index, query, body, all),
        // What is no change never comes here; experimental features are changed by no task.
        _ => Err(ResponseError::new(
            Code::MiroirNotSupported,
            format!("`{}` is not carried out by all nodes as a task.", operation.name()),
        )),
    };
    match plan {
        Ok(intent) => Plan::Broadcast(Box::new(intent)),
        Err(error) => Plan::Refuse(error),
    }
}

/// How many nodes hold each document.
fn copies(topology: &Topology) -> u8 {
    let owners = topology.owners.first().map_or(1, Vec::len);
    u8::try_from(owners).unwrap_or(topology.replication_factor).max(1)
}

fn create_index(body: &[u8]) -> Result<WriteIntent, ResponseError> {
    let body = object(body)?;
    let uid = body.get("uid").and_then(Value::as_str).unwrap_or_default().to_owned();
    let primary_key = text(&body, "primaryKey");
    let details = Map::from_iter([("primaryKey".to_owned(), json!(primary_key))]);
    let registry = RegistryChange::Create { index: uid.clone(), primary_key };
    let step = whole("POST", "/indexes", StepBody::Json(Value::Object(body)));
    Ok(WriteIntent { registry, ..of_index(TaskKind::IndexCreation, &uid, details, step) })
}

fn update_index(index: &str, body: &[u8]) -> Result<WriteIntent, ResponseError> {
    let body = object(body)?;
    if body.contains_key("uid") {
        // Newer engines rename an index by this; lanes and placement go by the name, so Miroir keeps to the older rule.
        return Err(ResponseError::new(Code::ImmutableIndexUid, "Immutable field `uid`: expected one of `primaryKey`"));
    }
    let primary_key = text(&body, "primaryKey");
    let details = Map::from_iter([("primaryKey".to_owned(), json!(primary_key))]);
    let registry = match primary_key {
        Some(primary_key) => RegistryChange::SetPrimaryKey { index: index.to_owned(), primary_key },
        None => RegistryChange::None,
    };
    let step = whole("PATCH", &format!("/indexes/{index}"), StepBody::Json(Value::Object(body)));
    Ok(WriteIntent { registry, ..of_index(TaskKind::IndexUpdate, index, details, step) })
}

fn delete_index(index: &str, copies: u8) -> WriteIntent {
    let details = Map::from_iter([("deletedDocuments".to_owned(), Value::Null)]);
    let registry = RegistryChange::Delete { index: index.to_owned() };
    let step = whole("DELETE", &format!("/indexes/{index}"), StepBody::Empty);
    WriteIntent { registry, copies, ..of_index(TaskKind::IndexDeletion, index, details, step) }
}

fn swap_indexes(body: &[u8]) -> Result<WriteIntent, ResponseError> {
    let body = json_value(body)?;
    let mut pairs = Vec::new();
    for swap in body.as_array().into_iter().flatten() {
        if swap.get("rename").and_then(Value::as_bool) == Some(true) {
            return Err(ResponseError::new(
                Code::MiroirNotSupported,
                "Renaming an index by `swap-indexes` is not supported by Miroir; swap with an existing index instead.",
            ));
        }
        // Anything else than two names is left to the nodes, which refuse it in their own words.
        let names = swap.get("indexes").and_then(Value::as_array);
        if let Some([Value::String(left), Value::String(right)]) = names.map(Vec::as_slice) {
            pairs.push((left.clone(), right.clone()));
        }
    }
    let swaps: Vec<Value> = pairs.iter().map(|(left, right)| json!({"indexes": [left, right]})).collect();
    let mut indexes: Vec<String> = pairs.iter().flat_map(|(left, right)| [left.clone(), right.clone()]).collect();
    indexes.sort();
    indexes.dedup();
    Ok(WriteIntent {
        kind: TaskKind::IndexSwap,
        index_uid: None,
        indexes,
        details: Some(Map::from_iter([("swaps".to_owned(), Value::Array(swaps))])),
        custom_metadata: None,
        ensure_index: false,
        registry: RegistryChange::Swap { pairs },
        copies: 1,
        steps: vec![whole("POST", "/swap-indexes", StepBody::Json(body))],
    })
}

fn update_settings(index: &str, body: &[u8]) -> Result<WriteIntent, ResponseError> {
    let settings = object(body)?;
    refuse_reserved(&settings)?;
    let mut sent = settings.clone();
    if let Some(filterable) = settings.get(FILTERABLE) {
        sent.insert(FILTERABLE.to_owned(), with_hidden(filterable));
    }
    let step = whole("PATCH", &format!("/indexes/{index}/settings"), StepBody::Json(Value::Object(sent)));
    Ok(settings_write(index, shown(settings), step))
}

/// The engine's own `DELETE` would take the hidden item away, so every setting is set to `null` instead.
fn reset_settings(index: &str, exists: bool) -> WriteIntent {
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

fn update_setting(index: &str, setting: Setting, body: &[u8]) -> Result<WriteIntent, ResponseError> {
    let value = json_value(body)?;
    let settings = Map::from_iter([(setting.key().to_owned(), value.clone())]);
    refuse_reserved(&settings)?;
    let sent = if setting == Setting::FilterableAttributes { with_hidden(&value) } else { value };
    let path = format!("/indexes/{index}/settings/{}", setting.route());
    let step = whole(setting.update_method(), &path, StepBody::Json(sent));
    Ok(settings_write(index, shown(settings), step))
}

fn reset_setting(index: &str, setting: Setting, exists: bool) -> WriteIntent {
    let path = format!("/indexes/{index}/settings/{}", setting.route());
    let step = if exists && setting == Setting::FilterableAttributes {
        whole("PUT", &path, StepBody::Json(json!([hidden_filterable()])))
    } else {
        whole("DELETE", &path, StepBody::Empty)
    };
    let details = Map::from_iter([(setting.key().to_owned(), Value::Null)]);
    WriteIntent { ensure_index: false, ..settings_write(index, details, step) }
}

fn delete_all_documents(index: &str, query: &str, all: Documents) -> Result<WriteIntent, ResponseError> {
    let custom_metadata = only_custom_metadata(query)?;
    let details = Map::from_iter([("deletedDocuments".to_owned(), Value::Null)]);
    let step = Step {
        shards: ShardSet::all(all.shards),
        ..whole("DELETE", &format!("/indexes/{index}/documents"), StepBody::Empty)
    };
    Ok(WriteIntent {
        custom_metadata,
        copies: all.copies,
        ..of_index(TaskKind::DocumentDeletion, index, details, step)
    })
}

fn delete_by_filter(index: &str, query: &str, body: &[u8], all: Documents) -> Result<WriteIntent, ResponseError> {
    let custom_metadata = only_custom_metadata(query)?;
    let body = object(body)?;
    let filter = body.get("filter").cloned().unwrap_or_default();
    refuse_reserved_filter(&filter)?;
    let details = Map::from_iter([
        ("providedIds".to_owned(), json!(0)),
        ("deletedDocuments".to_owned(), Value::Null),
        ("originalFilter".to_owned(), json!(filter.to_string())),
    ]);
    let path = format!("/indexes/{index}/documents/delete");
    let step = Step { shards: ShardSet::all(all.shards), ..whole("POST", &path, StepBody::Json(Value::Object(body))) };
    Ok(WriteIntent {
        custom_metadata,
        copies: all.copies,
        ..of_index(TaskKind::DocumentDeletion, index, details, step)
    })
}

fn edit_documents(index: &str, query: &str, body: &[u8], all: Documents) -> Result<WriteIntent, ResponseError> {
    let custom_metadata = only_custom_metadata(query)?;
    let body = object(body)?;
    let filter = body.get("filter").cloned().unwrap_or_default();
    refuse_reserved_filter(&filter)?;
    let function = body.get("function").cloned().unwrap_or_default();
    if function.as_str().is_some_and(|function| function.contains(SHARD_FIELD)) {
        return Err(reserved("function"));
    }
    let original_filter = if filter.is_null() { Value::Null } else { json!(filter.to_string()) };
    let details = Map::from_iter([
        ("editedDocuments".to_owned(), Value::Null),
        ("deletedDocuments".to_owned(), Value::Null),
        ("originalFilter".to_owned(), original_filter),
        ("context".to_owned(), body.get("context").cloned().unwrap_or_default()),
        ("function".to_owned(), function),
    ]);
    let path = format!("/indexes/{index}/documents/edit");
    let step = Step { shards: ShardSet::all(all.shards), ..whole("POST", &path, StepBody::Json(Value::Object(body))) };
    Ok(WriteIntent { custom_metadata, copies: all.copies, ..of_index(TaskKind::DocumentEdition, index, details, step) })
}

fn of_index(kind: TaskKind, index: &str, details: Map<String, Value>, step: Step) -> WriteIntent {
    WriteIntent {
        kind,
        index_uid: Some(index.to_owned()),
        indexes: vec![index.to_owned()],
        details: Some(details),
        custom_metadata: None,
        ensure_index: false,
        registry: RegistryChange::None,
        copies: 1,
        steps: vec![step],
    }
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

fn whole(method: &'static str, path: &str, body: StepBody) -> Step {
    let content_type = match body {
        StepBody::Json(_) => Some("application/json"),
        StepBody::Empty | StepBody::Spool(_) => None,
    };
    Step { to: Target::AllNodes, method, path: path.to_owned(), content_type, body, shards: ShardSet::new() }
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

fn refuse_reserved_filter(filter: &Value) -> Result<(), ResponseError> {
    let named = match filter {
        Value::String(text) => text.contains(SHARD_FIELD),
        Value::Array(items) => items.iter().any(|item| refuse_reserved_filter(item).is_err()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    if named { Err(reserved("filter")) } else { Ok(()) }
}

fn reserved(place: &str) -> ResponseError {
    ResponseError::new(
        Code::MiroirReservedField,
        format!("`{place}` names a field that begins with `_miroir`: such fields are reserved for Miroir."),
    )
}

/// The parameters that document routes without a primary key know.
fn only_custom_metadata(query: &str) -> Result<Option<String>, ResponseError> {
    let query = QueryMap::parse(query);
    if let Some((unknown, _)) = query.iter().find(|(name, _)| *name != "customMetadata") {
        return Err(ResponseError::new(
            Code::BadRequest,
            format!("Unknown parameter `{unknown}`: expected one of `customMetadata`"),
        ));
    }
    Ok(query.get("customMetadata").map(str::to_owned))
}

fn json_value(body: &[u8]) -> Result<Value, ResponseError> {
    if body.is_empty() {
        return Err(ResponseError::new(Code::MissingPayload, "A json payload is missing."));
    }
    serde_json::from_slice(body).map_err(|error| {
        ResponseError::new(Code::MalformedPayload, format!("The json payload provided is malformed. `{error}`."))
    })
}

fn object(body: &[u8]) -> Result<Map<String, Value>, ResponseError> {
    match json_value(body)? {
        Value::Object(fields) => Ok(fields),
        other => Err(ResponseError::new(
            Code::BadRequest,
            format!("Invalid value type: expected an object, but found {}", described(&other)),
        )),
    }
}

fn described(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => format!("a boolean: `{flag}`"),
        Value::Number(number) if number.is_u64() => format!("a positive integer: `{number}`"),
        Value::Number(number) if number.is_i64() => format!("a negative integer: `{number}`"),
        Value::Number(number) => format!("a number: `{number}`"),
        Value::String(text) => format!("a string: `{}`", json!(text)),
        Value::Array(_) => format!("an array: `{value}`"),
        Value::Object(_) => format!("an object: `{value}`"),
    }
}

fn text(body: &Map<String, Value>, key: &str) -> Option<String> {
    body.get(key).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::topology::{Node, NodeId, NodeState};

    fn topology() -> Topology {
        let node =
            |id| Node { id: NodeId::new(id), url: "http://x".into(), zone: None, weight: 1.0, state: NodeState::Up };
        Topology::build(vec![node("a"), node("b"), node("c")], 4, 2)
    }

    fn intent(operation: Operation, query: &str, body: Value) -> WriteIntent {
        match plan(&operation, query, body.to_string().as_bytes(), &topology(), &|_| true) {
            Plan::Broadcast(intent) => *intent,
            other => panic!("{other:?}"),
        }
    }

    fn refused(operation: Operation, query: &str, body: &str) -> ResponseError {
        match plan(&operation, query, body.as_bytes(), &topology(), &|_| true) {
            Plan::Refuse(error) => error,
            other => panic!("{other:?}"),
        }
    }

    fn index() -> String {
        "cities".to_owned()
    }

    fn hidden() -> Value {
        json!({
            "attributePatterns": ["_miroir_shard"],
            "features": {"facetSearch": false, "filter": {"equality": true, "comparison": false}},
        })
    }

    #[test]
    fn an_index_is_created_on_all_nodes() {
        let intent = intent(Operation::CreateIndex, "", json!({"uid": "cities", "primaryKey": "id"}));
        assert_eq!(
            serde_json::to_value(&intent).unwrap(),
            json!({
                "kind": "indexCreation", "indexUid": "cities", "indexes": ["cities"],
                "details": {"primaryKey": "id"}, "customMetadata": null, "ensureIndex": false,
                "registry": {"create": {"index": "cities", "primary_key": "id"}}, "copies": 1,
                "steps": [{
                    "to": "allNodes", "method": "POST", "path": "/indexes", "contentType": "application/json",
                    "body": {"json": {"uid": "cities", "primaryKey": "id"}}, "shards": [],
                }],
            })
        );
    }

    #[test]
    fn settings_carry_the_hidden_item_and_the_task_does_not_show_it() {
        let body = json!({"filterableAttributes": ["country"], "stopWords": ["the"]});
        let intent = intent(Operation::UpdateSettings { index: index() }, "", body.clone());
        assert_eq!(Value::Object(intent.details.unwrap()), body);
        let StepBody::Json(sent) = &intent.steps[0].body else { panic!() };
        assert_eq!(*sent, json!({"filterableAttributes": ["country", hidden()], "stopWords": ["the"]}));
        assert!(intent.ensure_index);
        assert!(is_hidden_filterable(&hidden()) && is_hidden_filterable(&json!("_miroir_shard")));
    }

    #[test]
    fn settings_that_leave_filterable_attributes_alone_are_sent_as_they_are() {
        let body = json!({"stopWords": ["the"]});
        let intent = intent(Operation::UpdateSettings { index: index() }, "", body.clone());
        let StepBody::Json(sent) = &intent.steps[0].body else { panic!() };
        assert_eq!(*sent, body);
    }

    #[test]
    fn a_reset_of_all_settings_keeps_the_hidden_item() {
        let intent = intent(Operation::ResetSettings { index: index() }, "", json!(null));
        let StepBody::Json(sent) = &intent.steps[0].body else { panic!() };
        assert_eq!(intent.steps[0].method, "PATCH");
        assert_eq!(sent["filterableAttributes"], json!([hidden()]));
        assert_eq!(sent["typoTolerance"], Value::Null);
        let details = intent.details.unwrap();
        // Every setting that Miroir knows, and `chat`, which the engine's list names too.
        assert_eq!(details.len(), Setting::ALL.len() + 1);
        assert_eq!(details["displayedAttributes"], json!(["*"]));
        assert_eq!(details["filterableAttributes"], Value::Null);
    }

    #[test]
    fn a_single_setting_goes_by_its_own_route() {
        let filterable = Operation::UpdateSetting { index: index(), setting: Setting::FilterableAttributes };
        let update = intent(filterable, "", json!(["country"]));
        assert_eq!(
            (update.steps[0].method, update.steps[0].path.as_str()),
            ("PUT", "/indexes/cities/settings/filterable-attributes")
        );
        let StepBody::Json(sent) = &update.steps[0].body else { panic!() };
        assert_eq!(*sent, json!(["country", hidden()]));
        assert_eq!(Value::Object(update.details.unwrap()), json!({"filterableAttributes": ["country"]}));
        let reset = Operation::ResetSetting { index: index(), setting: Setting::FilterableAttributes };
        let reset = intent(reset, "", json!(null));
        assert_eq!(reset.steps[0].method, "PUT");
        let typo = Operation::ResetSetting { index: index(), setting: Setting::TypoTolerance };
        assert_eq!(intent(typo, "", json!(null)).steps[0].method, "DELETE");
    }

    #[test]
    fn a_swap_passes_the_lanes_of_all_its_indexes() {
        let body = json!([{"indexes": ["b", "a"]}, {"indexes": ["c", "d"]}]);
        let intent = intent(Operation::SwapIndexes, "", body.clone());
        assert_eq!(intent.indexes, ["a", "b", "c", "d"]);
        assert_eq!(intent.index_uid, None);
        assert_eq!(Value::Object(intent.details.unwrap()), json!({"swaps": body}));
    }

    #[test]
    fn deletion_by_filter_shows_its_filter_as_the_engine_does() {
        let operation = Operation::DeleteDocumentsByFilter { index: index() };
        let intent = intent(operation, "customMetadata=mine", json!({"filter": "country = \"FR\""}));
        assert_eq!(
            Value::Object(intent.details.unwrap()),
            json!({"providedIds": 0, "deletedDocuments": null, "originalFilter": "\"country = \\\"FR\\\"\""})
        );
        assert_eq!(intent.custom_metadata.as_deref(), Some("mine"));
        assert_eq!((intent.copies, intent.steps[0].shards.len()), (2, 4));
        assert_eq!(intent.steps[0].path, "/indexes/cities/documents/delete");
    }

    #[test]
    fn editing_documents_shows_function_context_and_filter() {
        let body = json!({"function": "doc.x = 1", "context": {"y": 2}});
        let intent = intent(Operation::EditDocuments { index: index() }, "", body);
        assert_eq!(
            Value::Object(intent.details.unwrap()),
            json!({"editedDocuments": null, "deletedDocuments": null, "originalFilter": null, "context": {"y": 2}, "function": "doc.x = 1"})
        );
    }

    #[test]
    fn keys_of_embedders_are_cut_in_the_task_and_sent_whole() {
        let body = json!({"embedders": {"e": {"source": "openAi", "apiKey": "sk-0123456789"}}});
        let intent = intent(Operation::UpdateSettings { index: index() }, "", body.clone());
        assert_eq!(intent.details.unwrap()["embedders"]["e"]["apiKey"], "skXXXX...");
        let StepBody::Json(sent) = &intent.steps[0].body else { panic!() };
        assert_eq!(*sent, body);
    }

    #[test]
    fn what_is_reserved_is_refused() {
        let settings = |body: &str| refused(Operation::UpdateSettings { index: index() }, "", body).code;
        assert_eq!(settings(r#"{"sortableAttributes":["_miroir_shard"]}"#), "miroir_reserved_field");
        assert_eq!(
            settings(r#"{"filterableAttributes":[{"attributePatterns":["_miroir_x"]}]}"#),
            "miroir_reserved_field"
        );
        assert_eq!(settings(r#"{"nonSeparatorTokens":["{{"]}"#), "miroir_reserved_field");
        let filter = Operation::DeleteDocumentsByFilter { index: index() };
        assert_eq!(refused(filter, "", r#"{"filter":[["_miroir_shard = x"]]}"#).code, "miroir_reserved_field");
    }

    #[test]
    fn malformed_bodies_are_refused_before_any_node_sees_them() {
        let settings = || Operation::UpdateSettings { index: index() };
        assert_eq!(refused(settings(), "", "{").code, "malformed_payload");
        assert_eq!(refused(settings(), "", "").code, "missing_payload");
        assert_eq!(
            refused(settings(), "", "[1]").message,
            "Invalid value type: expected an object, but found an array: `[1]`"
        );
        let clear = Operation::DeleteAllDocuments { index: index() };
        assert_eq!(refused(clear, "x=1", "").message, "Unknown parameter `x`: expected one of `customMetadata`");
    }

    #[test]
    fn a_reset_of_an_index_that_does_not_exist_creates_none() {
        let reset = Operation::ResetSettings { index: index() };
        let Plan::Broadcast(intent) = plan(&reset, "", b"", &topology(), &|_| false) else { panic!() };
        assert_eq!((intent.steps[0].method, intent.ensure_index), ("DELETE", false));
    }

    #[test]
    fn what_one_node_answers_is_no_broadcast() {
        assert_eq!(refused(Operation::Health, "", "").code, "miroir_not_supported");
    }
}
