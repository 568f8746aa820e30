//! What documents of an index must be, by its settings, and what of it only its nodes can tell.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::collect::{BatchError, Collected};
use super::slips;
use crate::meili::task::TaskKind;
use crate::nodes::client::{OWN_QUESTION, Subrequest, Trace};
use crate::placement::cover::cover;
use crate::placement::document::shard_of;
use crate::placement::shard::ShardSet;
use crate::split::Document;
use crate::split::primary_key::document_id;
use crate::split::rules::{self, DocumentRules, Lacking, Meets};
use crate::split::vectors::VectorsError;
use crate::write::part::Writes;

/// So many documents are looked for at once.
const ASKED_AT_ONCE: usize = 1000;

/// How long a change of rules is waited for, and how often it is looked at.
const CHANGE: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The tasks after which an index may have other rules.
const CHANGES_OF_RULES: [TaskKind; 2] = [TaskKind::SettingsUpdate, TaskKind::IndexDeletion];

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

/// What the settings of `index` say of its documents; nothing while they are about to change, and where no node can say:
/// then the nodes' own checks remain.
pub(super) async fn of_index(writes: &Writes, index: &str, trace: &Trace) -> DocumentRules {
    let nothing = DocumentRules::default();
    if !writes.ledger.registry.exists(index) {
        return nothing;
    }
    let stated = async || writes.ledger.info(index, trace).await.map(|info| info.rules.clone());
    match stated().await {
        Ok(rules) if rules == nothing => nothing,
        Ok(_) if changes(writes, index) => nothing,
        // Once more: what was read before may be older than a task that has ended meanwhile.
        Ok(_) => stated().await.unwrap_or(nothing),
        Err(_) => nothing,
    }
}

/// The rules that documents of `index` are judged by, and surely will be by its nodes: no change of them is on its way. `None`
/// where that is not known, and for an index with embedders, of which nobody knows what they refuse. No node is asked: writes
/// to other nodes wait for this.
pub(in crate::write) fn settled_rules(writes: &Writes, index: &str) -> Option<DocumentRules> {
    if changes(writes, index) {
        return None;
    }
    let info = writes.ledger.known_info(index)?;
    (!info.words.embeds).then(|| info.rules.clone())
}

/// [`of_index`] once the changes of rules that are under way have ended, or have not for [`CHANGE`].
pub(super) async fn after_changes(writes: &Writes, index: &str, trace: &Trace) -> DocumentRules {
    changes_end(writes, index).await;
    of_index(writes, index, trace).await
}

/// Returns when the changes of rules that are under way have ended, or have not for [`CHANGE`].
pub(super) async fn changes_end(writes: &Writes, index: &str) {
    let ended = async {
        while changes(writes, index) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    if tokio::time::timeout(CHANGE, ended).await.is_err() {
        tracing::debug!(index, "the rules of an index are about to change");
    }
}

/// Why a batch fails some of whose documents lack vectors: a new document must give them, one that is there keeps its own.
/// `None` where it cannot be known which of them are new, because other writes are under way or nobody can say.
pub(super) async fn missing_vectors(
    writes: &Writes,
    index: &str,
    meets: Meets,
    collected: &Collected,
    trace: &Trace,
) -> Option<BatchError> {
    let lacking = &collected.checked.lacking;
    let primary_key = collected.primary_key.as_deref()?;
    if lacking.is_empty() || writes.ledger.store.has_open_tasks(index, None) {
        return None;
    }
    for some in lacking.chunks(ASKED_AT_ONCE) {
        let ids: Vec<&str> = some.iter().map(|document| document.id.as_str()).collect();
        let known = known(writes, index, primary_key, &ids, trace).await?;
        let new: Vec<Lacking> = some.iter().filter(|document| !known.contains(&document.id)).cloned().collect();
        if let Some(mut refusal) = rules::missing_vectors(&new, &collected.checked.slips) {
            if let VectorsError::Missing { hints, .. } = &mut refusal {
                slips::of_index(writes, index, meets, (&collected.checked, primary_key), &mut hints.fields, trace)
                    .await;
            }
            return Some(BatchError::Document(refusal.into()));
        }
    }
    None
}

/// Those of `ids` that the index has; `None` where nobody can say.
pub(super) async fn known(
    writes: &Writes,
    index: &str,
    primary_key: &str,
    ids: &[&str],
    trace: &Trace,
) -> Option<HashSet<String>> {
    held(writes, index, primary_key, (ids, &[]), trace).await.map(|held| held.into_keys().collect())
}

/// As [`known`], each with those of `fields` that it has.
pub(super) async fn held(
    writes: &Writes,
    index: &str,
    primary_key: &str,
    (ids, fields): (&[&str], &[&str]),
    trace: &Trace,
) -> Option<HashMap<String, Vec<String>>> {
    let topology = writes.nodes.topology();
    let place = |id: &str| shard_of(id, topology.shards);
    let wanted: ShardSet = ids.iter().map(|id| place(id)).collect();
    let cover = cover(&topology, index, &wanted, &[], 0);
    if !cover.missing.is_empty() {
        return None;
    }
    let shown: Vec<&str> = fields.iter().copied().chain([primary_key]).collect();
    let mut held = HashMap::new();
    for part in &cover.parts {
        let here: Vec<&str> = ids.iter().copied().filter(|id| part.shards.contains(place(id))).collect();
        let body = json!({"ids": here, "fields": shown, "limit": here.len()}).to_string();
        let path = format!("/indexes/{index}/documents/fetch");
        let request = Subrequest::json(Method::POST, path, Bytes::from(body), OWN_QUESTION, true);
        let reply = writes.nodes.client.send(topology.node(part.node), request, trace).await.ok()?;
        if !reply.is_success() {
            return None;
        }
        let page: Page<'_> = serde_json::from_slice(&reply.body).ok()?;
        for document in page.results {
            let document = Document::parse(document.get()).ok()?;
            let names = document.fields().iter().map(|(name, _)| name.to_string());
            let names = names.filter(|name| fields.contains(&name.as_str())).collect();
            held.insert(document_id(&document, primary_key).ok()?.into_owned(), names);
        }
    }
    Some(held)
}

/// True if tasks of `index` after which it may have other rules have not ended yet.
fn changes(writes: &Writes, index: &str) -> bool {
    writes.ledger.store.has_open_tasks(index, Some(&CHANGES_OF_RULES))
}
