//! Which of its hits a node lists.

use serde::Serialize;

/// Which of its hits, counted in its own order, a node lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Span {
    /// All up to the end of the page: any of them may lie in it.
    UpToTheEnd,
    /// Those among which its part of the page lies, in all likelihood.
    Share { skip: u64, take: u64 },
    /// The first `take`: all up to the end of the page, and some behind it, which tell of distinct values.
    Beyond { take: u64 },
}

// === impl Span ===

impl Span {
    /// How many of its hits the node leaves out before those that it lists.
    pub fn skip(self) -> u64 {
        match self {
            Self::UpToTheEnd | Self::Beyond { .. } => 0,
            Self::Share { skip, .. } => skip,
        }
    }

    /// True if the node may have more hits for the page than the `listed` ones.
    pub fn may_be_cut(self, listed: u64) -> bool {
        match self {
            Self::UpToTheEnd | Self::Beyond { .. } => false,
            Self::Share { take, .. } => listed >= take,
        }
    }
}
