//! What Miroir answers itself, from its own state.

use serde::Serialize;
use serde_json::Value;

use crate::meili::error::ResponseError;
use crate::meili::operation::Own;
use crate::meili::payload;

/// An operation that needs no node, and the JSON that came with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    #[serde(flatten)]
    pub own: Own,
    /// Null for operations without a body.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

// === impl Answer ===

impl Answer {
    /// Refused, in the engine's words, where a body is due and none that is JSON has come.
    pub(super) fn new(own: &Own, body: &[u8]) -> Result<Self, ResponseError> {
        Ok(Self { own: own.clone(), body: parsed(own, body)? })
    }
}

fn parsed(own: &Own, body: &[u8]) -> Result<Value, ResponseError> {
    match own {
        Own::CreateKey
        | Own::UpdateKey { .. }
        | Own::CreateWebhook
        | Own::UpdateWebhook { .. }
        | Own::StreamLogs
        | Own::SetLogTargets => payload::parse(body),
        Own::Health
        | Own::ListTasks
        | Own::GetTask { .. }
        | Own::CancelTasks
        | Own::DeleteTasks
        | Own::DeleteTask { .. }
        | Own::TaskDocuments { .. }
        | Own::ListKeys
        | Own::GetKey { .. }
        | Own::DeleteKey { .. }
        | Own::ListBatches
        | Own::GetBatch { .. }
        | Own::ListWebhooks
        | Own::GetWebhook { .. }
        | Own::DeleteWebhook { .. }
        | Own::CompactTasks
        | Own::StreamTasks
        | Own::StreamBatches
        | Own::StopLogs
        | Own::Metrics => Ok(Value::Null),
    }
}
