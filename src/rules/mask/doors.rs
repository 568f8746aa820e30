//! What is not done at all under a mask, because it would show, copy or uncover what is masked in a way that no answer can be
//! cleaned of.

use super::hidden::{HiddenIn, refusal};
use crate::meili::error::ResponseError;
use crate::meili::operation::{Change, Operation, Own, Read};
use crate::rules::asked::Asked;

/// How an operation stands to what is masked.
enum Door {
    /// It shows no values, or what it shows is taken out of its answer.
    Shut,
    /// It may not be done to an index with a mask.
    OfIndex,
    /// It may not be done by anybody who sees a mask.
    OfAll,
}

/// Refuses what would open a door. A new operation must say here how it stands.
fn door(operation: &Operation) -> Door {
    match operation {
        Operation::Own(own) => of_own(own),
        // Both carry whole documents away.
        Operation::Work(_) => Door::OfAll,
        Operation::Read(read) => match read {
            // A template can be made to say any field.
            Read::RenderTemplate => Door::OfIndex,
            Read::Version
            | Read::Stats
            | Read::ListIndexes
            | Read::GetIndex { .. }
            | Read::IndexStats { .. }
            | Read::GetDocument { .. }
            | Read::ListDocuments { .. }
            | Read::FetchDocuments { .. }
            | Read::ListFields { .. }
            | Read::SearchGet { .. }
            | Read::SearchPost { .. }
            | Read::FacetSearch { .. }
            | Read::MultiSearch
            | Read::SimilarGet { .. }
            | Read::SimilarPost { .. }
            | Read::GetSettings { .. }
            | Read::GetSetting { .. }
            | Read::GetExperimentalFeatures
            | Read::GetNetwork
            | Read::ListDynamicSearchRules
            | Read::GetDynamicSearchRule { .. } => Door::Shut,
        },
        Operation::Change(change) => match change {
            // A function copies fields. Settings make hits stand in the order of a field, tell them apart by it, or send it to an
            // embedder. An index of another name has no mask.
            Change::EditDocuments { .. }
            | Change::UpdateSettings { .. }
            | Change::ResetSettings { .. }
            | Change::UpdateSetting { .. }
            | Change::ResetSetting { .. }
            | Change::SwapIndexes
            | Change::UpdateIndex { .. } => Door::OfIndex,
            Change::CreateIndex
            | Change::DeleteIndex { .. }
            | Change::CompactIndex { .. }
            | Change::DeleteDocumentsByFilter { .. }
            | Change::DeleteAllDocuments { .. }
            | Change::UpdateExperimentalFeatures
            | Change::UpdateDynamicSearchRule { .. }
            | Change::DeleteDynamicSearchRule { .. }
            | Change::ClearDynamicSearchRules => Door::Shut,
        },
        Operation::Documents(_) => Door::Shut,
        // Nothing is done.
        Operation::Unsupported { .. } => Door::Shut,
    }
}

fn of_own(own: &Own) -> Door {
    match own {
        // What was written, whole. A key could be made that no mask is for, or be read. What is streamed is not cleaned.
        Own::TaskDocuments { .. }
        | Own::CreateKey
        | Own::UpdateKey { .. }
        | Own::ListKeys
        | Own::GetKey { .. }
        | Own::StreamTasks
        | Own::StreamBatches
        | Own::StreamLogs => Door::OfAll,
        Own::Health
        | Own::ListTasks
        | Own::GetTask { .. }
        | Own::CancelTasks
        | Own::DeleteTasks
        | Own::DeleteTask { .. }
        | Own::ListBatches
        | Own::GetBatch { .. }
        | Own::DeleteKey { .. }
        | Own::ListWebhooks
        | Own::CreateWebhook
        | Own::GetWebhook { .. }
        | Own::UpdateWebhook { .. }
        | Own::DeleteWebhook { .. }
        | Own::ListChats
        | Own::GetChat { .. }
        | Own::DeleteChat { .. }
        | Own::GetChatSettings { .. }
        | Own::UpdateChatSettings { .. }
        | Own::ResetChatSettings { .. }
        | Own::CompactTasks
        | Own::StopLogs
        | Own::SetLogTargets
        | Own::Metrics => Door::Shut,
    }
}

/// Refuses a request that would show a hidden field by a way that no mask closes.
pub fn check(hidden_in: &HiddenIn<'_>, asked: &Asked) -> Result<(), ResponseError> {
    let named = asked.whole.index.iter().chain(&asked.others);
    let masked = match door(asked.operation()) {
        Door::Shut => return Ok(()),
        Door::OfIndex => named.map(String::as_str).find(|index| !hidden_in(index).is_empty()),
        Door::OfAll => Some("something"),
    };
    match masked {
        Some(index) => {
            Err(refusal(index, &format!("`{}` is not allowed to who must not see all of it", asked.whole.deed)))
        }
        None => Ok(()),
    }
}
