//! What clients do wrong, and slow nodes, harm nobody else: settings are all or nothing, a slow search is a slow search, and a
//! start loses nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::overload::settled;
use crate::support::client::eventually;
use crate::support::corpus::cities;
use crate::support::fault_proxy::{FaultProxy, Mode};
use crate::support::fleet::is_embedded;
use crate::support::parity::load;
use crate::support::{Client, Fleet, FleetOptions, Single};

/// Status and error of the task of a change.
fn outcome(client: &Client, method: &str, path: &str, body: &Value) -> (Value, Value) {
    let task = client.wait(&client.json(method, path, body));
    (task["status"].clone(), task["error"].clone())
}

fn setting(client: &Client, index: &str, key: &str) -> Value {
    client.get(&format!("/indexes/{index}/settings")).ok()[key].clone()
}

fn stale_shards(fleet: &Fleet) -> usize {
    let shards = fleet.admin.get("/shards").ok();
    shards["shards"].as_array().expect("shards").iter().filter(|shard| shard["stale"] != json!([])).count()
}

#[test]
fn a_setting_that_one_document_forbids_is_applied_nowhere() {
    let (single, fleet) = (Single::start(), Fleet::start());
    let others: Vec<Value> = (0..60).map(|id| json!({"id": id})).collect();
    fleet.client.add("other", &json!(others));
    // One document has a vector of three numbers, which an embedder of two forbids: only its nodes refuse.
    let documents: Vec<Value> = (0..12)
        .map(|id| json!({"id": id, "_vectors": {"own": if id == 5 { json!([1, 2, 3]) } else { json!([1, 2]) }}}))
        .collect();
    let embedder = json!({"embedders": {"own": {"source": "userProvided", "dimensions": 2}}, "stopWords": ["the"]});
    let path = "/indexes/kept/settings";
    for client in [&single.client, &fleet.client] {
        client.add("kept", &json!(documents));
    }
    let expected = outcome(&single.client, "PATCH", path, &embedder);
    assert_eq!(expected.0, "failed", "the engine accepts what this test is about");
    assert_eq!(outcome(&fleet.client, "PATCH", path, &embedder), expected);

    for _ in 0..20 {
        let reply = fleet.client.post("/indexes/other/search", &json!({"limit": 100}));
        assert_eq!((reply.status, reply.value()["hits"].as_array().map(Vec::len)), (200, Some(60)), "{}", reply.text);
        for key in ["embedders", "stopWords"] {
            assert_eq!(setting(&fleet.client, "kept", key), setting(&single.client, "kept", key));
        }
        let topology = fleet.admin.get("/topology").ok();
        assert!(topology["nodes"].as_array().expect("nodes").iter().all(|node| node["state"] == "up"), "{topology}");
        fleet.rounds("health", 1);
    }
    eventually("nothing is left to be taken back", || {
        (fleet.admin.get("/topology").ok()["takeBacks"] == json!([])).then_some(())
    });
    for node in &fleet.nodes {
        for key in ["embedders", "stopWords"] {
            assert_eq!(setting(&node.client.seeing_hidden(), "kept", key), setting(&single.client, "kept", key));
        }
    }

    // Other changes go on, and so does this one once the document is gone.
    let words = json!({"stopWords": ["a"]});
    let deletion = "/indexes/kept/documents/5";
    for client in [&single.client, &fleet.client] {
        assert_eq!(outcome(client, "PATCH", path, &words), (json!("succeeded"), Value::Null));
        client.done(&client.delete(deletion));
        assert_eq!(outcome(client, "PATCH", path, &embedder), (json!("succeeded"), Value::Null));
    }
    assert_eq!(setting(&fleet.client, "kept", "embedders"), setting(&single.client, "kept", "embedders"));
    assert_eq!(stale_shards(&fleet), 0);
}

