//! Replies of nodes that are kept while an index is written to.
//!
//! A whole answer ends with every change of its index, and none is kept while a change is under way. But a change of one document is one
//! of few nodes: what the others have replied is what they would reply now. So a search that is asked again costs only those nodes
//! that have changed.
//!
//! Example: five documents a second are written, each to one node of three, which takes a fifth of a second. No answer is ever
//! kept for long, but at any time two nodes of three have done nothing since they were asked last.
//!
//! A reply is kept, and shown, by the same rule as an answer ([`crate::nodes::changes`]), applied to the one node: nothing of its
//! indexes was left to do there when it was asked, no change was sent there since, and the epoch is the same.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::Deserialize;

use crate::nodes::Nodes;
use crate::nodes::changes::Moment;
use crate::nodes::client::NodeReply;
use crate::placement::topology::NodeId;

/// An index that has not changed for so long has whole answers that are kept.
const RECENTLY: Duration = Duration::from_secs(10);

/// Longer replies are not kept.
const LONGEST: usize = 256 << 10;

/// So many bytes a reply is thought to have, for the size of tables alone.
const USUAL: u64 = 8 << 10;

/// What an entry takes besides the bytes of request and reply.
const ENTRY: u64 = 256;

/// Whether a read goes by replies that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// Every node is asked.
    Nothing,
    /// A node that took longer may have shown what it had found by then.
    Within(Duration),
}

/// The replies of all nodes.
pub(super) struct KeptReplies {
    kept: Cache<Asked, Kept, ByBytes>,
}

/// What a node was asked. Bytes are compared and not their hash alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    node: NodeId,
    path: String,
    body: Bytes,
}

#[derive(Clone)]
struct Kept {
    reply: NodeReply,
    epoch: u64,
    moment: Moment,
}

/// What is known before a node is asked.
pub(super) enum Looked {
    Kept(NodeReply),
    /// The node is to be asked; its reply may be kept where there is a turn.
    Asks(Option<Turn>),
}

/// A request whose reply may be kept.
pub(super) struct Turn {
    asked: Asked,
    epoch: u64,
    moment: Moment,
    within: Duration,
    began: Instant,
}

/// Weighs a request and its reply.
#[derive(Clone)]
struct ByBytes;

// === impl KeptReplies ===

impl KeptReplies {
    /// Empty; with a size of 0 it stays so.
    pub fn new(size: u64) -> Self {
        let items = usize::try_from(size / USUAL).unwrap_or(usize::MAX).max(1);
        Self { kept: Cache::with_weighter(items, size, ByBytes) }
    }

    /// Looks for the reply of `node` to a request about `indexes`, which exist.
    pub fn look(
        &self,
        nodes: &Nodes,
        epoch: u64,
        node: &NodeId,
        indexes: &[&str],
        (path, body, within): (&str, &Bytes, Duration),
    ) -> Looked {
        if self.kept.capacity() == 0 || body.len() > LONGEST || !is_about(path, body, indexes) {
            return Looked::Asks(None);
        }
        let asked = Asked { node: node.clone(), path: path.to_owned(), body: body.clone() };
        if let Some(kept) = self.kept.get(&asked)
            && kept.epoch == epoch
            && kept.moment.holds()
        {
            nodes.metrics.kept_replies.inc();
            return Looked::Kept(kept.reply);
        }
        let moment = nodes.client.changes().moment_on(node, indexes, RECENTLY);
        Looked::Asks(moment.map(|moment| Turn { asked, epoch, moment, within, began: Instant::now() }))
    }

    /// Keeps what the node has replied, if it may be.
    pub fn end(&self, turn: Turn, reply: &NodeReply) {
        let Turn { asked, epoch, moment, within, began } = turn;
        if reply.status == 200 && reply.body.len() <= LONGEST && began.elapsed() < within && moment.holds() {
            // A copy, as what it is a part of may be larger.
            let body = Bytes::copy_from_slice(&reply.body);
            self.kept.insert(asked, Kept { reply: NodeReply { body, ..reply.clone() }, epoch, moment });
        }
    }
}

/// True for a request that no other index than these has a say in. A read may ask about others besides, such as those that it joins.
fn is_about(path: &str, body: &[u8], indexes: &[&str]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Query<'b> {
        #[serde(borrow)]
        index_uid: Cow<'b, str>,
    }
    #[derive(Deserialize)]
    struct Queries<'b> {
        #[serde(borrow)]
        queries: Vec<Query<'b>>,
    }
    match path.strip_prefix("/indexes/").and_then(|rest| rest.split_once('/')) {
        Some((index, _)) => indexes.contains(&index),
        None => serde_json::from_slice::<Queries<'_>>(body)
            .is_ok_and(|all| all.queries.iter().all(|query| indexes.contains(&&*query.index_uid))),
    }
}

impl Weighter<Asked, Kept> for ByBytes {
    fn weight(&self, asked: &Asked, kept: &Kept) -> u64 {
        (asked.path.len() + asked.body.len() + kept.reply.body.len()) as u64 + ENTRY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_about_the_indexes_of_the_read_are_kept() {
        let about = |path: &str, body: &str| is_about(path, body.as_bytes(), &["films", "books"]);
        assert!(about("/indexes/films/search", "{}"));
        assert!(!about("/indexes/people/documents/fetch", "{}"));
        assert!(!about("/indexes/film/search", "{}"));
        assert!(about("/multi-search", r#"{"queries": [{"indexUid": "films"}, {"indexUid": "books", "q": "x"}]}"#));
        assert!(!about("/multi-search", r#"{"queries": [{"indexUid": "films"}, {"indexUid": "people"}]}"#));
        assert!(!about("/multi-search", r#"{"queries": [{}]}"#) && !about("/keys", "{}"));
    }
}
