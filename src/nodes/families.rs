//! Families of metrics, registered as they are made.

use prometheus::{
    IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, register_int_counter_vec_with_registry,
    register_int_counter_with_registry, register_int_gauge_vec_with_registry, register_int_gauge_with_registry,
};

/// Makes families of a registry.
pub(crate) struct Families<'a>(pub &'a Registry);

// === impl Families ===

impl Families<'_> {
    /// An error if another family has the name.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        register_int_counter_vec_with_registry!(name, help, labels, self.0)
    }

    /// An error if another family has the name.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        register_int_gauge_vec_with_registry!(name, help, labels, self.0)
    }

    /// An error if another family has the name.
    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        register_int_counter_with_registry!(name, help, self.0)
    }

    /// An error if another family has the name.
    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        register_int_gauge_with_registry!(name, help, self.0)
    }
}
