//! One task id over many node tasks: durable, in either form, with Meilisearch's filters.

use serde_json::{Value, json};

use crate::support::client::eventually;
use crate::support::fleet::is_embedded;
use crate::support::{Client, Fleet, FleetOptions, Single};

const AS_SDK: &[(&str, &str)] = &[("X-Meilisearch-Client", "Meilisearch Python (v0.43.0)")];

fn uids(list: &Value) -> Vec<Value> {
    list["results"].as_array().expect("results").iter().map(|task| task["uid"].clone()).collect()
}

#[test]
fn a_task_is_found_by_either_form_of_its_id() {
    let fleet = Fleet::start();
    let reply = fleet.client.post("/indexes/a/documents", &json!([{"id": 1}])).ok();
    let id = reply["taskUid"].as_str().expect("clients that name no SDK get the long form").to_owned();
    assert!(id.starts_with("mtask-") && id.len() == 42, "{id}");
    fleet.client.wait_id(&id);

    let as_sdk = |path: &str| fleet.client.send("GET", path, AS_SDK, b"").ok();
    let task = as_sdk(&format!("/tasks/{id}"));
    let number = task["uid"].as_u64().expect("SDKs get integers");
    assert_eq!(as_sdk(&format!("/tasks/{number}")), task);
    assert_eq!(fleet.client.get(&format!("/tasks/{number}")).ok()["uid"], json!(number), "asked by an integer");
    let both = format!("/tasks?uids={id},{number}");
    assert_eq!(fleet.client.get(&both).ok()["total"], json!(1));
    let by_agent =
        fleet.client.send("GET", &format!("/tasks/{id}"), &[("User-Agent", "Meilisearch JavaScript (v0.62.0)")], b"");
    assert!(by_agent.ok()["uid"].is_u64());
}

/// The library under an SDK does not always send the SDK's name. Who asks by integers, as the SDK was told, gets integers.
#[test]
fn who_asks_by_integers_is_answered_in_integers() {
    let fleet = Fleet::start();
    let write = |id: u32| {
        let body = json!([{"id": id}]).to_string();
        let headers = [AS_SDK[0], ("Content-Type", "application/json")];
        let task = fleet.client.send("POST", "/indexes/a/documents", &headers, body.as_bytes()).ok();
        task["taskUid"].as_u64().expect("SDKs get integers")
    };
    let (first, second) = (write(1), write(2));
    let plain = |method: &str, path: String| fleet.client.send(method, &path, &[], b"").ok();
    for uid in [first, second] {
        assert_eq!(fleet.client.wait_id(&uid.to_string())["uid"], json!(uid));
    }
    let list = plain("GET", format!("/tasks?uids={first},{second}&limit=1"));
    assert_eq!((uids(&list), &list["from"], &list["next"]), (vec![json!(second)], &json!(second), &json!(first)));
    assert_eq!(uids(&plain("GET", format!("/tasks?from={first}&limit=1"))), [json!(first)]);
    assert!(plain("POST", format!("/tasks/cancel?uids={first}"))["taskUid"].is_u64());
    assert!(plain("DELETE", format!("/tasks?uids={first}"))["taskUid"].is_u64());
    assert!(plain("DELETE", format!("/tasks/{second}"))["taskUid"].is_u64());
}

/// The library under an SDK writes and lists too, without the SDK's name and without an id: what was an integer stays one.
#[test]
fn one_client_hears_one_form() {
    let fleet = Fleet::start();
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        fleet.client.send(method, path, headers, body.as_bytes()).ok()
    };
    let typed = ("Content-Type", "application/json");
    let library = ("User-Agent", "python-requests/2.31.0");
    let add =
        |headers: &[(&str, &str)]| ask("POST", "/indexes/a/documents", headers, r#"[{"id": 1}]"#)["taskUid"].clone();

    // A client that never spoke of itself or of integers gets the long form, and is answered in it.
    let long = add(&[library, typed]);
    let id = long.as_str().expect("the long form").to_owned();
    assert_eq!(ask("GET", &format!("/tasks/{id}"), &[library], "")["uid"], long);
    assert_eq!(uids(&ask("GET", &format!("/tasks?uids={id}"), &[library], "")), std::slice::from_ref(&long));
    assert_eq!(uids(&ask("GET", "/tasks?limit=1", &[library], "")), [long]);

    // Once it has named itself, all of its answers have integers.
    let number = add(&[AS_SDK[0], typed]);
    assert!(number.is_u64(), "{number}");
    assert!(ask("GET", &format!("/tasks/{number}"), &[library], "")["uid"].is_u64());
    assert!(ask("DELETE", "/indexes/a/documents/1", &[library], "")["taskUid"].is_u64());
    assert!(add(&[library, typed]).is_u64());
    assert!(ask("GET", "/tasks?limit=1", &[library], "")["results"][0]["uid"].is_u64());
    // But for what it still asks by the long form.
    assert_eq!(ask("GET", &format!("/tasks/{id}"), &[library], "")["uid"], json!(id));

    // What a person asks with beside it is another client.
    assert!(add(&[("User-Agent", "curl/8.5.0"), typed]).is_string());
}

