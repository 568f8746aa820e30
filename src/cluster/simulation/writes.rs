//! Writes take their place, reach nodes or do not, are settled and acknowledged.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::INDEX;
use super::followers::Barrier;
use super::world::{Flight, Turn, World};
use crate::ledger::settle;
use crate::meili::task::{TaskKind, TaskStatus};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::{NodeId, NodeState, Topology};
use crate::plan::write::{RegistryChange, Step, StepBody, Target, WriteIntent};
use crate::tasks::entry::{MiroirTask, NodeTaskState};
use crate::write::send::{Trouble, pause_before};
use crate::write::writer::steps::{Extra, steps_for};

// === impl World ===

impl World {
    pub fn place(&mut self) {
        let chosen: ShardSet =
            (0..super::SHARDS).map(ShardId).filter(|_| self.roll(3) == 0).collect::<Vec<_>>().into_iter().collect();
        // What was shared out by older owners is shared out again.
        let mut intent = shared_out(&self.older, &chosen);
        if settle::shared_out(&self.topology, &intent).is_err() {
            intent = shared_out(&self.topology, &chosen);
        }
        if intent.steps.is_empty() || settle::available(&self.topology, &intent, 1).is_err() {
            return;
        }
        let mut task =
            MiroirTask::new(self.next_uid, intent.kind, intent.index_uid.clone(), OffsetDateTime::UNIX_EPOCH);
        self.next_uid += 1;
        let mut waiting = BTreeSet::new();
        for node in self.topology.members() {
            for planned in steps_for(node, &intent, &Extra::default(), &self.topology, &mut task) {
                if self.topology.node(node).state.takes_writes() {
                    waiting.insert(planned.part);
                    let lane = self.lanes.entry(self.topology.node(node).id.clone()).or_default();
                    lane.push_back(Turn::Part(task.uid, planned.part));
                } else {
                    task.parts[planned.part].state = NodeTaskState::Lost;
                }
            }
        }
        self.tell(format!("write {} takes its place, for {:?}", task.uid, chosen.iter().collect::<Vec<_>>()));
        self.rows.insert(task.uid, task.clone());
        let placed = self.topology.clone();
        self.flights.push(Flight { task, intent, placed, waiting });
    }

    /// A node's next turn: it takes what waits, or it does not, or nobody knows.
    pub fn deliver(&mut self) {
        let busy: Vec<NodeId> =
            self.lanes.iter().filter(|(_, lane)| !lane.is_empty()).map(|(node, _)| node.clone()).collect();
        let Some(node) = self.any(&busy) else { return };
        let turn = self.lanes.get_mut(&node).and_then(std::collections::VecDeque::pop_front);
        let Some(Turn::Part(uid, part)) = turn else { return self.send_cleanup(&node) };
        let state = self.send(&node, uid);
        self.tell(format!("write {uid} at {node}: {state:?}"));
        let flight = self.flights.iter_mut().find(|flight| flight.task.uid == uid).expect("a write under way");
        flight.waiting.remove(&part);
        flight.task.parts[part].state = state;
        flight.task.parts[part].task_uid = (state == NodeTaskState::Enqueued).then_some(uid);
    }

    fn send(&mut self, node: &NodeId, uid: u32) -> NodeTaskState {
        let finishes =
            self.topology.find(node.as_str()).is_some_and(|ix| self.topology.node(ix).state.finishes_writes());
        if !finishes {
            return NodeTaskState::Lost;
        }
        let mut attempt = 0;
        loop {
            let dice = self.roll(16);
            let trouble = match dice {
                _ if !self.runs(node) => Trouble::NotSent,
                0 | 1 => Trouble::MaybeApplied,
                2 => Trouble::Busy(None),
                3 => Trouble::Hopeless,
                _ => {
                    self.member(node).accept(uid);
                    return NodeTaskState::Enqueued;
                }
            };
            if trouble == Trouble::NotSent {
                self.set_state(node, NodeState::Down);
            }
            if trouble == Trouble::MaybeApplied {
                if dice == 0 {
                    self.member(node).accept(uid);
                }
                // The look-up may fail as well; then it stays open whether the node has the write.
                match (self.roll(3), dice) {
                    (0, _) => return NodeTaskState::Lost,
                    (_, 0) => return NodeTaskState::Enqueued,
                    _ => {}
                }
            }
            if pause_before(attempt, trouble, 0).is_none() {
                return NodeTaskState::Lost;
            }
            attempt += 1;
        }
    }

    pub fn settle(&mut self) {
        let ready: Vec<usize> =
            (0..self.flights.len()).filter(|flight| self.flights[*flight].waiting.is_empty()).collect();
        let Some(at) = self.any(&ready) else { return };
        let Flight { mut task, intent, placed, .. } = self.flights.remove(at);
        let settled = settle::settle(&self.topology, &placed, &intent, &task.parts, 1);
        self.mark(&settled.marks);
        if let Some(error) = settled.no_replica {
            self.tell(format!("write {} is refused", task.uid));
            if task.parts.iter().all(|part| part.task_uid.is_none()) {
                task.error = Some(error);
                task.status = TaskStatus::Failed;
            }
            self.rows.insert(task.uid, task);
        } else {
            self.settled.push((task, Barrier::heard()));
        }
    }

    pub fn acknowledge(&mut self) {
        if self.settled.is_empty() {
            return;
        }
        let at = self.roll(self.settled.len());
        let (mut task, mut barrier) = self.settled.remove(at);
        if !self.is_over(&mut barrier) {
            return self.settled.push((task, barrier));
        }
        task.acknowledged = true;
        self.tell(format!("write {} is acknowledged", task.uid));
        self.rows.insert(task.uid, task);
    }

    /// Lets the writes under way come to their end, as a closed gate does.
    pub fn finish_writes(&mut self) {
        while !self.flights.is_empty() || !self.settled.is_empty() {
            self.deliver();
            self.settle();
            self.acknowledge();
            self.pass_time();
            self.follow();
        }
    }
}

fn shared_out(topology: &Topology, chosen: &ShardSet) -> WriteIntent {
    let mut steps = Vec::new();
    for node in topology.members() {
        let mut shards = chosen.clone();
        shards.intersect_with(topology.shards_of(node));
        let (path, body) = ("/indexes/a/documents".to_owned(), StepBody::Empty);
        if !shards.is_empty() {
            steps.push(Step { to: Target::Node(node), method: "POST", path, content_type: None, body, shards });
        }
    }
    WriteIntent {
        kind: TaskKind::DocumentAdditionOrUpdate,
        index_uid: Some(INDEX.into()),
        indexes: vec![INDEX.into()],
        details: None,
        custom_metadata: None,
        ensure_index: false,
        registry: RegistryChange::None,
        copies: topology.replication_factor,
        documents: Default::default(),
        ids: Default::default(),
        steps,
    }
}
