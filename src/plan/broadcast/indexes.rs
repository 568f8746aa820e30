//! Indexes made, changed, deleted and swapped.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::intent::{of_index, whole};
use super::settings;
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::Change;
use crate::meili::payload;
use crate::meili::task::TaskKind;
use crate::meili::uid::IndexUid;
use crate::meili::versions::renames_and_compacts;
use crate::plan::write::{RegistryChange, StepBody, WriteIntent};

/// Refused where the uid is one of Miroir's; what else is wrong with it the nodes say.
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

/// A new primary key, or a new uid, which renames the index.
pub(super) fn update_index(index: &str, body: &[u8]) -> Result<WriteIntent, ResponseError> {
    let body = payload::object(body)?;
    let primary_key = text(&body, "primaryKey");
    let new_uid = text(&body, "uid");
    let mut details = Map::from_iter([("primaryKey".to_owned(), json!(primary_key))]);
    let mut indexes = vec![index.to_owned()];
    if let Some(new_uid) = &new_uid {
        IndexUid::refuse_reserved(new_uid)?;
        details.insert("oldIndexUid".to_owned(), json!(index));
        details.insert("newIndexUid".to_owned(), json!(new_uid));
    }
    let registry = match (new_uid, primary_key) {
        (Some(new_uid), primary_key) if new_uid != index => {
            indexes.push(new_uid.clone());
            indexes.sort();
            RegistryChange::Rename { from: index.to_owned(), to: new_uid, primary_key }
        }
        (_, Some(primary_key)) => {
            RegistryChange::SetPrimaryKey { index: index.to_owned(), primary_key, leading: Vec::new() }
        }
        (_, None) => RegistryChange::None,
    };
    let step = whole("PATCH", &format!("/indexes/{index}"), StepBody::Json(Value::Object(body)));
    Ok(WriteIntent { registry, indexes, ..of_index(TaskKind::IndexUpdate, index, details, step) })
}

/// `copies` is how many replicas each document has: so many times do the nodes count it.
pub(super) fn delete_index(index: &str, copies: u8) -> WriteIntent {
    let details = Map::from_iter([("deletedDocuments".to_owned(), Value::Null)]);
    let registry = RegistryChange::Delete { index: index.to_owned() };
    let step = whole("DELETE", &format!("/indexes/{index}"), StepBody::Empty);
    WriteIntent { registry, copies, ..of_index(TaskKind::IndexDeletion, index, details, step) }
}

/// Each pair says for itself whether it renames: no index may be in two of them, so their order does not matter.
pub(super) fn swap_indexes(body: &[u8]) -> Result<WriteIntent, ResponseError> {
    let body = payload::parse(body)?;
    let (mut pairs, mut renamed, mut swaps) = (Vec::new(), Vec::new(), Vec::new());
    for swap in body.as_array().into_iter().flatten() {
        // Anything else than two names is left to the nodes, which refuse it in their own words.
        let names = swap.get("indexes").and_then(Value::as_array);
        if let Some([Value::String(left), Value::String(right)]) = names.map(Vec::as_slice) {
            IndexUid::refuse_reserved(left)?;
            IndexUid::refuse_reserved(right)?;
            let mut shown = json!({ "indexes": [left, right] });
            let pair = (left.clone(), right.clone());
            if swap.get("rename").and_then(Value::as_bool) == Some(true) {
                shown["rename"] = Value::Bool(true);
                renamed.push(pair);
            } else {
                pairs.push(pair);
            }
            swaps.push(shown);
        }
    }
    let all = pairs.iter().chain(&renamed);
    let mut indexes: Vec<String> = all.flat_map(|(left, right)| [left.clone(), right.clone()]).collect();
    indexes.sort();
    indexes.dedup();
    Ok(WriteIntent {
        kind: TaskKind::IndexSwap,
        index_uid: None,
        indexes,
        details: Some(Map::from_iter([("swaps".to_owned(), Value::Array(swaps))])),
        custom_metadata: None,
        ensure_index: false,
        registry: RegistryChange::Swap { pairs, renamed },
        copies: 1,
        documents: BTreeMap::new(),
        ids: BTreeMap::new(),
        steps: vec![whole("POST", "/swap-indexes", StepBody::Json(body))],
    })
}

/// Changes nothing that a client can see.
pub(super) fn compact_index(index: &str) -> WriteIntent {
    let step = whole("POST", &format!("/indexes/{index}/compact"), StepBody::Empty);
    of_index(TaskKind::IndexCompaction, index, Map::new(), step)
}

/// What nodes of `version` are not known to do; `None` where they will take the write.
pub fn refused_as_of(version: Option<&str>, change: &Change, intent: &WriteIntent) -> Option<ResponseError> {
    if let Change::UpdateSettings { .. } = change {
        return settings::newer_than(version, intent.details.as_ref()?);
    }
    let renames = match &intent.registry {
        RegistryChange::Rename { .. } => true,
        RegistryChange::Swap { renamed, .. } => !renamed.is_empty(),
        RegistryChange::None
        | RegistryChange::Create { .. }
        | RegistryChange::SetPrimaryKey { .. }
        | RegistryChange::Delete { .. }
        | RegistryChange::Settings { .. }
        | RegistryChange::DynamicSearchRules => false,
    };
    let asks_for_more = intent.kind == TaskKind::IndexCompaction
        || renames
        || intent.details.as_ref().is_some_and(|details| details.contains_key("newIndexUid"));
    if !asks_for_more || version.is_some_and(renames_and_compacts) {
        return None;
    }
    Some(match change {
        // The words of the engines that do not know it.
        Change::UpdateIndex { .. } => {
            ResponseError::new(Code::ImmutableIndexUid, "Immutable field `uid`: expected one of `primaryKey`")
        }
        Change::CreateIndex
        | Change::DeleteIndex { .. }
        | Change::SwapIndexes
        | Change::CompactIndex { .. }
        | Change::DeleteDocumentsByFilter { .. }
        | Change::DeleteAllDocuments { .. }
        | Change::EditDocuments { .. }
        | Change::UpdateSettings { .. }
        | Change::ResetSettings { .. }
        | Change::UpdateSetting { .. }
        | Change::ResetSetting { .. }
        | Change::UpdateExperimentalFeatures
        | Change::UpdateDynamicSearchRule { .. }
        | Change::DeleteDynamicSearchRule { .. }
        | Change::ClearDynamicSearchRules => ResponseError::new(
            Code::MiroirNotSupported,
            "Renaming and compacting an index is supported where all nodes run Meilisearch 1.50 or newer.",
        ),
    })
}

fn text(body: &Map<String, Value>, key: &str) -> Option<String> {
    body.get(key).and_then(Value::as_str).map(str::to_owned)
}
