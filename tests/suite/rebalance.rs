//! Nodes come and go under searching and writing clients.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Client, eventually, pause};
use crate::support::stop::StopOnDrop;
use crate::support::{Fleet, FleetOptions};

const STABLE: usize = 600;

/// As a file of the first versions says it: there exactly what a node wins moves.
pub const RENDEZVOUS: &str = "  shards: 256\n  placement: rendezvous\n";

/// A fleet whose moves take many steps, with documents that nobody will change.
pub fn fleet(nodes: usize, replication_factor: usize, concurrency: usize) -> Fleet {
    fleet_placed(RENDEZVOUS, nodes, replication_factor, concurrency)
}

pub fn fleet_placed(placement: &'static str, nodes: usize, replication_factor: usize, concurrency: usize) -> Fleet {
    // A machine that is busy with other things must not look like a node that does not answer.
    let more =
        format!("rebalance: {{ concurrency: {concurrency} }}\nsearch: {{ timeout: 40s, attempt_timeout: 20s }}\n");
    let fleet = Fleet::with(FleetOptions { nodes, replication_factor, placement, more, ..Default::default() });
    fleet.client.done(&fleet.client.post("/indexes", &json!({"uid": "things", "primaryKey": "id"})));
    fleet.client.done(&fleet.client.json(
        "PATCH",
        "/indexes/things/settings",
        &json!({"filterableAttributes": ["kind", "shade"], "sortableAttributes": ["n"]}),
    ));
    let stable: Vec<Value> = (0..STABLE)
        .map(|n| json!({"id": format!("s{n}"), "kind": "stable", "n": n, "shade": n % 7, "text": "words to be found"}))
        .collect();
    fleet.client.add("things", &json!(stable));
    fleet
}

/// Waits until nothing moves and nothing is left over.
pub fn await_rest(fleet: &Fleet) -> Value {
    fleet.await_rest(Duration::from_secs(240))
}

/// How many documents the node itself counts, without documents of words.
fn held(client: &Client) -> u64 {
    let stats = client.get("/indexes/things/stats").ok();
    let of_words = stats["fieldDistribution"]["_miroir_words"].as_u64().unwrap_or(0);
    stats["numberOfDocuments"].as_u64().expect("a count") - of_words
}

/// Every document is on as many nodes as it shall be, and nowhere else.
pub fn assert_tidy(fleet: &Fleet, replicas: u64, members: &[usize]) {
    let all = fleet.client.documents("things").len() as u64;
    let held: Vec<u64> = members.iter().map(|node| held(&fleet.nodes[*node].client)).collect();
    assert_eq!(held.iter().sum::<u64>(), all * replicas, "{all} documents, the nodes hold {held:?}");
    let stats = fleet.client.get("/indexes/things/stats").ok();
    assert_eq!(stats["numberOfDocuments"].as_u64(), Some(all));
}

/// Each task on documents says where it came from, or a scrub would take it for a write of a stranger.
fn assert_stamped(fleet: &Fleet, members: &[usize]) {
    let path = "/tasks?indexUids=things&types=documentAdditionOrUpdate,documentDeletion&limit=1000000";
    let mut copies = 0;
    for node in members.iter().map(|node| &fleet.nodes[*node]) {
        let tasks = node.client.get(path).ok();
        for task in tasks["results"].as_array().expect("results") {
            let stamp = task["customMetadata"].as_str().unwrap_or_default();
            assert!(stamp.starts_with("mtask-") || stamp == "miroir-copy", "{}: {task}", node.name);
            copies += usize::from(stamp == "miroir-copy" && task["type"] == "documentDeletion");
        }
    }
    assert!(copies > 0, "left-over documents were deleted");
}

