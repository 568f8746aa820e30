//! What nodes are asked and sent of documents of words.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use serde_json::{Map, Value, json};

use super::super::send::{allowance, with_stamp};
use super::Text;
use super::gather::Gathered;
use crate::meili::query::QueryMap;
use crate::nodes::client::{SubBody, Subrequest, TaskStatusResponse, Trace};
use crate::nodes::error::{NodeError, NodeErrorKind};
use crate::nodes::spool::Spool;
use crate::nodes::stamp::{COPY_STAMP, STAMP_PARAMETER};
use crate::placement::topology::{Node, NodeIx, Topology};
use crate::placement::vocabulary::{WORDS_FIELD, marked_field, only_words};
use crate::write::coalesce::{self, Way};
use crate::write::parcel::Turn;
use crate::write::part::Writes;

/// How many documents of words are asked for at once.
const PAGE: usize = 200;
/// How many ids are deleted at once.
const IDS: usize = 10_000;

/// The documents of words of one index on one node.
#[derive(Clone, Copy)]
pub(super) struct Held<'a> {
    pub writes: &'a Writes,
    pub node: &'a Node,
    pub index: &'a str,
    pub primary_key: &'a str,
    pub trace: &'a Trace,
}

#[derive(serde::Deserialize)]
struct Page {
    results: Vec<Map<String, Value>>,
    total: u64,
}

// === impl Held ===

impl Held<'_> {
    /// How many there are, and how many documents of clients.
    pub async fn counts(&self) -> Result<(u64, u64), NodeError> {
        let words = self.page(json!({"filter": only_words(), "limit": 0})).await?.total;
        let all = self.page(json!({"limit": 0})).await?.total;
        Ok((words, all.saturating_sub(words)))
    }

    /// The ids of all.
    pub async fn ids(&self) -> Result<BTreeSet<String>, NodeError> {
        let asked = json!({"filter": only_words(), "fields": [self.primary_key], "limit": u32::MAX});
        let page = self.page(asked).await?;
        Ok(page.results.iter().filter_map(|document| self.id(document)).collect())
    }

    /// Those after the first `offset`; none at the end.
    pub async fn texts(&self, offset: usize) -> Result<Vec<Text>, NodeError> {
        let page = self.page(json!({"filter": only_words(), "offset": offset, "limit": PAGE})).await?;
        Ok(page.results.iter().filter_map(|document| Text::of(document, self.primary_key)).collect())
    }

    /// The documents with these ids, a line each.
    pub async fn lines(&self, ids: &[String]) -> Result<Vec<u8>, NodeError> {
        let mut lines = Vec::new();
        for ids in ids.chunks(PAGE) {
            let page = self.page(json!({"ids": ids, "filter": only_words(), "limit": ids.len()})).await?;
            for document in page.results {
                lines.extend_from_slice(Value::Object(document).to_string().as_bytes());
                lines.push(b'\n');
            }
        }
        Ok(lines)
    }

    /// Documents of clients of these shards, whole, after the first `offset`.
    pub async fn documents(&self, filter: &str, offset: usize, limit: usize) -> Result<Bytes, NodeError> {
        self.fetch(json!({"filter": filter, "offset": offset, "limit": limit})).await
    }

    /// Makes the node carry out what it is sent from here on apart from what it was sent before. An engine takes tasks
    /// together, and then counts otherwise: a deletion with additions before it counts the ids that it was given, there or
    /// not, and one of everything counts what a deletion just before it would have taken. A change of nothing stands alone.
    pub async fn end_batch(&self) -> Result<(), NodeError> {
        let timeout = self.writes.settings.get().timeout;
        let path = format!("/indexes/{}", self.index);
        self.accepted(Subrequest::json(http::Method::PATCH, path, Bytes::from_static(b"{}"), timeout, true)).await
    }

    /// Sends documents of words; returns when the node has accepted them.
    pub async fn send(&self, lines: &Spool) -> Result<(), NodeError> {
        let settings = &self.writes.settings.get();
        let request = Subrequest {
            method: http::Method::POST,
            path: with_stamp(&self.path(), COPY_STAMP),
            content_type: Some("application/x-ndjson"),
            body: SubBody::Spool(lines.clone(), 0..lines.len()),
            timeout: settings.timeout.min(settings.slow_after) + allowance(lines.len()),
            // The same documents twice are the same documents.
            idempotent: true,
        };
        self.accepted(request).await?;
        self.writes.vocabularies.of(self.index).went_alone(&self.node.id);
        Ok(())
    }

    /// Where documents are sent to; as of a client's write.
    fn path(&self) -> String {
        let mut query = QueryMap::default();
        query.set("primaryKey", self.primary_key);
        format!("/indexes/{}/documents?{}", self.index, query.encode())
    }

    /// Deletes some; returns when the node has accepted it.
    pub async fn delete(&self, ids: &[String]) -> Result<(), NodeError> {
        for ids in ids.chunks(IDS) {
            let path = format!("/indexes/{}/documents/delete-batch?{STAMP_PARAMETER}={COPY_STAMP}", self.index);
            self.accepted(self.post(path, json!(ids), true)).await?;
        }
        Ok(())
    }

    /// Deletes all; returns when the node has accepted it.
    pub async fn delete_all(&self) -> Result<(), NodeError> {
        let path = format!("/indexes/{}/documents/delete?{STAMP_PARAMETER}={COPY_STAMP}", self.index);
        self.accepted(self.post(path, json!({"filter": only_words()}), true)).await
    }

    async fn accepted(&self, request: Subrequest) -> Result<(), NodeError> {
        let reply = self.writes.nodes.client.send(self.node, request, self.trace).await?;
        let accepted: TaskStatusResponse = self.writes.nodes.client.read(self.node, &reply)?;
        if let Some(node) = self.writes.nodes.topology().find(self.node.id.as_str()) {
            self.writes.order.saw_uid(node, accepted.uid);
        }
        Ok(())
    }

    async fn page(&self, body: Value) -> Result<Page, NodeError> {
        let body = self.fetch(body).await?;
        let malformed =
            |error: serde_json::Error| NodeError::new(&self.node.id, NodeErrorKind::Malformed(error.to_string()));
        serde_json::from_slice(&body).map_err(malformed)
    }

    async fn fetch(&self, body: Value) -> Result<Bytes, NodeError> {
        let path = format!("/indexes/{}/documents/fetch", self.index);
        let reply = self.writes.nodes.client.send(self.node, self.post(path, body, true), self.trace).await?;
        if !reply.is_success() {
            let _: serde::de::IgnoredAny = self.writes.nodes.client.read(self.node, &reply)?;
        }
        Ok(reply.body)
    }

    fn post(&self, path: String, body: Value, idempotent: bool) -> Subrequest {
        let timeout = self.writes.settings.get().timeout;
        Subrequest::json(http::Method::POST, path, Bytes::from(body.to_string()), timeout, idempotent)
    }

    fn id(&self, document: &Map<String, Value>) -> Option<String> {
        document.get(self.primary_key)?.as_str().map(str::to_owned)
    }
}

