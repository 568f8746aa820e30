//! Planned restarts: nodes leave and return under traffic, and no client notices.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::overload::{replicas_are_equal, settled};
use crate::support::client::{eventually, more, pause};
use crate::support::corpus::cities;
use crate::support::parity::load;
use crate::support::stop::StopOnDrop;
use crate::support::{Client, Fleet, FleetOptions};

/// `miroir node maintenance ...`, as an operator says it.
pub fn operator(fleet: &Fleet, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_miroir"))
        .args(["node", "maintenance", "--admin", &fleet.admin.url])
        .args(arguments)
        .output()
        .expect("the program runs")
}

/// What it printed; it must have succeeded.
pub fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Has clients search and write while `work` is done, which is told how many searches they have begun. Insists that no request failed; how many
/// documents were written, from 20000000 on.
pub fn under_traffic(client: &Client, work: impl FnOnce(&AtomicUsize)) -> usize {
    let (stop, searches, next) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicU64::new(20_000_000));
    let failed = parking_lot::Mutex::new(Vec::<String>::new());
    std::thread::scope(|scope| {
        let ending = StopOnDrop(&stop);
        let (stop, searches, next, failed, client) = (&stop, &searches, &next, &failed, client);
        for reader in 0..6 {
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let words = ["san", "paris", "new", "a", ""][reader % 5];
                    let query = json!({"q": words, "limit": 10});
                    let n = searches.fetch_add(1, Ordering::Relaxed);
                    let reply = match n % 10 {
                        0 => client.try_send("GET", "/indexes/cities/stats", &[], b""),
                        1 => client.try_send("GET", "/indexes", &[], b""),
                        _ => client.try_send(
                            "POST",
                            "/indexes/cities/search",
                            &[("Content-Type", "application/json")],
                            query.to_string().as_bytes(),
                        ),
                    };
                    match reply {
                        Ok(reply) if reply.status == 200 && reply.header("x-miroir-degraded").is_none() => {}
                        other => failed.lock().push(format!("{other:?}")),
                    }
                }
            });
        }
        for _ in 0..3 {
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    let body = json!([{"id": id, "name": "written meanwhile"}]).to_string();
                    let headers = [("Content-Type", "application/json")];
                    match client.try_send("POST", "/indexes/cities/documents", &headers, body.as_bytes()) {
                        Ok(reply) if reply.status == 202 => {}
                        other => failed.lock().push(format!("{other:?}")),
                    }
                    pause(Duration::from_millis(15));
                }
            });
        }
        work(searches);
        more(searches, 40);
        drop(ending);
    });
    let failed = failed.into_inner();
    assert!(failed.is_empty(), "{} requests failed, the first: {}", failed.len(), failed[0]);
    assert!(searches.into_inner() > 100);
    let written = (next.into_inner() - 20_000_000) as usize;
    assert!(written > 30, "{written} writes");
    written
}

#[test]
fn all_nodes_are_restarted_one_after_the_other_without_a_failed_request() {
    let documents = cities(800);
    let mut fleet = Fleet::start();
    load(&fleet.client, "cities", &documents);
    let client = fleet.client.clone();
    let written = under_traffic(&client, |searches| {
        for at in 0..fleet.nodes.len() {
            let name = fleet.nodes[at].name.clone();
            assert_eq!(
                said(&operator(&fleet, &[&name])),
                format!("{name} is in maintenance and idle: it can be stopped")
            );
            fleet.nodes[at].kill();
            more(searches, 60);
            fleet.nodes[at].restart();
            more(searches, 40);
            fleet.await_state(&name, "maintenance");
            said(&operator(&fleet, &["--end", &name]));
            settled(&fleet);
        }
    });
    fleet.client.done(&fleet.client.delete("/indexes/cities/documents/20000000"));
    settled(&fleet);
    replicas_are_equal(&fleet, "cities", 2, documents.len() + written - 1);
}

#[test]
fn a_node_whose_shards_need_it_is_not_taken_out_of_service() {
    let mut fleet = Fleet::with(FleetOptions { nodes: 2, ..Default::default() });
    fleet.client.add("kept", &json!([{"id": 1}]));
    assert_eq!(fleet.admin.post("/nodes/node-9/maintenance", &Value::Null).status, 404);
    said(&operator(&fleet, &["node-0"]));
    let refused = fleet.admin.post("/nodes/node-1/maintenance", &Value::Null);
    assert_eq!((refused.status, &refused.value()["code"]), (409, &json!("miroir_no_replica")), "{}", refused.text);
    let output = operator(&fleet, &["node-1"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("would have fewer than 1 other replicas"));

    // The operator's word outlives the gateway, and the node's own good health.
    fleet.kill_gateway();
    fleet.spawn_gateway();
    eventually("the gateway is ready", || {
        fleet.admin.try_send("GET", "/ready", &[], b"").ok().filter(|reply| reply.status == 200).map(|_| ())
    });
    fleet.await_state("node-1", "up");
    fleet.await_state("node-0", "maintenance");
    fleet.client.add("kept", &json!([{"id": 2}]));
    fleet.rounds("health", 10);
    fleet.await_state("node-0", "maintenance");
    said(&operator(&fleet, &["node-0", "--end"]));
    settled(&fleet);
    replicas_are_equal(&fleet, "kept", 2, 2);
    fleet.admin.post("/nodes/node-1/maintenance?force=true", &Value::Null).ok();
    fleet.admin.delete("/nodes/node-1/maintenance").ok();
    settled(&fleet);
}
