//! Which replicas a finished task leaves behind.

use std::collections::BTreeMap;

use super::entry::{MiroirTask, NodeTask, NodeTaskState, Purpose};
use super::replicas::{Progress, replicas, sharded_parts, whole_parts};
use super::swap::renamed;
use crate::meili::task::TaskKind;
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeId;

/// A node that has not done what another did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StalePart {
    pub node: NodeId,
    pub purpose: Purpose,
    /// The shards whose replicas on the node are behind another replica. Empty for a part that concerns the whole
    /// index: then only those shards are behind of which another owner is not in the list.
    pub shards: ShardSet,
}

/// The replicas that a final task leaves behind others. A shard that no replica has written is equal everywhere, and
/// none of its replicas is reported.
pub fn stale_parts(task: &MiroirTask) -> Vec<StalePart> {
    let mut stale = stale_shards(task);
    for purpose in [Purpose::EnsureIndex, Purpose::HideShardField, Purpose::Main] {
        let succeeded = |part: &&NodeTask| part.outcome() == NodeTaskState::Succeeded;
        if !task.parts.iter().filter(|part| part.purpose == purpose).any(|part| succeeded(&part)) {
            continue;
        }
        // What some node refused is taken back where it was applied: nobody is behind those who did.
        if purpose == Purpose::Main && is_refused_change(task) {
            continue;
        }
        for part in whole_parts(task).filter(|part| part.purpose == purpose && !succeeded(part)) {
            stale.push(StalePart { node: part.node.clone(), purpose, shards: ShardSet::new() });
        }
    }
    stale
}

/// True for a change of settings, or of an index's primary key, that a node has refused: all or nothing over the nodes.
pub fn is_refused_change(task: &MiroirTask) -> bool {
    let refused = |part: &NodeTask| part.purpose == Purpose::Main && part.outcome() == NodeTaskState::Failed;
    let is_taken_back = match task.kind {
        TaskKind::SettingsUpdate => true,
        // Another name is not: a node that keeps the old one is behind.
        TaskKind::IndexUpdate => renamed(task).is_none(),
        TaskKind::DocumentAdditionOrUpdate
        | TaskKind::DocumentEdition
        | TaskKind::DocumentDeletion
        | TaskKind::IndexCreation
        | TaskKind::IndexDeletion
        | TaskKind::IndexSwap
        | TaskKind::IndexCompaction
        | TaskKind::NetworkTopologyChange
        | TaskKind::DsrUpdate
        | TaskKind::DsrClear
        | TaskKind::TaskCancelation
        | TaskKind::TaskDeletion
        | TaskKind::DumpCreation
        | TaskKind::SnapshotCreation
        | TaskKind::Export
        | TaskKind::UpgradeDatabase => false,
    };
    is_taken_back && whole_parts(task).any(refused)
}

/// True when `node` has not done what an unfinished task wants of some of `shards`. Until the task has ended its replicas are
/// not marked by it, and must not be copied: the copy could replace the only one that has it.
pub fn unfit_source(task: &MiroirTask, node: &NodeId, shards: &ShardSet) -> bool {
    let touches = |part: &NodeTask| part.shards.iter().any(|shard| shards.contains(shard));
    let mut own = sharded_parts(task).filter(|part| part.node == *node && touches(part));
    own.any(|part| part.state.is_final() && part.state != NodeTaskState::Succeeded)
}

fn stale_shards(task: &MiroirTask) -> Vec<StalePart> {
    let mut behind: BTreeMap<&NodeId, ShardSet> = BTreeMap::new();
    for (shard, nodes) in replicas(task) {
        let Some(reference) = reference(&nodes) else { continue };
        for (node, progress) in nodes {
            let level_with_reference = progress.complete() && reference.1.complete();
            if node != reference.0 && !level_with_reference {
                behind.entry(node).or_default().insert(shard);
            }
        }
    }
    behind.into_iter().map(|(node, shards)| StalePart { node: node.clone(), purpose: Purpose::Main, shards }).collect()
}

