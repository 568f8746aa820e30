//! Settings that may be exchanged while requests go on.

use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

/// What an operator sets, as the file said it when it was last read. Who needs several of them to agree takes them by one `get`.
pub struct Live<T>(ArcSwap<T>);

// === impl Live ===

impl<T> Live<T> {
    /// What the process starts with.
    pub fn new(settings: T) -> Self {
        Self(ArcSwap::from_pointee(settings))
    }

    /// At this moment.
    pub fn get(&self) -> Guard<Arc<T>> {
        self.0.load()
    }

    /// The same, for work that takes long.
    pub fn keep(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Holds from now on; what has begun goes on by what it has taken.
    pub fn set(&self, settings: T) {
        self.0.store(Arc::new(settings));
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.load().fmt(f)
    }
}
