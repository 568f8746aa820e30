//! Errors inside the engine: one node's may be its own trouble; what several nodes say alike is about the request.

use super::Fault;
use crate::meili::error::{Code, ResponseError};
use crate::nodes::client::NodeReply;
use crate::nodes::error::NodeError;
use crate::placement::topology::NodeIx;

#[derive(Debug, Default)]
pub(super) struct Internal {
    first: Option<Fault>,
    nodes: usize,
    /// True if a node failed in another way.
    differs: bool,
}

// === impl Internal ===

impl Internal {
    pub(super) fn see(&mut self, node: NodeIx, answer: &Result<NodeReply, NodeError>) {
        let Ok(reply) = answer else {
            self.differs = true;
            return;
        };
        let error = reply.error().filter(|error| reply.status >= 500 && error.is(Code::Internal));
        match (&self.first, error) {
            (_, None) => self.differs = true,
            (Some(first), Some(error)) => {
                self.differs |= first.reply.error().map(|first| plain(&first)) != Some(plain(&error));
            }
            (None, Some(_)) => self.first = Some(Fault { node, reply: reply.clone() }),
        }
        self.nodes += 1;
    }

    /// The error, if every node that failed says the same: two at least, or all that there are.
    pub(super) fn agreed(self, nobody_else: bool) -> Option<Fault> {
        self.first.filter(|_| !self.differs && (self.nodes > 1 || nobody_else))
    }
}

/// An error's message without numbers: the engine names its own tasks.
pub(super) fn plain(error: &ResponseError) -> String {
    error.message.chars().filter(|c| !c.is_ascii_digit()).collect()
}
