//! Which node answers for which shards in one query, each shard exactly once.

use serde::Serialize;

use super::shard::ShardSet;
use super::topology::{NodeIx, Topology};

/// The nodes to ask. Every wanted shard is in exactly one part, or in `missing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cover {
    pub parts: Vec<CoverPart>,
    /// Shards that no node can answer for at the moment.
    pub missing: ShardSet,
}

/// What one node answers for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoverPart {
    pub node: NodeIx,
    pub shards: ShardSet,
    /// True when the node holds no document of the index outside `shards`, so that the shard filter can be left out.
    pub whole: bool,
}

/// Covers `shards` of `index` by nodes that serve reads and whose replica is not stale; `exclude` names nodes that
/// failed in this query already. Equal arguments give equal covers.
pub fn cover(_topology: &Topology, _index: &str, _shards: &ShardSet, _exclude: &[NodeIx], _seed: u64) -> Cover {
    todo!()
}
