//! Edits by a function: tried on the documents before any node gets the function.
//!
//! The trial reads what the edit would run on, after the writes that came before it, and runs the function there. While it
//! does, other writes of the index go on; if some have, and the trial was short, it is made again with the index held, so
//! that nothing comes between it and the edit. One that takes longer than [`TRIAL`], or whose documents cannot be read, says
//! what it has seen: the edit is sent, and should nodes fail where others do not, its task says so (`tasks/verdict.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::edited::Reader;
use super::{rules, unlike};
use crate::ledger::touched::Touched;
use crate::meili::error::{Code, ResponseError};
use crate::meili::versions::names_index_of_edit;
use crate::nodes::client::Trace;
use crate::placement::shard::ShardSet;
use crate::placement::written::WRITTEN_FIELD;
use crate::plan::write::{StepBody, WriteIntent};
use crate::split::Document;
use crate::split::function::{Ended, FunctionError, Program, STACK, Trial, guarded};
use crate::split::rules::DocumentRules;
use crate::tasks::entry::MiroirTask;
use crate::write::part::Writes;

/// How long a trial may take, waiting for earlier writes included.
const TRIAL: Duration = Duration::from_secs(30);
/// How long one may that holds back the other writes of its index.
const HELD: Duration = Duration::from_secs(5);
/// So many bytes of documents are tried in the order of their writing. Of several that fail one node names the first: of films 8 and
/// 29, written in this order and held by different nodes, film 8, whichever node is read first.
const ORDERED: usize = 4 << 20;
/// The fields of a request that a node takes; others it refuses.
const FIELDS: [&str; 3] = ["filter", "context", "function"];

/// What is to be tried.
#[derive(Clone)]
pub(super) struct Edit {
    pub index: String,
    pub primary_key: String,
    pub filter: Value,
    pub shards: ShardSet,
    function: String,
    context: Option<Map<String, Value>>,
}

/// What a refusal of the request by its nodes is shown with.
struct Asked {
    index: String,
    /// The client's filter is one text, of which nodes were sent a list.
    filter_is_text: bool,
}

/// What a trial has come to.
#[derive(Debug)]
enum Judged {
    Fails(FunctionError),
    Sends(Program),
}

/// What the thread of a trial is given.
pub(super) enum Page {
    /// A node's answer with whole documents.
    Documents(Bytes),
    /// There are no more.
    End,
}

/// How far a trial has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    SoFar,
    All,
    /// It goes no further.
    InPart,
}

/// How documents follow each other.
#[derive(Clone, Copy)]
enum Order {
    AsListed,
    AsWritten,
}

/// Ends the thread of a trial that nobody waits for any more.
struct StopOnDrop(Arc<AtomicBool>);

#[derive(Deserialize)]
struct Documents<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

/// Carries out an edit that `plan/broadcast` has planned. One that fails on a document is a failed task, and no node sees it.
pub async fn edit(writes: &Arc<Writes>, intent: WriteIntent, trace: &Trace) -> Result<MiroirTask, ResponseError> {
    let (own, trace) = (Arc::clone(writes), trace.clone());
    // A client that goes away meanwhile changes nothing.
    let work = tokio::spawn(async move {
        let asked = Asked::of(&intent);
        let sent = try_and_send(&own, intent, &trace).await;
        sent.map_err(|error| asked.refusal(error, &own.nodes.versions.least().unwrap_or_default()))
    });
    work.await.unwrap_or_else(|error| {
        tracing::error!(%error, "an edit broke off");
        Err(ResponseError::new(Code::Internal, "The edit broke off."))
    })
}

async fn try_and_send(
    writes: &Arc<Writes>,
    mut intent: WriteIntent,
    trace: &Trace,
) -> Result<MiroirTask, ResponseError> {
    if Edit::of(writes, &intent).is_none() || !is_enabled(writes, trace).await {
        return writes.submit(intent, Vec::new(), trace).await;
    }
    intent = unlike::edit_alike(writes, intent, trace).await;
    let Some(edit) = Edit::of(writes, &intent) else {
        return writes.submit(intent, Vec::new(), trace).await;
    };
    let watch = writes.ledger.watchers.begin(&edit.index);
    let began = Instant::now();
    if tokio::time::timeout(TRIAL, watch.complete()).await.is_err() {
        tracing::warn!(index = edit.index, "earlier writes take too long for a trial of an edit");
    }
    let untried = || Judged::Sends(Program::untried(&edit.function));
    let mut judged = tried(writes, &edit, began + TRIAL, trace).await.unwrap_or_else(untried);
    let error = if let Judged::Fails(error) = judged {
        error
    } else {
        let hold = writes.order.gates.hold(&edit.index).await;
        if watch.take() != Touched::default()
            && began.elapsed() <= HELD
            && let Some(again) = tried(writes, &edit, Instant::now() + HELD, trace).await
        {
            judged = again;
        }
        match judged {
            Judged::Fails(error) => error,
            Judged::Sends(program) => {
                edit.prepare(&mut intent, program)?;
                return writes.submit_held(intent, hold, trace).await;
            }
        }
    };
    writes.record_failed(intent.failed("editedDocuments"), error.to_response(&edit.index), trace).await
}

