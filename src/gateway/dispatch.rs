//! A plan carried out: what was understood becomes an answer, or a request for Pingora to forward.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use pingora_proxy::Session;
use serde_json::Value;

use super::body::SessionBody;
use super::forward::Forwarding;
use super::planning::{self, Request};
use super::respond::Answer;
use super::{Admitted, App, keys, listing, narrow};
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::Operation;
use crate::meili::payload;
use crate::meili::unknown;
use crate::placement::topology::Topology;
use crate::plan::{self, Plan};
use crate::read;
use crate::tasks::entry::MiroirTask;
use crate::tasks::filter::TaskRef;
use crate::tasks::query::named_in;
use crate::tasks::view::{Named, UidFormat, UidFormatSetting, summary_view};
use crate::tracking::task_ops;
use crate::write::body::too_large;
use crate::write::documents;
use crate::write::documents::AddDocuments;
use crate::write::{direct, vocabulary};

/// How a request goes on.
pub enum Outcome {
    Answer(Answer),
    /// Pingora carries it to one node.
    Forward(Forwarding),
}

/// Reads a body of documents as it arrives and writes them to their replicas.
pub async fn add_documents(
    app: &Arc<App>,
    topology: Arc<Topology>,
    admitted: &Admitted<'_>,
    session: &mut Session,
) -> Result<Answer, ResponseError> {
    let Operation::AddDocuments { index, method } = admitted.operation else {
        return Err(ResponseError::new(
            Code::Internal,
            "A request that adds no documents was taken for one that does.",
        ));
    };
    admitted.operation.validate()?;
    let head = admitted.head;
    if admitted.access.may_not_create && !app.cluster.registry.exists(index) {
        return Err(crate::ledger::registry::index_not_found(index));
    }
    let limit = app.settings.max_documents_size;
    let request = AddDocuments {
        index: index.clone(),
        method: *method,
        content_type: head.text(http::header::CONTENT_TYPE).map(str::to_owned),
        content_encoding: head.text(http::header::CONTENT_ENCODING).map(str::to_owned),
        query: head.query.clone(),
        limit,
    };
    if head.content_length().is_some_and(|length| limit > 0 && length > limit) {
        return Err(too_large(limit));
    }
    let mut body = SessionBody::new(session, head, app.settings.body_idle_timeout, limit);
    let task = documents::add(&app.cluster, topology, request, &mut body, &admitted.trace).await?;
    Ok(accepted(app, admitted, &task))
}

/// Everything but a body of documents.
pub async fn run(
    app: &Arc<App>,
    topology: Arc<Topology>,
    admitted: &Admitted<'_>,
    body: Bytes,
) -> Result<Outcome, ResponseError> {
    let operation = admitted.operation;
    let query = admitted.head.query.as_str();
    match operation {
        Operation::DeleteDocument { index, id } => {
            operation.validate()?;
            let ids = vec![Value::String(id.clone())];
            return delete_ids(app, topology, admitted, index, ids, true).await;
        }
        Operation::DeleteDocumentsBatch { index } => {
            operation.validate()?;
            let ids = match payload::parse(&body)? {
                Value::Array(ids) => ids,
                _ => return Err(not_a_list(&body)),
            };
            return delete_ids(app, topology, admitted, index, ids, false).await;
        }
        Operation::UpdateExperimentalFeatures => {
            let path = admitted.head.target();
            let reply = direct::everywhere(&app.cluster, http::Method::PATCH, &path, Some(body), &admitted.trace)
                .boxed()
                .await?;
            return Ok(Outcome::Answer(Answer::bytes(reply.status, reply.body)));
        }
        Operation::ListIndexes => {
            return listing::indexes(app, &topology, admitted).boxed().await.map(Outcome::Answer);
        }
        _ => {}
    }

    let narrowed = narrow::narrow(operation, &admitted.access, query, &body)?;
    let target = if narrowed.query.is_empty() {
        admitted.head.path.clone()
    } else {
        format!("{}?{}", admitted.head.path, narrowed.query)
    };
    let request = Request { operation, target: &target, body: &narrowed.body };
    let plan = planning::plan(&app.cluster, &topology, &request, &admitted.trace).boxed().await?;
    match plan {
        Plan::Forward(mut plan) => {
            if plan.candidates.is_empty() {
                return Err(super::no_node());
            }
            let avoided = app.cluster.overload.avoided(&topology);
            plan.candidates.sort_by_key(|node| avoided.contains(node));
            let attempt = app.cluster.settings.search.attempt_timeout;
            Ok(Outcome::Forward(Forwarding::new(topology, plan, target, attempt, app.settings.forward_timeout)))
        }
        Plan::Scatter(scatter) => {
            let reply = read::run(&app.cluster, &topology, &scatter, &admitted.trace).boxed().await?;
            let mut answer =
                Answer { degraded: reply.degraded, inexact: reply.inexact, ..Answer::bytes(reply.status, reply.body) };
            if matches!(operation, Operation::Stats) && !admitted.access.is_unrestricted() {
                answer = listing::stats(&admitted.access, answer);
            }
            Ok(Outcome::Answer(answer))
        }
        Plan::Broadcast(intent) => {
            if admitted.access.may_not_create
                && intent.ensure_index
                && let Some(index) = &intent.index_uid
                && !app.cluster.registry.exists(index)
            {
                return Err(crate::ledger::registry::index_not_found(index));
            }
            vocabulary::make_way(&app.cluster, &intent, &admitted.trace).await;
            let task = match operation {
                Operation::EditDocuments { .. } => documents::edit(&app.cluster, *intent, &admitted.trace).await?,
                _ => app.cluster.writer.submit(&app.cluster, *intent, Vec::new(), &admitted.trace).await?,
            };
            Ok(Outcome::Answer(accepted(app, admitted, &task)))
        }
        Plan::Answer(own) => answer(app, admitted, own, &narrowed.body).boxed().await.map(Outcome::Answer),
        Plan::Split(_) => Err(ResponseError::new(Code::Internal, "A body of documents was read as a whole.")),
        Plan::Refuse(error) => Err(error),
    }
}

