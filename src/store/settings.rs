//! How a gateway shows itself to others on the same state.

use super::leadership::{Candidate, WhenLed, WhenLost};
use crate::settings::{FromSection, Section};

/// The section `gateway`, which concerns a state that several gateways can reach.
#[derive(Debug, Clone)]
pub struct LeaderSettings {
    /// What operators call this gateway.
    pub id: String,
    pub when_led: WhenLed,
}

impl FromSection for LeaderSettings {
    fn read(section: &mut Section) -> Self {
        let choices = [("refuse", WhenLed::Refuse), ("wait", WhenLed::Wait)];
        Self {
            id: section.text("id").unwrap_or_else(|| "gateway".to_owned()),
            when_led: section.choice("when_led", &choices, WhenLed::Refuse),
        }
    }
}

impl LeaderSettings {
    /// Who comes for the lease.
    pub fn candidate(&self, when_lost: WhenLost) -> Candidate {
        Candidate { name: self.id.clone(), when_led: self.when_led, when_lost }
    }
}
