//! Nodes take changes of the gateway that leads, and of no other, however late what others have sent comes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::FleetOptions;
use crate::support::client::{Client, eventually, id_of, pause, within};
use crate::support::fault_proxy::Mode;
use crate::support::fleet::{Node, is_embedded};
use crate::support::gateways::Gateways;

const NODE_KEY: &str = "the-key-of-the-nodes-of-tests";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
/// A lease, the views of before, and what comes between.
const TAKE_OVER: Duration = Duration::from_secs(40);

fn two(nodes: usize) -> Gateways {
    let options = FleetOptions { nodes, node_key: Some(NODE_KEY), proxied: true, ..Default::default() };
    Gateways::start(2, options)
}

/// The keys of leaders on a node: epoch, uid, secret.
fn keys(node: &Node) -> Vec<(i64, String, String)> {
    let listed = node.client.get("/keys?limit=1000").ok();
    let ours = listed["results"].as_array().into_iter().flatten().filter_map(|key| {
        let described = key["description"].as_str()?;
        let (_, epoch) = described.strip_prefix("The key by which the leading gateway")?.rsplit_once("epoch ")?;
        let text = |name: &str| key[name].as_str().map(str::to_owned);
        Some((epoch.parse().ok()?, text("uid")?, text("key")?))
    });
    ours.collect()
}

/// The one key of a leader on each of `nodes`, once it is of `epoch`.
fn only_keys(nodes: &[Node], epoch: i64) -> Vec<(i64, String, String)> {
    within(TAKE_OVER, "each node has the key of this epoch alone", || {
        let all: Vec<_> = nodes.iter().map(keys).collect();
        all.iter().all(|keys| keys.len() == 1 && keys[0].0 == epoch).then(|| all.into_iter().flatten().collect())
    })
}

/// Whether a node takes a change by `key`: one that changes nothing.
fn takes(node: &Node, key: &str) -> u16 {
    node.client.with_key(key).post("/tasks/cancel?uids=4294967295", &json!({})).status
}

fn leads(gateways: &Gateways, place: usize) -> i64 {
    within(TAKE_OVER, "it leads", || {
        let (id, epoch) = gateways.leader(place)?;
        (id == format!("gw-{place}")).then_some(epoch)
    })
}

fn documents(count: u64, text: &str) -> Value {
    (0..count).map(|id| json!({ "id": id, "text": text })).collect()
}

fn write(client: &Client, documents: &Value) {
    let reply = within(TAKE_OVER, "a write is taken", || {
        let body = documents.to_string();
        let reply = client.try_send("POST", "/indexes/notes/documents", &JSON, body.as_bytes()).ok()?;
        (reply.status == 202).then_some(reply)
    });
    assert_eq!(client.wait(&reply)["status"], "succeeded");
}

/// What a node holds, without fields of Miroir's.
fn held(node: &Node) -> BTreeMap<String, Value> {
    let page = node.client.post("/indexes/notes/documents/fetch", &json!({ "limit": 100_000 })).ok();
    let shown = page["results"].as_array().into_iter().flatten().filter_map(|document| {
        let text = document.get("text")?;
        Some((id_of(document), text.clone()))
    });
    shown.collect()
}

/// Every node comes to hold just these.
fn all_hold(gateways: &Gateways, count: u64, text: &str) {
    let expected: BTreeMap<String, Value> = (0..count).map(|id| (id.to_string(), json!(text))).collect();
    for node in &gateways.fleet.nodes {
        within(TAKE_OVER, &format!("{} holds what was acknowledged", node.name), || {
            (held(node) == expected).then_some(())
        });
    }
}

#[test]
fn nodes_take_changes_by_the_key_of_the_epoch_alone() {
    let mut gateways = two(2);
    let first = leads(&gateways, 0);
    let before = only_keys(&gateways.fleet.nodes, first);
    write(&gateways.fleet.client, &documents(20, "one"));
    for (node, (_, uid, key)) in gateways.fleet.nodes.iter().zip(&before) {
        assert_eq!(takes(node, key), 200);
        // Somebody deletes it: writes go on by another.
        assert_eq!(node.client.delete(&format!("/keys/{uid}")).status, 204);
    }
    write(&gateways.fleet.client, &documents(20, "two"));
    let again = only_keys(&gateways.fleet.nodes, first);
    assert!(before.iter().zip(&again).all(|(before, again)| before.1 != again.1));
    all_hold(&gateways, 20, "two");
    assert!(gateways.fleet.gateway().log().contains("a node refuses the key of this epoch"));

    gateways.fleet.gateway.take().expect("the leader").kill();
    let second = leads(&gateways, 1);
    assert!(second > first);
    let after = only_keys(&gateways.fleet.nodes, second);
    let follower = &gateways.others[0];
    write(&follower.client, &documents(20, "three"));
    for ((node, (_, _, old)), (_, _, new)) in gateways.fleet.nodes.iter().zip(&again).zip(&after) {
        assert_eq!((takes(node, old), takes(node, new)), (403, 200));
    }
    all_hold(&gateways, 20, "three");
    let log = follower.process.log();
    assert!(after.iter().chain(&again).all(|(_, _, key)| !log.contains(key)));
}

