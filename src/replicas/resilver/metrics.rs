//! What is counted of copies.

use prometheus::{GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::error::Reason;
use super::progress::Progress;
use crate::nodes::families::Families;
use crate::placement::topology::Topology;

/// The families `miroir_resilver_*`.
#[derive(Clone)]
pub struct ResilverMetrics {
    pub compared: IntCounterVec,
    pub deleted: IntCounterVec,
    pub bytes: IntCounterVec,
    pub running: IntGaugeVec,
    pub failures: IntCounterVec,
    pub hold_seconds: Histogram,
    documents: IntGaugeVec,
    done: IntGaugeVec,
    seconds_left: GaugeVec,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Out of the nodes that are compared.
    Read,
    /// To the node that is brought in sync.
    Sent,
}

// === impl Direction ===

impl Direction {
    /// Both directions: each label starts at zero.
    pub const ALL: &'static [Direction] = &[Self::Read, Self::Sent];

    /// As the label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Sent => "sent",
        }
    }
}

// === impl ResilverMetrics ===

impl ResilverMetrics {
    /// An error if one of the families is there already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let families = Families(registry);
        let seconds_left = GaugeVec::new(
            Opts::new("miroir_resilver_seconds_left", "Estimated time until a running copy has compared everything"),
            &["node", "index"],
        )?;
        registry.register(Box::new(seconds_left.clone()))?;
        let hold_seconds = Histogram::with_opts(
            HistogramOpts::new("miroir_resilver_hold_seconds", "How long a cut-over held back the writes of an index")
                .buckets(vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
        )?;
        registry.register(Box::new(hold_seconds.clone()))?;
        Ok(Self {
            compared: families.counters(
                "miroir_resilver_compared_documents_total",
                "Documents compared with those of a replica in sync",
                &["node"],
            )?,
            deleted: families.counters(
                "miroir_resilver_deleted_documents_total",
                "Documents deleted because the replica in sync has none",
                &["node"],
            )?,
            bytes: families.counters(
                "miroir_resilver_bytes_total",
                "Bytes of documents read and sent by copies, by the node that is brought in sync",
                &["node", "direction"],
            )?,
            running: families.gauges("miroir_resilver_running", "Copies to a node under way", &["node"])?,
            failures: families.counters(
                "miroir_resilver_failures_total",
                "Copies that stopped short",
                &["node", "reason"],
            )?,
            hold_seconds,
            documents: families.gauges(
                "miroir_resilver_documents",
                "Documents that a running copy has to compare",
                &["node", "index"],
            )?,
            done: families.gauges(
                "miroir_resilver_documents_done",
                "Documents that a running copy has compared",
                &["node", "index"],
            )?,
            seconds_left,
        })
    }

    /// Every label starts at zero.
    pub fn start_at_zero(&self, topology: &Topology) {
        for node in &topology.nodes {
            let id = node.id.as_str();
            self.compared.with_label_values(&[id]);
            self.deleted.with_label_values(&[id]);
            self.running.with_label_values(&[id]);
            for direction in Direction::ALL {
                self.bytes.with_label_values(&[id, direction.as_str()]);
            }
            for reason in Reason::ALL {
                self.failures.with_label_values(&[id, reason.as_str()]);
            }
        }
    }

    /// The time left is not a number while nothing tells it.
    pub fn show(&self, progress: &Progress) {
        let labels = [progress.node.as_str(), progress.index.as_str()];
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.documents.with_label_values(&labels).set(number(progress.total));
        self.done.with_label_values(&labels).set(number(progress.done));
        let left = progress.time_left().map_or(f64::NAN, |left| left.as_secs_f64());
        self.seconds_left.with_label_values(&labels).set(left);
    }

    /// A copy that is over shows no figures of its own any more.
    pub fn forget(&self, progress: &Progress) {
        let labels = [progress.node.as_str(), progress.index.as_str()];
        // An error says that there were none.
        let _ = self.documents.remove_label_values(&labels);
        let _ = self.done.remove_label_values(&labels);
        let _ = self.seconds_left.remove_label_values(&labels);
    }
}
