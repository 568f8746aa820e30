//! How long placement and covers take, and how evenly shards spread over thousands of random clusters.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use miroir::placement::balance;
use miroir::placement::cover::cover;
use miroir::placement::document::shard_of;
use miroir::placement::rendezvous::assign;
use miroir::placement::shard::ShardSet;
use miroir::placement::topology::{Node, NodeId, NodeState, Topology};

fn nodes(prefix: &str, count: usize, zones: usize) -> Vec<Node> {
    (0..count)
        .map(|number| Node {
            id: NodeId::new(&format!("{prefix}{number}")),
            url: format!("http://{prefix}{number}:7700"),
            zone: (zones > 0).then(|| format!("zone-{}", number % zones)),
            weight: 1.0,
            state: NodeState::Up,
        })
        .collect()
}

fn placement(criterion: &mut Criterion) {
    criterion.bench_function("shard of a document", |bench| {
        bench.iter(|| shard_of(black_box("a-document-id-12345"), 256));
    });
    let three = nodes("node-", 3, 0);
    criterion.bench_function("assign 256 shards to 3 nodes", |bench| bench.iter(|| assign(black_box(&three), 256, 2)));
    for (count, zones) in [(2, 0), (3, 0), (6, 2), (10, 0), (10, 3)] {
        let topology = Topology::build(nodes("node-", count, zones), 256, 2);
        let all = ShardSet::all(256);
        let mut seed = 0u64;
        criterion.bench_function(&format!("cover 256 shards by {count} nodes in {zones} zones"), |bench| {
            bench.iter(|| {
                seed += 1;
                cover(black_box(&topology), "movies", &all, &[], seed)
            });
        });
    }
}

/// Not a measure of time: prints how many of random clusters have a node over 1.25 times its fair share.
fn spread(_: &mut Criterion) {
    println!("nodes shards replicas  clusters  overfull  worst");
    for (count, shards) in [(2, 128), (3, 256), (4, 256), (8, 512), (16, 1024)] {
        for replicas in [1, 2, 3] {
            if replicas as usize >= count {
                continue;
            }
            let clusters = 400_000 / (count * usize::from(shards));
            let worst: Vec<f64> = (0..clusters)
                .map(|cluster| Topology::build(nodes(&format!("c{cluster}-"), count, 0), shards, replicas))
                .map(|topology| balance::shares(&topology).iter().map(balance::Share::ratio).fold(0.0, f64::max))
                .collect();
            let overfull = worst.iter().filter(|ratio| **ratio > balance::OVERFULL).count();
            let most = worst.iter().copied().fold(0.0, f64::max);
            println!("{count:5} {shards:6} {replicas:8}  {clusters:8}  {overfull:8}  {most:.3}");
        }
    }
}

criterion_group! { name = benches; config = Criterion::default().sample_size(20); targets = placement, spread }
criterion_main!(benches);
