//! Writes that a stop of the gateway interrupted before they were acknowledged: what becomes of them. Pure.
//!
//! Some nodes may have accepted such a write and others not. What it wrote cannot be sent again (the body is gone) nor taken
//! back, but for each shard one side can be made the measure of the other.

use super::entry::{MiroirTask, NodeTask, NodeTaskState};
use super::replicas::sharded_parts;
use crate::meili::task::{Subject, TaskKind};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::{NodeId, NodeIx, Topology};

/// What a replica has of an interrupted write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Everything,
    Nothing,
    /// Some pieces of a large body.
    Torn,
    /// The node has not been asked, or did not answer.
    Unknown,
}

/// Which side the replicas of an interrupted write are brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// Every shard has a replica with the write: it goes on as if nothing had been.
    Forward,
    /// Every shard has a replica without it: it is undone.
    Back,
    /// Neither: it stays in the shards that have it, and only there.
    Apart,
}

/// How a kind of write is dealt with that was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Its documents are in shards: one side is chosen for each.
    Sides,
    /// Done again by deleting what is left of the index.
    DeleteAgain,
    /// Compared and repaired before a node serves; the task only follows what the nodes say.
    Repair,
}

/// What is to be done about an interrupted write.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    pub course: Course,
    /// Replicas that are not on the side chosen.
    pub stale: Vec<(NodeIx, ShardSet)>,
    /// Shards of which no replica in sync has answered: they are not served, and decided once one has.
    pub open: ShardSet,
}

/// True for an unfinished task that waits for a decision here and must not be followed before.
pub fn is_interrupted(task: &MiroirTask) -> bool {
    match remedy(task.kind) {
        Remedy::Sides | Remedy::DeleteAgain => !task.acknowledged,
        Remedy::Repair => false,
    }
}

/// What is done about an interrupted write of this kind.
pub fn remedy(kind: TaskKind) -> Remedy {
    match kind.subject() {
        Subject::Documents => Remedy::Sides,
        Subject::Index if kind == TaskKind::IndexDeletion => Remedy::DeleteAgain,
        Subject::Index | Subject::Settings | Subject::Tasks | Subject::Database => Remedy::Repair,
    }
}

/// Chooses the side for each shard that `task` touches. Parts whose node was asked are no longer [`NodeTaskState::Unsent`].
pub fn decide(task: &MiroirTask, topology: &Topology) -> Decision {
    let index = task.index_uid.as_deref().unwrap_or_default();
    let may_measure = |shard: ShardId, node: NodeIx| !topology.is_stale(node, index, shard);
    let mut touched = ShardSet::new();
    for part in sharded_parts(task) {
        touched.union_with(&part.shards);
    }
    // An owner that was not sent the write has been copied to since, from a replica that took part: its shard was decided then.
    let is_decided = |shard: ShardId| {
        let came_since = |node: &NodeIx| parts_of(task, &topology.node(*node).id, shard).next().is_none();
        topology.owners_of(shard).iter().any(|node| may_measure(shard, *node) && came_since(node))
    };
    let replicas: Vec<(ShardId, Vec<(NodeIx, Held)>)> = touched
        .iter()
        .filter(|shard| !is_decided(*shard))
        .map(|shard| {
            let owners = topology.owners_of(shard).iter().copied();
            (shard, owners.map(|node| (node, held(task, &topology.node(node).id, shard))).collect())
        })
        .collect();
    let everywhere = |wanted: Held| {
        replicas
            .iter()
            .all(|(shard, held)| held.iter().any(|(node, held)| *held == wanted && may_measure(*shard, *node)))
    };
    let course = match (everywhere(Held::Everything), everywhere(Held::Nothing)) {
        (true, _) => Course::Forward,
        (false, true) => Course::Back,
        (false, false) => Course::Apart,
    };
    let preference: &[Held] = match course {
        Course::Forward => &[Held::Everything],
        Course::Back => &[Held::Nothing],
        Course::Apart => &[Held::Everything, Held::Nothing, Held::Torn],
    };
    let mut stale = vec![ShardSet::new(); topology.nodes.len()];
    let mut open = ShardSet::new();
    for (shard, replicas) in &replicas {
        let measures = |wanted: Held| {
            let of_kind = replicas.iter().filter(move |(_, held)| *held == wanted);
            of_kind.map(|(node, _)| *node).filter(|node| may_measure(*shard, *node)).collect::<Vec<_>>()
        };
        let Some(side) = preference.iter().copied().find(|wanted| !measures(*wanted).is_empty()) else {
            open.insert(*shard);
            continue;
        };
        let mut kept = measures(side);
        if side == Held::Torn {
            // Two torn replicas need not be torn alike.
            kept.truncate(1);
        }
        for (node, _) in replicas.iter().filter(|(node, _)| !kept.contains(node)) {
            stale[node.0].insert(*shard);
        }
    }
    let stale = stale.into_iter().enumerate().filter(|(_, shards)| !shards.is_empty());
    Decision { course, stale: stale.map(|(node, shards)| (NodeIx(node), shards)).collect(), open }
}

fn parts_of<'a>(task: &'a MiroirTask, node: &'a NodeId, shard: ShardId) -> impl Iterator<Item = &'a NodeTask> {
    sharded_parts(task).filter(move |part| part.node == *node && part.shards.contains(shard))
}

