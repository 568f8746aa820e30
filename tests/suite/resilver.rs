//! Stale replicas are brought in sync: only with what they lack, while writes go on, until all replicas are equal.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{eventually, more, pause};
use crate::support::corpus::{NDJSON, ndjson};
use crate::support::stop::StopOnDrop;
use crate::support::{Client, Fleet, FleetOptions, Single};

fn documents(range: std::ops::Range<usize>, text: &str) -> Vec<Value> {
    range.map(|id| json!({"id": id, "n": id % 100, "text": format!("{text} {id}")})).collect()
}

fn add(client: &Client, index: &str, documents: &[Value]) {
    for chunk in documents.chunks(2000) {
        client.done(&client.send("POST", &format!("/indexes/{index}/documents"), NDJSON, &ndjson(chunk)));
    }
}

fn copied(fleet: &Fleet, node: &str) -> usize {
    fleet.metric(&format!("miroir_resilvered_documents_total{{node=\"{node}\"}}")) as usize
}

#[test]
fn a_returning_node_gets_only_the_documents_it_missed() {
    let mut fleet = Fleet::start();
    add(&fleet.client, "books", &documents(0..6000, "old"));
    fleet.nodes[1].kill();
    let client = fleet.client.clone();
    add(&client, "books", &documents(100..400, "new"));
    client.done(&client.json("PUT", "/indexes/books/documents", &json!([{"id": 1000, "extra": true}, {"id": 9000}])));
    client.done(&client.post("/indexes/books/documents/delete-batch", &json!((500..600).collect::<Vec<_>>())));
    assert!(fleet.metric("miroir_stale_replicas{node=\"node-1\"}") > 0.0);
    fleet.nodes[1].restart();
    fleet.await_state("node-1", "up");
    fleet.await_in_sync();

    let held = fleet.equal_replicas("books");
    assert_eq!(held.len(), 5901);
    assert_eq!(held["1000"]["text"], "old 1000", "a partial update keeps its base");
    assert_eq!(held["1000"]["extra"], true);
    assert!(!held.contains_key("550"), "a delete does not come back");
    let missed = (100..400).chain([1000, 9000]).map(|id: usize| id.to_string());
    assert_eq!(copied(&fleet, "node-1"), fleet.owned("node-1", missed));
    let deleted = fleet.metric("miroir_resilver_deleted_documents_total{node=\"node-1\"}") as usize;
    assert_eq!(deleted, fleet.owned("node-1", (500..600).map(|id| id.to_string())));
    assert_eq!(copied(&fleet, "node-0") + copied(&fleet, "node-2"), 0);
}

#[test]
fn an_emptied_node_is_rebuilt_whole() {
    let mut fleet = Fleet::start();
    let client = fleet.client.clone();
    client.done(&client.post("/indexes", &json!({"uid": "books", "primaryKey": "id"})));
    client.done(&client.json(
        "PATCH",
        "/indexes/books/settings",
        &json!({"filterableAttributes": ["n"], "stopWords": ["old"]}),
    ));
    add(&client, "books", &documents(0..3000, "old"));
    client.done(&client.post("/indexes", &json!({"uid": "empty", "primaryKey": "id"})));
    // At once: no health check may see the node away.
    fleet.nodes[2].kill();
    fleet.nodes[2].wipe();
    fleet.nodes[2].restart();
    let noticed = || (copied(&fleet, "node-2") > 0).then_some(());
    eventually("the gateway sees that it is another disk", noticed);
    fleet.await_state("node-2", "up");
    fleet.await_in_sync();
    assert_eq!(fleet.equal_replicas("books").len(), 3000);
    assert_eq!(copied(&fleet, "node-2"), fleet.owned("node-2", (0..3000).map(|id| id.to_string())));
    let settings = |node: usize| fleet.nodes[node].client.get("/indexes/books/settings").ok();
    assert_eq!(settings(0), settings(2));
    assert_eq!(fleet.nodes[2].client.get("/indexes/empty").ok()["primaryKey"], "id");
}

/// Writes of every kind until `stop`, and counts those that were acknowledged; returns how many there were.
fn write(client: &Client, writer: usize, stop: &AtomicBool, written: &AtomicUsize) -> usize {
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        let id = (writer * 1000 + round * 7 % 1000) % 4000;
        let reply = match round % 4 {
            0 => client.post("/indexes/busy/documents", &json!([{"id": id, "n": id % 100, "by": writer}])),
            1 => client.json("PUT", "/indexes/busy/documents", &json!([{"id": id, "round": round}])),
            2 => client.delete(&format!("/indexes/busy/documents/{id}")),
            _ => client.post("/indexes/busy/documents/delete-batch", &json!([id, id + 1])),
        };
        assert_eq!(reply.status, 202, "{}", reply.text);
        written.fetch_add(1, Ordering::Relaxed);
        round += 1;
        if writer == 0 && round % 20 == 0 {
            let filter = json!({"filter": format!("n = {}", round % 100)});
            assert_eq!(client.post("/indexes/busy/documents/delete", &filter).status, 202);
        }
        pause(Duration::from_millis(10));
    }
    round
}

