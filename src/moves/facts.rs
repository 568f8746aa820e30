//! What the planner must know of the cluster at this moment.

use super::part::Rebalancer;
use crate::ledger::bookkeeping::Held;
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeState;
use crate::rebalance::layout::{ByNode, insert};
use crate::rebalance::{Facts, Layout};

/// The facts while the bookkeeping is held: what is stale stays so until something has followed from it.
pub(super) fn facts_held(rebalancer: &Rebalancer, _held: &Held<'_>, layout: &Layout) -> Facts {
    facts(rebalancer, layout)
}

/// The facts of this moment, for who only looks.
pub(super) fn facts(rebalancer: &Rebalancer, layout: &Layout) -> Facts {
    let topology = rebalancer.nodes.topology();
    let up = topology.members().filter(|ix| topology.node(*ix).state == NodeState::Up);
    let up = up.map(|ix| topology.node(ix).id.clone()).collect();
    let mut stale = ByNode::new();
    for ((node, index), shards) in topology.stale.iter() {
        // What is stale in an index that is gone keeps nobody from serving.
        if rebalancer.ledger.registry.exists(index) {
            insert(&mut stale, &topology.node(*node).id, shards);
        }
    }
    // A replica that arrives takes over only when its index is as the cluster's.
    for (node, _) in topology.apart.keys().filter(|(_, index)| rebalancer.ledger.registry.exists(index)) {
        let id = &topology.node(*node).id;
        let arriving: ShardSet =
            topology.shards_of(*node).iter().filter(|shard| layout.is_arriving(id, *shard)).collect();
        insert(&mut stale, id, &arriving);
    }
    let quiet = rebalancer.nodes.older.quiet(layout.version) && rebalancer.is_quiet_elsewhere(layout.version);
    Facts { up, stale, quiet, concurrency: rebalancer.settings.get().concurrency }
}
