//! What must hold at every moment, and what at rest.

use super::followers::Barrier;
use super::world::World;
use super::{INDEX, SHARDS, touches};
use crate::meili::task::TaskStatus;
use crate::placement::shard::ShardId;
use crate::placement::topology::{NodeId, NodeIx};
use crate::tasks::entry::{MiroirTask, NodeTaskState};

/// How many rounds everything may take to come to rest.
const ROUNDS: usize = 1_000;

// === impl World ===

impl World {
    pub fn check(&self) -> Result<(), String> {
        if let Some(wrong) = &self.wrong {
            return Err(wrong.clone());
        }
        for shard in (0..SHARDS).map(ShardId) {
            let owners = self.topology.owners_of(shard).iter().copied();
            let in_sync: Vec<NodeIx> = owners.filter(|node| !self.topology.is_stale(*node, INDEX, shard)).collect();
            if in_sync.is_empty() {
                return Err(format!("no replica of {shard:?} is in sync"));
            }
            for node in in_sync {
                self.check_replica(&self.topology.node(node).id, shard)?;
            }
        }
        self.check_residue()
    }

    /// A replica in sync has accepted every acknowledged write of its shard, in their order.
    fn check_replica(&self, node: &NodeId, shard: ShardId) -> Result<(), String> {
        let member = &self.members[node];
        let content = &member.content[usize::from(shard.0)];
        for row in self.rows.values().filter(|row| row.acknowledged && touches(row, shard)) {
            let has = content.contains(&row.uid);
            let will = member.has_queued(row.uid);
            // That it failed here is found out when the task ends.
            let unknown = member.tasks.get(&row.uid) == Some(&NodeTaskState::Failed) && !row.status.is_final();
            // It is decided then, and not shown yet.
            let fails = |(task, _): &(MiroirTask, Barrier)| task.uid == row.uid && task.status == TaskStatus::Failed;
            let failed = row.status == TaskStatus::Failed || self.ending.iter().any(fails);
            if !has && !will && !unknown && !failed {
                return Err(format!("{node} counts as in sync for {shard:?} and lacks write {}: {row:?}", row.uid));
            }
        }
        let acknowledged = |uid: &&u32| self.rows[*uid].acknowledged;
        let order: Vec<u32> = content.iter().filter(acknowledged).copied().collect();
        if !order.is_sorted() {
            return Err(format!("{node} has the writes of {shard:?} in the order {order:?}"));
        }
        Ok(())
    }

    /// What a node holds of shards that it does not own is known, to be deleted.
    fn check_residue(&self) -> Result<(), String> {
        for ix in self.topology.members() {
            let (id, owned) = (&self.topology.node(ix).id, self.topology.shards_of(ix));
            for shard in (0..SHARDS).map(ShardId).filter(|shard| !owned.contains(*shard)) {
                let held = &self.members[id].content[usize::from(shard.0)];
                if !held.is_empty() && !self.layout.is_residue(id, shard) {
                    return Err(format!("{id} holds {held:?} of {shard:?}, which is not its own"));
                }
            }
        }
        Ok(())
    }

    /// What a node has missed that has left matters to nobody: it has no replica. A write's end may mark it after its shards were dropped, and
    /// then it is removed.
    fn is_stale_anywhere(&self) -> bool {
        self.topology.stale.keys().any(|(node, _)| self.topology.node(*node).state.is_member())
    }

    fn is_at_rest(&self) -> bool {
        let ended = self.rows.values().all(|row| row.status.is_final());
        ended
            && !self.is_stale_anywhere()
            && self.layout.is_at_rest()
            && self.reads.is_empty()
            && self.ending.is_empty()
    }

    /// Ends all faults, and lets everything come to rest.
    pub fn rest(&mut self) -> Result<(), String> {
        self.finish_writes();
        for _ in 0..ROUNDS {
            if self.is_at_rest() {
                break;
            }
            self.bring_all_back();
            self.pass_time();
            self.mend();
            self.end_tasks();
            self.resume();
            self.turn();
            while self.lanes.values().any(|lane| !lane.is_empty()) {
                self.deliver();
            }
            for node in self.members.keys().cloned().collect::<Vec<_>>() {
                self.work_off(&node);
            }
            self.poll_all();
            self.answer_read();
            self.begin_copy();
            self.cut_over();
            self.check()?;
        }
        if let Some(open) = self.rows.values().find(|row| !row.status.is_final()) {
            return Err(format!("write {} does not end: {open:?}", open.uid));
        }
        if self.is_stale_anywhere() {
            return Err(format!("replicas stay stale: {:?}", self.topology.stale));
        }
        if !self.layout.is_at_rest() {
            return Err(format!("the move does not end: {:?}", self.layout));
        }
        for shard in (0..SHARDS).map(ShardId) {
            let held = |node: &NodeIx| &self.members[&self.topology.node(*node).id].content[usize::from(shard.0)];
            let mut owners = self.topology.owners_of(shard).iter();
            let first = held(owners.next().expect("an owner"));
            if let Some(other) = owners.find(|node| held(node) != first) {
                return Err(format!("replicas of {shard:?} differ: {first:?}, {:?}", held(other)));
            }
        }
        Ok(())
    }
}
