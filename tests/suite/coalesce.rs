//! Small writes that wait for the same node travel as one task of that node, and stay tasks of their own for their clients.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Reply, eventually, pause};
use crate::support::stop::StopOnDrop;
use crate::support::{Client, Fleet, FleetOptions};

const AS_SDK: [(&str, &str); 2] =
    [("X-Meilisearch-Client", "Meilisearch Python (v0.43.0)"), ("Content-Type", "application/json")];

/// Two nodes that both have everything, and an index `a` of one document, whose rules the gateway has read.
fn fleet(more: &str) -> Fleet {
    let fleet = Fleet::with(FleetOptions { nodes: 2, more: more.to_owned(), ..Default::default() });
    fleet.client.done(&fleet.client.post("/indexes", &json!({"uid": "a", "primaryKey": "id"})));
    fleet.client.add("a", &json!([{"id": 999}]));
    fleet
}

/// Sends these bodies side by side while the nodes take nothing, all but the first of them once that one is on its way: they wait for
/// it.
fn at_one_moment(fleet: &Fleet, method: &str, bodies: &[Value]) -> Vec<Reply> {
    let jobs = |node: &str| fleet.metric(&format!("miroir_lane_jobs{{node=\"{node}\"}}"));
    let all = |count: usize| fleet.nodes.iter().all(|node| jobs(&node.name) >= count as f64);
    fleet.nodes.iter().for_each(|node| node.signal("STOP"));
    let replies = std::thread::scope(|scope| {
        let send = |body: &Value| {
            let text = body.to_string();
            scope.spawn(move || fleet.client.send(method, "/indexes/a/documents", &AS_SDK, text.as_bytes()))
        };
        let (first, rest) = bodies.split_first().expect("a body");
        let mut sent = vec![send(first)];
        eventually("the first is on its way", || all(1).then_some(()));
        sent.extend(rest.iter().map(send));
        eventually("all writes wait for the nodes", || all(bodies.len()).then_some(()));
        fleet.nodes.iter().for_each(|node| node.signal("CONT"));
        sent.into_iter().map(|reply| reply.join().expect("a writer")).collect()
    });
    eventually("no write waits", || fleet.nodes.iter().all(|node| jobs(&node.name) == 0.0).then_some(()));
    replies
}

/// How many additions a node has taken, and by how many of its tasks each of the gateway's was carried out.
fn additions(client: &Client) -> (u64, BTreeMap<String, usize>) {
    let page = client.get("/tasks?types=documentAdditionOrUpdate&indexUids=a&limit=100000").ok();
    let mut stamps = BTreeMap::new();
    for task in page["results"].as_array().expect("results") {
        let metadata = task["customMetadata"].as_str().unwrap_or_default();
        for stamp in metadata.split(',').filter(|stamp| stamp.starts_with("mtask-")) {
            *stamps.entry(stamp[..42].to_owned()).or_default() += 1;
        }
    }
    (page["total"].as_u64().expect("a total"), stamps)
}

#[test]
fn each_client_gets_its_own_task_of_what_travelled_as_one() {
    let fleet = fleet("");
    let bodies: Vec<Value> = (0..8).map(|n| (0..=n).map(|i| json!({"id": n * 100 + i, "by": n})).collect()).collect();
    let replies = at_one_moment(&fleet, "POST", &bodies);
    for (n, reply) in replies.iter().enumerate() {
        let details = json!({"receivedDocuments": n + 1, "indexedDocuments": n + 1});
        assert_eq!(fleet.client.done(reply)["details"], details);
    }
    for node in &fleet.nodes {
        let (tasks, stamps) = additions(&node.client);
        assert_eq!((tasks, stamps.len()), (3, 9), "{}: two for the eight that came at one moment", node.name);
    }
    assert_eq!(fleet.metric("miroir_coalesced_writes_total{node=\"node-0\"}"), 7.0);
    assert_eq!(fleet.equal_replicas("a").len(), 37);
}

#[test]
fn a_bad_document_among_good_ones_fails_its_own_write_alone() {
    let fleet = fleet("");
    let settings = fleet.client.json("PATCH", "/indexes/a/settings", &json!({"filterableAttributes": ["_geo"]}));
    fleet.client.done(&settings);
    fleet.client.add("a", &json!([{"id": 998}]));
    let good: Vec<Value> = (0..6).map(|n| json!([{"id": n, "_geo": {"lat": n, "lng": n}}])).collect();
    let failures = std::thread::scope(|scope| {
        let bad = [json!([{"id": "not an id"}]), json!([{"id": 90}, {"id": 91, "_geo": "nowhere"}])];
        let client = &fleet.client;
        let bad = bad.map(|body| scope.spawn(move || client.wait(&client.post("/indexes/a/documents", &body))));
        for reply in at_one_moment(&fleet, "POST", &good) {
            fleet.client.done(&reply);
        }
        bad.map(|bad| bad.join().expect("a writer"))
    });
    let codes = failures.map(|task| (task["status"].clone(), task["error"]["code"].clone()));
    let failed = |code: &str| (json!("failed"), json!(code));
    assert_eq!(codes, [failed("invalid_document_id"), failed("invalid_document_geo_field")]);
    assert_eq!(fleet.equal_replicas("a").len(), 8);
    assert_eq!(additions(&fleet.nodes[0].client).0, 4, "they did not travel together");
}

