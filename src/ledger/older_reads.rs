//! Reads that were planned when a replica was in sync, and may be on their way to it still.
//!
//! Such a read may find what was there then; it must not find what a copy or a deletion has half done. The topologies by which
//! reads go are known: superseded ones are remembered weakly (see [`crate::nodes`]).

use std::time::Duration;

use super::part::Ledger;
use crate::nodes::metrics::Loop;
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeIx, Topology};

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Returns when no read is under way, at any gateway, that may ask `node` for one of these shards by a topology of before. To be called when
/// the current one does not let it. A read that takes longer than reads may has given the node up: what then still holds an
/// older topology asks it nothing.
pub(crate) async fn end(ledger: &Ledger, node: NodeIx, index: &str, shards: &ShardSet) {
    let asks_others = |older: &Topology| !older.answers_for(node, index, shards);
    // However short the time is that reads have: a gateway that has not heard begins new ones.
    ledger.nodes.elsewhere.heard().await;
    let ended = async {
        while !ledger.nodes.older.requests_all(asks_others) {
            tokio::time::sleep(LOOK_EVERY).await;
            ledger.nodes.metrics.went_round(Loop::OlderReads);
        }
    };
    let (own, ()) =
        tokio::join!(tokio::time::timeout(ledger.nodes.longest_read(), ended), ledger.nodes.elsewhere.quiet());
    if own.is_err() {
        let id = ledger.nodes.topology().node(node).id.clone();
        tracing::debug!(node = %id, index, "requests of before have outlived the time that reads have");
    }
}
