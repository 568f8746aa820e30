//! After a crash: which of a node's tasks belong to parts whose acceptance was never recorded.

use super::entry::{MiroirTask, NodeReport, NodeTaskState, Purpose};
use crate::meili::task::TaskKind;
use crate::placement::topology::NodeId;

/// Gives each unsent part of `node` the node task that carries it out, and declares the others lost. `found` are the
/// node's tasks with the stamp of `task`, oldest first; parts left in their order, so that they meet in theirs.
pub fn adopt(task: &mut MiroirTask, node: &NodeId, found: Vec<NodeReport>) {
    let known: Vec<u32> =
        task.parts.iter().filter(|part| part.node == *node).filter_map(|part| part.task_uid).collect();
    let mut candidates: Vec<NodeReport> =
        found.into_iter().filter(|report| !known.contains(&report.task_uid)).collect();
    let kind = task.kind;
    for part in &mut task.parts {
        if part.node != *node || part.state != NodeTaskState::Unsent {
            continue;
        }
        match candidates.iter().position(|report| report.kind == kind_of(part.purpose, kind)) {
            Some(at) => part.apply(candidates.remove(at)),
            None => part.state = NodeTaskState::Lost,
        }
    }
}

fn kind_of(purpose: Purpose, main: TaskKind) -> TaskKind {
    match purpose {
        Purpose::EnsureIndex => TaskKind::IndexCreation,
        Purpose::HideShardField => TaskKind::SettingsUpdate,
        Purpose::Main => main,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::fold::samples::{part, task};

    fn report(task_uid: u32, kind: TaskKind) -> NodeReport {
        NodeReport {
            task_uid,
            is_shared: false,
            kind,
            state: NodeTaskState::Enqueued,
            details: None,
            error: None,
            started_at: None,
            finished_at: None,
        }
    }

    #[test]
    fn unsent_parts_meet_the_nodes_tasks_in_order_and_the_rest_is_lost() {
        let mut unsent: Vec<_> = (0..4).map(|_| part("a", &[1], NodeTaskState::Unsent)).collect();
        unsent.iter_mut().for_each(|part| part.task_uid = None);
        unsent[0].purpose = Purpose::EnsureIndex;
        let mut task = task(unsent);
        task.parts.push(part("b", &[1], NodeTaskState::Unsent));
        let addition = TaskKind::DocumentAdditionOrUpdate;
        let found = vec![report(4, TaskKind::IndexCreation), report(5, addition), report(8, addition)];
        adopt(&mut task, &NodeId::new("a"), found);
        let uids: Vec<_> = task.parts.iter().map(|part| (part.state, part.task_uid)).collect();
        assert_eq!(
            uids,
            [
                (NodeTaskState::Enqueued, Some(4)),
                (NodeTaskState::Enqueued, Some(5)),
                (NodeTaskState::Enqueued, Some(8)),
                (NodeTaskState::Lost, None),
                (NodeTaskState::Unsent, Some(7)),
            ]
        );
    }

    #[test]
    fn a_node_task_that_a_part_has_already_is_not_given_twice() {
        let mut task = task(vec![part("a", &[1], NodeTaskState::Succeeded), part("a", &[1], NodeTaskState::Unsent)]);
        task.parts[1].task_uid = None;
        adopt(&mut task, &NodeId::new("a"), vec![report(7, TaskKind::DocumentAdditionOrUpdate)]);
        assert_eq!(task.parts[1].state, NodeTaskState::Lost);
    }
}
