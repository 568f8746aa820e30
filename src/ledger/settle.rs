//! What follows from the nodes' answers to a write: acknowledged or not, and who has missed what. Pure.

use std::collections::BTreeSet;

use super::marks::{Marks, Missed};
use crate::meili::error::{Code, ResponseError};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::{Apart, NodeIx, Topology};
use crate::plan::write::{RegistryChange, Target, WriteIntent};
use crate::tasks::entry::{NodeTask, NodeTaskState, Purpose};

/// The outcome of sending a write. With both errors absent it is acknowledged.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// To be made durable before the acknowledgement.
    pub marks: Marks,
    /// Every node that answered refuses the request: the client's error.
    pub refused: Option<ResponseError>,
    /// Fewer replicas than required took the write.
    pub no_replica: Option<ResponseError>,
}

/// Refuses a write before anything is sent when too few replicas could take it.
pub fn available(topology: &Topology, intent: &WriteIntent, min_in_sync: u8) -> Result<(), ResponseError> {
    let live = |node: NodeIx| topology.node(node).state.takes_writes();
    if !topology.members().any(live) {
        return Err(no_replica("No node can take writes at the moment."));
    }
    let mut touched = ShardSet::new();
    for step in &intent.steps {
        touched.union_with(&step.shards);
    }
    let mut indexes: Vec<&str> = intent.index_uid.as_deref().into_iter().collect();
    let pairs = intent.registry.moved();
    if !pairs.is_empty() {
        // Nodes that miss a swap are rebuilt, both indexes: of every shard a replica must be there to rebuild them from.
        touched = ShardSet::all(topology.shards);
        indexes = pairs.iter().flat_map(|(left, right)| [*left, *right]).collect();
    }
    for index in indexes {
        let short: Vec<ShardId> = touched
            .iter()
            .filter(|shard| {
                let owners = topology.owners_of(*shard);
                let able =
                    owners.iter().filter(|node| live(**node) && !topology.is_stale(**node, index, *shard)).count();
                able < required(topology, owners.len(), min_in_sync)
            })
            .collect();
        if !short.is_empty() {
            return Err(short_of_replicas(index, short.len(), min_in_sync));
        }
    }
    Ok(())
}

/// Refuses a write whose documents were shared out by other owners than those of `topology`: each owner of a touched shard
/// must be sent its part, and nobody else.
pub fn shared_out(topology: &Topology, intent: &WriteIntent) -> Result<(), ResponseError> {
    let mut parts = vec![ShardSet::new(); topology.nodes.len()];
    let mut touched = ShardSet::new();
    for step in &intent.steps {
        if let Target::Node(node) = step.to
            && let Some(part) = parts.get_mut(node.0)
        {
            part.union_with(&step.shards);
            touched.union_with(&step.shards);
        }
    }
    let right = topology.indexes().zip(parts).all(|(node, part)| {
        let mut owned = topology.shards_of(node).clone();
        owned.intersect_with(&touched);
        owned == part
    });
    if right {
        return Ok(());
    }
    Err(ResponseError::new(Code::MiroirLayoutChanged, "Shards moved while the request was read. Send it again."))
}

/// Draws the conclusions for the in-sync sets of `topology`, a write having been sent by those of `placed`, from the states of
/// `parts`: `Enqueued` is accepted, `Failed` refused, `Lost` neither.
pub fn settle(
    topology: &Topology,
    placed: &Topology,
    intent: &WriteIntent,
    parts: &[NodeTask],
    min_in_sync: u8,
) -> Settled {
    if let Some(error) = refused_by_all(parts) {
        return Settled { refused: Some(error), ..Settled::default() };
    }
    let mut settled = Settled::default();
    settle_shards(topology, placed, intent, parts, min_in_sync, &mut settled);
    settle_whole(topology, intent, parts, &mut settled);
    settled
}

/// True when the write's fate is known whatever the parts that are still open come to: enough replicas took it, or all
/// who answered refuse it.
pub fn suffices(topology: &Topology, intent: &WriteIntent, parts: &[NodeTask], min_in_sync: u8) -> bool {
    let mut parts = parts.to_vec();
    for part in parts.iter_mut().filter(|part| part.state == NodeTaskState::Unsent) {
        part.state = NodeTaskState::Lost;
    }
    let settled = settle(topology, topology, intent, &parts, min_in_sync);
    settled.refused.is_some() || settled.no_replica.is_none()
}

