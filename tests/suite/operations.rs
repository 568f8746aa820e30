//! Settings, indexes, keys: the same on all nodes; metrics, admin API, command line.

use std::process::Command;

use serde_json::{Value, json};

use crate::bad_input::raw;
use crate::support::client::eventually;
use crate::support::parity::leaks;
use crate::support::{Client, Fleet, FleetOptions, Single};

const MIROIR: &str = env!("CARGO_BIN_EXE_miroir");

fn settings_without_hidden(client: &Client, index: &str) -> Value {
    let mut settings = client.get(&format!("/indexes/{index}/settings")).ok();
    for key in ["filterableAttributes", "rankingRules", "displayedAttributes"] {
        let list = settings[key].as_array_mut().expect("a list");
        let all = list.len();
        list.retain(|item| !item.to_string().contains("_miroir"));
        // A list that shows everything needs no addition.
        let shows_all = key == "displayedAttributes" && list.iter().any(|name| name == "*");
        assert_eq!(list.len() + usize::from(!shows_all), all, "one hidden item in {key}");
    }
    settings
}

#[test]
fn settings_are_the_same_on_every_node_and_as_on_one() {
    let single = Single::start();
    let fleet = Fleet::start();
    let all = json!({
        "displayedAttributes": ["id", "title"],
        "searchableAttributes": ["title", "text"],
        "filterableAttributes": ["year", {"attributePatterns": ["tag*"], "features": {"facetSearch": true, "filter": {"equality": true, "comparison": false}}}],
        "sortableAttributes": ["year"],
        "rankingRules": ["words", "typo", "year:desc"],
        "stopWords": ["the", "a"],
        "nonSeparatorTokens": ["@"],
        "separatorTokens": ["&sep"],
        "dictionary": ["J. R. R."],
        "synonyms": {"car": ["auto"]},
        "distinctAttribute": "title",
        "proximityPrecision": "byAttribute",
        "typoTolerance": {"enabled": true, "minWordSizeForTypos": {"oneTypo": 4, "twoTypos": 8}, "disableOnWords": ["x"], "disableOnAttributes": ["title"]},
        "faceting": {"maxValuesPerFacet": 7, "sortFacetValuesBy": {"*": "count"}},
        "pagination": {"maxTotalHits": 50},
        "searchCutoffMs": 500,
        "localizedAttributes": [{"attributePatterns": ["title"], "locales": ["fra"]}],
        "facetSearch": false,
        "prefixSearch": "disabled",
    });
    for client in [&single.client, &fleet.client] {
        client.done(&client.json("PATCH", "/indexes/books/settings", &all));
    }
    let want = single.client.get("/indexes/books/settings").ok();
    assert_eq!(fleet.client.get("/indexes/books/settings").ok(), want);
    for node in &fleet.nodes {
        assert_eq!(settings_without_hidden(&node.client, "books"), want, "{}", node.name);
    }
    for (method, route, body) in [
        ("PUT", "filterable-attributes", json!(["year", "title"])),
        ("PUT", "stop-words", json!(["of"])),
        ("PATCH", "pagination", json!({"maxTotalHits": 60})),
        ("DELETE", "synonyms", Value::Null),
        ("DELETE", "filterable-attributes", Value::Null),
        ("PUT", "distinct-attribute", json!("year")),
    ] {
        let path = format!("/indexes/books/settings/{route}");
        for client in [&single.client, &fleet.client] {
            let reply = if body.is_null() { client.delete(&path) } else { client.json(method, &path, &body) };
            client.done(&reply);
        }
        assert_eq!(fleet.client.get(&path).ok(), single.client.get(&path).ok(), "{method} {path}");
    }
    for client in [&single.client, &fleet.client] {
        client.done(&client.delete("/indexes/books/settings"));
    }
    assert_eq!(fleet.client.get("/indexes/books/settings").ok(), single.client.get("/indexes/books/settings").ok());
    // And the hidden field is still there to ask by.
    fleet.client.add("books", &json!((0..50).map(|id| json!({"id": id})).collect::<Vec<_>>()));
    assert_eq!(fleet.client.search("books", &json!({"limit": 100}))["hits"].as_array().map(Vec::len), Some(50));
}