/// Without the experimental feature a node refuses the request.
async fn is_enabled(writes: &Writes, trace: &Trace) -> bool {
    let topology = writes.nodes.topology();
    let serving = topology.members().find(|node| topology.node(*node).state.serves_reads());
    let Some(node) = serving else { return false };
    let told: Result<Option<Value>, _> =
        writes.nodes.client.get_json(topology.node(node), "/experimental-features", trace).await;
    told.is_ok_and(|features| features.is_some_and(|features| features["editDocumentsByFunction"] == true))
}

/// `None` where the edit could not be tried.
async fn tried(writes: &Writes, edit: &Edit, deadline: Instant, trace: &Trace) -> Option<Judged> {
    let _permit = tokio::time::timeout_at(deadline, writes.order.trials.acquire()).await.ok()?.ok()?;
    let reader = Reader::new(writes, edit, trace);
    let ready = async {
        reader.earlier_writes_end().await;
        rules::after_changes(writes, &edit.index, trace).await
    };
    let rules = tokio::time::timeout_at(deadline, ready).await.ok()?;
    let stopped = Arc::new(AtomicBool::new(false));
    let _stop = StopOnDrop(Arc::clone(&stopped));
    let (pages, inbox) = mpsc::channel(1);
    let (tell, mut told) = oneshot::channel();
    let (trying, stopping) = (edit.clone(), Arc::clone(&stopped));
    let thread = std::thread::Builder::new().name("edit-trial".to_owned()).stack_size(STACK).spawn(move || {
        // Nobody may be waiting any more.
        let _unheard = tell.send(judge(&trying, rules, stopping, inbox));
    });
    if let Err(error) = thread {
        tracing::warn!(%error, "an edit is not tried");
        return None;
    }
    let in_time = async {
        if let Err(error) = reader.read(pages).await {
            tracing::warn!(%error, index = edit.index, "the documents of an edit cannot be read to try it");
        }
        (&mut told).await
    };
    let heard = tokio::time::timeout_at(deadline, in_time).await;
    let verdict = match heard {
        Ok(verdict) => verdict,
        Err(_) => {
            tracing::warn!(index = edit.index, "a trial of an edit takes too long");
            stopped.store(true, Ordering::Relaxed);
            told.await
        }
    };
    verdict.ok()
}

/// Tries the function on all pages; runs on a thread of its own, which has the stack for it.
fn judge(edit: &Edit, rules: DocumentRules, stopped: Arc<AtomicBool>, mut inbox: mpsc::Receiver<Page>) -> Judged {
    let trial = Trial::new(&edit.function, edit.context.clone(), &edit.primary_key, rules, stopped);
    let mut trial = match trial {
        Ok(trial) => trial,
        Err(Ended::Unknown) => return Judged::Sends(Program::AsItIs),
        Err(Ended::Fails(error)) => return on_first_document(error, &mut inbox),
    };
    let mut ended = match try_first(&mut trial, &mut inbox) {
        Ok(ended) => ended,
        Err(Ended::Fails(error)) => return Judged::Fails(error),
        Err(Ended::Unknown) => Tried::InPart,
    };
    while ended == Tried::SoFar {
        ended = match inbox.blocking_recv() {
            None => Tried::InPart,
            Some(Page::End) => Tried::All,
            Some(Page::Documents(body)) => match try_pages(&mut trial, &[body], Order::AsListed) {
                Ok(()) => Tried::SoFar,
                Err(Ended::Fails(error)) => return Judged::Fails(error),
                Err(Ended::Unknown) => Tried::InPart,
            },
        };
    }
    match trial.finish(ended == Tried::All) {
        Ok(program) => Judged::Sends(program),
        Err(error) => Judged::Fails(error),
    }
}

/// Tries what fits into [`ORDERED`], in the order of writing if that is all.
fn try_first(trial: &mut Trial, inbox: &mut mpsc::Receiver<Page>) -> Result<Tried, Ended> {
    let (mut pages, mut bytes) = (Vec::new(), 0);
    while bytes <= ORDERED {
        match inbox.blocking_recv() {
            None => break,
            Some(Page::End) => {
                try_pages(trial, &pages, Order::AsWritten)?;
                return Ok(Tried::All);
            }
            Some(Page::Documents(body)) => {
                bytes += body.len();
                pages.push(body);
            }
        }
    }
    try_pages(trial, &pages, Order::AsListed)?;
    Ok(Tried::SoFar)
}