fn refused_by_all(parts: &[NodeTask]) -> Option<ResponseError> {
    let mut refusal = None;
    for part in parts.iter().filter(|part| part.purpose == Purpose::Main) {
        match part.state {
            NodeTaskState::Failed => refusal = refusal.or_else(|| part.error.clone()),
            NodeTaskState::Lost => {}
            NodeTaskState::Unsent
            | NodeTaskState::Enqueued
            | NodeTaskState::Processing
            | NodeTaskState::Succeeded
            | NodeTaskState::Canceled
            | NodeTaskState::Unreachable => return None,
        }
    }
    refusal
}

fn settle_shards(
    topology: &Topology,
    placed: &Topology,
    intent: &WriteIntent,
    parts: &[NodeTask],
    min_in_sync: u8,
    settled: &mut Settled,
) {
    let Some(index) = intent.index_uid.as_deref() else { return };
    let mut touched = ShardSet::new();
    for part in parts {
        touched.union_with(&part.shards);
    }
    let mut stale = vec![ShardSet::new(); topology.nodes.len()];
    let mut short = 0;
    for shard in touched.iter() {
        let owners = topology.owners_of(shard);
        let took = |node: &NodeIx| {
            let id = &topology.node(*node).id;
            let mut own = parts.iter().filter(|part| part.node == *id && part.shards.contains(shard)).peekable();
            own.peek().is_some() && own.all(|part| part.state == NodeTaskState::Enqueued)
        };
        let in_sync = |node: &&NodeIx| !topology.is_stale(**node, index, shard);
        let takers = owners.iter().filter(|node| took(node)).filter(in_sync).count();
        if takers < required(topology, owners.len(), min_in_sync) {
            short += 1;
        }
        // The in-sync set never becomes empty: where nobody surely has the write, one replica stays the measure of
        // the others, whichever of them the write has reached after all.
        let measure = if takers == 0 { owners.iter().find(in_sync) } else { None };
        let uncertain = owners.iter().any(|node| {
            let id = &topology.node(*node).id;
            // It may have gone down since.
            let sent = placed.find(id.as_str()).is_some_and(|node| placed.node(node).state.takes_writes());
            sent && parts.iter().any(|part| part.node == *id && part.shards.contains(shard))
        });
        for node in owners.iter().filter(|node| !took(node) && measure != Some(*node)) {
            if takers > 0 || uncertain {
                stale[node.0].insert(shard);
            }
        }
    }
    for (position, shards) in stale.into_iter().enumerate() {
        let node = NodeIx(position);
        // Also what is stale already: whoever copies it must hear of it.
        if !shards.is_empty() {
            settled.marks.stale.push((node, index.to_owned(), shards));
        }
    }
    if short > 0 {
        settled.no_replica = Some(short_of_replicas(index, short, min_in_sync));
    }
}

