//! What the gateway itself carries out as a task of the whole cluster.

use serde::Serialize;

use super::facts::{Facts, Takes};
use crate::meili::action::Action;

/// An operation whose task is the gateway's own work: it reads the nodes, and no node has a task of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "work")]
pub enum Work {
    CreateDump,
    CreateSnapshot,
    Export,
}

// === impl Work ===

impl Work {
    pub(super) fn facts(&self) -> Facts<'_> {
        match self {
            Self::CreateDump => Facts::new("createDump", Action::DumpsCreate),
            Self::CreateSnapshot => Facts::new("createSnapshot", Action::SnapshotsCreate),
            Self::Export => Facts::new("export", Action::Export).taking(Takes::Json),
        }
    }
}
