//! The documents that a task brings, as long as nodes have them in their queues.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::part::Tracking;
use super::task_ops::find;
use crate::meili::error::{Code, ResponseError};
use crate::merge;
use crate::nodes::client::{Subrequest, Trace};
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeId;
use crate::tasks::entry::{Company, MiroirTask, NodeTask, Purpose};
use crate::tasks::filter::{IndexAccess, TaskRef};

/// How long a node may take to send what a task brought it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// `GET /tasks/{id}/documents`: lines of JSON, in the order in which the client sent the documents. They are there as a whole
/// or not at all: where no node has those of a shard any more, they are written. `named` is the id as the client wrote it.
pub async fn documents(
    tracking: &Arc<Tracking>,
    (id, named): (TaskRef, &str),
    access: &IndexAccess,
    trace: &Trace,
) -> Result<Vec<u8>, ResponseError> {
    let task = find(tracking, id, access).await?;
    let (parts, all) = parts(&task);
    if parts.iter().any(|part| part.company != Company::None) {
        return Err(ResponseError::new(
            Code::MiroirNotSupported,
            format!("The documents of task `{id}` travelled to a node together with those of other tasks."),
        ));
    }
    let asked = parts.into_iter().map(|part| async move { (part, payload(tracking, part, trace).await) });
    let mut found = ShardSet::new();
    let mut payloads = Vec::new();
    for (part, payload) in join_all(asked).await {
        if let Some(payload) = payload {
            found.union_with(&part.shards);
            payloads.push(payload);
        }
    }
    if payloads.is_empty() || found != all {
        return Err(none_left(named));
    }
    merge::payload::merge(&payloads)
        .map_err(|error| ResponseError::new(Code::Internal, format!("The nodes' documents cannot be merged: {error}.")))
}

/// The parts that nodes have in their queues, and all shards that the task is about.
fn parts(task: &MiroirTask) -> (Vec<&NodeTask>, ShardSet) {
    let mains = task.parts.iter().filter(|part| part.purpose == Purpose::Main && !part.shards.is_empty());
    let mut all = ShardSet::new();
    mains.clone().for_each(|part| all.union_with(&part.shards));
    (mains.filter(|part| part.task_uid.is_some() && !part.state.is_final()).collect(), all)
}

async fn payload(tracking: &Tracking, part: &NodeTask, trace: &Trace) -> Option<Bytes> {
    let topology = tracking.nodes.topology();
    let node = topology.node(topology.find(NodeId::as_str(&part.node))?);
    let request = Subrequest::get(format!("/tasks/{}/documents", part.task_uid?), TIMEOUT);
    let reply = tracking.nodes.client.send(node, request, trace).await.ok()?;
    reply.is_success().then_some(reply.body)
}

fn none_left(id: &str) -> ResponseError {
    let message = format!(
        "Task `{id}` does not contain any documents. Only `documentAdditionOrUpdate` tasks with the statuses `enqueued` or \
         `processing` contain documents"
    );
    ResponseError::new(Code::TaskFileNotFound, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::entry::NodeTaskState;
    use crate::tasks::fold::samples::{part, task};

    #[test]
    fn only_nodes_that_have_their_part_yet_to_do_are_asked() {
        let task = task(vec![
            part("a", &[1, 2], NodeTaskState::Enqueued),
            part("b", &[2, 3], NodeTaskState::Processing),
            part("c", &[3, 4], NodeTaskState::Succeeded),
            NodeTask { task_uid: None, ..part("d", &[4], NodeTaskState::Unsent) },
            NodeTask { purpose: Purpose::EnsureIndex, ..part("a", &[], NodeTaskState::Enqueued) },
        ]);
        let (asked, all) = parts(&task);
        assert_eq!(asked.iter().map(|part| part.node.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let expected: ShardSet = task.parts.iter().flat_map(|part| part.shards.iter()).collect();
        assert_eq!(all, expected);
    }
}
