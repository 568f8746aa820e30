//! Counts what one copy moves, and holds it to the rate.

use super::metrics::Direction;
use super::progress::{Copies, CopyKey};
use crate::placement::topology::NodeId;

/// One copy's hand on the counters and the throttle.
pub struct Meter<'a> {
    pub copies: &'a Copies,
    pub key: &'a CopyKey,
    pub node: &'a NodeId,
    /// The family of documents copied, which is older than the others.
    pub copied: &'a prometheus::IntCounterVec,
    /// While writes are held back there is no time to lose.
    pub hurries: bool,
}

// === impl Meter ===

impl Meter<'_> {
    /// `documents` were compared.
    pub fn compared(&self, documents: u64) {
        self.copies.metrics.compared.with_label_values(&[self.node.as_str()]).inc_by(documents);
        self.copies.update(self.key, |progress| progress.done += documents);
    }

    /// So many documents more were sent to the target.
    pub fn copied(&self, documents: u64) {
        self.copied.with_label_values(&[self.node.as_str()]).inc_by(documents);
        self.copies.update(self.key, |progress| progress.copied += documents);
    }

    /// So many documents more were deleted on the target.
    pub fn deleted(&self, documents: u64) {
        self.copies.metrics.deleted.with_label_values(&[self.node.as_str()]).inc_by(documents);
        self.copies.update(self.key, |progress| progress.deleted += documents);
    }

    /// Waits where the copies' bandwidth is used up.
    pub async fn read(&self, bytes: u64) {
        self.moved(Direction::Read, bytes).await;
    }

    /// Waits where the copies' bandwidth is used up.
    pub async fn sent(&self, bytes: u64) {
        self.moved(Direction::Sent, bytes).await;
    }

    async fn moved(&self, direction: Direction, bytes: u64) {
        self.copies.metrics.bytes.with_label_values(&[self.node.as_str(), direction.as_str()]).inc_by(bytes);
        self.copies.update(self.key, |progress| progress.bytes += bytes);
        if !self.hurries {
            self.copies.throttle.take(bytes).await;
        }
    }
}