fn try_pages(trial: &mut Trial, pages: &[Bytes], order: Order) -> Result<(), Ended> {
    let mut documents: Vec<&RawValue> = Vec::new();
    for page in pages {
        documents.extend(serde_json::from_slice::<Documents<'_>>(page).map_err(|_| Ended::Unknown)?.results);
    }
    match order {
        Order::AsListed => {}
        Order::AsWritten => documents.sort_by_cached_key(|document| written(document)),
    }
    documents.into_iter().try_for_each(|document| trial.take(document.get()))
}

/// When a document was written, as text that orders as the moments do.
fn written(document: &RawValue) -> String {
    let parsed = Document::parse(document.get()).ok();
    let place = parsed.as_ref().and_then(|document| document.fields().iter().find(|(name, _)| name == WRITTEN_FIELD));
    place.map(|(_, value)| value.get().to_owned()).unwrap_or_default()
}

/// The engine compiles a function for documents only.
fn on_first_document(error: FunctionError, inbox: &mut mpsc::Receiver<Page>) -> Judged {
    match inbox.blocking_recv() {
        Some(Page::Documents(_)) => Judged::Fails(error),
        Some(Page::End) | None => Judged::Sends(Program::AsItIs),
    }
}

// === impl Asked ===

impl Asked {
    fn of(intent: &WriteIntent) -> Self {
        let original =
            intent.details.as_ref().and_then(|details| details.get("originalFilter")).and_then(Value::as_str);
        let filter = original.and_then(|filter| serde_json::from_str::<Value>(filter).ok());
        Self {
            index: intent.index_uid.clone().unwrap_or_default(),
            filter_is_text: filter.as_ref().and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty()),
        }
    }

    /// Engines that name the index before what is wrong with a filter do so for a text, and not for what stands in a list.
    fn refusal(&self, mut error: ResponseError, version: &str) -> ResponseError {
        let named = format!("Index `{}`: ", self.index);
        // What is no filter of such a request at all is told with the index already.
        let is_told = error.message.starts_with(&named);
        if self.filter_is_text && !is_told && error.is(Code::InvalidDocumentFilter) && names_index_of_edit(version) {
            error.message.insert_str(0, &named);
        }
        error
    }
}

// === impl Edit ===

impl Edit {
    /// `None` for what nodes refuse, and for an index without documents.
    fn of(writes: &Writes, intent: &WriteIntent) -> Option<Self> {
        let index = intent.index_uid.clone()?;
        let primary_key = writes.ledger.registry.entry(&index)?.primary_key?;
        let [step] = intent.steps.as_slice() else { return None };
        let StepBody::Json(body) = &step.body else { return None };
        if body.as_object()?.keys().any(|key| !FIELDS.contains(&key.as_str())) {
            return None;
        }
        let context = match body.get("context") {
            None | Some(Value::Null) => None,
            Some(context) => Some(context.as_object()?.clone()),
        };
        Some(Self {
            index,
            primary_key,
            filter: body.get("filter")?.clone(),
            shards: step.shards.clone(),
            function: body.get("function")?.as_str()?.to_owned(),
            context,
        })
    }

    /// Makes the steps of `intent` send `program`.
    fn prepare(&self, intent: &mut WriteIntent, program: Program) -> Result<(), ResponseError> {
        match program {
            Program::AsItIs => Ok(()),
            Program::Guarded => {
                for step in &mut intent.steps {
                    if let StepBody::Json(body) = &mut step.body {
                        body["function"] = guarded(&self.function).into();
                    }
                }
                Ok(())
            }
            Program::None => Err(ResponseError::new(
                Code::MiroirNotSupported,
                "The function makes `doc` anew or looks at all its fields, and also returns early. Miroir's own fields would \
                 be lost: leave out `return`, or change the fields of `doc` one by one.",
            )),
        }
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Whichever node is read first, and in how many pages.
    #[test]
    fn of_several_documents_that_fail_the_first_written_is_named() {
        let page = |id: u8, place: &str| {
            let listed = json!({"results": [{"id": id, "n": id, WRITTEN_FIELD: place}]});
            Page::Documents(Bytes::from(listed.to_string()))
        };
        let edit = Edit {
            index: "films".to_owned(),
            primary_key: "id".to_owned(),
            filter: Value::Null,
            shards: ShardSet::default(),
            function: "throw doc.id".to_owned(),
            context: None,
        };
        let (pages, inbox) = mpsc::channel(4);
        for page in [page(29, "1_2"), page(8, "1_1"), page(30, "1_3"), Page::End] {
            assert!(pages.try_send(page).is_ok());
        }
        let judged = judge(&edit, DocumentRules::default(), Arc::default(), inbox);
        assert!(matches!(&judged, Judged::Fails(error) if error.to_string().contains("error: 8 ")), "{judged:?}");
    }

    #[test]
    fn what_is_wrong_with_a_filter_is_said_as_of_a_text() {
        let said = |filter_is_text, code, version| {
            let asked = Asked { index: "a".to_owned(), filter_is_text };
            asked.refusal(ResponseError::new(code, "Was expecting a value."), version).message
        };
        assert_eq!(said(true, Code::InvalidDocumentFilter, "1.50.0"), "Index `a`: Was expecting a value.");
        for (filter_is_text, code, version) in [
            (false, Code::InvalidDocumentFilter, "1.50.0"),
            (true, Code::BadRequest, "1.50.0"),
            (true, Code::InvalidDocumentFilter, "1.15.2"),
        ] {
            assert_eq!(said(filter_is_text, code, version), "Was expecting a value.");
        }
    }
}
