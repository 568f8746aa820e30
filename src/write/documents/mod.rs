//! Document writes: a body becomes one NDJSON payload per node, and the payloads one write.
//!
//! # The primary key
//!
//! A shard is a hash of the id, so the key must be known before the first document is placed. The index's own key
//! counts first, then `?primaryKey=`, then a guess from the first document. Nothing is locked while a body is read, so
//! another first batch may set the key meanwhile. Therefore the registry is asked again when the body has been read: a
//! guessed key gives way to the registry's, and the documents, kept unsplit for this case, are split again; a key that
//! the client named makes the batch fail, as in the engine. In the moment that remains until the write takes its place,
//! the nodes decide: every payload names the key it was split by, and a node with another key fails it, on every
//! replica alike, because all see the same order.
//!
//! | module | what lives there |
//! |---|---|
//! | `collect` | reads a body and collects each document, with its shard, for the nodes that own it |
//! | `delete` | deletes documents by id |
//! | `edit` | edits by a function, tried on the documents before any node gets the function |
//! | `edited` | reads the documents that an edit by a function would run on, each whole, in pages of bounded size |
//! | `existing` | additions that skip the documents which the index does not have |
//! | `finish` | the rest of a task that ended in part |
//! | `ids` | the ids of a body, each once |
//! | `matching` | deletions by a filter, which is tried before any node gets the deletion |
//! | `payloads` | what each node will be sent of a body, kept until the body has been read |
//! | `redistribute` | shares collected documents out anew, when shards got other owners between the reading of a body and its place in the order |
//! | `rules` | what documents of an index must be, by its settings, and what of it only its nodes can tell |
//! | `slips` | what documents of the index have that may be a slip for `_vectors` |
//! | `steps` | the write that a collected batch becomes |
//! | `unlike` | changes whose filter nodes would understand otherwise where they do not know the same fields |

mod collect;
mod delete;
mod edit;
mod edited;
mod existing;
mod finish;
mod ids;
mod matching;
mod payloads;
mod redistribute;
pub(super) mod rules;
mod slips;
mod steps;
mod unlike;

use std::sync::Arc;

use futures::future::join;

use self::collect::{BatchError, Collected, Collector, Source};
pub use self::delete::delete;
pub use self::edit::edit;
pub use self::finish::finish;
pub use self::matching::refused_filter;
use self::steps::Addition;
pub use self::unlike::deletion_alike;
use super::body::{BodySource, Content, ContentEncoding, DecodedBody};
use super::vocabulary;
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::DocumentMethod;
use crate::meili::uid::index_not_found;
use crate::nodes::client::Trace;
use crate::nodes::overload::metrics::Rejection;
use crate::placement::topology::{NodeIx, Topology};
use crate::plan::addition::{Missing, Split, missing_payload};
use crate::rules::making::Making;
use crate::split::PayloadFormat;
use crate::split::primary_key::IdError;
use crate::split::rules::{DocumentRules, Meets};
use crate::tasks::entry::MiroirTask;
use crate::write::part::Writes;

/// A request that adds documents.
#[derive(Debug, Clone)]
pub struct AddDocuments {
    pub split: Split,
    pub content_encoding: Option<String>,
    /// How many bytes the body may have, unpacked; 0 for no limit.
    pub limit: u64,
    /// Whether the client may create the index, should it not be there: else the addition is a task that fails.
    pub may_create: bool,
    /// What is made of each document before anything else.
    pub makings: Arc<[Making]>,
}

