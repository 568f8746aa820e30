//! Deletes what a node holds of shards that it does not own.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::error::RebalanceError;
use super::part::Rebalancer;
use crate::meili::error::Code;
use crate::meili::task::TaskStatus;
use crate::nodes::client::{Subrequest, TaskStatusResponse, Trace};
use crate::nodes::meaning::Meaning;
use crate::nodes::stamp::{COPY_STAMP, STAMP_PARAMETER};
use crate::placement::shard::{ShardSet, shard_filter};
use crate::placement::topology::{Node, NodeId};

/// How long one deletion may take on a node.
const TASK_LIMIT: Duration = Duration::from_secs(600);

/// Deletes the node's documents of `shards` in every index. No write of these shards goes to the node any more, so
/// nothing can come back; and all indexes are deleted from in one turn, so that no swap slips between them.
pub(super) async fn clean_up(rebalancer: &Rebalancer, node: &NodeId, shards: &ShardSet) -> Result<(), RebalanceError> {
    let topology = rebalancer.nodes.topology().detached();
    let Some(ix) = topology.find(node.as_str()) else { return Ok(()) };
    let target = topology.node(ix);
    let trace = Trace::background("cleanup");
    let filter = shard_filter(shards, topology.shards);
    let (indexes, mut turn) = rebalancer.writes.order.in_order(|lanes| {
        let indexes: Vec<String> = rebalancer.ledger.registry.entries().into_iter().map(|entry| entry.uid).collect();
        let turn = lanes.turn(&indexes, ix);
        (indexes, turn)
    });
    turn.wait().await;
    let mut accepted = Vec::with_capacity(indexes.len());
    for index in indexes {
        if let Some(uid) = enqueue(rebalancer, target, &index, &filter, &trace).await? {
            accepted.push((index, uid));
        }
    }
    drop(turn);
    for (index, uid) in accepted {
        let task = rebalancer.nodes.client.wait(target, uid, TASK_LIMIT).await?;
        let gone = task.error.as_ref().is_some_and(|error| error.is(Code::IndexNotFound));
        if task.status != TaskStatus::Succeeded && !gone {
            let message = task.error.map_or_else(|| task.status.as_str().to_owned(), |error| error.message);
            return Err(RebalanceError::Cleanup { node: node.to_string(), index, message });
        }
    }
    Ok(())
}

/// The uid of the node's task; `None` where the node has no such index.
async fn enqueue(
    rebalancer: &Rebalancer,
    node: &Node,
    index: &str,
    filter: &str,
    trace: &Trace,
) -> Result<Option<u32>, RebalanceError> {
    let path = format!("/indexes/{index}/documents/delete?{STAMP_PARAMETER}={COPY_STAMP}");
    let body = Bytes::from(json!({ "filter": filter }).to_string());
    let request = Subrequest::json(http::Method::POST, path, body, rebalancer.writes.settings.get().timeout, false);
    let reply = rebalancer.nodes.client.send(node, request, trace).await?;
    if Meaning::of_reply(&reply) == Meaning::NotHere {
        return Ok(None);
    }
    let task: TaskStatusResponse = rebalancer.nodes.client.read(node, &reply)?;
    Ok(Some(task.uid))
}
