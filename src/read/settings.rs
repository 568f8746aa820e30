//! What an operator sets of searches and other reads.

use std::time::Duration;

use crate::placement::vocabulary::SharedWords;
use crate::plan::broadcast::TieBreak;
use crate::settings::{FromSection, Section};

/// The section `search`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchSettings {
    /// How long a search as a whole may take; then it is an error, never an answer in part.
    pub timeout: Duration,
    /// How long one node may take, compared with others, before another is asked beside it.
    pub attempt_timeout: Duration,
    pub unavailable_shards: UnavailableShards,
    /// The zone that the gateway itself is in: nodes of it are asked first.
    pub zone: Option<String>,
    pub tie_break: TieBreak,
    pub words: SharedWords,
    pub stale_view: StaleView,
}

/// What a gateway that follows answers while the one that leads is not heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleView {
    /// By what it heard last, with the header `X-Miroir-Degraded: view`.
    Serve,
    /// 503.
    Refuse,
}

/// What a search answers when a shard has no replica left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnavailableShards {
    /// The hits of the other shards, with the header `X-Miroir-Degraded`.
    Partial,
    /// 503.
    Error,
}

// === impl SearchSettings ===

impl FromSection for SearchSettings {
    fn read(section: &mut Section) -> Self {
        let answers = [("partial", UnavailableShards::Partial), ("error", UnavailableShards::Error)];
        let ties = [("written", TieBreak::Written), ("replica", TieBreak::Replica)];
        let views = [("serve", StaleView::Serve), ("refuse", StaleView::Refuse)];
        let words = [("shared", SharedWords::Yes), ("local", SharedWords::No)];
        Self {
            timeout: section.duration("timeout", Duration::from_secs(60)),
            attempt_timeout: section.duration("attempt_timeout", Duration::from_secs(1)),
            unavailable_shards: section.choice("unavailable_shards", &answers, UnavailableShards::Partial),
            zone: section.text("zone"),
            tie_break: section.choice("tie_break", &ties, TieBreak::Written),
            words: section.choice("words", &words, SharedWords::Yes),
            stale_view: section.choice("stale_view", &views, StaleView::Serve),
        }
    }
}
