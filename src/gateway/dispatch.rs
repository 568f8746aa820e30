//! A plan carried out: what was understood becomes an answer, or a request for Pingora to forward.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use pingora_proxy::Session;

use super::app::{Admitted, App};
use super::beat;
use super::body::SessionBody;
use super::cache::{Entered, Question, Turn, Worth};
use super::forward::Forwarding;
use super::joins::{self, Filtered};
use super::planning;
use super::respond::{Answer, no_node};
use super::streams::{self, Stream, Unit};
use super::{described, features, figures, keys, listing, logs, narrow, shown};
use crate::meili::error::{Code, ResponseError};
use crate::meili::feature::{Chats, Feature};
use crate::meili::operation::{Operation, Own, Read};
use crate::meili::uid::index_not_found;
use crate::placement::topology::Topology;
use crate::plan::addition::Split;
use crate::plan::own;
use crate::plan::scatter::{Ask, NodeRequest, Scatter};
use crate::plan::scattered::Lasting;
use crate::plan::stats::StatsPlan;
use crate::plan::work::Work;
use crate::plan::write::{FailedWrite, WriteIntent};
use crate::plan::{self, Plan, Request};
use crate::read::{self, Keeping};
use crate::tasks::entry::MiroirTask;
use crate::tasks::filter::TaskRef;
use crate::tasks::query::named_in;
use crate::tasks::view::{Named, UidFormat, UidFormatSetting, summary_view};
use crate::tracking::{task_documents, task_ops};
use crate::write::body::too_large;
use crate::write::documents::{self, AddDocuments};
use crate::write::{direct, vocabulary};

/// How a request goes on.
pub enum Outcome {
    Answer(Answer),
    /// One without an end.
    Stream(Stream),
    /// Pingora carries it to one node.
    Forward(Forwarding),
    /// Another gateway leads, which carries it out. With the body, where that was read.
    PassOn(Operation, Option<Bytes>),
}

/// Plans a request and carries the plan out; `body` is what of it is read as a whole.
pub async fn run(
    app: &Arc<App>,
    topology: Arc<Topology>,
    admitted: &Admitted<'_>,
    session: &mut Session,
    body: Bytes,
) -> Result<Outcome, ResponseError> {
    let (head, operation) = (admitted.head, admitted.operation);
    let narrowed = narrow::narrow(operation, &admitted.access, &head.query, &body)?;
    let target =
        if narrowed.query.is_empty() { head.path.clone() } else { format!("{}?{}", head.path, narrowed.query) };
    let question = if app.cache.is_on() { Question::of(operation, head, &target, &narrowed.body) } else { None };
    let Some(question) = question else {
        let request = (target, &narrowed.body);
        return carry_out(app, topology, admitted, session, request, None, &mut Worth::Once).boxed().await;
    };
    let turn = match app.cache.enter(&app.cluster.ledger, &topology, question).boxed().await {
        Entered::Answered(result) => return result.map(Outcome::Answer),
        Entered::Asks(turn) => turn,
    };
    let mut worth = Worth::Once;
    let request = (target, &narrowed.body);
    let outcome = carry_out(app, topology, admitted, session, request, Some(&turn), &mut worth).boxed().await;
    match outcome {
        Ok(Outcome::Answer(answer)) => app.cache.end(turn, Ok(answer), worth).map(Outcome::Answer),
        Ok(other @ (Outcome::Forward(_) | Outcome::Stream(_) | Outcome::PassOn(..))) => Ok(other),
        Err(error) => app.cache.end(turn, Err(error), worth).map(Outcome::Answer),
    }
}

