//! Routes of documents.

use deserr::{Deserr, ValuePointerRef};
use serde_json::{Value, json};

use super::body::{document_format, json_failure};
use super::extract::{
    FieldCode, InvalidDocumentCsvDelimiter, InvalidDocumentEditionContext, InvalidDocumentEditionFunctionFilter,
    InvalidDocumentFilter, InvalidIndexPrimaryKey, JsonRefusal, QueryRefusal, from_json, from_query, missing_field,
};
use super::instance::feature_off;
use super::{Answer, Call, accepted, blocking, ok};
use crate::embedded::documents::{self, BrowseQuery, GetDocument};
use crate::embedded::keys::Action;
use crate::embedded::names;
use crate::embedded::payload::io_failure;
use crate::embedded::queue::task::{AdditionMethod, TaskContent};
use crate::meili::error::{Code, ResponseError};

/// The parameters of a request that brings documents. `customMetadata` is a newer engine's; Miroir stamps its writes
/// with it.
#[derive(Debug, Deserr)]
#[deserr(error = QueryRefusal, rename_all = camelCase, deny_unknown_fields)]
struct AddDocuments {
    #[deserr(default, error = QueryRefusal<InvalidIndexPrimaryKey>)]
    primary_key: Option<String>,
    #[deserr(default, error = QueryRefusal<InvalidDocumentCsvDelimiter>, try_from(char) = ascii_delimiter -> QueryRefusal<InvalidDocumentCsvDelimiter>)]
    csv_delimiter: Option<u8>,
    #[deserr(default)]
    custom_metadata: Option<String>,
}

/// The body of `POST /indexes/{uid}/documents/edit`.
#[derive(Debug, Deserr)]
#[deserr(error = JsonRefusal, rename_all = camelCase, deny_unknown_fields)]
struct EditDocuments {
    #[deserr(default, error = JsonRefusal<InvalidDocumentFilter>)]
    filter: Option<Value>,
    #[deserr(default, error = JsonRefusal<InvalidDocumentEditionContext>)]
    context: Option<Value>,
    #[deserr(error = JsonRefusal<InvalidDocumentEditionFunctionFilter>, missing_field_error = missing_function)]
    function: String,
}

pub async fn get(call: Call, index: &str, id: &str) -> Answer {
    call.authorize(Action::DocumentsGet, Some(index))?;
    let query = GetDocument::from_query(&call.query)?;
    let (index, id) = (names::checked(index)?, id.to_owned());
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
    let index = names::checked(index)?;
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
    let AddDocuments { primary_key, csv_delimiter, custom_metadata } = from_query(&call.query)?;
    let index = names::checked(index)?;
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
    let index = names::checked(index)?;
    register(call, index, TaskContent::DocumentDeletion { ids: vec![id.to_owned()] }).await
}

pub async fn delete_batch(mut call: Call, index: &str) -> Answer {
    call.authorize(Action::DocumentsDelete, Some(index))?;
    let bytes = call.json_bytes().await?;
    let ids: Vec<Value> = serde_json::from_slice(&bytes).map_err(|error| json_failure(&error))?;
    let index = names::checked(index)?;
    let ids = ids.iter().map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)).collect();
    register(call, index, TaskContent::DocumentDeletion { ids }).await
}

pub async fn delete_by_filter(mut call: Call, index: &str) -> Answer {
    call.authorize(Action::DocumentsDelete, Some(index))?;
    let bytes = call.json_bytes().await?;
    let filter = documents::parse_delete_by_filter(&bytes);
    // As in the engine, a body of the wrong shape is told before a bad name, and a bad filter after it.
    let checked = names::checked(index);
    let filter = match (filter, &checked) {
        (Err(error), Err(_)) if !error.is(Code::InvalidDocumentFilter) => return Err(error),
        (filter, _) => filter,
    };
    let index = checked?;
    register(call, index, TaskContent::DocumentDeletionByFilter { filter: filter? }).await
}

pub async fn clear(call: Call, index: &str) -> Answer {
    call.authorize(Action::DocumentsDelete, Some(index))?;
    let index = names::checked(index)?;
    register(call, index, TaskContent::DocumentClear).await
}

pub async fn edit(mut call: Call, index: &str) -> Answer {
    call.authorize(Action::DocumentsAll, Some(index))?;
    let body: EditDocuments = from_json(call.json_value().await?)?;
    if !call.node.features.get().edit_documents_by_function {
        return Err(feature_off(
            "Using the documents edit route",
            "edit documents by function",
            "https://github.com/orgs/meilisearch/discussions/762",
        ));
    }
    let index = names::checked(index)?;
    if let Err(error) = milli_core::rhai::Engine::new().compile(&body.function) {
        return Err(ResponseError::new(Code::BadRequest, error.to_string()));
    }
    if let Some(filter) = &body.filter {
        documents::parse_delete_by_filter(json!({"filter": filter}).to_string().as_bytes())?;
    }
    let context = match body.context {
        None => None,
        Some(Value::Object(context)) => Some(context),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            return Err(ResponseError::new(
                Code::InvalidDocumentEditionContext,
                "The context must be an object",
            ));
        }
    };
    let content = TaskContent::DocumentEdition { filter: body.filter, context, function: body.function };
    register(call, index, content).await
}

async fn register(call: Call, index: String, content: TaskContent) -> Answer {
    let metadata = call.loose_parameter("customMetadata");
    let task = blocking(&call.node, move |node| node.queue.register(Some(index), content, metadata)).await?;
    Ok(accepted(&task))
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

fn missing_function<C: FieldCode>(field: &str, location: ValuePointerRef<'_>) -> JsonRefusal<C> {
    missing_field(field, location, Code::MissingDocumentEditionFunction)
}
