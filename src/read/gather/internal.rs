//! Errors inside the engine: one node's may be its own trouble; what several nodes say alike is about the request.

use super::fault::Fault;
use crate::meili::error::ResponseError;
use crate::nodes::client::NodeReply;
use crate::nodes::meaning::{ForRead, Meaning};
use crate::placement::topology::NodeIx;

/// Internal errors of one question, which are the client's answer only if every node has them.
#[derive(Debug, Default)]
pub(super) struct Internal {
    first: Option<Fault>,
    nodes: usize,
    /// True if a node failed in another way. Example: the nodes of a and b say that a task panicked, and that of c refuses
    /// connections: nobody knows what it would say.
    differs: bool,
}

// === impl Internal ===

impl Internal {
    /// Sees what a node that failed has said, if anything.
    pub(super) fn see(&mut self, node: NodeIx, meaning: Meaning, reply: Option<NodeReply>) {
        self.nodes += 1;
        let internal = meaning.policy().read == ForRead::OtherReplicaUnlessAgreed;
        match (&self.first, reply.filter(|_| internal)) {
            (_, None) => self.differs = true,
            (Some(first), Some(reply)) => self.differs |= said(&first.reply) != said(&reply),
            (None, Some(reply)) => self.first = Some(Fault { node, reply }),
        }
    }

    /// The error, if every node that failed says the same: two at least, or all that there are.
    pub(super) fn agreed(self, nobody_else: bool) -> Option<Fault> {
        self.first.filter(|_| !self.differs && (self.nodes > 1 || nobody_else))
    }
}

fn said(reply: &NodeReply) -> Option<String> {
    reply.error().map(|error| plain(&error))
}

/// An error's message without numbers: the engine names its own tasks.
pub(super) fn plain(error: &ResponseError) -> String {
    error.message.chars().filter(|c| !c.is_ascii_digit()).collect()
}
