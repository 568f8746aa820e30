//! Additions that skip the documents which the index does not have (`skipCreation`).
//!
//! What the index has is known once all writes that came before have been carried out. So the body is kept, the index is held
//! back for others, its nodes' queues run empty, the ids are looked up, and only then are documents shared out: nothing comes
//! between the look and the write. No engine is asked to skip anything, so nodes of any version will do.
//!
//! Example: the index has 1; `[{"id":1},{"id":2}]` writes 1 and counts 2, as the engine counts what it was given.

use std::collections::HashSet;
use std::sync::Arc;

use super::collect::{BatchError, Collected, Collector, Source};
use super::steps::Addition;
use super::{counted, prepared, rules};
use crate::meili::error::{Code, ResponseError};
use crate::nodes::client::Trace;
use crate::nodes::lanes::Hold;
use crate::nodes::node_queue;
use crate::placement::cover::cover;
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeIx, Topology};
use crate::split::PayloadFormat;
use crate::split::primary_key::IdError;
use crate::tasks::entry::MiroirTask;
use crate::write::part::Writes;
use crate::write::vocabulary;

/// So many ids are looked up at once.
const ASKED_AT_ONCE: usize = 1000;
/// So often it is begun again when shards move meanwhile.
const ATTEMPTS: usize = 5;

/// A body whose documents have not been looked up yet.
struct Kept<'a> {
    body: &'a Collected,
    /// True when the client has said which field is the primary key.
    named_key: bool,
}

/// Whether others may write to the index meanwhile.
#[derive(Clone, Copy)]
pub(super) enum Others<'a> {
    Write,
    Wait(&'a Hold),
}

/// Collects the ids of `source`, which is the request's body.
pub(super) async fn listed(
    writes: &Writes,
    collector: Collector<'_>,
    source: Source<'_>,
    format: PayloadFormat,
) -> Result<Option<Collected>, ResponseError> {
    let collector = collector.listing(&writes.settings.get()).within(&writes.nodes.overload.spools);
    counted(writes, collector.read(source, format).await)
}

/// Writes the documents of `body` that the index has.
pub(super) async fn add(
    writes: &Arc<Writes>,
    addition: Addition,
    body: Collected,
    named_key: bool,
    trace: &Trace,
) -> Result<MiroirTask, ResponseError> {
    let kept = Kept { body: &body, named_key };
    drained(writes, &addition.index, Others::Write, trace).await?;
    for _ in 0..ATTEMPTS {
        let hold = writes.order.gates.hold(&addition.index).await;
        drained(writes, &addition.index, Others::Wait(&hold), trace).await?;
        match kept.write(writes, &addition, hold, trace).await {
            Err(error) if error.is(Code::MiroirLayoutChanged) => {}
            result => return result,
        }
    }
    Err(ResponseError::new(Code::MiroirLayoutChanged, "Shards moved while the documents were looked up."))
}

/// Returns when every node that may be asked has carried out what it had taken for the index.
pub(super) async fn drained(
    writes: &Writes,
    index: &str,
    others: Others<'_>,
    trace: &Trace,
) -> Result<(), ResponseError> {
    let topology = writes.nodes.topology().detached();
    let asked = topology.members().filter(|node| topology.node(*node).state.serves_reads());
    let drains = asked.map(|node| {
        let node = topology.node(node);
        async move {
            match others {
                Others::Write => node_queue::drain(&writes.nodes, node, index, trace).await,
                Others::Wait(hold) => node_queue::queue_runs_empty(&writes.nodes, node, index, hold, trace).await,
            }
        }
    });
    for drained in futures::future::join_all(drains).await {
        match drained {
            Ok(true) => {}
            Ok(false) => return Err(unknown("earlier writes of the index take too long")),
            Err(_) => return Err(unknown("a node does not say what it has still to do")),
        }
    }
    Ok(())
}

fn unknown(why: &str) -> ResponseError {
    ResponseError::new(Code::MiroirNoReplica, format!("It cannot be known which documents the index has: {why}."))
}

// === impl Kept ===

