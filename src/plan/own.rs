//! What Miroir answers itself, from its own state.

use serde::Serialize;
use time::OffsetDateTime;
use tracing_subscriber::filter::Targets;
use uuid::Uuid;

use super::chats::{self, ChatPage};
use super::key_request::{self, KeyPage, KeyPatch, NewKey, require_master_key};
use super::log_wish::{self, LogWish};
use super::said::Said;
use crate::meili::chat;
use crate::meili::error::ResponseError;
use crate::meili::operation::Own;
use crate::meili::payload;
use crate::meili::uid::IndexUid;
use crate::meili::versions;
use crate::meili::webhook::{self, Wanted};
use crate::tasks::filter::{IndexAccess, TaskFilter, TaskPage, TaskRef};
use crate::tasks::query::{Asking, parse_batch_id, parse_batches, parse_cancel, parse_delete, parse_id, parse_list};

/// An operation that needs no node, with what the request says of it. What is wrong with the request has been found already,
/// except where something else must be found wrong before it: see [`Said`]. Filters see no task before it is said who asks.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "answer")]
pub enum Answer {
    Health,
    ListTasks {
        page: TaskPage,
    },
    GetTask {
        id: TaskRef,
    },
    CancelTasks {
        filter: TaskFilter,
    },
    DeleteTasks {
        filter: TaskFilter,
    },
    DeleteTask {
        id: TaskRef,
        /// As the client writes it.
        named: String,
    },
    TaskDocuments {
        /// After a feature that is off.
        id: Said<TaskRef>,
        /// As the client writes it.
        named: String,
    },
    ListBatches {
        page: TaskPage,
    },
    GetBatch {
        id: u32,
    },
    CompactTasks,
    StreamTasks,
    StreamBatches,
    ListKeys {
        page: KeyPage,
    },
    CreateKey {
        body: NewKey,
    },
    /// `key` is the uid or the key itself.
    GetKey {
        key: String,
    },
    UpdateKey {
        key: String,
        body: KeyPatch,
    },
    DeleteKey {
        key: String,
    },
    ListWebhooks,
    CreateWebhook {
        body: Wanted,
    },
    GetWebhook {
        uuid: Uuid,
    },
    UpdateWebhook {
        uuid: Uuid,
        body: Wanted,
    },
    DeleteWebhook {
        uuid: Uuid,
    },
    ListChats {
        page: ChatPage,
    },
    GetChat {
        /// After a feature that is off.
        workspace: Said<String>,
    },
    DeleteChat {
        workspace: String,
    },
    GetChatSettings {
        workspace: String,
    },
    UpdateChatSettings {
        workspace: String,
        body: chat::Wanted,
    },
    ResetChatSettings {
        workspace: String,
    },
    Metrics,
    StreamLogs {
        body: LogWish,
    },
    StopLogs,
    SetLogTargets {
        #[serde(serialize_with = "log_wish::as_text")]
        targets: Targets,
    },
}

/// What an answer depends on besides the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    /// Whether API keys can be made.
    pub has_master_key: bool,
    /// The version of the nodes' engine; `None` before any node has said it.
    pub version: Option<&'a str>,
    pub now: OffsetDateTime,
}

// === impl Answer ===

