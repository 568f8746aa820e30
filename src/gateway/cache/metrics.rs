//! What the cache counts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::status::{Bypass, CacheStatus, Forward, Then};

/// How a request met the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    Hit,
    /// Nodes were asked.
    Miss,
    /// It got the answer to an equal request that was under way.
    Collapsed,
    Bypass,
}

/// Families and handles; cheap to clone.
#[derive(Clone)]
pub struct CacheMetrics {
    hits: IntCounter,
    misses: IntCounter,
    collapsed: IntCounter,
    bypassed: IntCounter,
    bypasses: IntCounterVec,
    pub evictions: IntCounter,
    pub bytes: IntGauge,
}

// === impl CacheMetrics ===

impl CacheMetrics {
    /// An error if one of the families is there already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("miroir_cache_requests_total", "Requests whose answers may be kept, by how they met the cache."),
            &["result"],
        )?;
        let bypasses = IntCounterVec::new(
            Opts::new("miroir_cache_bypasses_total", "Requests for which no kept answer was looked for, by reason."),
            &["reason"],
        )?;
        for reason in Bypass::ALL {
            bypasses.with_label_values(&[reason.as_str()]);
        }
        let evictions = IntCounter::new("miroir_cache_evictions_total", "Answers that had to go for others.")?;
        let bytes = IntGauge::new("miroir_cache_bytes", "Bytes of answers that are kept, with what was asked.")?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(bypasses.clone()))?;
        registry.register(Box::new(evictions.clone()))?;
        registry.register(Box::new(bytes.clone()))?;
        let of = |met: Met| requests.with_label_values(&[met.as_str()]);
        Ok(Self {
            hits: of(Met::Hit),
            misses: of(Met::Miss),
            collapsed: of(Met::Collapsed),
            bypassed: of(Met::Bypass),
            bypasses,
            evictions,
            bytes,
        })
    }

    /// Once for each request that asks for what may be kept.
    pub fn count(&self, status: CacheStatus) {
        match status {
            CacheStatus::Hit => self.hits.inc(),
            CacheStatus::Forwarded { why: Forward::Bypass(reason), .. } => {
                self.bypassed.inc();
                self.bypasses.with_label_values(&[reason.as_str()]).inc();
            }
            CacheStatus::Forwarded { then: Then::Collapsed, .. } => self.collapsed.inc(),
            CacheStatus::Forwarded { then: Then::Stored | Then::Nothing, .. } => self.misses.inc(),
        }
    }
}

// === impl Met ===

impl Met {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Bypass => "bypass",
        }
    }
}
