//! Routes of API keys.

use axum::http::StatusCode;
use deserr::Deserr;
use miroir_words::action::Action;
use serde_json::{Value, json as value};

use super::extract::{InvalidApiKeyLimit, InvalidApiKeyOffset, Param, QueryRefusal, from_json, from_query};
use super::{Answer, Call, blocking, empty, json, ok};
use crate::keys::{CreateKey, PatchKey};

/// The parameters of `GET /keys`.
#[derive(Debug, Deserr)]
#[deserr(error = QueryRefusal, rename_all = camelCase, deny_unknown_fields)]
struct ListKeys {
    #[deserr(default = Param(0), error = QueryRefusal<InvalidApiKeyOffset>)]
    offset: Param<usize>,
    #[deserr(default = Param(20), error = QueryRefusal<InvalidApiKeyLimit>)]
    limit: Param<usize>,
}

pub fn list(call: &Call) -> Answer {
    call.authorize(Action::KeysGet, None)?;
    let ListKeys { offset: Param(offset), limit: Param(limit) } = from_query(&call.query)?;
    let keys = call.node.keys.list();
    let results: Vec<Value> = keys.iter().skip(offset).take(limit).map(|key| call.node.keys.view(key)).collect();
    Ok(ok(&value!({"results": results, "offset": offset, "limit": limit, "total": keys.len()})))
}

pub async fn create(mut call: Call) -> Answer {
    call.authorize(Action::KeysCreate, None)?;
    let request: CreateKey = from_json(call.json_value().await?)?;
    let view = blocking(&call.node, move |node| Ok(node.keys.view(&node.keys.create(request)?))).await?;
    Ok(json(StatusCode::CREATED, &view))
}

pub fn get(call: &Call, key: &str) -> Answer {
    call.authorize(Action::KeysGet, None)?;
    Ok(ok(&call.node.keys.view(&call.node.keys.named(key)?)))
}

pub async fn update(mut call: Call, key: &str) -> Answer {
    call.authorize(Action::KeysUpdate, None)?;
    let patch: PatchKey = from_json(call.json_value().await?)?;
    let key = key.to_owned();
    let view = blocking(&call.node, move |node| Ok(node.keys.view(&node.keys.update(&key, patch)?))).await?;
    Ok(ok(&view))
}

pub async fn delete(call: Call, key: &str) -> Answer {
    call.authorize(Action::KeysDelete, None)?;
    let key = key.to_owned();
    blocking(&call.node, move |node| node.keys.delete(&key)).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
