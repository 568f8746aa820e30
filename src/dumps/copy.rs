//! The documents of one index as they were at one moment, while writes go on.
//!
//! They are read once while writes go on and a watch notes what these touch; then the writes of the index wait until the nodes
//! have worked off what they had taken and what was touched has been read again. That is the moment that the copy shows.
//! Writes that do not say what they touch (edits by a function, settings, swaps) make it begin anew, and after some of them
//! the whole is read while writes wait, so that it ends whatever clients do.
//!
//! A deletion by filter counts as touching nothing (see the resilver), but documents are fewer than those read then: the counts
//! tell, and the ids that are left are listed. Example: 1, 2 and 3 are read, 4 is added and `n > 1` deleted. Touched is 4; of the
//! others three were read and one is there, so ids are listed, and of those read only 1 stays.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;

use super::error::WorkError;
use super::format::IndexMetadata;
use super::patience::{Patience, no_node};
use super::spool::{Documents, Lines, Page, hash_of, id_of};
use crate::ledger::touched::Touched;
use crate::meili::error::{Code, ResponseError};
use crate::nodes::client::Trace;
use crate::nodes::meaning::Meaning;
use crate::nodes::node_queue;
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::NodeIx;
use crate::plan::Obstacle;
use crate::plan::documents::DocumentsPlan;
use crate::plan::node_request::NodeRequest;
use crate::plan::scatter::{Ask, Scatter};
use crate::read::{self, Keeping, Reads};
use crate::write::Writes;

/// How long the writes under way may take to end before a copy begins.
const WATCH_LIMIT: Duration = Duration::from_secs(120);
/// How often a copy is begun while writes go on.
const ATTEMPTS: usize = 3;
/// How many bytes of documents are asked for at a time, as far as their size can be foreseen.
const CHUNK_BYTES: u64 = 4 << 20;
/// What is asked of several nodes at once is of one moment on each.
const CHUNK_MOST: u64 = 1000;

/// An index to be copied.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub reads: &'a Reads,
    pub writes: &'a Writes,
    pub index: &'a str,
    /// Only the documents that it finds.
    pub filter: Option<&'a Value>,
    /// Where documents are kept meanwhile.
    pub folder: &'a Path,
    pub trace: &'a Trace,
}

/// An index at one moment.
pub struct Copied {
    pub metadata: IndexMetadata,
    pub settings: Map<String, Value>,
    pub documents: Documents,
}

/// How many documents of the size met so far make a chunk.
struct Sizer {
    documents: u64,
    bytes: u64,
}

/// What a try comes to.
enum Tried {
    Copied(Box<Copied>),
    /// Writes touched everything, or another node serves now.
    Again,
    Gone,
}

// === impl Source ===

