//! Gauges of the layout and of the plan under way.

use prometheus::{IntGauge, IntGaugeVec, Registry};

use crate::nodes::families::Families;
use crate::placement::shard::ShardSet;
use crate::rebalance::{Layout, Moves, PlanState, Waiting};

/// Where a replica that moves stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MoveState {
    /// Not begun.
    Waiting,
    /// Being copied.
    Arriving,
    /// Its old owner still has it.
    Leaving,
    /// Its documents are still to be deleted on a node that does not own it.
    Residue,
}

/// How far the plan under way is, and what it waits for.
#[derive(Clone)]
pub struct RebalanceMetrics {
    moves: IntGaugeVec,
    plan: IntGaugeVec,
    documents: IntGauge,
    version: IntGauge,
    waiting: IntGaugeVec,
}

const PLAN_STATES: [(&str, PlanState); 3] =
    [("running", PlanState::Running), ("paused", PlanState::Paused), ("canceling", PlanState::Canceling)];

// === impl MoveState ===

impl MoveState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Arriving => "arriving",
            Self::Leaving => "leaving",
            Self::Residue => "residue",
        }
    }
}

// === impl RebalanceMetrics ===

impl RebalanceMetrics {
    /// An error if one of the families is there already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let families = Families(registry);
        Ok(Self {
            moves: families.gauges("miroir_rebalance_moves", "Replicas that move, by where they stand", &["state"])?,
            plan: families.gauges("miroir_rebalance_plan", "1 for the state of the plan under way", &["state"])?,
            documents: families.gauge("miroir_rebalance_documents", "Documents that the plan under way began with")?,
            version: families.gauge("miroir_rebalance_layout_version", "Version of the durable layout")?,
            waiting: families.gauges(
                "miroir_rebalance_waiting",
                "1 for what the plan under way waits for",
                &["reason"],
            )?,
        })
    }

    pub(super) fn show(&self, layout: &Layout, waiting: &[Waiting]) {
        let moves = Moves::between(layout, &layout.target());
        let arriving: usize = layout.arriving.values().map(ShardSet::len).sum();
        for (state, count) in [
            (MoveState::Waiting, moves.replicas().saturating_sub(arriving)),
            (MoveState::Arriving, arriving),
            (MoveState::Leaving, moves.leave.values().map(ShardSet::len).sum()),
            (MoveState::Residue, layout.residue.values().map(ShardSet::len).sum()),
        ] {
            self.moves.with_label_values(&[state.as_str()]).set(narrow(count as u64));
        }
        for (name, state) in PLAN_STATES {
            let now = layout.plan.as_ref().is_some_and(|plan| plan.state == state);
            self.plan.with_label_values(&[name]).set(i64::from(now));
        }
        for code in Waiting::CODES {
            let now = waiting.iter().any(|waiting| waiting.code() == *code);
            self.waiting.with_label_values(&[code]).set(i64::from(now));
        }
        self.documents.set(narrow(layout.plan.as_ref().map_or(0, |plan| plan.documents)));
        self.version.set(narrow(layout.version));
    }
}

fn narrow(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
