//! A plan together with what it would send where, without sending anything.

use serde_json::{Map, Value, json};

use crate::placement::cover::{Cover, CoverPart, cover};
use crate::placement::shard::ShardSet;
use crate::placement::stable_hash::hash_bytes;
use crate::placement::topology::Topology;

use super::Plan;
use super::federation::Which;
use super::scatter::{Ask, NodeRequest, Scatter};

/// The plan as JSON, with the subrequests of a scattered read as the first cover would have them.
pub fn explain(plan: &Plan, topology: &Topology) -> Value {
    let mut shown = serde_json::to_value(plan).unwrap_or_default();
    match plan {
        Plan::Forward(forward) => {
            let names: Vec<&str> = forward.candidates.iter().map(|node| topology.node(*node).id.as_str()).collect();
            shown["nodes"] = json!(names);
        }
        Plan::Scatter(scatter) => {
            shown["covers"] = Value::Array(covers(scatter, topology));
        }
        Plan::Split(_) | Plan::Broadcast(_) | Plan::Answer(_) | Plan::Refuse(_) => {}
    }
    json!({ "epoch": topology.epoch, "plan": shown })
}

fn covers(scatter: &Scatter, topology: &Topology) -> Vec<Value> {
    let shards = topology.shards;
    let all = ShardSet::all(shards);
    let one = |index: &str, wanted: &ShardSet, seed: u64, request: &dyn Fn(&CoverPart, bool) -> NodeRequest| {
        show(&cover(topology, index, wanted, &[], seed), topology, request)
    };
    match &scatter.ask {
        Ask::Judge | Ask::Settings | Ask::Setting { .. } | Ask::Stats(_) => Vec::new(),
        Ask::Search(plan) => {
            vec![one(&plan.index, &all, scatter.seed, &|part, alone| plan.request(part, shards, alone))]
        }
        Ask::FacetSearch(plan) => {
            vec![one(&plan.index, &all, scatter.seed, &|part, _| plan.request(part, shards, None))]
        }
        Ask::MultiSearch(plan) => plan
            .queries
            .iter()
            .map(|query| {
                let seed = hash_bytes(&query.identity());
                one(&query.index, &all, seed, &|part, alone| query.request(part, shards, alone))
            })
            .collect(),
        Ask::Similar(plan) => {
            // What the document's vectors are is not known yet.
            let holder = [plan.shard].into_iter().collect();
            vec![
                one(&plan.index, &holder, scatter.seed, &|_, _| plan.request_vectors()),
                one(&plan.index, &all, scatter.seed, &|part, _| plan.request_near(&[Value::Null], part, shards)),
            ]
        }
        Ask::Fields(plan) => vec![one(&plan.index, &all, scatter.seed, &|_, _| plan.request())],
        Ask::Federation(plan) => plan
            .indexes
            .iter()
            .map(|index| {
                let request = |part: &_, alone| plan.request(index, Which::Together, part, shards, alone);
                one(&index.index, &all, scatter.seed, &request)
            })
            .collect(),
        Ask::Documents(plan) => {
            let wanted = plan.shards.as_ref().unwrap_or(&all);
            vec![one(&plan.index, wanted, scatter.seed, &|part, _| plan.request(part, shards, plan.offset, plan.limit))]
        }
        Ask::Document(plan) => {
            let wanted = [plan.shard].into_iter().collect();
            vec![one(&plan.index, &wanted, scatter.seed, &|_, _| scatter.original.clone())]
        }
    }
}

fn show(cover: &Cover, topology: &Topology, request: &dyn Fn(&CoverPart, bool) -> NodeRequest) -> Value {
    let alone = cover.parts.len() == 1;
    let parts: Vec<Value> = cover
        .parts
        .iter()
        .map(|part| {
            let request = request(part, alone);
            let mut shown = Map::new();
            shown.insert("node".into(), topology.node(part.node).id.as_str().into());
            shown.insert("shards".into(), json!(part.shards));
            shown.insert("whole".into(), part.whole.into());
            shown.insert("method".into(), request.method.into());
            shown.insert("path".into(), request.path.clone().into());
            shown.insert("body".into(), serde_json::from_slice(&request.body).unwrap_or_default());
            Value::Object(shown)
        })
        .collect();
    json!({ "parts": parts, "missing": cover.missing })
}
