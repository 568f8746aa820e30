//! Every operation of the HTTP API that Miroir knows, by who carries it out.
//!
//! # Layout
//!
//! | file | what |
//! |---|---|
//! | [`own`] | operations that the gateway alone answers |
//! | [`read`] | those that nodes answer without a change |
//! | [`change`] | those that every node carries out alike |
//! | [`work`] | tasks that the gateway itself carries out |
//! | [`documents`] | writes that name their documents, which go to the nodes that own these |
//! | [`facts`] | what the other layers have to know of each |
//! | [`route`](mod@route) | the route table that finds one |
//! | [`unserved`] | why a part of the API is not served |

pub mod change;
pub mod documents;
pub mod facts;
pub mod own;
pub mod read;
pub mod route;
#[cfg(test)]
pub mod tests;
pub mod unserved;
pub mod work;

use super::action::Action;
use super::error::ResponseError;
use super::uid::IndexUid;

pub use change::Change;
pub use documents::{DocumentMethod, Documents};
pub use facts::{Facts, Reach, Takes};
pub use own::Own;
pub use read::Read;
#[cfg(test)]
pub(crate) use route::routes;
pub use route::{RouteError, route};
pub use work::Work;

/// What a client asks for, without its query string and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    Own(Own),
    Read(Read),
    Change(Change),
    Documents(Documents),
    Work(Work),
    /// Part of Meilisearch's API that Miroir does not serve; answered with `miroir_not_supported`.
    Unsupported {
        name: &'static str,
        /// What a key must allow all the same: the engine looks at the key first.
        action: Action,
    },
}

// === impl Operation ===

impl Operation {
    /// What gateway and plans go by, so that they match on no operation for it.
    pub fn facts(&self) -> Facts<'_> {
        match self {
            Self::Own(own) => own.facts(),
            Self::Read(read) => read.facts(),
            Self::Change(change) => change.facts(),
            Self::Documents(documents) => documents.facts(),
            Self::Work(work) => work.facts(),
            Self::Unsupported { action, .. } => Facts::new("unsupported", *action),
        }
    }

    /// The uid in the path, valid or not.
    pub fn index(&self) -> Option<&str> {
        self.facts().index
    }

    /// A word for logs and metric labels, the same for every index.
    pub fn name(&self) -> &'static str {
        self.facts().name
    }

    /// The dynamic search rule in the path, whose name is made as that of an index.
    fn rule(&self) -> Option<&str> {
        let (Self::Read(Read::GetDynamicSearchRule { uid })
        | Self::Change(Change::UpdateDynamicSearchRule { uid } | Change::DeleteDynamicSearchRule { uid })) = self
        else {
            return None;
        };
        Some(uid)
    }

    /// What the engine says of the uid in the path. To be asked after the key was checked, because the engine looks at
    /// the key first.
    pub fn validate(&self) -> Result<(), ResponseError> {
        if let Some(rule) = self.rule() {
            // Which the engine looks for, and does not find.
            IndexUid::parse(rule).map_err(|error| ResponseError { status: 404, ..error })?;
        }
        let Some(index) = self.index() else { return Ok(()) };
        IndexUid::parse(index)?;
        match self {
            Self::Read(_) | Self::Own(_) | Self::Work(_) | Self::Unsupported { .. } => IndexUid::hide_reserved(index),
            Self::Documents(_) | Self::Change(_) => IndexUid::refuse_reserved(index),
        }
    }
}

impl From<Own> for Operation {
    fn from(own: Own) -> Self {
        Self::Own(own)
    }
}

impl From<Read> for Operation {
    fn from(read: Read) -> Self {
        Self::Read(read)
    }
}

impl From<Change> for Operation {
    fn from(change: Change) -> Self {
        Self::Change(change)
    }
}

impl From<Work> for Operation {
    fn from(work: Work) -> Self {
        Self::Work(work)
    }
}

impl From<Documents> for Operation {
    fn from(documents: Documents) -> Self {
        Self::Documents(documents)
    }
}
