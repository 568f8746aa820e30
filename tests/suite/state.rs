//! A single gateway's state is moved to a PostgreSQL server and back.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::client::eventually;
use crate::support::corpus::cities;
use crate::support::fleet::MIROIR;
use crate::support::parity::load;
use crate::support::postgres::Postgres;
use crate::support::{Fleet, FleetOptions};

const MASTER: &str = "a-master-key-of-tests";

fn move_state(from: &str, to: &str) -> Output {
    Command::new(MIROIR).args(["state", "move", "--from", from, "--to", to]).output().expect("the program runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Stops the gateway as an operator does.
fn stop(fleet: &mut Fleet) {
    let mut gateway = fleet.gateway.take().expect("a running gateway");
    gateway.signal("TERM");
    eventually("the gateway ends", || gateway.exited());
}

/// What the configuration names as the state.
fn serve_from(fleet: &mut Fleet, state: &str) {
    let text = std::fs::read_to_string(&fleet.config).expect("a configuration");
    let lines = text.lines().map(|line| match line.strip_prefix("state: ") {
        Some(_) => format!("state: {state}\n"),
        None => format!("{line}\n"),
    });
    std::fs::write(&fleet.config, lines.collect::<String>()).expect("a configuration");
    fleet.start_gateway();
}

/// What clients see.
fn answers(fleet: &Fleet, key: &Value) -> Vec<Value> {
    let client = &fleet.client;
    let mut all: Vec<Value> =
        ["/tasks?limit=500", "/keys", "/indexes/cities/settings", "/indexes/cities/documents?limit=50"]
            .iter()
            .map(|path| client.get(path).ok())
            .collect();
    let of_a_key = client.with_key(key["key"].as_str().expect("a key"));
    for query in [json!({"q": "san"}), json!({"filter": "population > 100000", "limit": 50})] {
        let mut found = of_a_key.search("cities", &query);
        found["processingTimeMs"] = Value::Null;
        found["requestUid"] = Value::Null;
        all.push(found);
    }
    all
}

#[test]
fn a_state_is_moved_to_a_server_and_back_and_clients_see_the_same() {
    let mut fleet = Fleet::with(FleetOptions { master_key: Some(MASTER), ..Default::default() });
    load(&fleet.client, "cities", &cities(300));
    let asked = json!({"name": "of a client", "actions": ["search"], "indexes": ["*"], "expiresAt": null});
    let key = fleet.client.post("/keys", &asked).ok();
    // One node misses a write: what is stale is part of the state.
    fleet.nodes[2].kill();
    let missed = fleet.client.post("/indexes/cities/documents", &json!([{"id": 40_000_000, "name": "san newest"}]));
    fleet.client.done(&missed);
    let before = answers(&fleet, &key);
    let file = format!("sqlite:{}", fleet.state().display());
    let server = Postgres::shared().database();

    let refused = move_state(&file, &server);
    assert!(!refused.status.success() && said(&refused).contains("in use"), "{}", said(&refused));
    stop(&mut fleet);
    let moved = move_state(&file, &server);
    assert!(moved.status.success() && said(&moved).contains("read and written are equal"), "{}", said(&moved));
    assert!(!fleet.state().exists());

    serve_from(&mut fleet, &server);
    assert_eq!(answers(&fleet, &key), before);
    let refused = move_state(&server, &file);
    assert!(!refused.status.success() && said(&refused).contains("leads"), "{}", said(&refused));
    // It goes on: the next task has the next uid, and the node that missed a write gets it.
    let written = fleet.client.post("/indexes/cities/documents", &json!([{"id": 40_000_001, "name": "san later"}]));
    fleet.client.done(&written);
    fleet.nodes[2].restart();
    fleet.await_state("node-2", "up");
    fleet.await_in_sync();
    fleet.equal_replicas("cities");
    let after = answers(&fleet, &key);
    assert_ne!(after, before);
    stop(&mut fleet);

    let moved = move_state(&server, &file);
    assert!(moved.status.success(), "{}", said(&moved));
    let tasks = after[0]["total"].as_u64().expect("a number");
    assert!(said(&moved).contains(&format!("tasks {tasks},")), "{}", said(&moved));
    serve_from(&mut fleet, &file);
    assert_eq!(answers(&fleet, &key), after);
    stop(&mut fleet);
    // The server has no state any more, and who would serve from there is told.
    let config = fleet.config.with_file_name("left.yaml");
    let text = std::fs::read_to_string(&fleet.config).expect("a configuration").replace(&file, &server);
    std::fs::write(&config, text).expect("a configuration");
    let output = Command::new(MIROIR).args(["serve", "--config"]).arg(&config).output().expect("the program runs");
    assert!(!output.status.success() && said(&output).contains("the state was moved to"), "{}", said(&output));
}