/// Plans what `target` and `body` ask for and carries the plan out; `worth` is set to what the plan says of its answer, which may be
/// kept where there is a turn.
async fn carry_out(
    app: &Arc<App>,
    topology: Arc<Topology>,
    admitted: &Admitted<'_>,
    session: &mut Session,
    (target, body): (String, &Bytes),
    turn: Option<&Turn>,
    worth: &mut Worth,
) -> Result<Outcome, ResponseError> {
    let content_type = admitted.head.text(http::header::CONTENT_TYPE);
    let found = if joins::may_filter(&target, body) {
        // Whatever comes of it depends on other indexes too.
        *worth = Worth::Own;
        joins::filter(app, &topology, admitted, (&target, body)).boxed().await?
    } else {
        Filtered::AsItIs
    };
    let (target, body, by_ids) = match found {
        Filtered::AsItIs => (target, body.clone(), false),
        Filtered::ByIds { target, body } => (target, body, true),
        Filtered::Answered(answer) => return Ok(Outcome::Answer(answer)),
    };
    let request = Request { operation: admitted.operation, target: &target, body: &body, content_type };
    let plan = planning::plan(app.known(), &topology, request, &admitted.trace).boxed().await?;
    let answer = match plan {
        Plan::Forward(plan) if matches!(admitted.operation, Operation::Read(Read::GetIndex { .. })) => {
            listing::index(app, &topology, admitted, (&plan.candidates, &target)).boxed().await
        }
        Plan::Forward(plan) => return forward(app, topology, plan, target).map(Outcome::Forward),
        Plan::List(list) => listing::indexes(app, &topology, admitted, &list).boxed().await,
        Plan::Scatter(scatter) => {
            *worth = if by_ids { Worth::Own } else { worth_of(app, &scatter) };
            let keeping = turn.map_or(Keeping::Nothing, |turn| turn.keeping(*worth));
            scattered(app, &topology, admitted, &scatter, keeping).boxed().await
        }
        Plan::Split(split) => add_documents(app, topology, admitted, session, split).boxed().await,
        Plan::Delete(deletion) => {
            let task = documents::delete(&app.cluster.writes, topology, &deletion, &admitted.trace).boxed().await?;
            Ok(accepted(app, admitted, &task))
        }
        Plan::Broadcast(intent) => broadcast(app, admitted, *intent).boxed().await,
        Plan::DeleteMatching(intent) => delete_matching(app, admitted, *intent).boxed().await,
        Plan::Edit(intent) => edit(app, admitted, *intent).boxed().await,
        Plan::Everywhere(request) => everywhere(app, admitted, request).boxed().await,
        Plan::Fail(write) => {
            let FailedWrite { intent, error } = *write;
            let failed = app.cluster.writes.record_failed(intent, error, &admitted.trace);
            Ok(accepted(app, admitted, &failed.boxed().await?))
        }
        Plan::Answer(plan) => return answer(app, &topology, admitted, plan).boxed().await,
        Plan::Work(work) => begin(app, admitted, &work).boxed().await,
        Plan::Refuse(error) => {
            // How a client names tasks is remembered whatever is wrong with what it asks.
            if let Operation::Own(_) = admitted.operation {
                own_format(app, admitted);
            }
            Err(error)
        }
    };
    answer.map(Outcome::Answer)
}

/// Refuses an addition that the bearer of the key may not make, or whose body is too long, before anything of it is read.
pub fn admit_documents(app: &App, admitted: &Admitted<'_>) -> Result<(), ResponseError> {
    admitted.operation.validate()?;
    let limit = app.settings().limits.document_payload_size;
    if admitted.head.content_length().is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    Ok(())
}

fn forward(
    app: &App,
    topology: Arc<Topology>,
    mut plan: plan::forward::Forward,
    target: String,
) -> Result<Forwarding, ResponseError> {
    if plan.candidates.is_empty() {
        return Err(no_node());
    }
    let avoided = app.cluster.nodes.overload.avoided(&topology);
    plan.candidates.sort_by_key(|node| avoided.contains(node));
    let attempt = app.cluster.reads.settings.get().attempt_timeout;
    let tls = app.cluster.nodes.credentials.get().tls.clone();
    Ok(Forwarding::new(topology, plan, target, attempt, app.settings().limits.forward_timeout, tls))
}

/// For how long the answer to a read is the answer.
fn worth_of(app: &App, scatter: &Scatter) -> Worth {
    if !scatter.joins.is_empty() {
        return Worth::Own;
    }
    let cutoffs = match scatter.ask.plan().lasting() {
        Lasting::Never => return Worth::Once,
        Lasting::Always => return Worth::Lasts,
        Lasting::IfInTime { indexes } => {
            indexes.into_iter().map(|index| Some(app.cluster.ledger.known_info(index)?.search_cutoff)).min()
        }
    };
    match cutoffs {
        Some(Some(cutoff)) => Worth::LastsIfWithin(Duration::from_millis(cutoff)),
        // Settings that are not kept either are in doubt.
        Some(None) | None => Worth::Once,
    }
}

