//! What the writes of all broadcasts have in common.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::meili::error::{Code, ResponseError};
use crate::meili::task::TaskKind;
use crate::placement::shard::ShardSet;
use crate::plan::write::{RegistryChange, Step, StepBody, Target, WriteIntent};

/// What a change of documents that names no shard touches.
#[derive(Clone, Copy)]
pub(super) struct Documents {
    pub shards: u16,
    pub copies: u8,
}

/// A write that concerns one index and is `step` alone; it creates nothing and touches no shard.
pub(super) fn of_index(kind: TaskKind, index: &str, details: Map<String, Value>, step: Step) -> WriteIntent {
    WriteIntent {
        kind,
        index_uid: Some(index.to_owned()),
        indexes: vec![index.to_owned()],
        details: Some(details),
        custom_metadata: None,
        ensure_index: false,
        registry: RegistryChange::None,
        copies: 1,
        documents: BTreeMap::new(),
        ids: BTreeMap::new(),
        steps: vec![step],
    }
}

/// A request for every node as a whole, as JSON where it has a body.
pub(super) fn whole(method: &'static str, path: &str, body: StepBody) -> Step {
    let content_type = match body {
        StepBody::Json(_) => Some("application/json"),
        StepBody::Empty | StepBody::Spool(_) => None,
    };
    Step { to: Target::AllNodes, method, path: path.to_owned(), content_type, body, shards: ShardSet::new() }
}

/// The refusal of a field that belongs to Miroir; `place` is where the client named it.
pub(super) fn reserved(place: &str) -> ResponseError {
    ResponseError::new(
        Code::MiroirReservedField,
        format!("`{place}` names a field that begins with `_miroir`: such fields are reserved for Miroir."),
    )
}
