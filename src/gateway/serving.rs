//! Which app answers. A gateway that leads has one over the cluster's state; one that follows has one over what the leader tells it. A process
//! goes from the second to the first when it comes to lead, between two requests, and never back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use prometheus::Registry;
use prometheus::proto::MetricFamily;

use super::app::App;

/// What this process answers by.
pub struct Serving {
    seat: ArcSwap<Seat>,
    /// What is counted of the process, whoever leads.
    process: Registry,
    /// It has been told to end, or is to.
    leaves: AtomicBool,
}

/// An app, and what it counts.
pub struct Seat {
    pub app: Arc<App>,
    /// Its own, because a registry takes each family once.
    pub registry: Registry,
}

// === impl Serving ===

impl Serving {
    /// Answers by `app` from the start.
    pub fn new(seat: Seat, process: Registry) -> Arc<Self> {
        Arc::new(Self { seat: ArcSwap::from_pointee(seat), process, leaves: AtomicBool::new(false) })
    }

    /// As it is at this moment; a request goes by one.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.seat.load().app)
    }

    /// Requests that come from now on are answered by `seat`.
    pub fn take_over(&self, seat: Seat) {
        self.seat.store(Arc::new(seat));
    }

    /// From now on it is not ready, and keeps no connection after an answer, so that clients go elsewhere.
    pub fn leave(&self) {
        self.leaves.store(true, Ordering::Relaxed);
    }

    /// True once it is about to end.
    pub fn leaves(&self) -> bool {
        self.leaves.load(Ordering::Relaxed)
    }

    /// All that is counted.
    pub fn families(&self) -> Vec<MetricFamily> {
        let mut families = self.seat.load().registry.gather();
        families.extend(self.process.gather());
        families
    }
}
