//! The rest of a task that ended in part: the same change again, on the shards alone that it has not reached.
//!
//! Additions and deletions by id are finished by sending them again, which does no harm where they were carried out. An
//! edit by a function would be done twice there, so it is sent with a filter for the other shards, and not at all where a node
//! may have carried it out without saying so. The task remembers who finished it before anything is sent, and is finished
//! once; if that fails on all of the rest, as while a disk is full, it can be finished again.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::edit::edit;
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::Change;
use crate::meili::task::{DocumentsChange, TaskKind, TaskStatus};
use crate::nodes::client::Trace;
use crate::nodes::error::store_failed;
use crate::placement::shard::{ShardSet, shard_filter};
use crate::plan::filter::and;
use crate::plan::write::{StepBody, WriteIntent};
use crate::plan::{Plan, broadcast};
use crate::tasks::entry::MiroirTask;
use crate::tasks::filter::TaskRef;
use crate::tasks::replicas::{is_in_doubt, replicas, unwritten};
use crate::write::part::Writes;

/// In the details of a task: the one that has finished it.
const FINISHED_BY: &str = "finishedBy";
/// Instead of that one's id, from before it is sent until it has one.
const UNKNOWN: &str = "a task that is not known, because it broke off";

/// The change that is left of a task.
enum Rest {
    /// Done twice on a document, it is done twice.
    Edit(Box<WriteIntent>),
    /// Done twice, it takes away no more than once.
    Deletion(Box<WriteIntent>),
}

/// Sends the rest of the task `id`, an edit or a deletion by filter, and returns the task of that.
pub async fn finish(writes: &Arc<Writes>, id: TaskRef, trace: &Trace) -> Result<MiroirTask, ResponseError> {
    let _finishing = writes.order.finishing.lock().await;
    let mut task = stored(writes, id).await?;
    if has_finished_nothing(writes, &task).await? {
        task.details.get_or_insert_default().remove(FINISHED_BY);
    }
    let rest = rest(writes, &task)?;
    // Should this break off, nobody knows what was sent, and nothing is sent again.
    mark(writes, id, Some(UNKNOWN.to_owned())).await?;
    let (sent, in_doubt) = match rest {
        Rest::Edit(intent) => {
            let sent = edit(writes, *intent, trace).await;
            let in_doubt = sent.as_ref().is_err_and(may_be_sent);
            (sent, in_doubt)
        }
        Rest::Deletion(intent) => (writes.submit(*intent, Vec::new(), trace).await, false),
    };
    match &sent {
        // What failed before it was sent has finished nothing.
        Ok(sent) if sent.status == TaskStatus::Failed => mark(writes, id, None).await?,
        Ok(sent) => mark(writes, id, Some(sent.id())).await?,
        Err(_) if in_doubt => {}
        Err(_) => mark(writes, id, None).await?,
    }
    sent
}

/// False for what is refused before it goes to a node.
fn may_be_sent(error: &ResponseError) -> bool {
    error.status >= 500 && !error.is(Code::MiroirNotSupported)
}

async fn stored(writes: &Writes, id: TaskRef) -> Result<MiroirTask, ResponseError> {
    let found = writes.ledger.store.get_task(id).await.map_err(|error| store_failed(&error))?;
    found.ok_or_else(|| ResponseError::new(Code::TaskNotFound, "no such task"))
}

/// True where the task that was to finish `task` has failed on all that it was sent to.
async fn has_finished_nothing(writes: &Writes, task: &MiroirTask) -> Result<bool, ResponseError> {
    let by = task.details.as_ref().and_then(|details| details.get(FINISHED_BY)).and_then(Value::as_str);
    let Some(by) = by.and_then(TaskRef::parse) else { return Ok(false) };
    let earlier = writes.ledger.store.get_task(by).await.map_err(|error| store_failed(&error))?;
    Ok(earlier.is_some_and(|earlier| {
        let in_part = earlier.error.as_ref().is_some_and(|error| error.is(Code::MiroirPartlyApplied));
        earlier.status == TaskStatus::Failed && !in_part && !is_in_doubt(&earlier, &unwritten(&replicas(&earlier)))
    }))
}

/// Notes in the row as it is now who finishes the task: a swap may have renamed its index meanwhile.
async fn mark(writes: &Writes, id: TaskRef, by: Option<String>) -> Result<(), ResponseError> {
    let mut task = stored(writes, id).await?;
    let details = task.details.get_or_insert_default();
    match by {
        Some(by) => details.insert(FINISHED_BY.to_owned(), json!(by)),
        None => details.remove(FINISHED_BY),
    };
    writes.ledger.store.update_task(task).await.map_err(|error| store_failed(&error))
}

