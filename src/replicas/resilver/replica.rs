//! What a copy asks a node: ids, documents, counts, and to work off its queue first.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::digest::digest;
use super::error::ResilverError;
use crate::nodes::client::{Subrequest, Trace};
use crate::nodes::error::{NodeError, NodeErrorKind};
use crate::nodes::node_queue;
use crate::placement::document::shard_of;
use crate::placement::shard::{SHARD_FIELD, ShardSet, shard_filter, shard_value};
use crate::placement::topology::Node;
use crate::placement::vocabulary::no_words;
use crate::split::Document;
use crate::split::primary_key::document_id;
use crate::write::Writes;

/// How many documents tell by their shards how many shards there are.
const SAMPLE: usize = 1000;

/// The documents of one index on one node.
#[derive(Clone, Copy)]
pub struct Replica<'a> {
    pub writes: &'a Writes,
    pub node: &'a Node,
    pub index: &'a str,
    pub primary_key: &'a str,
    pub trace: &'a Trace,
}

/// All documents of some shards in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Documents.
    pub count: u64,
    /// Of all documents together, in whatever order the node has them.
    pub digest: u128,
}

/// A document as a node shows it.
#[derive(Debug, Clone)]
pub struct Held {
    pub digest: u128,
    pub raw: Bytes,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
    total: u64,
}

// === impl Replica ===

impl Replica<'_> {
    /// How many documents of `shards` the node holds.
    pub async fn count(&self, shards: &ShardSet) -> Result<u64, NodeError> {
        let body = self.fetch(json!({"filter": self.filter(shards), "limit": 0})).await?;
        Ok(self.page(&body)?.total)
    }

    /// One of the first documents whose hidden field has another shard than it would with `shards` shards.
    pub async fn wrong_shard(&self, shards: u16) -> Result<Option<String>, NodeError> {
        let fields = [self.primary_key, SHARD_FIELD];
        let body = self.fetch(json!({"filter": no_words(), "fields": fields, "limit": SAMPLE})).await?;
        for document in self.page(&body)?.results {
            let shown: Value = serde_json::from_str(document.get()).map_err(|error| self.malformed(&error))?;
            let id = self.id(document)?;
            let right = shard_value(shard_of(&id, shards), shards);
            if shown[SHARD_FIELD].as_str().is_some_and(|value| value != right) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// The ids of all documents of `shards`: one request, and so one state of the index.
    pub async fn ids(&self, shards: &ShardSet) -> Result<BTreeSet<String>, NodeError> {
        let asked = json!({"filter": self.filter(shards), "fields": [self.primary_key], "limit": u32::MAX});
        let body = self.fetch(asked).await?;
        self.page(&body)?.results.iter().map(|document| self.id(document)).collect()
    }

    /// What the node holds of `shards`, and how many bytes the answer had: one request, and so one state of the index.
    pub async fn content(&self, shards: &ShardSet) -> Result<(Content, u64), NodeError> {
        let asked = json!({"filter": self.filter(shards), "limit": u32::MAX, "retrieveVectors": true});
        let body = self.fetch(asked).await?;
        let page = self.page(&body)?;
        let mut content = Content { count: page.total, digest: 0 };
        for document in page.results {
            let shown: Value = serde_json::from_str(document.get()).map_err(|error| self.malformed(&error))?;
            content.digest = content.digest.wrapping_add(digest(&shown));
        }
        Ok((content, body.len() as u64))
    }

    /// Those of the documents named by `keys` that exist, and how many bytes the answer had.
    pub async fn documents(&self, keys: &[String]) -> Result<(BTreeMap<String, Held>, u64), NodeError> {
        let body = self.fetch(json!({"ids": keys, "limit": keys.len(), "retrieveVectors": true})).await?;
        let mut documents = BTreeMap::new();
        for document in self.page(&body)?.results {
            let content: Value = serde_json::from_str(document.get()).map_err(|error| self.malformed(&error))?;
            let held = Held { digest: digest(&content), raw: body.slice_ref(document.get().as_bytes()) };
            documents.insert(self.id(document)?, held);
        }
        Ok((documents, body.len() as u64))
    }

    /// Returns when the node has worked off what it had taken for the index before the call. What comes meanwhile is
    /// not waited for, so this ends however busy the node is.
    pub async fn drain(&self) -> Result<(), ResilverError> {
        if node_queue::drain(&self.writes.nodes, self.node, self.index, self.trace).await? {
            return Ok(());
        }
        Err(ResilverError::Busy { node: self.node.id.to_string() })
    }

    fn filter(&self, shards: &ShardSet) -> String {
        shard_filter(shards, self.writes.nodes.topology().shards)
    }

    async fn fetch(&self, body: Value) -> Result<Bytes, NodeError> {
        let request = Subrequest::json(
            http::Method::POST,
            format!("/indexes/{}/documents/fetch", self.index),
            Bytes::from(body.to_string()),
            self.writes.settings.get().timeout,
            true,
        );
        let reply = self.writes.nodes.client.send(self.node, request, self.trace).await?;
        if !reply.is_success() {
            let _: serde::de::IgnoredAny = self.writes.nodes.client.read(self.node, &reply)?;
        }
        Ok(reply.body)
    }

    fn page<'b>(&self, body: &'b Bytes) -> Result<Page<'b>, NodeError> {
        serde_json::from_slice(body).map_err(|error| self.malformed(&error))
    }

    fn id(&self, document: &RawValue) -> Result<String, NodeError> {
        let parsed = Document::parse(document.get()).map_err(|error| self.malformed(&error))?;
        let id = document_id(&parsed, self.primary_key).map_err(|error| self.malformed(&error))?;
        Ok(id.into_owned())
    }

    fn malformed(&self, error: &dyn std::fmt::Display) -> NodeError {
        NodeError::new(&self.node.id, NodeErrorKind::Malformed(error.to_string()))
    }
}
