//! How far copies are.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::error::ResilverError;
use super::metrics::ResilverMetrics;
use super::throttle::Throttle;
use crate::placement::topology::{NodeId, NodeIx};
use crate::replicas::resilver::settings::ResilverSettings;
use crate::settings::Live;

/// So many times the pause before the next try doubles at most.
const DOUBLINGS: u32 = 4;
/// The same where the engine refuses what it is sent, which seldom gets better by itself, and costs the node a task each time.
const REFUSED_DOUBLINGS: u32 = 12;
/// However often a copy has failed: whoever has put things right does not wait for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// What a copy is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Documents are compared and sent while writes go on.
    Comparing,
    /// Writes are held back while the rest is compared.
    CuttingOver,
}

/// How far one copy is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub node: NodeId,
    pub index: String,
    pub phase: Phase,
    pub shards: usize,
    /// Comparisons that have begun, the one under way too.
    pub passes: u32,
    /// The documents of the pass under way, and how many of them are compared.
    pub total: u64,
    pub done: u64,
    /// Over all passes.
    pub copied: u64,
    pub deleted: u64,
    /// Read and sent, over all passes.
    pub bytes: u64,
    pub since: OffsetDateTime,
    started: Instant,
    pass_started: Instant,
}

/// Why the last copy to a node stopped short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: &'static str,
    pub message: String,
    /// How many times in a row.
    pub attempts: u32,
    pub at: OffsetDateTime,
}

/// A copy's target and index.
pub type CopyKey = (NodeIx, String);

/// The copies under way, what they share, and the failures that are to be tried again.
pub struct Copies {
    pub(super) settings: Live<ResilverSettings>,
    pub(super) throttle: Throttle,
    pub(super) metrics: ResilverMetrics,
    running: Mutex<BTreeMap<CopyKey, Progress>>,
    failures: Mutex<BTreeMap<CopyKey, Failure>>,
    /// Until when what could not be copied is left alone.
    resting: Mutex<BTreeMap<CopyKey, Instant>>,
}

// === impl Phase ===

impl Phase {
    /// As the admin API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Comparing => "comparing",
            Self::CuttingOver => "cuttingOver",
        }
    }
}

// === impl Progress ===

impl Progress {
    /// Of a copy of so many shards that begins now.
    pub fn new(node: NodeId, index: &str, shards: usize) -> Self {
        let now = Instant::now();
        Self {
            node,
            index: index.to_owned(),
            phase: Phase::Comparing,
            shards,
            passes: 0,
            total: 0,
            done: 0,
            copied: 0,
            deleted: 0,
            bytes: 0,
            since: OffsetDateTime::now_utc(),
            started: now,
            pass_started: now,
        }
    }

    /// `total` documents are to be compared, from the first again.
    pub fn begin_pass(&mut self, total: u64) {
        self.passes += 1;
        self.total = total;
        self.done = 0;
        self.pass_started = Instant::now();
    }

    /// Since the copy began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Documents compared per second in the pass under way.
    pub fn rate(&self) -> f64 {
        let seconds = self.pass_started.elapsed().as_secs_f64();
        if seconds > 0.0 { self.done as f64 / seconds } else { 0.0 }
    }

    /// How long the pass under way will take; `None` while that cannot be said.
    pub fn time_left(&self) -> Option<Duration> {
        let rate = self.rate();
        let left = self.total.saturating_sub(self.done) as f64;
        if left == 0.0 {
            return Some(Duration::ZERO);
        }
        (rate > 0.0).then(|| Duration::try_from_secs_f64(left / rate).ok()).flatten()
    }
}

// === impl Copies ===

