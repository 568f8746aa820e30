//! Indexes of which a failed task leaves open whether they exist: the nodes are asked.

use std::sync::Arc;

use super::IndexView;
use crate::nodes::client::Trace;
use crate::nodes::error::NodeError;
use crate::nodes::node_queue::has_open_tasks;
use crate::placement::topology::NodeState;
use crate::replicas::part::Replicas;
use crate::store::IndexEntry;

/// After a failed task: asks the nodes what they hold of the indexes concerned, and corrects the registry by it. What
/// still has tasks open is left for later.
pub async fn check_suspects(replicas: &Arc<Replicas>) {
    let trace = Trace::background("registry");
    for index in replicas.ledger.registry.suspects() {
        let _hold = replicas.writes.order.gates.hold(&index).await;
        match look_at(replicas, &index, &trace).await {
            Ok(Some(found)) => {
                if let Err(error) =
                    replicas.ledger.registry.correct(replicas.ledger.store.as_ref(), &index, found).await
                {
                    tracing::error!(%error, index, "the registry could not be corrected");
                    continue;
                }
                replicas.ledger.registry.clear_suspect(&index);
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, index, "an index could not be looked at"),
        }
    }
}

/// What the nodes that are up hold of `index`: `None` while that is open, `Some(None)` when none has it.
async fn look_at(
    replicas: &Arc<Replicas>,
    index: &str,
    trace: &Trace,
) -> Result<Option<Option<IndexEntry>>, NodeError> {
    let topology = replicas.nodes.topology();
    let mut asked = false;
    let mut found = None;
    for node in topology.nodes.iter().filter(|node| node.state == NodeState::Up) {
        if has_open_tasks(&replicas.nodes, node, index, trace).await? {
            return Ok(None);
        }
        asked = true;
        let held: Option<IndexView> = replicas.nodes.client.get_json(node, &format!("/indexes/{index}"), trace).await?;
        if let Some(held) = held {
            let known: Option<IndexEntry> = found.take();
            let primary_key = held.primary_key.or(known.and_then(|known| known.primary_key));
            found = Some(IndexEntry { uid: index.to_owned(), primary_key });
        }
    }
    Ok(asked.then_some(found))
}
