//! Health checks drive the states of nodes; every change of a state is a new topology.
//!
//! Pingora's `Backends` and `HttpHealthCheck` probe, one of each per node, since each has its own host name and TLS. What
//! Pingora cannot say is that a node has never been seen, that it is back but not repaired, or that it is busy and not gone:
//! that is decided here. A refused connection is gone. A slow answer is busy: the node goes on until nothing at all is heard
//! of it for `health.patience`, and even then while most others are as silent, for then it is this machine that is slow.
//!
//! | module | what lives there |
//! |---|---|
//! | `life` | when a node was heard of last |
//! | `probe` | what asks one node how it is |
//! | `settings` | how often is probed, and how much patience there is |
//! | `start` | requests that come while nodes are about to take part wait for them, for a bounded time |

pub(super) mod life;
mod probe;
pub mod settings;
mod start;

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;

use self::probe::Probe;
use super::client::NodeObserver;
use super::elsewhere::Told;
use super::part::Nodes;
use crate::nodes::shutdown::stopped;
use crate::placement::topology::{NodeId, NodeState, Topology};

pub use self::life::{Life, Prospects, Signs};
pub use self::start::{Need, wait_for, wait_for_each};

/// What was learnt of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A good probe; how many in a row it makes.
    Good { in_a_row: usize },
    /// As many bad probes in a row as take a node out: it refuses connections, or what it answers is no good health.
    Fell,
    /// It has answered nothing for longer than patience lasts. `most`: like most nodes at the moment.
    Silent { most: bool },
    /// A subrequest could not connect.
    Unconnectable,
    /// It did not take a write long after others had.
    Slow,
}

/// What follows from a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    Nothing,
    /// Takes no traffic from now on.
    Down,
    /// Answers (again): to be repaired, then up.
    Return,
}

/// Hears of every subrequest: marks a node down as soon as one cannot connect, and keeps its signs of life.
pub(crate) struct Listener(pub Weak<Nodes>);

/// What a sign means for a node in `state`. A node marked down by a failed connection comes back after `rise` good
/// probes like any other; one that is joining after the first.
pub fn consequence(state: NodeState, sign: Sign, rise: usize) -> Consequence {
    match (state, sign) {
        (NodeState::Joining, Sign::Good { .. }) => Consequence::Return,
        (NodeState::Down, Sign::Good { in_a_row }) if in_a_row >= rise => Consequence::Return,
        (NodeState::Down, Sign::Good { .. }) => Consequence::Nothing,
        (NodeState::Up | NodeState::Repairing, Sign::Good { .. }) => Consequence::Nothing,
        // To be alone with most others is no sign against a node.
        (NodeState::Up | NodeState::Repairing, Sign::Silent { most: true }) => Consequence::Nothing,
        (NodeState::Up | NodeState::Repairing, Sign::Fell | Sign::Unconnectable | Sign::Slow | Sign::Silent { .. }) => {
            Consequence::Down
        }
        // The operator has the word.
        (NodeState::Maintenance, _) => Consequence::Nothing,
        (NodeState::Joining | NodeState::Down, Sign::Fell | Sign::Unconnectable | Sign::Slow | Sign::Silent { .. }) => {
            Consequence::Nothing
        }
        (NodeState::Removed, _) => Consequence::Nothing,
    }
}

/// Publishes a changed topology under the next epoch. The one place where the topology changes.
pub fn publish(nodes: &Nodes, change: impl FnOnce(&mut Topology)) -> Arc<Topology> {
    debug_assert!(!nodes.follows(), "how the nodes are is for another gateway to say");
    let _publishing = nodes.publishing.lock();
    let mut next = Topology::clone(&nodes.topology.load());
    change(&mut next);
    next.epoch += 1;
    let next = Arc::new(next);
    let superseded = nodes.topology.swap(Arc::clone(&next));
    debug_assert!(next.follows(&superseded), "a topology is replaced by one that does not follow it");
    let take_writes = |topology: &Topology| topology.nodes.iter().filter(|node| node.state.takes_writes()).count();
    let before = take_writes(&superseded);
    if take_writes(&next) > before {
        nodes.life.comes_back(before == 0, nodes.settings.start_wait);
    }
    nodes.older.superseded(&superseded);
    nodes.metrics.show(&next);
    nodes.elsewhere.changed(Told::Topology);
    next
}

/// Primary key and settings of each index of a node were compared with the cluster's, or the index is apart there: the node may
/// serve reads.
#[derive(Debug)]
pub struct Compared {
    _private: (),
}

