//! Covers that leave some nodes alone.

use super::Wanted;
use crate::placement::cover::{Cover, cover};
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeIx, Topology};

/// The cover without the nodes of the first of `avoided` that others can answer for; with all of them where that is none.
pub(super) fn cover_avoiding(
    topology: &Topology,
    wanted: Wanted<'_>,
    shards: &ShardSet,
    failed: &[NodeIx],
    avoided: [&[NodeIx]; 2],
) -> Cover {
    for avoided in avoided.into_iter().filter(|avoided| !avoided.is_empty()) {
        let exclude = [failed, avoided].concat();
        let without = cover(topology, wanted.index, shards, &exclude, wanted.seed);
        if without.missing.is_empty() {
            return without;
        }
    }
    cover(topology, wanted.index, shards, failed, wanted.seed)
}

/// As small a cover without laden nodes, or `chosen`, which was made without those to exclude.
pub(super) fn lighter(
    chosen: Cover,
    topology: &Topology,
    wanted: Wanted<'_>,
    shards: &ShardSet,
    exclude: &[NodeIx],
    laden: &[NodeIx],
) -> Cover {
    if !chosen.parts.iter().any(|part| laden.contains(&part.node)) {
        return chosen;
    }
    let exclude = [exclude, laden].concat();
    let lighter = cover(topology, wanted.index, shards, &exclude, wanted.seed);
    if lighter.missing.is_empty() && lighter.parts.len() <= chosen.parts.len() { lighter } else { chosen }
}