#[test]
fn indexes_live_and_die_on_all_nodes() {
    let fleet = Fleet::start();
    let client = &fleet.client;
    client.done(&client.post("/indexes", &json!({"uid": "a"})));
    client.done(&client.json("PATCH", "/indexes/a", &json!({"primaryKey": "key"})));
    client.add("a", &json!([{"key": 1, "in": "a"}]));
    client.add("b", &json!([{"id": 1, "in": "b"}, {"id": 2, "in": "b"}]));
    client.done(&client.post("/swap-indexes", &json!([{"indexes": ["a", "b"]}])));
    assert_eq!(client.get("/indexes/a/stats").ok()["numberOfDocuments"], json!(2));
    assert_eq!(client.get("/indexes/b").ok()["primaryKey"], json!("key"));
    // The registry followed: writes go on with each index's own key.
    client.add("b", &json!([{"key": 5, "id": 9}]));
    client.add("a", &json!([{"id": 5}]));
    assert_eq!(client.get("/indexes/a/stats").ok()["numberOfDocuments"], json!(3));
    let deleted = client.done(&client.delete("/indexes/a"));
    assert_eq!(deleted["details"]["deletedDocuments"], json!(3));
    assert_eq!(client.get("/indexes/a").status, 404);
    for node in &fleet.nodes {
        assert_eq!(node.client.get("/indexes/a").status, 404, "{}", node.name);
    }
    // Again under the same name, with another key.
    client.add("a", &json!([{"uid_id": "x"}]));
    assert_eq!(client.get("/indexes/a").ok()["primaryKey"], json!("uid_id"));
}

#[test]
fn a_node_that_missed_settings_and_indexes_is_repaired_before_it_serves() {
    let mut fleet = Fleet::start();
    let client = fleet.client.clone();
    client.add("old", &json!([{"id": 1}]));
    client.add("gone", &json!([{"id": 1}]));
    fleet.nodes[2].kill();
    fleet.await_state("node-2", "down");
    client.done(&client.json(
        "PATCH",
        "/indexes/old/settings",
        &json!({"stopWords": ["the"], "filterableAttributes": ["id"]}),
    ));
    client.done(&client.post("/indexes", &json!({"uid": "new", "primaryKey": "key"})));
    client.done(&client.delete("/indexes/gone"));
    fleet.nodes[2].restart();
    fleet.await_state("node-2", "up");
    let node = &fleet.nodes[2].client;
    assert_eq!(settings_without_hidden(node, "old"), client.get("/indexes/old/settings").ok());
    assert_eq!(node.get("/indexes/new").ok()["primaryKey"], json!("key"));
    assert_eq!(node.get("/indexes/gone").status, 404);
}

#[test]
fn writes_go_on_without_a_node_and_it_catches_up() {
    let mut fleet = Fleet::start();
    let client = fleet.client.clone();
    client.add("a", &json!((0..60).map(|id| json!({"id": id, "v": 1})).collect::<Vec<_>>()));
    fleet.nodes[0].kill();
    fleet.await_state("node-0", "down");
    client.add("a", &json!((30..90).map(|id| json!({"id": id, "v": 2})).collect::<Vec<_>>()));
    client.done(&client.delete("/indexes/a/documents/5"));
    let want = client.documents("a");
    assert_eq!(want.len(), 89);
    fleet.nodes[0].restart();
    fleet.await_state("node-0", "up");
    // It may answer at once, but never with what it missed.
    assert_eq!(client.documents("a"), want);
    eventually("nothing is stale any more", || {
        let shards = fleet.admin.get("/shards").ok();
        (!shards.to_string().contains("\"stale\":[{")).then_some(())
    });
    // Now without each of the others: every document is there in two places again.
    for other in [1, 2] {
        fleet.nodes[other].kill();
        fleet.await_state(&format!("node-{other}"), "down");
        assert_eq!(client.documents("a"), want, "without node-{other}");
        fleet.nodes[other].restart();
        fleet.await_state(&format!("node-{other}"), "up");
    }
}

