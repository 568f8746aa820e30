//! What keys to other indexes ask of the gateway besides the hits: filters about documents of other indexes, whose ids are found first,
//! and the feature, which may not go off while there are keys. A request without such a filter costs one look for its name.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::app::{Admitted, App};
use super::filters::{Filter, Filters};
use super::planning;
use super::respond::Answer;
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::{Operation, Read};
use crate::merge::joins::ids_of;
use crate::placement::topology::Topology;
use crate::plan::foreign_filter::{self, MOST, Unreadable};
use crate::plan::index_info::{IndexInfo, Infos};
use crate::plan::scatter::{Ask, NodeRequest, Scatter};
use crate::plan::{Plan, Request};
use crate::read::{self, Keeping};

/// A request as it goes on.
pub enum Filtered {
    /// Nothing in it is about documents of other indexes.
    AsItIs,
    /// Their ids stand in its filters.
    ByIds { target: String, body: Bytes },
    /// Something is wrong with it.
    Answered(Answer),
}

/// Why a filter cannot be one by ids.
enum Trouble {
    /// What is answered unless a node finds something wrong with the request.
    Unless(ResponseError),
    /// This, whatever else is wrong.
    Error(ResponseError),
}

/// False for a request in which no filter is about documents of other indexes.
pub fn may_filter(target: &str, body: &[u8]) -> bool {
    [target.as_bytes(), body].iter().any(|text| memchr::memmem::find(text, foreign_filter::NAME.as_bytes()).is_some())
}

/// Finds the documents of other indexes that the filters of a request are about.
pub async fn filter(
    app: &App,
    topology: &Topology,
    admitted: &Admitted<'_>,
    (target, body): (&str, &Bytes),
) -> Result<Filtered, ResponseError> {
    let Operation::Read(read) = admitted.operation else { return Ok(Filtered::AsItIs) };
    let Some(mut filters) = Filters::of(read, target, body) else { return Ok(Filtered::AsItIs) };
    let indexes: Vec<String> = filters.filters.iter().map(|filter| filter.index.clone()).collect();
    let infos = planning::infos(&app.cluster.ledger, &indexes, &admitted.trace).await?;
    // Of an index without keys, nodes say what is wrong with such a filter.
    filters.filters.retain(|Filter { index, filter, .. }| {
        infos.get(index).is_some_and(|info| !info.joins.is_empty()) && filter.to_string().contains(foreign_filter::NAME)
    });
    if filters.filters.is_empty() {
        return Ok(Filtered::AsItIs);
    }
    let mut resolved = Vec::with_capacity(filters.filters.len());
    let mut meant = BTreeMap::new();
    for filter in &filters.filters {
        if !filters.together {
            meant.clear();
        }
        let of_index = (filter, infos.get(&filter.index).map(|info| info.as_ref()));
        match by_ids(app, topology, admitted, of_index, &mut meant).await {
            Ok(by_ids) => resolved.push(by_ids),
            Err(Trouble::Error(error)) => return Err(error),
            Err(Trouble::Unless(mut error)) => {
                if let (Some(place), false) = (filter.place, filters.together) {
                    error.message = format!("Inside `.queries[{place}]`: {}", error.message);
                }
                return judged(app, topology, admitted, (filters, &infos), (target, error)).await;
            }
        }
    }
    for (filter, by_ids) in filters.filters.iter_mut().zip(resolved) {
        filter.filter = by_ids;
    }
    let (target, body) = filters.written(target, body);
    Ok(Filtered::ByIds { target, body })
}

/// The filter with ids in the place of its conditions; `meant` are the documents of each index that were meant already.
async fn by_ids(
    app: &App,
    topology: &Topology,
    admitted: &Admitted<'_>,
    (filter, info): (&Filter, Option<&IndexInfo>),
    meant: &mut BTreeMap<String, Vec<String>>,
) -> Result<Value, Trouble> {
    if !foreign_filter::are_side_by_side(&filter.filter)? {
        return Err(Trouble::Unless(not_supported(
            "Several conditions `_foreign` in one filter are supported where they stand side by side, with nothing between them but \
             `AND`, or nothing but `OR`.",
        )));
    }
    let mut by_ids = filter.filter.clone();
    for text in foreign_filter::texts(&mut by_ids) {
        let conditions = foreign_filter::conditions(text)?;
        let mut ids = Vec::with_capacity(conditions.len());
        for condition in &conditions {
            let key = info.and_then(|info| info.joins.iter().find(|key| key.field == condition.field));
            let key = key.ok_or_else(|| Trouble::Unless(unreadable()))?;
            if !foreign_filter::conditions(&condition.inner)?.is_empty() {
                return Err(Trouble::Unless(not_supported("Nested foreign filters are not supported")));
            }
            let found = matching(app, topology, admitted, &key.foreign, &condition.inner).await?;
            let all = meant.entry(key.foreign.clone()).or_default();
            all.extend(found.iter().cloned());
            all.sort_unstable();
            all.dedup();
            if all.len() > MOST {
                return Err(Trouble::Unless(too_many(&key.foreign)));
            }
            ids.push(found);
        }
        *text = foreign_filter::with_ids(text, &conditions, &ids);
    }
    Ok(by_ids)
}