async fn scattered(
    app: &App,
    topology: &Topology,
    admitted: &Admitted<'_>,
    scatter: &Scatter,
    keeping: Keeping,
) -> Result<Answer, ResponseError> {
    beat::keep_up();
    let began = Instant::now();
    let reply = read::run(&app.cluster.reads, topology, scatter, &admitted.trace, keeping).await?;
    let key_of = |index: &str| app.cluster.ledger.registry.entry(index).and_then(|entry| entry.primary_key);
    let body = match reply.status {
        200 => {
            let body = described::describe(admitted.head, scatter, began.elapsed(), &key_of, reply.body);
            shown::as_one_node_shows(&app.cluster.ledger.registry, &scatter.ask, body)
        }
        _ => reply.body,
    };
    let read::Reply { status, degraded, inexact, hits, .. } = reply;
    let answer = Answer { degraded, inexact, hits, ..Answer::bytes(status, body) };
    let lists_indexes = matches!(scatter.ask, Ask::Stats(StatsPlan::AllIndexes));
    Ok(if lists_indexes && !admitted.access.is_unrestricted() {
        listing::stats(&admitted.access, answer)
    } else {
        answer
    })
}

/// Reads a body of documents as it arrives and writes them to their replicas.
async fn add_documents(
    app: &Arc<App>,
    topology: Arc<Topology>,
    admitted: &Admitted<'_>,
    session: &mut Session,
    split: Split,
) -> Result<Answer, ResponseError> {
    let (head, limit) = (admitted.head, app.settings().limits.document_payload_size);
    let content_encoding = head.text(http::header::CONTENT_ENCODING).map(str::to_owned);
    let makings = admitted.makings.as_slice().into();
    let may_create = !admitted.access.may_not_create;
    let request = AddDocuments { split, content_encoding, limit, may_create, makings };
    let mut body = SessionBody::new(session, head, app.settings().limits.client_timeout, limit);
    let task = documents::add(&app.cluster.writes, topology, request, &mut body, &admitted.trace).await;
    app.ruling.metrics.count_failures(&admitted.makings);
    Ok(accepted(app, admitted, &task?))
}

async fn broadcast(app: &Arc<App>, admitted: &Admitted<'_>, intent: WriteIntent) -> Result<Answer, ResponseError> {
    let creates = |index: &&String| intent.ensure_index && !app.cluster.ledger.registry.exists(index);
    if let Some(index) = intent.index_uid.as_ref().filter(creates).filter(|_| admitted.access.may_not_create) {
        let error = index_not_found(index);
        let task = app.cluster.writes.record_failed(intent.creating_nothing(), error, &admitted.trace).await?;
        return Ok(accepted(app, admitted, &task));
    }
    // Held until nodes have the change: words that are read meanwhile would come before it.
    let _way = vocabulary::make_way(&app.cluster.writes, &intent, &admitted.trace).await;
    let task = app.cluster.writes.submit(intent, Vec::new(), &admitted.trace).await?;
    Ok(accepted(app, admitted, &task))
}

async fn delete_matching(
    app: &Arc<App>,
    admitted: &Admitted<'_>,
    intent: WriteIntent,
) -> Result<Answer, ResponseError> {
    let writes = &app.cluster.writes;
    let Some(error) = documents::refused_filter(writes, &intent, &admitted.trace).await else {
        let (intent, hold) = documents::deletion_alike(writes, intent, &admitted.trace).await;
        let Some(hold) = hold else { return broadcast(app, admitted, intent).await };
        let task = writes.submit_held(intent, hold, &admitted.trace).await?;
        return Ok(accepted(app, admitted, &task));
    };
    let task = writes.record_failed(intent.failed("deletedDocuments"), error, &admitted.trace).await?;
    Ok(accepted(app, admitted, &task))
}

async fn begin(app: &App, admitted: &Admitted<'_>, work: &Work) -> Result<Answer, ResponseError> {
    let task = app.cluster.dumps.submit(work).await?;
    let answer = accepted(app, admitted, &task);
    Ok(match work {
        Work::Dump | Work::Snapshot => answer,
        // What the engine answers.
        Work::Export(_) => Answer { status: 200, ..answer },
    })
}

