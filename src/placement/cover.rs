//! Which node answers for which shards in one query, each shard exactly once.
//!
//! Fewest nodes first: one node if it holds everything, then as few as are found, of one zone rather than of several. The
//! least number is not searched for (that is set cover); it is the best of a few quick tries, which is the least in the
//! clusters that people have. Among equals the seed chooses, so that different queries load different nodes and one
//! query, page after page, asks the same.

use serde::Serialize;

use super::shard::{ShardId, ShardSet, bits_of};
use super::topology::{Apart, NodeIx, Topology};

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
    /// True when the node holds no document of the index outside `shards`, so that the shard filter can be left out.
    pub whole: bool,
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
    missing.subtract(&ShardSet::from_words(field.reachable.clone()));

    let chosen = field.choose(topology);
    let mut answered = field.share_out(topology, &chosen);
    let mut parts: Vec<CoverPart> = chosen
        .iter()
        .zip(answered.drain(..))
        .filter(|(_, words)| words.iter().any(|word| *word != 0))
        .map(|(candidate, words)| {
            let node = field.nodes[*candidate];
            let part = ShardSet::from_words(words);
            let owns_no_more = topology.shards_of(node).is_subset(&part);
            let whole = owns_no_more && !topology.has_stale(node, index) && !topology.has_residue(node);
            CoverPart { node, shards: part, whole }
        })
        .collect();
    parts.sort_unstable_by_key(|part| part.node);
    Cover { parts, missing }
}

/// How many orders of leaving nodes out are tried.
const TRIES: usize = 4;

/// What can be asked of whom: a row of shard bits for each node that can answer for some wanted shard.
struct Field {
    /// Words of a row.
    width: usize,
    /// In the order that the seed gives.
    nodes: Vec<NodeIx>,
    rows: Vec<u64>,
    /// All rows together.
    reachable: Vec<u64>,
}

// === impl Field ===

impl Field {
    fn new(
        topology: &Topology,
        index: &str,
        shards: &ShardSet,
        (exclude, apart): (&[NodeIx], Option<Apart>),
        seed: u64,
    ) -> Self {
        let wanted = shards.words();
        let width = wanted.len();
        let mut order: Vec<(u64, NodeIx)> = topology
            .indexes()
            .filter(|node| topology.node(*node).state.serves_reads() && !exclude.contains(node))
            .filter(|node| topology.apart_of(*node, index) == apart)
            .map(|node| (shuffle(seed, node), node))
            .collect();
        order.sort_unstable();

        let mut field = Self {
            width,
            nodes: Vec::with_capacity(order.len()),
            rows: Vec::with_capacity(order.len() * width),
            reachable: vec![0; width],
        };
        for (_, node) in order {
            let start = field.rows.len();
            field.rows.extend_from_slice(wanted);
            let row = &mut field.rows[start..];
            keep(row, topology.shards_of(node).words());
            if let Some(stale) = topology.stale_of(node, index) {
                for (word, stale) in row.iter_mut().zip(stale.words()) {
                    *word &= !stale;
                }
            }
            if row.iter().all(|word| *word == 0) {
                field.rows.truncate(start);
                continue;
            }
            add(&mut field.reachable, row);
            field.nodes.push(node);
        }
        field
    }

    fn row(&self, candidate: usize) -> &[u64] {
        &self.rows[candidate * self.width..][..self.width]
    }

    /// The candidates that together reach all that can be reached; as few as are found.
    fn choose(&self, topology: &Topology) -> Vec<usize> {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        if let Some(alone) = all.iter().find(|candidate| self.row(**candidate) == self.reachable) {
            return vec![*alone];
        }
        let mut best = self.smallest_of_zones(topology, &all);
        // One zone is taken unless several together need fewer nodes, so only a smaller cover may follow.
        let mut consider = |found: Option<Vec<usize>>| {
            if let Some(found) = found
                && best.as_ref().is_none_or(|best| found.len() < best.len())
            {
                best = Some(found);
            }
        };
        let mut rotated = all.clone();
        for _ in 0..all.len().min(TRIES) {
            consider(self.thin_out(&rotated));
            rotated.rotate_left(1);
        }
        consider(Some(self.take_largest(&all)));
        best.unwrap_or_default()
    }

