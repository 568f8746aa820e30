//! Requests that concern every node: indexes, settings, and changes of documents that name no shard. The nodes check what
//! they are sent: an invalid request is refused by all alike, and then nothing was changed anywhere.
//!
//! | module | what lives there |
//! |---|---|
//! | `details` | what the details of a task name in some versions of the engine only |
//! | `documents` | changes of documents that name no shard |
//! | `dynamic_rules` | dynamic search rules written, deleted, cleared |
//! | `hidden` | what Miroir keeps in the settings of every index, beside what the client set |
//! | `indexes` | indexes created, changed, deleted, swapped |
//! | `intent` | what the writes of all broadcasts have in common |
//! | `settings` | settings changed and reset |

mod details;
mod documents;
mod dynamic_rules;
mod hidden;
mod indexes;
mod intent;
mod settings;
#[cfg(test)]
mod tests;

use super::Plan;
use super::node_request::NodeRequest;
use super::write::copies;
use crate::meili::operation::Change;
use crate::placement::topology::Topology;

use intent::Documents;

pub use details::show_as_of;
pub use hidden::{
    Guard, HiddenPart, HiddenSettings, TieBreak, give_templates, hidden_filterable, is_hidden_filterable,
};
pub use indexes::refused_as_of;

/// Plans what every node does alike. `exists` tells whether the registry knows an index, `hidden` what its settings hold
/// besides the client's. `path` is the request's path and query as the client wrote them.
pub fn plan(
    change: &Change,
    path: &str,
    body: &[u8],
    topology: &Topology,
    hidden: &HiddenSettings,
    exists: &dyn Fn(&str) -> bool,
) -> Plan {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let all = Documents { shards: topology.shards, copies: copies(topology) };
    let plan = match change {
        Change::CreateIndex => indexes::create_index(body),
        Change::UpdateIndex { index } => indexes::update_index(index, body),
        Change::DeleteIndex { index } => Ok(indexes::delete_index(index, all.copies)),
        Change::SwapIndexes => indexes::swap_indexes(body),
        Change::CompactIndex { index } => Ok(indexes::compact_index(index)),
        Change::UpdateSettings { index } => settings::update_settings(index, body, hidden),
        Change::ResetSettings { index } => Ok(settings::reset_settings(index, hidden, exists(index))),
        Change::UpdateSetting { index, setting } => settings::update_setting(index, *setting, body, hidden),
        Change::ResetSetting { index, setting } => Ok(settings::reset_setting(index, *setting, hidden, exists(index))),
        Change::DeleteAllDocuments { index } => documents::delete_all_documents(index, query, all),
        Change::DeleteDocumentsByFilter { index } => {
            return documents::delete_by_filter(index, query, body, all)
                .map_or_else(Plan::Refuse, |intent| Plan::DeleteMatching(Box::new(intent)));
        }
        Change::EditDocuments { index } => {
            return documents::edit_documents(index, query, body, all)
                .map_or_else(Plan::Refuse, |intent| Plan::Edit(Box::new(intent)));
        }
        Change::UpdateDynamicSearchRule { uid } => dynamic_rules::update(uid, path, body),
        Change::DeleteDynamicSearchRule { uid } => dynamic_rules::delete(uid, path),
        Change::ClearDynamicSearchRules => dynamic_rules::clear(path, topology),
        // The engine has no task for it.
        Change::UpdateExperimentalFeatures => {
            return Plan::Everywhere(NodeRequest { method: "PATCH", path: path.to_owned(), body: body.to_vec() });
        }
    };
    match plan {
        Ok(intent) => Plan::Broadcast(Box::new(intent)),
        Err(error) => Plan::Refuse(error),
    }
}
