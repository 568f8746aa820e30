//! One background poll per unfinished task.

use std::sync::Arc;

use super::task_host::TaskHost;
use crate::store::{Store, StoreError};
use crate::tasks::entry::MiroirTask;
use crate::tasks::filter::TaskRef;

/// Polls unfinished tasks, folds what the nodes say, stores it, and knows the freshest state of each.
pub struct Reconciler {
    store: Arc<dyn Store>,
}

impl Reconciler {
    pub fn new(store: Arc<dyn Store>, prometheus: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        let _ = prometheus;
        Ok(Self { store })
    }

    /// Starts the poll of a task whose row is stored: `cluster.reconciler.watch(cluster, task)`.
    pub fn watch<H: TaskHost>(&self, host: &Arc<H>, task: MiroirTask) {
        let _ = (host, task, &self.store);
        todo!()
    }

    /// Takes up the unfinished tasks of the last run; returns how many there are.
    pub async fn resume<H: TaskHost>(&self, host: &Arc<H>) -> Result<usize, StoreError> {
        let _ = host;
        todo!()
    }

    /// The freshest state of a task that is being polled.
    pub fn live(&self, id: TaskRef) -> Option<MiroirTask> {
        let _ = id;
        todo!()
    }
}
