//! Reads the documents that an edit by a function would run on, each whole, in pages of bounded size.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::edit::{Edit, Page};
use crate::nodes::client::{Subrequest, Trace};
use crate::nodes::error::{NodeError, NodeErrorKind};
use crate::nodes::node_queue;
use crate::placement::cover::{Besides, CoverPart, cover};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::{Node, Topology};
use crate::plan::filter::with_shards;
use crate::split::Document;
use crate::split::primary_key::document_id;
use crate::write::part::Writes;

/// So many ids are listed at once, if shards are about equally large.
const IDS_AT_ONCE: u64 = 100_000;
/// A page has about so many bytes, as far as the pages before can tell, and so many documents at most.
const PAGE_BYTES: usize = 4 << 20;
const PAGE_MOST: usize = 1000;
/// The first page, when nothing is known of the documents' size.
const PAGE_FIRST: usize = 100;

/// Reads from one cover of the edit's shards.
pub(super) struct Reader<'a> {
    writes: &'a Writes,
    edit: &'a Edit,
    trace: &'a Trace,
    topology: std::sync::Arc<Topology>,
    parts: Vec<CoverPart>,
    missing: ShardSet,
}

/// Why documents cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("no replica answers for {0} shards")]
    NoReplica(usize),
    #[error(transparent)]
    Node(#[from] NodeError),
}

#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
    total: u64,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Over one cover of the shards to edit, in a topology that no move waits for.
    pub fn new(writes: &'a Writes, edit: &'a Edit, trace: &'a Trace) -> Self {
        // A trial can be long, and moves of shards wait for nobody who holds a topology like this.
        let topology = writes.nodes.topology().detached();
        let cover = cover(&topology, &edit.index, &edit.shards, &[], 0);
        Self { writes, edit, trace, topology, parts: cover.parts, missing: cover.missing }
    }

    /// Returns when the nodes that will be read have worked off what they had taken for the index.
    pub async fn earlier_writes_end(&self) {
        let drains = self.parts.iter().map(|part| async {
            let node = self.topology.node(part.node);
            if let Err(error) = node_queue::drain(&self.writes.nodes, node, &self.edit.index, self.trace).await {
                tracing::warn!(%error, "it is not known whether a node has carried out what comes before an edit");
            }
        });
        futures::future::join_all(drains).await;
    }

    /// Hands over all documents, and then the end. Stops without it when nobody takes them any more.
    pub async fn read(&self, pages: mpsc::Sender<Page>) -> Result<(), ReadError> {
        if !self.missing.is_empty() {
            return Err(ReadError::NoReplica(self.missing.len()));
        }
        let mut size = PAGE_FIRST;
        for part in &self.parts {
            let node = self.topology.node(part.node);
            for shards in self.batches(node, part).await? {
                let ids = self.ids(node, part, shards).await?;
                if !self.read_ids((node, part), &ids, &mut size, &pages).await? {
                    return Ok(());
                }
            }
        }
        // One that hangs up has its verdict.
        let _hung_up = pages.send(Page::End).await;
        Ok(())
    }

    /// The shards of `part` in pieces whose ids fit into memory.
    async fn batches(&self, node: &Node, part: &CoverPart) -> Result<Vec<ShardSet>, NodeError> {
        let counted = json!({"filter": self.filter(part, part.shards.clone()), "limit": 0});
        let body = self.fetch(node, counted).await?;
        let mean = listed(node, &body)?.total / part.shards.len().max(1) as u64 + 1;
        let at_once = usize::try_from((IDS_AT_ONCE / mean).max(1)).unwrap_or(usize::MAX);
        let shards: Vec<ShardId> = part.shards.iter().collect();
        Ok(shards.chunks(at_once).map(|shards| shards.iter().copied().collect()).collect())
    }

    async fn ids(&self, node: &Node, part: &CoverPart, shards: ShardSet) -> Result<Vec<String>, NodeError> {
        let key = &self.edit.primary_key;
        let asked = json!({"filter": self.filter(part, shards), "fields": [key], "limit": u32::MAX});
        let body = self.fetch(node, asked).await?;
        let documents = listed(node, &body)?.results;
        let id = |raw: &RawValue| {
            let document = Document::parse(raw.get()).map_err(|error| malformed(node, &error))?;
            document_id(&document, key).map(std::borrow::Cow::into_owned).map_err(|error| malformed(node, &error))
        };
        documents.into_iter().map(id).collect()
    }

    /// False when nobody takes the documents any more.
    async fn read_ids(
        &self,
        (node, part): (&Node, &CoverPart),
        ids: &[String],
        size: &mut usize,
        pages: &mpsc::Sender<Page>,
    ) -> Result<bool, NodeError> {
        // One that has been changed since it was listed may be none that the edit runs on.
        let filter = self.filter(part, part.shards.clone());
        let mut at = 0;
        while at < ids.len() {
            let chunk = &ids[at..ids.len().min(at + *size)];
            let asked = json!({"ids": chunk, "filter": filter, "limit": chunk.len(), "retrieveVectors": true});
            match self.fetch(node, asked).await {
                Ok(body) => {
                    at += chunk.len();
                    *size = (PAGE_BYTES * chunk.len() / body.len().max(1)).clamp(1, PAGE_MOST);
                    if pages.send(Page::Documents(body)).await.is_err() {
                        return Ok(false);
                    }
                }
                // Documents that are far larger than those before.
                Err(error) if chunk.len() > 1 && matches!(error.kind, NodeErrorKind::TooLarge { .. }) => {
                    *size = chunk.len() / 2;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn filter(&self, part: &CoverPart, shards: ShardSet) -> Value {
        let part = CoverPart { node: part.node, shards, besides: Besides::Unknown };
        with_shards(Some(&self.edit.filter), &part, self.topology.shards)
    }

    async fn fetch(&self, node: &Node, body: Value) -> Result<Bytes, NodeError> {
        let path = format!("/indexes/{}/documents/fetch", self.edit.index);
        let limit = self.writes.settings.get().timeout;
        let request = Subrequest::json(Method::POST, path, Bytes::from(body.to_string()), limit, true);
        let reply = self.writes.nodes.client.send(node, request, self.trace).await?;
        if !reply.is_success() {
            let _: serde::de::IgnoredAny = self.writes.nodes.client.read(node, &reply)?;
        }
        Ok(reply.body)
    }
}

fn listed<'b>(node: &Node, body: &'b Bytes) -> Result<Listed<'b>, NodeError> {
    serde_json::from_slice(body).map_err(|error| malformed(node, &error))
}

fn malformed(node: &Node, error: &dyn std::fmt::Display) -> NodeError {
    NodeError::new(&node.id, NodeErrorKind::Malformed(error.to_string()))
}
