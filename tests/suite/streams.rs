//! Answers without an end: news of tasks and batches, the gateway's log lines. And what the gateway keeps of tasks, compacted.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::client::eventually;
use crate::support::fleet::is_embedded;
use crate::support::gateways::Gateways;
use crate::support::{Client, Fleet, FleetOptions};

const AS_SDK: &[(&str, &str)] = &[("X-Meilisearch-Client", "Meilisearch Python (v0.43.0)")];
const MASTER: &str = "a-master-key-of-16";

/// A client of an answer that has no end, as bytes on a socket.
struct Listener {
    lines: Arc<Mutex<Vec<String>>>,
    socket: TcpStream,
}

impl Listener {
    /// Sends the request, and returns once the head of the answer is there.
    fn to(client: &Client, method: &str, path: &str, body: &str) -> Self {
        let address = client.url.trim_start_matches("http://");
        let mut socket = TcpStream::connect(address).expect("the gateway listens");
        let key = client.key.as_ref().map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
        let body_headers = match body {
            "" => String::new(),
            _ => format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nX-Meilisearch-Client: Meilisearch Rust (v0.30.0)\r\n\
             {key}{body_headers}\r\n{body}"
        );
        socket.write_all(request.as_bytes()).expect("the gateway reads");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (kept, reader) = (Arc::clone(&lines), socket.try_clone().expect("a second handle"));
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                kept.lock().expect("nobody panics with it").push(line.trim_end().to_owned());
            }
        });
        let listener = Self { lines, socket };
        eventually("the answer begins", || listener.lines().iter().any(String::is_empty).then_some(()));
        listener
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("nobody panics with it").clone()
    }

    fn head(&self) -> String {
        let lines = self.lines();
        lines.split(String::is_empty).next().unwrap_or_default().join("\n").to_lowercase()
    }

    /// The data of each event.
    fn events(&self) -> Vec<Value> {
        let lines = self.lines();
        let data = lines.iter().filter_map(|line| line.strip_prefix("data: "));
        data.map(|text| serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))).collect()
    }

    /// Whether the answer was brought to its end, and not cut off.
    fn has_ended(&self) -> bool {
        let lines = self.lines();
        lines.iter().rev().find(|line| !line.is_empty()).is_some_and(|line| line == "0")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may be closed already.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

/// The feature that an engine of 1.52 asks for; older ones do not know it, and the gateway serves without.
fn switch_on(fleet: &Fleet) {
    let reply = fleet.client.json("PATCH", "/experimental-features", &json!({"tasksStreamingRoute": true}));
    assert!(matches!(reply.status, 200 | 400), "{}", reply.text);
}

fn write(fleet: &Fleet, index: &str, documents: &str) -> Value {
    let path = format!("/indexes/{index}/documents");
    let headers = [AS_SDK[0], ("Content-Type", "application/json")];
    let uid = fleet.client.send("POST", &path, &headers, documents.as_bytes()).ok()["taskUid"].clone();
    fleet.client.wait_id(&uid.to_string());
    fleet.client.send("GET", &format!("/tasks/{uid}"), AS_SDK, b"").ok()
}

/// The statuses that were told of a task, in order.
fn statuses(events: &[Value], uid: &Value) -> Vec<String> {
    let of_task = events.iter().filter(|event| event["uid"] == *uid);
    of_task.map(|event| event["status"].as_str().expect("a status").to_owned()).collect()
}

#[test]
fn a_stream_tells_each_status_of_each_task_once() {
    let fleet = Fleet::start();
    switch_on(&fleet);
    let (tasks, batches) = ("/tasks/stream", "/batches/stream");
    let (tasks, batches) =
        (Listener::to(&fleet.client, "GET", tasks, ""), Listener::to(&fleet.client, "GET", batches, ""));
    assert!(tasks.head().starts_with("http/1.1 200"), "{}", tasks.head());
    assert!(tasks.head().contains("content-type: text/event-stream"), "{}", tasks.head());
    let (good, bad) = (write(&fleet, "a", r#"[{"id":1}]"#), write(&fleet, "a", r#"[{"no":1}]"#));
    for task in [&good, &bad] {
        let told = eventually("the end of the task is told", || {
            let of_task: Vec<Value> = tasks.events().into_iter().filter(|event| event["uid"] == task["uid"]).collect();
            of_task.last().filter(|last| last["status"] == task["status"]).cloned()
        });
        assert_eq!(told, *task, "the task as `GET /tasks` shows it");
        let told = statuses(&tasks.events(), &task["uid"]);
        let mut once = told.clone();
        once.dedup();
        assert_eq!(told, once);
        let batch = eventually("the end of the batch is told", || {
            batches.events().into_iter().find(|event| event["uid"] == task["uid"] && !event["finishedAt"].is_null())
        });
        assert_eq!(batch, fleet.client.get(&format!("/batches/{}", task["uid"])).ok());
    }
    assert_eq!(statuses(&tasks.events(), &good["uid"]).first().map(String::as_str), Some("enqueued"));
    // Canceled before they began: no batch of their own. A cancelation's batch has them.
    let cancelation = fleet.client.send("POST", "/tasks/cancel?statuses=enqueued", AS_SDK, b"").ok()["taskUid"].clone();
    eventually("the cancelation's batch is told", || {
        batches.events().into_iter().find(|event| event["uid"] == cancelation && !event["finishedAt"].is_null())
    });
}

#[test]
fn listeners_cost_nodes_nothing_and_are_forgotten_when_they_go() {
    let fleet = Fleet::with(FleetOptions { proxied: true, ..FleetOptions::default() });
    switch_on(&fleet);
    write(&fleet, "a", r#"[{"id":1}]"#);
    let listeners: Vec<Listener> = (0..20).map(|_| Listener::to(&fleet.client, "GET", "/tasks/stream", "")).collect();
    let in_flight = || fleet.metric("miroir_requests_in_flight");
    assert!(in_flight() >= 20.0);
    // How often nodes were asked for one of their first tasks, or for several.
    let paths: Vec<String> = (0..40).map(|uid| format!("/tasks/{uid}")).chain(["/tasks".to_owned()]).collect();
    let proxies = || fleet.nodes.iter().filter_map(|node| node.proxy.as_ref());
    let asked = || proxies().flat_map(|proxy| paths.iter().map(move |path| proxy.asked(path))).sum();
    eventually("nothing goes on, and nobody is asked", || {
        let before: usize = asked();
        fleet.rounds("health", 5);
        (asked() == before).then_some(())
    });
    let task = write(&fleet, "a", r#"[{"id":2}]"#);
    for listener in &listeners {
        eventually("all hear of it", || {
            let told = statuses(&listener.events(), &task["uid"]);
            told.last().is_some_and(|last| last == "succeeded").then_some(())
        });
    }
    drop(listeners);
    eventually("nobody listens any more", || (in_flight() == 0.0).then_some(()));
}

#[test]
fn a_key_hears_of_its_own_indexes_only_and_the_end_of_the_gateway_ends_all() {
    let mut fleet = Fleet::with(FleetOptions { master_key: Some(MASTER), ..FleetOptions::default() });
    switch_on(&fleet);
    let key = |actions: Value, indexes: Value| {
        let key = json!({"actions": actions, "indexes": indexes, "expiresAt": null});
        fleet.client.with_key(fleet.client.post("/keys", &key).ok()["key"].as_str().expect("a key"))
    };
    let (mine, searcher) = (key(json!(["tasks.get"]), json!(["mine"])), key(json!(["search"]), json!(["*"])));
    let headers: &[(&str, &str)] = &[];
    for path in ["/tasks/stream", "/batches/stream"] {
        let denied = searcher.send("GET", path, headers, b"");
        assert_eq!((denied.status, &denied.value()["code"]), (403, &json!("invalid_api_key")), "{path}");
    }
    let listener = Listener::to(&mine, "GET", "/tasks/stream", "");
    write(&fleet, "other", r#"[{"id":1}]"#);
    let task = write(&fleet, "mine", r#"[{"id":1}]"#);
    eventually("the end is told", || {
        statuses(&listener.events(), &task["uid"]).last().is_some_and(|last| last == "succeeded").then_some(())
    });
    assert!(listener.events().iter().all(|event| event["indexUid"] == "mine"), "{:?}", listener.events());

    fleet.gateway().signal("TERM");
    eventually("the stream ends as an answer does", || listener.has_ended().then_some(()));
    fleet.kill_gateway();
}

/// Libraries write whole heads of requests when they are heard in detail.
#[test]
fn log_lines_show_no_keys_however_fine_they_are() {
    let fleet = Fleet::with(FleetOptions { master_key: Some(MASTER), ..Default::default() });
    fleet.client.json("PATCH", "/experimental-features", &json!({"logsRoute": true})).ok();
    let wish = r#"{"target": "trace,pingora_proxy=trace,miroir=trace", "mode": "json"}"#;
    let listener = Listener::to(&fleet.client, "POST", "/logs/stream", wish);
    assert!(listener.head().starts_with("http/1.1 200"), "{}", listener.head());
    // The first is passed on to a node as it is, the second asks all of them.
    fleet.client.get("/version").ok();
    fleet.client.add("a", &json!([{"id": 1}]));
    fleet.client.post("/indexes/a/search", &json!({})).ok();
    eventually("requests are logged", || listener.lines().iter().any(|line| line.contains("searchPost")).then_some(()));
    for line in listener.lines() {
        assert!(!line.contains(MASTER), "{line}");
        let told: Value = serde_json::from_str(&line).unwrap_or_default();
        let fine = told["level"] == "DEBUG" || told["level"] == "TRACE";
        let target = told["target"].as_str().unwrap_or_default();
        assert!(!fine || target == "miroir" || target.starts_with("miroir::"), "{line}");
    }
}

#[test]
fn log_lines_are_the_gateways_own_for_one_listener_at_a_time() {
    let fleet = Fleet::start();
    let features = |on: bool| fleet.client.json("PATCH", "/experimental-features", &json!({"logsRoute": on})).ok();
    features(false);
    for (method, path) in [("POST", "/logs/stream"), ("DELETE", "/logs/stream"), ("POST", "/logs/stderr")] {
        let off = fleet.client.json(method, path, &json!({}));
        assert_eq!((off.status, &off.value()["code"]), (400, &json!("feature_not_enabled")), "{method} {path}");
    }
    features(true);
    let wish = r#"{"target": "miroir::access=info", "mode": "json"}"#;
    let listener = Listener::to(&fleet.client, "POST", "/logs/stream", wish);
    assert!(listener.head().starts_with("http/1.1 200"), "{}", listener.head());
    let second = fleet.client.post("/logs/stream", &json!({}));
    let message = "The `/logs/stream` route is currently in use by someone else.";
    assert_eq!((second.status, &second.value()["message"]), (400, &json!(message)));
    fleet.client.get("/indexes/not-there/stats");
    let line = eventually("the request is logged", || {
        let lines = listener.lines();
        lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|line| line["fields"]["index"] == "not-there")
    });
    assert_eq!((&line["target"], &line["fields"]["status"]), (&json!("miroir::access"), &json!(404)), "{line}");
    assert!(!listener.has_ended());
    assert_eq!(fleet.client.delete("/logs/stream").status, 204);
    eventually("the stream ends", || listener.has_ended().then_some(()));
    // Who hangs up makes room too.
    drop(Listener::to(&fleet.client, "POST", "/logs/stream", "{}"));
    eventually("another may listen", || {
        let again = Listener::to(&fleet.client, "POST", "/logs/stream", "{}");
        again.head().starts_with("http/1.1 200").then_some(())
    });
}

#[test]
fn what_stderr_shows_is_set_while_the_gateway_runs() {
    let fleet = Fleet::start();
    fleet.client.json("PATCH", "/experimental-features", &json!({"logsRoute": true})).ok();
    let set = |target: &str| fleet.client.post("/logs/stderr", &json!({ "target": target })).status;
    let ask = |index: &str| fleet.client.get(&format!("/indexes/{index}/stats"));
    let log = || fleet.gateway().log();
    assert_eq!(set("error"), 204);
    ask("in-silence");
    assert_eq!(set("info"), 204);
    ask("aloud");
    eventually("requests are logged again", || log().contains("aloud").then_some(()));
    assert!(!log().contains("in-silence"), "{}", log());
    assert_eq!(set("miroir=loudly"), 400);
}

#[test]
fn the_state_is_compacted_while_the_gateway_goes_on() {
    let fleet = Fleet::start();
    if !is_embedded() {
        let off = fleet.client.post("/tasks/compact", &Value::Null);
        assert_eq!((off.status, &off.value()["code"]), (400, &json!("feature_not_enabled")), "{}", off.text);
        fleet.client.json("PATCH", "/experimental-features", &json!({"taskQueueCompactionRoute": true})).ok();
    }
    for id in 0..20 {
        // A failure says why at length.
        write(&fleet, "a", &format!(r#"[{{"no": "{}"}}]"#, "x".repeat(500 + id)));
    }
    fleet.client.wait(&fleet.client.delete("/tasks?statuses=failed"));
    let kept = fleet.client.get("/tasks").ok()["total"].clone();
    let compacted = fleet.client.post("/tasks/compact", &Value::Null);
    assert_eq!(compacted.status, 200, "{}", compacted.text);
    let compacted = compacted.value();
    assert_eq!(compacted["status"], "succeeded");
    assert_eq!(compacted.get("actionRequired"), None, "nothing has to be restarted: {compacted}");
    for size in ["preSize", "postSize"] {
        let text = compacted[size].as_str().unwrap_or_default();
        assert!(text.ends_with(" KiB") || text.ends_with(" MiB"), "{compacted}");
    }
    assert_eq!(fleet.client.get("/tasks").ok()["total"], kept);
    assert_eq!(write(&fleet, "a", r#"[{"id":1}]"#)["status"], "succeeded");
}

#[test]
fn the_end_of_a_gateway_that_follows_ends_what_it_passes_on() {
    let mut gateways = Gateways::start(2, FleetOptions::default());
    switch_on(&gateways.fleet);
    let listener = Listener::to(&gateways.others[0].client, "GET", "/tasks/stream", "");
    let task = write(&gateways.fleet, "a", r#"[{"id":1}]"#);
    eventually("it hears of it", || {
        statuses(&listener.events(), &task["uid"]).last().is_some_and(|last| last == "succeeded").then_some(())
    });
    let follower = &mut gateways.others[0].process;
    follower.signal("TERM");
    let status = eventually("it ends", || follower.exited());
    assert!(status.success(), "{}", follower.log());
}