async fn edit(app: &Arc<App>, admitted: &Admitted<'_>, intent: WriteIntent) -> Result<Answer, ResponseError> {
    let task = documents::edit(&app.cluster.writes, intent, &admitted.trace).await?;
    Ok(accepted(app, admitted, &task))
}

async fn everywhere(app: &Arc<App>, admitted: &Admitted<'_>, request: NodeRequest) -> Result<Answer, ResponseError> {
    joins::keep_on(app, &request.body, admitted).await?;
    let NodeRequest { method, path, body } = request;
    let method = http::Method::from_bytes(method.as_bytes())
        .map_err(|_| ResponseError::new(Code::Internal, "A plan names no method."))?;
    let reply = direct::everywhere(&app.cluster.writes, method, &path, Some(body.into()), &admitted.trace).await?;
    // What rules pin, they pin while their feature is on.
    // Nodes show some settings only while a feature is on.
    app.cluster.ledger.registry.forget_infos();
    app.cluster.nodes.elsewhere.heard().await;
    Ok(Answer::bytes(reply.status, reply.body))
}

/// What the gateway knows itself.
async fn answer(
    app: &Arc<App>,
    topology: &Topology,
    admitted: &Admitted<'_>,
    answer: own::Answer,
) -> Result<Outcome, ResponseError> {
    use own::Answer as Asked;
    let (tracking, query) = (&app.cluster.tracking, admitted.head.query.as_str());
    let (access, format, trace) = (admitted.access.tasks(), own_format(app, admitted), &admitted.trace);
    let shown = |body: serde_json::Value| Answer::json(200, &body);
    let answer = match answer {
        Asked::Health => Ok(shown(serde_json::json!({ "status": "available" }))),
        Asked::ListTasks { page } => task_ops::list(tracking, page.seen_by(access), format).await.map(shown),
        Asked::GetTask { id } => task_ops::get(tracking, id, access, format).await.map(shown),
        Asked::CancelTasks { filter } => {
            task_ops::cancel(tracking, filter.seen_by(access), query, format).await.map(shown)
        }
        Asked::DeleteTasks { filter } => {
            task_ops::delete(tracking, filter.seen_by(access), query, format).await.map(shown)
        }
        Asked::DeleteTask { id, named } => {
            task_ops::delete_one(tracking, (id, &named), access, format).await.map(shown)
        }
        Asked::ListBatches { page } => task_ops::list_batches(tracking, page.seen_by(access)).await.map(shown),
        Asked::GetBatch { id } => task_ops::get_batch(tracking, id, access).await.map(shown),
        Asked::TaskDocuments { id, named } => {
            features::require(app, topology, admitted, Feature::TaskDocuments).await?;
            let lines = task_documents::documents(tracking, (id.heard()?, &named), &access, trace).await?;
            Ok(Answer { content_type: "application/x-ndjson", ..Answer::bytes(200, lines.into()) })
        }
        Asked::Metrics => figures::metrics(app, topology, admitted).await,
        Asked::ListWebhooks => Ok(shown(app.webhooks.list())),
        Asked::CreateWebhook { body } => app.webhooks.create(body).await.map(|body| Answer::json(201, &body)),
        Asked::GetWebhook { uuid } => app.webhooks.get(uuid).map(shown),
        Asked::UpdateWebhook { uuid, body } => app.webhooks.update(uuid, body).await.map(shown),
        Asked::DeleteWebhook { uuid } => app.webhooks.delete(uuid).await.map(|()| Answer::empty(204)),
        Asked::ListChats { page } => {
            features::require(app, topology, admitted, Feature::Chats(Chats::List)).await?;
            Ok(shown(app.chats.list(page)))
        }
        Asked::GetChat { workspace } => {
            features::require(app, topology, admitted, Feature::Chats(Chats::Show)).await?;
            app.chats.get(&workspace.heard()?).map(shown)
        }
        Asked::DeleteChat { workspace } => {
            features::require(app, topology, admitted, Feature::Chats(Chats::Delete)).await?;
            app.chats.delete(&workspace).await.map(|()| Answer::empty(204))
        }
        Asked::GetChatSettings { workspace } => {
            features::require(app, topology, admitted, Feature::Chats(Chats::Settings)).await?;
            app.chats.settings(&workspace).map(shown)
        }
        Asked::UpdateChatSettings { workspace, body } => {
            features::require(app, topology, admitted, Feature::Chats(Chats::Settings)).await?;
            app.chats.update(&workspace, body).await.map(shown)
        }
        Asked::ResetChatSettings { workspace } => {
            features::require(app, topology, admitted, Feature::Chats(Chats::Settings)).await?;
            app.chats.reset(&workspace).await.map(shown)
        }
        Asked::ListKeys { page } => Ok(keys::list(app, page)),
        Asked::CreateKey { body } => keys::create(app, body, trace).await,
        Asked::GetKey { key } => keys::get(app, &key),
        Asked::UpdateKey { key, body } => keys::update(app, &key, body, trace).await,
        Asked::DeleteKey { key } => keys::delete(app, &key, trace).await,
        Asked::CompactTasks => figures::compact(app, topology, admitted).await,
        Asked::StopLogs => logs::hush(app, topology, admitted).await,
        Asked::SetLogTargets { targets } => logs::set_stderr(app, topology, admitted, &targets).await,
        Asked::StreamTasks => {
            return streams::news(app, topology, admitted, (Unit::Task, format)).await.map(Outcome::Stream);
        }
        Asked::StreamBatches => {
            return streams::news(app, topology, admitted, (Unit::Batch, format)).await.map(Outcome::Stream);
        }
        Asked::StreamLogs { body } => {
            return streams::log_lines(app, topology, admitted, body).await.map(Outcome::Stream);
        }
    };
    answer.map(Outcome::Answer)
}

