//! How many subrequests are under way to a node at once, and how many may wait for their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound on what is under way, with a bounded queue before it.
pub struct Limit {
    permits: Arc<Semaphore>,
    most: usize,
    waiting: AtomicUsize,
    most_waiting: usize,
    in_flight_gauge: IntGauge,
    waiting_gauge: IntGauge,
}

/// The right to have one subrequest under way, until it is dropped.
pub struct Permit {
    _permit: OwnedSemaphorePermit,
    in_flight_gauge: IntGauge,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    pub waiting: usize,
}

/// Counts one who waits for as long as it lives.
struct Waiting<'a>(&'a Limit);

// === impl Limit ===

impl Limit {
    pub fn new(most: usize, most_waiting: usize, in_flight_gauge: IntGauge, waiting_gauge: IntGauge) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(most)),
            most,
            waiting: AtomicUsize::new(0),
            most_waiting,
            in_flight_gauge,
            waiting_gauge,
        }
    }

    /// Returns when it is the caller's turn; in order, and at once with an error when too many wait already. Cancel-safe.
    pub async fn enter(&self) -> Result<Permit, Full> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(self.admit(permit));
        }
        let _waiting = self.queue()?;
        let permit =
            Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed while it is here");
        Ok(self.admit(permit))
    }

    /// True when nothing is under way and nobody waits.
    pub fn is_idle(&self) -> bool {
        self.permits.available_permits() == self.most && self.waiting.load(Ordering::Relaxed) == 0
    }

    fn admit(&self, permit: OwnedSemaphorePermit) -> Permit {
        self.in_flight_gauge.inc();
        Permit { _permit: permit, in_flight_gauge: self.in_flight_gauge.clone() }
    }

    fn queue(&self) -> Result<Waiting<'_>, Full> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        self.waiting_gauge.inc();
        let waiting = Waiting(self);
        if before >= self.most_waiting { Err(Full { waiting: before }) } else { Ok(waiting) }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight_gauge.dec();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.waiting_gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(most: usize, most_waiting: usize) -> Limit {
        let gauge = |name| IntGauge::new(name, "help").unwrap();
        Limit::new(most, most_waiting, gauge("in_flight"), gauge("waiting"))
    }

    #[tokio::test]
    async fn so_many_are_under_way_so_many_wait_and_the_next_is_turned_away() {
        let limit = limit(2, 1);
        assert!(limit.is_idle());
        let first = limit.enter().await.unwrap();
        let second = limit.enter().await.unwrap();
        let mut third = Box::pin(limit.enter());
        assert!(futures::poll!(&mut third).is_pending());
        assert_eq!(limit.enter().await.err(), Some(Full { waiting: 1 }));
        assert_eq!((limit.in_flight_gauge.get(), limit.waiting_gauge.get()), (2, 1));
        assert!(!limit.is_idle());
        drop(first);
        let third = third.await.unwrap();
        assert_eq!((limit.in_flight_gauge.get(), limit.waiting_gauge.get()), (2, 0));
        drop((second, third));
        assert_eq!(limit.in_flight_gauge.get(), 0);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_the_queue() {
        let limit = limit(1, 1);
        let _first = limit.enter().await.unwrap();
        let mut second = Box::pin(limit.enter());
        assert!(futures::poll!(&mut second).is_pending());
        drop(second);
        let mut third = Box::pin(limit.enter());
        assert!(futures::poll!(&mut third).is_pending(), "there is room in the queue again");
    }
}