#[test]
fn uid_format_can_be_forced() {
    let fleet = Fleet::with(FleetOptions { more: "tasks: { uid_format: integer }\n".to_owned(), ..Default::default() });
    let reply = fleet.client.post("/indexes/a/documents", &json!([{"id": 1}])).ok();
    assert!(reply["taskUid"].is_u64(), "{reply}");
}

/// The same history on one node and on the cluster.
fn history(client: &Client) {
    client.done(&client.post("/indexes", &json!({"uid": "a", "primaryKey": "id"})));
    client.add("a", &json!([{"id": 1}, {"id": 2}]));
    client.add("b", &json!([{"id": 1}]));
    client.wait(&client.post("/indexes", &json!({"uid": "a"})));
    client.done(&client.json(
        "PATCH",
        "/indexes/a/settings",
        &json!({"stopWords": ["the"], "filterableAttributes": ["id"]}),
    ));
    client.done(&client.json("PUT", "/indexes/a/settings/ranking-rules", &json!(["words", "sort"])));
    client.done(&client.delete("/indexes/a/documents/1"));
    client.done(&client.post("/swap-indexes", &json!([{"indexes": ["a", "b"]}])));
    client.done(&client.delete("/indexes/b"));
    client.wait(&client.delete("/indexes/b"));
    client.done(&client.delete("/indexes/a/settings"));
}

#[test]
fn lists_filters_and_details_are_those_of_one_node() {
    let single = Single::start();
    let fleet = Fleet::start();
    history(&single.client);
    history(&fleet.client);
    let strip = |mut list: Value| {
        for task in list["results"].as_array_mut().into_iter().flatten() {
            let map = task.as_object_mut().expect("a task");
            for key in ["batchUid", "duration", "enqueuedAt", "startedAt", "finishedAt"] {
                assert!(map.contains_key(key), "{key} is missing");
                map.remove(key);
            }
        }
        list
    };
    for query in [
        "",
        "?limit=3",
        "?limit=2&from=4",
        "?reverse=true&limit=4",
        "?statuses=failed",
        "?statuses=succeeded,failed&types=indexCreation",
        "?types=documentAdditionOrUpdate,documentDeletion",
        "?indexUids=b",
        "?indexUids=a,b&statuses=succeeded&limit=2",
        "?uids=1,3,77",
        "?canceledBy=1",
        "?beforeEnqueuedAt=2001-01-01",
        "?afterEnqueuedAt=2001-01-01&limit=1",
        "?statuses=*&types=*",
    ] {
        let path = format!("/tasks{query}");
        let mut want = strip(single.client.get(&path).ok());
        let mut got = strip(fleet.client.send("GET", &path, AS_SDK, b"").ok());
        // Today's engines count the swap of an index among its tasks, for pages too, and do not list it.
        if query.contains("indexUids") && !is_embedded() {
            for list in [&mut want, &mut got] {
                list["total"].take();
                list["next"].take();
                list["results"].as_array_mut().expect("tasks").truncate(1);
            }
        }
        assert_eq!(want, got, "{path}");
    }
}

#[test]
fn deleting_and_canceling_tasks_answers_as_one_node_does() {
    let single = Single::start();
    let fleet = Fleet::start();
    history(&single.client);
    history(&fleet.client);
    for client in [&single.client, &fleet.client] {
        let canceled = client.done(&client.send("POST", "/tasks/cancel?statuses=enqueued,processing", &[], b""));
        assert_eq!(canceled["details"]["canceledTasks"], json!(0), "{canceled}");
        let deleted = client.done(&client.delete("/tasks?statuses=failed"));
        assert_eq!(deleted["details"]["deletedTasks"], json!(2), "{deleted}");
        assert_eq!(deleted["details"]["originalFilter"], json!("?statuses=failed"));
        assert_eq!(client.get("/tasks?statuses=failed").ok()["total"], json!(0));
    }
    // Miroir's own: one task by its id.
    let id = uids(&fleet.client.get("/tasks?types=indexSwap").ok())[0].as_str().expect("an id").to_owned();
    fleet.client.done(&fleet.client.delete(&format!("/tasks/{id}")));
    assert_eq!(fleet.client.get(&format!("/tasks/{id}")).status, 404);
}