#[test]
fn a_search_that_is_slow_on_all_nodes_is_whole_and_marks_nobody() {
    let fleet = Fleet::with(FleetOptions {
        proxied: true,
        more: "health: { interval: 200ms, timeout: 300ms }\nsearch: { attempt_timeout: 200ms }\n".to_owned(),
        ..Default::default()
    });
    let documents = cities(300);
    load(&fleet.client, "cities", &documents);
    let query = json!({"q": "", "limit": 1, "filter": "nothing = 1"});
    let plain = json!({"q": "san", "limit": 5});
    let expected = fleet.client.search("cities", &plain);
    for node in &fleet.nodes {
        node.proxy.as_ref().expect("a proxy").set(Mode::Delay(Duration::from_millis(1500)));
    }
    let hedges = || fleet.metric("miroir_hedges_total{outcome=\"sent\"}");
    let before = hedges();
    for _ in 0..4 {
        let reply = fleet.client.post("/indexes/cities/search", &plain);
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert!(reply.header("x-miroir-degraded").is_none(), "slowness made an answer a partial one");
        assert_eq!(reply.value()["hits"], expected["hits"]);
        let topology = fleet.admin.get("/topology").ok();
        assert!(topology["nodes"].as_array().expect("nodes").iter().all(|node| node["state"] == "up"), "{topology}");
    }
    assert!(hedges() > before, "the nodes were not slow");
    // A search that the engine refuses is refused, slowly.
    assert_eq!(fleet.client.post("/indexes/cities/search", &query).status, 400);
    // Writes of that time wait, and leave nobody behind.
    let reply = fleet.client.post("/indexes/cities/documents", &json!([{"id": 90_000_001, "name": "slow"}]));
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert_eq!(stale_shards(&fleet), 0);
    for node in &fleet.nodes {
        node.proxy.as_ref().expect("a proxy").set(Mode::Pass);
    }
    fleet.client.done(&reply);
}

/// While a node works on a filter of thousands of conditions it answers others late. Only one of three does at a time, and ordinary
/// searches ask the two others.
#[test]
fn a_long_filter_is_at_work_on_one_node_at_a_time_and_other_searches_ask_the_others() {
    let fleet = Fleet::with(FleetOptions { proxied: true, ..Default::default() });
    load(&fleet.client, "cities", &cities(120));
    // From here on the gateway knows the settings.
    fleet.client.search("cities", &json!({"filter": "population = 1"}));
    let long = (0..2000).map(|n| format!("population = {n}")).collect::<Vec<_>>().join(" OR ");
    let under_way = |what: &str| fleet.metric(&format!("miroir_node_{what}{{node=\"\",traffic=\"long_filter\"}}"));
    let proxies: Vec<&FaultProxy> = fleet.nodes.iter().map(|node| node.proxy.as_ref().expect("a proxy")).collect();
    let asked = || proxies.iter().map(|proxy| proxy.asked("/indexes/cities/search")).collect::<Vec<usize>>();
    let at_first = asked();
    std::thread::scope(|scope| {
        proxies.iter().for_each(|proxy| proxy.set(Mode::BlackHole));
        let heavy =
            scope.spawn(|| fleet.client.post("/indexes/cities/search", &json!({"filter": long, "limit": 1000})));
        eventually("one part of it is under way, and the other waits", || {
            (under_way("in_flight") == 1.0 && under_way("waiting") == 1.0).then_some(())
        });
        let at_work = eventually("its node is known", || (0..3).find(|node| asked()[*node] > at_first[*node]));
        (0..3).filter(|node| *node != at_work).for_each(|node| proxies[node].set(Mode::Pass));
        let before = asked();
        for word in ["san", "la", "new", "port", "saint", "al", "be", "os"] {
            let found = fleet.client.post("/indexes/cities/search", &json!({"q": word}));
            assert_eq!((found.status, found.header("x-miroir-degraded")), (200, None), "{}", found.text);
        }
        let after = asked();
        assert_eq!(after[at_work], before[at_work], "a node at work on a long filter was asked");
        assert!((0..3).filter(|node| *node != at_work).all(|node| after[node] > before[node]), "{before:?} {after:?}");
        proxies[at_work].set(Mode::Pass);
        let found = heavy.join().expect("an answer");
        assert_eq!((found.status, found.header("x-miroir-degraded")), (200, None), "{}", found.text);
    });
    assert_eq!((under_way("in_flight"), under_way("waiting")), (0.0, 0.0));
}

#[test]
fn a_search_beyond_its_time_is_an_error_and_no_partial_answer() {
    let fleet = Fleet::with(FleetOptions {
        proxied: true,
        replication_factor: 1,
        more: "search: { timeout: 1s, attempt_timeout: 200ms }\n".to_owned(),
        ..Default::default()
    });
    load(&fleet.client, "cities", &cities(100));
    fleet.nodes[1].proxy.as_ref().expect("a proxy").set(Mode::BlackHole);
    let reply = fleet.client.post("/indexes/cities/search", &json!({"q": ""}));
    assert_eq!((reply.status, &reply.value()["code"]), (504, &json!("miroir_timeout")), "{}", reply.text);
    fleet.nodes[1].proxy.as_ref().expect("a proxy").set(Mode::Pass);
}

