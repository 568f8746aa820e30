//! The rounds that followed the first: noted as they begin, and held against what the plan foresees.

use super::gather::Nodes;
use super::reader::Reader;
use crate::plan::rounds::Later;
use crate::plan::scatter::Scatter;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// Notes that the read asks more.
    pub(super) fn note(&self, round: Later) {
        self.nodes.foresee(round);
        let mut later = self.later.lock();
        if !later.contains(&round) {
            later.push(round);
        }
    }

    /// True if no round followed that the plan does not foresee.
    pub(super) fn foreseen(&self, scatter: &Scatter) -> bool {
        let foreseen = scatter.later();
        self.later.lock().iter().all(|round| foreseen.contains(round))
    }
}
