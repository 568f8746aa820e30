//! Compares the settings of one index over all nodes that are up. They differ when somebody changed them past Miroir.

use serde_json::Value;

use super::Scrub;
use super::agreed;
use super::compare::at_rest;
use super::judge::{Judgement, Seen, judge_settings};
use super::metrics::Outcome;
use super::report::{Finding, Subject};
use crate::ledger::insync;
use crate::ledger::marks::{Marks, Missed};
use crate::nodes::Nodes;
use crate::nodes::client::Trace;
use crate::placement::topology::{NodeIx, NodeState, Topology};
use crate::replicas::resilver::digest::digest;
use crate::replicas::resilver::error::ResilverError;
use crate::write::Writes;

/// Compares the settings; a node that differs from the others is repaired in that index, and serves the others.
pub async fn compare(scrub: &Scrub, writes: &Writes, index: &str, trace: &Trace) {
    let outcome = match differences(scrub, writes, index, trace).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::debug!(index, %error, "settings could not be scrubbed");
            Outcome::Skipped
        }
    };
    scrub.metrics.compared(outcome);
}

async fn differences(scrub: &Scrub, writes: &Writes, index: &str, trace: &Trace) -> Result<Outcome, ResilverError> {
    // Those who refused a change that others have still are right; it is being taken back.
    if writes.ledger.refusals.of(index).is_some() {
        return Ok(Outcome::Skipped);
    }
    let topology = writes.nodes.topology();
    let seen = look(&writes.nodes, &topology, index, trace).await?;
    if judge_settings(&seen, None) == Judgement::Equal {
        if let Some(first) = seen.first().filter(|_| seen.len() == topology.members().count()) {
            agreed::remember(&writes.ledger, index, first.digest).await?;
        }
        return Ok(Outcome::Equal);
    }
    let hold = writes.order.gates.hold(index).await;
    let topology = writes.nodes.topology();
    for node in up(&topology, index) {
        if !at_rest(&writes.nodes, topology.node(node), index, &hold, trace).await? {
            return Ok(Outcome::Skipped);
        }
    }
    let seen = look(&writes.nodes, &topology, index, trace).await?;
    let (wrong, evidence) = match judge_settings(&seen, agreed::last(&writes.ledger, index).await?) {
        Judgement::Equal => return Ok(Outcome::Equal),
        Judgement::Wrong(wrong, evidence) => (wrong, Some(evidence)),
        Judgement::Undecided => (seen.iter().map(|seen| seen.node).collect(), None),
    };
    let names: Vec<_> = wrong.iter().map(|node| topology.node(*node).id.clone()).collect();
    tracing::error!(index, nodes = ?names, ?evidence, "the settings of nodes differ");
    scrub.reports.note(|report| {
        report.findings.push(Finding { index: index.to_owned(), what: Subject::Settings, nodes: names, evidence });
    });
    if evidence.is_none() {
        return Ok(Outcome::Undecided);
    }
    let missed = wrong.into_iter().map(|node| (node, Missed::of([index.to_owned()]))).collect();
    insync::mark(&writes.ledger, &Marks { stale: Vec::new(), missed }).await?;
    Ok(Outcome::Repaired)
}

/// What is known to differ is repaired already, and says nothing of what is right.
fn up<'a>(topology: &'a Topology, index: &'a str) -> impl Iterator<Item = NodeIx> + 'a {
    let comparable =
        |node: &NodeIx| topology.node(*node).state == NodeState::Up && topology.apart_of(*node, index).is_none();
    topology.indexes().filter(comparable)
}

async fn look(nodes: &Nodes, topology: &Topology, index: &str, trace: &Trace) -> Result<Vec<Seen>, ResilverError> {
    let path = format!("/indexes/{index}/settings");
    let mut seen = Vec::new();
    for node in up(topology, index) {
        let settings: Option<Value> = nodes.client.get_json(topology.node(node), &path, trace).await?;
        let digest = digest(&settings.unwrap_or_default());
        seen.push(Seen { node, digest, newest: None, foreign: false });
    }
    Ok(seen)
}