#[test]
fn writes_go_on_while_a_node_is_resilvered() {
    let mut fleet = Fleet::start();
    let client = fleet.client.clone();
    client.done(&client.post("/indexes", &json!({"uid": "busy", "primaryKey": "id"})));
    client.done(&client.json("PATCH", "/indexes/busy/settings", &json!({"filterableAttributes": ["n"]})));
    add(&client, "busy", &documents(0..4000, "old"));
    fleet.nodes[1].kill();
    add(&client, "busy", &documents(1000..3000, "new"));
    fleet.nodes[1].wipe();
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let ending = StopOnDrop(&stop);
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (client, stop, written) = (client.clone(), &stop, &written);
                scope.spawn(move || write(&client, writer, stop, written))
            })
            .collect();
        more(&written, 8);
        fleet.nodes[1].restart();
        fleet.await_state("node-1", "up");
        let before = written.load(Ordering::Relaxed);
        fleet.await_in_sync();
        let meanwhile = written.load(Ordering::Relaxed) - before;
        drop(ending);
        assert!(meanwhile > 4, "only {meanwhile} writes were acknowledged while the node was resilvered");
        for writer in writers {
            let rounds = writer.join().expect("no panic");
            assert!(rounds > 5, "only {rounds} writes");
        }
    });
    eventually("every task has ended", || {
        let open = client.get("/tasks?statuses=enqueued,processing").ok();
        (open["total"] == 0).then_some(())
    });
    fleet.await_in_sync();
    fleet.equal_replicas("busy");
    assert!(copied(&fleet, "node-1") > 0);
}

#[test]
fn a_node_of_another_cluster_is_refused() {
    let other = Fleet::with(FleetOptions { nodes: 1, replication_factor: 1, ..Default::default() });
    add(&other.client, "books", &documents(0..10, "theirs"));
    let mut fleet = Fleet::start();
    add(&fleet.client, "books", &documents(0..100, "ours"));
    fleet.nodes[1].kill();
    fleet.nodes[1].take_disk_of(&other.nodes[0]);
    drop(other);
    fleet.nodes[1].restart();
    let reason = eventually("the node is refused", || {
        let topology = fleet.admin.get("/topology").ok();
        let node = topology["nodes"].as_array()?.iter().find(|node| node["id"] == "node-1")?.clone();
        (node["state"] == "down").then(|| node["refused"].as_str().map(str::to_owned))?
    });
    assert!(reason.contains("another cluster"), "{reason}");
    assert_eq!(fleet.metric("miroir_node_refused{node=\"node-1\"}"), 1.0);
    assert_eq!(fleet.client.documents("books").len(), 100);
    // Its own disk back, empty as it may be, the node is rebuilt.
    fleet.nodes[1].kill();
    fleet.nodes[1].wipe();
    fleet.nodes[1].restart();
    fleet.await_state("node-1", "up");
    fleet.await_in_sync();
    assert_eq!(fleet.equal_replicas("books").len(), 100);
    assert_eq!(fleet.metric("miroir_node_refused{node=\"node-1\"}"), 0.0);
}

#[test]
fn what_miroir_keeps_on_the_nodes_is_not_seen_by_clients() {
    let single = Single::start();
    let fleet = Fleet::start();
    for client in [&single.client, &fleet.client] {
        add(client, "books", &documents(0..3, "x"));
    }
    let listed = fleet.client.get("/indexes").ok();
    assert_eq!((listed["total"].clone(), listed["results"][0]["uid"].clone()), (json!(1), json!("books")));
    assert!(!fleet.client.get("/stats").text.contains("_miroir"));
    for path in
        ["/indexes/_miroir", "/indexes/_miroir/documents", "/indexes/_miroir/settings", "/indexes/_miroir/stats"]
    {
        let (one, many) = (single.client.get(path), fleet.client.get(path));
        assert_eq!((many.status, many.value()), (one.status, one.value()), "{path}");
    }
    let search = json!({"q": ""});
    let reply = fleet.client.post("/indexes/_miroir/search", &search);
    assert_eq!((reply.status, reply.value()["code"].clone()), (404, json!("index_not_found")));
    let many = fleet.client.post("/multi-search", &json!({"queries": [{"indexUid": "_miroir", "q": ""}]}));
    assert_eq!(many.value()["code"], "index_not_found");
    for reply in [
        fleet.client.post("/indexes/_miroir/documents", &json!([{"id": 1}])),
        fleet.client.post("/indexes", &json!({"uid": "_miroir"})),
        fleet.client.delete("/indexes/_miroir"),
        fleet.client.post("/swap-indexes", &json!([{"indexes": ["_miroir", "books"]}])),
    ] {
        assert_eq!((reply.status, reply.value()["code"].clone()), (400, json!("invalid_index_uid")), "{}", reply.text);
    }
}
