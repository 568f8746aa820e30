//! Requests that every node answers at once, without a task: experimental features and API keys.

use std::sync::Arc;

use bytes::Bytes;

use crate::cluster::Cluster;
use crate::ledger::insync;
use crate::ledger::insync::{Marks, Missed};
use crate::meili::error::{Code, ResponseError};
use crate::nodes::client::{NodeReply, Subrequest, Trace};
use crate::nodes::error::store_failed;
use crate::placement::topology::NodeIx;

/// Sends the same request to every node that takes writes, one such request after the other, so that all nodes see one
/// order. The answer is that of the first node that did it, else of the first that refused. A node that did not do what
/// another did is repaired before it serves again.
pub async fn everywhere(
    cluster: &Arc<Cluster>,
    method: http::Method,
    path: &str,
    body: Option<Bytes>,
    trace: &Trace,
) -> Result<NodeReply, ResponseError> {
    let _one = cluster.direct.lock().await;
    let topology = cluster.topology();
    // Small requests: a node that does not answer in this time is repaired instead.
    let timeout = cluster.settings.write.timeout.min(cluster.settings.write.slow_after);
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
            cluster.client.send(node, request, trace).await.ok()
        }
    });
    let replies: Vec<Option<NodeReply>> = futures::future::join_all(sent).await;
    let Some(done) = replies.iter().flatten().find(|reply| reply.is_success()) else {
        let refusal = replies.into_iter().flatten().next();
        return refusal.ok_or_else(|| ResponseError::new(Code::MiroirNodeUnavailable, "No node answered."));
    };
    let behind = members.iter().zip(&replies).filter(|(_, reply)| !reply.as_ref().is_some_and(NodeReply::is_success));
    let missed = Missed { settings: true, ..Missed::default() };
    let marks = Marks { stale: Vec::new(), missed: behind.map(|(node, _)| (*node, missed.clone())).collect() };
    insync::mark(cluster, &marks).await.map_err(|error| store_failed(&error))?;
    Ok(done.clone())
}
