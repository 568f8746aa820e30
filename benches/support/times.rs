//! Times that were measured, and their quantiles.

use std::time::Duration;

/// In the order in which they were taken.
#[derive(Default)]
pub struct Times(pub Vec<Duration>);

// === impl Times ===

impl Times {
    /// In milliseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = ((sorted.len() as f64 - 1.0) * share).round() as usize;
        sorted.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}
