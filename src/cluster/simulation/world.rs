//! The gateway's state and the nodes, and the steps that time can take.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::copies::{AboutToCopy, Copying};
use super::followers::{Barrier, Follower, Leads};
use super::member::Member;
use super::moves::Cleaning;
use super::reads::Read;
use super::{INDEX, SHARDS, roll};
use crate::ledger::insync;
use crate::ledger::marks::Marks;
use crate::placement::topology::{NodeId, NodeIx, NodeState, StaleSets, Topology};
use crate::placement::version::Placement;
use crate::plan::write::WriteIntent;
use crate::rebalance::{Goal, Layout, NodeSpec};
use crate::tasks::entry::MiroirTask;

/// A write between its place in the order and its acknowledgement.
pub struct Flight {
    pub task: MiroirTask,
    pub intent: WriteIntent,
    /// As it was when the write took its place.
    pub placed: Topology,
    /// Parts that wait for their turn in a lane.
    pub waiting: BTreeSet<usize>,
}

/// What waits in a lane.
pub enum Turn {
    /// A part of a write.
    Part(u32, usize),
    CleanUp,
}

pub struct World {
    random: u64,
    /// Every node that there ever was: one that is removed keeps its disk.
    pub members: BTreeMap<NodeId, Member>,
    pub layout: Layout,
    pub topology: Topology,
    /// A topology of before, by which some writes are still shared out.
    pub older: Topology,
    /// Rows as they are on disk.
    pub rows: BTreeMap<u32, MiroirTask>,
    pub flights: Vec<Flight>,
    /// For each node what waits for its turn, in order.
    pub lanes: BTreeMap<NodeId, VecDeque<Turn>>,
    /// Settled, with everything durable but the acknowledgement itself; and for whom that waits.
    pub settled: Vec<(MiroirTask, Barrier)>,
    /// Over, with everything that follows from it; and for whom it waits that this is shown.
    pub ending: Vec<(MiroirTask, Barrier)>,
    pub interrupted: Vec<MiroirTask>,
    pub reads: Vec<Read>,
    pub about_to_copy: Option<AboutToCopy>,
    pub copies: Vec<Copying>,
    /// No follower's request goes by an older layout than this, or somebody waits for it.
    pub quiet_elsewhere: Option<(u64, Option<Barrier>)>,
    pub followers: Vec<Follower>,
    pub leads: Leads,
    pub cleaning: Option<Cleaning>,
    /// How many times a node's replicas were marked stale.
    pub misses: BTreeMap<NodeId, u64>,
    pub next_uid: u32,
    pub log: Vec<String>,
    /// The first answer that was wrong.
    pub wrong: Option<String>,
}

// === impl World ===

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let nodes = 2 + roll(&mut random, 4);
        let replication_factor = 1 + roll(&mut random, 3.min(nodes)) as u8;
        let placement = Placement::ALL[roll(&mut random, Placement::ALL.len())];
        let goal = Goal { nodes: (0..nodes).map(spec).collect(), replication_factor, placement };
        let layout = Layout::first(goal, SHARDS);
        let mut topology = layout.to_topology();
        for node in &mut topology.nodes {
            node.state = NodeState::Up;
        }
        let followers = (0..roll(&mut random, 3)).map(|_| Follower::default()).collect();
        Self {
            random,
            members: topology.nodes.iter().map(|node| (node.id.clone(), Member::default())).collect(),
            layout,
            older: topology.clone(),
            topology,
            rows: BTreeMap::new(),
            flights: Vec::new(),
            lanes: BTreeMap::new(),
            settled: Vec::new(),
            ending: Vec::new(),
            interrupted: Vec::new(),
            reads: Vec::new(),
            about_to_copy: None,
            copies: Vec::new(),
            quiet_elsewhere: None,
            followers,
            leads: Leads::new(),
            cleaning: None,
            misses: BTreeMap::new(),
            next_uid: 0,
            log: Vec::new(),
            wrong: None,
        }
    }

    /// One thing that can happen.
    pub fn step(&mut self) {
        self.pass_time();
        self.follow();
        self.end_tasks();
        match self.roll(200) {
            0..36 => self.place(),
            36..84 => self.deliver(),
            84..102 => self.settle(),
            102..116 => self.acknowledge(),
            116..136 => self.work(),
            136..146 => self.poll(),
            146..149 => self.lose_node(),
            149..156 => self.return_node(),
            156..161 => self.begin_copy(),
            161..167 => self.cut_over(),
            167..171 => self.begin_read(),
            171..181 => self.answer_read(),
            181..183 => self.wish(),
            183..184 => self.steer(),
            184..198 => self.turn(),
            198 => self.older = self.topology.clone(),
            _ => self.crash(),
        }
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        roll(&mut self.random, sides)
    }

    /// One of a list, `None` of an empty one.
    pub fn any<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() { None } else { Some(of[self.roll(of.len())].clone()) }
    }

    pub fn tell(&mut self, what: String) {
        self.log.push(what);
    }

    pub fn id(&self, node: NodeIx) -> NodeId {
        self.topology.node(node).id.clone()
    }

    pub fn member(&mut self, node: &NodeId) -> &mut Member {
        self.members.get_mut(node).expect("every node has a disk")
    }

    pub fn runs(&self, node: &NodeId) -> bool {
        self.members[node].runs
    }

    pub fn publish(&mut self, change: impl FnOnce(&mut Topology)) {
        change(&mut self.topology);
        self.topology.epoch += 1;
        self.leads.number.n += 1;
    }

    /// Durable and published in one.
    pub fn mark(&mut self, marks: &Marks) {
        let admitted = insync::admit(&self.topology, marks);
        for (node, _, shards) in &marks.stale {
            let id = self.id(*node);
            *self.misses.entry(id.clone()).or_default() += 1;
            self.log.push(format!("{id} is stale: {:?}", shards.iter().collect::<Vec<_>>()));
        }
        if admitted.stale.is_empty() {
            return;
        }
        self.publish(|topology| {
            let mut stale = StaleSets::clone(&topology.stale);
            stale.extend(admitted.stale);
            topology.stale = Arc::new(stale);
        });
    }

    pub fn stale_nodes(&self) -> Vec<NodeIx> {
        self.topology.stale.keys().filter(|(_, index)| index == INDEX).map(|(node, _)| *node).collect()
    }
}

pub fn spec(position: usize) -> NodeSpec {
    let id = format!("n{position}");
    NodeSpec { url: format!("http://{id}"), id: NodeId::new(&id), zone: None, weight: 1.0, drained: false }
}
