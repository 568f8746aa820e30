//! Replicas that somebody or something has made differ are found and put right; writes under way are no difference.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::overload::{held, replicas_are_equal, settled};
use crate::support::client::{eventually, pause};
use crate::support::corpus::cities;
use crate::support::parity::load;
use crate::support::stop::StopOnDrop;
use crate::support::{Client, Fleet, FleetOptions};

fn fleet() -> Fleet {
    Fleet::with(FleetOptions { more: "scrub: { interval: 1d, bandwidth: 0 }\n".to_owned(), ..Default::default() })
}

/// Has everything compared once, and returns the report.
fn scrub(fleet: &Fleet) -> Value {
    let before = fleet.admin.get("/scrub").ok()["last"]["finishedAt"].clone();
    assert_eq!(fleet.admin.post("/scrub", &Value::Null).status, 202);
    eventually("a scrub ends", || {
        let last = fleet.admin.get("/scrub").ok()["last"].clone();
        (!last.is_null() && last["finishedAt"] != before).then_some(last)
    })
}

#[test]
fn what_was_written_past_the_gateway_is_undone() {
    let documents = cities(300);
    let fleet = fleet();
    load(&fleet.client, "cities", &documents);
    let report = scrub(&fleet);
    assert_eq!((&report["findings"], &report["skipped"]), (&json!([]), &json!(0)), "{report}");
    assert_eq!(report["compared"], 256);

    // On one node: a document lost, a document changed, and one that the cluster has deleted brought back.
    let node = &fleet.nodes[0].client;
    let on_node: Vec<Value> = held(node, "cities").into_values().collect();
    let (lost, changed, deleted) = (&on_node[0], &on_node[1], &on_node[2]);
    fleet.client.done(&fleet.client.delete(&format!("/indexes/cities/documents/{}", deleted["id"])));
    node.done(&node.delete(&format!("/indexes/cities/documents/{}", lost["id"])));
    let mut other = changed.clone();
    other["name"] = json!("nowhere");
    node.done(&node.post("/indexes/cities/documents", &json!([other, deleted])));

    let report = scrub(&fleet);
    let findings = report["findings"].as_array().expect("findings");
    assert!((1..=3).contains(&findings.len()), "{report}");
    for finding in findings {
        assert_eq!((&finding["nodes"], &finding["evidence"]), (&json!(["node-0"]), &json!("foreignWrite")), "{report}");
    }
    settled(&fleet);
    replicas_are_equal(&fleet, "cities", 2, documents.len() - 1);
    let kept = held(node, "cities");
    assert_eq!(kept[&changed["id"].to_string()], *changed);
    assert!(!kept.contains_key(&deleted["id"].to_string()), "a delete came undone");
    assert_eq!(scrub(&fleet)["findings"], json!([]));
}

#[test]
fn of_two_nodes_the_one_with_other_settings_than_before_is_put_right() {
    let more = "scrub: { interval: 1d, bandwidth: 0 }\n".to_owned();
    let fleet = Fleet::with(FleetOptions { nodes: 2, more, ..Default::default() });
    load(&fleet.client, "cities", &cities(50));
    let [first, second] = [0, 1].map(|node: usize| &fleet.nodes[node].client);
    let change = |node: &Client, words: Value| {
        node.done(&node.json("PATCH", "/indexes/cities/settings", &json!({ "stopWords": words })));
    };
    // Nothing was compared yet, so nothing says which is right.
    change(second, json!(["the"]));
    let undecided = json!([{"index": "cities", "what": "settings", "nodes": ["node-0", "node-1"], "evidence": null}]);
    assert_eq!(scrub(&fleet)["findings"], undecided);
    change(second, json!([]));
    assert_eq!(scrub(&fleet)["findings"], json!([]));

    change(first, json!(["a"]));
    let found = json!([{"index": "cities", "what": "settings", "nodes": ["node-0"], "evidence": "lastAgreed"}]);
    assert_eq!(scrub(&fleet)["findings"], found);
    let words = |node: &Client| node.get("/indexes/cities/settings/stop-words").ok();
    eventually("the settings are right again", || (words(first) == json!([])).then_some(()));
    settled(&fleet);

    // What is changed through the gateway is no drift, and becomes what nodes are held to.
    fleet.client.done(&fleet.client.json("PATCH", "/indexes/cities/settings", &json!({"stopWords": ["of"]})));
    assert_eq!(scrub(&fleet)["findings"], json!([]));
    change(second, json!([]));
    assert_eq!(scrub(&fleet)["findings"][0]["nodes"], json!(["node-1"]));
    eventually("the settings are right again", || (words(second) == json!(["of"])).then_some(()));
}

#[test]
fn settings_that_differ_on_one_node_are_put_right() {
    let fleet = fleet();
    load(&fleet.client, "cities", &cities(50));
    let node = &fleet.nodes[2].client;
    let right = node.get("/indexes/cities/settings").ok();
    node.done(&node.json(
        "PATCH",
        "/indexes/cities/settings",
        &json!({"stopWords": ["the"], "rankingRules": ["words"]}),
    ));
    let report = scrub(&fleet);
    let expected = json!([{"index": "cities", "what": "settings", "nodes": ["node-2"], "evidence": "majority"}]);
    assert_eq!(report["findings"], expected);
    eventually("the settings are right again", || (node.get("/indexes/cities/settings").ok() == right).then_some(()));
    settled(&fleet);
    assert_eq!(scrub(&fleet)["findings"], json!([]));
}

#[test]
fn writes_under_way_are_no_difference() {
    let fleet = fleet();
    load(&fleet.client, "cities", &cities(200));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ending = StopOnDrop(&stop);
        for writer in 0..4u64 {
            let (client, stop) = (&fleet.client, &stop);
            scope.spawn(move || {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let id = 30_000_000 + writer * 100 + n % 100;
                    let reply = if n % 5 == 0 {
                        client.delete(&format!("/indexes/cities/documents/{id}"))
                    } else {
                        client.json("PUT", "/indexes/cities/documents", &json!([{"id": id, "n": n}]))
                    };
                    assert_eq!(reply.status, 202, "{}", reply.text);
                    pause(Duration::from_millis(10));
                }
            });
        }
        let report = scrub(&fleet);
        drop(ending);
        assert_eq!(report["findings"], json!([]), "{report}");
        assert!(report["compared"].as_u64().is_some_and(|compared| compared > 100), "{report}");
    });
    let shards = fleet.admin.get("/shards").ok();
    assert!(shards["shards"].as_array().expect("shards").iter().all(|shard| shard["stale"] == json!([])));
}
