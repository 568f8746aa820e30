//! What a node says is wrong with a request.

use crate::nodes::client::NodeReply;
use crate::placement::topology::NodeIx;

/// A node's answer that is the client's to read.
#[derive(Debug)]
pub struct Fault {
    pub node: NodeIx,
    pub reply: NodeReply,
}
