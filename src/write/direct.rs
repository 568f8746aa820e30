//! Requests that every node answers at once, without a task: experimental features and API keys.

use std::sync::Arc;

use bytes::Bytes;

use super::part::Writes;
use crate::ledger::insync;
use crate::ledger::marks::{Marks, Missed};
use crate::meili::error::{Code, ResponseError};
use crate::nodes::client::{NodeReply, Subrequest, Trace};
use crate::nodes::error::store_failed;
use crate::nodes::health::{self, Need};
use crate::nodes::meaning::{ForWrite, Meaning};
use crate::placement::topology::NodeIx;

/// Sends the same request to every node that takes writes, one such request after the other, so that all nodes see one
/// order. The answer is that of the first node that did it, else of the first that refused. A node that did not do what
/// another did is repaired before it serves again.
pub async fn everywhere(
    writes: &Arc<Writes>,
    method: http::Method,
    path: &str,
    body: Option<Bytes>,
    trace: &Trace,
) -> Result<NodeReply, ResponseError> {
    // As other writes do: a node that is about to take part would miss it.
    health::wait_for(&writes.nodes, Need::Writes).await;
    let _one = writes.direct.lock().await;
    let topology = writes.nodes.topology();
    // Small requests: a node that does not answer in this time is repaired instead.
    let settings = writes.settings.get();
    let timeout = settings.timeout.min(settings.slow_after);
    let request = match body {
        Some(body) => Subrequest::json(method, path, body, timeout, false),
        None => Subrequest { method, idempotent: false, ..Subrequest::get(path, timeout) },
    };
    let members: Vec<NodeIx> = topology.members().collect();
    let sent = members.iter().map(|ix| {
        let (node, request) = (topology.node(*ix), request.clone());
        async move {
            if !node.state.takes_writes() {
                return None;
            }
            writes.nodes.client.send(node, request, trace).await.ok()
        }
    });
    let replies: Vec<Option<NodeReply>> = futures::future::join_all(sent).await;
    let comes_to = |reply: &NodeReply| Meaning::of_reply(reply).policy().write;
    let Some(done) = replies.iter().flatten().find(|reply| comes_to(reply) == ForWrite::Taken) else {
        // A node's own trouble is nothing to the client.
        let refusal = replies.into_iter().flatten().find(|reply| comes_to(reply) == ForWrite::Refused);
        return refusal.ok_or_else(|| ResponseError::new(Code::MiroirNodeUnavailable, "No node answered."));
    };
    let did = |reply: &NodeReply| comes_to(reply) == ForWrite::Taken;
    let behind = members.iter().zip(&replies).filter(|(_, reply)| !reply.as_ref().is_some_and(did));
    let missed = Missed { settings: true, ..Missed::default() };
    let marks = Marks { stale: Vec::new(), missed: behind.map(|(node, _)| (*node, missed.clone())).collect() };
    insync::mark(&writes.ledger, &marks).await.map_err(|error| store_failed(&error))?;
    Ok(done.clone())
}
