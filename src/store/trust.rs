//! Until when a process may act by what it knows, by a clock that goes on while the machine is suspended and that nobody sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// While nothing may be sent it is looked so often whether something may.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A moment, as the time since some other one in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

/// How long a process may trust what it knows. Clones say the same.
#[derive(Debug, Clone)]
pub struct Trust {
    /// In nanoseconds; `None` for ever.
    until: Option<Arc<AtomicU64>>,
}

// === impl Moment ===

impl Moment {
    /// Now.
    pub fn now() -> Self {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let clock = rustix::time::ClockId::Boottime;
        // Elsewhere it may stop while the machine sleeps.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let clock = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(clock);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Self(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0)))
    }

    /// The one that is `since` that other one.
    pub fn at(since: Duration) -> Self {
        Self(since)
    }

    /// How long that other one is past.
    pub fn since_boot(self) -> Duration {
        self.0
    }

    fn nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0 + later)
    }
}

// === impl Trust ===

impl Trust {
    /// Of who is the only one.
    pub fn always() -> Self {
        Self { until: None }
    }

    /// Nothing may be trusted yet.
    pub fn none() -> Self {
        Self { until: Some(Arc::default()) }
    }

    /// From now on until `moment`, which may be earlier than what was said before.
    pub fn set(&self, moment: Moment) {
        if let Some(until) = &self.until {
            until.store(moment.nanos(), Ordering::SeqCst);
        }
    }

    /// Nothing may be trusted any more.
    pub fn end(&self) {
        if let Some(until) = &self.until {
            until.store(0, Ordering::SeqCst);
        }
    }

    /// True while it may be trusted.
    pub fn holds(&self) -> bool {
        match &self.until {
            None => true,
            Some(until) => Moment::now().nanos() < until.load(Ordering::SeqCst),
        }
    }

    /// Returns when it may be trusted.
    pub async fn wait(&self) {
        while !self.holds() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_trusted_until_a_moment_is_not_after_it() {
        assert!(Trust::always().holds() && !Trust::none().holds());
        let trust = Trust::none();
        trust.set(Moment::now() + Duration::from_secs(60));
        let same = trust.clone();
        assert!(same.holds());
        trust.set(Moment::now());
        assert!(!same.holds(), "an earlier moment counts as well");
        trust.set(Moment::now() + Duration::from_secs(60));
        same.end();
        assert!(!trust.holds());
    }
}