    fn smallest_of_zones(&self, topology: &Topology, all: &[usize]) -> Option<Vec<usize>> {
        let zone_of = |candidate: usize| topology.zone_of(self.nodes[candidate]);
        let mut tried: Vec<usize> = Vec::new();
        let mut best: Option<Vec<usize>> = None;
        for candidate in all {
            let zone = zone_of(*candidate);
            if tried.contains(&zone) {
                continue;
            }
            tried.push(zone);
            let inside: Vec<usize> = all.iter().copied().filter(|other| zone_of(*other) == zone).collect();
            if inside.len() < 2 {
                continue;
            }
            if let Some(found) = self.thin_out(&inside)
                && best.as_ref().is_none_or(|best| found.len() < best.len())
            {
                best = Some(found);
            }
        }
        best
    }

    /// Leaves out, in order, each candidate that those kept and those yet to come can do without. `None` if even all of
    /// them do not reach everything.
    fn thin_out(&self, candidates: &[usize]) -> Option<Vec<usize>> {
        let count = candidates.len();
        // `rest[i]` is what the candidates from `i` on reach.
        let mut rest = vec![0u64; (count + 1) * self.width];
        for position in (0..count).rev() {
            let (head, tail) = rest.split_at_mut((position + 1) * self.width);
            let mine = &mut head[position * self.width..];
            mine.copy_from_slice(&tail[..self.width]);
            add(mine, self.row(candidates[position]));
        }
        if rest[..self.width] != self.reachable {
            return None;
        }
        let mut kept_reach = vec![0u64; self.width];
        let mut kept = Vec::with_capacity(count);
        for (position, candidate) in candidates.iter().enumerate() {
            let later = &rest[(position + 1) * self.width..][..self.width];
            let dispensable =
                kept_reach.iter().zip(later).zip(&self.reachable).all(|((kept, later), goal)| kept | later == *goal);
            if !dispensable {
                add(&mut kept_reach, self.row(*candidate));
                kept.push(*candidate);
            }
        }
        Some(kept)
    }

    /// Takes the candidate that adds most, until nothing is left to add.
    fn take_largest(&self, candidates: &[usize]) -> Vec<usize> {
        let mut left = self.reachable.clone();
        let mut taken = Vec::new();
        while left.iter().any(|word| *word != 0) {
            let mut best = (0, 0);
            for candidate in candidates {
                let gain: u32 =
                    self.row(*candidate).iter().zip(&left).map(|(row, left)| (row & left).count_ones()).sum();
                if gain > best.0 {
                    best = (gain, *candidate);
                }
            }
            for (left, row) in left.iter_mut().zip(self.row(best.1)) {
                *left &= !row;
            }
            taken.push(best.1);
        }
        taken
    }

