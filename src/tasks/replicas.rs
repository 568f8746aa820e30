//! Which node carried out which shards of a task.

use std::collections::BTreeMap;

use super::entry::{MiroirTask, NodeTask, NodeTaskState, Purpose};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::NodeId;

/// How far one node got with the parts of a task that touch one shard. A node can have several such parts, because a
/// large body leaves in pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub parts: usize,
    pub succeeded: usize,
}

/// The replicas of each shard that a task writes, and how far each got.
pub type Replicas<'a> = BTreeMap<ShardId, BTreeMap<&'a NodeId, Progress>>;

// === impl Progress ===

impl Progress {
    /// Every part was carried out: the replica holds the write.
    pub fn complete(self) -> bool {
        self.succeeded == self.parts
    }
}

/// The parts that the client asked for and that name shards.
pub fn sharded_parts(task: &MiroirTask) -> impl Iterator<Item = &NodeTask> {
    task.parts.iter().filter(|part| part.purpose == Purpose::Main && !part.shards.is_empty())
}

/// The parts that concern the whole index: what prepares it, and what the client asked for without naming shards.
pub fn whole_parts(task: &MiroirTask) -> impl Iterator<Item = &NodeTask> {
    task.parts.iter().filter(|part| part.purpose != Purpose::Main || part.shards.is_empty())
}

pub fn replicas(task: &MiroirTask) -> Replicas<'_> {
    let mut replicas = Replicas::new();
    for part in sharded_parts(task) {
        for shard in part.shards.iter() {
            let progress = replicas.entry(shard).or_default().entry(&part.node).or_default();
            progress.parts += 1;
            if part.outcome() == NodeTaskState::Succeeded {
                progress.succeeded += 1;
            }
        }
    }
    replicas
}

/// The shards of which no replica carried out everything.
pub fn unwritten(replicas: &Replicas<'_>) -> ShardSet {
    replicas
        .iter()
        .filter(|(_, nodes)| !nodes.values().any(|progress| progress.complete()))
        .map(|(shard, _)| *shard)
        .collect()
}
