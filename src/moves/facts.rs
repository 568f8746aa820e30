//! What the planner must know of the cluster at this moment.

use crate::cluster::Cluster;
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
    let quiet = cluster.rebalancer.quiet(layout.version);
    Facts { up, stale, quiet, concurrency: cluster.settings.rebalance.concurrency }
}