fn held(task: &MiroirTask, node: &NodeId, shard: ShardId) -> Held {
    let parts: Vec<&NodeTask> = parts_of(task, node, shard).collect();
    let count = |state: NodeTaskState| parts.iter().filter(|part| part.state == state).count();
    let lost = count(NodeTaskState::Lost);
    if parts.is_empty() || count(NodeTaskState::Unsent) > 0 {
        Held::Unknown
    } else if lost == parts.len() {
        Held::Nothing
    } else if lost == 0 {
        Held::Everything
    } else {
        Held::Torn
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use NodeTaskState::{Enqueued, Lost, Unsent};

    use super::*;
    use crate::placement::topology::{Node, NodeState};
    use crate::tasks::fold::samples::{part, task};

    /// Three nodes, two replicas, and one shard for each pair of nodes: 0 is a's and b's, 1 is a's and c's, 2 is b's and c's.
    fn topology(stale: &[(usize, u16)]) -> Topology {
        let node = |id: &str| Node {
            id: NodeId::new(id),
            url: "http://x".into(),
            zone: None,
            weight: 1.0,
            state: NodeState::Joining,
        };
        let owners = [[0, 1], [0, 2], [1, 2]].map(|pair| pair.map(NodeIx).to_vec()).to_vec();
        let mut topology = Topology::with_owners(["a", "b", "c"].map(node).to_vec(), 3, 2, owners);
        let stale = stale.iter().map(|(node, shard)| ((NodeIx(*node), "cities".to_owned()), set(&[*shard])));
        topology.stale = Arc::new(stale.collect());
        topology
    }

    fn set(shards: &[u16]) -> ShardSet {
        shards.iter().map(|shard| ShardId(*shard)).collect()
    }

    fn decided(states: [NodeTaskState; 3], stale: &[(usize, u16)]) -> Decision {
        let [a, b, c] = states;
        decide(&task(vec![part("a", &[0, 1], a), part("b", &[0, 2], b), part("c", &[1, 2], c)]), &topology(stale))
    }

    #[test]
    fn a_shard_that_was_copied_to_another_node_since_is_decided_already() {
        let parts = |b: &[u16]| vec![part("a", &[0, 1], Enqueued), part("b", b, Lost), part("c", &[1, 2], Enqueued)];
        // The write was sent to b for shard 2 alone; what it has of shard 0 it was given later.
        let decision = decide(&task(parts(&[2])), &topology(&[]));
        assert_eq!(decision, Decision { course: Course::Forward, stale: vec![(NodeIx(1), set(&[2]))], open: set(&[]) });
        // Even if the one who gave it has not been asked, or is gone.
        let unasked = vec![part("a", &[0], Unsent)];
        assert!(decide(&task(unasked.clone()), &topology(&[])).open.is_empty());
        assert_eq!(decide(&task(unasked), &topology(&[(1, 0)])).open, set(&[0]));
    }

    #[test]
    fn a_write_that_every_replica_has_goes_on() {
        let nothing_stale = Decision { course: Course::Forward, stale: Vec::new(), open: ShardSet::new() };
        assert_eq!(decided([Enqueued; 3], &[]), nothing_stale);
    }

    #[test]
    fn a_write_that_one_replica_of_each_shard_has_goes_on_and_the_others_are_stale() {
        let decision = decided([Enqueued, Enqueued, Lost], &[]);
        assert_eq!((decision.course, decision.stale), (Course::Forward, vec![(NodeIx(2), set(&[1, 2]))]));
    }

    #[test]
    fn a_write_that_too_few_have_is_undone_where_it_is() {
        let decision = decided([Enqueued, Lost, Lost], &[]);
        assert_eq!((decision.course, decision.stale), (Course::Back, vec![(NodeIx(0), set(&[0, 1]))]));
        assert_eq!(decided([Lost; 3], &[]).stale, []);
    }

    #[test]
    fn a_node_that_does_not_answer_is_stale_whatever_it_has() {
        let decision = decided([Unsent, Lost, Lost], &[]);
        assert_eq!((decision.course, decision.stale), (Course::Back, vec![(NodeIx(0), set(&[0, 1]))]));
        let decision = decided([Unsent, Enqueued, Enqueued], &[]);
        assert_eq!((decision.course, decision.stale), (Course::Forward, vec![(NodeIx(0), set(&[0, 1]))]));
    }

    #[test]
    fn a_stale_replica_is_no_measure() {
        let decision = decided([Enqueued, Lost, Lost], &[(1, 0), (2, 1)]);
        assert_eq!(decision.course, Course::Apart);
        assert_eq!(decision.stale, [(NodeIx(1), set(&[0])), (NodeIx(2), set(&[1]))]);
    }

    #[test]
    fn shards_whose_replicas_are_all_away_are_left_open() {
        let decision = decided([Unsent, Unsent, Lost], &[]);
        assert_eq!((decision.open, decision.stale), (set(&[0]), vec![(NodeIx(0), set(&[1])), (NodeIx(1), set(&[2]))]));
    }

    #[test]
    fn of_torn_replicas_one_is_kept() {
        let pieces = |node| [part(node, &[0], Enqueued), part(node, &[0], Lost)];
        let decision = decide(&task([pieces("a"), pieces("b")].concat()), &topology(&[]));
        assert_eq!((decision.course, decision.stale), (Course::Apart, vec![(NodeIx(1), set(&[0]))]));
    }
}
