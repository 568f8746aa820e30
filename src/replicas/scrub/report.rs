//! What a scrub has found, as operators see it.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use time::OffsetDateTime;

use super::judge::Evidence;
use crate::placement::topology::NodeId;

/// How many findings are kept; the counters go on.
const MOST_FINDINGS: usize = 1000;

/// One scrub of everything.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// Shards of indexes whose replicas were compared, of how many there are.
    pub compared: u64,
    pub shards: u64,
    /// Those with fewer than two replicas to compare, or whose nodes did not answer.
    pub skipped: u64,
    /// Read from nodes so far.
    pub bytes: u64,
    pub findings: Vec<Finding>,
}

/// Replicas that differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub index: String,
    pub what: Subject,
    /// Those found wrong; all that were compared where nothing was decided.
    pub nodes: Vec<NodeId>,
    /// `None`: nothing says who is right, and nothing was changed.
    pub evidence: Option<Evidence>,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    Shard(u16),
    Settings,
    /// Of no index.
    DynamicSearchRules,
}

/// The scrub under way and the one before it.
#[derive(Default)]
pub struct Reports(Mutex<(Option<Report>, Option<Arc<Report>>)>);

// === impl Report ===

impl Report {
    /// Of a scrub of so many shards, which begins now.
    pub fn begin(shards: u64) -> Self {
        Self {
            started_at: OffsetDateTime::now_utc(),
            finished_at: None,
            compared: 0,
            shards,
            skipped: 0,
            bytes: 0,
            findings: Vec::new(),
        }
    }
}

// === impl Reports ===

impl Reports {
    /// The report of the one before stays until this one is finished.
    pub fn begin(&self, shards: u64) {
        self.0.lock().0 = Some(Report::begin(shards));
    }

    /// Changes the report of the scrub under way.
    pub fn note(&self, change: impl FnOnce(&mut Report)) {
        if let Some(report) = &mut self.0.lock().0 {
            change(report);
            report.findings.truncate(MOST_FINDINGS);
        }
    }

    /// The report of the scrub that ran; `None` if none did.
    pub fn finish(&self) -> Option<Arc<Report>> {
        let mut reports = self.0.lock();
        let mut report = reports.0.take()?;
        report.finished_at = Some(OffsetDateTime::now_utc());
        let report = Arc::new(report);
        reports.1 = Some(Arc::clone(&report));
        Some(report)
    }

    /// `{"running": {...} | null, "last": {...} | null}`.
    pub fn view(&self) -> serde_json::Value {
        let reports = self.0.lock();
        serde_json::json!({ "running": reports.0, "last": reports.1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_report_stays_until_the_next_is_finished() {
        let reports = Reports::default();
        assert_eq!(reports.view(), serde_json::json!({ "running": null, "last": null }));
        reports.begin(256);
        reports.note(|report| report.compared += 3);
        assert_eq!(reports.view()["running"]["compared"], 3);
        reports.finish();
        reports.begin(256);
        let view = reports.view();
        assert_eq!((&view["last"]["compared"], &view["running"]["compared"]), (&3.into(), &0.into()));
        assert!(view["last"]["finishedAt"].is_string());
    }
}
