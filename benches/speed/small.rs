//! Many writes of one document each, as fast as a few clients can, until the last task has succeeded.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::parts::Effort;
use crate::process::Meter;
use crate::report::{Figure, Section, Spread};
use crate::sets::{Set, create};
use crate::support::{Client, Single};
use crate::turns::{fleet, settled, settled_cluster, succeeded, task_of};

const CLIENTS: usize = 8;

/// Single-document writes to one index, in each round another one.
struct Writes<'a> {
    set: &'a Set,
    most: usize,
}

/// Seconds of a round.
struct Took {
    accepted: f64,
    succeeded: f64,
}

/// Of one side.
#[derive(Default)]
struct Spreads {
    accepted: Spread,
    succeeded: Spread,
    ratio: Spread,
    gateway: Spread,
}

pub fn measure(effort: Effort) -> Vec<Section> {
    let set = Set::cities();
    let writes = Writes { set: &set, most: effort.small };
    let (single, three) = (Single::start(), [Single::start(), Single::start(), Single::start()]);
    let three: Vec<&Client> = three.iter().map(|single| &single.client).collect();
    let fleets = [1, 2].map(|replication_factor| fleet(replication_factor, false));
    let mut section = Section::new(format!("{} writes of one document, {CLIENTS} clients, 3 nodes", effort.small));
    let (mut one, mut direct) = (Spreads::default(), Spreads::default());
    let mut clusters = [Spreads::default(), Spreads::default()];
    for round in 0..effort.writes {
        let uid = format!("small-{round}");
        let of_one = writes.time(&[&single.client], &uid);
        settled(&[&single.client]);
        let of_three = writes.time(&three, &uid);
        settled(&three);
        direct.ratio.add(of_three.succeeded / of_one.succeeded);
        direct.add(&of_three);
        for (fleet, spreads) in fleets.iter().zip(&mut clusters) {
            let meter = Meter::start(&[fleet.gateway().pid()]);
            let of_all = writes.time(&[&fleet.client], &uid);
            spreads.gateway.add(meter.stop()[0] / effort.small as f64);
            settled_cluster(fleet);
            spreads.ratio.add(of_all.succeeded / of_one.succeeded);
            spreads.add(&of_all);
        }
        one.add(&of_one);
    }
    for (replication_factor, spreads) in (1..).zip(clusters) {
        let name = format!("replication factor {replication_factor}");
        let what = format!("{name} : one node, time until the last task has succeeded");
        section.add(Figure::new(what, spreads.ratio, "", Some(1.0)));
        section.add(Figure::new(format!("{name}, time"), spreads.succeeded, "s", None));
        section.add(Figure::new(format!("{name}, time until all were accepted"), spreads.accepted, "s", None));
        section.add(Figure::new(format!("{name}, gateway's CPU a write"), spreads.gateway, "ms", None));
    }
    let what = "three nodes without a gateway, each document to one of them : one node, time until the last task has succeeded";
    section.add(Figure::new(what.into(), direct.ratio, "", None));
    section.add(Figure::new(
        "three nodes without a gateway, time until all were accepted".into(),
        direct.accepted,
        "s",
        None,
    ));
    section.add(Figure::new("one node, time".into(), one.succeeded, "s", None));
    section.add(Figure::new("one node, time until all were accepted".into(), one.accepted, "s", None));
    vec![section]
}

// === impl Spreads ===

impl Spreads {
    fn add(&mut self, took: &Took) {
        self.accepted.add(took.accepted);
        self.succeeded.add(took.succeeded);
    }
}

// === impl Writes ===

impl Writes<'_> {
    /// Writes to all of `clients` in turn.
    fn time(&self, clients: &[&Client], uid: &str) -> Took {
        clients.iter().for_each(|client| create(client, uid, &self.set.settings));
        let start = Instant::now();
        let last: Vec<(&Client, String)> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..CLIENTS).map(|at| scope.spawn(move || self.write(at, clients, uid))).collect();
            writers.into_iter().flat_map(|writer| writer.join().expect("a client that writes")).collect()
        });
        let accepted = start.elapsed().as_secs_f64();
        // An index's tasks end in their order: behind the last ones of each client is none.
        last.iter().for_each(|(client, task)| succeeded(client, task, Duration::ZERO));
        let took = Took { accepted, succeeded: start.elapsed().as_secs_f64() };
        for client in clients {
            let path = format!("/tasks?indexUids={uid}&statuses=enqueued,processing,failed&limit=1");
            let others = client.get(&path).ok();
            assert_eq!(others["total"], 0, "{others}");
        }
        took
    }

    /// Every so many-th document; the last task of each of `clients`.
    fn write<'c>(&self, at: usize, clients: &[&'c Client], uid: &str) -> Vec<(&'c Client, String)> {
        let path = format!("/indexes/{uid}/documents");
        let own = self.set.documents.iter().cycle().take(self.most).skip(at).step_by(CLIENTS);
        let written = own.enumerate().map(|(count, document)| {
            let client = clients[count % clients.len()];
            (client, task_of(&client.post(&path, &json!([document]))))
        });
        let written: Vec<_> = written.collect();
        written[written.len().saturating_sub(clients.len())..].to_vec()
    }
}
