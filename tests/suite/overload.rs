//! Slow nodes and floods: deadlines, bounds, and replicas that are equal again afterwards.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{eventually, holds_words, pause};
use crate::support::corpus::cities;
use crate::support::parity::load;
use crate::support::{Client, Fleet, FleetOptions};

/// The documents that `node` itself holds of an index, by id, hidden fields and all; without documents of words.
pub fn held(node: &Client, index: &str) -> BTreeMap<String, Value> {
    let path = format!("/indexes/{index}/documents/fetch");
    let page = node.post(&path, &json!({"limit": 100_000})).ok();
    let documents = page["results"].as_array().expect("results").iter().filter(|document| !holds_words(document));
    documents.map(|document| (document["id"].to_string(), document.clone())).collect()
}

/// Waits until no replica is stale and every node is up.
pub fn settled(fleet: &Fleet) {
    for node in &fleet.nodes {
        fleet.await_state(&node.name, "up");
    }
    eventually("every replica is in sync", || {
        let shards = fleet.admin.get("/shards").ok();
        let stale = shards["shards"].as_array()?.iter().any(|shard| shard["stale"] != json!([]));
        (!stale).then_some(())
    });
}

/// Insists that each document is on as many nodes as there are replicas, the same on all of them, and that there are
/// `expected` of them.
pub fn replicas_are_equal(fleet: &Fleet, index: &str, replicas: usize, expected: usize) {
    let mut copies: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for node in &fleet.nodes {
        for (id, document) in held(&node.client, index) {
            copies.entry(id).or_default().push(document);
        }
    }
    assert_eq!(copies.len(), expected);
    for (id, copies) in copies {
        assert_eq!(copies.len(), replicas, "copies of document {id}");
        assert!(copies.windows(2).all(|pair| pair[0] == pair[1]), "{copies:?}");
    }
}

pub fn metric(fleet: &Fleet, line: &str) -> f64 {
    let text = fleet.metrics.get("/metrics").text;
    let value = text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no metric {line} in\n{text}"))
}

#[test]
fn a_node_that_hangs_stalls_neither_writes_nor_searches_and_is_equal_afterwards() {
    let documents = cities(1000);
    let mut fleet = Fleet::with(FleetOptions {
        // Probes would find out much later than the traffic does.
        more: "health: { interval: 1s, timeout: 10s, rise: 1, fall: 30 }\n\
               write: { slow_after: 1s }\nsearch: { attempt_timeout: 300ms }\n"
            .to_owned(),
        proxied: true,
        ..Default::default()
    });
    load(&fleet.client, "cities", &documents);
    fleet.nodes[1].signal("STOP");

    // Waiting for `search.timeout`, `limits.forward_timeout` or `write.timeout`, 30 s and more, is too long for this client.
    let client = Client::with_limit(&fleet.client.url, Duration::from_secs(20));
    // Searches at once: the first wait for their attempt's time, later ones leave the node alone.
    let asked = |path: &str| fleet.nodes[1].proxy.as_ref().expect("a proxy").asked(path);
    let before = asked("/search");
    for n in 0..30 {
        let reply = client.post("/indexes/cities/search", &json!({"q": format!("san {n}"), "limit": 5}));
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert!(reply.header("x-miroir-degraded").is_none(), "a search lacked shards");
    }
    let times = asked("/search") - before;
    assert!((1..=12).contains(&times), "the node was asked {times} times for 30 searches");
    assert_eq!(metric(&fleet, "miroir_node_circuit{node=\"node-1\"}"), 2.0);
    // What one node answers for all is asked of another as well.
    for path in ["/indexes", "/version", "/indexes/cities/settings", "/indexes/cities/stats", "/stats"] {
        let before = asked(path);
        assert_eq!(client.get(path).status, 200, "{path}");
        // Once by what watches over the nodes, besides.
        let times = asked(path) - before;
        assert!(times <= 2, "the node was asked {times} times for {path}");
    }

    // Writes: the first waits for its deadline, and then the node is down for all of them.
    let slow = || metric(&fleet, "miroir_slow_writes_total{node=\"node-1\"}");
    let before = slow();
    let batch = |from: u64| -> Vec<Value> { (from..from + 200).map(|id| json!({"id": id, "name": "new"})).collect() };
    let reply = client.post("/indexes/cities/documents", &json!(batch(9_000_000)));
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert_eq!(slow() - before, 1.0, "the write waited for its deadline");
    fleet.await_state("node-1", "down");
    for n in 1..5 {
        let reply = client.post("/indexes/cities/documents", &json!(batch(9_000_000 + n * 200)));
        assert_eq!(reply.status, 202, "{}", reply.text);
    }
    let reply = client.delete("/indexes/cities/documents/9000001");
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert_eq!(slow() - before, 1.0, "no write waits for a node that is down");
    // Tasks end although one node cannot be asked.
    fleet.client.done(&reply);
    assert!(metric(&fleet, "miroir_stale_replicas{node=\"node-1\"}") > 0.0);

    fleet.nodes[1].signal("CONT");
    settled(&fleet);
    replicas_are_equal(&fleet, "cities", 2, documents.len() + 999);
    fleet.kill_gateway();
}

