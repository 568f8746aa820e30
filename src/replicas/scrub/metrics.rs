//! What is counted of scrubs.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use time::OffsetDateTime;

/// What the comparison of one shard, or of one index's settings, came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Equal,
    /// Wrong replicas were found, and marked to be copied.
    Repaired,
    /// Replicas differ, and nothing says who is right.
    Undecided,
    /// Nothing to compare, or a node that did not answer or did not come to rest.
    Skipped,
}

/// The families `miroir_scrub_*`.
#[derive(Clone)]
pub struct ScrubMetrics {
    compared: IntCounterVec,
    pub bytes: IntCounter,
    finished_at: IntGauge,
}

// === impl Outcome ===

impl Outcome {
    /// Every outcome: each label starts at zero.
    pub const ALL: &'static [Outcome] = &[Self::Equal, Self::Repaired, Self::Undecided, Self::Skipped];

    /// As the label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Repaired => "repaired",
            Self::Undecided => "undecided",
            Self::Skipped => "skipped",
        }
    }
}

// === impl ScrubMetrics ===

impl ScrubMetrics {
    /// An error if one of the families is there already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            compared: IntCounterVec::new(
                Opts::new("miroir_scrub_compared_total", "Shards and settings that a scrub compared, by outcome"),
                &["outcome"],
            )?,
            bytes: IntCounter::new("miroir_scrub_read_bytes_total", "Bytes that scrubs read from nodes")?,
            finished_at: IntGauge::new(
                "miroir_scrub_finished_timestamp_seconds",
                "When the last scrub ended, in seconds since 1970; 0 before the first",
            )?,
        };
        registry.register(Box::new(metrics.compared.clone()))?;
        registry.register(Box::new(metrics.bytes.clone()))?;
        registry.register(Box::new(metrics.finished_at.clone()))?;
        for outcome in Outcome::ALL {
            metrics.compared.with_label_values(&[outcome.as_str()]);
        }
        Ok(metrics)
    }

    /// One comparison more has come to this.
    pub fn compared(&self, outcome: Outcome) {
        self.compared.with_label_values(&[outcome.as_str()]).inc();
    }

    /// The time is now, in seconds since 1970.
    pub fn finished(&self) {
        self.finished_at.set(OffsetDateTime::now_utc().unix_timestamp());
    }
}
