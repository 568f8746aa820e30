//! What merging the replies to a search costs: three nodes, a page of 20 hits, shallow and deep.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use miroir::merge::facets::Facets;
use miroir::merge::search::Merged;
use miroir::plan::index_info::IndexInfo;
use miroir::plan::search::SearchPlan;
use serde_json::{Map, Value, json};

const NODES: usize = 3;

/// A node's reply with `hits` hits of about 500 bytes, better ones first; ranks of the nodes interleave.
fn reply(node: usize, hits: usize) -> String {
    let mut text = String::from(r#"{"hits":["#);
    for at in 0..hits {
        let id = at * NODES + node;
        let score = 1.0 / (1.0 + id as f64);
        write!(
            text,
            r#"{}{{"id":{id},"name":"Saint-Étienne {id}","altName":["Sankt Stefan","San Esteban"],"country":"FR","population":{},"description":"a city of some words about as long as a city is","_miroir_shard":"{{{{}}{{}}}}{{{{","_rankingScoreDetails":{{"words":{{"order":0,"matchingWords":2,"maxMatchingWords":2,"score":1.0}},"typo":{{"order":1,"typoCount":0,"maxTypoCount":2,"score":1.0}},"proximity":{{"order":2,"score":1.0}},"attribute":{{"order":3,"attributeRankingOrderScore":1.0,"queryWordDistanceScore":{score},"score":{score}}}}}}}"#,
            if at == 0 { "" } else { "," },
            id * 37,
        )
        .expect("a string takes everything");
    }
    let counts: Vec<String> = (0..40).map(|value| format!(r#""value {value}":{}"#, value + node)).collect();
    write!(
        text,
        r#"],"query":"saint","processingTimeMs":1,"limit":{hits},"offset":0,"estimatedTotalHits":1000,"facetDistribution":{{"country":{{{}}}}},"facetStats":{{}}}}"#,
        counts.join(",")
    )
    .expect("a string takes everything");
    text
}

fn plan(search: Value) -> SearchPlan {
    let Value::Object(body) = search else { return plan(Value::Object(Map::new())) };
    SearchPlan::new(&IndexInfo::new("cities"), body).expect("the search is right")
}

fn merge(plan: &SearchPlan, bodies: &[&[u8]]) -> Vec<u8> {
    let merged = Merged::new(plan, bodies).expect("replies");
    let facets = plan.facets.as_ref().map(|rules| {
        let mut facets = Facets::new(rules);
        for node in merged.facets().expect("facets") {
            facets.add_node(&node).expect("facets");
        }
        facets
    });
    merged.write(facets.as_ref(), merged.total_of(&merged.totals()), None).expect("an answer")
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    for offset in [0, 180, 980] {
        let replies: Vec<String> = (0..NODES).map(|node| reply(node, offset + 20)).collect();
        let bodies: Vec<&[u8]> = replies.iter().map(|reply| reply.as_bytes()).collect();
        group.throughput(Throughput::Bytes(bodies.iter().map(|body| body.len() as u64).sum()));
        let by_rank = plan(json!({"q": "saint", "offset": offset, "limit": 20, "facets": ["country"]}));
        group.bench_with_input(BenchmarkId::new("page_from", offset), &bodies, |bencher, bodies| {
            bencher.iter(|| merge(black_box(&by_rank), black_box(bodies)));
        });
        let distinct = plan(json!({"q": "saint", "offset": offset, "limit": 20, "distinct": "id"}));
        group.bench_with_input(BenchmarkId::new("distinct_page_from", offset), &bodies, |bencher, bodies| {
            bencher.iter(|| merge(black_box(&distinct), black_box(bodies)));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
