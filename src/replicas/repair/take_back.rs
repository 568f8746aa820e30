//! Settings are all or nothing over the nodes: what some node refused is taken back where others have applied it.
//!
//! A setting can be forbidden by one document (`sortableAttributes: ["_geo"]` by a `_geo` that is no point). Nodes without that
//! document apply it, the node with it fails; the client's task has failed, and nobody may see the setting. The nodes that refused
//! show what was before, so theirs is the before-image: setting by setting, what the task named is put back as they have it.
//!
//! Example: node-0 and node-1 fail `sortableAttributes: ["_geo"]`, node-2 applies it. The note says "`sortableAttributes` of
//! this index as on node-0 or node-1". With the writes of the index held back and its queues empty, node-2 is patched to node-0's
//! value. A later change of the same setting that all nodes carried out meanwhile makes them equal already, and nothing is
//! patched. The note is durable before the task is shown as failed, so a crash leaves no node apart. The node stays in service
//! all the while: what differs is one setting of one index.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::board::News;
use super::error::RepairError;
use super::index::{TASK_LIMIT, done, post, settings_change};
use super::indexes::hear;
use crate::meili::task::{TaskKind, TaskStatus};
use crate::nodes::client::{Subrequest, TaskStatusResponse, Trace};
use crate::nodes::node_queue::{IDLE_LIMIT, queue_runs_empty};
use crate::placement::topology::{Node, NodeId, NodeIx, NodeState};
use crate::replicas::part::Replicas;
use crate::store::StoreError;
use crate::tasks::entry::{MiroirTask, NodeTaskState, Purpose};
use crate::tasks::stale::is_refused_change;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A change that failed is not told as failed before nothing is left of it, unless that takes longer.
pub const TOLD_AFTER: Duration = Duration::from_secs(5);

/// Notes what a refused change leaves to be taken back, begins with it, and waits a little for its end. To be called before
/// the task's row says that it has ended; twice does no harm.
pub async fn take_back(replicas: &Arc<Replicas>, task: &MiroirTask) -> Result<(), StoreError> {
    let Some(index) = task.index_uid.as_deref() else { return Ok(()) };
    // A primary key is taken back by `suspects`.
    if task.kind != TaskKind::SettingsUpdate || task.status != TaskStatus::Failed || !is_refused_change(task) {
        return Ok(());
    }
    let nodes_that = |state: NodeTaskState| -> BTreeSet<NodeId> {
        let parts = task.parts.iter().filter(|part| part.purpose == Purpose::Main && part.outcome() == state);
        parts.map(|part| part.node.clone()).collect()
    };
    let refused_by = nodes_that(NodeTaskState::Failed);
    if nodes_that(NodeTaskState::Succeeded).is_empty() {
        return Ok(());
    }
    let settings: Vec<String> = task.details.iter().flat_map(Map::keys).cloned().collect();
    replicas.ledger.refusals.note(replicas.ledger.store.as_ref(), index, settings, &refused_by).await?;
    tracing::warn!(index, task = %task.id(), "settings that a node refused are taken back where they were applied");
    start(replicas, index);
    // Whoever hears that it has failed is not to find a trace of it, such as embeddings that statistics count.
    _ = tokio::time::timeout(TOLD_AFTER, replicas.ledger.refusals.gone(index)).await;
    Ok(())
}

/// Goes on with what the last run of the gateway left.
pub fn resume_take_backs(replicas: &Arc<Replicas>) {
    for index in replicas.ledger.refusals.indexes() {
        start(replicas, &index);
    }
}

fn start(replicas: &Arc<Replicas>, index: &str) {
    if !replicas.repairs.taking_back.lock().insert(index.to_owned()) {
        return;
    }
    let (replicas, index) = (Arc::clone(replicas), index.to_owned());
    tokio::spawn(async move {
        let mut pause = FIRST_PAUSE;
        loop {
            match attempt(&replicas, &index).await {
                Ok(true) => break,
                // Another change was refused meanwhile.
                Ok(false) => continue,
                Err(error) => {
                    tracing::warn!(index, %error, ?pause, "settings could not be taken back everywhere; tried again");
                    replicas.ledger.refusals.stopped_short(&index, error.to_string());
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        replicas.repairs.taking_back.lock().remove(&index);
        // What was noted between the last look and this moment.
        if replicas.ledger.refusals.of(&index).is_some() {
            start(&replicas, &index);
        }
    });
}

/// True when all nodes are alike again and the note is gone.
async fn attempt(replicas: &Arc<Replicas>, index: &str) -> Result<bool, RepairError> {
    let trace = Trace::background("take-back");
    let hold = replicas.writes.order.gates.hold(index).await;
    let store = replicas.ledger.store.as_ref();
    let Some(noted) = replicas.ledger.refusals.of(index) else { return Ok(true) };
    if !replicas.ledger.registry.exists(index) {
        return Ok(replicas.ledger.refusals.forget(store, index, &noted).await?);
    }
    let topology = replicas.nodes.topology().detached();
    // Where the index is apart it is neither a measure nor to be put back: it is compared when this is done.
    let takes_part = |ix: &NodeIx| {
        let is_there = matches!(topology.node(*ix).state, NodeState::Up | NodeState::Repairing);
        is_there && topology.apart_of(*ix, index).is_none()
    };
    let there: Vec<&Node> = topology.indexes().filter(takes_part).map(|ix| topology.node(ix)).collect();
    let path = format!("/indexes/{index}/settings");
    let mut held: BTreeMap<&NodeId, Map<String, Value>> = BTreeMap::new();
    for node in &there {
        if !queue_runs_empty(&replicas.nodes, node, index, &hold, &trace).await? {
            return Err(RepairError::Busy { index: index.to_owned(), limit: IDLE_LIMIT });
        }
        if let Some(settings) = replicas.nodes.client.get_json(node, &path, &trace).await? {
            held.insert(&node.id, settings);
        }
    }
    let mut right = Map::new();
    for (setting, refused_by) in &noted {
        let Some(reference) = refused_by.iter().find_map(|node| held.get(node)) else {
            let nodes = refused_by.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ");
            return Err(RepairError::Away { nodes });
        };
        right.extend(reference.get(setting).map(|value| (setting.clone(), value.clone())));
    }
    for node in there {
        let Some(own) = held.get(&node.id) else { continue };
        let mut wanted = own.clone();
        wanted.extend(right.clone());
        let change = settings_change(own, Some(&wanted), &replicas.ledger.hidden_settings());
        if change.is_empty() {
            continue;
        }
        tracing::info!(node = %node.id, index, settings = ?change.keys().collect::<Vec<_>>(), "taking settings back");
        let request = Subrequest { method: http::Method::PATCH, ..post(&path, &Value::Object(change), replicas) };
        let accepted: TaskStatusResponse =
            replicas.nodes.client.read(node, &replicas.nodes.client.send(node, request, &trace).await?)?;
        done(replicas.nodes.client.wait(node, accepted.uid, TASK_LIMIT).await?)?;
    }
    replicas.ledger.registry.invalidate(index);
    let forgotten = replicas.ledger.refusals.forget(store, index, &noted).await?;
    hear(&replicas.repairs, index, News::Changed);
    Ok(forgotten)
}
