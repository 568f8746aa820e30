//! How a gateway shows itself to others on the same state.

use std::time::Duration;

use crate::settings::{FromSection, Section};

const MINUTE: Duration = Duration::from_secs(60);

/// The section `gateway`, which concerns a state that several gateways can reach.
#[derive(Debug, Clone)]
pub struct LeaderSettings {
    /// What operators call this gateway; the machine's name and the port of `listen` if not said.
    pub id: Option<String>,
    /// How long it goes on by what it knows when the database is away and no other gateway was there.
    pub alone: Duration,
}

impl FromSection for LeaderSettings {
    fn read(section: &mut Section) -> Self {
        Self { id: section.text("id"), alone: section.duration("alone", 5 * MINUTE) }
    }
}
