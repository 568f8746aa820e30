//! Writes: one order for all replicas, durable before anything leaves, acknowledged when every live replica accepted.

use std::sync::Arc;

use super::Cluster;
use super::client::Trace;
use super::spool::Spool;
use crate::meili::error::ResponseError;
use crate::plan::write::WriteIntent;
use crate::tasks::entry::MiroirTask;

/// Gives writes their place in the order and sees them accepted.
pub struct Writer {}

// === impl Writer ===

impl Writer {
    /// Carries out a write up to its acknowledgement. The error is for the client: nothing half-written remains.
    pub async fn submit(
        &self,
        cluster: &Arc<Cluster>,
        intent: WriteIntent,
        spools: Vec<Spool>,
        trace: &Trace,
    ) -> Result<MiroirTask, ResponseError> {
        let _ = (cluster, intent, spools, trace);
        todo!()
    }

    /// Records a write that failed before any node saw its documents: the client gets a task, final from the start.
    /// `intent` has no steps; with `ensure_index` the index is created all the same, as the engine does.
    pub async fn record_failed(
        &self,
        cluster: &Arc<Cluster>,
        intent: WriteIntent,
        error: ResponseError,
        trace: &Trace,
    ) -> Result<MiroirTask, ResponseError> {
        let _ = (cluster, intent, error, trace);
        todo!()
    }

    /// The next integer task id. Also for tasks that no node sees, such as cancelations.
    pub fn next_uid(&self) -> u32 {
        todo!()
    }
}
