//! Deletions and edits whose filter has `field != value`, which all nodes must understand alike ([`crate::plan::unlike`]): else replicas of
//! one document would differ about it. Which fields nodes know follows from the writes that came before, so unless each node is known
//! to know them these are waited for.

use std::sync::Arc;

use serde_json::Value;

use super::existing::{Others, drained};
use crate::nodes::client::Trace;
use crate::nodes::lanes::Hold;
use crate::plan::unlike;
use crate::plan::write::{StepBody, WriteIntent};
use crate::write::part::Writes;

/// The deletion as nodes are to be sent it. Where it depends on earlier writes, the index is held until it has its place.
pub async fn deletion_alike(writes: &Arc<Writes>, intent: WriteIntent, trace: &Trace) -> (WriteIntent, Option<Hold>) {
    let Some(asked) = Asked::by(writes, &intent) else { return (intent, None) };
    if asked.is_even(writes, trace).await || drained(writes, &asked.index, Others::Write, trace).await.is_err() {
        return (intent, None);
    }
    let hold = writes.order.gates.hold(&asked.index).await;
    let is_known = drained(writes, &asked.index, Others::Wait(&hold), trace).await.is_ok();
    let intent = asked.alike(writes, intent, trace).await;
    (intent, is_known.then_some(hold))
}

/// The edit as nodes are to be sent it.
pub(super) async fn edit_alike(writes: &Writes, intent: WriteIntent, trace: &Trace) -> WriteIntent {
    let Some(asked) = Asked::by(writes, &intent) else { return intent };
    if asked.is_even(writes, trace).await || drained(writes, &asked.index, Others::Write, trace).await.is_err() {
        return intent;
    }
    asked.alike(writes, intent, trace).await
}

/// What a filter compares so.
struct Asked {
    index: String,
    fields: Vec<String>,
}

// === impl Asked ===

impl Asked {
    /// `None` where nothing is compared so, or there is no such index.
    fn by(writes: &Writes, intent: &WriteIntent) -> Option<Self> {
        let index = intent.index_uid.clone().filter(|index| writes.ledger.registry.exists(index))?;
        let original = intent.details.as_ref()?.get("originalFilter")?.as_str()?;
        let fields = unlike::fields(&serde_json::from_str(original).ok()?);
        (!fields.is_empty()).then_some(Self { index, fields })
    }

    /// True if every node knows all fields.
    async fn is_even(&self, writes: &Writes, trace: &Trace) -> bool {
        let knowledge = writes.ledger.knowledge(&writes.nodes.topology(), &self.index, &self.fields, trace).await;
        knowledge.uneven.is_empty() && !knowledge.unseen
    }

    async fn alike(&self, writes: &Writes, mut intent: WriteIntent, trace: &Trace) -> WriteIntent {
        let knowledge = writes.ledger.knowledge(&writes.nodes.topology(), &self.index, &self.fields, trace).await;
        for step in &mut intent.steps {
            if let StepBody::Json(Value::Object(body)) = &mut step.body
                && let Some(filter) = body.get_mut("filter")
            {
                *filter = unlike::alike(filter, &knowledge.uneven);
            }
        }
        intent
    }
}
