//! Weighted rendezvous (HRW) hashing of shards to nodes, zones spread first: the first version of placement.
//!
//! # The order
//! Each shard ranks all nodes by a key that depends on nothing but the shard, the number of shards and the node's own id
//! and weight. That is what makes movement minimal, exactly: a node that comes takes the replicas in which it now ranks
//! high enough, a node that goes gives up those it held, and no other replica moves.
//!
//! The key of shard `s` on node `n`:
//! 1. `h = xxh3_64(s as two little-endian bytes ++ id's bytes)`;
//! 2. `r` = how many of the node's hashes over all S shards are smaller than `h`. Instead of S independent draws a node so
//!    holds one draw in each S-th of (0, 1), which halves the variance of how much it wins (Latin hypercube sampling);
//! 3. `u = (r + h / 2^64) / S`;
//! 4. cost = `-log2(u) / weight`, the least cost first. Costs are exponential with rate `weight`, so the first place goes
//!    to a node in proportion to its weight, and to a zone in proportion to the sum of its nodes' weights.
//!
//! All of it is integer arithmetic but for the one division, which IEEE 754 rounds the same everywhere. No `ln` of some
//! platform's libm decides where data lives.
//!
//! # Zones
//! A zone's best node for the shard has slot 1, its second best slot 2, and so on; owners are taken by slot, then by cost.
//! So replicas are in as many zones as there are, and with as many zones as replicas each zone holds one whole copy. A
//! node without a zone is a zone of its own.
//!
//! # Balance
//! Fair share: what a node holds when replicas go by weight as far as one copy a zone allows ([`super::balance`]). For
//! nodes of equal weight and at least 64 shards per node, thousands of random clusters each (`cargo bench --bench
//! placement` prints such a table): with two replicas or more no node was ever over 1.25 times its fair share; with one
//! replica 0 % of the clusters of 2 nodes had such a node, 0.1 % of 4 and 0.7 % of 8, against 0.4 %, 3.9 % and 12.8 % for
//! independent draws. It cannot be made certain: exactly minimal movement means that each shard has one fixed order of all
//! possible ids, and among infinitely many ids there always are some that S fixed orders treat badly (Erdős and Szekeres).
//! `miroir check` therefore computes the true shares of the configured nodes and names any that is over.
//!
//! With unequal weights and several replicas a heavy node gets a little less than its weight, as it can hold only one
//! replica of a shard: weights 2, 1, 1 with two replicas give 1.67 : 1.17 : 1.17.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::stable_hash::hash_bytes;
use super::topology::{Node, NodeIx};

/// How near a node is to a shard; the least is the nearest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    cost: f64,
    /// `u` scaled to 2^64; decides where two costs round to the same number.
    draw: u64,
}

/// For each shard its owners in rank order: `min(replication_factor, nodes.len())` different nodes. Depends on the
/// nodes' ids, zones and weights, not on their order or state; nodes that were removed count for nothing.
pub fn assign(nodes: &[Node], shards: u16, replication_factor: u8) -> Vec<Vec<NodeIx>> {
    let keys: Vec<Vec<Key>> = nodes.iter().map(|node| keys(node.id.as_str(), node.weight, shards)).collect();
    let zones = zones(nodes);
    let zone_count = zones.iter().max().map_or(0, |zone| zone + 1);

    (0..usize::from(shards))
        .map(|shard| {
            let mut ranked: Vec<usize> = (0..nodes.len()).filter(|node| nodes[*node].state.is_member()).collect();
            ranked.sort_by(|a, b| {
                let (left, right) = (&keys[*a][shard], &keys[*b][shard]);
                left.compare(right).then_with(|| nodes[*a].id.cmp(&nodes[*b].id))
            });
            let mut taken = vec![0usize; zone_count];
            let mut slotted: Vec<(usize, NodeIx)> = ranked
                .into_iter()
                .map(|node| {
                    taken[zones[node]] += 1;
                    (taken[zones[node]], NodeIx(node))
                })
                .collect();
            // Stable: within a slot the order by cost stays.
            slotted.sort_by_key(|(slot, _)| *slot);
            slotted.into_iter().take(usize::from(replication_factor)).map(|(_, node)| node).collect()
        })
        .collect()
}

