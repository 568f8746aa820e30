//! A node is killed, misses documents, and returns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::counters::Counters;
use crate::support::client::{id_of, within};
use crate::support::fleet::shard_of;
use crate::support::{Client, Fleet};
use crate::writer::{Writer, documents_path};
use crate::{Bench, CITIES, LIMIT, UPLOAD, WRITTEN, upload};

/// The node that is killed.
const VICTIM: usize = 1;
/// The ids of new documents begin here, beyond those of all cities.
const NEW_IDS: u64 = 1 << 40;

pub struct Outage {
    pub name: &'static str,
    pub written: usize,
    /// How long it took until the other nodes had carried out what the dead one missed.
    pub writing: Duration,
    /// Shards of the dead node, and those of them that were touched, over both indexes.
    pub owned_shards: usize,
    pub touched_shards: usize,
    pub stale_shards: usize,
    /// Documents of the stale shards.
    pub in_stale_shards: usize,
    /// Documents that the node missed, and that are there.
    pub missed: usize,
    pub counted: Counters,
    /// From the start of the process until it serves again, and until it has all that it missed.
    pub serves: Duration,
    pub in_sync: Duration,
}

/// What is written while the node is down.
#[derive(Default)]
struct Changes {
    put: Vec<Value>,
    deleted: Vec<Value>,
}

pub fn measure(bench: &mut Bench) -> Vec<Outage> {
    let everywhere = one(bench, "documents of all shards", |_, _| true);
    let quarter = one(bench, "documents of a quarter of the shards", |shard, shards| shard < shards / 4);
    vec![everywhere, quarter]
}

fn one(bench: &mut Bench, name: &'static str, wanted: fn(usize, usize) -> bool) -> Outage {
    let shards = bench.fleet.owners().len();
    let changes = changes(&bench.cities, bench.settings.missed, |id| wanted(shard_of(id, shards), shards));
    let written = changes.put.len() + changes.deleted.len();
    bench.writers.iter_mut().for_each(Writer::forget);

    let clients = [bench.fleet.client.clone(), bench.single.client.clone()];
    let (writing, _) = bench.phase(&format!("a node is dead: {name}"), false, |fleet| {
        fleet.nodes[VICTIM].kill();
        let started = Instant::now();
        changes.write(&clients[0]);
        started.elapsed()
    });
    changes.write(&clients[1]);
    bench.cities = changes.applied(&bench.cities);
    bench.ask_one_node();

    let touched: BTreeMap<&str, BTreeSet<String>> = BTreeMap::from([
        (CITIES, changes.ids()),
        (WRITTEN, bench.writers.iter().flat_map(|writer| writer.touched.clone()).collect()),
    ]);
    let victim = bench.fleet.nodes[VICTIM].name.clone();
    let owners = bench.fleet.owners();
    let owned: BTreeSet<usize> = (0..shards).filter(|shard| owners[*shard].contains(&victim)).collect();
    let touched_shards = |index: &str| -> BTreeSet<usize> {
        let shards = touched[index].iter().map(|id| shard_of(id, shards));
        shards.filter(|shard| owned.contains(shard)).collect()
    };
    for (index, stale) in stale(&bench.fleet) {
        assert_eq!(stale, touched_shards(&index).len(), "{index}: exactly the shards that were touched are stale");
    }
    let stale_shards = stale(&bench.fleet).values().sum();
    let exist: [(&str, Vec<String>); 2] = [
        (CITIES, bench.cities.iter().map(id_of).collect()),
        (WRITTEN, bench.writers.iter().flat_map(|writer| writer.documents.keys().cloned()).collect()),
    ];
    let (mut in_stale_shards, mut missed) = (0, 0);
    for (index, ids) in &exist {
        let shards_of_index = touched_shards(index);
        let stale: Vec<&String> = ids.iter().filter(|id| shards_of_index.contains(&shard_of(id, shards))).collect();
        in_stale_shards += stale.len();
        missed += stale.iter().filter(|id| touched[index].contains(**id)).count();
    }

    let counters = Counters::read(&bench.fleet);
    let ((serves, in_sync), _) = bench.phase(&format!("it returns: {name}"), true, |fleet| {
        let started = Instant::now();
        fleet.nodes[VICTIM].restart();
        fleet.await_state(&victim, "up");
        let serves = started.elapsed();
        within(LIMIT, "every replica is in sync", || stale(fleet).is_empty().then_some(()));
        (serves, started.elapsed())
    });
    bench.compare_documents();
    Outage {
        name,
        written,
        writing,
        owned_shards: owned.len() * touched.len(),
        touched_shards: touched.keys().map(|index| touched_shards(index).len()).sum(),
        stale_shards,
        in_stale_shards,
        missed,
        counted: Counters::read(&bench.fleet) - counters,
        serves,
        in_sync,
    }
}

/// How many stale shards the dead node has in each index.
fn stale(fleet: &Fleet) -> BTreeMap<String, usize> {
    let resilver = fleet.admin.get("/resilver").ok();
    let stale = resilver["stale"].as_array().expect("a list");
    let count = |entry: &Value| {
        assert_eq!(entry["node"], fleet.nodes[VICTIM].name, "only the node that was away is behind: {resilver}");
        (entry["index"].as_str().expect("an index").to_owned(), entry["shards"].as_u64().expect("a count") as usize)
    };
    stale.iter().map(count).collect()
}

/// Half of `most` replaces documents, a twentieth deletes some, the rest is new; only ids that are `wanted`.
fn changes(cities: &[Value], most: usize, wanted: impl Fn(&str) -> bool) -> Changes {
    let of_shards: Vec<&Value> = cities.iter().filter(|city| wanted(&id_of(city))).collect();
    // Not more than half of what is there.
    let (replaced, deleted) = ((most / 2).min(of_shards.len() / 3), (most / 20).min(of_shards.len() / 6));
    let every = (of_shards.len() / (replaced + deleted).max(1)).max(1);
    let mut chosen = of_shards.into_iter().step_by(every);
    let deleted: Vec<Value> = chosen.by_ref().take(deleted).map(|city| city["id"].clone()).collect();
    let changed = |city: &Value| {
        let mut changed = city.clone();
        changed["population"] = (city["population"].as_u64().unwrap_or(0) + 1).into();
        changed
    };
    let mut put: Vec<Value> = chosen.take(replaced).map(changed).collect();
    let highest = cities.iter().filter_map(|city| city["id"].as_u64()).max().unwrap_or(0).max(NEW_IDS);
    let new_ids = (highest + 1..).filter(|id| wanted(&id.to_string()));
    let left = most.saturating_sub(put.len() + deleted.len());
    let new = new_ids.zip(cities.iter().cycle()).take(left).map(|(id, city)| {
        let mut new = city.clone();
        new["id"] = id.into();
        new
    });
    put.extend(new.collect::<Vec<_>>());
    Changes { put, deleted }
}

// === impl Changes ===

impl Changes {
    fn write(&self, client: &Client) {
        upload(client, CITIES, &self.put);
        for ids in self.deleted.chunks(UPLOAD) {
            client.done(&client.post(&format!("{}/delete-batch", documents_path(CITIES)), &json!(ids)));
        }
    }

    fn ids(&self) -> BTreeSet<String> {
        self.put.iter().map(id_of).chain(self.deleted.iter().map(Value::to_string)).collect()
    }

    fn applied(&self, cities: &[Value]) -> Vec<Value> {
        let ids = self.ids();
        let kept = cities.iter().filter(|city| !ids.contains(&id_of(city)));
        kept.chain(&self.put).cloned().collect()
    }
}
