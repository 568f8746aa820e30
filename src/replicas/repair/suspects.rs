//! Indexes of which a failed task leaves open whether they exist: the nodes are asked.

use std::sync::Arc;

use super::IndexView;
use crate::cluster::Cluster;
use crate::nodes::client::Trace;
use crate::nodes::error::NodeError;
use crate::nodes::node_queue::has_open_tasks;
use crate::placement::topology::NodeState;
use crate::store::IndexEntry;

/// After a failed task: asks the nodes what they hold of the indexes concerned, and corrects the registry by it. What
/// still has tasks open is left for later.
pub async fn check_suspects(cluster: &Arc<Cluster>) {
    let trace = Trace::background("registry");
    for index in cluster.registry.suspects() {
        let _hold = cluster.writer.gates.hold(&index).await;
        match look_at(cluster, &index, &trace).await {
            Ok(Some(found)) => {
                if let Err(error) = cluster.registry.correct(cluster.store.as_ref(), &index, found).await {
                    tracing::error!(%error, index, "the registry could not be corrected");
                    continue;
                }
                cluster.registry.clear_suspect(&index);
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, index, "an index could not be looked at"),
        }
    }
}

/// What the nodes that are up hold of `index`: `None` while that is open, `Some(None)` when none has it.
async fn look_at(cluster: &Arc<Cluster>, index: &str, trace: &Trace) -> Result<Option<Option<IndexEntry>>, NodeError> {
    let topology = cluster.topology();
    let mut asked = false;
    let mut found = None;
    for node in topology.nodes.iter().filter(|node| node.state == NodeState::Up) {
        if has_open_tasks(cluster, node, index, trace).await? {
            return Ok(None);
        }
        asked = true;
        let held: Option<IndexView> = cluster.client.get_json(node, &format!("/indexes/{index}"), trace).await?;
        if let Some(held) = held {
            let known: Option<IndexEntry> = found.take();
            let primary_key = held.primary_key.or(known.and_then(|known| known.primary_key));
            found = Some(IndexEntry { uid: index.to_owned(), primary_key });
        }
    }
    Ok(asked.then_some(found))
}