fn settle_whole(topology: &Topology, intent: &WriteIntent, parts: &[NodeTask], settled: &mut Settled) {
    let whole = || parts.iter().filter(|part| part.shards.is_empty());
    let taken = |part: &NodeTask| part.state == NodeTaskState::Enqueued;
    if whole().next().is_none() {
        return;
    }
    let mut behind = BTreeSet::new();
    for part in whole().filter(|part| !taken(part)) {
        let elsewhere = parts.iter().any(|other| other.purpose == part.purpose && taken(other));
        if let Some(node) = topology.find(part.node.as_str())
            && elsewhere
        {
            behind.insert(node);
        }
    }
    let outdated: BTreeSet<String> = match &intent.registry {
        RegistryChange::Delete { index } => BTreeSet::from([index.clone()]),
        RegistryChange::Swap { .. } | RegistryChange::Rename { .. } => {
            intent.registry.moved().into_iter().flat_map(|(left, right)| [left.to_owned(), right.to_owned()]).collect()
        }
        RegistryChange::None
        | RegistryChange::Create { .. }
        | RegistryChange::SetPrimaryKey { .. }
        | RegistryChange::Settings { .. }
        | RegistryChange::DynamicSearchRules => BTreeSet::new(),
    };
    let indexes = intent.index_uid.iter().filter(|index| !outdated.contains(*index));
    let settings = intent.registry == RegistryChange::DynamicSearchRules;
    let missed = Missed { settings, outdated: outdated.clone(), ..Missed::of(indexes.cloned()) };
    settled.marks.missed.extend(behind.into_iter().map(|node| (node, missed.clone())));
    for (left, right) in intent.registry.moved() {
        swap_stale(topology, left, right, &mut settled.marks);
    }
    // Parts with shards count as well: where a write brings documents to some nodes and only the primary key to the
    // others, the others may all be away.
    let main = || parts.iter().filter(|part| part.purpose == Purpose::Main);
    if main().next().is_some() && !main().any(taken) && settled.no_replica.is_none() {
        settled.no_replica = Some(no_replica("No node took the write."));
    }
}

/// A replica that is stale in one of two swapped indexes counts as stale in both: until the nodes have swapped it is
/// stale under the old name, afterwards under the new one. So with settings that differ.
fn swap_stale(topology: &Topology, left: &str, right: &str, marks: &mut Marks) {
    for node in topology.members() {
        for (from, to) in [(left, right), (right, left)] {
            if let Some(shards) = topology.stale_of(node, from) {
                marks.stale.push((node, to.to_owned(), shards.clone()));
            }
            match topology.apart_of(node, from) {
                None => {}
                Some(Apart::Differs | Apart::Unknown) => marks.missed.push((node, Missed::of([to.to_owned()]))),
                // What it holds under that name belongs to the past under the other one as well.
                Some(Apart::Absent) => {
                    let outdated = Missed { outdated: [to.to_owned()].into(), ..Missed::default() };
                    marks.missed.push((node, outdated));
                }
            }
        }
    }
}

/// Owners that are arriving come on top of the replication factor, and a shard that is short of owners until more have
/// arrived cannot be asked for more than it has.
fn required(topology: &Topology, owners: usize, min_in_sync: u8) -> usize {
    let settled = owners.min(usize::from(topology.replication_factor));
    usize::from(min_in_sync.max(1)).min(settled.max(1))
}

fn short_of_replicas(index: &str, shards: usize, min_in_sync: u8) -> ResponseError {
    let least = min_in_sync.max(1);
    no_replica(format!("{shards} shards of index `{index}` have fewer than {least} replicas that can take writes."))
}

