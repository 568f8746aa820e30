//! Gateways and nodes are restarted one after the other under clients that use all gateways, and none of them notices.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::maintenance::{operator, said};
use crate::overload::settled;
use crate::support::balancer::Balancer;
use crate::support::client::{eventually, more, pause, within};
use crate::support::corpus::cities;
use crate::support::gateways::Gateways;
use crate::support::parity::load;
use crate::support::stop::StopOnDrop;
use crate::support::{Fleet, FleetOptions};

const SEARCHERS: usize = 16;
const WRITERS: u64 = 4;
const FIRST: u64 = 20_000_000;

/// What clients did meanwhile.
#[derive(Default)]
struct Done {
    searches: AtomicUsize,
    next: AtomicU64,
    tasks: Mutex<Vec<String>>,
    failed: Mutex<Vec<String>>,
}

// === impl Done ===

impl Done {
    fn search(&self, balancer: &Balancer, n: usize) {
        let words = ["san", "paris", "new", "a", ""][n % 5];
        let body = json!({"q": words, "limit": 10}).to_string();
        match balancer.send("POST", "/indexes/cities/search", body.as_bytes()) {
            Ok(reply) if reply.status == 200 && reply.header("x-miroir-degraded").is_none() => {}
            other => self.failed.lock().push(format!("{other:?}")),
        }
        self.searches.fetch_add(1, Ordering::Relaxed);
        pause(Duration::from_millis(20));
    }

    fn write(&self, balancer: &Balancer) {
        let id = FIRST + self.next.fetch_add(1, Ordering::Relaxed);
        let body = json!([{"id": id, "name": "written meanwhile"}]).to_string();
        match balancer.send("POST", "/indexes/cities/documents", body.as_bytes()) {
            Ok(reply) if reply.status == 202 => {
                self.tasks.lock().push(reply.value()["taskUid"].to_string().replace('"', ""));
            }
            other => self.failed.lock().push(format!("{other:?}")),
        }
        pause(Duration::from_millis(30));
    }
}

/// Has a gateway end as an operator does, and starts it again.
fn restart_gateway(gateways: &mut Gateways, place: usize) {
    gateways.process(place).signal("TERM");
    let process = gateways.process(place);
    within(Duration::from_secs(30), "it ends", || process.exited());
    gateways.restart(place);
}

#[test]
fn gateways_and_nodes_are_restarted_one_after_the_other_without_a_failed_request() {
    let mut gateways = Gateways::start_with(3, FleetOptions::default(), ", drain: 1s");
    load(&gateways.fleet.client, "cities", &cities(500));
    let pairs = gateways.clients().into_iter().enumerate();
    let balancer = Balancer::new(pairs.map(|(place, client)| (client, gateways.admin(place).clone())));
    let (done, stop) = (Done::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _ending = StopOnDrop(&stop);
        let (balancer, done, stop) = (&balancer, &done, &stop);
        scope.spawn(move || balancer.watch(stop));
        for reader in 0..SEARCHERS {
            scope.spawn(move || {
                (reader..).take_while(|_| !stop.load(Ordering::Relaxed)).for_each(|n| done.search(balancer, n));
            });
        }
        for _ in 0..WRITERS {
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    done.write(balancer);
                }
            });
        }
        more(&done.searches, 60);
        // The first one leads: each of the three leads, and is followed.
        for place in 0..3 {
            restart_gateway(&mut gateways, place);
            more(&done.searches, 60);
            let name = gateways.fleet.nodes[place].name.clone();
            said(&operator(&gateways.fleet, &[&name]));
            gateways.fleet.nodes[place].kill();
            more(&done.searches, 60);
            gateways.fleet.nodes[place].restart();
            more(&done.searches, 40);
            gateways.fleet.await_state(&name, "maintenance");
            said(&operator(&gateways.fleet, &["--end", &name]));
            settled(&gateways.fleet);
        }
        more(&done.searches, 60);
    });
    let failed = done.failed.into_inner();
    assert!(failed.is_empty(), "{} requests failed, the first: {}", failed.len(), failed[0]);
    let (tasks, searches) = (done.tasks.into_inner(), done.searches.into_inner());
    println!(
        "{searches} searches and {} writes, {} turned to another gateway",
        tasks.len(),
        balancer.turned.into_inner()
    );
    assert!(tasks.len() > 100 && searches > 500, "{} writes, {searches} searches", tasks.len());
    let client = &gateways.fleet.client;
    for task in &tasks {
        assert_eq!(client.wait_id(task)["status"], "succeeded", "{task}");
    }
    let held: BTreeSet<u64> = client.documents("cities").keys().filter_map(|id| id.parse().ok()).collect();
    let written = FIRST..FIRST + done.next.into_inner();
    assert_eq!(held.iter().filter(|id| **id >= FIRST).count(), tasks.len());
    assert!(written.clone().all(|id| held.contains(&id)));
}

#[test]
fn a_gateway_that_is_told_to_end_says_so_first_and_answers_meanwhile() {
    let more = "gateway: { drain: 3s }\n".to_owned();
    let mut fleet = Fleet::with(FleetOptions { more, ..Default::default() });
    load(&fleet.client, "cities", &cities(50));
    assert_eq!(fleet.admin.get("/ready").status, 200);
    let query = json!({"q": "", "limit": 1});
    assert_ne!(fleet.client.post("/indexes/cities/search", &query).header("connection"), Some("close"));
    fleet.gateway().signal("TERM");
    let said: Value = eventually("it is not ready", || {
        let reply = fleet.admin.try_send("GET", "/ready", &[], b"").ok()?;
        (reply.status == 503).then(|| reply.value())
    });
    assert_eq!(said["reason"], "this gateway is about to end");
    let found = fleet.client.post("/indexes/cities/search", &query);
    assert_eq!((found.status, found.header("connection")), (200, Some("close")), "{}", found.text);
    fleet.client.add("cities", &json!([{"id": 40_000_000, "name": "the last"}]));
    assert_eq!(fleet.client.get("/health").status, 200);
    let gateway = fleet.gateway.as_mut().expect("the gateway");
    assert_eq!(eventually("it ends", || gateway.exited()).code(), Some(0), "{}", gateway.log());

    // Told twice it does not wait.
    let config = std::fs::read_to_string(&fleet.config).expect("a configuration");
    std::fs::write(&fleet.config, config.replace("drain: 3s", "drain: 10m")).expect("a file");
    fleet.start_gateway();
    fleet.gateway().signal("TERM");
    eventually("it is not ready", || {
        fleet.admin.try_send("GET", "/ready", &[], b"").ok().filter(|reply| reply.status == 503)
    });
    fleet.gateway().signal("INT");
    let gateway = fleet.gateway.as_mut().expect("the gateway");
    eventually("it ends", || gateway.exited());
}
