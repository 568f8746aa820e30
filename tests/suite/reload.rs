//! The configuration read again while requests go on: what each section says holds from then on, and a broken file changes nothing.

use serde_json::{Value, json};

use crate::support::client::eventually;
use crate::support::{Client, Fleet, FleetOptions};

const OLD: &str = "a-master-key-of-before";
const NEW: &str = "a-master-key-of-today";

/// Exchanges a piece of the file.
fn change(fleet: &Fleet, from: &str, to: &str) {
    let before = std::fs::read_to_string(&fleet.config).expect("a configuration");
    assert!(before.contains(from), "{before}");
    std::fs::write(&fleet.config, before.replacen(from, to, 1)).expect("a file");
}

/// What a reload took over, and what waits.
fn reloaded(admin: &Client) -> (Value, Value) {
    let answer = admin.post("/reload", &json!({})).ok();
    (answer["sections"].clone(), answer["atNextStart"].clone())
}

/// A file that is broken beside the change of `from` to `to` is refused; then it is as it was.
fn refused_when_broken(fleet: &Fleet, from: &str, to: &str) {
    let before = std::fs::read_to_string(&fleet.config).expect("a configuration");
    change(fleet, from, to);
    change(fleet, "cluster:\n", "no_such_section: { a: 1 }\ncluster:\n");
    let refused = fleet.admin.post("/reload", &json!({}));
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.text.contains("no_such_section: unknown key"), "{}", refused.text);
    std::fs::write(&fleet.config, before).expect("a file");
}

#[test]
fn keys_are_exchanged_while_requests_go_on() {
    let mut fleet = Fleet::with(FleetOptions {
        master_key: Some(OLD),
        node_key: Some("a-key-of-nodes-of-before"),
        ..FleetOptions::default()
    });
    // Without a key of their own, operators have the master key.
    change(&fleet, "cluster:\n", "admin_key: an-admin-key-of-before\ncluster:\n");
    assert_eq!(reloaded(&fleet.admin), (json!(["admin_key"]), json!([])));
    assert_eq!(fleet.admin.get("/topology").status, 403);
    fleet.admin = fleet.admin.with_key("an-admin-key-of-before");
    fleet.client.add("a", &json!([{"id": 1}]));
    let wish = json!({"actions": ["search"], "indexes": ["*"], "expiresAt": null});
    let key = fleet.client.post("/keys", &wish).ok();
    let text = |key: &Value, name: &str| key[name].as_str().expect("a text").to_owned();
    let of_key = fleet.client.with_key(&text(&key, "key"));
    let opens = |client: &Client| client.post("/indexes/a/search", &json!({})).status;
    let new = fleet.client.with_key(NEW);

    refused_when_broken(&fleet, OLD, NEW);
    refused_when_broken(&fleet, "an-admin-key-of-before", "an-admin-key-of-today");
    assert_eq!((opens(&fleet.client), opens(&of_key), opens(&new)), (200, 200, 403));

    change(&fleet, OLD, NEW);
    assert_eq!(reloaded(&fleet.admin), (json!(["master_key"]), json!([])));
    assert_eq!((opens(&fleet.client), opens(&of_key), opens(&new)), (403, 403, 200));
    let again = new.get(&format!("/keys/{}", text(&key, "uid"))).ok();
    assert_ne!(again["key"], key["key"], "its secret follows from the master key");
    assert_eq!(opens(&new.with_key(&text(&again, "key"))), 200);

    change(&fleet, "an-admin-key-of-before", "an-admin-key-of-today");
    assert_eq!(reloaded(&fleet.admin), (json!(["admin_key"]), json!([])));
    assert_eq!(fleet.admin.get("/topology").status, 403);
    fleet.admin = fleet.admin.with_key("an-admin-key-of-today");
    assert_eq!(fleet.admin.get("/topology").status, 200);

    // The nodes are started anew with another key, which the gateway shows once it has read it.
    for node in &mut fleet.nodes {
        node.kill();
        node.key = Some("a-key-of-nodes-of-today".to_owned());
        node.restart();
    }
    eventually("nodes refuse the key of before", || (opens(&new) >= 500).then_some(()));
    refused_when_broken(&fleet, "a-key-of-nodes-of-before", "a-key-of-nodes-of-today");
    assert!(opens(&new) >= 500);
    change(&fleet, "a-key-of-nodes-of-before", "a-key-of-nodes-of-today");
    assert_eq!(reloaded(&fleet.admin), (json!(["node_key"]), json!([])));
    eventually("nodes take the key of today", || (opens(&new) == 200).then_some(()));
    let log = fleet.gateway().log();
    assert!(log.contains("master_key") && !log.contains(NEW) && !log.contains("nodes-of-today"), "{log}");
}

