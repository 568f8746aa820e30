//! What the gateway itself carries out as a task of the whole cluster.

use serde::Serialize;

use super::export::Export;
use crate::meili::error::ResponseError;
use crate::meili::operation;
use crate::meili::task::TaskKind;

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "work")]
pub enum Work {
    /// Every index, its settings and what belongs to the instance, as one archive in Meilisearch's own format.
    Dump,
    /// The same, in the place of the last one.
    Snapshot,
    /// Documents and settings of some indexes, sent to another Meilisearch.
    Export(Export),
}

// === impl Work ===

impl Work {
    /// What a request asks for.
    pub fn new(work: &operation::Work, body: &[u8]) -> Result<Self, ResponseError> {
        match work {
            operation::Work::CreateDump => Ok(Self::Dump),
            operation::Work::CreateSnapshot => Ok(Self::Snapshot),
            operation::Work::Export => Export::parse(body).map(Self::Export),
        }
    }

    /// What its task is.
    pub fn kind(&self) -> TaskKind {
        match self {
            Self::Dump => TaskKind::DumpCreation,
            Self::Snapshot => TaskKind::SnapshotCreation,
            Self::Export(_) => TaskKind::Export,
        }
    }
}