    /// Gives every reachable shard to one of `chosen`, each as many as its weight asks for. What only one can answer goes
    /// first, by whole words; what several can goes to the one with the least to do.
    fn share_out(&self, topology: &Topology, chosen: &[usize]) -> Vec<Vec<u64>> {
        let mut once = vec![0u64; self.width];
        let mut contested = vec![0u64; self.width];
        for candidate in chosen {
            for ((once, contested), row) in once.iter_mut().zip(&mut contested).zip(self.row(*candidate)) {
                *contested |= *once & row;
                *once |= row;
            }
        }
        // A shard's weight in a node's load: half for a node of weight 2.
        let unit: Vec<f64> =
            chosen.iter().map(|candidate| 1.0 / topology.node(self.nodes[*candidate]).weight).collect();
        let mut load = Vec::with_capacity(chosen.len());
        let mut answered: Vec<Vec<u64>> = Vec::with_capacity(chosen.len());
        for (position, candidate) in chosen.iter().enumerate() {
            let own: Vec<u64> =
                self.row(*candidate).iter().zip(&contested).map(|(row, contested)| row & !contested).collect();
            let count: u32 = own.iter().map(|word| word.count_ones()).sum();
            load.push(f64::from(count) * unit[position]);
            answered.push(own);
        }
        // Only a shard's owners are looked at, so that this does not grow with the number of nodes.
        let mut place = vec![None; topology.nodes.len()];
        for (position, candidate) in chosen.iter().enumerate() {
            place[self.nodes[*candidate].0] = Some((position, *candidate));
        }
        for (word, contested) in contested.iter().enumerate() {
            for bit in bits_of(*contested) {
                let mut best = (f64::INFINITY, 0);
                for owner in topology.owners_of(ShardId(word as u16 * 64 + bit)) {
                    let Some((position, candidate)) = place[owner.0] else { continue };
                    let after = load[position] + unit[position];
                    if self.rows[candidate * self.width + word] >> bit & 1 == 1 && after < best.0 {
                        best = (after, position);
                    }
                }
                load[best.1] = best.0;
                answered[best.1][word] |= 1 << bit;
            }
        }
        answered
    }
}