#[test]
fn bounds_and_habits_are_exchanged_and_what_waits_is_named() {
    let more = "search: { unavailable_shards: partial, timeout: 9s }\nwrite: { min_in_sync: 1 }\n\
                overload: { spooled: 1GiB }\ntasks: { uid_format: integer }\nscrub: { bandwidth: 1MiB }\n\
                resilver: { concurrency: 2 }\nrebalance: { concurrency: 4 }\nhttp2: { streams: 90 }\n";
    let mut fleet =
        Fleet::with(FleetOptions { replication_factor: 2, more: more.to_owned(), ..FleetOptions::default() });
    fleet.client.add("a", &(0..40).map(|id| json!({"id": id})).collect());
    let large = |fleet: &Fleet| {
        let documents: Vec<Value> = (0..40).map(|id| json!({"id": id, "text": "x".repeat(50_000)})).collect();
        fleet.client.post("/indexes/large/documents", &json!(documents)).status
    };
    let added = |fleet: &Fleet| fleet.client.post("/indexes/a/documents", &json!([{"id": 1}]));
    let search = |fleet: &Fleet| fleet.client.post("/indexes/a/search", &json!({"limit": 40}));

    assert_eq!(large(&fleet), 202);
    refused_when_broken(&fleet, "spooled: 1GiB", "spooled: 1MiB");
    assert_eq!(large(&fleet), 202);
    change(&fleet, "spooled: 1GiB", "spooled: 1MiB");
    assert_eq!(reloaded(&fleet.admin), (json!(["overload"]), json!([])));
    assert_eq!(large(&fleet), 503, "two megabytes are over the bound");

    eventually("what was spooled before is gone", || (added(&fleet).status == 202).then_some(()));
    assert!(added(&fleet).ok()["taskUid"].is_u64());
    refused_when_broken(&fleet, "uid_format: integer", "uid_format: mtask");
    assert!(added(&fleet).ok()["taskUid"].is_u64());
    change(&fleet, "uid_format: integer", "uid_format: mtask");
    assert_eq!(reloaded(&fleet.admin), (json!(["tasks"]), json!([])));
    assert!(added(&fleet).ok()["taskUid"].as_str().is_some_and(|uid| uid.starts_with("mtask-")));

    // Of what is not seen from outside it is said that it was taken over; what waits is said until it is as it was.
    change(&fleet, "scrub: { bandwidth: 1MiB }", "scrub: { bandwidth: 2MiB, interval: 2d }");
    change(&fleet, "resilver: { concurrency: 2 }", "resilver: { concurrency: 3, bandwidth: 9MiB }");
    change(&fleet, "rebalance: { concurrency: 4 }", "rebalance: { concurrency: 5 }");
    change(&fleet, "http2: { streams: 90 }", "http2: { streams: 80 }");
    assert_eq!(reloaded(&fleet.admin), (json!(["rebalance", "resilver", "scrub"]), json!(["http2"])));
    assert_eq!(reloaded(&fleet.admin), (json!([]), json!(["http2"])));
    change(&fleet, "http2: { streams: 80 }", "http2: { streams: 90 }");
    assert_eq!(reloaded(&fleet.admin), (json!([]), json!([])));

    // With one node of three away some shards have one replica left, which is enough until two are asked for.
    fleet.nodes[2].kill();
    fleet.await_state("node-2", "down");
    let all = json!((0..40).map(|id| json!({"id": id})).collect::<Vec<_>>());
    let add_all = |fleet: &Fleet| fleet.client.post("/indexes/a/documents", &all).status;
    assert_eq!(add_all(&fleet), 202);
    refused_when_broken(&fleet, "min_in_sync: 1", "min_in_sync: 2");
    assert_eq!(add_all(&fleet), 202);
    change(&fleet, "min_in_sync: 1", "min_in_sync: 2");
    assert_eq!(reloaded(&fleet.admin), (json!(["write"]), json!([])));
    assert_eq!(add_all(&fleet), 503);

    // With two away some shards have none.
    fleet.nodes[1].kill();
    fleet.await_state("node-1", "down");
    assert_eq!(search(&fleet).status, 200);
    refused_when_broken(&fleet, "unavailable_shards: partial", "unavailable_shards: error");
    assert_eq!(search(&fleet).status, 200);
    change(&fleet, "unavailable_shards: partial, timeout: 9s", "unavailable_shards: error, timeout: 40s");
    fleet.gateway().signal("HUP");
    eventually("a search that lacks shards is an error", || (search(&fleet).status == 503).then_some(()));
    assert_eq!(reloaded(&fleet.admin), (json!([]), json!([])));
}