#[test]
fn what_one_node_answers_for_all_is_asked_of_the_next_where_the_first_hangs() {
    let fleet = Fleet::with(FleetOptions {
        nodes: 2,
        more: "health: { interval: 1s, timeout: 10s, rise: 1, fall: 30 }\nsearch: { attempt_timeout: 300ms }\n"
            .to_owned(),
        proxied: true,
        ..Default::default()
    });
    fleet.nodes[0].signal("STOP");
    // To wait for `limits.forward_timeout`, 30 s, is too long for this client.
    let client = Client::with_limit(&fleet.client.url, Duration::from_secs(20));
    let asked = |path: &str| fleet.nodes[0].proxy.as_ref().expect("a proxy").asked(path);
    let before = asked("/version");
    assert_eq!(client.get("/version").status, 200);
    assert!(asked("/version") > before, "the node that hangs was asked first");
    fleet.nodes[0].signal("CONT");
}

#[test]
fn a_node_that_hangs_does_not_hold_up_a_flood_of_writes() {
    let fleet = Fleet::with(FleetOptions {
        more: "health: { interval: 200ms, timeout: 5s, rise: 1, fall: 30 }\nwrite: { slow_after: 2s }\n".to_owned(),
        ..Default::default()
    });
    fleet.client.add("kept", &json!([{"id": 1, "n": 0}]));
    fleet.nodes[0].signal("STOP");
    // To wait for `write.timeout`, 30 s, is too long for this client.
    let limited = Client::with_limit(&fleet.client.url, Duration::from_secs(20));
    let acknowledged = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for writer in 0..16u64 {
            let (client, acknowledged) = (&limited, &acknowledged);
            scope.spawn(move || {
                for n in 0..10u64 {
                    let id = 100 + writer * 10 + n;
                    let reply = client.post("/indexes/kept/documents", &json!([{"id": id, "n": n}]));
                    assert_eq!(reply.status, 202, "{}", reply.text);
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(acknowledged.into_inner(), 160);
    // Those that were under way when the first had waited for its deadline: one of each writer, and one that came meanwhile.
    let slow = metric(&fleet, "miroir_slow_writes_total{node=\"node-0\"}");
    assert!((1.0..=32.0).contains(&slow), "{slow} of 160 writes waited for the node that hangs");
    fleet.nodes[0].signal("CONT");
    settled(&fleet);
    replicas_are_equal(&fleet, "kept", 2, 161);
}

#[test]
fn what_is_over_a_bound_is_turned_away_early_and_comes_again() {
    let fleet = Fleet::with(FleetOptions {
        more: "overload: { requests: 8, index_writes: 2, spooled: 1MiB }\n".to_owned(),
        ..Default::default()
    });
    load(&fleet.client, "cities", &cities(300));

    // A body that the spools cannot hold.
    let large: Vec<Value> = (0..2000).map(|id| json!({"id": id, "text": "x".repeat(1000)})).collect();
    let reply = fleet.client.post("/indexes/large/documents", &json!(large));
    assert_eq!((reply.status, &reply.value()["code"]), (503, &json!("miroir_overloaded")), "{}", reply.text);
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(fleet.client.get("/indexes/large").status, 404, "nothing of a refused write is left");

    // More requests than may be under way, from clients that come again when they are told to.
    let turned_away = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..24u64)
            .map(|worker| {
                let (client, turned_away) = (&fleet.client, &turned_away);
                scope.spawn(move || {
                    for n in 0..8u64 {
                        let document = json!([{"id": 10_000 + worker * 8 + n, "name": "flood"}]);
                        loop {
                            let reply = client.post("/indexes/cities/documents", &document);
                            if reply.status == 202 {
                                break;
                            }
                            assert_eq!(reply.value()["code"], "miroir_overloaded", "{}", reply.text);
                            assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
                            turned_away.fetch_add(1, Ordering::Relaxed);
                            pause(Duration::from_millis(50));
                        }
                    }
                })
            })
            .collect();
        // The gateway says that it lives whatever else it has to do.
        let health = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(fleet.client.get("/health").status, 200);
                pause(Duration::from_millis(20));
            }
        });
        for worker in workers {
            worker.join().expect("no panic");
        }
        done.store(true, Ordering::Relaxed);
        health.join().expect("no panic");
    });
    assert!(turned_away.into_inner() > 0, "nothing was turned away");
    let rejected = |reason| metric(&fleet, &format!("miroir_rejected_total{{reason=\"{reason}\"}}"));
    assert!(rejected("requests") + rejected("writes") > 0.0);
    assert_eq!(rejected("spools"), 1.0);
    eventually("all bodies are with the nodes", || (metric(&fleet, "miroir_spooled_bytes") == 0.0).then_some(()));
    let last = fleet.client.delete("/indexes/cities/documents/10000");
    fleet.client.done(&last);
    assert_eq!(fleet.client.search("cities", &json!({"q": "flood", "hitsPerPage": 1}))["totalHits"], 24 * 8 - 1);
}

#[test]
fn what_one_node_answers_for_all_waits_no_longer_than_forward_timeout() {
    let fleet = Fleet::with(FleetOptions {
        nodes: 1,
        replication_factor: 1,
        more: "limits: { forward_timeout: 300ms }\n".to_owned(),
        ..Default::default()
    });
    load(&fleet.client, "cities", &cities(10));
    fleet.nodes[0].signal("STOP");
    // Where the setting does nothing the gateway waits for 30 s, and this client gives up before.
    let client = Client::with_limit(&fleet.client.url, Duration::from_secs(20));
    for path in ["/version", "/indexes", "/indexes/cities"] {
        let reply = client.try_send("GET", path, &[], b"").unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!((reply.status, &reply.value()["code"]), (503, &json!("miroir_node_unavailable")), "{path}");
    }
    fleet.nodes[0].signal("CONT");
}
