//! What a write does about words before it is sent: it gathers those that are new, or takes all away.

use std::sync::Arc;

use futures::future::join_all;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::gather::Gatherer;
use super::nodes::Held;
use super::{Durable, Tended, keep, nodes, parted};
use crate::meili::task::{DocumentsChange, TaskKind};
use crate::nodes::client::Trace;
use crate::placement::topology::{Node, Topology};
use crate::placement::vocabulary::SharedWords;
use crate::placement::vocabulary::words_id;
use crate::plan::write::{Target, WriteIntent};
use crate::split::words::WordRules;
use crate::write::part::Writes;

/// Takes the documents of words away before all documents are, so that nodes do not count them among those that they delete.
///
/// Nobody reads words of the index anew until what is returned is dropped: they would reach nodes before the change does.
pub async fn make_way(writes: &Arc<Writes>, intent: &WriteIntent, trace: &Trace) -> Option<Tended> {
    if intent.kind == TaskKind::SettingsUpdate {
        return make_way_for_embedders(writes, intent, trace).await;
    }
    let deletes = intent.kind.change_of_documents() == Some(DocumentsChange::Deletion);
    let takes_all = || intent.steps.iter().any(|step| step.method == "DELETE" && step.to == Target::AllNodes);
    let empties = intent.kind == TaskKind::IndexDeletion || (deletes && takes_all());
    let index = intent.index_uid.as_deref().filter(|_| empties)?;
    let primary_key = writes.ledger.registry.entry(index)?.primary_key?;
    let vocabulary = writes.vocabularies.of(index);
    let tended = vocabulary.tended(index).await;
    if vocabulary.state.read().kept.floor.is_none() {
        return tended;
    }
    let floor = writes.order.batches.next().take().map(words_id);
    {
        let mut state = vocabulary.state.write();
        state.forget();
        state.loaded = true;
        state.kept.floor = floor;
        // Should the deletion be refused, the words come back.
        state.doubt();
    }
    if !nodes::remove(writes, &writes.nodes.topology(), index, &primary_key, trace).await {
        vocabulary.state.write().may_differ = true;
    }
    tended
}

/// Embedders are not to see documents of words: an index that gets some shares no words any more.
async fn make_way_for_embedders(writes: &Arc<Writes>, intent: &WriteIntent, trace: &Trace) -> Option<Tended> {
    let embedders = intent.details.as_ref().and_then(|details| details.get("embedders"));
    if embedders.and_then(Value::as_object).is_none_or(Map::is_empty) {
        return None;
    }
    let index = intent.index_uid.as_deref()?;
    let primary_key = writes.ledger.registry.entry(index)?.primary_key?;
    let vocabulary = writes.vocabularies.of(index);
    let tended = vocabulary.tended(index).await;
    let has_words = vocabulary.state.read().kept.floor.is_some();
    if has_words && nodes::remove(writes, &writes.nodes.topology(), index, &primary_key, trace).await {
        let mut state = vocabulary.state.write();
        state.forget();
        state.looked = true;
        // Should the settings be refused, the words come back.
        state.kept = Durable { floor: None, dirty: true };
        state.last_write = Instant::now();
    }
    tended
}

/// The same on one node that lacked the embedders and gets them now: it took documents of words for want of them.
pub async fn make_way_on(writes: &Writes, node: &Node, index: &str, trace: &Trace) {
    let Some(primary_key) = writes.ledger.registry.entry(index).and_then(|entry| entry.primary_key) else { return };
    let held = Held { writes, node, index, primary_key: &primary_key, trace };
    if let Err(error) = held.delete_all().await {
        tracing::warn!(node = %node.id, index, %error, "documents of words cannot be taken away before embedders come");
    }
    writes.vocabularies.of(index).doubt();
}

/// True if nodes may have words of the index to work off that they were sent by themselves.
pub fn went_alone(writes: &Writes, index: &str) -> bool {
    !writes.vocabularies.of(index).alone.lock().is_empty()
}

/// Keeps what is sent to nodes from here on out of one batch with words that they were sent by themselves ([`Held::end_batch`]).
pub async fn apart_from_words(writes: &Writes, index: &str, trace: &Trace) {
    let Some(primary_key) = writes.ledger.registry.entry(index).and_then(|entry| entry.primary_key) else { return };
    let alone = std::mem::take(&mut *writes.vocabularies.of(index).alone.lock());
    let topology = writes.nodes.topology();
    let with_words = topology.members().filter(|ix| alone.contains(&topology.node(*ix).id));
    let ended = nodes::turns(writes, index, with_words).into_iter().map(|(ix, mut turn)| {
        let held = Held { writes, node: topology.node(ix), index, primary_key: &primary_key, trace };
        async move {
            turn.wait().await;
            if let Err(error) = held.end_batch().await {
                tracing::debug!(node = %held.node.id, index, %error, "what a node counts may be more than there is");
            }
        }
    });
    join_all(ended).await;
}

/// Gathers the new words of a body for `index`; `None` where words are not shared.
pub async fn gatherer(writes: &Arc<Writes>, topology: &Topology, index: &str, trace: &Trace) -> Option<Gatherer> {
    let known = writes.ledger.registry.exists(index);
    let vocabulary = writes.vocabularies.of(index);
    // Should words be shared later, these documents must be read for theirs.
    let unshared = || {
        vocabulary.state.write().doubt();
        None
    };
    if writes.words == SharedWords::No || !parted(topology) {
        return unshared();
    }
    let rules = if known { writes.ledger.info(index, trace).await.ok()?.words.clone() } else { WordRules::default() };
    if rules.embeds {
        return unshared();
    }
    vocabulary.heed(&rules);
    let is_loaded = vocabulary.state.read().loaded;
    if known && !is_loaded {
        // What cannot be read is sent once more.
        keep::load(writes, index, &vocabulary, trace).await;
    }
    Gatherer::new(vocabulary, rules, &writes.settings.get())
}
