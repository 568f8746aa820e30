//! Maintenance: a node taken out of service on purpose, to be restarted without a failed request.
//!
//! Reads leave it at once and new writes skip it, as if it were down: what it misses is recorded as stale. What was under
//! way to it is finished, so that it can be stopped when it is idle. Health checks leave it alone until the operator ends
//! the maintenance; then it returns like any node that was away. Which nodes are in maintenance survives the gateway.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::part::Ledger;
use crate::nodes::health::move_state;
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeId, NodeIx, NodeState, Topology};
use crate::store::{Store, StoreError};

/// The fact of the store that lists the nodes.
const MAINTENANCE: &str = "maintenance";
/// Between two looks at what is under way.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The nodes in maintenance.
#[derive(Default)]
pub struct Maintenance {
    /// Guards the stored set and the decision whether another node can be spared.
    nodes: tokio::sync::Mutex<BTreeSet<NodeId>>,
}

/// Why a node is not taken out of service, or not brought back.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    #[error("no node is called `{0}`")]
    Unknown(String),
    #[error(
        "{shards} shards of node `{node}` would have fewer than {least} other replicas in sync: wait until the others are \
         up and resilvered, or force it"
    )]
    Needed { node: NodeId, shards: usize, least: u8 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl Maintenance ===

impl Maintenance {
    /// Reads what is durable, and puts it into `topology`.
    pub async fn load(store: &dyn Store, topology: &mut Topology) -> Result<Self, StoreError> {
        let nodes: BTreeSet<NodeId> = match store.get_meta(MAINTENANCE).await? {
            Some(text) => serde_json::from_str(&text)
                .map_err(|source| StoreError::Corrupt { what: "list of nodes in maintenance", source })?,
            None => BTreeSet::new(),
        };
        for node in topology.nodes.iter_mut().filter(|node| nodes.contains(&node.id)) {
            node.state = NodeState::Maintenance;
        }
        Ok(Self { nodes: tokio::sync::Mutex::new(nodes) })
    }
}

/// Takes a node out of service. Refused while its shards need it, unless `force`. Being told twice does no harm.
pub async fn begin(ledger: &Ledger, id: &str, force: bool) -> Result<(), MaintenanceError> {
    take_out(ledger, id, force).await?;
    ledger.nodes.elsewhere.heard().await;
    Ok(())
}

async fn take_out(ledger: &Ledger, id: &str, force: bool) -> Result<(), MaintenanceError> {
    let mut nodes = ledger.maintenance.nodes.lock().await;
    let topology = ledger.nodes.topology();
    let ix = topology.find(id).ok_or_else(|| MaintenanceError::Unknown(id.to_owned()))?;
    let node = topology.node(ix).id.clone();
    let least = ledger.settings.get().min_in_sync.max(1);
    let needed = needed(&topology, ix, least);
    if !needed.is_empty() && !force {
        return Err(MaintenanceError::Needed { node, shards: needed.len(), least });
    }
    nodes.insert(node.clone());
    store(ledger, &nodes).await?;
    let from = [NodeState::Joining, NodeState::Up, NodeState::Repairing, NodeState::Down];
    move_state(&ledger.nodes, &node, &from, NodeState::Maintenance);
    Ok(())
}

/// Lets a node return: it is probed, repaired and resilvered, and then serves.
pub async fn end(ledger: &Ledger, id: &str) -> Result<(), MaintenanceError> {
    let mut nodes = ledger.maintenance.nodes.lock().await;
    let topology = ledger.nodes.topology();
    let ix = topology.find(id).ok_or_else(|| MaintenanceError::Unknown(id.to_owned()))?;
    let node = &topology.node(ix).id;
    if nodes.remove(node) {
        store(ledger, &nodes).await?;
    }
    // Joining, and not down: the first good probe brings it back.
    move_state(&ledger.nodes, node, &[NodeState::Maintenance], NodeState::Joining);
    Ok(())
}

/// Waits until nothing is under way to a node, from no gateway; false when that takes longer than `limit`.
pub async fn idle(ledger: &Ledger, node: &NodeId, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    if tokio::time::timeout_at(deadline, ledger.nodes.elsewhere.quiet()).await.is_err() {
        return false;
    }
    let jobs = ledger.nodes.metrics.lane_jobs.with_label_values(&[node.as_str()]);
    let mut idle_before = false;
    loop {
        let idle = jobs.get() == 0 && ledger.nodes.overload.is_idle(node);
        // Twice in a row, for requests that were planned before and not sent yet.
        if idle && idle_before {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        idle_before = idle;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The shards of `node` that `least` other replicas do not hold, in sync and on nodes that serve. None where the node
/// does not serve itself: then nothing changes.
pub(crate) fn needed(topology: &Topology, node: NodeIx, least: u8) -> ShardSet {
    if !topology.node(node).state.serves_reads() {
        return ShardSet::new();
    }
    let holds = |owner: &NodeIx, shard| {
        topology.node(*owner).state.serves_reads()
            && !topology.stale.iter().any(|((stale, _), shards)| stale == owner && shards.contains(shard))
    };
    let others =
        |shard| topology.owners_of(shard).iter().filter(|owner| **owner != node && holds(owner, shard)).count();
    topology.shards_of(node).iter().filter(|shard| others(*shard) < usize::from(least)).collect()
}

async fn store(ledger: &Ledger, nodes: &BTreeSet<NodeId>) -> Result<(), StoreError> {
    let text = serde_json::to_string(nodes)
        .map_err(|source| StoreError::Corrupt { what: "list of nodes in maintenance", source })?;
    ledger.store.put_meta(MAINTENANCE, text).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::placement::topology::StaleSets;
    use crate::read::gather::tests::topology;

    #[test]
    fn a_node_can_be_spared_while_the_others_hold_its_shards_in_sync() {
        let mut topology = topology(3, 2);
        assert!(needed(&topology, NodeIx(0), 1).is_empty());
        assert_eq!(&needed(&topology, NodeIx(0), 2), topology.shards_of(NodeIx(0)));
        let stale = topology.shards_of(NodeIx(1)).clone();
        topology.stale = Arc::new(StaleSets::from([((NodeIx(1), "movies".to_owned()), stale.clone())]));
        let needed_now = needed(&topology, NodeIx(0), 1);
        let shared: ShardSet = topology.shards_of(NodeIx(0)).iter().filter(|shard| stale.contains(*shard)).collect();
        assert!(!shared.is_empty() && needed_now == shared);
        topology.nodes[0].state = NodeState::Down;
        assert!(needed(&topology, NodeIx(0), 1).is_empty(), "a node that is down anyway");
    }

    #[test]
    fn two_nodes_are_not_taken_out_at_once() {
        let mut topology = topology(3, 2);
        topology.nodes[0].state = NodeState::Maintenance;
        assert!(!needed(&topology, NodeIx(1), 1).is_empty());
        assert!(needed(&topology, NodeIx(0), 1).is_empty(), "told twice");
    }
}
