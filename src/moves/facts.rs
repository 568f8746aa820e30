//! What the planner must know of the cluster at this moment.

use crate::cluster::Cluster;
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeState;
use crate::rebalance::layout::{ByNode, insert};
use crate::rebalance::{Facts, Layout};

/// To be called with the bookkeeping of in-sync sets held, where something follows from what is stale.
pub(super) fn facts(cluster: &Cluster, layout: &Layout) -> Facts {
    let topology = cluster.topology();
    let up = topology.members().filter(|ix| topology.node(*ix).state == NodeState::Up);
    let up = up.map(|ix| topology.node(ix).id.clone()).collect();
    let mut stale = ByNode::new();
    for ((node, index), shards) in topology.stale.iter() {
        // What is stale in an index that is gone keeps nobody from serving.
        if cluster.registry.exists(index) {
            insert(&mut stale, &topology.node(*node).id, shards);
        }
    }
    // A replica that arrives takes over only when its index is as the cluster's.
    for (node, _) in topology.apart.keys().filter(|(_, index)| cluster.registry.exists(index)) {
        let id = &topology.node(*node).id;
        let arriving: ShardSet =
            topology.shards_of(*node).iter().filter(|shard| layout.is_arriving(id, *shard)).collect();
        insert(&mut stale, id, &arriving);
    }
    let quiet = cluster.rebalancer.quiet(layout.version);
    Facts { up, stale, quiet, concurrency: cluster.settings.rebalance.concurrency }
}