/// By what a task of `kind` is finished, if by anything else than the same request again.
fn change_left(kind: TaskKind, has_filter: bool, index: String) -> Option<Change> {
    match kind.change_of_documents()? {
        DocumentsChange::Edition => Some(Change::EditDocuments { index }),
        DocumentsChange::Deletion => has_filter.then_some(Change::DeleteDocumentsByFilter { index }),
        DocumentsChange::Addition => None,
    }
}

fn rest(writes: &Writes, task: &MiroirTask) -> Result<Rest, ResponseError> {
    let refuse = |message: String| Err(ResponseError::new(Code::BadRequest, message));
    if !task.error.as_ref().is_some_and(|error| error.is(Code::MiroirPartlyApplied)) {
        return refuse(format!("`{}` did not end in part: there is nothing to finish", task.id()));
    }
    let details = task.details.clone().unwrap_or_default();
    if let Some(by) = details.get(FINISHED_BY) {
        return refuse(format!("`{}` was finished by {by}", task.id()));
    }
    let missed = unwritten(&replicas(task));
    if task.kind == TaskKind::DocumentEdition && is_in_doubt(task, &missed) {
        return refuse(format!(
            "`{}` may have been carried out on shards whose nodes did not answer: edit what is left by a filter",
            task.id()
        ));
    }
    let index = task.index_uid.clone().unwrap_or_default();
    let original = details.get("originalFilter").and_then(Value::as_str);
    let Some(change) = change_left(task.kind, original.is_some(), index) else {
        return refuse(format!("`{}` is finished by sending the same request again", task.id()));
    };
    let mut body = Map::new();
    if let Some(filter) = original.and_then(|filter| serde_json::from_str(filter).ok()) {
        body.insert("filter".to_owned(), filter);
    }
    for name in ["context", "function"] {
        if let Some(value) = details.get(name).filter(|value| !value.is_null()) {
            body.insert(name.to_owned(), value.clone());
        }
    }
    let body = Value::Object(body).to_string();
    let (topology, hidden) = (writes.nodes.topology(), writes.ledger.hidden_settings());
    let exists = |index: &str| writes.ledger.registry.exists(index);
    let mut rest = match broadcast::plan(&change, "", body.as_bytes(), &topology, &hidden, &exists) {
        Plan::Edit(intent) => Rest::Edit(intent),
        Plan::DeleteMatching(intent) => Rest::Deletion(intent),
        Plan::Refuse(error) => return Err(error),
        Plan::Forward(_)
        | Plan::Broadcast(_)
        | Plan::List(_)
        | Plan::Scatter(_)
        | Plan::Split(_)
        | Plan::Delete(_)
        | Plan::Everywhere(_)
        | Plan::Fail(_)
        | Plan::Work(_)
        | Plan::Answer(_) => {
            let error = ResponseError::new(Code::Internal, "A change of documents was planned as something else.");
            return Err(error);
        }
    };
    let (Rest::Edit(intent) | Rest::Deletion(intent)) = &mut rest;
    intent.custom_metadata = task.custom_metadata.clone();
    only(intent, &missed, topology.shards);
    Ok(rest)
}

/// Restricts a change by filter to the documents of `missed`.
fn only(intent: &mut WriteIntent, missed: &ShardSet, shards: u16) {
    for step in &mut intent.steps {
        step.shards = missed.clone();
        if let StepBody::Json(Value::Object(body)) = &mut step.body {
            and(body, &shard_filter(missed, shards));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::placement::shard::ShardId;
    use crate::plan::write::{RegistryChange, Step, Target};

    #[test]
    fn the_rest_is_what_the_missed_shards_have() {
        let step = Step {
            to: Target::AllNodes,
            method: "POST",
            path: "/indexes/a/documents/edit".into(),
            content_type: None,
            body: StepBody::Json(json!({"filter": ["n = 1"], "function": "doc.n += 1"})),
            shards: ShardSet::all(4),
        };
        let mut intent = WriteIntent {
            kind: TaskKind::DocumentEdition,
            index_uid: Some("a".into()),
            indexes: vec!["a".into()],
            details: None,
            custom_metadata: None,
            ensure_index: false,
            registry: RegistryChange::None,
            copies: 2,
            documents: BTreeMap::new(),
            ids: BTreeMap::new(),
            steps: vec![step],
        };
        let missed: ShardSet = [ShardId(1), ShardId(3)].into_iter().collect();
        only(&mut intent, &missed, 4);
        assert_eq!(intent.steps[0].shards, missed);
        let StepBody::Json(body) = &intent.steps[0].body else { panic!() };
        assert_eq!(body["filter"], json!(["n = 1", shard_filter(&missed, 4)]));
        assert_eq!(body["function"], "doc.n += 1");
    }
}