/// Sends the gathered words to every node that takes writes, all at once, but for those that have them. Who misses them gets
/// them later.
pub async fn spread(
    writes: &Arc<Writes>,
    index: &str,
    primary_key: &str,
    words: &Gathered,
    have: &[NodeIx],
    trace: &Trace,
) {
    if !send_all(writes, index, primary_key, &words.spools, have, trace).await {
        words.missed();
    }
}

/// Sends `lines` to every node that takes writes and is none of those that have them; true if all nodes have accepted them.
pub(super) async fn send_all(
    writes: &Arc<Writes>,
    index: &str,
    primary_key: &str,
    lines: &[Spool],
    have: &[NodeIx],
    trace: &Trace,
) -> bool {
    if lines.is_empty() {
        return true;
    }
    let topology = &writes.nodes.topology();
    // Whoever is away gets what he lacks when he serves again.
    let present = topology.members().filter(|ix| topology.node(*ix).state.takes_writes() && !have.contains(ix));
    let sent = turns(writes, index, present).into_iter().map(|(ix, mut turn)| async move {
        let node = topology.node(ix);
        let held = Held { writes, node, index, primary_key, trace };
        // A body of few documents has few new words, and others wait with it.
        let small = if let [one] = lines { coalesce::small(writes, one) } else { None };
        match small {
            Some(bytes) => {
                let way = Way { writes, node: ix, index, trace };
                if let Some(sent) = way.send_words(&mut turn, held.path(), bytes).await {
                    if sent {
                        writes.vocabularies.of(index).went_alone(&node.id);
                    }
                    return sent;
                }
            }
            None => turn.wait().await,
        }
        // One that went down meanwhile is not waited for, by each in turn.
        if !writes.nodes.topology().node(ix).state.finishes_writes() {
            return false;
        }
        for spool in lines {
            if let Err(error) = held.send(spool).await {
                tracing::warn!(node = %node.id, index, %error, "a node has missed words; it gets them later");
                return false;
            }
        }
        true
    });
    join_all(sent).await.into_iter().all(|sent| sent)
}

/// Places in the order of an index's writes on these nodes; none if it does not exist any more. A node would make the index for
/// documents that come after its end.
pub(super) fn turns(writes: &Writes, index: &str, nodes: impl Iterator<Item = NodeIx>) -> Vec<(NodeIx, Turn)> {
    let lane = [index.to_owned()];
    writes.order.in_order(|lanes| {
        let exists = writes.ledger.registry.exists(index);
        nodes.filter(|_| exists).map(|ix| (ix, lanes.turn(&lane, ix))).collect()
    })
}

/// Takes the documents of words away from every node that takes writes; true if all have accepted that.
pub(super) async fn remove(
    writes: &Writes,
    topology: &Topology,
    index: &str,
    primary_key: &str,
    trace: &Trace,
) -> bool {
    let removed = topology.members().map(|ix| async move {
        let node = topology.node(ix);
        let held = Held { writes, node, index, primary_key, trace };
        // What comes may be the deletion of all documents, whose count they are not to be in.
        node.state.takes_writes() && held.delete_all().await.is_ok() && held.end_batch().await.is_ok()
    });
    join_all(removed).await.into_iter().all(|removed| removed)
}

// === impl Text ===

impl Text {
    fn of(document: &Map<String, Value>, primary_key: &str) -> Option<Self> {
        let marked = document.keys().filter_map(|name| marked_field(name)).find(|field| *field != primary_key);
        let field = marked.unwrap_or(WORDS_FIELD);
        let text = |name: &str| document.get(name)?.as_str().map(str::to_owned);
        Some(Self { id: text(primary_key)?, field: field.to_owned(), words: text(field)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_document_of_words_is_found() {
        let document = |value: Value| value.as_object().cloned().unwrap();
        let plain =
            document(json!({"id": "-_", "_miroir_words:id": "{", "_miroir_words": "a. b", "_miroir_shard": "}"}));
        let read = |document| Text::of(&document, "id").map(|text| (text.id, text.field, text.words));
        assert_eq!(read(plain), Some(("-_".into(), WORDS_FIELD.into(), "a. b".into())));
        let of_field = document(
            json!({"id": "-_", "_miroir_words:id": "{", "_miroir_words": "{", "_miroir_words:t": "{", "t": "a"}),
        );
        assert_eq!(read(of_field), Some(("-_".into(), "t".into(), "a".into())));
    }
}
