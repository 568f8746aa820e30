//! What an operator sets of copies.

use std::time::Duration;

use crate::settings::{FromSection, Section};

/// The section `resilver`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResilverSettings {
    /// How many bytes of documents all copies together read and send per second; 0: no limit.
    pub bandwidth: u64,
    /// How many copies run at once.
    pub concurrency: usize,
    /// How long a copy may hold back the writes of its index at its end.
    pub cutover: Duration,
}

// === impl ResilverSettings ===

impl FromSection for ResilverSettings {
    fn read(section: &mut Section) -> Self {
        Self {
            bandwidth: section.size("bandwidth", 0, 0),
            concurrency: section.integer("concurrency", 1..=64, 2),
            cutover: section.duration("cutover", Duration::from_secs(5)),
        }
    }
}