/// What is wrong with a search for all stable documents.
pub fn fault(client: &Client, n: usize) -> Option<String> {
    let query = match n % 3 {
        0 => json!({"q": "", "filter": "kind = stable", "limit": 1000, "facets": ["shade"]}),
        1 => json!({"q": "found", "filter": "kind = stable", "limit": 1000, "sort": ["n:desc"]}),
        _ => json!({"q": "words", "filter": "kind = stable", "hitsPerPage": 1000, "page": 1}),
    };
    let body = query.to_string();
    let headers = [("Content-Type", "application/json")];
    let reply = match client.try_send("POST", "/indexes/things/search", &headers, body.as_bytes()) {
        Ok(reply) => reply,
        Err(error) => return Some(error),
    };
    if reply.status != 200 || reply.header("x-miroir-degraded").is_some() {
        let text: String = reply.text.chars().take(300).collect();
        return Some(format!("status {}, {:?}: {text}", reply.status, reply.headers));
    }
    let value: Value = serde_json::from_str(&reply.text).ok()?;
    let ids: Vec<&str> = value["hits"].as_array()?.iter().filter_map(|hit| hit["id"].as_str()).collect();
    let different: BTreeSet<&str> = ids.iter().copied().collect();
    let total = value["estimatedTotalHits"].as_u64().or(value["totalHits"].as_u64());
    let shades: Option<u64> =
        value["facetDistribution"]["shade"].as_object().map(|shades| shades.values().filter_map(Value::as_u64).sum());
    let right = ids.len() == STABLE
        && different.len() == STABLE
        && total == Some(STABLE as u64)
        && shades.is_none_or(|sum| sum == STABLE as u64);
    (!right).then(|| format!("{} hits, {} different, total {total:?}, facets {shades:?}", ids.len(), different.len()))
}

/// What the writers did and had acknowledged.
#[derive(Default)]
struct History {
    present: BTreeMap<String, Value>,
    deleted: BTreeSet<String>,
    tasks: Vec<String>,
    refused: Vec<String>,
}

// === impl History ===

impl History {
    /// True when the write was acknowledged.
    fn send(&mut self, client: &Client, method: &str, path: &str, body: &Value) -> bool {
        let headers = [("Content-Type", "application/json")];
        let text = if body.is_null() { String::new() } else { body.to_string() };
        match client.try_send(method, path, &headers, text.as_bytes()) {
            Ok(reply) if reply.status == 202 => {
                self.tasks.push(reply.value()["taskUid"].to_string().trim_matches('"').to_owned());
                true
            }
            Ok(reply) => {
                self.refused.push(format!("{method} {path}: {} {}", reply.status, reply.text));
                false
            }
            Err(error) => {
                self.refused.push(error);
                false
            }
        }
    }
}

fn write(client: &Client, writer: usize, stop: &AtomicBool) -> History {
    let mut history = History::default();
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let id = format!("w{writer}-{n}");
        let base = json!([{"id": id, "kind": "written", "base": n}]);
        if !history.send(client, "POST", "/indexes/things/documents", &base) {
            continue;
        }
        history.present.insert(id.clone(), json!({"id": id, "kind": "written", "base": n}));
        let (deletes, updates) = (n % 3 == 0, n % 3 == 1);
        if deletes && history.send(client, "DELETE", &format!("/indexes/things/documents/{id}"), &Value::Null) {
            history.present.remove(&id);
            history.deleted.insert(id);
        } else if updates && history.send(client, "PUT", "/indexes/things/documents", &json!([{"id": id, "more": n}])) {
            history.present.insert(id.clone(), json!({"id": id, "kind": "written", "base": n, "more": n}));
        }
        pause(Duration::from_millis(20));
    }
    history
}