impl Answer {
    /// Refused, in the engine's words, where request and settings tell that it will be. In this order: a body that is no JSON, keys
    /// where there is no master key, and what else the request says.
    pub(super) fn new(own: &Own, query: &str, body: &[u8], about: &About<'_>) -> Result<Self, ResponseError> {
        let &About { has_master_key, version, now } = about;
        let release = version.and_then(versions::release).unwrap_or(versions::NEWEST);
        let nobodys = || Asking { access: IndexAccess::nobodys(), release };
        let with_master_key = || require_master_key(has_master_key);
        Ok(match own {
            Own::Health => Self::Health,
            Own::ListTasks => Self::ListTasks { page: parse_list(query, nobodys())? },
            Own::GetTask { id } => Self::GetTask { id: parse_id(id)? },
            Own::CancelTasks => Self::CancelTasks { filter: parse_cancel(query, nobodys())? },
            Own::DeleteTasks => Self::DeleteTasks { filter: parse_delete(query, nobodys())? },
            Own::DeleteTask { id } => Self::DeleteTask { id: parse_id(id)?, named: id.clone() },
            Own::TaskDocuments { id } => Self::TaskDocuments { id: parse_id(id).into(), named: id.clone() },
            Own::ListBatches => Self::ListBatches { page: parse_batches(query, nobodys())? },
            Own::GetBatch { id } => Self::GetBatch { id: parse_batch_id(id)? },
            Own::CompactTasks => Self::CompactTasks,
            Own::StreamTasks => Self::StreamTasks,
            Own::StreamBatches => Self::StreamBatches,
            Own::ListKeys => {
                with_master_key()?;
                Self::ListKeys { page: key_request::page(query)? }
            }
            Own::CreateKey => {
                let body = payload::parse(body)?;
                with_master_key()?;
                Self::CreateKey { body: key_request::creation(&body, now)? }
            }
            Own::GetKey { key } => {
                with_master_key()?;
                Self::GetKey { key: key.clone() }
            }
            Own::UpdateKey { key } => {
                let body = payload::parse(body)?;
                with_master_key()?;
                Self::UpdateKey { key: key.clone(), body: key_request::patch(&body)? }
            }
            Own::DeleteKey { key } => {
                with_master_key()?;
                Self::DeleteKey { key: key.clone() }
            }
            Own::ListWebhooks => Self::ListWebhooks,
            Own::CreateWebhook => Self::CreateWebhook { body: Wanted::read(&payload::parse(body)?)? },
            Own::GetWebhook { uuid } => Self::GetWebhook { uuid: webhook::parse_uuid(uuid)? },
            Own::UpdateWebhook { uuid } => {
                let body = Wanted::read(&payload::parse(body)?)?;
                Self::UpdateWebhook { uuid: editable(uuid)?, body }
            }
            Own::DeleteWebhook { uuid } => Self::DeleteWebhook { uuid: editable(uuid)? },
            Own::ListChats => Self::ListChats { page: chats::page(query)? },
            Own::GetChat { workspace } => {
                Self::GetChat { workspace: IndexUid::parse(workspace).map(IndexUid::into_string).into() }
            }
            Own::DeleteChat { workspace } => Self::DeleteChat { workspace: workspace.clone() },
            Own::GetChatSettings { workspace } => Self::GetChatSettings { workspace: workspace.clone() },
            Own::UpdateChatSettings { workspace } => {
                let body = chat::Wanted::read(&payload::parse(body)?)?;
                Self::UpdateChatSettings { workspace: workspace.clone(), body }
            }
            Own::ResetChatSettings { workspace } => Self::ResetChatSettings { workspace: workspace.clone() },
            Own::Metrics => Self::Metrics,
            Own::StreamLogs => Self::StreamLogs { body: LogWish::read(&payload::parse(body)?)? },
            Own::StopLogs => Self::StopLogs,
            Own::SetLogTargets => Self::SetLogTargets { targets: log_wish::stderr_targets(&payload::parse(body)?)? },
        })
    }
}

/// The UUID of a webhook that is the API's to change.
fn editable(uuid: &str) -> Result<Uuid, ResponseError> {
    let uuid = webhook::parse_uuid(uuid)?;
    webhook::refuse_nil(uuid)?;
    Ok(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(own: &Own, body: &str, has_master_key: bool) -> Result<Answer, ResponseError> {
        let about = About { has_master_key, version: None, now: OffsetDateTime::UNIX_EPOCH };
        Answer::new(own, "", body.as_bytes(), &about)
    }

    #[test]
    fn what_is_wrong_with_a_change_of_a_webhook_comes_before_which_one_it_is() {
        for uuid in ["x", "1ad5e7f0-0d30-4d5b-9f0f-9c0d5f3f2c11", "00000000-0000-0000-0000-000000000000"] {
            let own = Own::UpdateWebhook { uuid: uuid.to_owned() };
            for (body, code) in
                [(r#"{"uuid": "a"}"#, "immutable_webhook_uuid"), (r#"{"url": 5}"#, "invalid_webhook_url")]
            {
                assert_eq!(answer(&own, body, true).unwrap_err().code, code, "{uuid} {body}");
            }
        }
    }

    #[test]
    fn keys_are_refused_without_a_master_key_before_what_they_say_and_after_what_is_no_json() {
        let of = |own: &Own, body| [true, false].map(|has| answer(own, body, has).err().map(|error| error.code));
        let words = |with: &str, without: &str| [with, without].map(|code| Some(code.to_owned()));
        for own in [Own::CreateKey, Own::UpdateKey { key: "a".into() }] {
            assert_eq!(of(&own, "{"), words("malformed_payload", "malformed_payload"), "{own:?}");
            assert_eq!(of(&own, ""), words("missing_payload", "missing_payload"), "{own:?}");
            assert_eq!(of(&own, "{\"nope\": 1}"), words("bad_request", "missing_master_key"), "{own:?}");
        }
        for own in [Own::ListKeys, Own::GetKey { key: "a".into() }, Own::DeleteKey { key: "a".into() }] {
            assert_eq!(of(&own, ""), [None, Some("missing_master_key".to_owned())], "{own:?}");
        }
    }

    #[test]
    fn filters_see_no_task_before_it_is_known_who_asks() {
        let all = parse_list("", Asking { access: IndexAccess::All, release: versions::NEWEST }).unwrap();
        let Ok(Answer::ListTasks { page }) = answer(&Own::ListTasks, "", false) else { panic!("a list") };
        assert!(!page.filter.access.allows(Some("a")) && !page.filter.access.allows(None));
        assert_eq!(page.seen_by(IndexAccess::All), all);
    }
}
