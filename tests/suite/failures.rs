//! kill -9 of nodes and of the gateway, in the middle of traffic.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::client::{eventually, more};
use crate::support::corpus::NDJSON;
use crate::support::corpus::{cities, ndjson};
use crate::support::parity::load;
use crate::support::stop::StopOnDrop;
use crate::support::{Fleet, FleetOptions, Single};

#[test]
fn a_killed_node_costs_no_search() {
    let documents = cities(1500);
    let single = Single::start();
    let mut fleet = Fleet::start();
    load(&single.client, "cities", &documents);
    load(&fleet.client, "cities", &documents);
    let queries: Vec<Value> = ["paris", "san", "a", "new york", "berl", ""]
        .iter()
        .flat_map(|q| [json!({"q": q, "limit": 30}), json!({"q": q, "sort": ["population:desc"], "limit": 15})])
        .collect();
    // Ties may change places, so the totals and the set of ranks must hold; sorted by population they are exact.
    let expected: Vec<Value> = queries.iter().map(|query| single.client.search("cities", query)).collect();
    let stop = AtomicBool::new(false);
    let (asked, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let client = fleet.client.clone();
    std::thread::scope(|scope| {
        let ending = StopOnDrop(&stop);
        let (stop, asked) = (&stop, &asked);
        for thread in 0..16 {
            let (client, queries, expected, wrong) = (&client, &queries, &expected, &wrong);
            scope.spawn(move || {
                let mut at = thread;
                while !stop.load(Ordering::Relaxed) {
                    let n = at % queries.len();
                    at += 1;
                    asked.fetch_add(1, Ordering::Relaxed);
                    let reply = client.try_send(
                        "POST",
                        "/indexes/cities/search",
                        &[("Content-Type", "application/json")],
                        queries[n].to_string().as_bytes(),
                    );
                    let good = reply.is_ok_and(|reply| {
                        let complete = reply.status == 200 && reply.header("x-miroir-degraded").is_none();
                        let value: Value = serde_json::from_str(&reply.text).unwrap_or_default();
                        let populations = |value: &Value| -> Vec<Value> {
                            value["hits"]
                                .as_array()
                                .into_iter()
                                .flatten()
                                .map(|hit| hit["population"].clone())
                                .collect()
                        };
                        let exact = queries[n].get("sort").is_none()
                            || queries[n]["q"] != ""
                            || populations(&value) == populations(&expected[n]);
                        complete
                            && value["estimatedTotalHits"] == expected[n]["estimatedTotalHits"]
                            && value["hits"].as_array().map(Vec::len) == expected[n]["hits"].as_array().map(Vec::len)
                            && exact
                    });
                    if !good {
                        wrong.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        more(asked, 50);
        fleet.nodes[1].kill();
        fleet.await_state("node-1", "down");
        more(asked, 100);
        fleet.nodes[1].restart();
        fleet.await_state("node-1", "up");
        more(asked, 100);
        fleet.nodes[0].kill();
        fleet.await_state("node-0", "down");
        more(asked, 50);
        drop(ending);
    });
    let (asked, wrong) = (asked.into_inner(), wrong.into_inner());
    assert!(asked > 100, "only {asked} searches");
    assert_eq!(wrong, 0, "{wrong} of {asked} searches were wrong or failed");
}

#[test]
fn a_killed_gateway_loses_nothing_it_acknowledged() {
    let mut fleet = Fleet::start();
    fleet.client.done(&fleet.client.post("/indexes", &json!({"uid": "kept", "primaryKey": "id"})));
    let accepted = AtomicUsize::new(0);
    let acknowledged: Vec<(String, usize)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..50usize)
            .map(|batch| {
                let (client, accepted) = (fleet.client.clone(), &accepted);
                scope.spawn(move || {
                    let documents: Vec<Value> =
                        (0..100).map(|n| json!({"id": batch * 100 + n, "t": format!("batch {batch}")})).collect();
                    let reply = client.try_send("POST", "/indexes/kept/documents", NDJSON, &ndjson(&documents)).ok()?;
                    if reply.status != 202 {
                        return None;
                    }
                    accepted.fetch_add(1, Ordering::Relaxed);
                    Some((reply.value()["taskUid"].as_str()?.to_owned(), batch))
                })
            })
            .collect();
        // In the middle: some are acknowledged, others under way.
        eventually("some are acknowledged", || (accepted.load(Ordering::Relaxed) >= 3).then_some(()));
        fleet.kill_gateway();
        handles.into_iter().filter_map(|handle| handle.join().expect("no panic")).collect()
    });
    fleet.start_gateway();
    for (id, _) in &acknowledged {
        let task = fleet.client.wait_id(id);
        assert_eq!(task["status"], "succeeded", "{task}");
    }
    // By their ids: pages of a list would shift under the writes in doubt that are still being settled.
    for (_, batch) in &acknowledged {
        let ids: Vec<usize> = (0..100).map(|n| batch * 100 + n).collect();
        let page = fleet.client.post("/indexes/kept/documents/fetch", &json!({"ids": ids, "limit": 100})).ok();
        let found: BTreeSet<u64> = page["results"]
            .as_array()
            .expect("results")
            .iter()
            .filter_map(|document| document["id"].as_u64())
            .collect();
        for id in ids {
            assert!(found.contains(&(id as u64)), "document {id} was acknowledged and is lost");
        }
    }
    // And no task is left hanging.
    let open = fleet.client.get("/tasks?statuses=enqueued,processing").ok();
    for task in open["results"].as_array().expect("results") {
        fleet.client.wait_id(task["uid"].as_str().expect("an id"));
    }
}

#[test]
fn without_a_replica_the_answer_says_what_is_missing() {
    let documents = cities(500);
    let mut fleet = Fleet::with(FleetOptions { replication_factor: 1, ..Default::default() });
    load(&fleet.client, "cities", &documents);
    fleet.nodes[2].kill();
    let reply = fleet.client.post("/indexes/cities/search", &json!({"q": "", "limit": 1000}));
    assert_eq!(reply.status, 200);
    let missing = reply.header("x-miroir-degraded").expect("the header").to_owned();
    assert!(missing.contains("shards="), "{missing}");
    let hits = reply.value()["hits"].as_array().map_or(0, Vec::len);
    assert!(hits > 100 && hits < 500, "{hits}");
    fleet.nodes[2].restart();
    fleet.await_state("node-2", "up");
    let reply = fleet.client.post("/indexes/cities/search", &json!({"q": "", "limit": 1000}));
    assert!(reply.header("x-miroir-degraded").is_none());
    assert_eq!(reply.value()["hits"].as_array().map(Vec::len), Some(500));

    let mut strict = Fleet::with(FleetOptions {
        replication_factor: 1,
        more: "search: { unavailable_shards: error }\n".to_owned(),
        ..Default::default()
    });
    load(&strict.client, "cities", &documents);
    strict.nodes[2].kill();
    let reply = strict.client.post("/indexes/cities/search", &json!({"q": ""}));
    assert_eq!((reply.status, reply.value()["code"].clone()), (503, json!("miroir_no_replica")), "{}", reply.text);
    let write = strict.client.post("/indexes/cities/documents", &json!(documents));
    assert_eq!((write.status, write.value()["code"].clone()), (503, json!("miroir_no_replica")), "{}", write.text);
}

#[test]
fn an_acknowledged_write_survives_the_death_of_every_node() {
    let mut fleet = Fleet::start();
    let reply = fleet
        .client
        .post(
            "/indexes/kept/documents",
            &json!((0..2000).map(|id| json!({"id": id, "t": "some words"})).collect::<Vec<_>>()),
        )
        .ok();
    for node in &mut fleet.nodes {
        node.kill();
    }
    for node in &mut fleet.nodes {
        node.restart();
    }
    let task = fleet.client.wait_id(reply["taskUid"].as_str().expect("an id"));
    assert_eq!(task["status"], "succeeded", "{task}");
    for node in ["node-0", "node-1", "node-2"] {
        fleet.await_state(node, "up");
    }
    assert_eq!(fleet.client.documents("kept").len(), 2000);
}
