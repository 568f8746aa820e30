//! Whether nodes show the vector that they made of a query.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether nodes show the vector of a query. Older engines do not, and then it is not asked for again: the node would
/// embed the words in vain.
#[derive(Debug, Default)]
pub struct QueryVectors {
    unshown: AtomicBool,
}

// === impl QueryVectors ===

impl QueryVectors {
    /// True once a node was seen not to show the vector of a query: then nobody is asked for it any more.
    pub(super) fn are_unshown(&self) -> bool {
        self.unshown.load(Ordering::Relaxed)
    }

    /// For as long as the process lives.
    pub(super) fn note_unshown(&self) {
        self.unshown.store(true, Ordering::Relaxed);
    }
}
