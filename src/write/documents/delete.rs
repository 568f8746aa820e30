//! Deletes documents by id.

use std::sync::Arc;

use crate::meili::error::{Code, ResponseError};
use crate::nodes::client::Trace;
use crate::placement::topology::Topology;
use crate::plan::deletion::Deletion;
use crate::tasks::entry::MiroirTask;
use crate::write::part::Writes;

/// Carries `deletion` out, by the owners that shards have when it takes its place in the order.
pub async fn delete(
    writes: &Arc<Writes>,
    mut topology: Arc<Topology>,
    deletion: &Deletion,
    trace: &Trace,
) -> Result<MiroirTask, ResponseError> {
    let keys = deletion.keys();
    loop {
        let intent = deletion.intent(&topology);
        match writes.submit_keys(intent, Vec::new(), Some(keys.clone()), trace).await {
            Err(error) if error.is(Code::MiroirLayoutChanged) => topology = writes.nodes.topology(),
            result => return result,
        }
    }
}
