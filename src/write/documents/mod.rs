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

mod collect;
mod delete;
mod edit;
mod edited;
mod finish;
mod redistribute;
mod rules;
mod steps;

use std::sync::Arc;

use futures::future::join;

use self::collect::{BatchError, Collected, Collector, Source};
pub use self::delete::delete;
pub use self::edit::edit;
pub use self::finish::finish;
use self::steps::Addition;
use super::body::{BodySource, Content, ContentEncoding, DecodedBody};
use super::vocabulary;
use crate::cluster::Cluster;
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::DocumentMethod;
use crate::nodes::client::Trace;
use crate::nodes::overload::metrics::Rejection;
use crate::placement::topology::{NodeIx, Topology};
use crate::plan::addition::{Split, missing_payload};
use crate::split::PayloadFormat;
use crate::split::primary_key::IdError;
use crate::split::rules::{DocumentRules, Meets};
use crate::tasks::entry::MiroirTask;

/// A request that adds documents.
#[derive(Debug, Clone)]
pub struct AddDocuments {
    pub split: Split,
    pub content_encoding: Option<String>,
    /// How many bytes the body may have, unpacked; 0 for no limit.
    pub limit: u64,
}

/// Reads `body` to its end and hands its documents, each with its shard, to the nodes that own them. A body that is
/// not whole and well-formed is the client's error, and nothing happens; a document that the engine would refuse makes
/// the whole batch a failed task.
pub async fn add(
    cluster: &Arc<Cluster>,
    topology: Arc<Topology>,
    request: AddDocuments,
    body: &mut dyn BodySource,
    trace: &Trace,
) -> Result<MiroirTask, ResponseError> {
    let AddDocuments { split: Split { index, method, params, format }, content_encoding, limit } = request;
    let encoding = ContentEncoding::parse(content_encoding.as_deref());

    // Held while a slow body is read: nothing must wait for that.
    let topology = topology.detached();
    let stored_key = || cluster.registry.entry(&index).and_then(|entry| entry.primary_key);
    let at_start = stored_key();
    let settings = &cluster.settings.write;
    let batches = &cluster.writer.batches;
    let rules = rules::of_index(cluster, &index, trace).await;
    let collector = match (&at_start, &params.primary_key) {
        (Some(stored), Some(wanted)) if stored != wanted => {
            Collector::refusing(&topology, settings, batches, IdError::Changed { stored: stored.clone() })
        }
        (Some(key), _) | (None, Some(key)) => Collector::new(&topology, settings, batches, key.clone()),
        (None, None) => Collector::guessing(&topology, settings, batches),
    };
    let watched = cluster.writer.watchers.is_watched(&index);
    let mut decoded = DecodedBody::new(body, encoding, Content::Documents, limit);
    let exists = cluster.registry.exists(&index);
    let budget = &cluster.overload.spools;
    let words = async || vocabulary::gatherer(cluster, &topology, &index, trace).await;
    let collector =
        prepared(cluster, collector, method, &rules).gathering_keys(watched).gathering_words(words().await, budget);
    let collected = collector.read(Source::Body(&mut decoded), format).await;
    let collected = counted(cluster, collected)?.ok_or_else(|| missing_payload(format))?;

    let at_end = stored_key();
    let mut collected = match &at_end {
        Some(stored) => {
            let again = Collector::new(&topology, settings, batches, stored.clone());
            let again = prepared(cluster, again, method, &rules);
            let again = again.gathering_keys(watched).gathering_words(words().await, budget);
            counted(cluster, settle_key(collected, stored, again).await)?
        }
        None => collected,
    };

    let addition =
        Addition { index, method, custom_metadata: params.custom_metadata, sets_primary_key: at_end.is_none() };
    if collected.error.is_none() {
        collected.error = rules::missing_vectors(cluster, &addition.index, &collected, trace).await;
    }
    if let Some(error) = &collected.error {
        let intent = addition.refused(&collected);
        let error = error.to_response(&addition.index);
        return cluster.writer.record_failed(cluster, intent, error, trace).await;
    }
    let words = collected.words.take().zip(collected.primary_key.clone());
    let Some((words, primary_key)) = words else {
        return submit(cluster, &addition, collected, topology, trace).await.map(|(task, _)| task);
    };
    // Nodes that get documents get the words with them.
    let have: Vec<NodeIx> = collected.parts.iter().map(|part| part.node).collect();
    let spread = |have| vocabulary::spread(cluster, &addition.index, &primary_key, &words, have, trace);
    let (task, moved) = if exists {
        join(submit(cluster, &addition, collected, topology, trace), spread(&have)).await.0?
    } else {
        let submitted = submit(cluster, &addition, collected, topology, trace).await?;
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

/// Hands the documents to their nodes, by the owners that shards have at the moment. True if these were others than when the
/// documents were collected.
async fn submit(
    cluster: &Arc<Cluster>,
    addition: &Addition,
    mut collected: Collected,
    mut topology: Arc<Topology>,
    trace: &Trace,
) -> Result<(MiroirTask, bool), ResponseError> {
    let settings = &cluster.settings.write;
    let mut moved = false;
    loop {
        let (intent, spools) = addition.clone().intent(collected.clone(), &topology);
        let newer = match cluster.writer.submit_keys(cluster, intent, spools, collected.keys.clone(), trace).await {
            Err(error) if error.is(Code::MiroirLayoutChanged) => cluster.topology().detached(),
            result => return result.map(|task| (task, moved)),
        };
        let budget = &cluster.overload.spools;
        let parts = redistribute::redistribute(&collected.parts, &topology, &newer, settings, budget).await;
        collected.parts = counted(cluster, parts)?;
        topology = newer;
        moved = true;
    }
}

fn prepared<'a>(
    cluster: &Cluster,
    collector: Collector<'a>,
    method: DocumentMethod,
    rules: &DocumentRules,
) -> Collector<'a> {
    let meets = match method {
        DocumentMethod::Replace => Meets::Replacing,
        DocumentMethod::Update => Meets::LaidOver,
    };
    collector.within(&cluster.overload.spools).checking(rules.clone(), meets)
}

/// Counts a body that was turned away because the spools are full.
fn counted<T>(cluster: &Cluster, read: Result<T, ResponseError>) -> Result<T, ResponseError> {
    if read.as_ref().is_err_and(|error| error.is(Code::MiroirOverloaded)) {
        cluster.overload.metrics.rejected(Rejection::Spools).inc();
    }
    read
}

/// Makes up for a key that the index was given while the body was read; `by_stored` splits by that key.
async fn settle_key(collected: Collected, stored: &str, by_stored: Collector<'_>) -> Result<Collected, ResponseError> {
    if collected.primary_key.as_deref() == Some(stored) {
        return Ok(collected);
    }
    let again = match &collected.unsplit {
        Some(unsplit) => {
            let by_stored = by_stored.gathering_keys(collected.keys.is_some());
            by_stored.read(Source::Spools(unsplit), PayloadFormat::Ndjson).await?
        }
        None if collected.error.is_some() => return Ok(collected),
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
