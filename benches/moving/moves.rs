//! A node is added to three, drained, and removed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::counters::Counters;
use crate::support::Fleet;
use crate::support::fleet::shard_of;
use crate::writer::BATCH;
use crate::{Bench, LIMIT};

/// The volume that may be moved, over what must be.
const SURPLUS: f64 = 1.05;

/// One move, by its plan and as it went.
pub struct Moved {
    pub name: &'static str,
    pub took: Duration,
    pub replicas: u64,
    pub planned_documents: u64,
    pub planned_bytes: u64,
    /// Documents that a node owns after the move and did not before: they must be copied to it, whatever the way.
    pub least: u64,
    pub counted: Counters,
}

// === impl Moved ===

impl Moved {
    pub fn surplus(&self) -> f64 {
        self.counted.copied as f64 / self.least as f64
    }
}

pub fn measure(bench: &mut Bench) -> Vec<Moved> {
    bench.rest("warming up");
    bench.rest("3 nodes at rest");
    let new = bench.fleet.spawn_node();
    let node = json!({"id": bench.fleet.nodes[new].name, "url": bench.fleet.nodes[new].client.url});
    let name = node["id"].as_str().expect("a name").to_owned();
    let added = one(bench, "a 4th node is added", &json!({"add": [node]}), |fleet| {
        fleet.admin.post("/nodes", &node).ok();
    });
    bench.compare_documents();
    bench.rest("4 nodes at rest");
    let drained = one(bench, "the 4th node is drained", &json!({"drain": [name]}), |fleet| {
        fleet.admin.post(&format!("/nodes/{name}/drain"), &json!({})).ok();
    });
    bench.compare_documents();
    bench.rest("3 nodes at rest again");
    bench.fleet.admin.delete(&format!("/nodes/{name}")).ok();
    bench.fleet.await_rest(LIMIT);
    bench.fleet.nodes[new].kill();
    bench.fleet.nodes.truncate(new);
    vec![added, drained]
}

fn one(bench: &mut Bench, name: &'static str, change: &Value, ask: impl FnOnce(&Fleet)) -> Moved {
    let plan = bench.fleet.admin.post("/rebalance/plan", change).ok();
    println!("{plan:#}");
    let planned = |figure: &str| plan[figure].as_u64().unwrap_or_else(|| panic!("{figure} in {plan:#}"));
    let (before, ids, counters) = (bench.fleet.owners(), bench.ids(), Counters::read(&bench.fleet));
    let (took, tally) = bench.phase(name, true, |fleet| {
        let started = Instant::now();
        ask(fleet);
        fleet.await_rest(LIMIT);
        started.elapsed()
    });
    let written = tally.acknowledged.0.len() * BATCH;
    let counted = Counters::read(&bench.fleet) - counters;
    let arrived: Vec<BTreeSet<String>> =
        bench.fleet.owners().iter().zip(&before).map(|(after, before)| after - before).collect();
    let replicas: usize = arrived.iter().map(BTreeSet::len).sum();
    assert_eq!(replicas as u64, planned("replicas"), "exactly the planned replicas change owners");
    let least: usize = ids.iter().map(|id| arrived[shard_of(id, arrived.len())].len()).sum();
    let moved = Moved {
        name,
        took,
        replicas: replicas as u64,
        planned_documents: planned("documents"),
        planned_bytes: planned("bytes"),
        least: least as u64,
        counted,
    };
    // What is written while it is copied may have to be copied again.
    let most = least as f64 * SURPLUS + written as f64;
    assert!(counted.copied as f64 <= most, "{} documents were copied where {least} are enough", counted.copied);
    moved
}