#[test]
fn with_a_master_key_every_route_asks_for_the_right_one() {
    let key = "a-master-key-of-enough-bytes";
    let single = Single::with_key(Some(key));
    let fleet = Fleet::with(FleetOptions {
        master_key: Some(key),
        node_key: Some("another-key-for-the-nodes"),
        ..Default::default()
    });
    for client in [&single.client, &fleet.client] {
        client.add(
            "books",
            &json!([{"id": 1, "title": "one", "tenant": "t1"}, {"id": 2, "title": "two", "tenant": "t2"}]),
        );
        client.done(&client.json("PUT", "/indexes/books/settings/filterable-attributes", &json!(["tenant"])));
        client.add("films", &json!([{"id": 1}]));
    }
    let anonymous = |client: &Client| Client::new(&client.url);
    let make = |client: &Client, body: &Value| client.post("/keys", body).ok();
    let uid = "01234567-89ab-4cde-8f01-23456789abcd";
    let body = json!({"uid": uid, "name": "searcher", "actions": ["search"], "indexes": ["books"], "expiresAt": null});
    let (mut want, mut got) = (make(&single.client, &body), make(&fleet.client, &body));
    assert_eq!(want["key"], got["key"], "the same uid and master key give the same key");
    let search_key = got["key"].as_str().expect("a key").to_owned();
    for value in [&mut want, &mut got] {
        for field in ["createdAt", "updatedAt"] {
            assert!(value[field].is_string());
            value[field] = Value::Null;
        }
    }
    assert_eq!(want, got);
    let names = |client: &Client| {
        let mut names: Vec<String> = client.get("/keys").ok()["results"]
            .as_array()
            .expect("keys")
            .iter()
            .map(|key| key["name"].to_string())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&single.client), names(&fleet.client));

    type Ask<'a> = (&'a str, &'a str, Value);
    let asks: Vec<Ask> = vec![
        ("GET", "/health", Value::Null),
        ("GET", "/version", Value::Null),
        ("GET", "/stats", Value::Null),
        ("GET", "/keys", Value::Null),
        ("GET", "/tasks", Value::Null),
        ("GET", "/indexes", Value::Null),
        ("POST", "/indexes/books/search", json!({"q": "one"})),
        ("POST", "/indexes/films/search", json!({})),
        ("POST", "/indexes/books/documents", json!([{"id": 3}])),
        ("PATCH", "/indexes/books/settings", json!({"stopWords": []})),
        ("DELETE", "/indexes/books", Value::Null),
        ("POST", "/multi-search", json!({"queries": [{"indexUid": "films"}]})),
    ];
    for key in [None, Some("wrong-key"), Some(search_key.as_str())] {
        for (method, path, body) in &asks {
            let send = |client: &Client| {
                let client = key.map_or_else(|| anonymous(client), |key| anonymous(client).with_key(key));
                let reply =
                    if body.is_null() { client.send(method, path, &[], b"") } else { client.json(method, path, body) };
                let value = reply.value();
                (reply.status, value.get("code").cloned(), value.get("message").cloned())
            };
            assert_eq!(send(&single.client), send(&fleet.client), "{method} {path} with {key:?}");
        }
    }

    // A tenant token sees its tenant only.
    let rules = json!({"books": {"filter": "tenant = t1"}});
    let claims = json!({"apiKeyUid": uid, "searchRules": rules, "exp": 4_102_444_800u64});
    let token = jsonwebtoken::encode(
        &jsonwebtoken::Header::default(),
        &claims,
        &jsonwebtoken::EncodingKey::from_secret(search_key.as_bytes()),
    )
    .expect("a token");
    let tenant = anonymous(&fleet.client).with_key(&token);
    let found = tenant.search("books", &json!({"q": ""}));
    assert_eq!(found["hits"].as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!(tenant.post("/indexes/films/search", &json!({})).status, 403);

    // Keys stand in no log, metric or error text.
    let metrics = fleet.metrics.get("/metrics").text;
    let log = fleet.gateway().log();
    for secret in [key, "another-key-for-the-nodes", search_key.as_str(), token.as_str()] {
        assert!(!metrics.contains(secret) && !log.contains(secret), "a secret leaks");
    }
    assert_eq!(anonymous(&fleet.admin).get("/topology").status, 401, "the admin API asks for its key");
}

#[test]
fn nothing_of_a_request_is_smuggled_to_the_nodes() {
    let fleet = Fleet::start();
    fleet.client.add("a", &json!([{"id": 1}]));
    // Two requests in one: a length that two headers state differently.
    for head in [
        "POST /indexes/a/search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
        "POST /indexes/a/search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nDELETE /indexes/a HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let answer = raw(&fleet.client, head.as_bytes());
        assert!(!answer.contains("HTTP/1.1 202"), "{answer}");
    }
    assert_eq!(fleet.client.get("/indexes/a").status, 200, "no hidden DELETE came through");
}

