//! Deletes documents by id.

use std::sync::Arc;

use crate::cluster::Cluster;
use crate::meili::error::{Code, ResponseError};
use crate::nodes::client::Trace;
use crate::placement::topology::Topology;
use crate::plan::deletion::Deletion;
use crate::tasks::entry::MiroirTask;

/// Carries `deletion` out, by the owners that shards have when it takes its place in the order.
pub async fn delete(
    cluster: &Arc<Cluster>,
    mut topology: Arc<Topology>,
    deletion: &Deletion,
    trace: &Trace,
) -> Result<MiroirTask, ResponseError> {
    let keys = deletion.keys();
    loop {
        let intent = deletion.intent(&topology);
        match cluster.writer.submit_keys(cluster, intent, Vec::new(), Some(keys.clone()), trace).await {
            Err(error) if error.is(Code::MiroirLayoutChanged) => topology = cluster.topology(),
            result => return result,
        }
    }
}
