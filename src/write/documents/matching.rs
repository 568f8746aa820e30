//! Deletions by a filter, which is tried before any node gets the deletion.
//!
//! An engine of today carries out a deletion by a filter in one batch with the additions behind it, and a filter that fails
//! fails them all: whoever deletes by an attribute that is not filterable makes other clients' documents fail, and on those
//! nodes alone that put them into one batch. So such a deletion is a failed task, and no node sees it.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::rules;
use crate::meili::error::{Code, ResponseError};
use crate::merge::error::scrub;
use crate::nodes::client::{OWN_QUESTION, Subrequest, Trace};
use crate::nodes::meaning::Meaning;
use crate::plan::write::WriteIntent;
use crate::write::part::Writes;

/// What a node calls a filter that it does not take.
const INVALID: &str = "invalid_document_filter";

/// What an engine says of a filter that it has read and cannot use. Others it cannot even read, and refuses the request.
const OF_SETTINGS: [&str; 5] = [
    " is not filterable",
    " is not allowed for the ",
    " must be contained between ",
    " is below the bottom latitude ",
    "Resolution must be between ",
];

/// What a node says of a request that it refuses.
#[derive(Deserialize)]
struct Refusal {
    message: String,
    code: String,
}

/// What the task of a deletion by a filter will fail with, in the engine's words. `None` where some node takes the filter, and where
/// not all of them say that they do not: one whose index is being made again has no settings yet. Then the nodes' own checks remain.
pub async fn refused_filter(writes: &Writes, intent: &WriteIntent, trace: &Trace) -> Option<ResponseError> {
    let index = intent.index_uid.as_deref().filter(|index| writes.ledger.registry.exists(index))?;
    let original = intent.details.as_ref()?.get("originalFilter")?.as_str()?;
    let filter: Value = serde_json::from_str(original).ok()?;
    rules::changes_end(writes, index).await;
    let body = Bytes::from(json!({"filter": filter, "limit": 0}).to_string());
    // A node that hangs is not to hold up deletions longer than it may hold up writes.
    let limit = OWN_QUESTION.min(writes.settings.get().slow_after);
    let topology = writes.nodes.topology();
    let mut refused = None;
    for node in topology.members().map(|ix| topology.node(ix)) {
        if !node.state.serves_reads() {
            return None;
        }
        let path = format!("/indexes/{index}/documents/fetch");
        let request = Subrequest::json(Method::POST, path, body.clone(), limit, true);
        let reply = writes.nodes.client.send(node, request, trace).await.ok()?;
        let judged = Meaning::of_reply(&reply).is_judgement();
        let refusal: Option<Refusal> = serde_json::from_slice(&reply.body).ok().filter(|_| judged);
        let message = refusal.filter(|refusal| refusal.code == INVALID && fails_the_task(&refusal.message))?.message;
        refused =
            Some(ResponseError::new(Code::InvalidDocumentFilter, format!("Index `{index}`: {}", scrub(&message))));
    }
    refused
}

fn fails_the_task(message: &str) -> bool {
    OF_SETTINGS.iter().any(|said| message.contains(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_no_task() {
        for said in [
            "Attribute `x` is not filterable. Available filterable attribute patterns are: `n`.\n1:2 x = 1",
            "Filter operator `>` is not allowed for the attribute `n`.",
            "Bad latitude `200`. Latitude must be contained between -90 and 90 degrees.\n",
        ] {
            assert!(fails_the_task(said), "{said}");
        }
        for said in [
            "Was expecting a value but instead got nothing.\n5:5 n = ",
            "Invalid syntax for the filter parameter: `expected String, Array, found: 5`.",
        ] {
            assert!(!fails_the_task(said), "{said}");
        }
    }
}