/// The replica that the others are measured by: a complete one, else the one that got furthest; `None` if none got
/// anywhere. Nodes are compared by id, so that every gateway chooses alike.
fn reference<'a>(nodes: &BTreeMap<&'a NodeId, Progress>) -> Option<(&'a NodeId, Progress)> {
    let mut best: Option<(&NodeId, Progress)> = None;
    for (node, progress) in nodes {
        let rank = |progress: Progress| (progress.complete(), progress.succeeded);
        if progress.succeeded > 0 && best.is_none_or(|(_, other)| rank(*progress) > rank(other)) {
            best = Some((node, *progress));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tasks::entry::Say;
    use crate::tasks::fold::samples::{part, task};
    use crate::tasks::verdict::{Verdict, verdict};

    fn shards(ids: &[u16]) -> ShardSet {
        ids.iter().map(|id| crate::placement::shard::ShardId(*id)).collect()
    }

    fn of(task: &MiroirTask) -> Vec<(String, ShardSet)> {
        stale_parts(task).into_iter().map(|part| (part.node.to_string(), part.shards)).collect()
    }

    #[test]
    fn a_replica_that_failed_where_another_succeeded_is_stale_for_the_shards_they_share() {
        let task = task(vec![
            part("a", &[1, 2], NodeTaskState::Succeeded),
            part("b", &[2, 3], NodeTaskState::Failed),
            part("c", &[1, 3], NodeTaskState::Succeeded),
        ]);
        assert_eq!(of(&task), [("b".to_owned(), shards(&[2, 3]))]);
    }

    #[test]
    fn nothing_is_stale_where_no_replica_has_the_write() {
        let task = task(vec![part("a", &[1], NodeTaskState::Canceled), part("b", &[1], NodeTaskState::Failed)]);
        assert_eq!(of(&task), []);
    }

    #[test]
    fn a_replica_with_a_missing_piece_is_stale() {
        let task = task(vec![
            part("a", &[1], NodeTaskState::Succeeded),
            part("a", &[1], NodeTaskState::Lost),
            part("b", &[1], NodeTaskState::Succeeded),
        ]);
        assert_eq!(of(&task), [("a".to_owned(), shards(&[1]))]);
    }

    #[test]
    fn where_every_replica_misses_a_piece_one_stays_in_sync() {
        let task = task(vec![
            part("a", &[1], NodeTaskState::Succeeded),
            part("a", &[1], NodeTaskState::Failed),
            part("b", &[1], NodeTaskState::Failed),
            part("b", &[1], NodeTaskState::Succeeded),
        ]);
        assert_eq!(of(&task), [("b".to_owned(), shards(&[1]))]);
    }

    #[test]
    fn what_failed_on_a_node_is_not_copied_from_it_until_that_is_settled() {
        let task = task(vec![part("a", &[1, 2], NodeTaskState::Failed), part("b", &[1], NodeTaskState::Enqueued)]);
        assert!(unfit_source(&task, &NodeId::new("a"), &shards(&[2, 3])));
        assert!(!unfit_source(&task, &NodeId::new("a"), &shards(&[3])));
        assert!(!unfit_source(&task, &NodeId::new("b"), &shards(&[1])));
    }

    #[test]
    fn a_node_that_missed_what_others_got_with_their_documents_is_reported() {
        let task = task(vec![part("a", &[1], NodeTaskState::Succeeded), part("b", &[], NodeTaskState::Lost)]);
        assert_eq!(of(&task), [("b".to_owned(), ShardSet::new())]);
    }

    #[test]
    fn a_node_without_a_say_refuses_no_change_and_has_missed_it() {
        let settings = |say: Say| {
            let refusing = NodeTask { say, ..part("a", &[], NodeTaskState::Failed) };
            let parts = vec![refusing, part("b", &[], NodeTaskState::Succeeded)];
            MiroirTask { kind: TaskKind::SettingsUpdate, ..task(parts) }
        };
        assert!(is_refused_change(&settings(Say::Full)) && of(&settings(Say::Full)).is_empty());
        assert!(!is_refused_change(&settings(Say::None)));
        assert_eq!(of(&settings(Say::None)), [("a".to_owned(), shards(&[]))]);
        assert_eq!(verdict(&settings(Say::None)), Verdict::Succeeded);
        let mut nobody = settings(Say::None);
        nobody.parts.truncate(1);
        assert!(matches!(verdict(&nobody), Verdict::Failed(_)), "where nobody else took it, its words are the task's");
    }

    #[test]
    fn nobody_is_behind_those_who_applied_settings_that_others_refused() {
        let parts = || vec![part("a", &[], NodeTaskState::Succeeded), part("b", &[], NodeTaskState::Failed)];
        let mut refused = task(parts());
        assert_eq!(of(&refused), [("b".to_owned(), ShardSet::new())]);
        // Without documents a node takes another primary key. Rebuilding those with documents by it would lose them.
        for kind in [TaskKind::SettingsUpdate, TaskKind::IndexUpdate] {
            refused.kind = kind;
            assert!(is_refused_change(&refused) && of(&refused).is_empty());
        }
        refused.details = json!({"oldIndexUid": "a", "newIndexUid": "b"}).as_object().cloned();
        assert_eq!(of(&refused), [("b".to_owned(), ShardSet::new())], "a node that keeps the old name is behind");
    }

    #[test]
    fn a_whole_index_part_is_reported_without_shards() {
        let task = task(vec![part("a", &[], NodeTaskState::Succeeded), part("b", &[], NodeTaskState::Lost)]);
        assert_eq!(of(&task), [("b".to_owned(), ShardSet::new())]);
    }
}
