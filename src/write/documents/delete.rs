//! Deletes documents by id.

use std::sync::Arc;

use super::super::vocabulary;
use crate::meili::error::{Code, ResponseError};
use crate::nodes::client::Trace;
use crate::placement::topology::Topology;
use crate::plan::deletion::Deletion;
use crate::tasks::entry::MiroirTask;
use crate::write::part::Writes;

/// Carries `deletion` out, by the owners that shards have when it takes its place in the order.
///
/// Its nodes count what they have deleted, save in one batch with additions: then an engine counts the ids it was given. Where
/// a client's own additions are under way one node does the same; where only words are, it is kept apart from them.
pub async fn delete(
    writes: &Arc<Writes>,
    mut topology: Arc<Topology>,
    deletion: &Deletion,
    trace: &Trace,
) -> Result<MiroirTask, ResponseError> {
    if vocabulary::went_alone(writes, &deletion.index) && !writes.ledger.store.has_open_tasks(&deletion.index, None) {
        vocabulary::apart_from_words(writes, &deletion.index, trace).await;
    }
    let keys = deletion.keys();
    loop {
        let intent = deletion.intent(&topology);
        match writes.submit_keys(intent, Vec::new(), Some(keys.clone()), trace).await {
            Err(error) if error.is(Code::MiroirLayoutChanged) => topology = writes.nodes.topology(),
            result => return result,
        }
    }
}