/// The number of each node's zone, numbered as they come; a node without a zone has one to itself.
pub(super) fn zones(nodes: &[Node]) -> Vec<usize> {
    let mut named: HashMap<&str, usize> = HashMap::new();
    let mut count = 0;
    nodes
        .iter()
        .map(|node| {
            let fresh = count;
            let number = node.zone.as_deref().map_or(fresh, |zone| *named.entry(zone).or_insert(fresh));
            if number == fresh {
                count += 1;
            }
            number
        })
        .collect()
}

/// The keys of all shards on one node.
pub(super) fn keys(id: &str, weight: f64, shards: u16) -> Vec<Key> {
    let hashes: Vec<u64> = (0..shards).map(|shard| hash(shard, id)).collect();
    let mut ascending: Vec<u16> = (0..shards).collect();
    ascending.sort_by_key(|shard| (hashes[usize::from(*shard)], *shard));

    let mut keys = vec![Key { cost: f64::INFINITY, draw: 0 }; usize::from(shards)];
    for (rank, shard) in ascending.into_iter().enumerate() {
        let shard = usize::from(shard);
        let scaled = (((rank as u128) << 64) | u128::from(hashes[shard])) / u128::from(shards);
        let draw = (scaled as u64).max(1);
        keys[shard] = Key { cost: negative_log2(draw) as f64 / weight, draw };
    }
    keys
}

/// The bytes that are hashed: the shard's number, little-endian, then the id.
fn hash(shard: u16, id: &str) -> u64 {
    let mut bytes = Vec::with_capacity(2 + id.len());
    bytes.extend_from_slice(&shard.to_le_bytes());
    bytes.extend_from_slice(id.as_bytes());
    hash_bytes(&bytes)
}

const FRACTION_BITS: u32 = 52;

/// `-log2(draw / 2^64)` in units of 2^-52, found bit by bit: squaring a number in [1, 2) doubles its logarithm, whose
/// next binary digit is whether the square reaches 2. `draw` is not 0.
fn negative_log2(draw: u64) -> u64 {
    let leading = draw.leading_zeros();
    let mut logarithm = u64::from(63 - leading);
    let mut mantissa = u128::from(draw << leading);
    for _ in 0..FRACTION_BITS {
        mantissa = (mantissa * mantissa) >> 63;
        let digit = mantissa >> 64;
        mantissa >>= digit;
        logarithm = (logarithm << 1) | digit as u64;
    }
    (64 << FRACTION_BITS) - logarithm
}

// === impl Key ===

impl Key {
    /// The nearer first.
    pub(super) fn compare(&self, other: &Key) -> std::cmp::Ordering {
        self.cost.total_cmp(&other.cost).then_with(|| Reverse(self.draw).cmp(&Reverse(other.draw)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_a_logarithm() {
        for draw in [1u64, 2, 3, 1 << 32, (1 << 63) + 12345, u64::MAX / 3, u64::MAX] {
            let exact = 64.0 - (draw as f64).log2();
            let ours = negative_log2(draw) as f64 / (1u64 << FRACTION_BITS) as f64;
            assert!((exact - ours).abs() < 1e-9, "{draw}: {exact} {ours}");
        }
    }

    #[test]
    fn the_logarithm_falls_as_the_draw_grows() {
        let draws: Vec<u64> = (0..20_000u64).map(|step| 1 + step * (u64::MAX / 20_000)).collect();
        assert!(draws.windows(2).all(|pair| negative_log2(pair[0]) > negative_log2(pair[1])));
    }

    #[test]
    fn a_node_holds_one_draw_in_each_part_of_the_range() {
        let mut parts: Vec<u64> = keys("node-0", 1.0, 256).iter().map(|key| key.draw >> 56).collect();
        parts.sort_unstable();
        assert_eq!(parts, (0..256).collect::<Vec<u64>>());
    }
}