impl Source<'_> {
    /// The index; `None` if it is not there any more.
    pub async fn copy(&self) -> Result<Option<Copied>, WorkError> {
        let watch = self.writes.ledger.watchers.begin(self.index);
        if tokio::time::timeout(WATCH_LIMIT, watch.complete()).await.is_err() {
            return Err(busy(self.index));
        }
        let touched = || watch.take();
        for attempt in 0..=ATTEMPTS {
            let tried = if attempt < ATTEMPTS { self.while_writes_go_on(&touched).await } else { self.at_rest().await };
            match tried {
                Ok(Tried::Copied(copied)) => return Ok(Some(*copied)),
                Ok(Tried::Gone) => return Ok(None),
                Ok(Tried::Again) => {}
                Err(WorkError::Refused(error)) if error.is(Code::IndexNotFound) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Err(busy(self.index))
    }

    async fn while_writes_go_on(&self, touched: &(dyn Fn() -> Touched + Sync)) -> Result<Tried, WorkError> {
        let _earlier = touched();
        let drained = self.drain().await?;
        let Some(metadata) = self.metadata().await? else { return Ok(Tried::Gone) };
        let first = self.all(metadata.primary_key.as_deref()).await?;
        let mut since = touched();
        if since == Touched::Everything || !self.served_by(&drained) {
            return Ok(Tried::Again);
        }
        // What can be waited for before writes wait.
        self.drain().await?;
        let _hold = self.writes.order.gates.hold(self.index).await;
        since.join(touched());
        let Touched::Keys(keys) = since else { return Ok(Tried::Again) };
        let drained = self.drain().await?;
        let Some(metadata) = self.metadata().await? else { return Ok(Tried::Gone) };
        let settings = self.settings().await?;
        let Some(primary_key) = metadata.primary_key.clone() else {
            // Without a primary key there is no document.
            let documents = Documents::whole(Lines::create(self.folder)?, Lines::create(self.folder)?, String::new());
            return Ok(Tried::Copied(Box::new(Copied { metadata, settings, documents })));
        };
        let keys: Vec<String> = keys.into_iter().collect();
        let fresh = self.named(&keys, &primary_key, Lines::create(self.folder)?).await?;
        let keys: HashSet<String> = keys.into_iter().collect();
        let there = self.count().await?;
        let kept = if first.count_without(&keys) + fresh.count() == there {
            None
        } else {
            Some(self.ids_of_all(&primary_key).await?)
        };
        if !self.served_by(&drained) {
            return Ok(Tried::Again);
        }
        let documents = Documents::new(first, keys, kept, fresh, primary_key);
        Ok(Tried::Copied(Box::new(Copied { metadata, settings, documents })))
    }

    /// Reads the whole while writes wait.
    async fn at_rest(&self) -> Result<Tried, WorkError> {
        tracing::info!(
            index = self.index,
            "writes that may touch everything keep coming: they wait while the index is read"
        );
        let _hold = self.writes.order.gates.hold(self.index).await;
        let drained = self.drain().await?;
        let Some(metadata) = self.metadata().await? else { return Ok(Tried::Gone) };
        let settings = self.settings().await?;
        let first = self.all(metadata.primary_key.as_deref()).await?;
        if !self.served_by(&drained) {
            return Ok(Tried::Again);
        }
        let primary_key = metadata.primary_key.clone().unwrap_or_default();
        let documents = Documents::whole(first, Lines::create(self.folder)?, primary_key);
        Ok(Tried::Copied(Box::new(Copied { metadata, settings, documents })))
    }

    /// Every document, once.
    async fn all(&self, primary_key: Option<&str>) -> Result<Lines, WorkError> {
        let mut lines = Lines::create(self.folder)?;
        let Some(primary_key) = primary_key else { return Ok(lines) };
        let mut sizer = Sizer { documents: 0, bytes: 0 };
        let mut left = vec![ShardSet::all(self.shards())];
        while let Some(shards) = left.pop() {
            let most = sizer.chunk();
            let page = self.page(json!({ "limit": most, "retrieveVectors": true }), Some(&shards)).await?;
            let (found, total) = measured(&page)?;
            sizer.saw(found, page.len() as u64);
            if total <= found {
                lines = taken(lines, page, primary_key).await?;
            } else if shards.len() > 1 {
                left.extend(split(&shards, total, most));
            } else {
                // Pages by offset would skip documents while others are deleted; one list is of one moment.
                let ids = self.ids(&shards, primary_key).await?;
                lines = self.named(&ids, primary_key, lines).await?;
            }
        }
        Ok(lines)
    }

    /// The documents with these ids, as far as they exist.
    async fn named(&self, ids: &[String], primary_key: &str, mut lines: Lines) -> Result<Lines, WorkError> {
        let mut sizer = Sizer { documents: 0, bytes: 0 };
        let mut rest = ids;
        while !rest.is_empty() {
            let most = usize::try_from(sizer.chunk()).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at(most);
            let page = self.page(json!({ "ids": now, "limit": most, "retrieveVectors": true }), None).await?;
            sizer.saw(measured(&page)?.0, page.len() as u64);
            lines = taken(lines, page, primary_key).await?;
            rest = later;
        }
        Ok(lines)
    }

    async fn count(&self) -> Result<u64, WorkError> {
        let page = self.page(json!({ "limit": 0 }), None).await?;
        Ok(measured(&page)?.1)
    }

    async fn ids_of_all(&self, primary_key: &str) -> Result<HashSet<u128>, WorkError> {
        let mut all = HashSet::new();
        for shard in ShardSet::all(self.shards()).iter() {
            let ids = self.ids(&ShardSet::from_iter([shard]), primary_key).await?;
            all.extend(ids.iter().map(|id| hash_of(id)));
        }
        Ok(all)
    }

    /// Of one shard.
    async fn ids(&self, shard: &ShardSet, primary_key: &str) -> Result<Vec<String>, WorkError> {
        let page = self.page(json!({ "fields": [primary_key], "limit": u32::MAX }), Some(shard)).await?;
        let parsed: Page<'_> = serde_json::from_slice(&page).map_err(|_| WorkError::malformed("ids"))?;
        Ok(parsed.results.iter().map(|document| id_of(document.get(), primary_key)).collect::<Result<_, _>>()?)
    }

    async fn page(&self, body: Value, shards: Option<&ShardSet>) -> Result<Bytes, WorkError> {
        let Value::Object(mut body) = body else { return Err(WorkError::malformed("a page")) };
        if let Some(filter) = self.filter {
            body.insert("filter".to_owned(), filter.clone());
        }
        let original = NodeRequest::post(format!("/indexes/{}/documents/fetch", self.index), &body);
        let ask = match DocumentsPlan::new(self.index, body, self.shards()) {
            Ok(plan) => Ask::Documents(DocumentsPlan { shards: shards.cloned().or(plan.shards.clone()), ..plan }),
            Err(Obstacle::Judge) => Ask::Judge,
            Err(Obstacle::Refuse(error) | Obstacle::Unserved(error)) => return Err(error.into()),
        };
        self.read(Scatter::new(original, 0, ask)).await
    }

    async fn settings(&self) -> Result<Map<String, Value>, WorkError> {
        let path = format!("/indexes/{}/settings", self.index);
        let original = NodeRequest { method: "GET", path, body: Vec::new() };
        let body = self.read(Scatter::new(original, 0, Ask::Settings)).await?;
        serde_json::from_slice(&body).map_err(|_| WorkError::malformed("settings"))
    }

    /// Asks until there is a whole answer, for some time.
    async fn read(&self, scatter: Scatter) -> Result<Bytes, WorkError> {
        let mut patience = Patience::new();
        loop {
            let topology = self.reads.nodes.topology();
            let error = match read::run(self.reads, &topology, &scatter, self.trace, Keeping::Nothing).await {
                Ok(reply) if reply.status == 200 && reply.degraded.is_empty() => return Ok(reply.body),
                Ok(reply) => match ResponseError::from_node(reply.status, &reply.body) {
                    Some(error) if Meaning::of_refusal(&error).is_judgement() => return Err(error.into()),
                    Some(_) | None => {
                        ResponseError::new(Code::MiroirNoReplica, "Some documents have no replica that can be read.")
                    }
                },
                Err(error) => error,
            };
            patience.again(error.into()).await?;
        }
    }

    /// What the nodes say of the index; `None` once none of them has it.
    async fn metadata(&self) -> Result<Option<IndexMetadata>, WorkError> {
        let mut patience = Patience::new();
        loop {
            let topology = self.reads.nodes.topology();
            let (mut absent, mut error) = (false, no_node());
            for node in topology.serving(self.index) {
                let path = format!("/indexes/{}", self.index);
                match self.reads.nodes.client.get_json(topology.node(node), &path, self.trace).await {
                    Ok(Some(found)) => return Ok(Some(self.as_shown(found))),
                    Ok(None) => absent = true,
                    Err(failed) => error = ResponseError::new(Code::MiroirNodeUnavailable, failed.to_string()).into(),
                }
            }
            if absent {
                return Ok(None);
            }
            patience.again(error).await?;
        }
    }

    /// What Miroir set of an index when it was made is no change of it.
    fn as_shown(&self, metadata: IndexMetadata) -> IndexMetadata {
        if !self.writes.ledger.registry.is_new(self.index) {
            return metadata;
        }
        IndexMetadata { updated_at: metadata.created_at, ..metadata }
    }

    /// Waits until each node that serves has worked off what it had taken before; returns those.
    async fn drain(&self) -> Result<BTreeSet<NodeIx>, WorkError> {
        let nodes = &self.reads.nodes;
        let topology = nodes.topology();
        let serving = topology.serving(self.index);
        let drained = serving.iter().map(|node| node_queue::drain(nodes, topology.node(*node), self.index, self.trace));
        let mut done = BTreeSet::new();
        for (node, drained) in serving.iter().zip(join_all(drained).await) {
            match drained {
                Ok(true) => {
                    done.insert(*node);
                }
                Ok(false) => return Err(busy(self.index)),
                // One that is gone is not read; one that is back by then makes the copy begin anew.
                Err(error) => tracing::debug!(index = self.index, %error, "a node was not waited for"),
            }
        }
        Ok(done)
    }

    /// True if no node serves reads but these: another may have something to do for the index.
    fn served_by(&self, drained: &BTreeSet<NodeIx>) -> bool {
        self.reads.nodes.topology().serving(self.index).iter().all(|node| drained.contains(node))
    }

    fn shards(&self) -> u16 {
        self.reads.nodes.topology().shards
    }
}

fn busy(index: &str) -> WorkError {
    let message = format!("The nodes have too much to do for index `{index}`: it could not be copied.");
    WorkError::Refused(ResponseError::new(Code::MiroirOverloaded, message))
}

/// How many documents a page has, and how many there are.
fn measured(page: &Bytes) -> Result<(u64, u64), WorkError> {
    let page: Page<'_> = serde_json::from_slice(page).map_err(|_| WorkError::malformed("documents"))?;
    Ok((page.results.len() as u64, page.total))
}

/// Writes the documents of a page to disk, off the runtime's threads.
async fn taken(mut lines: Lines, page: Bytes, primary_key: &str) -> Result<Lines, WorkError> {
    let primary_key = primary_key.to_owned();
    let written = spawn_blocking(move || {
        lines.take(&page, &primary_key)?;
        Ok::<_, std::io::Error>(lines)
    });
    Ok(written.await.map_err(std::io::Error::other)??)
}

/// Cuts `shards` so that a part has fewer than `most` of their `total` documents, as good as always.
fn split(shards: &ShardSet, total: u64, most: u64) -> Vec<ShardSet> {
    let all: Vec<ShardId> = shards.iter().collect();
    let parts = usize::try_from(total * 5 / (most * 3) + 1).unwrap_or(usize::MAX).clamp(2, all.len());
    all.chunks(all.len().div_ceil(parts)).map(|part| part.iter().copied().collect()).collect()
}

// === impl Sizer ===

impl Sizer {
    fn saw(&mut self, documents: u64, bytes: u64) {
        self.documents += documents;
        self.bytes += bytes;
    }

    fn chunk(&self) -> u64 {
        // Nothing is known of the first ones.
        let Some(mean) = self.bytes.checked_div(self.documents) else { return 16 };
        (CHUNK_BYTES / mean.max(1)).clamp(1, CHUNK_MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_cut_so_that_a_part_fits_into_a_chunk() {
        let all = ShardSet::all(256);
        let parts = split(&all, 100_000, 1000);
        assert!(parts.len() >= 160 / 2 && parts.iter().all(|part| part.len() <= 2), "{}", parts.len());
        let mut joined = ShardSet::new();
        parts.iter().for_each(|part| joined.union_with(part));
        assert_eq!(joined, all);
        assert_eq!(split(&ShardSet::all(2), 1_000_000, 16).len(), 2, "no part is smaller than a shard");
        assert_eq!(split(&all, 17, 16).len(), 2);
    }

    #[test]
    fn chunks_follow_the_size_of_documents() {
        let mut sizer = Sizer { documents: 0, bytes: 0 };
        assert_eq!(sizer.chunk(), 16);
        sizer.saw(16, 16 << 20);
        assert_eq!(sizer.chunk(), 4);
        sizer.saw(1000, 0);
        assert_eq!(sizer.chunk(), 254);
        sizer.saw(1_000_000, 0);
        assert_eq!(sizer.chunk(), 1000);
    }
}
