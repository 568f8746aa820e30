//! How many subrequests may be repeated: a share of all requests, so that a cluster in trouble is not asked twice as much.
//! A token bucket, in thousandths of a retry.

const RETRY: u64 = 1000;

/// What the operator sets of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetrySettings {
    /// Retries per request, 0.2 for one in five.
    pub share: f64,
    /// How many retries may be saved up: what a sudden failure may cost.
    pub burst: u32,
}

/// What may still be repeated: each request adds a share of a retry, each retry takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    tokens: u64,
    per_request: u64,
    most: u64,
}

// === impl RetryBudget ===

impl RetryBudget {
    /// Begins full.
    pub fn new(settings: RetrySettings) -> Self {
        let most = u64::from(settings.burst) * RETRY;
        Self { tokens: most, per_request: (settings.share.clamp(0.0, 1.0) * RETRY as f64) as u64, most }
    }

    /// Goes by these from now on, with what is saved as far as it may be.
    pub fn exchange(&mut self, settings: RetrySettings) {
        let next = Self::new(settings);
        // Who has saved up as much as he may goes on so.
        let tokens = if self.tokens >= self.most { next.most } else { self.tokens.min(next.most) };
        *self = Self { tokens, ..next };
    }

    /// A request is sent for the first time.
    pub fn deposit(&mut self) {
        self.tokens = (self.tokens + self.per_request).min(self.most);
    }

    /// True when a request may be repeated, which is then paid for.
    pub fn withdraw(&mut self) -> bool {
        let affordable = self.is_solvent();
        if affordable {
            self.tokens -= RETRY;
        }
        affordable
    }

    /// The same for what is only to be faster: half of what may be saved up is left to what has failed.
    pub fn withdraw_spare(&mut self) -> bool {
        self.tokens >= self.most / 2 + RETRY && self.withdraw()
    }

    /// True when a retry could be paid for.
    fn is_solvent(&self) -> bool {
        self.tokens >= RETRY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_at_most_their_share_of_the_requests_once_the_burst_is_spent() {
        let mut budget = RetryBudget::new(RetrySettings { share: 0.2, burst: 10 });
        assert_eq!((0..50).filter(|_| budget.withdraw()).count(), 10);
        let mut retries = 0;
        for _ in 0..1000 {
            budget.deposit();
            retries += usize::from(budget.withdraw());
        }
        assert_eq!(retries, 200);
    }

    #[test]
    fn what_is_not_spent_is_saved_up_to_the_burst_only() {
        let mut budget = RetryBudget::new(RetrySettings { share: 0.5, burst: 3 });
        for _ in 0..100 {
            budget.deposit();
        }
        assert_eq!((0..50).filter(|_| budget.withdraw()).count(), 3);
    }

    #[test]
    fn who_only_wants_to_be_faster_leaves_half_to_failures() {
        let mut budget = RetryBudget::new(RetrySettings { share: 0.2, burst: 10 });
        assert_eq!((0..50).filter(|_| budget.withdraw_spare()).count(), 5);
        assert_eq!((0..50).filter(|_| budget.withdraw()).count(), 5);
    }

    #[test]
    fn without_a_burst_nothing_is_repeated() {
        let mut budget = RetryBudget::new(RetrySettings { share: 1.0, burst: 0 });
        budget.deposit();
        assert!(!budget.withdraw());
    }
}