/// A node's place in the order of tries: another for every seed. Splitmix64's finisher; nothing stored depends on it.
fn shuffle(seed: u64, node: NodeIx) -> u64 {
    let mut mixed = seed ^ (node.0 as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn add(words: &mut [u64], other: &[u64]) {
    for (word, other) in words.iter_mut().zip(other) {
        *word |= other;
    }
}

fn keep(words: &mut [u64], other: &[u64]) {
    for (position, word) in words.iter_mut().enumerate() {
        *word &= other.get(position).copied().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use super::*;
    use crate::placement::topology::{Node, NodeId, NodeState, StaleSets};

    fn cluster(zones: &[Option<&str>], shards: u16, replication_factor: u8) -> Topology {
        let nodes = zones
            .iter()
            .enumerate()
            .map(|(number, zone)| Node {
                id: NodeId::new(&format!("node-{number}")),
                url: format!("http://node-{number}:7700"),
                zone: zone.map(str::to_owned),
                weight: 1.0,
                state: NodeState::Up,
            })
            .collect();
        Topology::build(nodes, shards, replication_factor)
    }

    fn union(cover: &Cover) -> ShardSet {
        let mut union = ShardSet::new();
        for part in &cover.parts {
            let before = union.len();
            union.union_with(&part.shards);
            assert_eq!(union.len(), before + part.shards.len(), "a shard is in two parts");
        }
        union
    }

    #[test]
    fn a_node_whose_settings_of_the_index_differ_is_asked_only_for_what_nobody_else_has() {
        let mut topology = cluster(&[None; 3], 256, 2);
        topology.apart = Arc::new([((NodeIx(0), "i".to_owned()), Apart::Differs)].into());
        for seed in 0..20 {
            let others = cover(&topology, "i", &ShardSet::all(256), &[], seed);
            assert_eq!(others.parts.iter().map(|part| part.node).collect::<Vec<_>>(), [NodeIx(1), NodeIx(2)]);
            assert!(others.missing.is_empty());
        }
        let other_index = (0..20).map(|seed| cover(&topology, "j", &ShardSet::all(256), &[], seed));
        assert!(other_index.flat_map(|cover| cover.parts).any(|part| part.node == NodeIx(0)));
        topology.nodes[1].state = NodeState::Down;
        let last_resort = cover(&topology, "i", &ShardSet::all(256), &[], 1);
        assert_eq!((union(&last_resort), last_resort.missing.len()), (ShardSet::all(256), 0));
        let of_the_other = last_resort.parts.iter().find(|part| part.node == NodeIx(2)).map(|part| part.shards.clone());
        assert_eq!(of_the_other.as_ref(), Some(topology.shards_of(NodeIx(2))), "what node-2 has is asked of it alone");
        for kind in [Apart::Unsettled, Apart::Absent] {
            topology.apart = Arc::new([((NodeIx(0), "i".to_owned()), kind)].into());
            let without = cover(&topology, "i", &ShardSet::all(256), &[], 1);
            assert_eq!(without.parts.iter().map(|part| part.node).collect::<Vec<_>>(), [NodeIx(2)]);
            assert!(!without.missing.is_empty());
        }
    }

    #[test]
    fn one_node_is_asked_if_it_holds_everything() {
        let topology = cluster(&[None; 2], 256, 2);
        let cover = cover(&topology, "i", &ShardSet::all(256), &[], 1);
        assert_eq!(cover.parts.len(), 1);
        assert!(cover.parts[0].whole);
        assert!(cover.missing.is_empty());
    }

    #[test]
    fn two_of_three_nodes_answer_with_two_replicas() {
        let topology = cluster(&[None; 3], 256, 2);
        let mut pairs = BTreeSet::new();
        let mut asked = BTreeMap::<NodeIx, usize>::new();
        for seed in 0..300 {
            let cover = cover(&topology, "i", &ShardSet::all(256), &[], seed);
            assert_eq!(union(&cover), ShardSet::all(256));
            assert_eq!(cover.parts.len(), 2);
            assert!(cover.parts.iter().all(|part| (118..=138).contains(&part.shards.len())), "{cover:?}");
            assert!(cover.parts.iter().all(|part| !part.whole));
            pairs.insert(cover.parts.iter().map(|part| part.node).collect::<Vec<_>>());
            for part in &cover.parts {
                *asked.entry(part.node).or_default() += part.shards.len();
            }
        }
        assert_eq!(pairs.len(), 3, "every pair is used");
        let mean = 300 * 256 / 3;
        assert!(asked.values().all(|load| load.abs_diff(mean) < mean / 6), "{asked:?}");
    }

    #[test]
    fn one_zone_answers_if_it_can() {
        let topology = cluster(&[Some("a"), Some("b"), Some("a"), Some("b"), Some("a"), Some("b")], 256, 2);
        let mut zones = BTreeSet::new();
        for seed in 0..50 {
            let cover = cover(&topology, "i", &ShardSet::all(256), &[], seed);
            assert_eq!(union(&cover), ShardSet::all(256));
            assert_eq!(cover.parts.len(), 3);
            let used: BTreeSet<_> = cover.parts.iter().map(|part| topology.node(part.node).zone.clone()).collect();
            assert_eq!(used.len(), 1);
            // A zone's nodes hold each shard once, so none needs a filter.
            assert!(cover.parts.iter().all(|part| part.whole));
            zones.extend(used);
        }
        assert_eq!(zones.len(), 2);
    }

    #[test]
    fn a_dead_node_of_the_zone_is_replaced_by_few_of_the_other() {
        let mut topology = cluster(&[Some("a"), Some("b"), Some("a"), Some("b")], 256, 2);
        topology.nodes[0].state = NodeState::Down;
        let cover = cover(&topology, "i", &ShardSet::all(256), &[], 3);
        assert_eq!(union(&cover), ShardSet::all(256));
        assert_eq!(cover.parts.iter().map(|part| part.node).collect::<Vec<_>>(), [NodeIx(1), NodeIx(3)]);
    }

    #[test]
    fn only_nodes_that_serve_reads_are_asked() {
        for state in NodeState::ALL.iter().copied().filter(|state| !state.serves_reads()) {
            let mut topology = cluster(&[None; 3], 64, 2);
            topology.nodes[1].state = state;
            for seed in 0..20 {
                let cover = cover(&topology, "i", &ShardSet::all(64), &[], seed);
                assert!(cover.parts.iter().all(|part| part.node != NodeIx(1)));
                assert!(cover.missing.is_empty());
            }
        }
    }

    #[test]
    fn excluded_nodes_are_not_asked_and_what_is_left_without_is_missing() {
        let topology = cluster(&[None; 3], 64, 2);
        let cover = cover(&topology, "i", &ShardSet::all(64), &[NodeIx(0), NodeIx(2)], 9);
        assert_eq!(cover.parts.len(), 1);
        assert_eq!(&cover.parts[0].shards, topology.shards_of(NodeIx(1)));
        assert!(cover.parts[0].whole);
        let mut everything = cover.missing.clone();
        everything.union_with(&cover.parts[0].shards);
        assert_eq!(everything, ShardSet::all(64));
        assert_eq!(cover.missing.len() + cover.parts[0].shards.len(), 64);
    }

    #[test]
    fn a_stale_replica_is_not_asked_for_its_index_alone() {
        let mut topology = cluster(&[None; 2], 64, 2);
        let stale: StaleSets = [((NodeIx(0), "i".to_owned()), [ShardId(7)].into_iter().collect())].into();
        topology.stale = Arc::new(stale);
        for seed in 0..20 {
            let one = cover(&topology, "i", &ShardSet::all(64), &[], seed);
            assert_eq!(one.parts.len(), 1);
            assert_eq!(one.parts[0].node, NodeIx(1));
            assert!(one.parts[0].whole);
        }
        let others: BTreeSet<_> =
            (0..20).map(|seed| cover(&topology, "j", &ShardSet::all(64), &[], seed).parts[0].node).collect();
        assert_eq!(others.len(), 2);
    }

    #[test]
    fn a_node_with_a_stale_shard_is_never_whole() {
        let mut topology = cluster(&[None; 2], 64, 2);
        topology.stale = Arc::new([((NodeIx(0), "i".to_owned()), [ShardId(7)].into_iter().collect())].into());
        let cover = cover(&topology, "i", &ShardSet::all(64), &[NodeIx(1)], 0);
        assert_eq!(cover.missing.iter().collect::<Vec<_>>(), [ShardId(7)]);
        assert!(!cover.parts[0].whole);
    }

    #[test]
    fn a_node_with_documents_of_shards_that_it_does_not_own_is_never_whole() {
        let mut topology = cluster(&[None; 3], 64, 2);
        let foreign = topology.owners_of(ShardId(0)).to_vec();
        let node = topology.indexes().find(|node| !foreign.contains(node)).expect("a node without shard 0");
        let others: Vec<NodeIx> = topology.indexes().filter(|other| *other != node).collect();
        assert!(cover(&topology, "i", topology.shards_of(node), &others, 0).parts[0].whole);
        topology.residue = Arc::new([(node, [ShardId(0)].into_iter().collect())].into());
        assert!(!cover(&topology, "i", topology.shards_of(node), &others, 0).parts[0].whole);
    }

    #[test]
    fn one_shard_takes_one_node_and_a_filter() {
        let topology = cluster(&[None; 3], 256, 2);
        let wanted: ShardSet = [ShardId(200)].into_iter().collect();
        let nodes: BTreeSet<_> = (0..50)
            .map(|seed| {
                let cover = cover(&topology, "i", &wanted, &[], seed);
                assert_eq!(cover.parts.len(), 1);
                assert!(!cover.parts[0].whole);
                cover.parts[0].node
            })
            .collect();
        assert_eq!(nodes, topology.owners_of(ShardId(200)).iter().copied().collect());
    }

    #[test]
    fn equal_arguments_give_equal_covers() {
        let topology = cluster(&[None; 7], 512, 3);
        for seed in 0..20 {
            let wanted = ShardSet::all(512);
            assert_eq!(cover(&topology, "i", &wanted, &[], seed), cover(&topology, "i", &wanted, &[], seed));
        }
    }

    #[test]
    fn no_shards_take_no_nodes() {
        let topology = cluster(&[None; 3], 64, 2);
        let cover = cover(&topology, "i", &ShardSet::new(), &[], 0);
        assert!(cover.parts.is_empty() && cover.missing.is_empty());
    }
}
