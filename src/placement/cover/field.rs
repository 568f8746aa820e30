//! The choice of few nodes: what each candidate can answer for, as rows of bits.

use crate::placement::shard::ShardSet;
use crate::placement::topology::{Apart, NodeIx, Topology};

/// How many orders of leaving nodes out are tried.
const TRIES: usize = 4;

/// What can be asked of whom: a row of shard bits for each node that can answer for some wanted shard.
pub(super) struct Field {
    /// Words of a row.
    width: usize,
    /// Those of the gateway's own zone first, and in the order that the seed gives.
    pub(super) nodes: Vec<NodeIx>,
    rows: Vec<u64>,
    /// All rows together.
    pub(super) reachable: Vec<u64>,
}

// === impl Field ===

impl Field {
    /// The nodes that may answer, those of the gateway's own zone first and then as `seed` shuffles them. `exclude`
    /// leaves nodes out, `apart` takes only those that hold another state of the index.
    pub(super) fn new(
        topology: &Topology,
        index: &str,
        shards: &ShardSet,
        (exclude, apart): (&[NodeIx], Option<Apart>),
        seed: u64,
    ) -> Self {
        let wanted = shards.bits();
        let width = wanted.len();
        let mut order: Vec<(bool, u64, NodeIx)> = topology
            .indexes()
            .filter(|node| topology.node(*node).state.serves_reads() && !exclude.contains(node))
            .filter(|node| topology.apart_of(*node, index) == apart)
            .map(|node| (topology.is_far(node), shuffle(seed, node), node))
            .collect();
        order.sort_unstable();

        let mut field = Self {
            width,
            nodes: Vec::with_capacity(order.len()),
            rows: Vec::with_capacity(order.len() * width),
            reachable: vec![0; width],
        };
        for (_, _, node) in order {
            let start = field.rows.len();
            field.rows.extend_from_slice(wanted);
            let row = &mut field.rows[start..];
            keep(row, topology.shards_of(node).bits());
            if let Some(stale) = topology.stale_of(node, index) {
                for (word, stale) in row.iter_mut().zip(stale.bits()) {
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
    pub(super) fn choose(&self, topology: &Topology) -> Vec<usize> {
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
        // Those that come first are left out first.
        rotated.rotate_left(all.partition_point(|candidate| !topology.is_far(self.nodes[*candidate])));
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

    /// What a candidate can answer for.
    pub(super) fn shards_of(&self, candidate: usize) -> ShardSet {
        ShardSet::from_bits(self.row(candidate).to_vec())
    }

    /// What `price` says of each candidate's part, given how many shards that has and how many the candidate holds, summed up.
    /// Each candidate stands beside the latter.
    pub(super) fn price(&self, order: &[(usize, usize)], price: impl Fn(usize, usize) -> usize) -> usize {
        let mut left = self.reachable.clone();
        let mut sum = 0;
        for (candidate, held) in order {
            let mut part = 0;
            for (row, left) in self.row(*candidate).iter().zip(&mut left) {
                part += (row & *left).count_ones() as usize;
                *left &= !row;
            }
            sum += if part == 0 { 0 } else { price(part, *held) };
        }
        sum
    }

    /// Gives every reachable shard to the first of `chosen` that can answer for it.
    pub(super) fn share_out(&self, chosen: &[usize]) -> Vec<Vec<u64>> {
        let mut left = self.reachable.clone();
        let mut answered = Vec::with_capacity(chosen.len());
        for candidate in chosen {
            let own: Vec<u64> = self.row(*candidate).iter().zip(&left).map(|(row, left)| row & left).collect();
            left.iter_mut().zip(&own).for_each(|(left, own)| *left &= !own);
            answered.push(own);
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
