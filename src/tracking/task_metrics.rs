//! Metrics of the task table and of polling.

use prometheus::{Gauge, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use time::OffsetDateTime;

use crate::meili::task::TaskStatus;
use crate::store::TaskTableStats;

/// What a poll of a node task brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollOutcome {
    Known,
    Unreachable,
    Lost,
}

/// The families `miroir_tasks…`.
#[derive(Clone)]
pub struct TaskMetrics {
    polls: IntCounterVec,
    ended: IntCounterVec,
    table: IntGaugeVec,
    oldest_unfinished_seconds: Gauge,
    live: IntGauge,
    purged: prometheus::IntCounter,
}

// === impl PollOutcome ===

impl PollOutcome {
    /// Every outcome: each label starts at zero.
    pub const ALL: &'static [PollOutcome] = &[Self::Known, Self::Unreachable, Self::Lost];

    /// As the label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Unreachable => "unreachable",
            Self::Lost => "lost",
        }
    }
}

// === impl TaskMetrics ===

impl TaskMetrics {
    /// An error if one of the families is there already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            polls: IntCounterVec::new(
                Opts::new("miroir_task_polls_total", "Questions to nodes about the state of their tasks."),
                &["outcome"],
            )?,
            ended: IntCounterVec::new(
                Opts::new("miroir_tasks_ended_total", "Tasks that reached their end."),
                &["status"],
            )?,
            table: IntGaugeVec::new(Opts::new("miroir_tasks", "Rows of the task table."), &["status"])?,
            oldest_unfinished_seconds: Gauge::new(
                "miroir_tasks_oldest_unfinished_seconds",
                "Age of the oldest task that has not ended; 0 if there is none.",
            )?,
            live: IntGauge::new("miroir_tasks_live", "Tasks whose node tasks are being polled.")?,
            purged: prometheus::IntCounter::new(
                "miroir_tasks_purged_total",
                "Finished tasks removed because they were older than the retention.",
            )?,
        };
        for outcome in PollOutcome::ALL {
            metrics.polls.with_label_values(&[outcome.as_str()]);
        }
        for status in TaskStatus::ALL {
            metrics.table.with_label_values(&[status.as_str()]);
            if status.is_final() {
                metrics.ended.with_label_values(&[status.as_str()]);
            }
        }
        registry.register(Box::new(metrics.polls.clone()))?;
        registry.register(Box::new(metrics.ended.clone()))?;
        registry.register(Box::new(metrics.table.clone()))?;
        registry.register(Box::new(metrics.oldest_unfinished_seconds.clone()))?;
        registry.register(Box::new(metrics.live.clone()))?;
        registry.register(Box::new(metrics.purged.clone()))?;
        Ok(metrics)
    }

    /// A node was asked once more about a task.
    pub fn polled(&self, outcome: PollOutcome) {
        self.polls.with_label_values(&[outcome.as_str()]).inc();
    }

    /// One task more has ended so.
    pub fn ended(&self, status: TaskStatus) {
        self.ended.with_label_values(&[status.as_str()]).inc();
    }

    /// How many tasks are being followed.
    pub fn set_live(&self, tasks: usize) {
        self.live.set(i64::try_from(tasks).unwrap_or(i64::MAX));
    }

    /// So many rows more of old tasks were deleted.
    pub fn purged(&self, tasks: u64) {
        self.purged.inc_by(tasks);
    }

    /// Rows by status, and the age of the oldest that has not ended; 0 if none is open.
    pub fn set_table(&self, stats: &TaskTableStats, now: OffsetDateTime) {
        for (status, count) in &stats.by_status {
            self.table.with_label_values(&[status.as_str()]).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        let age = stats.oldest_unfinished.map_or(0.0, |oldest| (now - oldest).as_seconds_f64().max(0.0));
        self.oldest_unfinished_seconds.set(age);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_starts_at_zero() {
        let registry = Registry::new();
        TaskMetrics::register(&registry).unwrap();
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for outcome in PollOutcome::ALL {
            assert!(text.contains(&format!("miroir_task_polls_total{{outcome=\"{}\"}} 0", outcome.as_str())), "{text}");
        }
        assert!(text.contains("miroir_tasks{status=\"enqueued\"} 0"));
        assert!(!text.contains("miroir_tasks_ended_total{status=\"enqueued\"}"));
    }
}