async fn delete_ids(
    app: &Arc<App>,
    topology: Arc<Topology>,
    admitted: &Admitted<'_>,
    index: &str,
    ids: Vec<Value>,
    single: bool,
) -> Result<Outcome, ResponseError> {
    let metadata = unknown::only_custom_metadata(&admitted.head.query)?;
    let task = documents::delete_ids(&app.cluster, topology, index, ids, metadata, single, &admitted.trace).await?;
    Ok(Outcome::Answer(accepted(app, admitted, &task)))
}

/// What the gateway knows itself.
async fn answer(
    app: &Arc<App>,
    admitted: &Admitted<'_>,
    own: plan::answer::Answer,
    body: &[u8],
) -> Result<Answer, ResponseError> {
    use plan::answer::Answer as Own;
    let (cluster, query) = (&app.cluster, admitted.head.query.as_str());
    let access = admitted.access.tasks();
    let named = match &own {
        Own::GetTask { id } | Own::DeleteTask { id } => TaskRef::parse(id).into(),
        Own::ListTasks | Own::CancelTasks | Own::DeleteTasks => named_in(query),
        _ => Named::Nothing,
    };
    let format = uid_format(app, admitted, named);
    match own {
        Own::Health => Ok(Answer::json(200, &serde_json::json!({ "status": "available" }))),
        Own::ListTasks => task_ops::list(cluster, query, access, format).await.map(|body| Answer::json(200, &body)),
        Own::GetTask { id } => task_ops::get(cluster, &id, access, format).await.map(|body| Answer::json(200, &body)),
        Own::CancelTasks => task_ops::cancel(cluster, query, access, format).await.map(|body| Answer::json(200, &body)),
        Own::DeleteTasks => task_ops::delete(cluster, query, access, format).await.map(|body| Answer::json(200, &body)),
        Own::DeleteTask { id } => {
            task_ops::delete_one(cluster, &id, access, format).await.map(|body| Answer::json(200, &body))
        }
        Own::ListKeys => keys::list(app, query),
        Own::CreateKey => keys::create(app, &payload::parse(body)?, &admitted.trace).await,
        Own::GetKey { key } => keys::get(app, &key),
        Own::UpdateKey { key } => keys::update(app, &key, &payload::parse(body)?, &admitted.trace).await,
        Own::DeleteKey { key } => keys::delete(app, &key, &admitted.trace).await,
    }
}

/// The form that the client of a request understands, which names tasks as `named` says.
fn uid_format(app: &App, admitted: &Admitted<'_>, named: Named) -> UidFormat {
    let head = admitted.head;
    let (agent, client) = (head.text(http::header::USER_AGENT), head.text("x-meilisearch-client"));
    let known = || admitted.caller.is_some_and(|caller| app.speakers.knows(caller));
    let format = UidFormat::choose(app.settings.uid_format, agent, client, named, known);
    if let (UidFormat::Integer, UidFormatSetting::Auto, Some(caller)) =
        (format, app.settings.uid_format, admitted.caller)
    {
        app.speakers.note(caller);
    }
    format
}

/// 202 with the task's summary.
fn accepted(app: &App, admitted: &Admitted<'_>, task: &MiroirTask) -> Answer {
    Answer::json(202, &summary_view(task, uid_format(app, admitted, Named::Nothing)))
}

/// The engine's words for a list of ids that is none.
fn not_a_list(body: &[u8]) -> ResponseError {
    let error = serde_json::from_slice::<Vec<Value>>(body).err().map(|error| error.to_string()).unwrap_or_default();
    ResponseError::new(Code::BadRequest, format!("Json deserialize error: {error}"))
}
