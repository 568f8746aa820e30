//! Changes of documents that name no shard: all of them, or those that a filter selects.

use serde_json::{Map, Value, json};

use super::intent::{Documents, of_index, reserved, whole};
use crate::meili::error::ResponseError;
use crate::meili::payload;
use crate::meili::task::TaskKind;
use crate::meili::unknown::only_custom_metadata;
use crate::placement::shard::ShardSet;
use crate::placement::vocabulary::no_words;
use crate::plan::filter::spare_words;
use crate::plan::write::{Step, StepBody, WriteIntent};
use crate::split::document::RESERVED_PREFIX;

/// The index stays, and so do its settings. Refused only for what the query string says.
pub(super) fn delete_all_documents(index: &str, query: &str, all: Documents) -> Result<WriteIntent, ResponseError> {
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

/// Documents of words stay whatever the filter. Refused where it names one of Miroir's fields.
pub(super) fn delete_by_filter(
    index: &str,
    query: &str,
    body: &[u8],
    all: Documents,
) -> Result<WriteIntent, ResponseError> {
    let custom_metadata = only_custom_metadata(query)?;
    let mut body = payload::object(body)?;
    let filter = body.get("filter").cloned().unwrap_or_default();
    refuse_reserved_filter(&filter)?;
    spare_words(&mut body);
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

/// The function and its context are left to the trial and the nodes; a filter must not name one of Miroir's fields.
pub(super) fn edit_documents(
    index: &str,
    query: &str,
    body: &[u8],
    all: Documents,
) -> Result<WriteIntent, ResponseError> {
    let custom_metadata = only_custom_metadata(query)?;
    let mut body = payload::object(body)?;
    let filter = body.get("filter").cloned().unwrap_or_default();
    refuse_reserved_filter(&filter)?;
    match filter {
        Value::Null => {
            body.insert("filter".to_owned(), no_words().into());
        }
        _ => spare_words(&mut body),
    }
    let function = body.get("function").cloned().unwrap_or_default();
    if function.as_str().is_some_and(|function| function.contains(RESERVED_PREFIX)) {
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

fn refuse_reserved_filter(filter: &Value) -> Result<(), ResponseError> {
    let named = match filter {
        Value::String(text) => text.contains(RESERVED_PREFIX),
        Value::Array(items) => items.iter().any(|item| refuse_reserved_filter(item).is_err()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    if named { Err(reserved("filter")) } else { Ok(()) }
}
