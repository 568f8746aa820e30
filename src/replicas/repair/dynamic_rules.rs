//! Dynamic search rules of a returning node: as on a node that serves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::error::RepairError;
use super::index::{TASK_LIMIT, done};
use crate::meili::versions::has_dynamic_rules;
use crate::nodes::client::{OWN_QUESTION, Subrequest, Trace};
use crate::nodes::dynamic_rules::{has_open_tasks, read, uid, written};
use crate::nodes::node_queue::IDLE_LIMIT;
use crate::placement::topology::{Node, NodeIx};
use crate::replicas::part::Replicas;

/// Makes the rules of the node `ix` equal to those of `reference`, while none is written. Which rules nodes keep while the feature is
/// off nobody can see.
pub(super) async fn repair_rules(
    replicas: &Arc<Replicas>,
    (ix, node): (NodeIx, &Node),
    reference: &Node,
    trace: &Trace,
) -> Result<(), RepairError> {
    let client = &replicas.nodes.client;
    if !replicas.nodes.versions.least().as_deref().is_some_and(has_dynamic_rules) {
        return Ok(());
    }
    // Changes of rules concern no index.
    let _hold = replicas.writes.order.gates.hold("").await;
    for either in [reference, node] {
        runs_empty(replicas, either, trace).await?;
    }
    let (Some(wanted), Some(held)) = (read(client, reference, trace).await?, read(client, node, trace).await?) else {
        return Ok(());
    };
    let held: BTreeMap<&str, Value> = held.iter().filter_map(|rule| Some((uid(rule)?, written(rule)))).collect();
    let mut steps: Vec<(http::Method, &str, Option<Value>)> = Vec::new();
    for other in held.keys().filter(|name| !wanted.iter().any(|rule| uid(rule) == Some(**name))) {
        steps.push((http::Method::DELETE, *other, None));
    }
    // The oldest first, so that they are listed alike.
    for rule in wanted.iter().rev() {
        let (Some(name), right) = (uid(rule), written(rule)) else { continue };
        if held.get(name) != Some(&right) {
            steps.push((http::Method::PATCH, name, Some(right)));
        }
    }
    for (method, name, body) in steps {
        tracing::info!(node = %node.id, rule = name, %method, "making a dynamic search rule equal");
        let path = format!("/dynamic-search-rules/{name}");
        let request = match body {
            Some(body) => Subrequest::json(method, path, body.to_string().into(), OWN_QUESTION, false),
            None => Subrequest { method, idempotent: false, ..Subrequest::get(path, OWN_QUESTION) },
        };
        let task = client.carry_out(node, request, trace, TASK_LIMIT).await?;
        replicas.writes.order.saw_uid(ix, task.uid);
        done(task)?;
    }
    Ok(())
}

async fn runs_empty(replicas: &Replicas, node: &Node, trace: &Trace) -> Result<(), RepairError> {
    let deadline = Instant::now() + IDLE_LIMIT;
    while has_open_tasks(&replicas.nodes.client, node, trace).await? {
        if Instant::now() > deadline {
            return Err(RepairError::RulesBusy { limit: IDLE_LIMIT });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
