//! What the gateway itself carries out as a task of the whole cluster.

use serde::Serialize;

use super::Plan;
use super::export::Export;
use crate::meili::operation;
use crate::meili::task::TaskKind;

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "work")]
pub enum Work {
    /// Every index, its settings and what belongs to the instance, as one archive in Meilisearch's own format.
    Dump,
    /// Documents and settings of some indexes, sent to another Meilisearch.
    Export(Export),
}

/// Plans a piece of work.
pub(super) fn plan(work: &operation::Work, body: &[u8]) -> Plan {
    match work {
        operation::Work::CreateDump => Plan::Work(Work::Dump),
        operation::Work::Export => {
            Export::parse(body).map_or_else(Plan::Refuse, |export| Plan::Work(Work::Export(export)))
        }
    }
}

// === impl Work ===

impl Work {
    pub fn kind(&self) -> TaskKind {
        match self {
            Self::Dump => TaskKind::DumpCreation,
            Self::Export(_) => TaskKind::Export,
        }
    }
}