// === impl Compared ===

impl Compared {
    /// Said by who has looked at every index of a node, and by nobody else.
    pub(crate) fn every_index() -> Self {
        Self { _private: () }
    }
}

/// A node that was repaired is up; false when it went down meanwhile.
pub fn serves_again(nodes: &Nodes, node: &NodeId, _compared: Compared) -> bool {
    change_state(nodes, node, &[NodeState::Repairing], NodeState::Up)
}

/// The gateway itself is in this zone from now on. The nodes are as they were, so no epoch begins.
pub fn stand_in(nodes: &Nodes, zone: Option<&str>) {
    let _publishing = nodes.publishing.lock();
    let before = nodes.topology.load_full();
    if before.own_zone.as_deref() == zone {
        return;
    }
    let mut next = Topology::clone(&before);
    next.own_zone = zone.map(Into::into);
    nodes.topology.store(Arc::new(next));
    nodes.older.superseded(&before);
}

/// Moves a node from one of `from` to `to`; false when it is in none of them any more. Up it comes by [`serves_again`] alone.
pub fn move_state(nodes: &Nodes, node: &NodeId, from: &[NodeState], to: NodeState) -> bool {
    debug_assert!(to != NodeState::Up, "a node would serve that was not compared");
    change_state(nodes, node, from, to)
}

fn change_state(nodes: &Nodes, node: &NodeId, from: &[NodeState], to: NodeState) -> bool {
    let current = |topology: &Topology| topology.nodes.iter().find(|candidate| candidate.id == *node).map(|n| n.state);
    // Most signs change nothing, and an epoch is for changes.
    if !current(&nodes.topology.load()).is_some_and(|state| from.contains(&state)) {
        return false;
    }
    let mut moved = false;
    publish(nodes, |topology| {
        let found = topology.nodes.iter_mut().find(|candidate| candidate.id == *node);
        if let Some(found) = found
            && from.contains(&found.state)
        {
            tracing::info!(node = %node, from = found.state.as_str(), to = to.as_str(), "node changes state");
            found.state = to;
            moved = true;
        }
    });
    moved
}

/// A node has missed a change: if it serves, it stops until it is repaired. If it is down, that happens anyway.
pub(crate) fn again(nodes: &Nodes, node: &NodeId) {
    if move_state(nodes, node, &[NodeState::Up], NodeState::Repairing) {
        nodes.returned(node);
    }
}

/// Acts on a sign.
pub fn learn(nodes: &Arc<Nodes>, node: &NodeId, sign: Sign) {
    if nodes.follows() {
        return;
    }
    let topology = nodes.topology();
    let Some(state) = topology.find(node.as_str()).map(|found| topology.node(found).state) else { return };
    match consequence(state, sign, nodes.settings.rise) {
        Consequence::Nothing => {}
        Consequence::Down => {
            if move_state(nodes, node, &[NodeState::Up, NodeState::Repairing], NodeState::Down) {
                tracing::warn!(node = %node, ?sign, "node is down");
            }
        }
        Consequence::Return => nodes.returned(node),
    }
}

/// Traffic has found out what probes have not yet: the node is down now, and has to show anew that it is well.
pub fn give_up(nodes: &Arc<Nodes>, node: &NodeId, sign: Sign) {
    nodes.life.reset(node);
    learn(nodes, node, sign);
}

/// A tick for each round of health checks; a late one moves those after it.
pub(crate) fn rounds(nodes: &Nodes) -> tokio::time::Interval {
    let mut rounds = tokio::time::interval(nodes.settings.interval.max(Duration::from_millis(10)));
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    rounds
}

/// Does `work`, by which something may be learnt of `node`, and tells other gateways where requests may wait for it otherwise than
/// before.
pub(super) fn noting<T>(nodes: &Nodes, node: &NodeId, work: impl FnOnce() -> T) -> T {
    let before = nodes.life.prospects(node);
    let done = work();
    if nodes.life.prospects(node) != before {
        nodes.elsewhere.changed(Told::Topology);
    }
    done
}

/// The repair of a node is over: it is up or soon will be, or nobody waits for it any more.
pub fn repaired(nodes: &Nodes, node: &NodeId, is_coming: bool) {
    noting(nodes, node, || nodes.life.repaired(node, is_coming));
}