/// A read that is a POST changes nothing, so it goes by the configured key, and needs no lead.
#[test]
fn reads_that_are_posts_are_answered_by_every_gateway() {
    let gateways = two(2);
    let first = leads(&gateways, 0);
    only_keys(&gateways.fleet.nodes, first);
    let filters = gateways.fleet.client.json("PUT", "/indexes/notes/settings/filterable-attributes", &json!(["text"]));
    gateways.fleet.client.done(&filters);
    write(&gateways.fleet.client, &documents(20, "one"));
    let template = json!({
        "template": {"kind": "inlineDocumentTemplate", "inline": "{{doc.text}}!"},
        "input": {"kind": "indexDocument", "indexUid": "notes", "id": "7"},
    });
    let mut reads = vec![
        ("/indexes/notes/search", json!({"q": "one"})),
        ("/indexes/notes/facet-search", json!({"facetName": "text"})),
        ("/indexes/notes/documents/fetch", json!({"limit": 3})),
        ("/multi-search", json!({"queries": [{"indexUid": "notes", "q": "one"}]})),
    ];
    if !is_embedded() {
        let on = json!({"renderRoute": true});
        assert_eq!(gateways.fleet.client.json("PATCH", "/experimental-features", &on).status, 200);
        reads.extend([("/render-template", template), ("/indexes/notes/fields", json!({}))]);
    }
    for client in gateways.clients() {
        for (path, body) in &reads {
            let reply = client.post(path, body);
            assert_eq!(reply.status, 200, "{path} of {}: {}", client.url, reply.text);
        }
    }
}

#[test]
fn every_kind_of_change_is_within_the_rights_of_the_epochs_key() {
    let gateways = two(2);
    let first = leads(&gateways, 0);
    only_keys(&gateways.fleet.nodes, first);
    let client = &gateways.others[0].client;
    let features = json!({"editDocumentsByFunction": true, "containsFilter": true});
    assert_eq!(client.json("PATCH", "/experimental-features", &features).status, 200);
    let mut changes = vec![
        ("POST", "/indexes", json!({"uid": "notes", "primaryKey": "id"})),
        ("POST", "/indexes", json!({"uid": "others"})),
        ("PATCH", "/indexes/others", json!({"primaryKey": "id"})),
        ("PATCH", "/indexes/notes/settings", json!({"filterableAttributes": ["text"]})),
        ("DELETE", "/indexes/notes/settings/stop-words", Value::Null),
        ("POST", "/indexes/notes/documents", documents(9, "one")),
        ("PUT", "/indexes/notes/documents", documents(9, "two")),
        ("POST", "/indexes/notes/documents/edit", json!({"function": "doc.text = \"three\""})),
        ("POST", "/indexes/notes/documents/delete", json!({"filter": "text CONTAINS z"})),
        ("POST", "/indexes/notes/documents/delete-batch", json!([7])),
        ("DELETE", "/indexes/notes/documents/8", Value::Null),
        ("POST", "/swap-indexes", json!([{"indexes": ["notes", "others"]}])),
        ("DELETE", "/indexes/others/documents", Value::Null),
        ("POST", "/tasks/cancel?uids=0", Value::Null),
        ("DELETE", "/tasks?uids=0", Value::Null),
        ("DELETE", "/indexes/notes", Value::Null),
    ];
    if !is_embedded() {
        assert_eq!(client.json("PATCH", "/experimental-features", &json!({"dynamicSearchRules": true})).status, 200);
        changes.extend([
            ("POST", "/swap-indexes", json!([{"indexes": ["others", "named"], "rename": true}])),
            ("PATCH", "/indexes/named", json!({"uid": "again"})),
            ("POST", "/indexes/again/compact", Value::Null),
            ("PATCH", "/dynamic-search-rules/one", json!({"active": false})),
            ("DELETE", "/dynamic-search-rules/one", Value::Null),
            ("DELETE", "/dynamic-search-rules", Value::Null),
        ]);
    }
    for (method, path, body) in &changes {
        let reply = client.json(method, path, body);
        assert!(reply.status < 300, "{method} {path}: {}", reply.text);
        let task = client.done(&reply);
        assert_eq!(task["error"], Value::Null, "{method} {path}");
    }
    let key = json!({"uid": "6062abda-a5aa-4414-ac91-ecd7944c0f8d", "actions": ["search"], "indexes": ["*"], "expiresAt": null});
    let path = "/keys/6062abda-a5aa-4414-ac91-ecd7944c0f8d";
    // Without a master key of their own gateways have no keys to keep.
    assert_eq!(client.post("/keys", &key).value()["code"], "missing_master_key");
    assert_eq!(client.json("PATCH", path, &json!({"name": "a"})).value()["code"], "missing_master_key");
    for node in &gateways.fleet.nodes {
        assert_eq!(node.client.get("/indexes/notes").status, 404, "{}", node.name);
    }
    assert!(!gateways.fleet.gateway().log().contains("refuses the key of this epoch"));
}

