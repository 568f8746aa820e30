//! Which node answers for which shards in one query, each shard exactly once.
//!
//! Fewest nodes first: one node if it holds everything, then as few as are found, of one zone rather than of several. The
//! least number is not searched for (that is set cover); it is the best of a few quick tries, which is the least in the
//! clusters that people have. Among equals the seed chooses, so that different queries load different nodes and one
//! query, page after page, asks the same. Nodes of the gateway's own zone come first among equals.
//!
//! Of those chosen, each in turn answers for all that is left and that it can answer: a search costs a node about the same
//! however many documents it has, and a few microseconds for each shard that its filter names. Example: of two of three nodes
//! with two replicas of 64 shards, the first answers for all its 43 and is asked without a filter, the other for 21. Of more
//! than two nodes several are tried as the first, and the filters with the fewest values win; who is asked at all
//! does not depend on that, or some nodes would be asked by every search.

mod field;
#[cfg(test)]
mod tests;

use serde::Serialize;

use self::field::Field;
use super::shard::ShardSet;
use super::topology::{Apart, NodeIx, Topology};

/// How many nodes are tried as the first to answer.
const FIRSTS: usize = 8;

/// The nodes to ask. Every wanted shard is in exactly one part, or in `missing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cover {
    /// In the order of nodes.
    pub parts: Vec<CoverPart>,
    /// Shards that no node can answer for at the moment.
    pub missing: ShardSet,
}

/// What one node answers for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoverPart {
    pub node: NodeIx,
    pub shards: ShardSet,
    pub besides: Besides,
}

/// What else than documents of its part a node holds of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Besides {
    /// Nothing: the filter by shards can be left out.
    Nothing,
    /// Documents of no other shards than these: they can be left out instead of the part's being named.
    Shards(ShardSet),
    /// Nobody says.
    Unknown,
}

// === impl CoverPart ===

impl CoverPart {
    /// True when the node is asked for all that it holds of the index.
    pub fn is_whole(&self) -> bool {
        self.besides == Besides::Nothing
    }

    /// How many values the node's filter has: the shards that it is asked for, or those that it is not and documents of
    /// words, whichever is fewer. Of a node that is asked for all it holds, the latter alone.
    pub fn values(&self) -> usize {
        let asked = self.shards.len();
        match &self.besides {
            Besides::Nothing => values(asked, asked),
            Besides::Shards(others) => values(asked, asked + others.len()),
            Besides::Unknown => asked,
        }
    }
}

/// What a filter for `asked` of the shards that a node holds has of values.
fn values(asked: usize, held: usize) -> usize {
    match held - asked {
        0 => 1,
        others => asked.min(others + 1),
    }
}

/// Covers `shards` of `index` by nodes that serve reads and whose replica is not stale; `exclude` names nodes that
/// failed in this query already. Equal arguments give equal covers.
///
/// A node whose settings of the index differ is asked only for what nobody else can answer.
pub fn cover(topology: &Topology, index: &str, shards: &ShardSet, exclude: &[NodeIx], seed: u64) -> Cover {
    let mut best = cover_of(topology, index, shards, (exclude, None), seed);
    if best.missing.is_empty() || topology.apart.is_empty() {
        return best;
    }
    let last_resort = cover_of(topology, index, &best.missing, (exclude, Some(Apart::Differs)), seed);
    best.parts.extend(last_resort.parts);
    best.parts.sort_unstable_by_key(|part| part.node);
    Cover { missing: last_resort.missing, ..best }
}

/// `among`: not these nodes, and of the others those on which the index is apart in this way.
fn cover_of(
    topology: &Topology,
    index: &str,
    shards: &ShardSet,
    among: (&[NodeIx], Option<Apart>),
    seed: u64,
) -> Cover {
    let field = Field::new(topology, index, shards, among, seed);
    let mut missing = shards.clone();
    missing.subtract(&ShardSet::from_bits(field.reachable.clone()));

    let held = |node: NodeIx| {
        let mut held = topology.shards_of(node).clone();
        topology.residue_of(node).into_iter().for_each(|residue| held.union_with(residue));
        held
    };
    let besides = |node: NodeIx, part: &ShardSet| {
        let mut held = held(node);
        held.subtract(part);
        if held.is_empty() { Besides::Nothing } else { Besides::Shards(held) }
    };
    let mut chosen = field.choose(topology);
    // Whoever can be asked for all that it holds goes first; the sort is stable.
    chosen.sort_by_key(|candidate| besides(field.nodes[*candidate], &field.shards_of(*candidate)) != Besides::Nothing);
    let sizes: Vec<usize> = chosen.iter().map(|candidate| held(field.nodes[*candidate]).len()).collect();
    let first = cheapest_first(&field, &chosen, &sizes);
    chosen.rotate_left(first);
    let mut answered = field.share_out(&chosen);
    let mut parts: Vec<CoverPart> = chosen
        .iter()
        .zip(answered.drain(..))
        .filter(|(_, words)| words.iter().any(|word| *word != 0))
        .map(|(candidate, words)| {
            let node = field.nodes[*candidate];
            let part = ShardSet::from_bits(words);
            CoverPart { node, besides: besides(node, &part), shards: part }
        })
        .collect();
    parts.sort_unstable_by_key(|part| part.node);
    debug_assert!(is_sound(topology, index, &parts), "a cover asks a replica that must not be asked, or a shard twice");
    Cover { parts, missing }
}

/// Which of `chosen` is to answer first, the others in turn after it, so that filters have the fewest values; of equals the
/// first. `sizes`: how many shards each holds. Of two nodes either order gives the same.
fn cheapest_first(field: &Field, chosen: &[usize], sizes: &[usize]) -> usize {
    if chosen.len() < 3 {
        return 0;
    }
    let mut order: Vec<(usize, usize)> = chosen.iter().copied().zip(sizes.iter().copied()).collect();
    let mut least = (usize::MAX, 0);
    for first in 0..order.len().min(FIRSTS) {
        let price = field.price(&order, values);
        if price < least.0 {
            least = (price, first);
        }
        order.rotate_left(1);
    }
    least.1
}

/// True when each shard is asked once, of an owner that serves and is in sync: the third of the invariants of ARCHITECTURE.md.
fn is_sound(topology: &Topology, index: &str, parts: &[CoverPart]) -> bool {
    let mut asked = ShardSet::new();
    parts.iter().all(|part| {
        let once = part.shards.iter().all(|shard| !asked.contains(shard));
        asked.union_with(&part.shards);
        let in_sync = part.shards.iter().all(|shard| !topology.is_stale(part.node, index, shard));
        let owned = part.shards.is_subset(topology.shards_of(part.node));
        once && in_sync && owned && topology.node(part.node).state.serves_reads()
    })
}