/// Runs `during` under three searching and two writing clients, and holds everything against what they know.
pub fn under_traffic(fleet: &mut Fleet, during: impl FnOnce(&mut Fleet)) {
    let stop = AtomicBool::new(false);
    let asked = AtomicUsize::new(0);
    let client = fleet.client.clone();
    let (faults, histories) = std::thread::scope(|scope| {
        let ending = StopOnDrop(&stop);
        let searchers: Vec<_> = (0..3)
            .map(|searcher| {
                let (client, stop, asked) = (&client, &stop, &asked);
                scope.spawn(move || {
                    let mut faults = Vec::new();
                    let mut n = searcher;
                    while !stop.load(Ordering::Relaxed) {
                        n += 1;
                        asked.fetch_add(1, Ordering::Relaxed);
                        faults.extend(fault(client, n));
                    }
                    faults
                })
            })
            .collect();
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (client, stop) = (&client, &stop);
                scope.spawn(move || write(client, writer, stop))
            })
            .collect();
        during(fleet);
        drop(ending);
        let faults: Vec<String> = searchers.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
        let histories: Vec<History> = writers.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        (faults, histories)
    });
    let asked = asked.into_inner();
    assert!(asked > 20, "only {asked} searches");
    assert!(faults.is_empty(), "{} of {asked} searches were wrong, the first: {}", faults.len(), faults[0]);
    for history in &histories {
        assert!(history.refused.is_empty(), "{:?}", &history.refused[..history.refused.len().min(3)]);
        assert!(history.present.len() > 5, "only {} writes", history.present.len());
        for task in &history.tasks {
            let task = client.wait_id(task);
            assert_eq!(task["status"], "succeeded", "{task}");
        }
    }
    let open = client.get("/tasks?statuses=enqueued,processing").ok();
    for task in open["results"].as_array().expect("results") {
        client.wait_id(task["uid"].as_str().expect("an id"));
    }
    let found = client.documents("things");
    for history in &histories {
        for (id, wanted) in &history.present {
            assert_eq!(found.get(id), Some(wanted), "{id}");
        }
        for id in &history.deleted {
            assert!(!found.contains_key(id), "{id} was deleted");
        }
    }
}

#[test]
fn a_node_comes_and_is_drained_and_goes_while_clients_search_and_write() {
    let mut fleet = fleet(3, 2, 24);
    let new = fleet.spawn_node();
    let node = json!({"id": "node-3", "url": fleet.nodes[new].client.url});
    let plan = fleet.admin.post("/rebalance/plan", &json!({"add": [node]})).ok();
    let planned = plan["replicas"].as_u64().expect("a figure");
    assert!((100..160).contains(&planned), "about half of 256 shards: {plan:#}");
    assert_eq!(plan["replicasInAll"], 512);
    let documents = plan["documents"].as_u64().expect("counted");
    assert!((200..400).contains(&documents), "about half of {STABLE}: {plan:#}");
    let before = fleet.owners();

    under_traffic(&mut fleet, |fleet| {
        let answer = fleet.admin.post("/nodes", &node).ok();
        assert_eq!((&answer["changed"], &answer["replicas"]["total"]), (&json!(true), &json!(planned)));
        let status = await_rest(fleet);
        assert_eq!(status["finished"][0]["replicas"], planned);
        let after = fleet.owners();
        let arrived: usize = after.iter().zip(&before).map(|(after, before)| after.difference(before).count()).sum();
        assert_eq!(arrived as u64, planned, "exactly the replicas that the new node wins");
        assert!(after.iter().zip(&before).all(|(after, before)| after.difference(before).all(|id| id == "node-3")));
        assert!(after.iter().all(|owners| owners.len() == 2));
    });
    assert_tidy(&fleet, 2, &[0, 1, 2, 3]);

    under_traffic(&mut fleet, |fleet| {
        fleet.admin.post("/nodes/node-3/drain", &json!({})).ok();
        let status = await_rest(fleet);
        assert_eq!(status["nodes"][3]["shards"], 0, "{status:#}");
        assert_eq!(fleet.owners(), before);
    });
    assert_eq!(held(&fleet.nodes[3].client), 0);
    assert_stamped(&fleet, &[0, 1, 2, 3]);
    fleet.admin.delete("/nodes/node-3").ok();
    await_rest(&fleet);
    let topology = fleet.admin.get("/topology").ok();
    assert_eq!(topology["nodes"].as_array().map(Vec::len), Some(3), "{topology:#}");
    fleet.nodes[3].kill();
    assert_tidy(&fleet, 2, &[0, 1, 2]);
    assert!(fault(&fleet.client, 0).is_none());
}

