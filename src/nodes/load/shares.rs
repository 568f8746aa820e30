//! Which reads a laden node is spared. Pure.
//!
//! The seed of a read chooses among equal covers, so that the pages of a query see the same replicas. Load does not choose anew: it
//! only takes from a node that is much slower than others a share of the seeds, and always the same ones for the same share.
//!
//! Example: three nodes would answer the next read after 4, 5 and 31 ms. The third is six times as slow as usual, and twice what is
//! let pass; so half of the queries that would go to it go to others, and their second pages too. Another query stays with it.

use crate::placement::stable_hash::hash_bytes;
use crate::placement::topology::NodeIx;

/// A node may be so many times as slow as is usual before it is spared anything.
const TOLERATED: f64 = 3.0;

/// Seconds; what is faster counts as this: among fast nodes there is nothing to choose.
const FAST: f64 = 0.002;

/// A node keeps at least so many of its reads, or nobody would notice that it is well again.
const KEPT: f64 = 0.125;

/// Shares are rounded down to steps, so that they seldom change.
const STEPS: f64 = 8.0;

/// For each node that is spared something how much of what the seeds give it, from 0 to 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shares(Vec<(NodeIx, f64)>);

// === impl Shares ===

impl Shares {
    /// `costs`: how many seconds the next read would take on each node of which that is known.
    pub fn of(costs: &[(NodeIx, f64)]) -> Self {
        let mut sorted: Vec<f64> = costs.iter().map(|(_, cost)| cost.max(FAST)).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        // Of two the faster: what is usual is what at least half of the nodes do.
        let Some(usual) = sorted.get(sorted.len().saturating_sub(1) / 2) else { return Self::default() };
        let spared = costs.iter().filter_map(|(node, cost)| {
            let share = (1.0 - TOLERATED * usual / cost.max(FAST)).min(1.0 - KEPT);
            let share = (share * STEPS).floor() / STEPS;
            (share > 0.0).then_some((*node, share))
        });
        Self(spared.collect())
    }

    /// The nodes that a read with this seed leaves to others, if they can answer as well.
    pub fn spared(&self, seed: u64) -> Vec<NodeIx> {
        let takes = |node: NodeIx, share: f64| {
            let bytes = [seed.to_le_bytes(), (node.0 as u64).to_le_bytes()].concat();
            (hash_bytes(&bytes) as f64) < share * u64::MAX as f64
        };
        self.0.iter().filter(|(node, share)| takes(*node, *share)).map(|(node, _)| *node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(milliseconds: &[f64]) -> Shares {
        let costs: Vec<(NodeIx, f64)> =
            milliseconds.iter().enumerate().map(|(node, cost)| (NodeIx(node), cost / 1000.0)).collect();
        Shares::of(&costs)
    }

    #[test]
    fn a_node_is_spared_what_goes_beyond_three_times_the_usual() {
        assert_eq!(shares(&[4.0, 5.0, 14.9]), Shares::default());
        assert_eq!(shares(&[4.0, 5.0, 31.0]), Shares(vec![(NodeIx(2), 0.5)]));
        assert_eq!(shares(&[0.1, 5.9]), Shares::default(), "fast enough");
        assert_eq!(shares(&[]), Shares::default());
    }

    #[test]
    fn it_keeps_enough_to_be_seen_to_get_well() {
        assert_eq!(shares(&[4.0, 1e9]), Shares(vec![(NodeIx(1), 0.875)]));
    }

    #[test]
    fn a_seed_that_leaves_a_node_leaves_it_for_every_larger_share_too() {
        let at = |share| Shares(vec![(NodeIx(1), share)]);
        let leaves = |share: f64| (0..4000).filter(|seed| !at(share).spared(*seed).is_empty()).collect::<Vec<u64>>();
        let (quarter, half) = (leaves(0.25), leaves(0.5));
        assert!((900..1100).contains(&quarter.len()) && (1850..2150).contains(&half.len()));
        assert!(quarter.iter().all(|seed| half.contains(seed)));
    }
}
