//! Who listens hears of what has become of tasks, once it is on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::broadcast;

use crate::tasks::entry::MiroirTask;

/// So many ends, and so many changes, are kept for a listener that is slow.
const TOLD_KEPT: usize = 8192;

/// The listeners of a store.
pub struct Told {
    /// Each task whose end is on disk.
    ended: broadcast::Sender<Arc<MiroirTask>>,
    /// Each state of a task that is on disk, its end as the last one.
    changed: broadcast::Sender<Arc<MiroirTask>>,
    /// Whether ends are kept on disk.
    keeps_ends: AtomicBool,
}

impl Default for Told {
    fn default() -> Self {
        let (ended, changed) = (broadcast::Sender::new(TOLD_KEPT), broadcast::Sender::new(TOLD_KEPT));
        Self { ended, changed, keeps_ends: AtomicBool::new(false) }
    }
}

// === impl Told ===

impl Told {
    /// Tells whoever listens. A note in the row of a task that ended before is no news.
    pub fn tell(&self, task: MiroirTask, ended: bool) {
        if !ended && task.status.is_final() {
            return;
        }
        let task = Arc::new(task);
        for (listeners, concerns) in [(&self.changed, true), (&self.ended, ended)] {
            if concerns && listeners.receiver_count() > 0 {
                // Whoever listened may be gone by now.
                let _unheard = listeners.send(Arc::clone(&task));
            }
        }
    }

    /// Brings each end from now on.
    pub fn ended(&self) -> broadcast::Receiver<Arc<MiroirTask>> {
        self.ended.subscribe()
    }

    /// Brings each state from now on.
    pub fn changed(&self) -> broadcast::Receiver<Arc<MiroirTask>> {
        self.changed.subscribe()
    }

    /// Whether ends are kept on disk from now on.
    pub fn keep_ends(&self, keep: bool) {
        self.keeps_ends.store(keep, Ordering::SeqCst);
    }

    /// As [`Told::keep_ends`] has said last.
    pub fn keeps_ends(&self) -> bool {
        self.keeps_ends.load(Ordering::SeqCst)
    }
}
