//! An index that one node cannot have as the cluster does is repaired by itself: the node serves all its other indexes, and
//! status says what the repair waits for.

use serde_json::{Value, json};
use std::process::Command;

use crate::overload::{held, replicas_are_equal, settled};
use crate::support::client::{eventually, pause};
use crate::support::{Client, Fleet, FleetOptions};

const SETTINGS: &str = "/indexes/shops/settings";

/// `other` has 60 documents, `shops` twelve and a setting that a document can forbid.
fn fleet() -> Fleet {
    let fleet = Fleet::start();
    fleet.client.add("other", &json!((0..60).map(|id| json!({"id": id})).collect::<Vec<_>>()));
    let shop = |id| json!({"id": id, "name": "shop", "_vectors": {"own": [1, 2]}});
    fleet.client.add("shops", &json!((0..12).map(shop).collect::<Vec<_>>()));
    fleet.client.done(&fleet.client.json("PATCH", SETTINGS, &json!({"embedders": embedders()})));
    fleet
}

/// A vector of three numbers forbids it.
fn embedders() -> Value {
    json!({"own": {"source": "userProvided", "dimensions": 2}})
}

/// Behind the gateway's back: node-0 has not the setting, and a document that forbids it. Returns that document's id.
fn spoil(fleet: &Fleet) -> String {
    let node = fleet.nodes[0].client.seeing_hidden();
    node.done(&node.delete(&format!("{SETTINGS}/embedders")));
    let (id, _) = held(&node, "shops").pop_first().expect("node-0 has a document");
    let bad = json!([{"id": id.parse::<u64>().expect("a number"), "_vectors": {"own": [1, 2, 3]}}]);
    node.done(&node.json("PUT", "/indexes/shops/documents", &bad));
    id
}

fn nodes(fleet: &Fleet) -> Vec<Value> {
    fleet.admin.get("/topology").ok()["nodes"].as_array().expect("nodes").clone()
}

/// What is being repaired on node-0.
fn repairs(fleet: &Fleet) -> Vec<Value> {
    nodes(fleet)[0]["repairs"].as_array().expect("repairs").clone()
}

/// The repair of `shops` on node-0, after at least so many tries.
fn refused(fleet: &Fleet, tries: u64) -> Value {
    eventually("the engine refuses the setting", || {
        let repairs = repairs(fleet);
        let found = repairs.first().filter(|repair| repair["tries"].as_u64() >= Some(tries))?;
        assert_eq!((repairs.len(), &found["index"]), (1, &json!("shops")), "{repairs:?}");
        Some(found.clone())
    })
}

/// Both indexes answer whole, and every node is in service.
fn all_is_well(fleet: &Fleet, others: usize) {
    for (index, count) in [("other", others), ("shops", 12)] {
        let reply = fleet.client.post(&format!("/indexes/{index}/search"), &json!({"limit": 1000}));
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert!(reply.header("x-miroir-degraded").is_none(), "{index} answers in part");
        assert_eq!(reply.value()["hits"].as_array().map(Vec::len), Some(count), "{index}");
    }
    // Only a node that has the setting finds by vectors.
    let near = json!({"vector": [1, 2], "hybrid": {"embedder": "own", "semanticRatio": 1.0}});
    let reply = fleet.client.post("/indexes/shops/search", &near);
    assert_eq!(reply.status, 200, "{}", reply.text);
    for node in nodes(fleet) {
        assert_eq!(node["state"], "up", "{node}");
    }
}

fn stale(fleet: &Fleet) -> usize {
    let shards = fleet.admin.get("/shards").ok();
    shards["shards"].as_array().expect("shards").iter().filter(|shard| shard["stale"] != json!([])).count()
}

/// How many dimensions vectors have, and the stop words.
fn held_settings(client: &Client) -> (Value, Value) {
    let settings = client.seeing_hidden().get(SETTINGS).ok();
    (settings["embedders"]["own"]["dimensions"].clone(), settings["stopWords"].clone())
}

/// The first line of what the node itself says of the last task that failed there.
fn said_by(node: &Client) -> String {
    let tasks = node.get("/tasks?statuses=failed&limit=1").ok();
    let message = tasks["results"][0]["error"]["message"].as_str().expect("a failed task").to_owned();
    message.lines().next().expect("words").to_owned()
}

