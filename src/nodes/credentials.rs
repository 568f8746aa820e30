//! What nodes are shown, and what they must show.

use crate::settings::Secret;
use crate::tls::nodes::NodeTls;

/// With every connection and every request to a node.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Sent as `Authorization: Bearer`, if there is one.
    pub key: Option<Secret>,
    pub tls: NodeTls,
}
