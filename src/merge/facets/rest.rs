//! What a source may have of a facet beyond the values that it listed.

use super::shared::Shared;

/// What a source may have beyond what it said.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) enum Rest {
    #[default]
    Nothing,
    /// Values that no more documents have than these.
    Rarer(u64),
    /// The same where documents have several values, so that each value has to be counted by itself.
    Shared(Shared),
    /// Values that stand later in the order of texts.
    Later,
    /// Numbers that stand later in the order of texts, but none of them up to the bound.
    Above(f64),
    /// Nothing is known, and no probe would tell.
    Unknown,
}

// === impl Rest ===

impl Rest {
    /// How many documents may have a value that was not told.
    pub(super) fn most(self) -> u64 {
        match self {
            Self::Rarer(count) | Self::Shared(Shared { most: count, .. }) => count,
            Self::Nothing | Self::Later | Self::Above(_) | Self::Unknown => 0,
        }
    }
}
