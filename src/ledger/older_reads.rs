//! Reads that were planned when a replica was in sync, and may be on their way to it still.
//!
//! Such a read may find what was there then; it must not find what a copy or a deletion has half done. The topologies by which
//! reads go are known: superseded ones are remembered weakly (see [`crate::moves`]).

use std::time::Duration;

use crate::cluster::Cluster;
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeIx, Topology};
use crate::read;

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Returns when no read is under way that may ask `node` for one of these shards by a topology of before. To be called when
/// the current one does not let it. A read that takes longer than reads may has given the node up: what then still holds an
/// older topology asks it nothing.
pub(crate) async fn end(cluster: &Cluster, node: NodeIx, index: &str, shards: &ShardSet) {
    let asks_others = |older: &Topology| !older.answers_for(node, index, shards);
    let ended = async {
        while !cluster.rebalancer.older_requests_all(asks_others) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(read::longest(&cluster.settings.search), ended).await.is_err() {
        let id = cluster.topology().node(node).id.clone();
        tracing::debug!(node = %id, index, "requests of before have outlived the time that reads have");
    }
}
