//! Compares the dynamic search rules over all nodes that are up. They differ when somebody changed them past Miroir.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::judge::{Judgement, Seen, judge_settings};
use super::metrics::Outcome;
use super::report::{Finding, Subject};
use crate::ledger::insync;
use crate::ledger::marks::{Marks, Missed};
use crate::meili::versions::has_dynamic_rules;
use crate::nodes::Nodes;
use crate::nodes::client::Trace;
use crate::nodes::dynamic_rules::{has_open_tasks, read, uid, written};
use crate::placement::topology::{NodeIx, NodeState, Topology};
use crate::replicas::resilver::digest::digest;
use crate::replicas::resilver::error::ResilverError;
use crate::write::Writes;

/// Compares the rules; a node that differs from most others is repaired before it serves on. `None` where nodes have no rules.
pub async fn compare(writes: &Writes, trace: &Trace) -> Option<(Outcome, Option<Finding>)> {
    if !writes.nodes.versions.least().as_deref().is_some_and(has_dynamic_rules) {
        return None;
    }
    Some(differences(writes, trace).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "dynamic search rules could not be scrubbed");
        (Outcome::Skipped, None)
    }))
}

async fn differences(writes: &Writes, trace: &Trace) -> Result<(Outcome, Option<Finding>), ResilverError> {
    let topology = writes.nodes.topology();
    if judge_settings(&look(&writes.nodes, &topology, trace).await?, None) == Judgement::Equal {
        return Ok((Outcome::Equal, None));
    }
    // Changes of rules concern no index.
    let _hold = writes.order.gates.hold("").await;
    let topology = writes.nodes.topology();
    for node in up(&topology) {
        if has_open_tasks(&writes.nodes.client, topology.node(node), trace).await? {
            return Ok((Outcome::Skipped, None));
        }
    }
    let seen = look(&writes.nodes, &topology, trace).await?;
    let (wrong, evidence) = match judge_settings(&seen, None) {
        Judgement::Equal => return Ok((Outcome::Equal, None)),
        Judgement::Wrong(wrong, evidence) => (wrong, Some(evidence)),
        Judgement::Undecided => (seen.iter().map(|seen| seen.node).collect(), None),
    };
    let names: Vec<_> = wrong.iter().map(|node| topology.node(*node).id.clone()).collect();
    tracing::error!(nodes = ?names, ?evidence, "the dynamic search rules of nodes differ");
    let finding = Finding { index: String::new(), what: Subject::DynamicSearchRules, nodes: names, evidence };
    if finding.evidence.is_none() {
        return Ok((Outcome::Undecided, Some(finding)));
    }
    let missed = Missed { settings: true, ..Missed::default() };
    let missed = wrong.into_iter().map(|node| (node, missed.clone())).collect();
    insync::mark(&writes.ledger, &Marks { stale: Vec::new(), missed }).await?;
    Ok((Outcome::Repaired, Some(finding)))
}

fn up(topology: &Topology) -> impl Iterator<Item = NodeIx> + '_ {
    topology.indexes().filter(|node| topology.node(*node).state == NodeState::Up)
}

async fn look(nodes: &Nodes, topology: &Topology, trace: &Trace) -> Result<Vec<Seen>, ResilverError> {
    let mut seen = Vec::new();
    for node in up(topology) {
        let rules = read(&nodes.client, topology.node(node), trace).await?.unwrap_or_default();
        let by_uid: BTreeMap<&str, Value> = rules.iter().filter_map(|rule| Some((uid(rule)?, written(rule)))).collect();
        let by_uid: Map<String, Value> = by_uid.into_iter().map(|(uid, rule)| (uid.to_owned(), rule)).collect();
        seen.push(Seen { node, digest: digest(&Value::Object(by_uid)), newest: None, foreign: false });
    }
    Ok(seen)
}
