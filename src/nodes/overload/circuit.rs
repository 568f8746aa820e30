//! When reads leave a node alone: a circuit breaker as a pure state machine. Whoever asks it brings the time.

use std::time::Duration;

use tokio::time::Instant;

/// How often a circuit that keeps failing doubles the time it stays open.
const MOST_DOUBLINGS: u32 = 4;
/// The longest time that a node's `Retry-After` is believed.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Why and for how long a circuit opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitSettings {
    /// Failed reads in a row that open it.
    pub failures: u32,
    /// How long it stays open the first time; twice as long each time that the trial fails.
    pub open_for: Duration,
}

/// One node's circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// Reads go to the node; so many of them failed in a row.
    Closed { failures: u32 },
    /// Reads avoid the node until then. `trials` is how many trials have failed since it was closed.
    Open { until: Instant, trials: u32 },
    /// One read tries the node; the others avoid it until the trial has ended or taken too long.
    HalfOpen { since: Instant, trials: u32 },
}

// === impl Circuit ===

impl Circuit {
    /// Of a node of which nothing bad is known.
    pub const CLOSED: Self = Self::Closed { failures: 0 };

    /// True when a read may choose the node now. Of those that ask a circuit that was open long enough, one is told so.
    pub fn admits(&mut self, now: Instant, settings: CircuitSettings) -> bool {
        match *self {
            Self::Closed { .. } => true,
            Self::Open { until, .. } if now < until => false,
            Self::HalfOpen { since, .. } if now < since + settings.open_for => false,
            Self::Open { trials, .. } | Self::HalfOpen { trials, .. } => {
                *self = Self::HalfOpen { since: now, trials };
                true
            }
        }
    }

    /// The node has answered well: whatever was before, the circuit is closed.
    pub fn succeeded(&mut self) {
        *self = Self::CLOSED;
    }

    /// Counts one more failure, or opens: a failed trial opens for twice as long as the one before.
    pub fn failed(&mut self, now: Instant, settings: CircuitSettings) {
        *self = match *self {
            Self::Closed { failures } if failures + 1 < settings.failures => Self::Closed { failures: failures + 1 },
            Self::Closed { .. } => Self::Open { until: now + settings.open_for, trials: 0 },
            // What was under way when it opened says nothing new.
            open @ Self::Open { .. } => open,
            Self::HalfOpen { trials, .. } => {
                let trials = (trials + 1).min(MOST_DOUBLINGS);
                Self::Open { until: now + settings.open_for * 2u32.pow(trials), trials }
            }
        };
    }

    /// The node has answered that it wants to be left alone for `wait`.
    pub fn sent_away(&mut self, now: Instant, wait: Duration) {
        let trials = match *self {
            Self::Closed { .. } => 0,
            Self::Open { trials, .. } | Self::HalfOpen { trials, .. } => trials,
        };
        *self = Self::Open { until: now + wait.min(MOST_RETRY_AFTER), trials };
    }

    /// The value of the metric `miroir_node_circuit`: 0 closed, 1 half-open, 2 open.
    pub fn level(&self) -> i64 {
        match self {
            Self::Closed { .. } => 0,
            Self::HalfOpen { .. } => 1,
            Self::Open { .. } => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: CircuitSettings = CircuitSettings { failures: 3, open_for: Duration::from_secs(2) };

    fn opened(now: Instant) -> Circuit {
        let mut circuit = Circuit::CLOSED;
        for _ in 0..3 {
            assert!(circuit.admits(now, SETTINGS));
            circuit.failed(now, SETTINGS);
        }
        circuit
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let now = Instant::now();
        let mut circuit = Circuit::CLOSED;
        for _ in 0..5 {
            circuit.failed(now, SETTINGS);
            circuit.failed(now, SETTINGS);
            circuit.succeeded();
        }
        assert_eq!(circuit, Circuit::CLOSED);
        assert!(!opened(now).admits(now + Duration::from_secs(1), SETTINGS));
    }

    #[test]
    fn one_read_tries_a_node_that_was_left_alone() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + SETTINGS.open_for;
        assert!(circuit.admits(later, SETTINGS));
        assert!(!circuit.admits(later, SETTINGS), "the second has to wait for the outcome of the first");
        circuit.succeeded();
        assert!(circuit.admits(later, SETTINGS));
    }

    #[test]
    fn a_trial_that_never_comes_back_is_followed_by_another() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + SETTINGS.open_for;
        assert!(circuit.admits(later, SETTINGS));
        assert!(circuit.admits(later + SETTINGS.open_for, SETTINGS));
    }

    #[test]
    fn each_failed_trial_doubles_the_pause_up_to_a_bound() {
        let mut now = Instant::now();
        let mut circuit = opened(now);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let Circuit::Open { until, .. } = circuit else { panic!("{circuit:?}") };
            pauses.push((until - now).as_secs());
            now = until;
            assert!(circuit.admits(now, SETTINGS));
            circuit.failed(now, SETTINGS);
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 32, 32]);
    }

    #[test]
    fn a_late_failure_does_not_keep_it_open_longer() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let before = circuit;
        circuit.failed(now + Duration::from_secs(1), SETTINGS);
        assert_eq!(circuit, before);
    }

    #[test]
    fn a_node_is_left_alone_for_as_long_as_it_asked_within_reason() {
        let now = Instant::now();
        let mut circuit = Circuit::CLOSED;
        circuit.sent_away(now, Duration::from_secs(5));
        assert!(!circuit.admits(now + Duration::from_secs(4), SETTINGS));
        assert!(circuit.admits(now + Duration::from_secs(5), SETTINGS));
        circuit.sent_away(now, Duration::from_secs(86_400));
        assert!(circuit.admits(now + MOST_RETRY_AFTER, SETTINGS));
    }
}