#[test]
fn a_node_that_was_away_gets_the_key_before_it_takes_a_write() {
    let mut gateways = two(3);
    let first = leads(&gateways, 0);
    only_keys(&gateways.fleet.nodes, first);
    write(&gateways.fleet.client, &documents(30, "one"));
    gateways.fleet.nodes[2].kill();
    gateways.fleet.gateway.take().expect("the leader").kill();
    let second = leads(&gateways, 1);
    only_keys(&gateways.fleet.nodes[..2], second);
    write(&gateways.others[0].client, &documents(30, "two"));
    gateways.fleet.nodes[2].restart();
    only_keys(&gateways.fleet.nodes, second);
    eventually("it serves", || {
        let topology = gateways.others[0].admin.get("/topology").ok();
        let nodes = topology["nodes"].as_array()?.clone();
        nodes.iter().all(|node| node["state"] == "up").then_some(())
    });
    write(&gateways.others[0].client, &documents(30, "three"));
    let found = gateways.others[0].client.search("notes", &json!({ "limit": 100, "hitsPerPage": 100 }));
    let hits = found["hits"].as_array().expect("hits");
    assert!(hits.len() == 30 && hits.iter().all(|hit| hit["text"] == "three"), "{found}");
}

#[test]
fn what_a_frozen_leader_had_opened_to_a_node_undoes_nothing() {
    let gateways = two(2);
    let first = leads(&gateways, 0);
    only_keys(&gateways.fleet.nodes, first);
    write(&gateways.fleet.client, &documents(2000, "one"));

    // The upload reaches node-0; the network keeps the end of what was sent to node-1.
    let proxy = gateways.fleet.nodes[1].proxy.as_ref().expect("a proxy");
    proxy.set(Mode::HoldAfter(512 << 10));
    let late = documents(2000, &format!("late {}", "x".repeat(1500))).to_string();
    let client = gateways.fleet.client.clone();
    let uploading = std::thread::spawn(move || {
        // Nobody answers: the leader is frozen.
        drop(client.try_send("POST", "/indexes/notes/documents", &JSON, late.as_bytes()));
    });
    let is_late = |task: &Value| {
        let metadata = task["customMetadata"].as_str().unwrap_or_default();
        task["details"]["receivedDocuments"] == 2000 && metadata.ends_with(&format!("epoch-{first}"))
    };
    let taken = |node: &Node| {
        let tasks = node.client.get("/tasks?limit=1000&types=documentAdditionOrUpdate").ok();
        tasks["results"].as_array().map_or(0, |all| all.iter().filter(|task| is_late(task)).count())
    };
    let [node_0, node_1] = &gateways.fleet.nodes[..] else { panic!("two nodes") };
    let before = taken(node_1);
    eventually("node-0 has taken the upload", || (taken(node_0) > before).then_some(()));
    gateways.fleet.gateway().signal("STOP");

    let second = leads(&gateways, 1);
    only_keys(&gateways.fleet.nodes, second);
    write(&gateways.others[0].client, &documents(2000, "two"));
    all_hold(&gateways, 2000, "two");
    assert_eq!(taken(node_1), before, "the network has kept it so far");

    proxy.set(Mode::Pass);
    eventually("node-1 has taken what came late", || (taken(node_1) > before).then_some(()));
    eventually("it was seen", || {
        gateways.others[0].process.log().contains("a former leader's request came late").then_some(())
    });
    all_hold(&gateways, 2000, "two");
    gateways.fleet.gateway().signal("CONT");
    pause(Duration::from_secs(1));
    write(&gateways.others[0].client, &documents(2000, "three"));
    all_hold(&gateways, 2000, "three");
    uploading.join().expect("the client of the frozen leader");
}
