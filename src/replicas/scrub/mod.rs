//! Scrub: a slow comparison of all replicas in the background, as RAID does it, and the repair of what differs.
//!
//! Shard by shard, one request to each node at a time, the contents of the replicas in sync are compared by count and
//! digest. A difference seen while writes are under way is none: what differs is looked at once more with the writes of
//! its index held back and the nodes' queues empty. Then the wrong replicas are marked stale, and so copied anew from the
//! right ones; nothing is ever merged, so nothing deleted comes back. Settings are compared in the same way, over all nodes.
//!
//! | file | what |
//! |---|---|
//! | `judge` | which replicas are wrong; pure |
//! | `compare` | one shard |
//! | `dynamic_rules` | the dynamic search rules of all nodes |
//! | `settings`, `agreed` | the settings of one index, and what they were when all nodes had the same |
//! | `report`, `metrics` | what was found |

mod agreed;
mod compare;
mod dynamic_rules;
mod judge;
pub mod metrics;
pub mod report;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use self::metrics::ScrubMetrics;
use self::report::Reports;
use super::resilver::throttle::Throttle;
use crate::nodes::client::Trace;
use crate::nodes::shutdown::stopped;
use crate::placement::shard::ShardId;
use crate::settings::unit::MIB;
use crate::settings::{FromSection, Live, Section};
use crate::write::Writes;

/// The section `scrub`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubSettings {
    /// From the end of one scrub to the beginning of the next.
    pub interval: Duration,
    /// Bytes of documents that it reads from nodes per second; 0: no limit.
    pub bandwidth: u64,
}

/// The scrubber's state.
pub struct Scrub {
    settings: Live<ScrubSettings>,
    pub reports: Reports,
    metrics: ScrubMetrics,
    throttle: Throttle,
    start: Notify,
    exchanged: Notify,
}

// === impl ScrubSettings ===

impl FromSection for ScrubSettings {
    fn read(section: &mut Section) -> Self {
        Self {
            interval: section.duration("interval", Duration::from_secs(24 * 60 * 60)),
            bandwidth: section.size("bandwidth", 0, 4 * MIB),
        }
    }
}

// === impl Scrub ===

impl Scrub {
    /// Nothing was compared yet.
    pub fn new(settings: ScrubSettings, registry: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            settings: Live::new(settings),
            reports: Reports::default(),
            metrics: ScrubMetrics::register(registry)?,
            throttle: Throttle::new(settings.bandwidth),
            start: Notify::new(),
            exchanged: Notify::new(),
        })
    }

    /// Goes by these from now on.
    pub fn exchange(&self, settings: ScrubSettings) {
        self.throttle.exchange(settings.bandwidth);
        self.settings.set(settings);
        self.exchanged.notify_one();
    }

    /// Begins a scrub now, or after the one that is under way.
    pub fn start(&self) {
        self.start.notify_one();
    }
}

/// Scrubs every `scrub.interval` and when told to, until `shutdown`.
pub async fn run(scrub: Arc<Scrub>, writes: Arc<Writes>, mut shutdown: watch::Receiver<bool>) {
    let mut ended = Instant::now();
    loop {
        let next = ended.checked_add(scrub.settings.get().interval);
        tokio::select! {
            () = until(next) => {}
            _ = scrub.start.notified() => {}
            _ = scrub.exchanged.notified() => continue,
            _ = stopped(&mut shutdown) => return,
        }
        tokio::select! {
            _ = everything(&scrub, &writes) => {}
            _ = stopped(&mut shutdown) => return,
        }
        ended = Instant::now();
    }
}

/// For ever where there is no such moment.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn everything(scrub: &Scrub, writes: &Writes) {
    let trace = Trace::background("scrub");
    let entries = writes.ledger.registry.entries();
    let shards = writes.nodes.topology().shards;
    scrub.reports.begin(entries.len() as u64 * u64::from(shards));
    if let Some((outcome, finding)) = dynamic_rules::compare(writes, &trace).await {
        scrub.metrics.compared(outcome);
        scrub.reports.note(|report| report.findings.extend(finding));
    }
    for entry in entries {
        settings::compare(scrub, writes, &entry.uid, &trace).await;
        // Without a primary key there is no document.
        let Some(primary_key) = entry.primary_key else {
            scrub.reports.note(|report| report.compared += u64::from(shards));
            continue;
        };
        for shard in (0..shards).map(ShardId) {
            if writes.ledger.registry.exists(&entry.uid) {
                compare::shard(scrub, writes, &entry.uid, &primary_key, shard, &trace).await;
            }
        }
    }
    scrub.metrics.finished();
    if let Some(report) = scrub.reports.finish() {
        let (compared, skipped, findings) = (report.compared, report.skipped, report.findings.len());
        tracing::info!(compared, skipped, findings, bytes = report.bytes, "scrubbed");
    }
}
