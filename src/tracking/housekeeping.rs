//! What the task table needs from time to time: old rows go, and its metrics are measured.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;

use super::task_metrics::TaskMetrics;
use crate::nodes::shutdown::stopped;
use crate::store::Store;

/// How often the table is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// How often old rows are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(600);

/// Runs until `shutdown` turns true. `retention` says how long a finished task is kept.
pub async fn run(
    store: Arc<dyn Store>,
    metrics: TaskMetrics,
    retention: impl Fn() -> Duration,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut measure = tokio::time::interval(MEASURE_EVERY);
    let mut purge = tokio::time::interval(PURGE_EVERY.min(retention()).max(Duration::from_secs(1)));
    loop {
        tokio::select! {
            _ = measure.tick() => measure_table(&*store, &metrics).await,
            _ = purge.tick() => purge_table(&*store, &metrics, retention()).await,
            () = stopped(&mut shutdown) => return,
        }
    }
}

async fn measure_table(store: &dyn Store, metrics: &TaskMetrics) {
    match store.task_stats().await {
        Ok(stats) => metrics.set_table(&stats, OffsetDateTime::now_utc()),
        Err(error) => tracing::warn!(%error, "task table could not be measured"),
    }
}

async fn purge_table(store: &dyn Store, metrics: &TaskMetrics, retention: Duration) {
    let Some(cutoff) = OffsetDateTime::now_utc().checked_sub(time::Duration::try_from(retention).unwrap_or_default())
    else {
        return;
    };
    match store.purge_tasks(cutoff).await {
        Ok(0) => {}
        Ok(count) => {
            metrics.purged(count);
            tracing::info!(count, "old tasks removed");
        }
        Err(error) => tracing::warn!(%error, "old tasks could not be removed"),
    }
}
