//! A plan together with what it would send where, without sending anything.

use serde_json::{Value, json};

use crate::placement::cover::cover;
use crate::placement::topology::{NodeIx, Topology};

use super::Plan;
use super::forward::Forward;
use super::indexes::IndexList;
use super::rewrite::{Rewrite, rewrites};
use super::scatter::Scatter;
use super::scattered::Covered;
use super::write::{Target, WriteIntent};

/// The plan as JSON, with the subrequests of a scattered read as the first cover would have them.
pub fn explain(plan: &Plan, topology: &Topology) -> Value {
    let mut shown = serde_json::to_value(plan).unwrap_or_default();
    match plan {
        Plan::Forward(Forward { candidates }) | Plan::List(IndexList { candidates, .. }) => {
            shown["nodes"] = json!(names(candidates.iter().copied(), topology));
        }
        Plan::Scatter(scatter) => {
            shown["covers"] = Value::Array(covers(scatter, topology));
            shown["mayFollow"] = json!(scatter.later());
            if let Some(error) = scatter.ask.refused_by_several() {
                shown["refusedBySeveral"] = json!(error);
            }
        }
        Plan::Delete(deletion) => {
            let intent = deletion.intent(topology);
            shown["intent"] = serde_json::to_value(&intent).unwrap_or_default();
            name_targets(&mut shown["intent"], &intent, topology);
        }
        Plan::Broadcast(intent) | Plan::DeleteMatching(intent) | Plan::Edit(intent) => {
            name_targets(&mut shown, intent, topology)
        }
        Plan::Everywhere(_) => shown["nodes"] = json!(names(topology.members(), topology)),
        // What a body brings, which nodes own it, is not known before it is read.
        Plan::Split(_) | Plan::Fail(_) | Plan::Work(_) | Plan::Answer(_) | Plan::Refuse(_) => {}
    }
    json!({ "epoch": topology.epoch, "plan": shown })
}

/// Says of each step of a write by name to which nodes it goes.
fn name_targets(shown: &mut Value, intent: &WriteIntent, topology: &Topology) {
    for (at, step) in intent.steps.iter().enumerate() {
        let names = match step.to {
            Target::Node(node) => names([node], topology),
            Target::AllNodes => names(topology.members(), topology),
        };
        shown["steps"][at]["nodes"] = json!(names);
    }
}

fn names(nodes: impl IntoIterator<Item = NodeIx>, topology: &Topology) -> Vec<&str> {
    nodes.into_iter().map(|node| topology.node(node).id.as_str()).collect()
}

/// The covers of the first round with what each node is asked, and what of it is rewritten.
fn covers(scatter: &Scatter, topology: &Topology) -> Vec<Value> {
    let covers = scatter.ask.plan().covers(&scatter.original, topology.shards);
    covers.iter().map(|covered| show(covered, topology)).collect()
}

fn show(covered: &Covered<'_>, topology: &Topology) -> Value {
    let cover = cover(topology, covered.index, &covered.wanted, &[], covered.seed);
    let alone = cover.parts.len() == 1;
    let mut rewritten: Vec<Rewrite> = Vec::new();
    let mut parts = Vec::with_capacity(cover.parts.len());
    for part in &cover.parts {
        let request = (covered.request)(part, alone);
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        for rewrite in
            body.as_object().map(|body| rewrites(&covered.client, body, (covered.span)(part))).unwrap_or_default()
        {
            if !rewritten.contains(&rewrite) {
                rewritten.push(rewrite);
            }
        }
        parts.push(json!({
            "node": topology.node(part.node).id.as_str(),
            "shards": part.shards,
            "whole": part.is_whole(),
            "method": request.method,
            "path": request.path,
            "body": body,
        }));
    }
    json!({ "parts": parts, "missing": cover.missing, "rewrites": rewritten })
}
