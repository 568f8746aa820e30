//! Requests that concern every node: indexes, settings, and changes of documents that name no shard. The nodes check what
//! they are sent: an invalid request is refused by all alike, and then nothing was changed anywhere.

mod details;
mod documents;
mod hidden;
mod indexes;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Plan;
use super::write::{RegistryChange, Step, StepBody, Target, WriteIntent};
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::Operation;
use crate::meili::task::TaskKind;
use crate::placement::shard::ShardSet;
use crate::placement::topology::Topology;

pub use details::show_as_of;
pub use hidden::{HiddenSettings, hidden_filterable, is_hidden_filterable};

/// What a change of documents that names no shard touches.
#[derive(Clone, Copy)]
struct Documents {
    shards: u16,
    copies: u8,
}

/// Plans the operations that every node carries out as one task; any other is refused. `exists` tells whether the
/// registry knows an index, `hidden` what its settings hold besides the client's.
pub fn plan(
    operation: &Operation,
    query: &str,
    body: &[u8],
    topology: &Topology,
    hidden: &HiddenSettings,
    exists: &dyn Fn(&str) -> bool,
) -> Plan {
    let all = Documents { shards: topology.shards, copies: copies(topology) };
    let plan = match operation {
        Operation::CreateIndex => indexes::create_index(body),
        Operation::UpdateIndex { index } => indexes::update_index(index, body),
        Operation::DeleteIndex { index } => Ok(indexes::delete_index(index, all.copies)),
        Operation::SwapIndexes => indexes::swap_indexes(body),
        Operation::UpdateSettings { index } => settings::update_settings(index, body, hidden),
        Operation::ResetSettings { index } => Ok(settings::reset_settings(index, hidden, exists(index))),
        Operation::UpdateSetting { index, setting } => settings::update_setting(index, *setting, body, hidden),
        Operation::ResetSetting { index, setting } => {
            Ok(settings::reset_setting(index, *setting, hidden, exists(index)))
        }
        Operation::DeleteAllDocuments { index } => documents::delete_all_documents(index, query, all),
        Operation::DeleteDocumentsByFilter { index } => documents::delete_by_filter(index, query, body, all),
        Operation::EditDocuments { index } => documents::edit_documents(index, query, body, all),
        // What is no change never comes here; experimental features are changed by no task.
        _ => Err(ResponseError::new(
            Code::MiroirNotSupported,
            format!("`{}` is not carried out by all nodes as a task.", operation.name()),
        )),
    };
    match plan {
        Ok(intent) => Plan::Broadcast(Box::new(intent)),
        Err(error) => Plan::Refuse(error),
    }
}

/// How many nodes hold each document.
fn copies(topology: &Topology) -> u8 {
    let owners = topology.owners.first().map_or(1, Vec::len);
    u8::try_from(owners).unwrap_or(topology.replication_factor).max(1)
}

fn of_index(kind: TaskKind, index: &str, details: Map<String, Value>, step: Step) -> WriteIntent {
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
        steps: vec![step],
    }
}

fn whole(method: &'static str, path: &str, body: StepBody) -> Step {
    let content_type = match body {
        StepBody::Json(_) => Some("application/json"),
        StepBody::Empty | StepBody::Spool(_) => None,
    };
    Step { to: Target::AllNodes, method, path: path.to_owned(), content_type, body, shards: ShardSet::new() }
}

fn reserved(place: &str) -> ResponseError {
    ResponseError::new(
        Code::MiroirReservedField,
        format!("`{place}` names a field that begins with `_miroir`: such fields are reserved for Miroir."),
    )
}
