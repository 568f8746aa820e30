//! What keeps a request from being planned.

use crate::meili::error::ResponseError;

/// Why a request is not planned as what it says it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Obstacle {
    /// The engine would refuse it, in words of its own: a node is asked for them.
    Judge,
    Refuse(ResponseError),
}
