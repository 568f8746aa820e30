//! A large upload: the dictionary whole, until its last task has succeeded.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::parts::Effort;
use crate::process::Meter;
use crate::report::{Figure, Section, Spread};
use crate::sets::{add, create, dictionary_settings, entries, whole_dictionary};
use crate::support::{Client, Fleet, Single, corpus};
use crate::turns::{fleet, settled, settled_cluster, succeeded, task_of};

/// Documents of one body. The next one is sent as soon as this one is accepted.
const CHUNK: usize = 20_000;

/// Between two looks at a task: each costs the gateway something, too, and is counted.
const LOOK: Duration = Duration::from_millis(250);

/// What an upload took.
struct Took {
    seconds: f64,
    /// Milliseconds of the process that was asked, until all was accepted and until the last task had succeeded.
    cpu: [f64; 2],
}

/// An upload of a round goes to an index of its own.
fn uid(round: usize) -> String {
    format!("dictionary-{round}")
}

pub fn measure(effort: Effort) -> Vec<Section> {
    let Some(mut documents) = whole_dictionary() else {
        println!("load: left out, MIROIR_BENCH_DICTIONARY names no file");
        return Vec::new();
    };
    if effort.is_short
        && let Some(entries) = entries()
    {
        documents.truncate(entries);
    }
    let bodies: Vec<Vec<u8>> = documents.chunks(CHUNK).map(corpus::ndjson).collect();
    let bytes = bodies.iter().map(Vec::len).sum::<usize>() as f64;
    // A third of each body for each of three.
    let thirds = [0, 1, 2].map(|third| {
        let of_third =
            |chunk: &[Value]| corpus::ndjson(&chunk.iter().skip(third).step_by(3).cloned().collect::<Vec<_>>());
        documents.chunks(CHUNK).map(of_third).collect::<Vec<Vec<u8>>>()
    });
    let (single, fleet) = (Single::start(), fleet(1, false));
    let three = [Single::start(), Single::start(), Single::start()];
    let [mut ratio, mut one, mut all, mut direct]: [Spread; 4] = Default::default();
    let mut gateway = [Spread::default(), Spread::default()];
    for round in 0..effort.writes {
        let mut walls = [0.0; 2];
        for turn in 0..2 {
            let side = (turn + round) % 2;
            let (client, pid) =
                if side == 0 { (&single.client, single.pid()) } else { (&fleet.client, fleet.gateway().pid()) };
            let took = upload(client, pid, &uid(round), &bodies);
            walls[side] = took.seconds;
            if side == 1 {
                let per_100_mb = took.cpu.map(|cpu| cpu / 1e3 / (bytes / 1e8));
                gateway.iter_mut().zip(per_100_mb).for_each(|(spread, seconds)| spread.add(seconds));
            }
            forget(&single, &fleet, side, &uid(round));
        }
        let start = Instant::now();
        std::thread::scope(|scope| {
            for (single, bodies) in three.iter().zip(&thirds) {
                scope.spawn(move || upload(&single.client, single.pid(), &uid(round), bodies));
            }
        });
        direct.add(start.elapsed().as_secs_f64() / walls[0]);
        for single in &three {
            single.client.done(&single.client.delete(&format!("/indexes/{}", uid(round))));
        }
        settled(&three.each_ref().map(|single| &single.client));
        ratio.add(walls[1] / walls[0]);
        one.add(walls[0]);
        all.add(walls[1]);
    }
    let [accepted, whole] = gateway;
    let mut section = Section::new(format!(
        "Loading {} entries of the dictionary, {:.1} MB in bodies of {CHUNK}: 3 nodes, replication factor 1",
        documents.len(),
        bytes / 1e6
    ));
    section.add(Figure::new("cluster : one node, time until the last task has succeeded".into(), ratio, "", Some(0.8)));
    let what = "three nodes without a gateway, a third to each : one node, time";
    section.add(Figure::new(what.into(), direct, "", None));
    section.add(Figure::new("the cluster's time".into(), all, "s", None));
    section.add(Figure::new("one node's time".into(), one, "s", None));
    let what = "gateway's CPU per 100 MB, until the last task has succeeded";
    section.add(Figure::new(what.into(), whole, "s", Some(0.3)));
    section.add(Figure::new("gateway's CPU per 100 MB, until all was accepted".into(), accepted, "s", None));
    vec![section]
}

/// Sends `bodies`, and waits until the last task has succeeded.
fn upload(client: &Client, pid: u32, uid: &str, bodies: &[Vec<u8>]) -> Took {
    create(client, uid, &dictionary_settings());
    let (meter, start) = (Meter::start(&[pid]), Instant::now());
    let tasks: Vec<String> = bodies.iter().map(|body| task_of(&add(client, uid, body))).collect();
    let accepted = meter.stop()[0];
    tasks.iter().for_each(|task| succeeded(client, task, LOOK));
    let took = Took { seconds: start.elapsed().as_secs_f64(), cpu: [accepted, meter.stop()[0]] };
    let held: Value = client.get(&format!("/indexes/{uid}/stats")).ok();
    assert!(held["numberOfDocuments"].as_u64() > Some(0), "{held}");
    took
}

/// Deletes what was loaded, and waits until nobody works any more.
fn forget(single: &Single, fleet: &Fleet, side: usize, uid: &str) {
    let client = [&single.client, &fleet.client][side];
    if side == 1 {
        settled_cluster(fleet);
    }
    client.done(&client.delete(&format!("/indexes/{uid}")));
    settled(&[client]);
}
