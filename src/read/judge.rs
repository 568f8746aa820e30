//! What any one node answers as well as all of them: settings, and judgement on a wrong request.

use serde_json::Value;

use super::comparable::names_ties;
use super::gather::{Fault, Nodes, Round, ask_one, log_failure};
use super::reader::{Inexact, Reader, Reply};
use crate::meili::error::{Code, ResponseError};
use crate::merge;
use crate::nodes::client::NodeReply;
use crate::nodes::meaning::{ForRead, Meaning};
use crate::nodes::overload::index_of;
use crate::placement::shard::ShardSet;
use crate::plan::rounds::Later;
use crate::plan::scatter::{NodeRequest, Scatter};

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// The engine's words about the client's own request, where a node found fault with what Miroir made of it.
    pub(super) async fn explain(&self, fault: Fault, scatter: &Scatter) -> Reply {
        let same = scatter.ask.plan().faults_are_the_clients();
        if !same {
            self.note(Later::Judge);
        }
        if !same
            && let Ok(reply) = self.ask_alone(fault.node, scatter.original.clone()).await
            && Meaning::of_reply(&reply).is_judgement()
            && !names_ties(&reply)
        {
            return relay_error(&reply);
        }
        relay_error(&fault.reply)
    }

    /// Asks the nodes in their order until one can say something.
    pub(super) async fn any(&self, request: &NodeRequest) -> Result<NodeReply, ResponseError> {
        let index = index_of(&request.path);
        let mut candidates = self.topology.serving(index);
        // While settings are taken back, those who refused them have the right ones.
        let refused_by = self.remembered.refused_by(index);
        if !refused_by.is_empty() {
            candidates.sort_by_key(|node| !refused_by.contains(&self.topology.node(*node).id));
        }
        let mut lagging = None;
        for (at, node) in candidates.iter().enumerate() {
            let others = at + 1 < candidates.len();
            let answer = ask_one(self.nodes, self.topology, (*node, request.clone()), &Round::new(1), others).await;
            match (Meaning::of(&answer).policy().read, answer) {
                (ForRead::Use | ForRead::Relay, Ok(reply)) => return Ok(reply),
                (ForRead::OtherReplicaOrRelay, Ok(reply)) => lagging = lagging.or(Some(reply)),
                (_, answer) => log_failure(self.topology, *node, &answer),
            }
        }
        lagging.ok_or_else(|| ResponseError::new(Code::MiroirNodeUnavailable, "No node answers at the moment."))
    }

    /// What a node says is wrong with the request; `otherwise`, if nothing is. One node's answer covers its own shards only,
    /// so it must not pass for the cluster's.
    pub(super) async fn judge(&self, original: &NodeRequest, otherwise: ResponseError) -> Result<Reply, ResponseError> {
        let reply = self.any(original).await?;
        if reply.is_success() { Err(otherwise) } else { Ok(relay_error(&reply)) }
    }

    /// One node's answer as JSON, with what `strip` takes out; its error as it is.
    pub(super) async fn ask_any(&self, original: &NodeRequest, strip: fn(&mut Value)) -> Result<Reply, ResponseError> {
        let reply = self.any(original).await?;
        if !reply.is_success() {
            return Ok(relay_error(&reply));
        }
        let mut value: Value = serde_json::from_slice(&reply.body).map_err(|error| {
            ResponseError::new(Code::Internal, format!("A node's settings cannot be read: {error}."))
        })?;
        strip(&mut value);
        Ok(Reply::ok(value.to_string().into_bytes(), ShardSet::new()))
    }
}

/// A node's error as the client may see it.
pub(super) fn relay_error(reply: &NodeReply) -> Reply {
    let error = match ResponseError::from_node(reply.status, &reply.body) {
        Some(error) => merge::error::shown(error),
        None => return Reply { status: reply.status, ..Reply::ok(reply.body.to_vec(), ShardSet::new()) },
    };
    let body = error.to_body().into();
    Reply { status: error.status, body, degraded: ShardSet::new(), inexact: Inexact::default(), hits: None }
}
