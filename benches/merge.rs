//! What reading and merging the replies to a search costs: pages of 20 and 200 hits of three nodes, of 20 of twelve, and facets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use miroir::merge::facets::Facets;
use miroir::merge::search::{Merged, SearchReply};
use miroir::plan::index_info::IndexInfo;
use miroir::plan::search::SearchPlan;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// A reply with `hits` hits as Meilisearch 1.50 writes them, better ones first; ranks of the `nodes` nodes interleave.
fn reply(nodes: usize, node: usize, hits: usize, values: usize) -> String {
    let mut text = String::from(r#"{"hits":["#);
    for at in 0..hits {
        let id = at * nodes + node;
        let score = 1.0 / (1.0 + id as f64);
        let place: String = (0..32).map(|bit| ["[", "]", "{", "}"][(id >> (bit % 16)) & 3]).collect();
        write!(
            text,
            concat!(
                r#"{}{{"id":{},"name":"Saint-Étienne {}","altName":"","country":"FR","feature":"PPL","admin":"14","population":{},"#,
                r#""_geo":{{"lat":-26.61667,"lng":-54.13333}},"_miroir_shard":"}}}}}}{{}}}}{{{{","_miroir_written":"{}","#,
                r#""_rankingScoreDetails":{{"words":{{"order":0,"matchingWords":1,"maxMatchingWords":1,"score":1.0}},"#,
                r#""typo":{{"order":1,"typoCount":0,"maxTypoCount":1,"score":1.0}},"proximity":{{"order":2,"score":1.0}},"#,
                r#""attributeRank":{{"order":3,"score":1.0}},"wordPosition":{{"order":4,"score":{}}},"#,
                r#""exactness":{{"order":5,"matchType":"matchesStart","score":0.6666666666666666}},"#,
                r#""_miroir_written:asc":{{"order":6,"value":"{}"}}}}}}"#
            ),
            if at == 0 { "" } else { "," },
            id,
            id,
            id * 37,
            place,
            score,
            place,
        )
        .expect("a string takes everything");
    }
    let counts: Vec<String> =
        (0..values).map(|value| format!(r#""value {:03}":{}"#, value, values - value + node)).collect();
    write!(
        text,
        concat!(
            r#"],"query":"saint","processingTimeMs":1,"limit":{},"offset":0,"estimatedTotalHits":1000,"#,
            r#""facetDistribution":{{"country":{{{}}}}},"facetStats":{{}},"requestUid":"01a2276d-4f57-7b22-8329-33c98ee56a95"}}"#
        ),
        hits,
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

/// What `serde_json` takes for the least of it: members and hits as slices.
fn by_serde(bodies: &[&[u8]]) -> usize {
    let mut hits = 0;
    for body in bodies {
        let members: BTreeMap<&str, &RawValue> = serde_json::from_slice(body).expect("a reply");
        let list: Vec<&RawValue> = serde_json::from_str(members["hits"].get()).expect("hits");
        hits += list.len();
    }
    hits
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    // Nodes, hits of each, values of a facet.
    for (nodes, hits, values) in [(3, 20, 0), (3, 200, 0), (12, 20, 0), (3, 20, 100)] {
        let replies: Vec<String> = (0..nodes).map(|node| reply(nodes, node, hits, values)).collect();
        let bodies: Vec<&[u8]> = replies.iter().map(|reply| reply.as_bytes()).collect();
        group.throughput(Throughput::Bytes(bodies.iter().map(|body| body.len() as u64).sum()));
        let case = format!("{nodes}x{hits}{}", if values > 0 { " facets" } else { "" });
        let mut search = json!({"q": "saint", "offset": hits - 20, "limit": 20});
        if values > 0 {
            search["facets"] = json!(["country"]);
        }
        let by_rank = plan(search.clone());
        group.bench_with_input(BenchmarkId::new("whole", &case), &bodies, |bencher, bodies| {
            bencher.iter(|| merge(black_box(&by_rank), black_box(bodies)));
        });
        group.bench_with_input(BenchmarkId::new("read", &case), &bodies, |bencher, bodies| {
            bencher.iter(|| black_box(bodies).iter().filter(|body| SearchReply::parse(body).is_ok()).count());
        });
        group.bench_with_input(BenchmarkId::new("read by serde_json", &case), &bodies, |bencher, bodies| {
            bencher.iter(|| by_serde(black_box(bodies)));
        });
        if values == 0 {
            search["distinct"] = json!("id");
            let distinct = plan(search);
            group.bench_with_input(BenchmarkId::new("distinct", &case), &bodies, |bencher, bodies| {
                bencher.iter(|| merge(black_box(&distinct), black_box(bodies)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