#[test]
fn a_dead_node_is_removed_and_its_shards_are_rebuilt() {
    let mut fleet = fleet(4, 2, 64);
    let passing = |ids: std::ops::Range<usize>| json!(ids.map(|id| json!({ "id": id })).collect::<Vec<Value>>());
    fleet.client.add("passing", &passing(0..100));
    fleet.nodes[1].kill();
    eventually("node-1 is down", || {
        let topology = fleet.admin.get("/topology").ok();
        (topology["nodes"][1]["state"] == "down").then_some(())
    });
    under_traffic(&mut fleet, |fleet| {
        fleet.admin.delete("/nodes/node-1").ok();
        await_rest(fleet);
        assert!(fleet.owners().iter().all(|owners| owners.len() == 2 && !owners.contains("node-1")));
    });
    assert_eq!(fleet.admin.get("/ready").status, 200);
    assert_tidy(&fleet, 2, &[0, 2, 3]);
    // It comes back with all that it had, and shows none of it; neither of an index that was deleted and made anew.
    fleet.client.done(&fleet.client.delete("/indexes/passing"));
    fleet.nodes[1].restart();
    let node = json!({"id": "node-1", "url": fleet.nodes[1].client.url});
    under_traffic(&mut fleet, |fleet| {
        fleet.admin.post("/nodes", &node).ok();
        await_rest(fleet);
    });
    assert_tidy(&fleet, 2, &[0, 1, 2, 3]);
    assert_eq!(fleet.nodes[1].client.get("/indexes/passing").status, 404);
    fleet.client.add("passing", &passing(200..220));
    let found = fleet.client.post("/indexes/passing/search", &json!({"hitsPerPage": 1})).ok();
    assert_eq!(found["totalHits"], 20, "{found}");
}

#[test]
fn the_last_replica_is_not_given_up() {
    let mut fleet = fleet(3, 1, 16);
    fleet.nodes[2].kill();
    eventually("node-2 is down", || {
        let topology = fleet.admin.get("/topology").ok();
        (topology["nodes"][2]["state"] == "down").then_some(())
    });
    let refused = fleet.admin.delete("/nodes/node-2");
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.value()["message"].as_str().is_some_and(|text| text.contains("node-2")), "{}", refused.text);
    assert_eq!(fleet.rebalance()["state"], "idle");
    for (method, path, body, expected) in [
        ("POST", "/nodes", json!({"id": "node-0", "url": "http://127.0.0.1:1"}), 409),
        ("POST", "/nodes", json!({"id": "a b", "url": "http://127.0.0.1:1"}), 400),
        ("POST", "/nodes", json!({"id": "x", "url": "ftp://y"}), 400),
        ("POST", "/nodes", json!({"id": "x"}), 400),
        ("DELETE", "/nodes/nobody", Value::Null, 404),
        ("PATCH", "/nodes/node-0", json!({"weight": -1}), 400),
        ("PATCH", "/cluster", json!({"replicationFactor": 0}), 400),
        ("POST", "/rebalance/cancel", json!({}), 409),
        ("POST", "/rebalance/undo", json!({}), 409),
    ] {
        let reply = fleet.admin.json(method, path, &body);
        assert_eq!(reply.status, expected, "{method} {path}: {}", reply.text);
    }
}

#[test]
fn a_killed_gateway_goes_on_where_it_was() {
    let mut fleet = fleet(3, 2, 4);
    let new = fleet.spawn_node();
    fleet.admin.post("/nodes", &json!({"id": "node-3", "url": fleet.nodes[new].client.url})).ok();
    for done in [1, 20, 60] {
        let until = Instant::now() + Duration::from_secs(120);
        while fleet.rebalance()["replicas"]["done"].as_u64().is_some_and(|now| now < done) {
            assert!(Instant::now() < until, "does not move: {:#}", fleet.rebalance());
            pause(Duration::from_millis(5));
        }
        fleet.kill_gateway();
        fleet.start_gateway();
        assert!(fault(&fleet.client, done as usize).is_none(), "{:?}", fault(&fleet.client, done as usize));
    }
    let rested = await_rest(&fleet);
    assert_eq!(rested["nodes"].as_array().map(Vec::len), Some(4));
    assert!(fault(&fleet.client, 0).is_none());
    assert_tidy(&fleet, 2, &[0, 1, 2, 3]);
}

