//! Routes of documents.

use deserr::Deserr;
use miroir_words::action::Action;
use miroir_words::uid::IndexUid;
use serde_json::Value;

use super::body::{document_format, json_failure};
use super::extract::{
    InvalidDocumentCsvDelimiter, InvalidIndexPrimaryKey, InvalidSkipCreation, QueryRefusal, from_query,
};
use super::{Answer, Call, accepted, blocking, ok};
use crate::documents::{self, BrowseQuery, Edition, GetDocument};
use crate::error::Code;
use crate::payload::io_failure;
use crate::queue::task::{AdditionMethod, TaskContent};

/// The parameters of a request that brings documents. `customMetadata` is a newer engine's; Miroir stamps its writes
/// with it. So is `skipCreation`, of which this engine can do no more than `false`.
#[derive(Debug, Deserr)]
#[deserr(error = QueryRefusal, rename_all = camelCase, deny_unknown_fields)]
struct AddDocuments {
    #[deserr(default, error = QueryRefusal<InvalidIndexPrimaryKey>)]
    primary_key: Option<String>,
    #[deserr(default, error = QueryRefusal<InvalidDocumentCsvDelimiter>, try_from(char) = ascii_delimiter -> QueryRefusal<InvalidDocumentCsvDelimiter>)]
    csv_delimiter: Option<u8>,
    #[deserr(default)]
    custom_metadata: Option<String>,
    #[deserr(default, error = QueryRefusal<InvalidSkipCreation>, try_from(&String) = no_skipping -> QueryRefusal<InvalidSkipCreation>)]
    #[expect(dead_code, reason = "what may be asked for is checked, and is what is done anyway")]
    skip_creation: Option<bool>,
}

pub async fn get(call: Call, index: &str, id: &str) -> Answer {
    call.authorize(Action::DocumentsGet, Some(index))?;
    let query = GetDocument::from_query(&call.query)?;
    let (index, id) = (IndexUid::parse(index)?.into_string(), id.to_owned());
    let document = blocking(&call.node, move |node| {
        let handle = node.engine.index(&index)?;
        documents::get(&handle, &id, &query)
    })
    .await?;
    Ok(ok(&document))
}

pub async fn list(call: Call, index: &str) -> Answer {
    call.authorize(Action::DocumentsGet, Some(index))?;
    let query = BrowseQuery::from_query(&call.query)?;
    browse(call, index, query).await
}

pub async fn fetch(mut call: Call, index: &str) -> Answer {
    call.authorize(Action::DocumentsGet, Some(index))?;
    let query = BrowseQuery::from_json(&call.json_bytes().await?)?;
    browse(call, index, query).await
}

async fn browse(call: Call, index: &str, query: BrowseQuery) -> Answer {
    let index = IndexUid::parse(index)?.into_string();
    let page = blocking(&call.node, move |node| {
        let handle = node.engine.index(&index)?;
        documents::browse(&handle, &query)
    })
    .await?;
    Ok(ok(&page))
}

pub async fn replace(call: Call, index: &str) -> Answer {
    add(call, index, AdditionMethod::Replace).await
}

pub async fn update(call: Call, index: &str) -> Answer {
    add(call, index, AdditionMethod::Update).await
}

async fn add(mut call: Call, index: &str, method: AdditionMethod) -> Answer {
    let access = call.authorize(Action::DocumentsAdd, Some(index))?;
    let AddDocuments { primary_key, csv_delimiter, custom_metadata, skip_creation: _ } = from_query(&call.query)?;
    let index = IndexUid::parse(index)?.into_string();
    let format = document_format(&call.headers, csv_delimiter)?;
    let file = call.node.queue.payloads.receive().map_err(|error| io_failure(&error))?;
    call.receive(&file, format).await?;
    let allow_index_creation = access.may_create(&index);
    let task = blocking(&call.node, move |node| {
        let stored = node.queue.payloads.store(file, format)?;
        let content = TaskContent::DocumentAddition {
            method,
            primary_key,
            payload: stored.name.clone(),
            documents: stored.documents,
            allow_index_creation,
        };
        node.queue
            .register(Some(index), content, custom_metadata)
            .inspect_err(|_| node.queue.payloads.remove(&stored.name))
    })
    .await?;
    Ok(accepted(&task))
}

