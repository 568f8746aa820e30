//! Nodes are lost and come back, the gateway is killed, and what it was about is decided.

use std::sync::Arc;

use super::INDEX;
use super::member::Work;
use super::world::{Turn, World};
use crate::ledger::marks::Marks;
use crate::meili::error::{Code, ResponseError};
use crate::meili::task::TaskStatus;
use crate::moves::commit::doubtful;
use crate::placement::topology::{NodeId, NodeState, StaleSets};
use crate::rebalance::layout::{ByNode, insert};
use crate::tasks::adopt::adopt;
use crate::tasks::entry::{MiroirTask, NodeTaskState};
use crate::tasks::interrupted::{Course, decide, is_interrupted};

// === impl World ===

impl World {
    pub fn set_state(&mut self, node: &NodeId, state: NodeState) {
        self.publish(|topology| {
            if let Some(ix) = topology.find(node.as_str()) {
                topology.nodes[ix.0].state = state;
            }
        });
    }

    fn members_now(&self) -> Vec<(NodeId, NodeState)> {
        self.topology.members().map(|ix| self.topology.node(ix)).map(|node| (node.id.clone(), node.state)).collect()
    }

    pub fn lose_node(&mut self) {
        let members = self.members_now();
        let Some((node, _)) = self.any(&members) else { return };
        self.member(&node).runs = false;
        // Health checks may find out before a write does.
        if self.roll(2) == 0 {
            self.set_state(&node, NodeState::Down);
        }
        self.tell(format!("{node} is lost"));
    }

    pub fn return_node(&mut self) {
        let members = self.members_now();
        let Some((node, state)) = self.any(&members) else { return };
        let patient = self.roll(2) == 0;
        self.member(&node).runs = true;
        match state {
            // No operator acts here.
            NodeState::Up | NodeState::Maintenance | NodeState::Removed => {}
            NodeState::Joining | NodeState::Down => {
                let free = self.decide_interrupted(&node, patient);
                if free {
                    self.set_state(&node, NodeState::Repairing);
                }
                self.tell(format!("{node} is back; takes part: {free}"));
            }
            NodeState::Repairing => self.set_state(&node, NodeState::Up),
        }
    }

    fn decide_interrupted(&mut self, node: &NodeId, patient: bool) -> bool {
        let mut free = true;
        for mut task in std::mem::take(&mut self.interrupted) {
            let found = self.members[node].reports(task.uid);
            adopt(&mut task, node, found);
            let unasked = |task: &MiroirTask| {
                let mut open = task.parts.iter().filter(|part| part.state == NodeTaskState::Unsent);
                open.any(|part| self.topology.find(part.node.as_str()).is_some())
            };
            if patient && unasked(&task) {
                free = false;
                self.interrupted.push(task);
                continue;
            }
            let decision = decide(&task, &self.topology);
            let stale = decision.stale.into_iter().map(|(node, shards)| (node, INDEX.to_owned(), shards)).collect();
            self.mark(&Marks { stale, missed: Vec::new() });
            self.tell(format!("write {} was interrupted: {:?}", task.uid, decision.course));
            if !decision.open.is_empty() {
                let own = self.topology.find(node.as_str()).map(|ix| self.topology.shards_of(ix));
                free &= !decision.open.iter().any(|shard| own.is_some_and(|own| own.contains(shard)));
                self.interrupted.push(task);
                continue;
            }
            match decision.course {
                Course::Forward | Course::Apart => {
                    for part in task.parts.iter_mut().filter(|part| part.state == NodeTaskState::Unsent) {
                        part.state = NodeTaskState::Lost;
                    }
                }
                Course::Back => {
                    task.error = Some(ResponseError::new(Code::MiroirWriteInterrupted, "interrupted"));
                    task.status = TaskStatus::Failed;
                }
            }
            self.rows.insert(task.uid, task);
        }
        free
    }

    /// kill -9 of the gateway, and a start: what is not durable is gone.
    pub fn crash(&mut self) {
        for (node, lane) in std::mem::take(&mut self.lanes) {
            // Of each lane one request may be on its way.
            if !self.runs(&node) || self.roll(2) == 0 {
                continue;
            }
            match lane.front() {
                Some(Turn::Part(uid, _)) => self.member(&node).accept(*uid),
                Some(Turn::CleanUp) => {
                    if let Some(cleaning) = self.cleaning.clone() {
                        self.member(&node).queue.push_back(Work::CleanUp(cleaning));
                    }
                }
                None => {}
            }
        }
        self.flights.clear();
        self.settled.clear();
        // Those of other gateways go on.
        self.reads.retain(|read| read.by.is_some());
        self.ending.clear();
        self.about_to_copy = None;
        self.quiet_elsewhere = None;
        self.next_leader();
        self.copies.clear();
        self.cleaning = None;
        self.misses.clear();
        let mut stale = ByNode::new();
        for ((node, _), shards) in self.topology.stale.iter() {
            insert(&mut stale, &self.topology.node(*node).id, shards);
        }
        for (node, shards) in doubtful(&self.layout, &stale) {
            insert(&mut stale, &node, &shards);
        }
        let mut topology = self.layout.to_topology();
        topology.epoch = self.topology.epoch + 1;
        let known = stale.into_iter().filter_map(|(node, shards)| Some((topology.find(node.as_str())?, shards)));
        topology.stale =
            Arc::new(known.map(|(node, shards)| ((node, INDEX.to_owned()), shards)).collect::<StaleSets>());
        self.older = topology.clone();
        self.topology = topology;
        let open = self.rows.values().filter(|row| !row.status.is_final());
        self.interrupted = open.filter(|row| is_interrupted(row)).cloned().collect();
        self.tell("the gateway is killed".to_owned());
    }

    /// All nodes run, and all that is open is decided.
    pub fn bring_all_back(&mut self) {
        for (node, state) in self.members_now() {
            self.member(&node).runs = true;
            if state != NodeState::Up {
                self.decide_interrupted(&node, false);
                self.set_state(&node, NodeState::Up);
            }
        }
    }
}