#[test]
fn a_first_write_right_after_a_start_leaves_no_replica_stale() {
    let mut fleet = Fleet::start();
    for round in 0..3u32 {
        fleet.kill_gateway();
        fleet.spawn_gateway();
        let index = format!("first{round}");
        let client = fleet.client.clone();
        let reply = eventually("the gateway listens", || {
            let body = json!([{"id": 1}, {"id": 2}, {"id": 3}]).to_string();
            let headers = [("Content-Type", "application/json")];
            client.try_send("POST", &format!("/indexes/{index}/documents"), &headers, body.as_bytes()).ok()
        });
        assert_eq!(reply.status, 202, "{}", reply.text);
        assert_eq!(stale_shards(&fleet), 0, "a replica is stale from birth");
        fleet.client.done(&reply);
        assert_eq!(fleet.client.search(&index, &json!({}))["hits"].as_array().map(Vec::len), Some(3));
    }
    settled(&fleet);
}

#[test]
fn a_restart_of_all_nodes_leaves_no_replica_stale() {
    let mut fleet = Fleet::start();
    fleet.client.add("kept", &json!([{"id": 1}]));
    for node in &mut fleet.nodes {
        node.kill();
    }
    for node in &fleet.nodes {
        fleet.await_state(&node.name, "down");
    }
    for node in &mut fleet.nodes {
        node.restart();
    }
    let client = fleet.client.clone();
    let reply = eventually("a write is taken", || {
        let reply = client.post("/indexes/kept/documents", &json!([{"id": 2}, {"id": 3}]));
        (reply.status == 202).then_some(reply)
    });
    assert_eq!(stale_shards(&fleet), 0, "a node that came back a moment later is stale");
    client.done(&reply);
    assert_eq!(client.search("kept", &json!({}))["hits"].as_array().map(Vec::len), Some(3));
}

#[test]
fn the_last_node_to_come_back_is_waited_for_although_it_was_looked_at_in_vain() {
    // Looks are so rare that the write comes between two of them.
    let more = "health: { interval: 1s }\n".to_owned();
    let mut fleet = Fleet::with(FleetOptions { more, ..Default::default() });
    fleet.client.add("kept", &json!([{"id": 1}]));
    for node in &mut fleet.nodes {
        node.kill();
    }
    for node in &fleet.nodes {
        fleet.await_state(&node.name, "down");
    }
    for at in 0..2 {
        fleet.nodes[at].restart();
    }
    for at in 0..2 {
        fleet.await_state(&fleet.nodes[at].name, "up");
    }
    fleet.nodes[2].restart();
    let reply = fleet.client.post("/indexes/kept/documents", &json!([{"id": 2}, {"id": 3}]));
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert_eq!(stale_shards(&fleet), 0, "a node that lives is stale");
    fleet.client.done(&reply);
    assert_eq!(fleet.client.search("kept", &json!({}))["hits"].as_array().map(Vec::len), Some(3));
}

/// What would create an index is a task that fails, and a wrong body is said to be wrong as ever.
#[test]
fn who_may_not_create_indexes_gets_tasks_that_fail() {
    let master = "a-master-key-of-16";
    let fleet = Fleet::with(FleetOptions { master_key: Some(master), ..Default::default() });
    let told = |client: &Client| {
        let key = json!({"indexes": ["*"], "actions": ["documents.*", "settings.*", "tasks.*"], "expiresAt": null});
        let key = client.post("/keys", &key).ok();
        let limited = client.with_key(key["key"].as_str().expect("a key"));
        let documents = json!([{"id": 1, "content": "foo"}, {"id": 2}]);
        let mut told = vec![limited.post("/indexes/none/documents", &json!(7)).value()["code"].clone()];
        for (method, path, body) in [
            ("POST", "/indexes/none/documents", &documents),
            ("PUT", "/indexes/none/documents", &documents),
            ("POST", "/indexes/none/documents", &json!([{"no": 1}])),
            ("PATCH", "/indexes/none/settings", &json!({"stopWords": ["a"], "distinctAttribute": "b"})),
            ("PUT", "/indexes/none/settings/stop-words", &json!(["a"])),
        ] {
            let task = limited.wait(&limited.json(method, path, body));
            assert_eq!(
                (&task["status"], &task["error"]["code"]),
                (&json!("failed"), &json!("index_not_found")),
                "{task}"
            );
            told.push(json!([task["type"], task["indexUid"], task["details"], task["error"]]));
        }
        assert_eq!(client.get("/indexes").ok()["total"], 0);
        client.done(&client.post("/indexes", &json!({"uid": "none"})));
        told.push(limited.done(&limited.post("/indexes/none/documents", &documents))["details"].clone());
        told
    };
    let got = told(&fleet.client);
    assert_eq!(
        got[1],
        json!(["documentAdditionOrUpdate", "none", {"receivedDocuments": 2, "indexedDocuments": 0}, got[1][3]])
    );
    if !is_embedded() {
        let single = Single::with_key(Some(master));
        assert_eq!(got, told(&single.client));
    }
}
