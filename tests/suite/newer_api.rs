//! What engines newer than the embedded one serve, made by the gateway whatever version its nodes have. The answers written
//! here are those of an engine of 1.50.

use serde_json::{Value, json};

use crate::support::client::{Client, eventually};
use crate::support::fleet::is_embedded;
use crate::support::listener::Listener;
use crate::support::{Fleet, FleetOptions, Single};

const AS_SDK: &[(&str, &str)] =
    &[("X-Meilisearch-Client", "Meilisearch Python (v0.43.0)"), ("Content-Type", "application/json")];

#[test]
fn a_webhook_is_told_of_each_task_once_by_the_gateway() {
    let fleet = Fleet::start();
    let (listener, busy) = (Listener::start(0), Listener::start(1));
    let headers = json!({"Authorization": "Bearer abcdefghijklmnop", "X-Own": "mine"});
    let made = fleet.client.post("/webhooks", &json!({"url": listener.url, "headers": headers}));
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.value();
    assert_eq!(made["headers"], json!({"Authorization": "Bearer abXXXX...", "X-Own": "mine"}));
    fleet.client.post("/webhooks", &json!({"url": busy.url})).ok();
    for node in &fleet.nodes {
        let answer = node.client.get("/webhooks");
        assert!(answer.status != 200 || answer.value()["results"] == json!([]), "nodes have none: {}", answer.text);
    }

    let as_sdk = |method: &str, path: &str, body: &str| fleet.client.send(method, path, AS_SDK, body.as_bytes()).ok();
    let added = as_sdk("POST", "/indexes/a/documents", r#"[{"id":1},{"id":2}]"#)["taskUid"].clone();
    let failed = as_sdk("POST", "/indexes/a/documents", r#"[{"no":1}]"#)["taskUid"].clone();
    let deleted = as_sdk("DELETE", "/indexes/a", "")["taskUid"].clone();
    for uid in [&added, &failed, &deleted] {
        fleet.client.wait_id(&uid.to_string());
    }
    let cancelation = as_sdk("POST", "/tasks/cancel?uids=0", "")["taskUid"].clone();
    for heard in [&listener, &busy] {
        let mut tasks = eventually("all tasks are told", || Some(heard.tasks()).filter(|tasks| tasks.len() >= 4));
        tasks.sort_by_key(|task| task["uid"].as_u64());
        let told: Vec<&Value> = tasks.iter().map(|task| &task["uid"]).collect();
        assert_eq!(told, [&added, &failed, &deleted, &cancelation], "{tasks:?}");
        assert_eq!((&tasks[0]["status"], &tasks[1]["status"]), (&json!("succeeded"), &json!("failed")));
        for task in &tasks {
            assert_eq!(*task, as_sdk("GET", &format!("/tasks/{}", task["uid"]), ""));
        }
    }
    let head = &listener.sent()[0].headers;
    assert_eq!(head["authorization"], "Bearer abcdefghijklmnop");
    assert_eq!((head["x-own"].as_str(), head["content-encoding"].as_str()), ("mine", "gzip"));
    assert_eq!(head["content-type"], "application/x-ndjson");
    assert_eq!((head["transfer-encoding"].as_str(), head["accept-encoding"].as_str()), ("chunked", "gzip"));
    assert_eq!(head.get("content-length"), None, "a body has one length");
    let log = fleet.gateway().log();
    assert!(log.contains("a webhook is told again"), "one was busy: {log}");
    assert!(!log.contains("sesame") && !log.contains("abcdefghijklmnop"), "a secret stands in the log");
}

/// Receivers were written for the engine's calls.
#[test]
fn a_webhook_is_called_as_one_node_calls_it() {
    if is_embedded() {
        println!("left out: the embedded engine has no webhooks");
        return;
    }
    let (single, fleet) = (Single::start(), Fleet::start());
    let heads = [&single.client, &fleet.client].map(|client| {
        let listener = Listener::start(0);
        client.post("/webhooks", &json!({"url": listener.url, "headers": {"X-Own": "mine"}})).ok();
        client.post("/indexes", &json!({"uid": "a"})).ok();
        let mut head = eventually("a webhook is called", || listener.sent().pop()).headers;
        for other in ["host", "user-agent"] {
            assert!(head.remove(other).is_some(), "{other}");
        }
        head
    });
    assert_eq!(heads[1], heads[0]);
}

#[test]
fn webhooks_outlive_the_gateway() {
    let mut fleet = Fleet::start();
    let made = fleet.client.post("/webhooks", &json!({"url": "http://127.0.0.1:1", "headers": {"a": "b"}})).ok();
    let path = format!("/webhooks/{}", made["uuid"].as_str().expect("a uuid"));
    fleet.client.json("PATCH", &path, &json!({"headers": {"a": null, "c": "d"}})).ok();
    fleet.kill_gateway();
    fleet.start_gateway();
    let expected =
        json!({"uuid": made["uuid"], "isEditable": true, "url": "http://127.0.0.1:1", "headers": {"c": "d"}});
    assert_eq!(fleet.client.get(&path).ok(), expected);
    assert_eq!(fleet.client.get("/webhooks").ok(), json!({"results": [expected]}));
    assert_eq!(fleet.client.delete(&path).status, 204);
    let gone = fleet.client.delete(&path);
    assert_eq!((gone.status, &gone.value()["code"]), (404, &json!("webhook_not_found")));
}

#[test]
fn documents_that_are_not_there_can_be_skipped() {
    let fleet = Fleet::start();
    let write = |method: &str, query: &str, body: &Value| {
        let task = fleet.client.done(&fleet.client.json(method, &format!("/indexes/a/documents{query}"), body));
        (task["details"].clone(), fleet.client.documents("a").into_values().collect::<Vec<_>>())
    };
    let counts = |received: u64, indexed: u64| json!({"receivedDocuments": received, "indexedDocuments": indexed});
    // The index is made, and its key is known from then on.
    assert_eq!(write("POST", "?skipCreation=true", &json!([{"id": 1}, {"id": 2}])), (counts(2, 2), vec![]));
    assert_eq!(fleet.client.get("/indexes/a").ok()["primaryKey"], "id");
    let one = json!({"id": 1, "a": 1});
    assert_eq!(write("PUT", "?skipCreation=False", &json!([one])), (counts(1, 1), vec![one]));
    // Documents that come again count once.
    let body = json!([{"id": 1, "b": 1}, {"id": 3}, {"id": 3}]);
    let both = json!({"id": 1, "a": 1, "b": 1});
    assert_eq!(write("PUT", "?skipCreation=TRUE", &body), (counts(3, 2), vec![both]));
    let replaced = json!({"id": 1, "b": 1});
    assert_eq!(write("POST", "?skipCreation=true", &body), (counts(3, 2), vec![replaced]));
    assert_eq!(fleet.client.search("a", &json!({"q": "3"}))["hits"], json!([]), "its words are not spread, either");
}

/// What came before counts, though it is not carried out yet.
#[test]
fn what_is_skipped_is_decided_in_the_order_of_writes() {
    let fleet = Fleet::start();
    let many: Vec<Value> = (0..3000).map(|id| json!({"id": id, "text": format!("word{id} and more")})).collect();
    fleet.client.post("/indexes/a/documents", &json!(many)).ok();
    let reply = fleet.client.json(
        "PUT",
        "/indexes/a/documents?skipCreation=true",
        &json!([{"id": 2999, "new": 1}, {"id": 3000}]),
    );
    fleet.client.delete("/indexes/a/documents/7").ok();
    let late = fleet.client.json("PUT", "/indexes/a/documents?skipCreation=true", &json!([{"id": 7, "new": 1}]));
    fleet.client.done(&reply);
    fleet.client.done(&late);
    let documents = fleet.client.documents("a");
    assert_eq!(documents.len(), 2999);
    assert_eq!(documents["2999"]["new"], 1);
    assert!(!documents.contains_key("7") && !documents.contains_key("3000"));
    fleet.equal_replicas("a");
}

#[test]
fn each_task_is_a_batch() {
    let fleet = Fleet::start();
    fleet.client.add("a", &json!([{"id": 1}]));
    let task = fleet.client.add("b", &json!([{"id": 1}, {"id": 2}]));
    let uid = task["batchUid"].as_u64().expect("a task that has ended has a batch");
    let batch = fleet.client.get(&format!("/batches/{uid}")).ok();
    assert_eq!(batch["uid"], uid);
    assert_eq!(batch["details"], task["details"]);
    let mut stats = batch["stats"].clone();
    let took = stats.as_object_mut().and_then(|stats| stats.shift_remove("progressTrace")).expect("how long it took");
    assert!(took["processing tasks"].as_str().is_some_and(|took| took.ends_with('s')), "{took}");
    assert_eq!(
        stats,
        json!({
            "totalNbTasks": 1, "status": {"succeeded": 1}, "types": {"documentAdditionOrUpdate": 1}, "indexUids": {"b": 1},
        })
    );
    assert_eq!((&batch["finishedAt"], &batch["duration"]), (&task["finishedAt"], &task["duration"]));
    let list = fleet.client.get("/batches?limit=1").ok();
    assert_eq!((&list["results"], &list["total"], &list["from"]), (&json!([batch]), &json!(2), &json!(uid)));
    let of_index = fleet.client.get("/batches?indexUids=a").ok();
    assert_eq!((&of_index["total"], &of_index["results"][0]["uid"]), (&json!(1), &list["next"]));
    let tasks = fleet.client.get(&format!("/tasks?batchUids={uid}")).ok();
    assert_eq!(tasks["results"], json!([task]));
    let none = fleet.client.get("/batches/9999");
    assert_eq!((none.status, &none.value()["message"]), (404, &json!("Batch `9999` not found.")));
}

#[test]
fn a_key_may_read_all_and_no_more() {
    let fleet = Fleet::with(FleetOptions { master_key: Some("a-master-key-of-enough-bytes"), ..Default::default() });
    let keys = fleet.client.get("/keys").ok();
    let names: Vec<&str> =
        keys["results"].as_array().expect("keys").iter().filter_map(|key| key["name"].as_str()).collect();
    assert_eq!(
        names,
        ["Default Search API Key", "Default Admin API Key", "Default Read-Only Admin API Key", "Default Chat API Key"]
    );
    let read_only = &keys["results"][2];
    assert_eq!(read_only["actions"], json!(["*.get", "keys.get"]));
    let reader = fleet.client.with_key(read_only["key"].as_str().expect("a secret"));
    for path in ["/keys", "/indexes", "/stats", "/tasks", "/batches", "/webhooks", "/version", "/experimental-features"]
    {
        assert_eq!(reader.get(path).status, 200, "{path}");
    }
    for (method, path, body) in [
        ("POST", "/indexes", json!({"uid": "a"})),
        ("POST", "/webhooks", json!({"url": "http://a"})),
        ("DELETE", "/tasks?uids=1", Value::Null),
        ("POST", "/indexes/a/documents", json!([])),
    ] {
        let refused = reader.json(method, path, &body);
        assert_eq!((refused.status, &refused.value()["code"]), (403, &json!("invalid_api_key")), "{method} {path}");
    }
    // What is not served is refused by the key first, and by its reason to who might do it.
    let key = |actions: Value, indexes: Value| {
        let made = json!({"actions": actions, "indexes": indexes, "expiresAt": null});
        fleet.client.with_key(fleet.client.post("/keys", &made).ok()["key"].as_str().expect("a secret"))
    };
    let codes = [json!(["network.update"]), json!(["*"]), json!(["search"])].map(|actions| {
        let reply = key(actions, json!(["*"])).json("PATCH", "/network", &json!({}));
        (reply.status, reply.value()["code"].clone())
    });
    let (not_served, not_allowed) = ((501, json!("miroir_not_supported")), (403, json!("invalid_api_key")));
    assert_eq!(codes, [not_served.clone(), not_served, not_allowed.clone()]);
    let of_one_index = key(json!(["*"]), json!(["a"])).json("PATCH", "/network", &json!({}));
    assert_eq!((of_one_index.status, of_one_index.value()["code"].clone()), not_allowed);
    let hooks = json!({"actions": ["webhooks.*", "dynamicSearchRules.get"], "indexes": ["*"], "expiresAt": null});
    let made = fleet.client.post("/keys", &hooks).ok();
    assert_eq!(made["actions"], hooks["actions"]);
    let hooks = fleet.client.with_key(made["key"].as_str().expect("a secret"));
    assert_eq!(hooks.post("/webhooks", &json!({"url": "http://127.0.0.1:1"})).status, 201);
    assert_eq!(hooks.get("/tasks").status, 403);
}

/// Nodes of 1.35 and newer know it; the others refuse it themselves.
#[test]
fn similar_documents_say_how_long_they_took() {
    if is_embedded() {
        return;
    }
    let (single, fleet) = (Single::start(), Fleet::start());
    for client in [&single.client, &fleet.client] {
        let settings = json!({"embedders": {"own": {"source": "userProvided", "dimensions": 2}}});
        client.done(&client.json("PATCH", "/indexes/a/settings", &settings));
        let documents = (0..20).map(|id| json!({"id": id, "_vectors": {"own": [1.0, f64::from(id) / 20.0]}}));
        client.add("a", &documents.collect());
        let body = json!({"id": 1, "embedder": "own", "showPerformanceDetails": true});
        let path = "/indexes/a/similar?id=1&embedder=own&showPerformanceDetails=true";
        for answer in [client.post("/indexes/a/similar", &body).ok(), client.get(path).ok()] {
            assert!(answer["performanceDetails"]["search"].is_string() || client.url == single.client.url, "{answer}");
            assert!(answer["performanceDetails"].is_object(), "{answer}");
            assert_eq!(answer["hits"].as_array().map(Vec::len), Some(19), "{answer}");
        }
    }
}

/// Of nodes that have these routes: that there are no keys to other indexes (`joins.rs` has some) and no network is taken.
#[test]
fn that_there_are_no_joins_and_no_network_is_read_and_set_as_on_one_node() {
    let fleet = Fleet::start();
    let keys = "/indexes/a/settings/foreign-keys";
    if is_embedded() {
        for (method, path) in [("GET", "/network"), ("GET", keys), ("PUT", keys), ("DELETE", keys)] {
            let refused = fleet.client.json(method, path, &json!([]));
            let code = &refused.value()["code"];
            assert_eq!((refused.status, code), (501, &json!("miroir_not_supported")), "{method} {path}");
        }
        return;
    }
    let said = |client: &Client| {
        let off = client.get("/network");
        client.json("PATCH", "/experimental-features", &json!({"foreignKeys": true, "network": true})).ok();
        let mut network = client.get("/network").ok();
        network.as_object_mut().expect("an object").remove("version");
        let made = client.done(&client.json("PUT", keys, &json!([])));
        let mut said = vec![off.value(), network, client.get(keys).ok(), made["details"].clone()];
        for none in [json!(null), json!([])] {
            said.push(client.done(&client.json("PUT", keys, &none))["details"].clone());
        }
        said.push(client.done(&client.delete(keys))["details"].clone());
        for wrong in [json!([1]), json!("x"), json!({})] {
            said.push(client.json("PUT", keys, &wrong).value());
            said.push(client.json("PATCH", "/indexes/a/settings", &json!({"foreignKeys": wrong})).value());
        }
        said.push(client.get(keys).ok());
        said.push(client.get("/indexes/a/settings").ok()["foreignKeys"].clone());
        said
    };
    let of_one = said(&Single::start().client);
    assert_eq!(said(&fleet.client), of_one);
    assert_eq!(of_one[2..4], [json!([]), json!({"foreignKeys": []})]);
}

#[test]
fn each_pair_of_a_swap_says_whether_it_renames() {
    if is_embedded() {
        return;
    }
    let (single, fleet) = (Single::start(), Fleet::start());
    for client in [&single.client, &fleet.client] {
        for (index, count) in [("a", 1), ("b", 2), ("c", 3), ("e", 4)] {
            client.add(index, &(0..count).map(|id| json!({ "id": id })).collect());
        }
        let swaps = json!([{"indexes": ["b", "a"]}, {"indexes": ["c", "d"], "rename": true}]);
        let task = client.done(&client.post("/swap-indexes", &swaps));
        assert_eq!(task["details"]["swaps"][1], swaps[1]);
        let count = |index: &str| client.get(&format!("/indexes/{index}/stats")).value()["numberOfDocuments"].as_u64();
        assert_eq!(["a", "b", "c", "d"].map(count), [Some(2), Some(1), None, Some(3)]);
        // The new name is in use: nothing of it is done.
        let refused =
            client.wait(&client.post("/swap-indexes", &json!([swaps[0], {"indexes": ["d", "e"], "rename": true}])));
        assert_eq!(refused["status"], "failed", "{refused}");
        assert_eq!(["a", "b", "c", "d"].map(count), [Some(2), Some(1), None, Some(3)]);
    }
}

/// One node has all documents, and answers for all.
#[test]
fn an_answer_of_one_node_says_once_how_long_it_took() {
    if is_embedded() {
        return;
    }
    let fleet = Fleet::with(FleetOptions { nodes: 2, ..Default::default() });
    let settings = json!({"embedders": {"own": {"source": "userProvided", "dimensions": 2}}});
    fleet.client.done(&fleet.client.json("PATCH", "/indexes/a/settings", &settings));
    fleet.client.add("a", &(0..9).map(|id| json!({"id": id, "_vectors": {"own": [1.0, 0.5]}})).collect());
    let shows = |key: &str| json!({key: true});
    let federation = json!({"federation": shows("showPerformanceDetails"), "queries": [{"indexUid": "a"}]});
    for (path, body) in [
        ("/multi-search", federation),
        ("/indexes/a/similar", json!({"id": 1, "embedder": "own", "showPerformanceDetails": true})),
        ("/indexes/a/search", shows("showPerformanceDetails")),
    ] {
        let answer = fleet.client.post(path, &body).ok();
        assert!(answer["performanceDetails"].is_object(), "{path}: {answer}");
    }
}
