//! What the other layers have to know of an operation. Each class says it of its own operations, beside their names: a new
//! operation is described there, and the rest follows.

use crate::meili::action::Action;

/// What an operation is, whatever it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    /// A word for logs and metric labels, the same for every index.
    pub name: &'static str,
    /// What a key must allow; `None` where no key is needed.
    pub action: Option<Action>,
    /// The uid in the path, valid or not.
    pub index: Option<&'a str>,
    pub takes: Takes,
    pub reach: Reach,
}

/// What body an operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// None; what comes is not read.
    Nothing,
    /// JSON, which must say that it is, read as a whole before the request is planned.
    Json,
    /// Documents in one of several formats, read as they arrive once the request is planned.
    Documents,
}

/// Where a request, besides its path, says what it reaches: there a key's restrictions must be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nowhere: the path says all, and it is checked with the key.
    Path,
    /// A filter in the query string.
    QueryFilter,
    /// A filter in the body.
    BodyFilter,
    /// Searches in the body, each with its index and its filter.
    Queries,
    /// The uid of a new index, in the body.
    Uid,
    /// Pairs of indexes in the body.
    Swaps,
}

// === impl Facts ===

impl<'a> Facts<'a> {
    /// Of an operation without an index in its path and without a body, whose path says all that it reaches.
    pub(super) fn new(name: &'static str, action: Action) -> Self {
        Self { name, action: Some(action), index: None, takes: Takes::Nothing, reach: Reach::Path }
    }

    /// With the uid that stands in the path.
    pub(super) fn of(self, index: &'a str) -> Self {
        Self { index: Some(index), ..self }
    }

    pub(super) fn taking(self, takes: Takes) -> Self {
        Self { takes, ..self }
    }

    pub(super) fn reaching(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }
}
