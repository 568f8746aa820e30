//! Requests that come while nodes are about to take part wait for them, for a bounded time: after a start of the gateway until
//! each node has been looked at once, and after a restart of the nodes while most of them come back. Else the first write would
//! reach the first node only, and leave the others stale although they live.
//!
//! Example: three nodes are restarted at once. node-0 is up again at second 5. A write at second 5.1 waits until node-1 and
//! node-2 were looked at once more: node-1 answers and is waited for; node-2 refuses connections, misses the write, and is
//! stale. It needs until second 9, and a write at second 9.1 finds the cluster still coming back: it waits for the next look
//! at node-2, too, although the last one was in vain.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Life;
use crate::nodes::part::Nodes;
use crate::placement::topology::{Node, NodeState, Topology};

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a request wants of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A replica of each shard that serves.
    Reads,
    /// Every node that lives.
    Writes,
}

/// Returns when nothing of `need` is on its way any more, or when `health.start_wait` is over.
pub async fn wait_for(nodes: &Arc<Nodes>, need: Need) {
    let came = Instant::now();
    let deadline = came + nodes.settings.start_wait;
    while Instant::now() < deadline && wants_to_wait(nodes, need, came) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns when each node that answers takes part, also one that waits for another because of what was interrupted; or after `limit`.
pub async fn wait_for_each(nodes: &Arc<Nodes>, limit: Duration) {
    let deadline = Instant::now() + limit;
    let comes = || {
        let topology = nodes.topology();
        let mut members = topology.members();
        members.any(|ix| {
            let node = topology.node(ix);
            let signs = nodes.life.signs(&node.id);
            node.state == NodeState::Joining && (signs.looked_at.is_none() || signs.good_in_a_row > 0)
        })
    };
    while Instant::now() < deadline && comes() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// `came`: when the request did.
fn wants_to_wait(nodes: &Nodes, need: Need, came: Instant) -> bool {
    let topology = nodes.topology();
    let members = || topology.members().map(|ix| topology.node(ix));
    if members().all(|node| node.state == NodeState::Up) {
        return false;
    }
    let revives = match need {
        Need::Reads => false,
        Need::Writes => nodes.life.revived().is_some_and(|at| at.elapsed() < nodes.settings.start_wait),
    };
    let awaited = |node: &Node| {
        !nodes.life.is_stuck(&node.id)
            && (is_coming(node, &nodes.life, need) || (revives && is_unseen(node, &nodes.life, came)))
    };
    let joins = || members().any(|node| node.state == NodeState::Joining);
    members().any(awaited) && (joins() || revives || lacks(&topology, need))
}

/// True for a node that is down, as far as was known when the request came: it was not looked at since.
fn is_unseen(node: &Node, life: &Life, came: Instant) -> bool {
    node.state == NodeState::Down && life.signs(&node.id).looked_at.is_none_or(|looked_at| looked_at < came)
}

/// True for a node that is about to take part: nobody has looked at it yet, or its probes are good again.
fn is_coming(node: &Node, life: &Life, need: Need) -> bool {
    let signs = life.signs(&node.id);
    match (node.state, need) {
        (NodeState::Joining, _) => signs.looked_at.is_none() || signs.good_in_a_row > 0,
        (NodeState::Down, _) => signs.good_in_a_row > 0,
        (NodeState::Repairing, Need::Reads) => true,
        (NodeState::Repairing, Need::Writes) | (NodeState::Up | NodeState::Maintenance | NodeState::Removed, _) => {
            false
        }
    }
}

/// True where so little of the cluster takes part that it is worth waiting: a shard that nobody serves, or half of the nodes.
fn lacks(topology: &Topology, need: Need) -> bool {
    match need {
        Need::Reads => {
            let serves = |owners: &Vec<_>| owners.iter().any(|owner| topology.node(*owner).state.serves_reads());
            !topology.owners.iter().all(serves)
        }
        Need::Writes => {
            let live = topology.members().filter(|node| topology.node(*node).state.takes_writes()).count();
            live * 2 <= topology.members().count()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::topology::NodeId;

    fn node(state: NodeState) -> Node {
        Node { id: NodeId::new("n"), url: String::new(), zone: None, weight: 1.0, state }
    }

    #[tokio::test]
    async fn a_node_is_coming_until_it_was_looked_at_in_vain() {
        let life = Life::default();
        assert!(is_coming(&node(NodeState::Joining), &life, Need::Writes), "nobody has looked");
        let before = Instant::now();
        assert!(is_unseen(&node(NodeState::Down), &life, before));
        life.of(&NodeId::new("n")).lock().looked_at = Some(Instant::now());
        assert!(!is_coming(&node(NodeState::Joining), &life, Need::Writes), "it refuses connections");
        assert!(!is_coming(&node(NodeState::Down), &life, Need::Reads));
        assert!(!is_unseen(&node(NodeState::Down), &life, before), "it was down a moment ago");
        assert!(!is_unseen(&node(NodeState::Up), &life, Instant::now() + Duration::from_secs(1)));
        life.of(&NodeId::new("n")).lock().good_in_a_row = 1;
        assert!(is_coming(&node(NodeState::Joining), &life, Need::Reads));
        assert!(is_coming(&node(NodeState::Down), &life, Need::Writes));
        assert!(is_coming(&node(NodeState::Repairing), &life, Need::Reads));
        assert!(!is_coming(&node(NodeState::Repairing), &life, Need::Writes), "it takes writes");
    }

    #[test]
    fn a_write_waits_while_half_of_the_nodes_are_away_and_a_read_while_a_shard_is() {
        use NodeState::{Down, Up};
        let one_of_three = Topology::sample(&[Up, Down, Down], 8, 2);
        assert!(lacks(&one_of_three, Need::Writes) && lacks(&one_of_three, Need::Reads));
        let two_of_three = Topology::sample(&[Up, Up, Down], 8, 2);
        assert!(!lacks(&two_of_three, Need::Writes) && !lacks(&two_of_three, Need::Reads));
    }
}
