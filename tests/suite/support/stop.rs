//! How clients that a test runs beside itself are ended.

use std::sync::atomic::{AtomicBool, Ordering};

/// Tells them to stop when it is dropped: also by a panic, which would otherwise wait for them for ever.
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

// === impl StopOnDrop ===

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
