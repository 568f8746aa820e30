//! Nodes work off their queues, and are asked how the tasks stand.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::followers::Barrier;
use super::member::Work;
use super::report;
use super::world::World;
use crate::ledger::insync;
use crate::placement::topology::NodeId;
use crate::tasks::entry::NodeTaskState;
use crate::tasks::fold::fold;

// === impl World ===

impl World {
    /// A node carries out its next task, or fails to.
    pub fn work(&mut self) {
        let busy: Vec<NodeId> = self
            .members
            .iter()
            .filter(|(_, member)| member.runs && !member.queue.is_empty())
            .map(|(node, _)| node.clone())
            .collect();
        let Some(node) = self.any(&busy) else { return };
        let fails = self.roll(40) == 0;
        self.work_on(&node, fails);
    }

    pub fn work_off(&mut self, node: &NodeId) {
        while !self.members[node].queue.is_empty() {
            self.work_on(node, false);
        }
    }

    fn work_on(&mut self, node: &NodeId, fails: bool) {
        match self.member(node).queue.pop_front() {
            None => {}
            Some(Work::CleanUp(cleaning)) => self.clean_up(node, &cleaning, fails),
            Some(Work::Write(uid)) => {
                let state = if fails { NodeTaskState::Failed } else { NodeTaskState::Succeeded };
                self.tell(format!("{node} ends write {uid}: {state:?}"));
                self.member(node).tasks.insert(uid, state);
                if fails {
                    return;
                }
                let parts = self.rows[&uid].parts.iter().filter(|part| part.node == *node);
                let shards: Vec<usize> =
                    parts.flat_map(|part| part.shards.iter().map(|shard| usize::from(shard.0))).collect();
                for shard in shards {
                    self.member(node).content[shard].push(uid);
                }
            }
        }
    }

    /// One round of questions about one task that has not ended.
    pub fn poll(&mut self) {
        let open: Vec<u32> = self.followed();
        if let Some(uid) = self.any(&open) {
            self.poll_one(uid);
        }
    }

    pub fn followed(&self) -> Vec<u32> {
        let under_way: BTreeSet<u32> = self
            .flights
            .iter()
            .map(|flight| flight.task.uid)
            .chain(self.settled.iter().chain(&self.ending).map(|(task, _)| task.uid))
            .chain(self.interrupted.iter().map(|task| task.uid))
            .collect();
        let open = self.rows.values().filter(|row| !row.status.is_final()).map(|row| row.uid);
        open.filter(|uid| !under_way.contains(uid)).collect()
    }

    pub fn poll_all(&mut self) {
        for uid in self.followed() {
            self.poll_one(uid);
        }
    }

    fn poll_one(&mut self, uid: u32) {
        let mut task = self.rows[&uid].clone();
        for part in task.parts.iter_mut().filter(|part| !part.state.is_final()) {
            let known = self.topology.find(part.node.as_str()).is_some();
            let member = &self.members[&part.node];
            match member.tasks.get(&uid) {
                _ if !known => part.state = NodeTaskState::Lost,
                _ if !member.runs => part.state = NodeTaskState::Unreachable,
                Some(state) => part.apply(report(uid, *state)),
                None => part.state = NodeTaskState::Lost,
            }
        }
        fold(&mut task, OffsetDateTime::UNIX_EPOCH);
        if task.status.is_final() {
            let marks = insync::conclude(&mut task, &self.topology);
            self.mark(&marks);
            self.tell(format!("write {uid} has {:?}", task.status));
            // Its row stays as it is until all gateways have heard.
            return self.ending.push((task, Barrier::heard()));
        }
        self.rows.insert(uid, task);
    }

    /// Shows as ended what all gateways have heard of.
    pub fn end_tasks(&mut self) {
        for (task, mut barrier) in std::mem::take(&mut self.ending) {
            if self.is_over(&mut barrier) {
                self.rows.insert(task.uid, task);
            } else {
                self.ending.push((task, barrier));
            }
        }
    }
}
