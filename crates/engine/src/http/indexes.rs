//! Routes of indexes: make, show, change, remove, swap.

use std::collections::BTreeMap;

use deserr::{Deserr, ValuePointerRef};
use miroir_words::action::Action;
use miroir_words::uid::IndexUid;
use serde_json::{Value, json};

use super::access::invalid_key;
use super::extract::{
    InvalidIndexLimit, InvalidIndexOffset, InvalidIndexPrimaryKey, InvalidIndexUid, InvalidSwapIndexes, JsonRefusal,
    Param, QueryRefusal, Sentence, from_json, from_query, immutable_field, missing_field, unknown_field,
};
use super::{Answer, Call, accepted, blocking, ok};
use crate::error::{Code, ResponseError};
use crate::fields::{self, ListFields};
use crate::queue::task::TaskContent;

/// A name in a request body.
#[derive(Debug, Clone, Deserr)]
#[deserr(try_from(String) = parse_name -> Sentence)]
struct IndexName(String);

/// The body of `POST /indexes`.
#[derive(Debug, Deserr)]
#[deserr(error = JsonRefusal, rename_all = camelCase, deny_unknown_fields)]
struct CreateIndex {
    #[deserr(error = JsonRefusal<InvalidIndexUid>, missing_field_error = missing_uid)]
    uid: IndexName,
    #[deserr(default, error = JsonRefusal<InvalidIndexPrimaryKey>)]
    primary_key: Option<String>,
}

/// The body of `PATCH /indexes/{uid}`.
#[derive(Debug, Deserr)]
#[deserr(error = JsonRefusal, rename_all = camelCase, deny_unknown_fields = refuse_index_field)]
struct UpdateIndex {
    #[deserr(default, error = JsonRefusal<InvalidIndexPrimaryKey>)]
    primary_key: Option<String>,
}

/// An item of the body of `POST /swap-indexes`.
#[derive(Debug, Deserr)]
#[deserr(error = JsonRefusal, rename_all = camelCase, deny_unknown_fields)]
struct Swap {
    #[deserr(error = JsonRefusal<InvalidSwapIndexes>, missing_field_error = missing_indexes)]
    indexes: Vec<IndexName>,
}

/// The parameters of `GET /indexes`.
#[derive(Debug, Deserr)]
#[deserr(error = QueryRefusal, rename_all = camelCase, deny_unknown_fields)]
struct ListIndexes {
    #[deserr(default = Param(0), error = QueryRefusal<InvalidIndexOffset>)]
    offset: Param<usize>,
    #[deserr(default = Param(20), error = QueryRefusal<InvalidIndexLimit>)]
    limit: Param<usize>,
}

pub async fn list(call: Call) -> Answer {
    let access = call.authorize(Action::IndexesGet, None)?;
    let ListIndexes { offset: Param(offset), limit: Param(limit) } = from_query(&call.query)?;
    let page = blocking(&call.node, move |node| {
        let mut names = node.engine.names()?;
        names.retain(|name| access.sees(name));
        let total = names.len();
        let results: Vec<Value> = names
            .iter()
            .skip(offset)
            .take(limit)
            .filter_map(|name| match node.engine.view(name) {
                // Deleted since its name was read.
                Err(error) if error.is(Code::IndexNotFound) => None,
                view => Some(view.map(|view| view.to_json())),
            })
            .collect::<Result<_, _>>()?;
        Ok(json!({"results": results, "offset": offset, "limit": limit, "total": total}))
    })
    .await?;
    Ok(ok(&page))
}

pub async fn create(mut call: Call) -> Answer {
    let access = call.authorize(Action::IndexesCreate, None)?;
    let body: CreateIndex = from_json(call.json_value().await?)?;
    let name = body.uid.0;
    if !access.may_create(&name) {
        return Err(invalid_key());
    }
    register(call, Some(name), TaskContent::IndexCreation { primary_key: body.primary_key }).await
}

pub async fn get(call: Call, index: &str) -> Answer {
    call.authorize(Action::IndexesGet, Some(index))?;
    let index = IndexUid::parse(index)?.into_string();
    let view = blocking(&call.node, move |node| Ok(node.engine.view(&index)?.to_json())).await?;
    Ok(ok(&view))
}

