//! What a source may have of a facet beyond the values that it listed.

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

/// What a source may have beyond what it told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// How many documents may have a value that was not told.
    pub most: u64,
    /// True if asking for documents with other values brought no further value. Example: a is red and blue, b is blue, c is
    /// green. The list names red and blue; asked for what is neither, the node names green; asked for what is none of the
    /// three, nothing: all are named.
    pub all_named: bool,
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
