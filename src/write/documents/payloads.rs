//! What each node will be sent of a body, kept until the body has been read.

use std::io;
use std::sync::Arc;

use crate::nodes::overload::spool_budget::SpoolBudget;
use crate::nodes::spool::{Spool, SpoolWriter};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::{NodeIx, Topology};
use crate::write::settings::WriteSettings;

/// What each node will be sent.
pub(super) struct Payloads {
    nodes: Vec<NodePayload>,
}

struct NodePayload {
    spool: SpoolWriter,
    /// The shards in each part of the spool.
    shards: Vec<ShardSet>,
}

/// One payload for one node.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub node: NodeIx,
    pub spool: Spool,
    pub shards: ShardSet,
}

// === impl Payloads ===

impl Payloads {
    /// One payload for each node of `topology`, all empty.
    pub(super) fn new(topology: &Topology, settings: &WriteSettings) -> Self {
        let new_payload = |_| NodePayload {
            spool: SpoolWriter::new(settings.spool_memory, settings.max_payload_size),
            shards: Vec::new(),
        };
        Self { nodes: topology.indexes().map(new_payload).collect() }
    }

    /// Counts what is kept against a budget that other writes share.
    pub(super) fn within(&mut self, budget: &Arc<SpoolBudget>) {
        for payload in &mut self.nodes {
            payload.spool.within(budget);
        }
    }

    /// Adds a document of `shard`, a whole line, for each of `owners`.
    pub(super) fn append(&mut self, owners: &[NodeIx], shard: ShardId, line: &[u8]) {
        for owner in owners {
            let payload = &mut self.nodes[owner.0];
            let begins_part = payload.spool.append(line);
            if begins_part || payload.shards.is_empty() {
                payload.shards.push(ShardSet::new());
            }
            payload.shards.last_mut().expect("one was just pushed if there was none").insert(shard);
        }
    }

    /// Adds documents of words for every node that gets documents.
    pub(super) async fn append_words(&mut self, spools: &[Spool]) -> io::Result<()> {
        let mut line = Vec::new();
        for spool in spools {
            let mut reader = spool.reader();
            while let Some(chunk) = reader.next().await? {
                for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
                    line.extend_from_slice(piece);
                    if !piece.ends_with(b"\n") {
                        continue;
                    }
                    for payload in &mut self.nodes {
                        let Some(shards) = payload.shards.last().cloned() else { continue };
                        if payload.spool.append(&line) {
                            payload.shards.push(shards);
                        }
                    }
                    line.clear();
                }
                self.spill().await?;
            }
        }
        Ok(())
    }

    /// Writes to disk what memory may no longer hold.
    pub(super) async fn spill(&mut self) -> io::Result<()> {
        for payload in &mut self.nodes {
            payload.spool.spill().await?;
        }
        Ok(())
    }

    /// What each node gets, in pieces of no more than a request may have.
    pub(super) async fn finish(self) -> io::Result<Vec<Part>> {
        let mut parts = Vec::new();
        for (position, payload) in self.nodes.into_iter().enumerate() {
            let node = NodeIx(position);
            let spools = payload.spool.finish().await?;
            parts.extend(spools.into_iter().zip(payload.shards).map(|(spool, shards)| Part { node, spool, shards }));
        }
        Ok(parts)
    }
}