#[test]
fn operators_see_metrics_topology_and_plans() {
    let fleet = Fleet::start();
    crate::support::parity::load(&fleet.client, "cities", &crate::support::corpus::cities(200));
    fleet.client.search("cities", &json!({"q": "a"}));
    fleet.client.get("/indexes/nope");
    let metrics = fleet.metrics.get("/metrics").text;
    for family in [
        "miroir_requests_total",
        "miroir_request_duration_seconds_bucket",
        "miroir_subrequests_total",
        "miroir_subrequest_duration_seconds_bucket",
        "miroir_fan_out_bucket",
        "miroir_subrequest_retries_total",
        "miroir_degraded_answers_total",
        "miroir_node_state",
        "miroir_shards",
        "miroir_tasks",
        "miroir_tasks_oldest_unfinished_seconds",
        "miroir_node_sent_bytes_total",
        "miroir_response_bytes_total",
    ] {
        assert!(metrics.contains(family), "{family} is missing in:\n{metrics}");
    }
    let topology = fleet.admin.get("/topology").ok();
    assert_eq!(topology["nodes"].as_array().map(Vec::len), Some(3));
    assert_eq!(topology["replicationFactor"].as_u64().or(topology["replication_factor"].as_u64()), Some(2));
    assert_eq!(fleet.admin.get("/shards").ok()["shards"].as_array().map(Vec::len), Some(256));
    let before = fleet.client.get("/tasks").ok()["total"].clone();
    for request in [
        json!({"method": "POST", "path": "/indexes/cities/search", "body": {"q": "x"}}),
        json!({"method": "GET", "path": "/version"}),
        json!({"method": "DELETE", "path": "/indexes/cities"}),
        json!({"method": "POST", "path": "/dumps"}),
    ] {
        let plan = fleet.admin.post("/explain", &request).ok();
        assert!(plan.to_string().contains("plan"), "{request}: {plan}");
    }
    assert_eq!(fleet.client.get("/tasks").ok()["total"], before, "explaining runs nothing");
    assert_eq!(fleet.admin.get("/ready").status, 200);

    let reply = fleet.client.send("GET", "/health", &[("X-Request-Id", "trace-me-1")], b"");
    assert_eq!(reply.header("x-request-id"), Some("trace-me-1"));
    fleet.client.send("GET", "/indexes/cities/search?q=a", &[("X-Request-Id", "trace-me-2")], b"").ok();
    // The line is written when the answer is out.
    eventually("the request in the log", || fleet.gateway().log().contains("trace-me-2").then_some(()));
    assert!(!fleet.gateway().log().contains('\u{1b}'), "no colours in a file");

    let admin = fleet.admin.url.clone();
    for arguments in [vec!["status"], vec!["tasks"]] {
        let output =
            Command::new(MIROIR).args(&arguments).args(["--admin", &admin]).output().expect("the command runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
    assert!(!leaks(&fleet.client.get("/indexes/cities/settings").ok()));
}

#[test]
fn check_names_every_problem_of_a_configuration_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bad.yaml");
    let bad = "listen: nowhere\nunknown_key: 1\ncluster:\n  shards: 0\n  replication_factor: 2\n  nodes:\n    - { id: a, url: ftp://x }\n    - { id: a, url: \"http://y:1\", wieght: 2 }\nhealth: { interval: soon }\n";
    std::fs::write(&path, bad).expect("a file");
    let output = Command::new(MIROIR).args(["check", "--config"]).arg(&path).output().expect("the command runs");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    for part in ["listen", "unknown_key", "shards", "ftp", "wieght", "interval", "is the id of nodes[0] already"] {
        assert!(text.to_lowercase().contains(part), "`{part}` is not named in:\n{text}");
    }
    for good in ["conf/miroir.yaml", "conf/minimal.yaml"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(good);
        let output = Command::new(MIROIR)
            .args(["check", "--config"])
            .arg(&path)
            .env("MIROIR_MASTER_KEY", "0123456789abcdef")
            .env("MIROIR_ADMIN_KEY", "0123456789abcdef")
            .env("MIROIR_NODE_KEY", "0123456789abcdef")
            .output()
            .expect("the command runs");
        assert!(output.status.success(), "{good}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
