//! Holds the bytes of all copies together to a rate: a token bucket.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How far ahead of the rate copies may run: the bucket holds what flows in this time.
const BURST: Duration = Duration::from_secs(1);

/// A bucket that may go into debt: who takes more than there is waits until the debt is paid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenBucket {
    /// Bytes per second.
    rate: f64,
    tokens: f64,
    /// When `tokens` was right.
    at: Duration,
}

/// The one bucket of all copies.
pub struct Throttle {
    since: Instant,
    /// `None`: no limit.
    bucket: Mutex<Option<TokenBucket>>,
}

// === impl TokenBucket ===

impl TokenBucket {
    /// `rate` in bytes per second, over zero.
    pub fn new(rate: u64) -> Self {
        let rate = rate as f64;
        Self { rate, tokens: rate * BURST.as_secs_f64(), at: Duration::ZERO }
    }

    /// Takes `bytes` at the moment `now`; returns how long to wait before going on.
    pub fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + passed * self.rate).min(self.rate * BURST.as_secs_f64()) - bytes as f64;
        if self.tokens >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.tokens / self.rate) }
    }
}

// === impl Throttle ===

impl Throttle {
    /// `rate` in bytes per second; 0: no limit.
    pub fn new(rate: u64) -> Self {
        Self { since: Instant::now(), bucket: Mutex::new(bucket(rate)) }
    }

    /// Another rate from now on. Who sleeps already sleeps as long as the old one said.
    pub fn exchange(&self, rate: u64) {
        let mut own = self.bucket.lock();
        let before = own.as_ref().map_or(0, |bucket| bucket.rate as u64);
        if before != rate {
            *own = bucket(rate).map(|fresh| TokenBucket { at: self.since.elapsed(), ..fresh });
        }
    }

    /// Sleeps for as long as `bytes` take at the bandwidth; not at all without one.
    pub async fn take(&self, bytes: u64) {
        let pause = match &mut *self.bucket.lock() {
            Some(bucket) => bucket.take(bytes, self.since.elapsed()),
            None => return,
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

fn bucket(rate: u64) -> Option<TokenBucket> {
    (rate > 0).then(|| TokenBucket::new(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_keeps_the_rate() {
        let mut bucket = TokenBucket::new(1000);
        assert_eq!(bucket.take(1000, Duration::ZERO), Duration::ZERO);
        assert_eq!(bucket.take(500, Duration::ZERO), Duration::from_millis(500));
        assert_eq!(bucket.take(0, Duration::from_millis(500)), Duration::ZERO);
        assert_eq!(bucket.take(3000, Duration::from_secs(60)), Duration::from_secs(2), "an idle hour is not saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn copies_share_the_rate() {
        let throttle = Throttle::new(1_000_000);
        let started = Instant::now();
        let copy = || async {
            for _ in 0..50 {
                throttle.take(100_000).await;
            }
        };
        tokio::join!(copy(), copy());
        let took = started.elapsed();
        assert!((Duration::from_millis(8900)..=Duration::from_millis(9100)).contains(&took), "{took:?}");
        let unlimited = Throttle::new(0);
        let started = Instant::now();
        unlimited.take(u64::MAX).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
