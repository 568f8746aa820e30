//! How evenly an assignment spreads replicas.

use super::rendezvous;
use super::topology::{Node, NodeIx, Topology};

/// What one node holds and what it should.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    pub node: NodeIx,
    /// Replicas that the node owns.
    pub replicas: usize,
    /// Replicas that would be its fair share, a fraction as a rule.
    pub fair: f64,
}

/// Over this many times its fair share a node is called overfull.
pub const OVERFULL: f64 = 1.25;

/// The share of every node of the cluster. The fair share is in proportion to weight, as far as the spread over zones allows: no zone has
/// more copies of a shard than an even spread gives it, no node more than one.
pub fn shares(topology: &Topology) -> Vec<Share> {
    let mut replicas = vec![0; topology.nodes.len()];
    for owner in topology.owners.iter().flatten() {
        replicas[owner.0] += 1;
    }
    let zones = rendezvous::zones(&topology.nodes);
    let fair = fair_copies(&topology.nodes, &zones, topology.replication_factor);
    topology
        .members()
        .map(|node| Share { node, replicas: replicas[node.0], fair: fair[node.0] * f64::from(topology.shards) })
        .collect()
}

/// How the copies of a shard are spread over zones: each zone has `base` of them, and `extras` zones of those that are
/// `open` one more.
pub(super) struct Spread {
    pub base: Vec<usize>,
    pub open: Vec<bool>,
    pub extras: usize,
}

/// `sizes`: how many nodes are in each zone. Full rounds give every zone one copy more; what is left is the last round's.
pub(super) fn spread(sizes: &[usize], copies: usize) -> Spread {
    let mut spread = Spread { base: vec![0; sizes.len()], open: vec![false; sizes.len()], extras: 0 };
    let mut left = copies.min(sizes.iter().sum());
    for round in 0.. {
        let open: Vec<bool> = sizes.iter().map(|size| *size > round).collect();
        let count = open.iter().filter(|open| **open).count();
        if left < count {
            spread.extras = left;
            spread.open = open;
            break;
        }
        if left == 0 {
            break;
        }
        for (base, _) in spread.base.iter_mut().zip(&open).filter(|(_, open)| **open) {
            *base += 1;
        }
        left -= count;
    }
    spread
}

/// How many copies of a shard each node holds on average; none of a node that is removed. `zones` has the number of each
/// node's zone.
pub(super) fn fair_copies(nodes: &[Node], zones: &[usize], replication_factor: u8) -> Vec<f64> {
    let zone_count = zones.iter().max().map_or(0, |zone| zone + 1);
    let members: Vec<Vec<usize>> = (0..zone_count)
        .map(|zone| (0..nodes.len()).filter(|node| nodes[*node].state.is_member() && zones[*node] == zone).collect())
        .collect();
    let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
    let Spread { base, open, extras } = spread(&sizes, usize::from(replication_factor));

    let mut per_zone: Vec<f64> = base.iter().map(|base| *base as f64).collect();
    let open: Vec<usize> = (0..zone_count).filter(|zone| open[*zone]).collect();
    let zone_weights: Vec<f64> =
        open.iter().map(|zone| members[*zone].iter().map(|node| nodes[*node].weight).sum()).collect();
    for (zone, part) in open.iter().zip(fill(&zone_weights, extras as f64)) {
        per_zone[*zone] += part;
    }

    let mut fair = vec![0.0; nodes.len()];
    for (zone, inside) in members.iter().enumerate() {
        let weights: Vec<f64> = inside.iter().map(|node| nodes[*node].weight).collect();
        for (node, part) in inside.iter().zip(fill(&weights, per_zone[zone])) {
            fair[*node] = part;
        }
    }
    fair
}

/// Spreads `total` in proportion to `weights`, with at most 1 for each: what the heavy ones cannot take the others share.
fn fill(weights: &[f64], total: f64) -> Vec<f64> {
    let mut parts = vec![0.0; weights.len()];
    let mut full = vec![false; weights.len()];
    loop {
        let taken = full.iter().filter(|full| **full).count() as f64;
        let open: f64 = weights.iter().zip(&full).filter(|(_, full)| !**full).map(|(weight, _)| weight).sum();
        let mut overflow = false;
        for ((part, full), weight) in parts.iter_mut().zip(&mut full).zip(weights).filter(|((_, full), _)| !**full) {
            *part = (total - taken) * weight / open;
            if *part >= 1.0 {
                *part = 1.0;
                *full = true;
                overflow = true;
            }
        }
        if !overflow {
            return parts;
        }
    }
}

// === impl Share ===

impl Share {
    /// Held over fair: 1 is just right.
    pub fn ratio(&self) -> f64 {
        if self.fair > 0.0 { self.replicas as f64 / self.fair } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_heavy_one_cannot_take_the_others_share() {
        assert_eq!(fill(&[1.0, 1.0, 2.0], 2.0), vec![0.5, 0.5, 1.0]);
        assert_eq!(fill(&[10.0, 1.0, 1.0], 2.0), vec![1.0, 0.5, 0.5]);
        assert_eq!(fill(&[1.0, 1.0], 2.0), vec![1.0, 1.0]);
        assert_eq!(fill(&[3.0, 1.0], 1.0), vec![0.75, 0.25]);
    }
}
