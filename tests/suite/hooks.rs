//! Rules that look at what comes of a request: tasks that end, answers, documents.

use serde_json::{Value, json};

use crate::support::client::eventually;
use crate::support::listener::Listener;
use crate::support::{Fleet, FleetOptions};

const MASTER: &str = "a-master-key-for-hooks";

/// A gateway with these `rules`, and a client that may do everything.
fn ruled(rules: &str) -> Fleet {
    let more = format!("rules:\n{rules}");
    Fleet::with(FleetOptions { master_key: Some(MASTER), more, ..FleetOptions::default() })
}

/// The file of a fleet, with something of it exchanged.
fn change(fleet: &Fleet, from: &str, to: &str) {
    let before = std::fs::read_to_string(&fleet.config).expect("a configuration");
    assert!(before.contains(from), "{before}");
    std::fs::write(&fleet.config, before.replace(from, to)).expect("a file");
}

fn told(listener: &Listener, at_least: usize) -> Vec<Value> {
    eventually("tasks are told", || Some(listener.tasks()).filter(|tasks| tasks.len() >= at_least))
}

#[test]
fn a_rule_tells_of_the_tasks_that_it_is_about() {
    let (failures, all) = (Listener::start(1), Listener::start(0));
    let mut fleet = ruled(&format!(
        "  - {{ name: failures, indexes: [\"pro*\"], on_task: {{ url: \"{}\", headers: {{ X-Token: swordfish }}, status: failed }} }}\n  \
           - {{ name: all, on_task: {{ url: \"{}\", types: [documentAdditionOrUpdate, dumpCreation] }} }}\n",
        failures.url, all.url
    ));
    let add = |fleet: &Fleet, index: &str, body: Value| {
        let path = format!("/indexes/{index}/documents");
        let task = fleet.client.post(&path, &body).ok()["taskUid"].clone();
        fleet.client.wait_id(task.as_str().map_or_else(|| task.to_string(), str::to_owned).as_str());
    };
    add(&fleet, "products", json!([{"id": 1}]));
    add(&fleet, "products", json!([{"no": 1}]));
    add(&fleet, "orders", json!([{"no": 1}]));
    fleet.client.done(&fleet.client.json("PUT", "/indexes/orders/settings/stop-words", &json!(["the"])));

    let seen = |tasks: &[Value]| -> Vec<(Value, Value)> {
        tasks.iter().map(|task| (task["indexUid"].clone(), task["status"].clone())).collect()
    };
    let failed = (json!("products"), json!("failed"));
    assert_eq!(seen(&told(&failures, 1)), [failed.clone()]);
    let expected = [(json!("products"), json!("succeeded")), failed.clone(), (json!("orders"), json!("failed"))];
    assert_eq!(seen(&told(&all, 3)), expected);
    assert_eq!(failures.sent()[0].headers["x-token"], "swordfish");
    eventually("what was told is counted", || {
        let count = |rule: &str| fleet.metric(&format!("miroir_rules_total{{outcome=\"applied\",rule=\"{rule}\"}}"));
        (count("failures") == 1.0 && count("all") == 3.0).then_some(())
    });
    assert_eq!(fleet.client.get("/webhooks").ok()["results"], json!([]), "clients see only their own");

    // What ends while nobody can be told is told after the next start, and a reload leads the rest elsewhere.
    fleet.kill_gateway();
    fleet.start_gateway();
    add(&fleet, "products", json!([{"no": 2}]));
    assert_eq!(seen(&told(&failures, 2)), [failed.clone(), failed.clone()]);
    told(&all, 4);
    let elsewhere = Listener::start(0);
    change(&fleet, &failures.url, &elsewhere.url);
    assert_eq!(fleet.admin.with_key(MASTER).post("/reload", &json!({})).ok()["sections"], json!(["rules"]));
    add(&fleet, "products", json!([{"no": 3}]));
    assert_eq!(seen(&told(&elsewhere, 1)), [failed]);
    told(&all, 5);
    assert_eq!((failures.tasks().len(), all.tasks().len()), (2, 5), "each task is told once");
    let log = fleet.gateway().log();
    assert!(log.contains("a webhook is told again"), "one was busy: {log}");
    assert!(!log.contains("sesame") && !log.contains("swordfish"), "a secret stands in the log");
}

fn mirrored(fleet: &Fleet, outcome: &str) -> f64 {
    fleet.metric(&format!("miroir_mirrored_searches_total{{outcome=\"{outcome}\",rule=\"shadow\"}}"))
}

#[test]
fn searches_are_asked_again_of_another_index_and_compared() {
    let fleet = ruled(
        "  - { name: shadow, on: [search], indexes: [old], mirror: { to: new, compare: [order, totals] } }\n  \
           - { name: lost, on: [search], indexes: [old], headers: { x-lost: \"*\" }, mirror: { to: nowhere } }\n",
    );
    let film = |id: u64| json!({"id": id, "title": format!("a film {}", id % 5), "kind": id % 2});
    let settings = json!({"filterableAttributes": ["kind"]});
    for index in ["old", "new"] {
        fleet.client.done(&fleet.client.json("PATCH", &format!("/indexes/{index}/settings"), &settings));
        fleet.client.add(index, &(0..60).map(film).collect());
    }
    fleet.client.add("new", &json!([{"id": 1, "title": "another film, sesame", "kind": 1}]));

    // The key may not ask the other index, and the client learns nothing of it.
    let asked = json!({"actions": ["search"], "indexes": ["old"], "expiresAt": null});
    let key = fleet.client.post("/keys", &asked).ok();
    let client = fleet.client.with_key(key["key"].as_str().expect("a key"));
    assert_eq!(client.post("/indexes/new/search", &json!({})).status, 403);
    assert_eq!(client.search("old", &json!({"q": "film 2", "matchingStrategy": "all"}))["hits"].as_array().map(Vec::len), Some(12));
    eventually("the same is found", || (mirrored(&fleet, "same") == 1.0).then_some(()));
    client.search("old", &json!({"filter": "kind = 1", "limit": 5, "q": "film 1", "matchingStrategy": "all"}));
    eventually("another order is found", || (mirrored(&fleet, "differs") == 1.0).then_some(()));
    let several = json!({"queries": [{"indexUid": "old", "q": "film 3", "matchingStrategy": "all"}, {"indexUid": "old", "q": "film 1"}]});
    client.post("/multi-search", &several).ok();
    client.get("/indexes/old/search?q=film+4&matchingStrategy=all").ok();
    eventually("each by itself", || ((mirrored(&fleet, "same"), mirrored(&fleet, "differs")) == (3.0, 2.0)).then_some(()));
    assert_eq!((mirrored(&fleet, "failed"), mirrored(&fleet, "dropped")), (0.0, 0.0));

    fleet.client.send("GET", "/indexes/old/search", &[("X-Lost", "1")], b"").ok();
    eventually("what cannot be asked is counted", || {
        let failed = fleet.metric("miroir_mirrored_searches_total{outcome=\"failed\",rule=\"lost\"}");
        (failed == 1.0).then_some(())
    });
    let log = fleet.gateway().log();
    assert!(log.contains("a mirrored search has another answer") && log.contains("a mirrored search has failed"), "{log}");
    assert!(!log.contains("film") && !log.contains("sesame"), "nothing that was asked or found is logged: {log}");
}