#[test]
fn a_plan_is_paused_resumed_canceled_and_undone() {
    let mut fleet = fleet(3, 2, 2);
    let before = fleet.owners();
    let new = fleet.spawn_node();
    let node = json!({"id": "node-3", "url": fleet.nodes[new].client.url});
    fleet.admin.post("/nodes", &node).ok();
    let begun = || fleet.rebalance()["replicas"]["done"].as_u64().filter(|done| *done > 2);
    eventually("some replicas have moved", begun);
    fleet.admin.post("/rebalance/pause", &json!({})).ok();
    let waits = |code: &str| {
        let status = fleet.rebalance();
        status["waiting"].as_array().is_some_and(|list| list.iter().any(|waiting| waiting["code"] == code))
    };
    // The step that was under way is finished first.
    eventually("it says that it is paused", || waits("paused").then_some(()));
    let paused = fleet.rebalance();
    assert_eq!(paused["state"], "paused");
    fleet.rounds("rebalance", 4);
    let still = fleet.rebalance();
    assert_eq!((&still["version"], &still["replicas"]["done"]), (&paused["version"], &paused["replicas"]["done"]));
    assert!(fault(&fleet.client, 1).is_none());

    let more = paused["replicas"]["done"].as_u64().expect("a figure") + 3;
    fleet.admin.post("/rebalance/resume", &json!({})).ok();
    eventually("it goes on", || fleet.rebalance()["replicas"]["done"].as_u64().filter(|done| *done > more));
    fleet.admin.post("/rebalance/cancel", &json!({})).ok();
    let canceled = await_rest(&fleet);
    assert_eq!(canceled["finished"][0]["outcome"], "canceled");
    let kept = canceled["nodes"][3]["shards"].as_u64().expect("the node stays with what has arrived");
    assert!((more..120).contains(&kept), "{canceled:#}");
    assert!(fleet.owners().iter().all(|owners| owners.len() == 2));
    assert_tidy(&fleet, 2, &[0, 1, 2, 3]);

    fleet.admin.post("/rebalance/undo", &json!({})).ok();
    let undone = await_rest(&fleet);
    assert_eq!(undone["nodes"].as_array().map(Vec::len), Some(3), "{undone:#}");
    assert_eq!(fleet.owners(), before);
    assert_tidy(&fleet, 2, &[0, 1, 2]);
    assert!(fault(&fleet.client, 0).is_none());
}

#[test]
fn replicas_are_added_and_given_up_while_clients_search_and_write() {
    let mut fleet = fleet(3, 1, 64);
    for factor in [2u64, 1] {
        under_traffic(&mut fleet, |fleet| {
            fleet.admin.json("PATCH", "/cluster", &json!({"replicationFactor": factor})).ok();
            await_rest(fleet);
            assert!(fleet.owners().iter().all(|owners| owners.len() as u64 == factor));
        });
        assert_tidy(&fleet, factor, &[0, 1, 2]);
    }
}

#[test]
fn a_changed_configuration_moves_shards_and_loses_nothing() {
    let mut fleet = fleet(3, 2, 64);
    let new = fleet.spawn_node();
    let line = fleet.nodes[new].config_line();
    let text = std::fs::read_to_string(&fleet.config).expect("the configuration");
    let last = fleet.nodes[2].config_line();
    std::fs::write(&fleet.config, text.replace(&last, &format!("{last}{line}"))).expect("a changed configuration");
    fleet.gateway().signal("HUP");
    eventually("the file is read again", || {
        let nodes = fleet.rebalance()["nodes"].as_array().map(Vec::len);
        (nodes == Some(4)).then_some(())
    });
    await_rest(&fleet);
    assert!(fault(&fleet.client, 0).is_none());
    assert_tidy(&fleet, 2, &[0, 1, 2, 3]);

    // One node less, read at the next start; nothing is lost although the configuration does not name it any more.
    fleet.kill_gateway();
    std::fs::write(&fleet.config, text).expect("the first configuration");
    fleet.start_gateway_without_waiting();
    assert!(fault(&fleet.client, 1).is_none(), "{:?}", fault(&fleet.client, 1));
    let rested = await_rest(&fleet);
    assert_eq!(rested["nodes"].as_array().map(Vec::len), Some(3), "{rested:#}");
    assert_eq!(rested["finished"][1]["cause"], "configuration");
    assert_tidy(&fleet, 2, &[0, 1, 2]);
}
