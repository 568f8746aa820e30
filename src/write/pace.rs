//! Writes of an index that is copied to a replica do not outrun its nodes.
//!
//! A copy compares nodes once they have worked off what they had taken before. Where clients write faster than nodes work, that takes longer
//! each time, and at its end writes cannot be held back for so long. So a copy that had to wait says how many tasks of its index may be
//! open, and writes wait until there are fewer.
//!
//! Example: nodes carry out 20 writes a second and clients send 30. After a minute 600 wait, which takes half a minute. The copy allows 300,
//! then 150, then 75: these end in the five seconds for which it may hold back writes.

use std::time::Duration;

use tokio::time::Instant;

use super::part::Writes;

/// How long one write waits at most. Whoever sends one after the other is slowed down enough.
const LONGEST: Duration = Duration::from_secs(5);
/// How often open tasks are counted.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Returns when no more tasks of `indexes` are open than a copy allows.
pub(super) async fn keep(writes: &Writes, indexes: &[String]) {
    let deadline = Instant::now() + LONGEST;
    let reconciler = &writes.tracking.reconciler;
    while let Some(window) = writes.ledger.watchers.window(indexes)
        && indexes.iter().any(|index| reconciler.count_in(index) >= window)
        && Instant::now() < deadline
    {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