fn no_replica(message: impl Into<String>) -> ResponseError {
    ResponseError::new(Code::MiroirNoReplica, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::meili::task::TaskKind;
    use crate::placement::topology::{NodeId, NodeState};
    use crate::plan::write::{Step, StepBody};

    fn topology(states: &[NodeState], rf: u8) -> Topology {
        Topology::sample(states, 8, rf)
    }

    fn intent(registry: RegistryChange) -> WriteIntent {
        WriteIntent {
            kind: TaskKind::DocumentAdditionOrUpdate,
            index_uid: Some("a".into()),
            indexes: vec!["a".into()],
            details: None,
            custom_metadata: None,
            ensure_index: false,
            registry,
            copies: 2,
            documents: Default::default(),
            ids: Default::default(),
            steps: vec![Step {
                to: Target::AllNodes,
                method: "POST",
                path: "/".into(),
                content_type: None,
                body: StepBody::Empty,
                shards: ShardSet::all(8),
            }],
        }
    }

    fn part(node: usize, shards: &ShardSet, state: NodeTaskState) -> NodeTask {
        let mut part = NodeTask::unsent(NodeId::new(&format!("n{node}")), Purpose::Main, shards.clone());
        part.state = state;
        if state == NodeTaskState::Failed {
            part.error = Some(ResponseError::new(Code::BadRequest, "no"));
        }
        part
    }

    const UP: NodeState = NodeState::Up;

    #[test]
    fn a_write_shared_out_by_other_owners_is_refused() {
        let topology = topology(&[UP, UP, UP], 2);
        let shard = ShardId(3);
        let one: ShardSet = [shard].into_iter().collect();
        let to = |nodes: &[NodeIx]| {
            let step = |node: &NodeIx| Step {
                to: Target::Node(*node),
                shards: one.clone(),
                ..intent(RegistryChange::None).steps[0].clone()
            };
            WriteIntent { steps: nodes.iter().map(step).collect(), ..intent(RegistryChange::None) }
        };
        let owners = topology.owners_of(shard).to_vec();
        assert_eq!(shared_out(&topology, &to(&owners)), Ok(()));
        assert_eq!(shared_out(&topology, &intent(RegistryChange::None)), Ok(()));
        assert!(shared_out(&topology, &to(&owners[..1])).is_err());
        let all: Vec<NodeIx> = topology.indexes().collect();
        assert_eq!(shared_out(&topology, &to(&all)).unwrap_err().code, "miroir_layout_changed");
    }

    #[test]
    fn a_write_that_all_replicas_took_leaves_nothing_behind() {
        let topology = topology(&[UP, UP], 2);
        let all = ShardSet::all(8);
        let parts = [part(0, &all, NodeTaskState::Enqueued), part(1, &all, NodeTaskState::Enqueued)];
        assert_eq!(settle(&topology, &topology, &intent(RegistryChange::None), &parts, 1), Settled::default());
    }

    #[test]
    fn a_replica_that_did_not_take_a_write_is_stale_for_its_shards() {
        let topology = topology(&[UP, NodeState::Down], 2);
        let all = ShardSet::all(8);
        let parts = [part(0, &all, NodeTaskState::Enqueued), part(1, &all, NodeTaskState::Lost)];
        let settled = settle(&topology, &topology, &intent(RegistryChange::None), &parts, 1);
        assert_eq!(settled.marks.stale, [(NodeIx(1), "a".to_owned(), all.clone())]);
        assert_eq!(settled.no_replica, None);
        let strict = settle(&topology, &topology, &intent(RegistryChange::None), &parts, 2);
        assert_eq!(strict.no_replica.unwrap().code, "miroir_no_replica");
    }

    #[test]
    fn a_write_has_enough_once_the_least_of_in_sync_replicas_took_it() {
        let topology = topology(&[UP, UP, UP], 3);
        let all = ShardSet::all(8);
        let intent = intent(RegistryChange::None);
        let mut parts: Vec<NodeTask> = (0..3).map(|node| part(node, &all, NodeTaskState::Unsent)).collect();
        let mut enough = Vec::new();
        for node in 0..3 {
            enough.push([1, 2, 3].map(|least| suffices(&topology, &intent, &parts, least)));
            parts[node].state = NodeTaskState::Enqueued;
        }
        assert_eq!(enough, [[false; 3], [true, false, false], [true, true, false]]);
        assert!(suffices(&topology, &intent, &parts, 3));
        let refused = [part(0, &all, NodeTaskState::Failed), part(1, &all, NodeTaskState::Unsent)];
        assert!(suffices(&topology, &intent, &refused, 2), "the open ones would refuse it as well");
    }

    #[test]
    fn the_in_sync_set_never_becomes_empty() {
        let topology = topology(&[UP, UP], 2);
        let all = ShardSet::all(8);
        let parts = [part(0, &all, NodeTaskState::Lost), part(1, &all, NodeTaskState::Lost)];
        let settled = settle(&topology, &topology, &intent(RegistryChange::None), &parts, 1);
        assert!(settled.no_replica.is_some());
        for shard in all.iter() {
            let stale = settled.marks.stale.iter().filter(|(_, _, shards)| shards.contains(shard)).count();
            assert_eq!(stale, 1, "{shard:?}");
        }
    }

    #[test]
    fn a_stale_replica_alone_does_not_make_a_write_safe() {
        let mut topology = topology(&[UP, NodeState::Down], 2);
        let stale = crate::placement::topology::StaleSets::from([((NodeIx(0), "a".to_owned()), ShardSet::all(8))]);
        topology.stale = Arc::new(stale);
        assert_eq!(available(&topology, &intent(RegistryChange::None), 1).unwrap_err().status, 503);
        let mut other = intent(RegistryChange::None);
        other.index_uid = Some("b".into());
        assert_eq!(available(&topology, &other, 1), Ok(()));
    }

    #[test]
    fn what_all_who_answer_refuse_is_the_clients_error() {
        let topology = topology(&[UP, UP], 2);
        let all = ShardSet::all(8);
        let parts = [part(0, &all, NodeTaskState::Failed), part(1, &all, NodeTaskState::Lost)];
        assert_eq!(
            settle(&topology, &topology, &intent(RegistryChange::None), &parts, 1).refused.unwrap().message,
            "no"
        );
        let parts = [part(0, &all, NodeTaskState::Failed), part(1, &all, NodeTaskState::Enqueued)];
        let settled = settle(&topology, &topology, &intent(RegistryChange::None), &parts, 1);
        assert_eq!((settled.refused, settled.marks.stale.len()), (None, 1));
    }

    #[test]
    fn a_node_that_missed_a_deletion_holds_an_outdated_index() {
        let topology = topology(&[UP, NodeState::Down], 2);
        let none = ShardSet::new();
        let parts = [part(0, &none, NodeTaskState::Enqueued), part(1, &none, NodeTaskState::Lost)];
        let settled = settle(&topology, &topology, &intent(RegistryChange::Delete { index: "a".into() }), &parts, 1);
        let missed = Missed { outdated: BTreeSet::from(["a".to_owned()]), ..Missed::default() };
        assert_eq!(settled.marks.missed, [(NodeIx(1), missed)]);
        assert_eq!(settled.no_replica, None);
    }

    #[test]
    fn a_swap_wants_a_replica_of_every_shard_to_rebuild_the_others_from() {
        let pairs = vec![("a".to_owned(), "b".to_owned())];
        let swap = WriteIntent {
            index_uid: None,
            steps: vec![Step { shards: ShardSet::new(), ..intent(RegistryChange::None).steps[0].clone() }],
            ..intent(RegistryChange::Swap { pairs, renamed: Vec::new() })
        };
        assert_eq!(available(&topology(&[UP, UP, NodeState::Down], 2), &swap, 1), Ok(()));
        let refused = available(&topology(&[UP, NodeState::Down, NodeState::Down], 2), &swap, 1).unwrap_err();
        assert_eq!(refused.code, "miroir_no_replica");
        let mut left_behind = topology(&[UP, UP, NodeState::Down], 2);
        let stale = crate::placement::topology::StaleSets::from([((NodeIx(0), "b".to_owned()), ShardSet::all(8))]);
        left_behind.stale = Arc::new(stale);
        assert!(available(&left_behind, &swap, 1).is_err());
    }

    #[test]
    fn what_a_node_holds_of_the_past_is_swapped_by_nobody_and_stays_of_the_past_under_its_new_name() {
        let mut topology = topology(&[UP, UP, NodeState::Down], 2);
        let apart = crate::placement::topology::ApartSets::from([((NodeIx(0), "a".to_owned()), Apart::Absent)]);
        topology.apart = Arc::new(apart);
        let swap = WriteIntent {
            index_uid: None,
            steps: vec![Step { shards: ShardSet::new(), ..intent(RegistryChange::None).steps[0].clone() }],
            ..intent(RegistryChange::Swap { pairs: vec![("a".to_owned(), "b".to_owned())], renamed: Vec::new() })
        };
        assert_eq!(available(&topology, &swap, 1).unwrap_err().code, "miroir_no_replica");
        let mut marks = Marks::default();
        swap_stale(&topology, "a", "b", &mut marks);
        let outdated = Missed { outdated: ["b".to_owned()].into(), ..Missed::default() };
        assert_eq!(marks.missed, [(NodeIx(0), outdated)]);
    }

    #[test]
    fn nothing_can_be_written_while_every_node_is_joining() {
        let topology = topology(&[NodeState::Joining; 3], 2);
        assert_eq!(available(&topology, &intent(RegistryChange::None), 1).unwrap_err().code, "miroir_no_replica");
    }
}
