//! What an operator may choose, by environment variables.

use std::str::FromStr;
use std::time::Duration;

pub struct Settings {
    /// How long a cluster at rest is measured.
    pub rest: Duration,
    pub searching: u64,
    pub writing: u64,
    /// A searching client begins a search not earlier than this after the one before. Zero: at once, which measures how a
    /// full machine is shared rather than what a move costs.
    pub search_every: Duration,
    /// A writing client begins a write not earlier than this after the one before, and not before that has been carried out.
    pub write_every: Duration,
    /// How many different searches the clients have.
    pub questions: usize,
    /// How many documents are written while a node is down.
    pub missed: usize,
    pub seed: u64,
    /// Lines of YAML for the gateway's configuration.
    pub config: String,
    /// A shell command that is run again and again while clients are at work, with the URLs of one node and of the cluster in
    /// `SINGLE` and `CLUSTER`, the index in `INDEX` and one of a few numbers in `SEED`. It fails when it finds a wrong answer; seeds
    /// with which it does so while nothing moves are left out.
    pub check: Option<String>,
}

// === impl Settings ===

impl Settings {
    pub fn from_environment() -> Self {
        Self {
            rest: Duration::from_secs(number("MIROIR_MOVING_SECONDS", 30)),
            searching: 16,
            writing: 4,
            search_every: Duration::from_millis(number("MIROIR_MOVING_SEARCH_EVERY_MS", 500)),
            write_every: Duration::from_millis(number("MIROIR_MOVING_WRITE_EVERY_MS", 2000)),
            questions: number("MIROIR_MOVING_QUESTIONS", 300),
            missed: number("MIROIR_MOVING_MISSED", 20_000),
            seed: number("MIROIR_MOVING_SEED", 1),
            config: std::env::var("MIROIR_MOVING_CONFIG").unwrap_or_default(),
            check: std::env::var("MIROIR_MOVING_CHECK").ok().filter(|command| !command.is_empty()),
        }
    }
}

fn number<T: FromStr>(name: &str, default: T) -> T {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name}: expected a number, found `{text}`"))
}
