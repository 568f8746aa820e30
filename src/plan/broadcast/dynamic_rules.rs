//! Dynamic search rules written, deleted, cleared: every node has all of them, and pins what it holds.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::intent::whole;
use crate::meili::error::{Code, ResponseError};
use crate::meili::payload;
use crate::meili::task::TaskKind;
use crate::meili::uid::IndexUid;
use crate::meili::unknown::only_custom_metadata;
use crate::placement::topology::Topology;
use crate::plan::pins::FARTHEST;
use crate::plan::write::{RegistryChange, StepBody, WriteIntent};

/// Refused for what several nodes cannot do alike; what is wrong with the rule the nodes say. A name that is none the engine answers
/// with no words that could be relayed.
pub(super) fn update(uid: &str, target: &str, body: &[u8]) -> Result<WriteIntent, ResponseError> {
    IndexUid::parse(uid)?;
    let rule = payload::object(body)?;
    if rule.get("conditions").and_then(|conditions| conditions.get("filter")).is_some_and(|filter| !filter.is_null()) {
        return Err(not_supported(
            "The condition `filter` of a dynamic search rule is not supported by Miroir: nodes would judge it by a \
             filter that names shards, too.",
        ));
    }
    let actions = rule.get("actions").and_then(Value::as_array).into_iter().flatten();
    let positions = actions.filter_map(|action| action.pointer("/action/position")?.as_u64());
    // Positions that are no such numbers the nodes refuse.
    if let Some(far) = positions.filter(|position| u32::try_from(*position).is_ok()).find(|far| *far > FARTHEST) {
        return Err(not_supported(format!(
            "A document is pinned at position {far}: Miroir pins up to position {FARTHEST}."
        )));
    }
    let details =
        Map::from_iter([("rule".to_owned(), Value::Object(rule.clone())), ("updatedRules".to_owned(), json!(1))]);
    of_rules(TaskKind::DsrUpdate, "PATCH", target, details, StepBody::Json(Value::Object(rule)))
}

/// Also of a rule that is not there, as with the engine.
pub(super) fn delete(uid: &str, target: &str) -> Result<WriteIntent, ResponseError> {
    IndexUid::parse(uid)?;
    let details = Map::from_iter([("updatedRules".to_owned(), json!(1))]);
    of_rules(TaskKind::DsrUpdate, "DELETE", target, details, StepBody::Empty)
}

/// Every node counts all rules that it deletes.
pub(super) fn clear(target: &str, topology: &Topology) -> Result<WriteIntent, ResponseError> {
    let details = Map::from_iter([("deletedDocuments".to_owned(), Value::Null)]);
    let copies = u8::try_from(topology.members().count()).unwrap_or(u8::MAX);
    Ok(WriteIntent { copies, ..of_rules(TaskKind::DsrClear, "DELETE", target, details, StepBody::Empty)? })
}

/// A write that concerns no index and any search.
fn of_rules(
    kind: TaskKind,
    method: &'static str,
    target: &str,
    details: Map<String, Value>,
    body: StepBody,
) -> Result<WriteIntent, ResponseError> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(WriteIntent {
        kind,
        index_uid: None,
        indexes: Vec::new(),
        details: Some(details),
        custom_metadata: only_custom_metadata(query)?,
        ensure_index: false,
        registry: RegistryChange::DynamicSearchRules,
        copies: 1,
        documents: BTreeMap::new(),
        ids: BTreeMap::new(),
        steps: vec![whole(method, path, body)],
    })
}

fn not_supported(message: impl Into<String>) -> ResponseError {
    ResponseError::new(Code::MiroirNotSupported, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::topology::NodeState;

    fn refusal(rule: &Value) -> Option<String> {
        update("r", "/dynamic-search-rules/r", rule.to_string().as_bytes()).err().map(|error| error.message)
    }

    fn pin(position: u64) -> Value {
        json!({"actions": [{"selector": {"id": "1"}, "action": {"type": "pin", "position": position}}]})
    }

    #[test]
    fn what_nodes_would_do_differently_is_refused_by_name() {
        assert_eq!(refusal(&pin(FARTHEST)), None);
        assert!(refusal(&pin(FARTHEST + 1)).is_some_and(|message| message.contains("position 501")));
        assert_eq!(refusal(&pin(u64::MAX)), None, "the nodes' to refuse");
        let filtered = json!({"conditions": {"filter": {"values": {"genre": "a"}}}});
        assert!(refusal(&filtered).is_some_and(|message| message.contains("`filter`")));
        assert_eq!(refusal(&json!({"conditions": {"filter": null, "query": {"words": "a"}}})), None);
    }

    #[test]
    fn a_rule_is_written_on_every_node_as_it_came_and_every_node_counts_what_it_clears() {
        let body = json!({"active": false, "precedence": null});
        let intent = update("r", "/dynamic-search-rules/r?customMetadata=mine", body.to_string().as_bytes()).unwrap();
        assert_eq!(intent.steps[0].path, "/dynamic-search-rules/r");
        assert_eq!(intent.custom_metadata.as_deref(), Some("mine"));
        assert_eq!(Value::Object(intent.details.unwrap()), json!({"rule": body, "updatedRules": 1}));
        let topology = Topology::sample(&[NodeState::Up; 3], 8, 1);
        assert_eq!(clear("/dynamic-search-rules", &topology).unwrap().copies, 3);
        assert!(delete("r", "/dynamic-search-rules/r?x=1").is_err());
        assert!(delete("no name", "/dynamic-search-rules/no%20name").is_err());
    }
}