#[test]
fn writes_of_one_id_keep_their_order() {
    let fleet = fleet("");
    let bodies: Vec<Value> = (0..8).map(|n| json!([{"id": 1, "last": n, format!("of{n}"): true}])).collect();
    let replies = at_one_moment(&fleet, "PUT", &bodies);
    let uid = |reply: &Reply| reply.value()["taskUid"].as_u64().expect("SDKs get integers");
    let last = (0..8).max_by_key(|n| uid(&replies[*n])).expect("eight writes");
    replies.iter().for_each(|reply| drop(fleet.client.done(reply)));
    assert_eq!(additions(&fleet.nodes[0].client).0, 3, "they did not travel together");
    let document = fleet.equal_replicas("a")["1"].clone();
    assert_eq!(document["last"], json!(last), "{document}");
    assert!((0..8).all(|n| document[format!("of{n}")] == json!(true)), "{document}");
}

#[test]
fn nothing_travels_together_where_that_is_off() {
    let fleet = fleet("write: { coalesce: no }\n");
    let bodies: Vec<Value> = (0..5).map(|n| json!([{"id": n}])).collect();
    for reply in at_one_moment(&fleet, "POST", &bodies) {
        fleet.client.done(&reply);
    }
    assert_eq!(additions(&fleet.nodes[0].client).0, 6);
}

/// What of the fleet is killed in the middle.
#[derive(Clone, Copy, PartialEq)]
enum Victim {
    Gateway,
    Node,
}

/// Eight clients write small documents all the time while `victim` is killed and comes back.
fn under_writes(victim: Victim) {
    let mut fleet = fleet("health: { interval: 300ms, rise: 1 }\n");
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let acknowledged: Mutex<BTreeMap<String, String>> = Mutex::default();
    let client = fleet.client.clone();
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for writer in 0..8 {
            let (stop, written, acknowledged, client) = (&stop, &written, &acknowledged, &client);
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let id = format!("{writer}-{n}");
                    let body = json!([{"id": id}]).to_string();
                    let headers = [("Content-Type", "application/json")];
                    match client.try_send("POST", "/indexes/a/documents", &headers, body.as_bytes()) {
                        Ok(reply) if reply.status == 202 => {
                            let task = reply.value()["taskUid"].as_str().expect("a long id").to_owned();
                            acknowledged.lock().expect("no writer panics").insert(id, task);
                            written.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => pause(Duration::from_millis(20)),
                    }
                }
            });
        }
        let more = |by: usize| {
            let least = written.load(Ordering::Relaxed) + by;
            eventually("more is written", || (written.load(Ordering::Relaxed) >= least).then_some(()));
        };
        more(150);
        match victim {
            Victim::Gateway => fleet.kill_gateway(),
            Victim::Node => fleet.nodes[1].kill(),
        }
        if victim == Victim::Node {
            more(100);
        }
        match victim {
            Victim::Gateway => fleet.start_gateway(),
            Victim::Node => fleet.nodes[1].restart(),
        }
        more(150);
    });
    fleet.await_in_sync();
    assert!(fleet.metric("miroir_coalesced_writes_total{node=\"node-0\"}") > 0.0, "nothing travelled together");
    let acknowledged = acknowledged.into_inner().expect("no writer panicked");
    for task in acknowledged.values() {
        let task = fleet.client.wait_id(task);
        assert_eq!((&task["status"], &task["details"]["indexedDocuments"]), (&json!("succeeded"), &json!(1)), "{task}");
    }
    let there: BTreeSet<String> = fleet.equal_replicas("a").into_keys().collect();
    let lost: Vec<&String> = acknowledged.keys().filter(|id| !there.contains(*id)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    for node in &fleet.nodes {
        let (_, stamps) = additions(&node.client);
        let twice: Vec<_> = stamps.into_iter().filter(|(_, times)| *times > 1).collect();
        assert!(twice.is_empty(), "{}: carried out twice: {twice:?}", node.name);
    }
}

#[test]
fn a_killed_gateway_loses_nothing_of_what_travelled_together() {
    under_writes(Victim::Gateway);
}

#[test]
fn a_node_that_dies_loses_nothing_of_what_travelled_together() {
    under_writes(Victim::Node);
}
