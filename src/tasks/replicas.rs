//! Which node carried out which shards of a task.

use std::collections::BTreeMap;

use super::entry::{MiroirTask, NodeTask, NodeTaskState, Purpose};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::NodeId;

/// How far one node got with the parts of a task that touch one shard. A node can have several such parts, because a
/// large body leaves in pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Of the task, that touch the shard.
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

/// Replicas that were stale already do not count, save where no other got the write.
pub fn replicas(task: &MiroirTask) -> Replicas<'_> {
    let in_sync = |part: &NodeTask, shard: ShardId| !part.behind.contains(shard);
    let mut measured = ShardSet::new();
    for part in sharded_parts(task) {
        for shard in part.shards.iter().filter(|shard| in_sync(part, *shard)) {
            measured.insert(shard);
        }
    }
    let mut replicas = Replicas::new();
    for part in sharded_parts(task) {
        for shard in part.shards.iter().filter(|shard| in_sync(part, *shard) || !measured.contains(*shard)) {
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

/// True where a replica of one of `shards` may have carried the task out after all: nobody knows of it.
pub fn is_in_doubt(task: &MiroirTask, shards: &ShardSet) -> bool {
    sharded_parts(task)
        .any(|part| part.outcome() == NodeTaskState::Lost && part.shards.iter().any(|shard| shards.contains(shard)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::fold::samples::{part, task};
    use crate::tasks::stale::stale_parts;
    use crate::tasks::verdict::{Verdict, verdict};

    fn behind(node: &str, shards: &[u16], behind: &[u16], state: NodeTaskState) -> NodeTask {
        NodeTask { behind: behind.iter().map(|id| ShardId(*id)).collect(), ..part(node, shards, state) }
    }

    #[test]
    fn a_write_that_only_a_stale_replica_carried_out_has_failed() {
        let task =
            task(vec![part("a", &[1], NodeTaskState::Failed), behind("b", &[1], &[1], NodeTaskState::Succeeded)]);
        assert!(matches!(verdict(&task), Verdict::Failed(_)));
        assert_eq!(stale_parts(&task), []);
    }

    #[test]
    fn what_a_stale_replica_fails_is_no_news() {
        let parts = |behind_shards: &[u16]| {
            vec![
                part("a", &[1, 2], NodeTaskState::Succeeded),
                behind("b", &[1, 2], behind_shards, NodeTaskState::Failed),
            ]
        };
        assert_eq!(stale_parts(&task(parts(&[1, 2]))), []);
        let found = stale_parts(&task(parts(&[1])));
        assert_eq!(found.iter().map(|part| part.shards.len()).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn where_every_replica_was_stale_all_count() {
        let task = task(vec![
            behind("a", &[1], &[1], NodeTaskState::Succeeded),
            behind("b", &[1], &[1], NodeTaskState::Failed),
        ]);
        assert_eq!(verdict(&task), Verdict::Succeeded);
        assert_eq!(stale_parts(&task).len(), 1);
    }

    #[test]
    fn what_a_node_did_not_answer_is_in_doubt_and_what_it_refused_is_not() {
        let parts = [
            part("n0", &[0, 1], NodeTaskState::Succeeded),
            part("n1", &[2], NodeTaskState::Failed),
            part("n2", &[3], NodeTaskState::Lost),
        ];
        let task = task(parts.to_vec());
        let shards = |ids: &[u16]| ids.iter().map(|id| ShardId(*id)).collect::<ShardSet>();
        assert!(!is_in_doubt(&task, &shards(&[0, 1, 2])));
        assert!(is_in_doubt(&task, &shards(&[2, 3])));
    }
}