/// Publishes what another gateway goes by: `make` is given the topology of before, and makes the one that is told. Nodes stay where
/// they are, also those that are no members any more. Nothing happens where it makes none.
pub fn install<E>(nodes: &Nodes, make: impl FnOnce(&Topology) -> Result<Topology, E>) -> Result<Arc<Topology>, E> {
    let _publishing = nodes.publishing.lock();
    let before = nodes.topology.load_full();
    let mut next = make(&before)?;
    next.epoch = before.epoch + 1;
    let next = Arc::new(next);
    debug_assert!(
        before.nodes.iter().zip(&next.nodes).all(|(then, now)| then.id == now.id)
            && before.nodes.len() <= next.nodes.len(),
        "a node has another position than before"
    );
    nodes.topology.store(Arc::clone(&next));
    nodes.older.superseded(&before);
    nodes.metrics.start_at_zero(&next);
    nodes.metrics.show(&next);
    Ok(next)
}

/// Probes all nodes every `health.interval`, each for itself, until `shutdown`: one that is slow keeps no other waiting.
pub async fn run(nodes: Arc<Nodes>, mut shutdown: watch::Receiver<bool>) {
    let mut probes = Vec::new();
    let mut interval = rounds(&nodes);
    loop {
        tokio::select! {
            _ = interval.tick() => follow_members(&nodes, &mut probes),
            _ = stopped(&mut shutdown) => return,
        }
    }
}

/// A probe for each node of the cluster: nodes come and go, and their urls change.
fn follow_members(nodes: &Arc<Nodes>, probes: &mut Vec<Probe>) {
    let topology = nodes.topology();
    let members = || topology.members().map(|ix| topology.node(ix));
    probes.retain(|probe| members().any(|node| probe.is_of(node)));
    for node in members() {
        if probes.iter().any(|probe| probe.is_of(node)) {
            continue;
        }
        match Probe::start(nodes, node) {
            Ok(probe) => probes.push(probe),
            Err(reason) => tracing::error!(node = %node.id, reason, "node cannot be probed"),
        }
    }
}

/// True when nothing is heard of most nodes of the cluster: then it is rather the gateway, or what lies between.
pub(crate) fn most_are_silent(nodes: &Nodes) -> bool {
    let topology = nodes.topology();
    let silent = topology.members().filter(|ix| nodes.life.signs(&topology.node(*ix).id).silent).count();
    silent * 2 > topology.members().count()
}

impl NodeObserver for Listener {
    fn connect_failed(&self, node: &NodeId) {
        if let Some(nodes) = self.0.upgrade() {
            give_up(&nodes, node, Sign::Unconnectable);
        }
    }

    fn heard(&self, node: &NodeId) {
        if let Some(nodes) = self.0.upgrade() {
            nodes.life.heard(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RISE: usize = 2;

    #[test]
    fn a_joining_node_returns_with_its_first_good_probe() {
        assert_eq!(consequence(NodeState::Joining, Sign::Good { in_a_row: 1 }, RISE), Consequence::Return);
        assert_eq!(consequence(NodeState::Joining, Sign::Fell, RISE), Consequence::Nothing);
    }

    #[test]
    fn a_node_that_went_down_returns_after_enough_good_probes() {
        assert_eq!(consequence(NodeState::Down, Sign::Good { in_a_row: 1 }, RISE), Consequence::Nothing);
        assert_eq!(consequence(NodeState::Down, Sign::Good { in_a_row: 2 }, RISE), Consequence::Return);
    }

    #[test]
    fn a_node_in_maintenance_is_left_alone() {
        for sign in
            [Sign::Good { in_a_row: 9 }, Sign::Fell, Sign::Unconnectable, Sign::Slow, Sign::Silent { most: false }]
        {
            assert_eq!(consequence(NodeState::Maintenance, sign, RISE), Consequence::Nothing);
        }
    }

    #[test]
    fn a_failed_connection_takes_a_node_down_at_once() {
        for state in [NodeState::Up, NodeState::Repairing] {
            assert_eq!(consequence(state, Sign::Unconnectable, RISE), Consequence::Down);
            assert_eq!(consequence(state, Sign::Fell, RISE), Consequence::Down);
            assert_eq!(consequence(state, Sign::Slow, RISE), Consequence::Down);
            assert_eq!(consequence(state, Sign::Silent { most: false }, RISE), Consequence::Down);
            assert_eq!(consequence(state, Sign::Silent { most: true }, RISE), Consequence::Nothing);
            assert_eq!(consequence(state, Sign::Good { in_a_row: 9 }, RISE), Consequence::Nothing);
        }
    }
}
