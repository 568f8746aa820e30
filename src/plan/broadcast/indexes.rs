//! Indexes made, changed, deleted and swapped.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{of_index, whole};
use crate::meili::error::{Code, ResponseError};
use crate::meili::payload;
use crate::meili::task::TaskKind;
use crate::meili::uid::IndexUid;
use crate::plan::write::{RegistryChange, StepBody, WriteIntent};

pub(super) fn create_index(body: &[u8]) -> Result<WriteIntent, ResponseError> {
    let body = payload::object(body)?;
    let uid = body.get("uid").and_then(Value::as_str).unwrap_or_default().to_owned();
    IndexUid::refuse_reserved(&uid)?;
    let primary_key = text(&body, "primaryKey");
    let details = Map::from_iter([("primaryKey".to_owned(), json!(primary_key))]);
    let registry = RegistryChange::Create { index: uid.clone(), primary_key };
    let step = whole("POST", "/indexes", StepBody::Json(Value::Object(body)));
    Ok(WriteIntent { registry, ..of_index(TaskKind::IndexCreation, &uid, details, step) })
}

pub(super) fn update_index(index: &str, body: &[u8]) -> Result<WriteIntent, ResponseError> {
    let body = payload::object(body)?;
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

pub(super) fn delete_index(index: &str, copies: u8) -> WriteIntent {
    let details = Map::from_iter([("deletedDocuments".to_owned(), Value::Null)]);
    let registry = RegistryChange::Delete { index: index.to_owned() };
    let step = whole("DELETE", &format!("/indexes/{index}"), StepBody::Empty);
    WriteIntent { registry, copies, ..of_index(TaskKind::IndexDeletion, index, details, step) }
}

pub(super) fn swap_indexes(body: &[u8]) -> Result<WriteIntent, ResponseError> {
    let body = payload::parse(body)?;
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
            IndexUid::refuse_reserved(left)?;
            IndexUid::refuse_reserved(right)?;
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
        documents: BTreeMap::new(),
        ids: BTreeMap::new(),
        steps: vec![whole("POST", "/swap-indexes", StepBody::Json(body))],
    })
}

fn text(body: &Map<String, Value>, key: &str) -> Option<String> {
    body.get(key).and_then(Value::as_str).map(str::to_owned)
}