pub async fn update(mut call: Call, index: &str) -> Answer {
    call.authorize(Action::IndexesUpdate, Some(index))?;
    let body: UpdateIndex = from_json(call.json_value().await?)?;
    let index = IndexUid::parse(index)?.into_string();
    register(call, Some(index), TaskContent::IndexUpdate { primary_key: body.primary_key }).await
}

pub async fn delete(call: Call, index: &str) -> Answer {
    call.authorize(Action::IndexesDelete, Some(index))?;
    let index = IndexUid::parse(index)?.into_string();
    register(call, Some(index), TaskContent::IndexDeletion).await
}

pub async fn stats(call: Call, index: &str) -> Answer {
    call.authorize(Action::StatsGet, Some(index))?;
    let index = IndexUid::parse(index)?.into_string();
    let stats = blocking(&call.node, move |node| {
        let is_indexing = node.queue.is_indexing(&index);
        node.engine.index_stats(&index, is_indexing)
    })
    .await?;
    Ok(ok(&stats))
}

pub async fn fields(mut call: Call, index: &str) -> Answer {
    call.authorize(Action::Any, Some(index))?;
    let query = ListFields::from_json(&call.json_bytes().await?)?;
    let index = IndexUid::parse(index)?.into_string();
    let fields = blocking(&call.node, move |node| fields::list(&node.engine.index(&index)?, &query)).await?;
    Ok(ok(&fields))
}

pub async fn swap(mut call: Call) -> Answer {
    let access = call.authorize(Action::IndexesSwap, None)?;
    let body: Vec<Swap> = from_json(call.json_value().await?)?;
    let mut swaps = Vec::with_capacity(body.len());
    for Swap { indexes } in body {
        let [left, right] = indexes.as_slice() else { return Err(wrong_length(&indexes)) };
        if !access.sees(&left.0) || !access.sees(&right.0) {
            return Err(invalid_key());
        }
        swaps.push((left.0.clone(), right.0.clone()));
    }
    check_named_once(&swaps)?;
    register(call, None, TaskContent::IndexSwap { swaps }).await
}

pub(super) async fn register(call: Call, index: Option<String>, content: TaskContent) -> Answer {
    let task = blocking(&call.node, move |node| node.queue.register(index, content, None)).await?;
    Ok(accepted(&task))
}

fn wrong_length(indexes: &[IndexName]) -> ResponseError {
    let names: Vec<String> = indexes.iter().map(|name| format!("\"{}\"", name.0)).collect();
    let message = format!(
        "Two indexes must be given for each swap. The list `[{}]` contains {} indexes.",
        names.join(", "),
        names.len()
    );
    ResponseError::new(Code::InvalidSwapIndexes, message)
}

fn check_named_once(swaps: &[(String, String)]) -> Result<(), ResponseError> {
    let mut times = BTreeMap::<&str, u32>::new();
    for name in swaps.iter().flat_map(|(left, right)| [left, right]) {
        *times.entry(name).or_default() += 1;
    }
    let twice: Vec<String> =
        times.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| format!("`{name}`")).collect();
    let verb = match twice.len() {
        0 => return Ok(()),
        1 => "was",
        _ => "were",
    };
    let message = format!(
        "Indexes must be declared only once during a swap. {} {verb} specified several times.",
        twice.join(", ")
    );
    Err(ResponseError::new(Code::InvalidSwapDuplicateIndexFound, message))
}

fn parse_name(text: String) -> Result<IndexName, Sentence> {
    IndexUid::parse(&text).map(|uid| IndexName(uid.into_string())).map_err(|error| Sentence(error.message))
}

fn missing_uid(field: &str, location: deserr::ValuePointerRef<'_>) -> JsonRefusal {
    missing_field(field, location, Code::MissingIndexUid)
}

fn missing_indexes(field: &str, location: deserr::ValuePointerRef<'_>) -> JsonRefusal {
    missing_field(field, location, Code::MissingSwapIndexes)
}

fn refuse_index_field(field: &str, accepted: &[&str], location: ValuePointerRef<'_>) -> JsonRefusal {
    let code = match field {
        "uid" => Code::ImmutableIndexUid,
        "createdAt" => Code::ImmutableIndexCreatedAt,
        "updatedAt" => Code::ImmutableIndexUpdatedAt,
        _ => return unknown_field(field, accepted, location),
    };
    immutable_field(field, accepted, code)
}
