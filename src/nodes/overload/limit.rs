//! How many subrequests are under way to a node at once, and how many may wait for their turn. Those who wait take turns by
//! index: one index with a hundred requests in the queue holds up another's one for one turn, not for a hundred.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::oneshot;

/// A bound on what is under way, with a bounded queue before it.
pub struct Limit {
    turns: Arc<Turns>,
    most_waiting: AtomicUsize,
}

struct Turns {
    queue: Mutex<Queue>,
    in_flight_gauge: IntGauge,
    waiting_gauge: IntGauge,
}

#[derive(Default)]
struct Queue {
    most: usize,
    under_way: usize,
    /// Who waits, by index; never an empty list.
    waiting: BTreeMap<String, VecDeque<oneshot::Sender<Permit>>>,
    /// The indexes of `waiting`, the next one first.
    order: VecDeque<String>,
    /// How many wait; those who gave up count no more, even if they stand in the list still.
    length: usize,
}

/// The right to have one subrequest under way, until it is dropped.
pub struct Permit(Arc<Turns>);

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// How many wait already.
    pub waiting: usize,
}

/// Counts one who waits for as long as it lives.
struct Waiting<'a>(&'a Turns);

// === impl Limit ===

impl Limit {
    /// `most` requests at a time, one at least, and `most_waiting` that wait for their turn.
    pub fn new(most: usize, most_waiting: usize, in_flight_gauge: IntGauge, waiting_gauge: IntGauge) -> Self {
        let queue = Mutex::new(Queue { most: most.max(1), ..Queue::default() });
        Self {
            turns: Arc::new(Turns { queue, in_flight_gauge, waiting_gauge }),
            most_waiting: AtomicUsize::new(most_waiting),
        }
    }

    /// So many at a time from now on, one at least. Those under way stay, and those that wait come in with the next that ends.
    pub fn set_most(&self, most: usize) {
        self.turns.queue.lock().most = most.max(1);
    }

    /// So many may wait from now on; those that wait already go on waiting.
    pub fn set_most_waiting(&self, most: usize) {
        self.most_waiting.store(most, Ordering::Relaxed);
    }

    /// Returns when it is the turn of a request to `index`; at once with an error when too many wait already. Cancel-safe.
    pub async fn enter(&self, index: &str) -> Result<Permit, Full> {
        let (turn, _waiting) = {
            let mut queue = self.turns.queue.lock();
            if queue.under_way < queue.most {
                queue.under_way += 1;
                return Ok(self.turns.permit());
            }
            if queue.length >= self.most_waiting.load(Ordering::Relaxed) {
                return Err(Full { waiting: queue.length });
            }
            let (grant, turn) = oneshot::channel();
            queue.push(index, grant);
            queue.length += 1;
            self.turns.waiting_gauge.inc();
            (turn, Waiting(&self.turns))
        };
        Ok(turn.await.expect("a grant is dropped by nobody but who waits for it"))
    }

    /// True when nothing is under way and nobody waits.
    pub fn is_idle(&self) -> bool {
        let queue = self.turns.queue.lock();
        queue.under_way == 0 && queue.length == 0
    }
}

// === impl Turns ===

impl Turns {
    fn permit(self: &Arc<Self>) -> Permit {
        self.in_flight_gauge.inc();
        Permit(Arc::clone(self))
    }
}

// === impl Queue ===

impl Queue {
    fn push(&mut self, index: &str, grant: oneshot::Sender<Permit>) {
        if let Some(own) = self.waiting.get_mut(index) {
            own.push_back(grant);
            return;
        }
        self.waiting.insert(index.to_owned(), VecDeque::from([grant]));
        self.order.push_back(index.to_owned());
    }

    /// The next one who still waits: the first of the index whose turn it is, which then goes to the end.
    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        while let Some(index) = self.order.pop_front() {
            let Some(own) = self.waiting.get_mut(&index) else { continue };
            let next = std::iter::from_fn(|| own.pop_front()).find(|grant| !grant.is_closed());
            if own.is_empty() {
                self.waiting.remove(&index);
            } else {
                self.order.push_back(index);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.in_flight_gauge.dec();
        let next = {
            let mut queue = self.0.queue.lock();
            let next = if queue.under_way > queue.most { None } else { queue.next() };
            if next.is_none() {
                queue.under_way -= 1;
            }
            next
        };
        // Sent without the lock: if nobody waits for it any more, the permit comes back and is dropped in turn.
        if let Some(next) = next {
            drop(next.send(self.0.permit()));
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().length -= 1;
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
        let first = limit.enter("a").await.unwrap();
        let second = limit.enter("a").await.unwrap();
        let mut third = Box::pin(limit.enter("a"));
        assert!(futures::poll!(&mut third).is_pending());
        assert_eq!(limit.enter("a").await.err(), Some(Full { waiting: 1 }));
        assert_eq!((limit.turns.in_flight_gauge.get(), limit.turns.waiting_gauge.get()), (2, 1));
        assert!(!limit.is_idle());
        drop(first);
        let third = third.await.unwrap();
        assert_eq!((limit.turns.in_flight_gauge.get(), limit.turns.waiting_gauge.get()), (2, 0));
        drop((second, third));
        assert_eq!(limit.turns.in_flight_gauge.get(), 0);
    }

    #[tokio::test]
    async fn a_bound_that_is_changed_holds_for_who_comes_next() {
        let limit = limit(2, 2);
        let (first, _second) = (limit.enter("a").await.unwrap(), limit.enter("a").await.unwrap());
        limit.set_most(1);
        let mut third = Box::pin(limit.enter("a"));
        assert!(futures::poll!(&mut third).is_pending());
        drop(first);
        assert!(futures::poll!(&mut third).is_pending(), "one is under way still");
        limit.set_most(2);
        drop(limit.enter("a").await.expect("there is room for two"));
        drop(third.await.expect("the one that ended makes way"));
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_the_queue() {
        let limit = limit(1, 1);
        let _first = limit.enter("a").await.unwrap();
        let mut second = Box::pin(limit.enter("a"));
        assert!(futures::poll!(&mut second).is_pending());
        drop(second);
        let mut third = Box::pin(limit.enter("a"));
        assert!(futures::poll!(&mut third).is_pending(), "there is room in the queue again");
    }

    #[tokio::test]
    async fn indexes_take_turns() {
        let limit = limit(1, 10);
        let first = limit.enter("a").await.unwrap();
        let mut of_a: Vec<_> = (0..3).map(|_| Box::pin(limit.enter("a"))).collect();
        for waiting in &mut of_a {
            assert!(futures::poll!(waiting).is_pending());
        }
        let mut of_b = Box::pin(limit.enter("b"));
        assert!(futures::poll!(&mut of_b).is_pending());
        drop(first);
        let second = of_a.remove(0).await.unwrap();
        assert!(futures::poll!(&mut of_b).is_pending());
        drop(second);
        let of_b = of_b.await.expect("the second turn is that of the other index");
        drop(of_a.pop());
        drop(of_b);
        let last = of_a.remove(0).await.expect("who gave up is passed over");
        drop(last);
        assert!(limit.is_idle());
    }
}
