//! How much all writes together may keep of their bodies: in memory, and in all.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use prometheus::IntGauge;

/// The bytes that are left; shared by all spools.
#[derive(Debug)]
pub struct SpoolBudget {
    memory_left: AtomicI64,
    total_left: AtomicI64,
    spooled_gauge: IntGauge,
}

/// What one spool has taken of the budget; given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<SpoolBudget>,
    memory: u64,
    total: u64,
}

/// The budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the writes under way fill the spools")]
pub struct Exhausted;

// === impl SpoolBudget ===

impl SpoolBudget {
    /// `memory` bytes of `total` may be in memory.
    pub fn new(memory: u64, total: u64, spooled_gauge: IntGauge) -> Arc<Self> {
        let (memory_left, total_left) = (AtomicI64::new(signed(memory)), AtomicI64::new(signed(total)));
        Arc::new(Self { memory_left, total_left, spooled_gauge })
    }

    /// Other bounds from now on, each as `(before, now)`. What was taken before stays taken, also where that is more.
    pub fn exchange(&self, memory: (u64, u64), total: (u64, u64)) {
        for (left, (before, now)) in [(&self.memory_left, memory), (&self.total_left, total)] {
            left.fetch_add(signed(now) - signed(before), Ordering::Relaxed);
        }
    }
}

// === impl Reservation ===

impl Reservation {
    /// Covers nothing yet; what it covers is given back when it is dropped.
    pub fn new(budget: &Arc<SpoolBudget>) -> Self {
        Self { budget: Arc::clone(budget), memory: 0, total: 0 }
    }

    /// Makes the reservation cover `bytes` in all.
    pub fn cover(&mut self, bytes: u64) -> Result<(), Exhausted> {
        let more = bytes.saturating_sub(self.total);
        if !take(&self.budget.total_left, more) {
            return Err(Exhausted);
        }
        self.total += more;
        self.budget.spooled_gauge.add(more as i64);
        Ok(())
    }

    /// Makes the reservation cover `bytes` in memory; false when that is too much.
    pub fn keep_in_memory(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.memory);
        let granted = take(&self.budget.memory_left, more);
        if granted {
            self.memory += more;
        }
        granted
    }

    /// Nothing is in memory any more.
    pub fn leave_memory(&mut self) {
        self.budget.memory_left.fetch_add(signed(std::mem::take(&mut self.memory)), Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.leave_memory();
        self.budget.total_left.fetch_add(signed(self.total), Ordering::Relaxed);
        self.budget.spooled_gauge.sub(self.total as i64);
    }
}

/// Nothing is taken that is not there. Less than nothing is left where a bound was set lower than what was taken before.
fn take(left: &AtomicI64, bytes: u64) -> bool {
    let rest = |left: i64| left.checked_sub(signed(bytes)).filter(|rest| bytes == 0 || *rest >= 0);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).is_ok()
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_takes_the_other_lacks_until_it_is_given_back() {
        let gauge = IntGauge::new("spooled", "help").unwrap();
        let budget = SpoolBudget::new(100, 1000, gauge.clone());
        let (mut one, mut other) = (Reservation::new(&budget), Reservation::new(&budget));
        assert_eq!(one.cover(900), Ok(()));
        assert_eq!(one.cover(900), Ok(()), "what is covered already costs nothing");
        assert_eq!(other.cover(200), Err(Exhausted));
        assert!(one.keep_in_memory(80) && !other.keep_in_memory(30));
        one.leave_memory();
        assert!(other.keep_in_memory(30));
        assert_eq!(gauge.get(), 900);
        drop(one);
        assert_eq!(other.cover(1000), Ok(()));
        drop(other);
        assert_eq!(gauge.get(), 0);
        assert_eq!(Reservation::new(&budget).cover(1000), Ok(()));
    }

    #[test]
    fn a_bound_that_is_set_lower_leaves_what_was_taken() {
        let budget = SpoolBudget::new(100, 1000, IntGauge::new("spooled", "help").unwrap());
        let mut one = Reservation::new(&budget);
        assert_eq!(one.cover(900), Ok(()));
        budget.exchange((100, 100), (1000, 500));
        let mut other = Reservation::new(&budget);
        assert_eq!((one.cover(900), other.cover(0), other.cover(1)), (Ok(()), Ok(()), Err(Exhausted)));
        drop(one);
        assert_eq!((other.cover(501), other.cover(500)), (Err(Exhausted), Ok(())));
        budget.exchange((100, 100), (500, 1000));
        assert_eq!(other.cover(1000), Ok(()));
    }
}