/// Reads `body` to its end and hands its documents, each with its shard, to the nodes that own them. A body that is
/// not whole and well-formed is the client's error, and nothing happens; a document that the engine would refuse makes
/// the whole batch a failed task.
pub async fn add(
    writes: &Arc<Writes>,
    topology: Arc<Topology>,
    request: AddDocuments,
    body: &mut dyn BodySource,
    trace: &Trace,
) -> Result<MiroirTask, ResponseError> {
    let AddDocuments { split: Split { index, method, params, format }, content_encoding, limit, may_create, makings } =
        request;
    let encoding = ContentEncoding::parse(content_encoding.as_deref());

    // Held while a slow body is read: nothing must wait for that.
    let topology = topology.detached();
    let stored_key = || writes.ledger.registry.entry(&index).and_then(|entry| entry.primary_key);
    let at_start = stored_key();
    let settings = &writes.settings.keep();
    let batches = &writes.order.batches;
    let rules = rules::of_index(writes, &index, trace).await;
    let collector = match (&at_start, &params.primary_key) {
        (Some(stored), Some(wanted)) if stored != wanted => {
            Collector::refusing(&topology, settings, batches, IdError::Changed { stored: stored.clone() })
        }
        (Some(key), _) | (None, Some(key)) => Collector::new(&topology, settings, batches, key.clone()),
        (None, None) => Collector::guessing(&topology, settings, batches),
    };
    let collector = collector.making(makings);
    let mut decoded = DecodedBody::new(body, encoding, Content::Documents, limit);
    if params.missing == Missing::Skipped {
        let body = existing::listed(writes, collector, Source::Body(&mut decoded), format).await?;
        let body = body.ok_or_else(|| missing_payload(format))?;
        let named_key = params.primary_key.is_some();
        let sets_primary_key = at_start.is_none();
        let addition = Addition { index, method, custom_metadata: params.custom_metadata, sets_primary_key };
        if !may_create && !writes.ledger.registry.exists(&addition.index) {
            return not_created(writes, &addition, &body, trace).await;
        }
        return existing::add(writes, addition, body, named_key, trace).await;
    }
    let watched = writes.ledger.watchers.is_watched(&index);
    let exists = writes.ledger.registry.exists(&index);
    let budget = &writes.nodes.overload.spools;
    let words = async || vocabulary::gatherer(writes, &topology, &index, trace).await;
    let collector =
        prepared(writes, collector, method, &rules).gathering_keys(watched).gathering_words(words().await, budget);
    let collected = collector.read(Source::Body(&mut decoded), format).await;
    let collected = counted(writes, collected)?.ok_or_else(|| missing_payload(format))?;

    let at_end = stored_key();
    let mut collected = match &at_end {
        Some(stored) => {
            let again = Collector::new(&topology, settings, batches, stored.clone());
            let again = prepared(writes, again, method, &rules);
            let again = again.gathering_keys(watched).gathering_words(words().await, budget);
            counted(writes, split_by_stored(collected, stored, again).await)?
        }
        None => collected,
    };

    let addition =
        Addition { index, method, custom_metadata: params.custom_metadata, sets_primary_key: at_end.is_none() };
    if !may_create && !writes.ledger.registry.exists(&addition.index) {
        return not_created(writes, &addition, &collected, trace).await;
    }
    if collected.error.is_none() {
        let meets = meets(method);
        collected.error = rules::missing_vectors(writes, &addition.index, meets, &collected, trace).await;
    }
    if let Some(error) = &collected.error {
        let intent = addition.refused(&collected);
        let error = error.to_response(&addition.index);
        return writes.record_failed(intent, error, trace).await;
    }
    let words = collected.words.take().zip(collected.primary_key.clone());
    let Some((words, primary_key)) = words else {
        return submit(writes, &addition, &rules, collected, topology, trace).await.map(|(task, _)| task);
    };
    // Nodes that get documents get the words with them.
    let have: Vec<NodeIx> = collected.parts.iter().map(|part| part.node).collect();
    let spread = |have| vocabulary::spread(writes, &addition.index, &primary_key, &words, have, trace);
    let (task, moved) = if exists {
        join(submit(writes, &addition, &rules, collected, topology, trace), spread(&have)).await.0?
    } else {
        let submitted = submit(writes, &addition, &rules, collected, topology, trace).await?;
        spread(&have).await;
        submitted
    };
    if moved {
        spread(&[]).await;
    }
    // A node that has not taken its documents has not taken their words, either.
    if task.parts.iter().any(|part| part.task_uid.is_none()) {
        words.missed();
    }
    words.known();
    Ok(task)
}

/// The task of an addition to an index that is not there, by a client that may not create it.
async fn not_created(
    writes: &Arc<Writes>,
    addition: &Addition,
    body: &Collected,
    trace: &Trace,
) -> Result<MiroirTask, ResponseError> {
    let intent = addition.refused(body).creating_nothing();
    writes.record_failed(intent, index_not_found(&addition.index), trace).await
}

/// Hands the documents to their nodes, by the owners that shards have at the moment. True if these were others than when the
/// documents were collected.
async fn submit(
    writes: &Arc<Writes>,
    addition: &Addition,
    rules: &DocumentRules,
    mut collected: Collected,
    mut topology: Arc<Topology>,
    trace: &Trace,
) -> Result<(MiroirTask, bool), ResponseError> {
    let settings = &writes.settings.keep();
    let mut moved = false;
    loop {
        let (intent, spools) = addition.clone().intent(collected.clone(), &topology);
        let judged = rules.clone();
        let newer = match writes.submit_judged(intent, spools, collected.keys.clone(), judged, trace).await {
            Err(error) if error.is(Code::MiroirLayoutChanged) => writes.nodes.topology().detached(),
            result => return result.map(|task| (task, moved)),
        };
        let budget = &writes.nodes.overload.spools;
        let parts = redistribute::redistribute(&collected.parts, &topology, &newer, settings, budget).await;
        collected.parts = counted(writes, parts)?;
        topology = newer;
        moved = true;
    }
}

fn prepared<'a>(
    writes: &Writes,
    collector: Collector<'a>,
    method: DocumentMethod,
    rules: &DocumentRules,
) -> Collector<'a> {
    collector.within(&writes.nodes.overload.spools).checking(rules.clone(), meets(method))
}

fn meets(method: DocumentMethod) -> Meets {
    match method {
        DocumentMethod::Replace => Meets::Replacing,
        DocumentMethod::Update => Meets::LaidOver,
    }
}

/// Counts a body that was turned away because the spools are full.
fn counted<T>(writes: &Writes, read: Result<T, ResponseError>) -> Result<T, ResponseError> {
    if read.as_ref().is_err_and(|error| error.is(Code::MiroirOverloaded)) {
        writes.nodes.overload.metrics.rejected(Rejection::Spools).inc();
    }
    read
}

/// Makes up for a key that the index was given while the body was read; `by_stored` splits by that key.
async fn split_by_stored(
    collected: Collected,
    stored: &str,
    by_stored: Collector<'_>,
) -> Result<Collected, ResponseError> {
    if collected.primary_key.as_deref() == Some(stored) {
        return Ok(collected);
    }
    let again = match &collected.unsplit {
        Some(unsplit) => {
            let by_stored = by_stored.gathering_keys(collected.keys.is_some());
            by_stored.read(Source::Spools(unsplit), PayloadFormat::Ndjson).await?
        }
        None if collected.error.is_some() => return Ok(collected),
        None if collected.received == 0 => {
            return Ok(Collected { primary_key: Some(stored.to_owned()), ..collected });
        }
        None => {
            return Ok(Collected {
                error: Some(BatchError::Id(IdError::Changed { stored: stored.to_owned() })),
                ..collected
            });
        }
    };
    // A body without documents leaves nothing to split again.
    Ok(again.unwrap_or(collected))
}

#[cfg(test)]
mod tests;