/// The ids of the documents of `index` that pass a filter, or one more than may be meant.
async fn matching(
    app: &App,
    topology: &Topology,
    admitted: &Admitted<'_>,
    index: &str,
    filter: &str,
) -> Result<Vec<String>, Trouble> {
    let operation: Operation = Read::FetchDocuments { index: index.to_owned() }.into();
    let key = app.cluster.ledger.registry.entry(index).and_then(|entry| entry.primary_key);
    let mut body = json!({"filter": filter, "limit": MOST + 1});
    if let Some(key) = &key {
        body["fields"] = json!([key]);
    }
    let body = body.to_string().into_bytes();
    let target = format!("/indexes/{index}/documents/fetch");
    let request = Request { operation: &operation, target: &target, body: &body, content_type: None };
    let plan = planning::plan(app.known(), topology, request, &admitted.trace).await.map_err(Trouble::Error)?;
    if let Plan::Refuse(error) = plan {
        return Err(Trouble::Error(error));
    }
    let Plan::Scatter(scatter) = plan else {
        return Err(Trouble::Error(ResponseError::new(Code::Internal, "A fetch is not planned as a fetch.")));
    };
    let reply = read::run(&app.cluster.reads, topology, &scatter, &admitted.trace, Keeping::Nothing)
        .await
        .map_err(Trouble::Error)?;
    if reply.status != 200 {
        let told = ResponseError::from_node(reply.status, &reply.body);
        return Err(Trouble::Unless(told.unwrap_or_else(unreadable)));
    }
    if !reply.degraded.is_empty() {
        let message = format!("Not every shard of `{index}` answers, so it is not known which documents are meant.");
        return Err(Trouble::Error(ResponseError::new(Code::MiroirNoReplica, message)));
    }
    let Some(key) = key else { return Ok(Vec::new()) };
    ids_of(&reply.body, &key).map_err(|error| {
        tracing::error!(%error, index, "ids cannot be read");
        Trouble::Error(ResponseError::new(Code::Internal, "A node's documents cannot be read."))
    })
}

/// What a node says is wrong with the request, told the names that it has for keys; `error` where it finds nothing.
async fn judged(
    app: &App,
    topology: &Topology,
    admitted: &Admitted<'_>,
    (mut filters, infos): (Filters, &Infos),
    (target, error): (&str, ResponseError),
) -> Result<Filtered, ResponseError> {
    let mut kept = Vec::new();
    for Filter { index, filter, .. } in &mut filters.filters {
        let info = infos.get(index);
        let is_key = |field: &str| info.is_some_and(|info| info.joins.iter().any(|key| key.field == field));
        for text in foreign_filter::texts(filter) {
            if let Ok(conditions) = foreign_filter::conditions(text) {
                *text = foreign_filter::as_kept(text, &conditions, &is_key);
            }
            kept.push(text.clone());
        }
    }
    let (path, body) = filters.written(target, &Bytes::new());
    let method = if admitted.head.method == http::Method::GET { "GET" } else { "POST" };
    let original = NodeRequest { method, path, body: body.to_vec() };
    let scatter = Scatter::new(original, 0, Ask::Refused(error.clone()));
    let reply = read::run(&app.cluster.reads, topology, &scatter, &admitted.trace, Keeping::Nothing).await?;
    let Some(told) = ResponseError::from_node(reply.status, &reply.body) else {
        return Ok(Filtered::Answered(Answer::bytes(reply.status, reply.body)));
    };
    // The node found nothing wrong before it came to filter by a name that only the gateway has given it.
    if foreign_filter::is_about_a_kept_name(&told.message) {
        return Err(error);
    }
    Err(ResponseError { message: foreign_filter::as_written(&told.message, &kept), ..told })
}

/// Refuses to switch the feature off while an index has keys: nodes do not show them then, and one that is filled meanwhile would be
/// without, so that later on nobody could tell which node is right.
pub async fn keep_on(app: &App, features: &[u8], admitted: &Admitted<'_>) -> Result<(), ResponseError> {
    let features: Value = serde_json::from_slice(features).unwrap_or_default();
    if features.get("foreignKeys") != Some(&Value::Bool(false)) {
        return Ok(());
    }
    for entry in app.cluster.ledger.registry.entries() {
        match app.cluster.ledger.info(&entry.uid, &admitted.trace).await {
            Ok(info) if info.joins.is_empty() => {}
            Ok(info) => {
                return Err(not_supported(&format!(
                    "`foreignKeys` is not switched off while index `{}` has foreign keys: reset them first.",
                    info.uid
                )));
            }
            Err(error) if error.is(Code::IndexNotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn not_supported(message: &str) -> ResponseError {
    ResponseError::new(Code::MiroirNotSupported, message)
}

fn unreadable() -> ResponseError {
    not_supported("A condition `_foreign` of the filter cannot be read.")
}

/// In the engine's words.
fn too_many(index: &str) -> ResponseError {
    let message = format!(
        "Index `{index}`: Foreign filter is retrieving too many documents, foreign filters can't retrieve more than {MOST} documents \
         per index"
    );
    ResponseError::new(Code::InvalidSearchFilter, message)
}

// === impl Trouble ===

impl From<Unreadable> for Trouble {
    fn from(_: Unreadable) -> Self {
        Self::Unless(unreadable())
    }
}