pub async fn delete(call: Call, index: &str, id: &str) -> Answer {
    call.authorize(Action::DocumentsDelete, Some(index))?;
    let index = IndexUid::parse(index)?.into_string();
    register(call, index, TaskContent::DocumentDeletion { ids: vec![id.to_owned()] }).await
}

pub async fn delete_batch(mut call: Call, index: &str) -> Answer {
    call.authorize(Action::DocumentsDelete, Some(index))?;
    let bytes = call.json_bytes().await?;
    let ids: Vec<Value> = serde_json::from_slice(&bytes).map_err(|error| json_failure(&error))?;
    let index = IndexUid::parse(index)?.into_string();
    let ids = ids.iter().map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)).collect();
    register(call, index, TaskContent::DocumentDeletion { ids }).await
}

pub async fn delete_by_filter(mut call: Call, index: &str) -> Answer {
    call.authorize(Action::DocumentsDelete, Some(index))?;
    let bytes = call.json_bytes().await?;
    let filter = documents::parse_delete_by_filter(&bytes, call.node.engine.features());
    // As in the engine, a body of the wrong shape is told before a bad name, and a bad filter after it.
    let checked = IndexUid::parse(index).map(IndexUid::into_string);
    let filter = match (filter, &checked) {
        (Err(error), Err(_)) if !error.is(Code::InvalidDocumentFilter) => return Err(error),
        (filter, _) => filter,
    };
    let index = checked?;
    register(call, index, TaskContent::DocumentDeletionByFilter { filter: filter? }).await
}

pub async fn clear(call: Call, index: &str) -> Answer {
    call.authorize(Action::DocumentsDelete, Some(index))?;
    let index = IndexUid::parse(index)?.into_string();
    register(call, index, TaskContent::DocumentClear).await
}

pub async fn edit(mut call: Call, index: &str) -> Answer {
    call.authorize(Action::DocumentsAny, Some(index))?;
    let bytes = call.json_bytes().await?;
    let Edition { filter, context, function } = documents::parse_edition(&bytes, call.node.engine.features())?;
    let index = IndexUid::parse(index)?.into_string();
    register(call, index, TaskContent::DocumentEdition { filter, context, function }).await
}

async fn register(call: Call, index: String, content: TaskContent) -> Answer {
    let metadata = call.loose_parameter("customMetadata");
    let task = blocking(&call.node, move |node| node.queue.register(Some(index), content, metadata)).await?;
    Ok(accepted(&task))
}

fn no_skipping(value: &String) -> Result<Option<bool>, QueryRefusal<InvalidSkipCreation>> {
    if value.eq_ignore_ascii_case("false") {
        return Ok(Some(false));
    }
    let message = if value.eq_ignore_ascii_case("true") {
        "skipCreation is not known to the engine of this node.".to_owned()
    } else {
        format!("skipCreation must be either `true` or `false`. Found: `{value}`")
    };
    Err(QueryRefusal::new(message, Code::InvalidSkipCreation))
}

fn ascii_delimiter(delimiter: char) -> Result<Option<u8>, QueryRefusal<InvalidDocumentCsvDelimiter>> {
    match u8::try_from(delimiter) {
        Ok(byte) if byte.is_ascii() => Ok(Some(byte)),
        Ok(_) | Err(_) => Err(QueryRefusal::new(
            format!("csv delimiter must be an ascii character. Found: `{delimiter}`"),
            Code::InvalidDocumentCsvDelimiter,
        )),
    }
}
