//! What an operator sets of health checks.

use std::time::Duration;

use crate::settings::{FromSection, Section};

/// The section `health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// The pause between two rounds of probes.
    pub interval: Duration,
    /// How long the connecting of a probe or a subrequest may take.
    pub timeout: Duration,
    /// How long nothing at all may be heard of a node before it counts as gone: until then it is busy.
    pub patience: Duration,
    /// How long requests wait at most for nodes that are about to take part.
    pub start_wait: Duration,
    /// How many good probes in a row bring a node back.
    pub rise: usize,
    /// How many bad probes in a row take a node out; a subrequest that cannot connect does so at once.
    pub fall: usize,
}

// === impl HealthSettings ===

impl FromSection for HealthSettings {
    fn read(section: &mut Section) -> Self {
        Self {
            interval: section.duration("interval", Duration::from_secs(1)),
            timeout: section.duration("timeout", Duration::from_millis(500)),
            patience: section.duration("patience", Duration::from_secs(10)),
            start_wait: section.duration("start_wait", Duration::from_secs(10)),
            rise: section.integer("rise", 1..=1_000, 2),
            fall: section.integer("fall", 1..=1_000, 3),
        }
    }
}
