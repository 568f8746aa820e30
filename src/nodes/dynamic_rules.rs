//! Dynamic search rules as a node has them.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::{NodeClient, OWN_QUESTION, Subrequest, TaskStatusResponse, Trace};
use super::error::NodeError;
use super::meaning::Meaning;
use crate::placement::topology::Node;

/// So many are read at most; an engine applies a thousand.
const MOST: usize = 10_000;

/// The part of a rule that was written, `null` where nothing was.
const WRITTEN: [&str; 5] = ["description", "precedence", "active", "conditions", "actions"];

/// A page of rules, or of tasks.
#[derive(Deserialize)]
struct Page<T> {
    results: Vec<T>,
}

/// All rules, those first that were changed last; `None` while the feature is off, or where the engine has none.
pub async fn read(client: &NodeClient, node: &Node, trace: &Trace) -> Result<Option<Vec<Value>>, NodeError> {
    let body = json!({ "limit": MOST }).to_string();
    let request = Subrequest::json(http::Method::POST, "/dynamic-search-rules", body.into(), OWN_QUESTION, true);
    let reply = client.send(node, request, trace).await?;
    if !reply.is_success() && Meaning::of_reply(&reply).is_judgement() {
        return Ok(None);
    }
    let page: Page<Value> = client.read(node, &reply)?;
    Ok(Some(page.results))
}

/// True while the node has changes of rules to carry out.
pub async fn has_open_tasks(client: &NodeClient, node: &Node, trace: &Trace) -> Result<bool, NodeError> {
    let path = "/tasks?types=dsrUpdate,dsrClear&statuses=enqueued,processing&limit=1";
    let page: Option<Page<TaskStatusResponse>> = client.get_json(node, path, trace).await?;
    Ok(page.is_some_and(|page| !page.results.is_empty()))
}

/// What `rule` was written as: without its uid, and without the moment, which nodes do not have in common.
pub fn written(rule: &Value) -> Value {
    let part = |name: &str| (name.to_owned(), rule.get(name).cloned().unwrap_or_default());
    Value::Object(Map::from_iter(WRITTEN.map(part)))
}

/// The name of a rule.
pub fn uid(rule: &Value) -> Option<&str> {
    rule.get("uid")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_compared_by_what_was_written() {
        let rule = |moment: &str| json!({"uid": "r", "lastUpdatedAt": moment, "active": true, "conditions": {}, "actions": []});
        let expected =
            json!({"description": null, "precedence": null, "active": true, "conditions": {}, "actions": []});
        assert_eq!(written(&rule("2026-01-01T00:00:00Z")), expected);
        assert_eq!(written(&rule("2026-01-02T00:00:00Z")), expected);
        assert_eq!(uid(&rule("")), Some("r"));
    }
}
