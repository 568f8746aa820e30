//! A node's queue of tasks: whether it has something to do for an index, and waiting until it has not.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::client::{TaskStatusResponse, Trace};
use super::error::NodeError;
use super::lanes::Hold;
use super::part::Nodes;
use crate::placement::topology::Node;

/// How long a node may take for what it had taken on before.
const DRAIN_LIMIT: Duration = Duration::from_secs(600);
/// How long the queue of an index may take to run empty while its writes wait.
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// Waits until a node has worked off what it had taken for `index` before the call, however much comes meanwhile; not
/// longer than [`DRAIN_LIMIT`], after which it returns all the same.
pub(crate) async fn drain(nodes: &Nodes, node: &Node, index: &str, trace: &Trace) -> Result<bool, NodeError> {
    let Some(newest) = first_task(nodes, node, "", trace).await? else { return Ok(true) };
    ends(nodes, node, index, &format!("&from={newest}"), DRAIN_LIMIT, trace).await
}

/// Waits until a node has nothing more to do for `index`, whose writes are held meanwhile: else there might be no end of them.
pub(crate) async fn queue_runs_empty(
    nodes: &Nodes,
    node: &Node,
    index: &str,
    _hold: &Hold,
    trace: &Trace,
) -> Result<bool, NodeError> {
    ends(nodes, node, index, "", IDLE_LIMIT, trace).await
}

/// Waits until none of the tasks that [`open_tasks`] looks for is left; false after `limit`.
async fn ends(
    nodes: &Nodes,
    node: &Node,
    index: &str,
    from: &str,
    limit: Duration,
    trace: &Trace,
) -> Result<bool, NodeError> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(10);
    while open_tasks(nodes, node, index, from, trace).await? {
        if Instant::now() + pause > deadline {
            return Ok(false);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
    Ok(true)
}

/// True when tasks of `index`, or swaps and new names of any, wait on `node`.
pub(crate) async fn has_open_tasks(nodes: &Nodes, node: &Node, index: &str, trace: &Trace) -> Result<bool, NodeError> {
    open_tasks(nodes, node, index, "", trace).await
}

async fn open_tasks(nodes: &Nodes, node: &Node, index: &str, from: &str, trace: &Trace) -> Result<bool, NodeError> {
    for which in [format!("indexUids={index}"), "types=indexSwap,indexUpdate".to_owned()] {
        let open = format!("&{which}&statuses=enqueued,processing{from}");
        if first_task(nodes, node, &open, trace).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The newest of the node's tasks that meet `query`.
async fn first_task(nodes: &Nodes, node: &Node, query: &str, trace: &Trace) -> Result<Option<u32>, NodeError> {
    #[derive(Deserialize)]
    struct Page {
        results: Vec<TaskStatusResponse>,
    }
    let page: Option<Page> = nodes.client.get_json(node, &format!("/tasks?limit=1{query}"), trace).await?;
    Ok(page.and_then(|page| page.results.first().map(|task| task.uid)))
}