/// The form that the client of a request understands which the gateway answers itself, and that may name tasks.
fn own_format(app: &App, admitted: &Admitted<'_>) -> UidFormat {
    let named = match admitted.operation {
        Operation::Own(own) => named_by(own, &admitted.head.query),
        Operation::Read(_)
        | Operation::Change(_)
        | Operation::Documents(_)
        | Operation::Work(_)
        | Operation::Unsupported { .. } => Named::Nothing,
    };
    uid_format(app, admitted, named)
}

/// How a request names tasks.
fn named_by(own: &Own, query: &str) -> Named {
    match own {
        Own::GetTask { id } | Own::DeleteTask { id } | Own::TaskDocuments { id } => TaskRef::parse(id).into(),
        Own::ListTasks | Own::CancelTasks | Own::DeleteTasks | Own::ListBatches => named_in(query),
        Own::Health
        | Own::ListKeys
        | Own::CreateKey
        | Own::GetKey { .. }
        | Own::UpdateKey { .. }
        | Own::DeleteKey { .. }
        | Own::GetBatch { .. }
        | Own::ListWebhooks
        | Own::CreateWebhook
        | Own::GetWebhook { .. }
        | Own::UpdateWebhook { .. }
        | Own::DeleteWebhook { .. }
        | Own::ListChats
        | Own::GetChat { .. }
        | Own::DeleteChat { .. }
        | Own::GetChatSettings { .. }
        | Own::UpdateChatSettings { .. }
        | Own::ResetChatSettings { .. }
        | Own::CompactTasks
        | Own::StreamTasks
        | Own::StreamBatches
        | Own::StreamLogs
        | Own::StopLogs
        | Own::SetLogTargets
        | Own::Metrics => Named::Nothing,
    }
}

/// The form that the client of a request understands, which names tasks as `named` says.
fn uid_format(app: &App, admitted: &Admitted<'_>, named: Named) -> UidFormat {
    let head = admitted.head;
    let (agent, client) = (head.text(http::header::USER_AGENT), head.text("x-meilisearch-client"));
    let known = || admitted.caller.is_some_and(|caller| app.speakers.knows(caller));
    let format = UidFormat::choose(app.settings().uid_format, agent, client, named, known);
    if let (UidFormat::Integer, UidFormatSetting::Auto, Some(caller)) =
        (format, app.settings().uid_format, admitted.caller)
    {
        app.speakers.note(caller);
    }
    format
}

/// 202 with the task's summary.
pub(super) fn accepted(app: &App, admitted: &Admitted<'_>, task: &MiroirTask) -> Answer {
    Answer::json(202, &summary_view(task, uid_format(app, admitted, Named::Nothing)))
}
