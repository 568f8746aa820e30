//! A plan together with what it would send where, without sending anything.

use serde_json::{Map, Value, json};

use crate::placement::cover::{Cover, CoverPart, cover};
use crate::placement::shard::ShardSet;
use crate::placement::stable_hash::hash_bytes;
use crate::placement::topology::{NodeIx, Topology};

use super::Plan;
use super::federation::Which;
use super::forward::Forward;
use super::indexes::IndexList;
use super::rewrite::{Rewrite, rewrites};
use super::scatter::{Ask, NodeRequest, Scatter};
use super::search::SearchPlan;
use super::span::Span;
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
            shown["mayFollow"] = json!(scatter.ask.later());
            if let Some(error) = scatter.ask.refused_by_several() {
                shown["refusedBySeveral"] = json!(error);
            }
        }
        Plan::Delete(deletion) => {
            let intent = deletion.intent(topology);
            shown["intent"] = serde_json::to_value(&intent).unwrap_or_default();
            name_targets(&mut shown["intent"], &intent, topology);
        }
        Plan::Broadcast(intent) | Plan::Edit(intent) => name_targets(&mut shown, intent, topology),
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

/// A request for a part of a cover; told whether the part is the only one.
type AskPart<'a> = &'a dyn Fn(&CoverPart, bool) -> NodeRequest;

/// Which of its hits the node of a part lists.
type SpanOf<'a> = &'a dyn Fn(&CoverPart) -> Span;

fn covers(scatter: &Scatter, topology: &Topology) -> Vec<Value> {
    let shards = topology.shards;
    let all = ShardSet::all(shards);
    let one = |index: &str, wanted: &ShardSet, seed: u64, client: &[&Map<String, Value>], request: AskPart<'_>| {
        show(&cover(topology, index, wanted, &[], seed), topology, client, (request, &|_| Span::UpToTheEnd))
    };
    let search = |plan: &SearchPlan, seed: u64| {
        let asked: (AskPart<'_>, SpanOf<'_>) =
            (&|part, alone| plan.request_share(part, shards, alone), &|part| plan.span(part, shards));
        show(&cover(topology, &plan.index, &all, &[], seed), topology, &[&plan.body], asked)
    };
    let seed = scatter.seed;
    match &scatter.ask {
        Ask::Judge | Ask::Refused(_) | Ask::Settings | Ask::Setting { .. } | Ask::Stats(_) => Vec::new(),
        Ask::Search(plan) => vec![search(plan, seed)],
        Ask::FacetSearch(plan) => {
            vec![one(&plan.index, &all, seed, &[&plan.body], &|part, _| plan.request(part, shards, None))]
        }
        Ask::MultiSearch(plan) => {
            plan.queries.iter().map(|query| search(query, hash_bytes(&query.identity()))).collect()
        }
        Ask::Similar(plan) => {
            // What the document's vectors are is not known yet.
            let holder = [plan.shard].into_iter().collect();
            vec![
                one(&plan.index, &holder, seed, &[], &|_, _| plan.request_vectors()),
                one(&plan.index, &all, seed, &[], &|part, _| plan.request_near(&[Value::Null], part, shards)),
            ]
        }
        Ask::Fields(plan) => vec![one(&plan.index, &all, seed, &[], &|_, _| plan.request())],
        Ask::Federation(plan) => {
            let mut covers = Vec::new();
            for index in &plan.indexes {
                let each = (0..index.queries.len()).map(Which::One).filter(|_| index.apart.is_some());
                for which in [Which::Together].into_iter().chain(each) {
                    let client: Vec<_> = index.asked(which).iter().map(|query| &query.search.body).collect();
                    let request = |part: &_, alone| plan.request(index, which, part, shards, alone);
                    covers.push(one(&index.index, &all, seed, &client, &request));
                }
            }
            covers
        }
        Ask::Documents(plan) => {
            let wanted = plan.shards.as_ref().unwrap_or(&all);
            let request = |part: &_, _| plan.request(part, shards, plan.offset, plan.limit);
            vec![one(&plan.index, wanted, seed, &[&plan.body], &request)]
        }
        Ask::Document(plan) => {
            let wanted = [plan.shard].into_iter().collect();
            vec![one(&plan.index, &wanted, seed, &[], &|_, _| scatter.original.clone())]
        }
    }
}

fn show(
    cover: &Cover,
    topology: &Topology,
    client: &[&Map<String, Value>],
    (request, span): (AskPart<'_>, SpanOf<'_>),
) -> Value {
    let alone = cover.parts.len() == 1;
    let mut rewritten: Vec<Rewrite> = Vec::new();
    let mut parts = Vec::with_capacity(cover.parts.len());
    for part in &cover.parts {
        let request = request(part, alone);
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        for rewrite in body.as_object().map(|body| rewrites(client, body, span(part))).unwrap_or_default() {
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
