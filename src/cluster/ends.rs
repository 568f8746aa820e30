//! What the end of a task means for all parts.

use std::sync::Arc;

use async_trait::async_trait;

use super::Cluster;
use crate::ledger::insync;
use crate::ledger::marks::Marks;
use crate::meili::task::{Subject, TaskKind, TaskStatus};
use crate::replicas::repair;
use crate::tasks::entry::{MiroirTask, NodeTaskState, Purpose};
use crate::tracking::Heir;

#[async_trait]
impl Heir for Cluster {
    /// In-sync sets, settings to be taken back, registry, words; then other gateways hear of it.
    async fn task_ended(&self, task: &mut MiroirTask) {
        match insync::end(&self.ledger, task).await {
            Ok(marks) => report_divergence(self, task, &marks),
            Err(error) => tracing::error!(%error, task = %task.id(), "stale replicas could not be recorded"),
        }
        if let Err(error) = repair::take_back(&self.replicas, task).await {
            tracing::error!(%error, task = %task.id(), "settings to be taken back could not be recorded");
        }
        let registry = &self.ledger.registry;
        if matches!(task.kind, TaskKind::DsrUpdate | TaskKind::DsrClear) {
            registry.forget_infos();
        }
        let mut indexes = insync::swapped(task);
        indexes.extend(task.index_uid.clone());
        for index in &indexes {
            repair::touched(&self.replicas, index, task);
            if !leaves_settings(task) {
                registry.invalidate(index);
            }
            match task.status {
                TaskStatus::Failed | TaskStatus::Canceled => {
                    registry.suspect(index);
                    self.writes.vocabularies.lost(index);
                }
                TaskStatus::Enqueued | TaskStatus::Processing | TaskStatus::Succeeded => {}
            }
        }
        // By themselves: they may have to wait for writes of the index, and those for nothing here.
        if let (TaskKind::IndexUpdate, TaskStatus::Failed, Some(index)) = (task.kind, task.status, &task.index_uid) {
            let taken_back = tokio::spawn(repair::take_key_back(Arc::clone(&self.replicas), index.clone()));
            // A primary key that was refused is not to be what the next documents are read by.
            _ = tokio::time::timeout(repair::TOLD_AFTER, taken_back).await;
        }
        if !registry.suspects().is_empty() {
            let replicas = Arc::clone(&self.replicas);
            tokio::spawn(async move { repair::check_suspects(&replicas).await });
        }
        // Whoever sees that it has succeeded finds it at every gateway: none goes by replicas that lack it, nor by what it knew of the
        // settings before. And of indexes that were swapped none has the keys and names of before.
        self.nodes.elsewhere.heard().await;
    }
}

/// True for documents that an index took which was there: what is known of its settings still holds. With many small writes
/// they would be read again for each.
fn leaves_settings(task: &MiroirTask) -> bool {
    task.kind.subject() == Subject::Documents
        && task.status == TaskStatus::Succeeded
        && task.parts.iter().all(|part| part.purpose == Purpose::Main)
}

/// Raises the alarm where one replica refused in its queue what another carried out.
fn report_divergence(cluster: &Cluster, task: &MiroirTask, marks: &Marks) {
    if marks.is_empty() {
        return;
    }
    for part in task.parts.iter().filter(|part| part.outcome() == NodeTaskState::Failed) {
        let reason = part.error.as_ref().map(|error| error.message.as_str()).unwrap_or_default();
        tracing::error!(task = %task.id(), node = %part.node, reason, "replicas diverged: one failed, another did not");
        cluster.nodes.metrics.diverged_parts.with_label_values(&[part.node.as_str()]).inc();
    }
}
