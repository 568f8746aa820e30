//! What the bounds of load and the circuits count.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::Traffic;

/// Why work was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The gateway answers as many requests as it may.
    Requests,
    /// As many writes of the index are under way as may be.
    Writes,
    /// The bodies of the writes under way fill the spools.
    Spools,
    /// Too many subrequests wait for a node.
    NodeQueue,
    /// A failed subrequest was not repeated: the retries' share of the traffic was used up.
    RetryBudget,
}

/// Families and handles; cheap to clone.
#[derive(Clone)]
pub struct OverloadMetrics {
    pub in_flight: IntGaugeVec,
    pub waiting: IntGaugeVec,
    pub circuit: IntGaugeVec,
    pub slow_writes: IntCounterVec,
    pub spooled: IntGauge,
    rejected: IntCounterVec,
}

// === impl Rejection ===

impl Rejection {
    /// Every reason: each label starts at zero.
    pub const ALL: &'static [Rejection] =
        &[Self::Requests, Self::Writes, Self::Spools, Self::NodeQueue, Self::RetryBudget];

    /// As the label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Writes => "writes",
            Self::Spools => "spools",
            Self::NodeQueue => "node_queue",
            Self::RetryBudget => "retry_budget",
        }
    }
}

// === impl OverloadMetrics ===

impl OverloadMetrics {
    /// An error if one of the families is there already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauges = |name, help, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
        let counters = |name, help, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let metrics = Self {
            in_flight: gauges("miroir_node_in_flight", "Subrequests under way, by node", &["node", "traffic"])?,
            waiting: gauges("miroir_node_waiting", "Subrequests that wait for a node", &["node", "traffic"])?,
            circuit: gauges("miroir_node_circuit", "0 closed, 1 half-open, 2 open: reads avoid the node", &["node"])?,
            slow_writes: counters("miroir_slow_writes_total", "Writes that did not wait for a node", &["node"])?,
            spooled: IntGauge::new("miroir_spooled_bytes", "Bodies of writes that are kept for the nodes")?,
            rejected: counters("miroir_rejected_total", "Work that was turned away, by reason", &["reason"])?,
        };
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.waiting.clone()))?;
        registry.register(Box::new(metrics.circuit.clone()))?;
        registry.register(Box::new(metrics.slow_writes.clone()))?;
        registry.register(Box::new(metrics.spooled.clone()))?;
        registry.register(Box::new(metrics.rejected.clone()))?;
        for reason in Rejection::ALL {
            metrics.rejected.with_label_values(&[reason.as_str()]);
        }
        Ok(metrics)
    }

    /// Every label starts at zero.
    pub fn start_at_zero(&self, node: &str) {
        for traffic in Traffic::ALL {
            self.in_flight.with_label_values(&[node, traffic.as_str()]);
            self.waiting.with_label_values(&[node, traffic.as_str()]);
        }
        self.circuit.with_label_values(&[node]);
        self.slow_writes.with_label_values(&[node]);
    }

    /// The counter of what was turned away for `reason`.
    pub fn rejected(&self, reason: Rejection) -> IntCounter {
        self.rejected.with_label_values(&[reason.as_str()])
    }
}
