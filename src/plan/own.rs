//! What Miroir answers itself, from its own state.

use serde::Serialize;
use serde_json::Value;

use super::Plan;
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

/// Plans an operation that the gateway alone answers.
pub(super) fn plan(own: &Own, body: &[u8]) -> Plan {
    match parsed(own, body) {
        Ok(body) => Plan::Answer(Answer { own: own.clone(), body }),
        Err(error) => Plan::Refuse(error),
    }
}

fn parsed(own: &Own, body: &[u8]) -> Result<Value, ResponseError> {
    match own {
        Own::CreateKey | Own::UpdateKey { .. } | Own::CreateWebhook | Own::UpdateWebhook { .. } => payload::parse(body),
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
        | Own::Metrics => Ok(Value::Null),
    }
}