impl Kept<'_> {
    async fn write(
        &self,
        writes: &Arc<Writes>,
        addition: &Addition,
        hold: Hold,
        trace: &Trace,
    ) -> Result<MiroirTask, ResponseError> {
        let topology = writes.nodes.topology().detached();
        let stored = writes.ledger.registry.entry(&addition.index).and_then(|entry| entry.primary_key);
        let addition = Addition { sets_primary_key: stored.is_none(), ..addition.clone() };
        let again = self.by_key(writes, &topology, stored.as_deref()).await?;
        let body = again.as_ref().unwrap_or(self.body);
        if let Some(error) = &body.error {
            drop(hold);
            let failed = error.to_response(&addition.index);
            return writes.record_failed(addition.refused(body), failed, trace).await;
        }
        let existing = match &stored {
            Some(key) => existing(writes, &topology, &addition.index, key, body, trace).await?,
            // Without a key it has no documents.
            None => HashSet::new(),
        };
        let mut collected = self.taken(writes, &topology, &addition, body, existing, trace).await?;
        // The engine counts what it was given.
        collected.checked.documents = body.ids.by_shard.clone();
        if let Some(error) = &collected.error {
            drop(hold);
            let failed = error.to_response(&addition.index);
            return writes.record_failed(addition.refused(&collected), failed, trace).await;
        }
        let words = collected.words.take().zip(collected.primary_key.clone());
        let have: Vec<NodeIx> = collected.parts.iter().map(|part| part.node).collect();
        let keys = collected.keys.clone();
        let index = addition.index.clone();
        let (intent, spools) = addition.intent(collected, &topology);
        let task = writes.submit_keys_held(intent, spools, keys, hold, trace).await?;
        if let Some((words, primary_key)) = words {
            vocabulary::spread(writes, &index, &primary_key, &words, &have, trace).await;
            if task.parts.iter().any(|part| part.task_uid.is_none()) {
                words.missed();
            }
            words.known();
        }
        Ok(task)
    }

    /// The ids by the key that the index has by now, if they were listed by another.
    async fn by_key(
        &self,
        writes: &Writes,
        topology: &Topology,
        stored: Option<&str>,
    ) -> Result<Option<Collected>, ResponseError> {
        let Some(stored) = stored.filter(|stored| self.body.primary_key.as_deref() != Some(stored)) else {
            return Ok(None);
        };
        if self.named_key && self.body.received > 0 {
            let error = Some(BatchError::Id(IdError::Changed { stored: stored.to_owned() }));
            return Ok(Some(Collected { error, ..self.body.clone() }));
        }
        let Some(spools) = &self.body.unsplit else { return Ok(None) };
        let by_stored = Collector::new(topology, &writes.settings.get(), &writes.order.batches, stored.to_owned());
        let again = listed(writes, by_stored, Source::Spools(spools), PayloadFormat::Ndjson).await?;
        // A body without documents leaves nothing to list again.
        Ok(again.map(|again| Collected { unsplit: Some(spools.clone()), ..again }))
    }

    /// The documents of `body` that are among `existing`, shared out.
    async fn taken(
        &self,
        writes: &Arc<Writes>,
        topology: &Topology,
        addition: &Addition,
        body: &Collected,
        existing: HashSet<String>,
        trace: &Trace,
    ) -> Result<Collected, ResponseError> {
        let (Some(key), Some(spools), false) = (&body.primary_key, &body.unsplit, existing.is_empty()) else {
            return Ok(body.clone());
        };
        let index = &addition.index;
        let rules = rules::of_index(writes, index, trace).await;
        let words = vocabulary::gatherer(writes, topology, index, trace).await;
        let collector = Collector::new(topology, &writes.settings.get(), &writes.order.batches, key.clone());
        let collector = prepared(writes, collector, addition.method, &rules)
            .gathering_keys(writes.ledger.watchers.is_watched(index))
            .gathering_words(words, &writes.nodes.overload.spools)
            .only(existing);
        let taken = counted(writes, collector.read(Source::Spools(spools), PayloadFormat::Ndjson).await)?;
        Ok(taken.unwrap_or_else(|| body.clone()))
    }
}

/// Those ids of `body` that the index has.
async fn existing(
    writes: &Writes,
    topology: &Topology,
    index: &str,
    primary_key: &str,
    body: &Collected,
    trace: &Trace,
) -> Result<HashSet<String>, ResponseError> {
    let wanted: ShardSet = body.ids.by_shard.keys().copied().collect();
    if !cover(topology, index, &wanted, &[], 0).missing.is_empty() {
        return Err(unknown("no replica answers for some shards"));
    }
    let ids: Vec<&str> = body.ids.ids.iter().map(String::as_str).collect();
    let mut existing = HashSet::new();
    for some in ids.chunks(ASKED_AT_ONCE) {
        let known = rules::known(writes, index, primary_key, some, trace).await;
        existing.extend(known.ok_or_else(|| unknown("a node that was asked gave no answer"))?);
    }
    Ok(existing)
}