/// An engine works through an index's tasks one after the other, so who waits for the last one waits for all. Here each document is
/// another node's, and nodes are as fast as they are.
#[test]
fn whoever_has_seen_the_last_task_of_an_index_end_has_seen_all_end() {
    let fleet = Fleet::with(FleetOptions { replication_factor: 1, ..FleetOptions::default() });
    let client = &fleet.client;
    for round in 0..5 {
        let write = |id: u32| {
            // Some take a node longer than others.
            let text = "word ".repeat(if id.is_multiple_of(7) { 40_000 } else { 1 });
            client.post("/indexes/a/documents", &json!([{"id": id, "round": round, "text": text}])).ok()
        };
        let tasks: Vec<Value> = (0..60).map(write).collect();
        let last = tasks.last().expect("some")["taskUid"].as_str().expect("an id").to_owned();
        while client.get(&format!("/tasks/{last}")).ok()["status"] != "succeeded" {}
        let open = client.get("/tasks?indexUids=a&statuses=enqueued,processing&limit=1").ok();
        assert_eq!(open["total"], 0, "round {round}: {open}");
    }
}

#[test]
fn a_restart_of_the_gateway_forgets_nothing() {
    let mut fleet = Fleet::start();
    history(&fleet.client);
    let before = fleet.client.get("/tasks?limit=100").ok();
    let big: Vec<Value> = (0..4000).map(|n| json!({"id": n, "t": format!("word{n} other{}", n % 97)})).collect();
    let reply = fleet.client.post("/indexes/late/documents", &json!(big)).ok();
    fleet.kill_gateway();
    fleet.start_gateway();
    let task = fleet.client.wait_id(reply["taskUid"].as_str().expect("an id"));
    assert_eq!(task["status"], "succeeded", "{task}");
    let after = fleet.client.get("/tasks?limit=100").ok();
    assert_eq!(after["results"].as_array().expect("results")[1..], before["results"].as_array().expect("results")[..]);
    assert_eq!(fleet.client.get("/indexes/late/stats").ok()["numberOfDocuments"], json!(4000));
}

#[test]
fn a_node_that_vanished_shows_in_the_task_and_does_not_block_it_for_ever() {
    let mut fleet = Fleet::with(FleetOptions { nodes: 3, replication_factor: 2, ..Default::default() });
    fleet.client.add("a", &json!([{"id": 1}]));
    let big: Vec<Value> = (0..6000)
        .map(|n| json!({"id": n, "t": format!("a text of some length with word{n} and other{}", n % 97)}))
        .collect();
    fleet.nodes[1].signal("STOP");
    // A stopped node still takes connections: kill it so that nothing answers, with its queue not yet worked off.
    fleet.nodes[1].signal("CONT");
    let reply = fleet.client.post("/indexes/a/documents", &json!(big)).ok();
    fleet.nodes[1].kill();
    let id = reply["taskUid"].as_str().expect("an id").to_owned();
    let seen = eventually("the task says that a node is unreachable, or has ended", || {
        let task = fleet.client.get(&format!("/tasks/{id}")).ok();
        let says_so = task["details"]["unreachableNodes"] == json!(["node-1"]);
        (says_so || task["status"] == "succeeded").then_some(task)
    });
    if seen["status"] != "succeeded" {
        // The other nodes may have only the new words done, which go ahead of the documents.
        assert!(seen["status"] == "processing" || seen["status"] == "enqueued", "{seen}");
    }
    fleet.nodes[1].restart();
    let task = fleet.client.wait_id(&id);
    assert_eq!(task["status"], "succeeded", "{task}");
    assert!(task["details"].get("unreachableNodes").is_none(), "{task}");
}

#[test]
fn a_write_that_fails_ends_after_those_before_it() {
    let fleet = Fleet::start();
    let client = &fleet.client;
    let made = client.post("/indexes", &json!({"uid": "a", "primaryKey": "id"}));
    let many: Vec<Value> =
        (0..5000).map(|id| json!({"id": id, "text": format!("word{id} of many {}", id * 7)})).collect();
    let many = client.post("/indexes/a/documents", &json!(many));
    let other_key = client.post("/indexes/a/documents?primaryKey=text", &json!([{"id": 1, "text": 2}]));
    let failed = client.wait(&other_key);
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("failed"), &json!("index_primary_key_already_exists"))
    );
    for before in [made, many] {
        let task = client.get(&format!("/tasks/{}", before.value()["taskUid"].as_str().expect("an id"))).ok();
        assert_eq!(task["status"], "succeeded", "{task}");
        assert!(task["finishedAt"].as_str() <= failed["finishedAt"].as_str(), "{task} {failed}");
    }
    assert_eq!(client.get("/indexes/a").ok()["primaryKey"], "id");
}
