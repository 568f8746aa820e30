//! What the gateway counts of copies, over all nodes.

use std::ops::Sub;

use crate::support::Fleet;

#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    pub compared: u64,
    pub copied: u64,
    pub deleted: u64,
    pub bytes_read: u64,
    pub bytes_sent: u64,
    /// How often the writes of an index were held back, and for how long together.
    pub holds: u64,
    pub held_seconds: f64,
}

// === impl Counters ===

impl Counters {
    pub fn read(fleet: &Fleet) -> Self {
        let text = fleet.metrics.get("/metrics").text;
        let sum = |family: &str, label: &str| -> f64 {
            let series = text.lines().filter_map(|line| line.strip_prefix(family));
            let of_family = series.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label));
            of_family.filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        Self {
            compared: sum("miroir_resilver_compared_documents_total", "") as u64,
            copied: sum("miroir_resilvered_documents_total", "") as u64,
            deleted: sum("miroir_resilver_deleted_documents_total", "") as u64,
            bytes_read: sum("miroir_resilver_bytes_total", "\"read\"") as u64,
            bytes_sent: sum("miroir_resilver_bytes_total", "\"sent\"") as u64,
            holds: sum("miroir_resilver_hold_seconds_count", "") as u64,
            held_seconds: sum("miroir_resilver_hold_seconds_sum", ""),
        }
    }
}

impl Sub for Counters {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            compared: self.compared - earlier.compared,
            copied: self.copied - earlier.copied,
            deleted: self.deleted - earlier.deleted,
            bytes_read: self.bytes_read - earlier.bytes_read,
            bytes_sent: self.bytes_sent - earlier.bytes_sent,
            holds: self.holds - earlier.holds,
            held_seconds: self.held_seconds - earlier.held_seconds,
        }
    }
}
