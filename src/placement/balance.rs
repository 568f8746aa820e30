//! How evenly an assignment spreads replicas.

use super::rendezvous;
use super::topology::{NodeIx, Topology};

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
    let fair = fair_copies(topology);
    topology
        .members()
        .map(|node| Share { node, replicas: replicas[node.0], fair: fair[node.0] * f64::from(topology.shards) })
        .collect()
}

/// How many copies of a shard each node holds on average.
fn fair_copies(topology: &Topology) -> Vec<f64> {
    let weights: Vec<f64> = topology.nodes.iter().map(|node| node.weight).collect();
    let zones = rendezvous::zones(&topology.nodes);
    let zone_count = zones.iter().max().map_or(0, |zone| zone + 1);
    let members: Vec<Vec<usize>> = (0..zone_count)
        .map(|zone| topology.members().map(|node| node.0).filter(|node| zones[*node] == zone).collect())
        .collect();
    let copies = usize::from(topology.replication_factor).min(topology.members().count());

    // Full rounds give every zone one copy more; the last round gives the rest to the heavier zones.
    let mut per_zone = vec![0.0; zone_count];
    let mut left = copies;
    for round in 0.. {
        let open: Vec<usize> = (0..zone_count).filter(|zone| members[*zone].len() > round).collect();
        if left == 0 || open.is_empty() {
            break;
        }
        let zone_weights: Vec<f64> =
            open.iter().map(|zone| members[*zone].iter().map(|node| weights[*node]).sum()).collect();
        let round_copies = left.min(open.len());
        for (zone, part) in open.iter().zip(fill(&zone_weights, round_copies as f64)) {
            per_zone[*zone] += part;
        }
        left -= round_copies;
    }

    let mut fair = vec![0.0; weights.len()];
    for (zone, nodes) in members.iter().enumerate() {
        let inside: Vec<f64> = nodes.iter().map(|node| weights[*node]).collect();
        for (node, part) in nodes.iter().zip(fill(&inside, per_zone[zone])) {
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