/// What `miroir status` prints.
fn status(fleet: &Fleet) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_miroir"))
        .args(["status", "--admin", &fleet.admin.url])
        .output()
        .expect("the program runs");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_node_that_refuses_a_setting_of_one_index_serves_all_others() {
    let mut fleet = fleet();
    let bad = spoil(&fleet);
    fleet.nodes[0].kill();
    fleet.await_state("node-0", "down");
    fleet.nodes[0].restart();
    let first = refused(&fleet, 1);
    settled(&fleet);
    let words = said_by(&fleet.nodes[0].client);
    assert!(first["refusal"].as_str().is_some_and(|refusal| refusal.contains(&words)), "{first} has not: {words}");
    assert_eq!(first["state"], "differs", "{first}");
    assert!(first["since"].is_string() && first["nextTry"].is_string(), "{first}");
    let shown = status(&fleet);
    assert!(shown.contains("index shops on node-0 in repair") && shown.contains(&words), "{shown} has not: {words}");
    assert_eq!(fleet.metric(r#"miroir_indexes_in_repair{node="node-0"}"#), 1.0);

    let mut others = 60;
    for round in 0..20 {
        all_is_well(&fleet, others);
        fleet.client.add("other", &json!([{"id": 100 + round}]));
        others += 1;
        fleet.rounds("health", 1);
    }
    assert_eq!(stale(&fleet), 0, "a write missed a replica");
    // Tries that fail change nothing for anybody.
    let epoch = fleet.admin.get("/topology").ok()["epoch"].clone();
    let tried = refused(&fleet, 1)["tries"].as_u64().expect("a number");
    refused(&fleet, tried + 1);
    assert_eq!(fleet.admin.get("/topology").ok()["epoch"], epoch, "a try made a topology");

    // What such a node refuses is no refusal of the cluster's.
    let change = json!({"embedders": embedders(), "stopWords": ["the"]});
    fleet.client.done(&fleet.client.json("PATCH", SETTINGS, &change));
    assert_eq!(held_settings(&fleet.client), (json!(2), json!(["the"])));
    assert_eq!(fleet.admin.get("/topology").ok()["takeBacks"], json!([]));
    all_is_well(&fleet, others);

    // A restart of the gateway forgets nothing.
    fleet.kill_gateway();
    fleet.start_gateway();
    refused(&fleet, 1);
    all_is_well(&fleet, others);

    fleet.client.done(&fleet.client.delete(&format!("/indexes/shops/documents/{bad}")));
    eventually("the index is repaired", || repairs(&fleet).is_empty().then_some(()));
    for node in &fleet.nodes {
        assert_eq!(held_settings(&node.client), (json!(2), json!(["the"])), "{}", node.name);
    }
    settled(&fleet);
    replicas_are_equal(&fleet, "other", 2, others);
    assert_eq!(fleet.metric(r#"miroir_indexes_in_repair{node="node-0"}"#), 0.0);
    assert!(!status(&fleet).contains("in repair"));
}

#[test]
fn a_scrub_finds_a_forbidding_document_and_the_setting_follows() {
    let fleet = fleet();
    spoil(&fleet);
    assert_eq!(fleet.admin.post("/scrub", &Value::Null).status, 202);
    eventually("the setting is there again", || {
        all_is_well(&fleet, 60);
        (repairs(&fleet).is_empty() && held_settings(&fleet.nodes[0].client).0 == json!(2)).then_some(())
    });
    settled(&fleet);
    replicas_are_equal(&fleet, "shops", 2, 12);
}

/// A gateway that ends right after nodes refused another primary key may have that one on record. Nothing is rebuilt by it.
#[test]
fn a_primary_key_that_only_the_record_has_costs_no_document() {
    let mut fleet = fleet();
    fleet.kill_gateway();
    record_key(&fleet, "other", "name");
    fleet.start_gateway();
    eventually("the nodes have told the key", || {
        let found = fleet.client.get("/indexes/other");
        (found.status == 200 && found.ok()["primaryKey"] == "id").then_some(())
    });
    let documents = eventually("all documents are there", || {
        let reply = fleet.client.get("/indexes/other/documents?limit=100");
        let whole = reply.status == 200 && reply.header("x-miroir-degraded").is_none();
        let results = whole.then(|| reply.ok()["results"].as_array().map(Vec::len))??;
        (results > 0).then_some(results)
    });
    assert_eq!(documents, 60);
    settled(&fleet);
}

/// The same where a node without documents has carried the change out before the gateway ended.
#[test]
fn a_primary_key_that_an_empty_node_has_taken_costs_no_document() {
    let mut fleet = Fleet::start();
    fleet.client.done(&fleet.client.json("PATCH", "/indexes/solo/settings", &json!({"embedders": embedders()})));
    fleet.client.add("solo", &json!([{"id": 0, "_vectors": {"own": [1, 2]}}]));
    fleet.kill_gateway();
    let empty: Vec<&Client> = fleet
        .nodes
        .iter()
        .map(|node| &node.client)
        .filter(|client| client.get("/indexes/solo/stats").ok()["numberOfDocuments"] == 0)
        .collect();
    let [empty] = empty[..] else { panic!("{} of three nodes hold nothing of one document", empty.len()) };
    empty.done(&empty.json("PATCH", "/indexes/solo", &json!({"primaryKey": "n"})));
    record_key(&fleet, "solo", "n");
    fleet.start_gateway();
    eventually("all nodes have the key of those with the document", || {
        let keys = fleet.nodes.iter().map(|node| node.client.get("/indexes/solo").value()["primaryKey"].clone());
        keys.into_iter().all(|key| key == "id").then_some(())
    });
    eventually("the gateway says so", || {
        (fleet.client.get("/indexes/solo").value()["primaryKey"] == "id").then_some(())
    });
    settled(&fleet);
    assert_eq!(fleet.client.get("/indexes/solo/documents/0").ok()["id"], 0);
    replicas_are_equal(&fleet, "solo", 2, 1);
}

/// A node that was added, and is the first one to answer after the whole cluster was restarted, has no settings yet: they are right on
/// those that were there before it.
#[test]
fn a_new_node_that_is_the_first_to_return_is_no_measure_of_settings() {
    let mut fleet = Fleet::start();
    let settings = json!({"filterableAttributes": ["kind"], "stopWords": ["the"], "searchableAttributes": ["name"]});
    fleet.client.done(&fleet.client.json("PATCH", SETTINGS, &settings));
    fleet.client.add("shops", &json!((0..12).map(|id| json!({"id": id, "kind": id % 3})).collect::<Vec<_>>()));
    fleet.client.json("PATCH", "/experimental-features", &json!({"containsFilter": true})).ok();
    let new = fleet.spawn_node();
    fleet.nodes[new].signal("STOP");
    let added = json!({"id": "node-3", "url": fleet.nodes[new].public_url()});
    fleet.admin.post("/nodes", &added).ok();
    fleet.kill_gateway();
    fleet.nodes[new].signal("CONT");
    fleet.nodes[..new].iter().for_each(|node| node.signal("STOP"));
    fleet.spawn_gateway();
    eventually("the new node was looked at", || {
        let waits = fleet.gateway().log().contains("waits for another");
        let serves = || fleet.admin.try_send("GET", "/topology", &[], b"").ok().filter(|reply| reply.status == 200);
        (waits || serves().is_some_and(|reply| reply.value()["nodes"][3]["state"] == "up")).then_some(())
    });
    fleet.nodes[..new].iter().for_each(|node| node.signal("CONT"));
    (0..=new).for_each(|number| fleet.await_state(&format!("node-{number}"), "up"));
    settled(&fleet);
    let shown = fleet.client.get(SETTINGS).ok();
    assert_eq!((&shown["stopWords"], &shown["searchableAttributes"]), (&json!(["the"]), &json!(["name"])));
    for node in &fleet.nodes {
        let held = node.client.get(SETTINGS).ok();
        assert_eq!(held["stopWords"], json!(["the"]), "{}", node.name);
        assert_eq!(node.client.get("/experimental-features").ok()["containsFilter"], true, "{}", node.name);
    }
    let found = fleet.client.post("/indexes/shops/search", &json!({"filter": "kind = 1"})).ok();
    assert_eq!(found["hits"].as_array().map(Vec::len), Some(4));
}

/// A change of settings that comes next may need the feature, and would be refused by a node that has not got it.
#[test]
fn a_feature_that_is_acknowledged_after_a_start_is_on_at_every_node_that_lives() {
    let mut fleet = Fleet::with(FleetOptions {
        // A node that has only just stopped answering is waited for.
        more: "health: { timeout: 30s, start_wait: 60s }".to_owned(),
        ..FleetOptions::default()
    });
    fleet.kill_gateway();
    fleet.nodes[2].signal("STOP");
    fleet.spawn_gateway();
    eventually("the gateway is there", || {
        fleet.client.try_send("GET", "/health", &[], b"").ok().filter(|reply| reply.status == 200).map(|_| ())
    });
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let change = json!({"containsFilter": true});
            fleet.client.json("PATCH", "/experimental-features", &change).ok()
        });
        // Who does not wait for the third node answers meanwhile.
        let ends = std::time::Instant::now() + std::time::Duration::from_secs(2);
        while !asked.is_finished() && std::time::Instant::now() < ends {
            pause(std::time::Duration::from_millis(20));
        }
        let early = asked.is_finished();
        fleet.nodes[2].signal("CONT");
        assert_eq!(asked.join().expect("an answer")["containsFilter"], true);
        assert!(!early, "it was acknowledged before a node that lives could have it");
    });
    for node in &fleet.nodes {
        assert_eq!(node.client.get("/experimental-features").ok()["containsFilter"], true, "{}", node.name);
    }
}

/// Makes the record say another primary key than `id`.
fn record_key(fleet: &Fleet, index: &str, key: &str) {
    let record = rusqlite::Connection::open(fleet.state()).expect("the gateway's state");
    let changed = record.execute(
        "UPDATE indexes SET entry = replace(entry, '\"id\"', ?1) WHERE uid = ?2",
        [format!("\"{key}\""), index.to_owned()],
    );
    assert_eq!(changed.expect("a change"), 1);
}