impl Copies {
    /// No copy runs yet; an error if a family of metrics is there already.
    pub fn new(settings: &ResilverSettings, prometheus: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            settings: Live::new(settings.clone()),
            throttle: Throttle::new(settings.bandwidth),
            metrics: ResilverMetrics::new(prometheus)?,
            running: Mutex::default(),
            failures: Mutex::default(),
            resting: Mutex::default(),
        })
    }

    /// Goes by these from now on; copies that are under way go on, at the new rate.
    pub fn exchange(&self, settings: ResilverSettings) {
        self.throttle.exchange(settings.bandwidth);
        self.settings.set(settings);
    }

    /// The copies under way.
    pub fn running(&self) -> Vec<Progress> {
        self.running.lock().values().cloned().collect()
    }

    /// What stopped short and is to be tried again.
    pub fn failures(&self) -> Vec<(CopyKey, Failure)> {
        self.failures.lock().iter().map(|(key, failure)| (key.clone(), failure.clone())).collect()
    }

    /// What copies count.
    pub fn metrics(&self) -> &ResilverMetrics {
        &self.metrics
    }

    pub(super) fn is_running(&self, key: &CopyKey) -> bool {
        self.running.lock().contains_key(key)
    }

    /// True while it is too early to try a copy again.
    pub(super) fn rests(&self, key: &CopyKey) -> bool {
        self.resting.lock().get(key).is_some_and(|until| Instant::now() < *until)
    }

    /// Leaves a copy alone for `pause`.
    pub(super) fn rest(&self, key: &CopyKey, pause: Duration) {
        self.resting.lock().insert(key.clone(), Instant::now() + pause);
    }

    pub(super) fn begin(&self, key: &CopyKey, progress: Progress) {
        self.metrics.running.with_label_values(&[progress.node.as_str()]).inc();
        self.metrics.show(&progress);
        self.running.lock().insert(key.clone(), progress);
    }

    /// Nothing happens for a copy that is over.
    pub(super) fn update(&self, key: &CopyKey, change: impl FnOnce(&mut Progress)) {
        if let Some(progress) = self.running.lock().get_mut(key) {
            change(progress);
            self.metrics.show(progress);
        }
    }

    /// A copy is over; returns how far it came.
    pub(super) fn end(&self, key: &CopyKey) -> Option<Progress> {
        let progress = self.running.lock().remove(key)?;
        self.metrics.running.with_label_values(&[progress.node.as_str()]).dec();
        self.metrics.forget(&progress);
        Some(progress)
    }

    /// Its failures count no more.
    pub(super) fn succeeded(&self, key: &CopyKey) {
        self.failures.lock().remove(key);
    }

    /// Returns how many times in a row it has failed.
    pub(super) fn failed(&self, key: &CopyKey, node: &NodeId, error: &ResilverError, pause: Duration) -> u32 {
        let doublings = if error.is_refusal() { REFUSED_DOUBLINGS } else { DOUBLINGS };
        let reason = error.reason().as_str();
        self.metrics.failures.with_label_values(&[node.as_str(), reason]).inc();
        let mut failures = self.failures.lock();
        let attempts = failures.get(key).map_or(0, |failure| failure.attempts) + 1;
        let failure = Failure { reason, message: error.to_string(), attempts, at: OffsetDateTime::now_utc() };
        failures.insert(key.clone(), failure);
        self.rest(key, pause.saturating_mul(1 << attempts.min(doublings)).min(LONGEST_PAUSE));
        attempts
    }

    /// Forgets failures of what is not stale any more.
    pub(super) fn retain_failures(&self, stale: impl Fn(&CopyKey) -> bool) {
        self.failures.lock().retain(|key, _| stale(key));
        self.resting.lock().retain(|key, _| stale(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::FromSection as _;

    #[tokio::test(start_paused = true)]
    async fn the_time_left_follows_from_the_rate_of_the_pass() {
        let mut progress = Progress::new(NodeId::new("n"), "a", 4);
        progress.begin_pass(1000);
        assert_eq!(progress.time_left(), None);
        tokio::time::advance(Duration::from_secs(10)).await;
        progress.done = 250;
        assert_eq!((progress.rate(), progress.time_left()), (25.0, Some(Duration::from_secs(30))));
        progress.done = 1000;
        assert_eq!(progress.time_left(), Some(Duration::ZERO));
        progress.begin_pass(0);
        assert_eq!((progress.passes, progress.time_left()), (2, Some(Duration::ZERO)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_copy_rests_longer_each_time() {
        let settings = ResilverSettings::defaults();
        let copies = Copies::new(&settings, &prometheus::Registry::new()).unwrap();
        let (key, node) = ((NodeIx(0), "a".to_owned()), NodeId::new("n"));
        let pause = Duration::from_secs(1);
        for attempt in 1..4 {
            assert_eq!(copies.failed(&key, &node, &ResilverError::MissedMore, pause), attempt);
            tokio::time::advance(pause * (1 << attempt) - Duration::from_millis(1)).await;
            assert!(copies.rests(&key));
            tokio::time::advance(Duration::from_millis(2)).await;
            assert!(!copies.rests(&key));
        }
        copies.succeeded(&key);
        assert!(copies.failures().is_empty());
    }

    /// Example: a node that refuses documents of more than 65,535 fields. Tried again each few seconds, it would be at nothing else.
    #[tokio::test(start_paused = true)]
    async fn what_the_engine_refuses_is_tried_a_handful_of_times_an_hour() {
        let settings = ResilverSettings::defaults();
        let copies = Copies::new(&settings, &prometheus::Registry::new()).unwrap();
        let (key, node) = ((NodeIx(0), "a".to_owned()), NodeId::new("n"));
        let tries = |error: ResilverError| {
            let (copies, key, node) = (&copies, &key, &node);
            async move {
                let (began, mut tries) = (Instant::now(), 0);
                while began.elapsed() < Duration::from_secs(3600) {
                    if !copies.rests(key) {
                        copies.failed(key, node, &error, Duration::from_millis(500));
                        tries += 1;
                    }
                    tokio::time::advance(Duration::from_secs(1)).await;
                }
                copies.succeeded(key);
                tries
            }
        };
        let refused = ResilverError::Task { node: "n".to_owned(), uid: 1, message: "too many fields".to_owned() };
        assert_eq!(tries(refused).await, 15);
        assert!(tries(ResilverError::MissedMore).await > 300);
    }
}
