//! What the gateway counts of its clients' requests.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::cache::metrics::CacheMetrics;
use super::peers::proof::NoPeer;

/// Families and handles; cheap to clone.
#[derive(Clone)]
pub struct GatewayMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    pub in_flight: IntGauge,
    pub degraded: IntCounter,
    pub inexact: IntCounter,
    request_bytes: IntCounter,
    response_bytes: IntCounter,
    turned_away: IntCounterVec,
    pub cache: CacheMetrics,
    /// All that is registered, here and elsewhere.
    pub registry: Registry,
}

/// Counts one request as being in flight for as long as it lives.
pub struct InFlight {
    gauge: IntGauge,
    /// How many there are with this one.
    pub count: i64,
}

/// Seconds: from a cached answer to a write of some size.
const BUCKETS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

// === impl GatewayMetrics ===

impl GatewayMetrics {
    /// An error if one of the families is there already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("miroir_requests_total", "Requests of clients by route and status."),
                &["route", "status"],
            )?,
            duration: HistogramVec::new(
                HistogramOpts::new(
                    "miroir_request_duration_seconds",
                    "Time from a request's head to its answer's end.",
                )
                .buckets(BUCKETS.to_vec()),
                &["route"],
            )?,
            in_flight: IntGauge::new("miroir_requests_in_flight", "Requests that are being answered.")?,
            degraded: IntCounter::new("miroir_degraded_answers_total", "Answers that lacked at least one shard.")?,
            inexact: IntCounter::new(
                "miroir_inexact_answers_total",
                "Answers whose facets may differ from one node's.",
            )?,
            request_bytes: IntCounter::new("miroir_request_bytes_total", "Bytes of clients' request bodies.")?,
            response_bytes: IntCounter::new("miroir_response_bytes_total", "Bytes of answers' bodies to clients.")?,
            turned_away: IntCounterVec::new(
                Opts::new(
                    "miroir_peers_turned_away_total",
                    "Requests that were turned away where peers are listened to.",
                ),
                &["reason"],
            )?,
            cache: CacheMetrics::register(registry)?,
            registry: registry.clone(),
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.degraded.clone()))?;
        registry.register(Box::new(metrics.inexact.clone()))?;
        registry.register(Box::new(metrics.request_bytes.clone()))?;
        registry.register(Box::new(metrics.response_bytes.clone()))?;
        registry.register(Box::new(metrics.turned_away.clone()))?;
        for reason in NoPeer::ALL {
            metrics.turned_away.with_label_values(&[reason]);
        }
        Ok(metrics)
    }

    /// Counts a request as under way for as long as the guard lives.
    pub fn enter(&self) -> InFlight {
        self.in_flight.inc();
        InFlight { count: self.in_flight.get(), gauge: self.in_flight.clone() }
    }

    /// Counts somebody whom peers do not let in.
    pub fn turned_away(&self, reason: &NoPeer) {
        self.turned_away.with_label_values(&[NoPeer::ALL[reason.kind()]]).inc();
    }

    /// Counts a request that is over; `status` 0 is a client that went away before it was answered.
    pub fn observe(&self, route: &str, status: u16, duration: Duration, bytes_in: usize, bytes_out: usize) {
        self.requests.with_label_values(&[route, status.to_string().as_str()]).inc();
        self.duration.with_label_values(&[route]).observe(duration.as_secs_f64());
        self.request_bytes.inc_by(bytes_in as u64);
        self.response_bytes.inc_by(bytes_out as u64);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_status() {
        let registry = Registry::new();
        let metrics = GatewayMetrics::register(&registry).unwrap();
        let guard = metrics.enter();
        assert_eq!((metrics.in_flight.get(), guard.count), (1, 1));
        metrics.observe("searchPost", 200, Duration::from_millis(3), 10, 20);
        drop(guard);
        assert_eq!(metrics.in_flight.get(), 0);
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(text.contains("miroir_requests_total{route=\"searchPost\",status=\"200\"} 1"), "{text}");
    }
}
