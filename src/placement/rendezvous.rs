//! Weighted rendezvous (HRW) hashing of shards to nodes.

use super::topology::{Node, NodeIx};

/// For each shard its owners in rank order: `min(replication_factor, nodes.len())` different nodes.
pub fn assign(_nodes: &[Node], _shards: u16, _replication_factor: u8) -> Vec<Vec<NodeIx>> {
    todo!()
}
