//! A state on PostgreSQL, and gateways that want to lead on it. The server is the tests' own.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::{Client, eventually, pause, within};
use crate::support::corpus::cities;
use crate::support::fleet::MIROIR;
use crate::support::parity::load;
use crate::support::postgres::Postgres;
use crate::support::process::{Process, free_port};
use crate::support::{Fleet, FleetOptions};

/// A lease, a take-over, and what a busy machine adds.
const TAKE_OVER: Duration = Duration::from_secs(60);

fn fleet(server: &Postgres) -> Fleet {
    Fleet::with(FleetOptions {
        state: Some(server.database()),
        more: "gateway: { id: gw-a }\ntasks: { uid_format: integer }\n".to_owned(),
        ..Default::default()
    })
}

/// Another gateway of the fleet, with ports of its own.
fn second(fleet: &Fleet, when_led: &str) -> (Process, Client) {
    let text = std::fs::read_to_string(&fleet.config).expect("the first one's configuration");
    let port = free_port();
    let mut config = String::new();
    for line in text.lines() {
        let own = match line.split_once(": ") {
            Some(("listen", _)) => format!("listen: 127.0.0.1:{port}"),
            Some((key @ ("admin" | "metrics"), _)) => format!("{key}: 127.0.0.1:{}", free_port()),
            Some(("gateway", _)) => format!("gateway: {{ id: gw-b, when_led: {when_led} }}"),
            _ => line.to_owned(),
        };
        config += &own;
        config.push('\n');
    }
    let path = fleet.folder().join("second.yaml");
    std::fs::write(&path, config).expect("a configuration");
    let process = Process::start("second", fleet.folder(), MIROIR, &["serve", "--config", &path.to_string_lossy()]);
    (process, Client::new(&format!("http://127.0.0.1:{port}")))
}

fn leads(client: &Client) {
    within(TAKE_OVER, "the second gateway leads", || {
        client.try_send("GET", "/indexes/cities/stats", &[], b"").ok().filter(|reply| reply.status == 200).map(|_| ())
    });
}

#[test]
fn a_gateway_on_postgres_searches_writes_and_forgets_nothing_when_it_is_killed() {
    let server = Postgres::start();
    let mut fleet = fleet(&server);
    let documents = cities(300);
    load(&fleet.client, "cities", &documents);
    let lease = &fleet.admin.get("/leader").ok()["lease"];
    assert_eq!((lease["epoch"].as_i64(), lease["good"].as_bool()), (Some(1), Some(true)));
    let tasks = fleet.client.get("/tasks?limit=1000").ok();
    let held = fleet.client.documents("cities");
    fleet.kill_gateway();
    fleet.start_gateway();
    assert_eq!(fleet.admin.get("/leader").ok()["lease"]["epoch"], 2);
    assert_eq!(fleet.client.get("/tasks?limit=1000").ok(), tasks);
    assert_eq!(fleet.client.documents("cities"), held);
    assert_eq!(
        fleet.client.search("cities", &json!({ "q": "", "limit": 1000 }))["hits"].as_array().map(Vec::len),
        Some(300)
    );
    // The uids go on where they were.
    let last = tasks["results"][0]["uid"].as_u64().expect("a uid");
    let next = fleet.client.add("cities", &json!([{ "id": 40_000_000, "name": "the newest" }]));
    assert!(next["uid"].as_u64().expect("a uid") > last, "{next}");
}

#[test]
fn a_second_gateway_is_refused_by_name_and_one_that_is_stopped_makes_room_at_once() {
    let server = Postgres::start();
    let mut fleet = fleet(&server);
    load(&fleet.client, "cities", &cities(50));
    let (mut refused, _) = second(&fleet, "refuse");
    let status = eventually("the second gateway ends", || refused.exited());
    assert!(!status.success() && refused.log().contains("`gw-a` leads"), "{}", refused.log());
    fleet.client.add("cities", &json!([{ "id": 40_000_000, "name": "the newest" }]));

    let (_waiting, client) = second(&fleet, "wait");
    eventually("it waits", || server_sees(&fleet, "gw-b").then_some(()));
    assert!(client.try_send("GET", "/health", &[], b"").is_err(), "who waits answers nothing");
    fleet.gateway().signal("TERM");
    leads(&client);
    assert_eq!(client.search("cities", &json!({ "q": "newest" }))["hits"][0]["id"], 40_000_000);
    client.add("cities", &json!([{ "id": 40_000_001, "name": "by the second" }]));
    fleet.gateway.take();
}

fn server_sees(fleet: &Fleet, gateway: &str) -> bool {
    let leader = fleet.admin.get("/leader").ok();
    leader["lease"]["gateways"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == gateway))
}

#[test]
fn a_frozen_leader_acknowledges_nothing_after_another_took_over() {
    let server = Postgres::start();
    let mut fleet = fleet(&server);
    load(&fleet.client, "cities", &cities(50));
    let (_second, client) = second(&fleet, "wait");
    eventually("it waits", || server_sees(&fleet, "gw-b").then_some(()));
    fleet.gateway().signal("STOP");
    // It is in the socket of the frozen one, which reads it when it wakes.
    let asked = {
        let old = fleet.client.clone();
        let body = json!([{ "id": 40_000_000, "name": "to the frozen one" }]).to_string();
        std::thread::spawn(move || {
            let json = [("content-type", "application/json")];
            old.try_send("POST", "/indexes/cities/documents", &json, body.as_bytes())
        })
    };
    leads(&client);
    client.add("cities", &json!([{ "id": 40_000_001, "name": "by the second" }]));
    fleet.gateway().signal("CONT");
    let answer = asked.join().expect("an answer or none");
    assert!(answer.as_ref().map_or(true, |reply| reply.status != 202), "{:?}", answer.map(|reply| reply.text));
    let gateway = fleet.gateway.as_mut().expect("the first one's process");
    let status = eventually("the first one ends", || gateway.exited());
    assert_eq!(status.code(), Some(75), "{}", gateway.log());
    assert!(gateway.log().contains("another gateway leads since epoch 2"), "{}", gateway.log());
    let hits = client.search("cities", &json!({ "q": "frozen" }));
    assert_eq!(hits["hits"], json!([]), "what was not acknowledged is not there");
    fleet.gateway.take();
}

#[test]
fn a_database_that_is_away_costs_no_search() {
    let mut server = Postgres::start();
    let fleet = fleet(&server);
    load(&fleet.client, "cities", &cities(50));
    server.stop();
    let begun = Instant::now();
    let write = fleet.client.post("/indexes/cities/documents", &json!([{ "id": 1, "name": "not now" }]));
    assert_eq!((write.status, write.value()["code"].as_str()), (503, Some("miroir_state_unavailable")));
    // Past the end of the lease, too: nobody else has been seen.
    while begun.elapsed() < Duration::from_secs(14) {
        assert_eq!(
            fleet.client.search("cities", &json!({ "q": "", "limit": 1 }))["hits"].as_array().map(Vec::len),
            Some(1)
        );
        pause(Duration::from_millis(200));
    }
    assert_eq!(fleet.admin.get("/leader").ok()["lease"]["good"], false);
    server.restart();
    fleet.client.add("cities", &json!([{ "id": 40_000_000, "name": "again" }]));
    eventually("the lease is renewed", || (fleet.admin.get("/leader").ok()["lease"]["good"] == true).then_some(()));
}
