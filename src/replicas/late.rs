//! Late arrivals: what a former leader had opened to a node before its key was deleted there, and the node took after this one led.
//!
//! Nobody waits for such a task, and its place is not in the order of writes: it may undo what was written since, on that node alone. So
//! all that the node holds of its index is stale there until it was compared with the other replicas.
//!
//! Example: gateway A freezes while it sends 3 MB to node-1. B leads from epoch 8 on, decides A's write by what node-0 has, and takes
//! newer versions of the same documents. A's bytes were in some buffer: node-1 ends the upload as task 90, stamped `epoch-7`. B sees it
//! within a second, marks node-1 stale in that index, and copies what differs. Had B died before it looked, C would look at all that came since
//! B had looked last, before node-1 takes part.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;

use super::part::Replicas;
use crate::ledger::insync;
use crate::ledger::marks::{Marks, Missed};
use crate::meili::uid::IndexUid;
use crate::nodes::client::{TaskStatusResponse, Trace};
use crate::nodes::error::NodeError;
use crate::nodes::fencing::Late;
use crate::nodes::metrics::Loop;
use crate::nodes::shutdown::stopped;
use crate::placement::topology::{Node, NodeId, NodeIx, Topology};
use crate::store::StoreError;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at what nodes took since this gateway leads, until `shutdown`. A gateway that is the only one has nothing to look for.
pub(crate) async fn run(replicas: Arc<Replicas>, mut shutdown: watch::Receiver<bool>) {
    if replicas.nodes.client.is_only() {
        return;
    }
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            _ = stopped(&mut shutdown) => return,
        }
        let topology = replicas.nodes.topology().detached();
        let serving = topology.members().filter(|ix| topology.node(*ix).state.takes_writes());
        join_all(serving.map(|ix| look(&replicas, &topology, ix))).await;
        replicas.nodes.metrics.went_round(Loop::LateArrivals);
    }
}

async fn look(replicas: &Replicas, topology: &Topology, ix: NodeIx) {
    let node = topology.node(ix);
    match look_at(replicas, node, &Trace::background("late")).await {
        // Whether a node answers at all is for the health checks to see.
        Ok(()) | Err(LookError::Node(_)) => {}
        Err(LookError::Store(error)) => tracing::error!(node = %node.id, %error, "late arrivals could not be noted"),
    }
}

/// Why what came late to a node is not known, or not noted.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Marks what has come late since leaders have looked at `node` last.
pub(super) async fn look_at(replicas: &Replicas, node: &Node, trace: &Trace) -> Result<(), LookError> {
    let client = &replicas.nodes.client;
    if let Some(late) = client.late_arrivals(node, trace).await? {
        mark(replicas, &node.id, &late).await?;
        client.noted(node, &late);
    }
    Ok(client.keep_looked(node, replicas.ledger.store.as_ref()).await?)
}

async fn mark(replicas: &Replicas, node: &NodeId, late: &Late) -> Result<(), StoreError> {
    if late.tasks.is_empty() {
        return Ok(());
    }
    let topology = replicas.nodes.topology();
    let Some(ix) = topology.find(node.as_str()) else { return Ok(()) };
    for task in &late.tasks {
        let (index, stamp) = (task.index_uid.as_deref(), task.custom_metadata.as_deref());
        tracing::warn!(%node, task = task.uid, index, stamp, "a former leader's request came late: the index is compared");
        replicas.nodes.metrics.late_arrivals.with_label_values(&[node.as_str()]).inc();
    }
    let (known, unknown) = concerned(&late.tasks, |index| replicas.ledger.registry.exists(index));
    let shards = topology.shards_of(ix);
    let stale = known.into_iter().map(|index| (ix, index, shards.clone())).collect();
    // The node may have made an index that was deleted, or never was.
    let missed = Missed { outdated: unknown, ..Missed::default() };
    let missed = if missed.is_nothing() { Vec::new() } else { vec![(ix, missed)] };
    insync::mark(&replicas.ledger, &Marks { stale, missed }).await
}

/// The indexes of `tasks` that exist, and those that do not. Pure.
fn concerned(tasks: &[TaskStatusResponse], exists: impl Fn(&str) -> bool) -> (BTreeSet<String>, BTreeSet<String>) {
    let named = tasks.iter().filter_map(|task| task.index_uid.clone());
    named.filter(|index| !IndexUid::is_reserved(index)).partition(|index| exists(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_exists_is_compared_and_another_is_taken_away() {
        let task = |index: &str| {
            serde_json::from_value(serde_json::json!({
                "uid": 1, "indexUid": index, "status": "succeeded", "type": "documentAdditionOrUpdate",
            }))
            .unwrap()
        };
        let tasks = [task("a"), task("gone"), task("a"), task("_miroir")];
        let (known, unknown) = concerned(&tasks, |index| index == "a");
        assert_eq!((known, unknown), (BTreeSet::from(["a".to_owned()]), BTreeSet::from(["gone".to_owned()])));
    }
}
