//! The node as its clients see it: a real node on a free port, asked over HTTP.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::embedded::node::{NodeOptions, OpenNode};
use crate::meili::task::TaskStatus;

/// A node that serves until it is dropped.
struct Server {
    url: String,
    agent: ureq::Agent,
    key: Option<String>,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
    open: Option<std::sync::Arc<OpenNode>>,
    runtime: Runtime,
}

struct Reply {
    status: u16,
    body: Value,
    headers: ureq::http::HeaderMap,
}

// === impl Server ===

impl Server {
    fn start(folder: &Path) -> Self {
        Self::start_with(NodeOptions { data_dir: folder.to_owned(), ..NodeOptions::default() })
    }

    fn start_with(options: NodeOptions) -> Self {
        let open = std::sync::Arc::new(OpenNode::open(&options).unwrap());
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = {
            let open = std::sync::Arc::clone(&open);
            runtime.spawn(async move {
                open.serve(listener, async {
                    let _ = stopped.await;
                })
                .await
                .unwrap();
            })
        };
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(true).build().into();
        let key = options.master_key;
        Self { url, agent, key, stop: Some(stop), serving: Some(serving), open: Some(open), runtime }
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Reply {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let reply = match body {
            Some(bytes) => self.agent.run(request.body(bytes).unwrap()),
            None => self.agent.run(request.body(()).unwrap()),
        };
        let mut reply = reply.unwrap();
        let text = reply.body_mut().read_to_string().unwrap();
        Reply {
            status: reply.status().as_u16(),
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
            headers: reply.headers().clone(),
        }
    }

    fn get(&self, path: &str) -> Value {
        let reply = self.send("GET", path, &[], None);
        assert_eq!(reply.status, 200, "GET {path}: {}", reply.body);
        reply.body
    }

    fn json(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.send(method, path, &[("content-type", "application/json")], Some(body.to_string().as_bytes()))
    }

    /// Sends a request that makes a task, and answers the task when it has ended.
    fn task(&self, method: &str, path: &str, body: &Value) -> Value {
        let reply = self.json(method, path, body);
        self.ended(&reply)
    }

    fn ended(&self, reply: &Reply) -> Value {
        assert!(matches!(reply.status, 200 | 202), "{} {}", reply.status, reply.body);
        let uid = u32::try_from(reply.body["taskUid"].as_u64().unwrap()).unwrap();
        self.node().node.queue.wait_for(uid);
        self.get(&format!("/tasks/{uid}"))
    }

    fn node(&self) -> &OpenNode {
        self.open.as_ref().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            self.runtime.block_on(serving).unwrap();
        }
        self.open.take();
    }
}

fn movies() -> Value {
    json!([
        {"id": 1, "title": "Paris at night", "genre": "drama"},
        {"id": "2", "title": "The sea", "genre": "comedy"},
        {"id": 3, "title": "Night train", "genre": "drama"},
    ])
}

#[test]
fn added_documents_are_found_after_their_task() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let reply = server.json("POST", "/indexes/movies/documents?customMetadata=mtask-7", &movies());
    assert_eq!(reply.status, 202);
    assert_eq!(reply.body["taskUid"], 0);
    assert_eq!(reply.body["type"], "documentAdditionOrUpdate");
    assert_eq!(reply.body["status"], "enqueued");
    let task = server.ended(&reply);
    assert_eq!(task["status"], "succeeded", "{task}");
    assert_eq!(task["details"], json!({"receivedDocuments": 3, "indexedDocuments": 3}));
    assert_eq!(task["customMetadata"], "mtask-7");
    let names: Vec<&String> = task.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "uid",
            "batchUid",
            "indexUid",
            "status",
            "type",
            "canceledBy",
            "details",
            "error",
            "duration",
            "enqueuedAt",
            "startedAt",
            "finishedAt",
            "customMetadata"
        ]
    );

    let found = server.get("/indexes/movies/search?q=night");
    let ids: Vec<&Value> = found["hits"].as_array().unwrap().iter().map(|hit| &hit["id"]).collect();
    assert_eq!(ids, [&json!(3), &json!(1)]);
    assert_eq!(server.get("/indexes/movies/documents/2")["title"], "The sea");
    assert_eq!(server.get("/indexes/movies/stats")["numberOfDocuments"], 3);
    assert_eq!(server.get("/indexes")["results"][0]["primaryKey"], "id");
}

#[test]
fn every_format_and_encoding_brings_the_same_documents() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let ndjson = b"{\"id\":1,\"n\":2}\n{\"id\":2,\"n\":3}\n".as_slice();
    let csv = b"id:number;n:number\n3;2\n4;3\n".as_slice();
    let mut gzip = Vec::new();
    server.runtime.block_on(async {
        use tokio::io::AsyncReadExt as _;
        let mut encoder = async_compression::tokio::bufread::GzipEncoder::new(b"[{\"id\":5,\"n\":9}]".as_slice());
        encoder.read_to_end(&mut gzip).await.unwrap();
    });
    let requests = [
        ("/indexes/a/documents", "application/x-ndjson", None, ndjson),
        ("/indexes/a/documents?csvDelimiter=;", "text/csv; charset=utf-8", None, csv),
        ("/indexes/a/documents", "application/json", Some("gzip"), gzip.as_slice()),
    ];
    for (path, content_type, encoding, body) in requests {
        let mut headers = vec![("content-type", content_type)];
        headers.extend(encoding.map(|encoding| ("content-encoding", encoding)));
        let task = server.ended(&server.send("POST", path, &headers, Some(body)));
        assert_eq!(task["status"], "succeeded", "{task}");
    }
    let task = server.task("PUT", "/indexes/a/documents", &json!({"id": 1, "more": true}));
    assert_eq!(task["status"], "succeeded");
    let listed = server.get("/indexes/a/documents");
    assert_eq!(listed["total"], 5);
    assert_eq!(listed["results"][0], json!({"id": 1, "n": 2, "more": true}));
    assert_eq!(std::fs::read_dir(folder.path().join("payloads")).unwrap().count(), 0);
}

#[test]
fn documents_go_by_id_by_ids_by_filter_and_all() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    server.task("PATCH", "/indexes/m/settings", &json!({"filterableAttributes": ["genre"]}));
    server.task("POST", "/indexes/m/documents", &movies());
    let one = server.ended(&server.send("DELETE", "/indexes/m/documents/1", &[], None));
    assert_eq!(one["details"], json!({"providedIds": 1, "deletedDocuments": 1, "originalFilter": null}));
    let filter =
        server.task("POST", "/indexes/m/documents/delete?customMetadata=x", &json!({"filter": "genre = drama"}));
    assert_eq!(
        filter["details"],
        json!({"providedIds": 0, "deletedDocuments": 1, "originalFilter": "\"genre = drama\""})
    );
    assert_eq!(filter["customMetadata"], "x");
    let ids = server.task("POST", "/indexes/m/documents/delete-batch", &json!([2, "77"]));
    assert_eq!(ids["details"], json!({"providedIds": 2, "deletedDocuments": 1, "originalFilter": null}));
    server.task("POST", "/indexes/m/documents", &movies());
    let all = server.ended(&server.send("DELETE", "/indexes/m/documents", &[], None));
    assert_eq!((&all["details"], &all["type"]), (&json!({"deletedDocuments": 3}), &json!("documentDeletion")));
}

#[test]
fn accepted_tasks_and_their_documents_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut accepted = BTreeSet::new();
    {
        let server = Server::start(folder.path());
        for id in 0..20 {
            let reply = server.json("POST", "/indexes/kept/documents", &json!([{"id": id, "text": "kept"}]));
            assert_eq!(reply.status, 202);
            accepted.insert(reply.body["taskUid"].as_u64().unwrap());
        }
    }
    let server = Server::start(folder.path());
    for uid in &accepted {
        let task = server.node().node.queue.wait_for(u32::try_from(*uid).unwrap());
        assert_eq!(task.status, TaskStatus::Succeeded, "{:?}", task.error);
    }
    assert_eq!(server.get("/indexes/kept/stats")["numberOfDocuments"], 20);
    assert_eq!(server.get("/tasks?limit=1")["results"][0]["uid"], 19);
}

#[test]
fn a_task_that_was_interrupted_after_its_commit_is_not_done_twice() {
    let folder = tempfile::tempdir().unwrap();
    {
        let server = Server::start(folder.path());
        server.task("POST", "/indexes", &json!({"uid": "left", "primaryKey": "id"}));
        server.task("POST", "/indexes", &json!({"uid": "right"}));
        server.task("POST", "/swap-indexes", &json!([{"indexes": ["left", "right"]}]));
        server.task("POST", "/indexes", &json!({"uid": "third"}));
        server.ended(&server.send("DELETE", "/indexes/third", &[], None));
    }
    // The rows as a node leaves them that is killed between the indexes' commit and its own.
    let rows = rusqlite::Connection::open(folder.path().join("tasks.db")).unwrap();
    let notes: Vec<Option<String>> = (0..5)
        .map(|uid| rows.query_row("SELECT note FROM tasks WHERE uid = ?1", [uid], |row| row.get(0)).unwrap())
        .collect();
    assert_eq!(notes, vec![None; 5], "notes go with the end of their task");
    rows.execute("UPDATE tasks SET status = 'processing', finished_at = NULL WHERE uid IN (0, 4)", []).unwrap();
    drop(rows);

    let server = Server::start(folder.path());
    for uid in [0, 4] {
        let task = server.node().node.queue.wait_for(uid);
        assert_eq!(task.status, TaskStatus::Succeeded, "{:?}", task.error);
    }
    assert_eq!(server.get("/indexes")["total"], 2);
    assert_eq!(server.get("/indexes/right")["primaryKey"], "id");
}

#[test]
fn indexes_are_made_changed_swapped_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let made = server.task("POST", "/indexes", &json!({"uid": "a", "primaryKey": "id"}));
    assert_eq!((&made["status"], &made["details"]), (&json!("succeeded"), &json!({"primaryKey": "id"})));
    let again = server.task("POST", "/indexes", &json!({"uid": "a"}));
    assert_eq!((&again["status"], &again["error"]["code"]), (&json!("failed"), &json!("index_already_exists")));
    assert_eq!(again["error"]["message"], "Index `a` already exists.");
    server.task("POST", "/indexes/b/documents", &json!([{"id": 1}]));
    let changed = server.task("PATCH", "/indexes/a", &json!({"primaryKey": "isbn"}));
    assert_eq!(changed["status"], "succeeded");
    let missing = server.task("POST", "/swap-indexes", &json!([{"indexes": ["a", "zz"]}]));
    assert_eq!(missing["error"]["code"], "index_not_found");
    let swapped = server.task("POST", "/swap-indexes", &json!([{"indexes": ["a", "b"]}]));
    assert_eq!((&swapped["status"], &swapped["indexUid"]), (&json!("succeeded"), &Value::Null));
    assert_eq!(swapped["details"], json!({"swaps": [{"indexes": ["a", "b"]}]}));
    assert_eq!(server.get("/indexes/b")["primaryKey"], "isbn");
    let gone = server.ended(&server.send("DELETE", "/indexes/a", &[], None));
    assert_eq!(gone["details"], json!({"deletedDocuments": 1}));
    let page = server.get("/indexes?limit=5");
    assert_eq!((&page["total"], &page["offset"], &page["limit"]), (&json!(1), &json!(0), &json!(5)));
}

#[test]
fn settings_are_read_and_changed_whole_and_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let whole =
        server.task("PATCH", "/indexes/s/settings", &json!({"stopWords": ["the"], "sortableAttributes": ["n"]}));
    assert_eq!((&whole["status"], &whole["details"]["stopWords"]), (&json!("succeeded"), &json!(["the"])));
    let one = server.task("PUT", "/indexes/s/settings/stop-words", &json!(["a", "an"]));
    assert_eq!((&one["status"], &one["details"]), (&json!("succeeded"), &json!({"stopWords": ["a", "an"]})));
    assert_eq!(server.get("/indexes/s/settings/stop-words"), json!(["a", "an"]));
    server.ended(&server.send("DELETE", "/indexes/s/settings/stop-words", &[], None));
    let all = server.get("/indexes/s/settings");
    assert_eq!((&all["stopWords"], &all["sortableAttributes"]), (&json!([]), &json!(["n"])));
    assert_eq!(server.json("PATCH", "/indexes/s/settings/stop-words", &json!([])).status, 405);
    assert_eq!(server.send("GET", "/indexes/s/settings/doggo", &[], None).status, 404);
}

#[test]
fn tasks_are_listed_by_every_condition() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    for name in ["a", "b", "a", "c"] {
        server.task("POST", "/indexes", &json!({"uid": name}));
    }
    server.task("POST", "/indexes/b/documents", &json!([{"id": 1}]));
    let uids = |query: &str| {
        let page = server.get(&format!("/tasks?{query}"));
        page["results"].as_array().unwrap().iter().map(|task| task["uid"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(uids(""), [4, 3, 2, 1, 0]);
    assert_eq!(uids("reverse=true&limit=2"), [0, 1]);
    assert_eq!(uids("statuses=failed"), [2]);
    assert_eq!(uids("types=documentAdditionOrUpdate,indexDeletion"), [4]);
    assert_eq!(uids("indexUids=b,c"), [4, 3, 1]);
    assert_eq!(uids("uids=0,4,99"), [4, 0]);
    assert_eq!(uids("uids=*&statuses=*"), [4, 3, 2, 1, 0]);
    assert_eq!(uids("canceledBy=3"), Vec::<u64>::new());
    assert_eq!(uids("afterEnqueuedAt=2100-01-01"), Vec::<u64>::new());
    assert_eq!(uids("beforeFinishedAt=2100-01-01T00:00:00Z&afterStartedAt=2020-01-01"), [4, 3, 2, 1, 0]);
    let page = server.get("/tasks?limit=2&from=3");
    let shown = (&page["total"], &page["limit"], &page["from"], &page["next"]);
    assert_eq!(shown, (&json!(5), &json!(2), &json!(3), &json!(1)));
    let batches = server.get("/batches?limit=1");
    assert_eq!((&batches["total"], &batches["results"][0]["stats"]["totalNbTasks"]), (&json!(5), &json!(1)));
    assert_eq!(server.get("/batches/2")["stats"]["status"], json!({"failed": 1}));
}

#[test]
fn tasks_are_canceled_and_deleted_by_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    server.task("POST", "/indexes", &json!({"uid": "a"}));
    let deleted = server.ended(&server.send("DELETE", "/tasks?uids=0,7", &[], None));
    assert_eq!(deleted["details"], json!({"matchedTasks": 1, "deletedTasks": 1, "originalFilter": "?uids=0,7"}));
    assert_eq!(server.send("GET", "/tasks/0", &[], None).body["message"], "Task `0` not found.");
    let canceled = server.ended(&server.send("POST", "/tasks/cancel?statuses=enqueued,processing", &[], None));
    assert_eq!((&canceled["status"], &canceled["type"]), (&json!("succeeded"), &json!("taskCancelation")));
    assert_eq!(
        canceled["details"],
        json!({"matchedTasks": 0, "canceledTasks": 0, "originalFilter": "?statuses=enqueued,processing"})
    );
}

#[test]
fn bad_input_is_refused_in_the_engines_words() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    server.task("POST", "/indexes", &json!({"uid": "x"}));
    let name = "`a b` is not a valid index uid. Index uid can be an integer or a string containing only alphanumeric \
                characters, hyphens (-) and underscores (_), and can not be more than 512 bytes.";
    let json_type = Some("application/json");
    let table: &[(&str, &str, Option<&str>, &str, u16, &str, &str)] = &[
        (
            "POST",
            "/indexes",
            None,
            "{}",
            415,
            "missing_content_type",
            "A Content-Type header is missing. Accepted values for the Content-Type header are: `application/json`",
        ),
        (
            "POST",
            "/indexes",
            Some("text/plain"),
            "{}",
            415,
            "invalid_content_type",
            "The Content-Type `text/plain` is invalid. Accepted values for the Content-Type header are: `application/json`",
        ),
        ("POST", "/indexes", json_type, "", 400, "missing_payload", "A json payload is missing."),
        (
            "POST",
            "/indexes",
            json_type,
            "{",
            400,
            "malformed_payload",
            "The json payload provided is malformed. `EOF while parsing an object at line 1 column 1`.",
        ),
        ("POST", "/indexes", json_type, "{}", 400, "missing_index_uid", "Missing field `uid`"),
        (
            "POST",
            "/indexes",
            json_type,
            "{\"uid\": 7}",
            400,
            "invalid_index_uid",
            "Invalid value type at `.uid`: expected a string, but found a positive integer: `7`",
        ),
        (
            "POST",
            "/indexes",
            json_type,
            "{\"uid\": \"x\", \"doggo\": 1}",
            400,
            "bad_request",
            "Unknown field `doggo`: expected one of `uid`, `primaryKey`",
        ),
        (
            "PATCH",
            "/indexes/x",
            json_type,
            "{\"createdAt\": 1}",
            400,
            "immutable_index_created_at",
            "Immutable field `createdAt`: expected one of `primaryKey`",
        ),
        ("GET", "/indexes/a%20b", None, "", 400, "invalid_index_uid", name),
        ("GET", "/indexes/nope", None, "", 404, "index_not_found", "Index `nope` not found."),
        ("GET", "/indexes/nope/documents/1", None, "", 404, "index_not_found", "Index `nope` not found."),
        ("GET", "/indexes/x/documents/1", None, "", 404, "document_not_found", "Document `1` not found."),
        (
            "GET",
            "/indexes?limit=doggo",
            None,
            "",
            400,
            "invalid_index_limit",
            "Invalid value in parameter `limit`: could not parse `doggo` as a positive integer",
        ),
        (
            "POST",
            "/indexes/x/documents",
            None,
            "[]",
            415,
            "missing_content_type",
            "A Content-Type header is missing. Accepted values for the Content-Type header are: `application/json`, `application/x-ndjson`, `text/csv`",
        ),
        (
            "POST",
            "/indexes/x/documents",
            Some("text/plain"),
            "[]",
            415,
            "invalid_content_type",
            "The Content-Type `text/plain` is invalid. Accepted values for the Content-Type header are: `application/json`, `application/x-ndjson`, `text/csv`",
        ),
        ("POST", "/indexes/x/documents", json_type, "", 400, "missing_payload", "A json payload is missing."),
        ("POST", "/indexes/x/documents", Some("text/csv"), "", 400, "missing_payload", "A csv payload is missing."),
        (
            "POST",
            "/indexes/x/documents",
            Some("application/x-ndjson"),
            "{\"id\": 1}\n{id: 2}",
            400,
            "malformed_payload",
            "The `ndjson` payload provided is malformed. `Couldn't serialize document value: key must be a string at line 2 column 2`.",
        ),
        (
            "POST",
            "/indexes/x/documents?csvDelimiter=doggo",
            Some("text/csv"),
            "a",
            400,
            "invalid_document_csv_delimiter",
            "Invalid value in parameter `csvDelimiter`: expected a string of one character, but found the following string of 5 characters: `doggo`",
        ),
        (
            "POST",
            "/indexes/x/documents?csvDelimiter=%F0%9F%8D%B0",
            Some("text/csv"),
            "a",
            400,
            "invalid_document_csv_delimiter",
            "csv delimiter must be an ascii character. Found: `🍰`",
        ),
        (
            "POST",
            "/indexes/x/documents/delete-batch",
            json_type,
            "{}",
            400,
            "bad_request",
            "Json deserialize error: invalid type: map, expected a sequence at line 1 column 0",
        ),
        (
            "POST",
            "/indexes/x/documents/delete",
            json_type,
            "{}",
            400,
            "missing_document_filter",
            "Missing field `filter`",
        ),
        (
            "POST",
            "/indexes/x/documents/edit",
            json_type,
            "{\"function\": \"\"}",
            400,
            "feature_not_enabled",
            "Using the documents edit route requires enabling the `edit documents by function` experimental feature. See https://github.com/orgs/meilisearch/discussions/762",
        ),
        (
            "GET",
            "/tasks/doggo",
            None,
            "",
            400,
            "invalid_task_uids",
            "Task uid `doggo` is invalid. It should only contain numeric characters.",
        ),
        ("GET", "/tasks/77", None, "", 404, "task_not_found", "Task `77` not found."),
        (
            "GET",
            "/tasks?uids=1,dogo",
            None,
            "",
            400,
            "invalid_task_uids",
            "Invalid value in parameter `uids[1]`: could not parse `dogo` as a positive integer",
        ),
        (
            "GET",
            "/tasks?statuses=doggo",
            None,
            "",
            400,
            "invalid_task_statuses",
            "Invalid value in parameter `statuses`: `doggo` is not a valid task status. Available statuses are `enqueued`, `processing`, `succeeded`, `failed`, `canceled`.",
        ),
        (
            "GET",
            "/tasks?types=doggo",
            None,
            "",
            400,
            "invalid_task_types",
            "Invalid value in parameter `types`: `doggo` is not a valid task type. Available types are `documentAdditionOrUpdate`, `documentEdition`, `documentDeletion`, `settingsUpdate`, `indexCreation`, `indexDeletion`, `indexUpdate`, `indexSwap`, `taskCancelation`, `taskDeletion`, `dumpCreation`, `snapshotCreation`, `upgradeDatabase`.",
        ),
        (
            "GET",
            "/tasks?reverse=*",
            None,
            "",
            400,
            "invalid_task_reverse",
            "Invalid value in parameter `reverse`: could not parse `*` as a boolean, expected either `true` or `false`",
        ),
        (
            "GET",
            "/tasks?afterEnqueuedAt=doggo",
            None,
            "",
            400,
            "invalid_task_after_enqueued_at",
            "Invalid value in parameter `afterEnqueuedAt`: `doggo` is an invalid date-time. It should follow the YYYY-MM-DD or RFC 3339 date-time format.",
        ),
        (
            "POST",
            "/tasks/cancel",
            None,
            "",
            400,
            "missing_task_filters",
            "Query parameters to filter the tasks to cancel are missing. Available query parameters are: `uids`, `indexUids`, `statuses`, `types`, `canceledBy`, `beforeEnqueuedAt`, `afterEnqueuedAt`, `beforeStartedAt`, `afterStartedAt`, `beforeFinishedAt`, `afterFinishedAt`.",
        ),
        (
            "DELETE",
            "/tasks?limit=1",
            None,
            "",
            400,
            "bad_request",
            "Unknown parameter `limit`: expected one of `uids`, `batchUids`, `canceledBy`, `types`, `statuses`, `indexUids`, `afterEnqueuedAt`, `beforeEnqueuedAt`, `afterStartedAt`, `beforeStartedAt`, `afterFinishedAt`, `beforeFinishedAt`",
        ),
        ("GET", "/batches/77", None, "", 404, "batch_not_found", "Batch `77` not found."),
        (
            "POST",
            "/swap-indexes",
            json_type,
            "[{\"indexes\": [\"a\"]}]",
            400,
            "invalid_swap_indexes",
            "Two indexes must be given for each swap. The list `[\"a\"]` contains 1 indexes.",
        ),
        (
            "POST",
            "/swap-indexes",
            json_type,
            "[{\"indexes\": [\"a\", \"a\"]}]",
            400,
            "invalid_swap_duplicate_index_found",
            "Indexes must be declared only once during a swap. `a` was specified several times.",
        ),
        (
            "POST",
            "/swap-indexes",
            json_type,
            "[{}]",
            400,
            "missing_swap_indexes",
            "Missing field `indexes` inside `[0]`",
        ),
        (
            "GET",
            "/keys",
            None,
            "",
            401,
            "missing_master_key",
            "Meilisearch is running without a master key. To access this API endpoint, you must have set a master key at launch.",
        ),
        (
            "PATCH",
            "/experimental-features",
            json_type,
            "{\"doggo\": true}",
            400,
            "bad_request",
            "Unknown field `doggo`: expected one of `metrics`, `logsRoute`, `editDocumentsByFunction`, `containsFilter`, `network`, `getTaskDocumentsRoute`, `compositeEmbedders`, `chatCompletions`",
        ),
        ("GET", "/indexes/x/search?doggo=1", None, "", 400, "bad_request", ""),
        (
            "POST",
            "/indexes/x/search",
            json_type,
            "{\"limit\": \"many\"}",
            400,
            "invalid_search_limit",
            "Invalid value type at `.limit`: expected a positive integer, but found a string: `\"many\"`",
        ),
        ("POST", "/indexes/x/search", json_type, "{\"filter\": \"color = red\"}", 400, "invalid_search_filter", ""),
    ];
    for (method, path, content_type, body, status, code, message) in table {
        let headers: Vec<(&str, &str)> = content_type.iter().map(|name| ("content-type", *name)).collect();
        let bytes = (*method != "GET" && *method != "DELETE").then_some(body.as_bytes());
        let reply = server.send(method, path, &headers, bytes);
        let shown = (reply.status, reply.body["code"].as_str().unwrap_or_default().to_owned());
        assert_eq!(shown, (*status, (*code).to_owned()), "{method} {path} {body}: {}", reply.body);
        if !message.is_empty() {
            assert_eq!(reply.body["message"], *message, "{method} {path} {body}");
        }
        assert_eq!(reply.body["link"], format!("https://docs.meilisearch.com/errors#{code}"));
    }
}

#[test]
fn unknown_paths_are_404_and_wrong_methods_405_without_a_body() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let table = [
        ("GET", "/doggo", 404),
        ("GET", "/indexes/x/doggo", 404),
        ("GET", "/tasks/1/2/3", 404),
        ("POST", "/health", 405),
        ("PUT", "/indexes", 405),
        ("POST", "/indexes/x", 405),
        ("GET", "/indexes/x/documents/delete-batch", 405),
        ("GET", "/tasks/cancel", 405),
        ("POST", "/indexes/x/documents/1", 405),
    ];
    for (method, path, status) in table {
        let body = (method != "GET").then_some(b"".as_slice());
        let reply = server.send(method, path, &[], body);
        assert_eq!((reply.status, reply.body), (status, json!("")), "{method} {path}");
    }
    assert_eq!(server.get("/health/"), json!({"status": "available"}));
    assert_eq!(server.get("/version")["pkgVersion"], "1.15.1");
}

#[test]
fn a_body_over_the_limit_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions { data_dir: folder.path().to_owned(), max_payload_size: 1024, ..NodeOptions::default() };
    let server = Server::start_with(options);
    let mut body = Vec::new();
    for id in 0..200 {
        writeln!(body, "{{\"id\":{id}}}").unwrap();
    }
    let reply = server.send("POST", "/indexes/a/documents", &[("content-type", "application/x-ndjson")], Some(&body));
    assert_eq!((reply.status, &reply.body["code"]), (413, &json!("payload_too_large")));
    assert_eq!(
        reply.body["message"],
        "The provided payload reached the size limit. The maximum accepted payload size is 1 KiB."
    );
    assert_eq!(server.get("/tasks")["total"], 0);
    assert_eq!(std::fs::read_dir(folder.path().join("payloads")).unwrap().count(), 0);
}

#[test]
fn a_failed_addition_names_its_mistake_and_makes_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let task = server.task("POST", "/indexes/a/documents", &json!([{"id": "bad id"}]));
    assert_eq!((&task["status"], &task["error"]["code"]), (&json!("failed"), &json!("invalid_document_id")));
    assert_eq!(task["details"], json!({"receivedDocuments": 1, "indexedDocuments": 0}));
    assert_eq!(server.get("/indexes")["total"], 1);
    let missing = server.ended(&server.send("DELETE", "/indexes/none/documents/1", &[], None));
    assert_eq!(missing["error"]["message"], "Index `none` not found.");
}

#[test]
fn keys_open_what_they_name_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions {
        data_dir: folder.path().to_owned(),
        master_key: Some("MASTER_KEY".to_owned()),
        ..NodeOptions::default()
    };
    let mut server = Server::start_with(options);
    server.task("POST", "/indexes/movies/documents", &movies());
    server.task("POST", "/indexes/books/documents", &movies());
    let keys = server.get("/keys");
    assert_eq!(keys["total"], 3);
    let search = keys["results"].as_array().unwrap().iter().find(|key| key["actions"] == json!(["search"])).unwrap();
    let search_key = search["key"].as_str().unwrap().to_owned();
    let search_uid = search["uid"].as_str().unwrap().to_owned();
    let made = server.json(
        "POST",
        "/keys",
        &json!({"actions": ["documents.*", "tasks.get"], "indexes": ["mov*"], "expiresAt": null}),
    );
    assert_eq!(made.status, 201);
    let writer = made.body["key"].as_str().unwrap().to_owned();

    server.key = None;
    let bare = server.send("GET", "/indexes", &[], None);
    assert_eq!((bare.status, &bare.body["code"]), (401, &json!("missing_authorization_header")));
    assert_eq!(server.send("GET", "/health", &[], None).status, 200);

    server.key = Some("wrong".to_owned());
    let wrong = server.send("GET", "/indexes", &[], None);
    assert_eq!((wrong.status, &wrong.body["message"]), (403, &json!("The provided API key is invalid.")));

    server.key = Some(writer);
    assert_eq!(server.get("/indexes/movies/documents")["total"], 3);
    let other = server.send("GET", "/indexes/books/documents", &[], None);
    assert_eq!(other.body["message"], "The API key cannot acces the index `books`, authorized indexes are [\"mov*\"].");
    assert_eq!(server.get("/tasks")["total"], 1);
    assert_eq!(server.send("GET", "/tasks/1", &[], None).status, 404);
    assert_eq!(server.send("GET", "/indexes/movies/search", &[], None).status, 403);

    server.key = Some(search_key.clone());
    assert_eq!(server.get("/indexes/books/search?q=sea")["hits"].as_array().unwrap().len(), 1);

    let token = |claims: &Value| {
        let secret = jsonwebtoken::EncodingKey::from_secret(search_key.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &secret).unwrap()
    };
    server.key = Some(token(&json!({"searchRules": ["books"], "apiKeyUid": search_uid})));
    assert_eq!(server.send("GET", "/indexes/books/search", &[], None).status, 200);
    let outside = server.send("GET", "/indexes/movies/search", &[], None);
    assert_eq!(
        outside.body["message"],
        "The provided tenant token cannot acces the index `movies`, allowed indexes are [\"books\"]."
    );
    server.key = Some(token(&json!({"searchRules": ["*"], "apiKeyUid": search_uid, "exp": 1})));
    let late = server.send("GET", "/indexes/movies/search", &[], None);
    assert!(late.body["message"].as_str().unwrap().starts_with("Tenant token expired. Was valid up to `1`"));
}

#[test]
fn browsers_of_any_origin_may_ask() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let reply = server.send("GET", "/health", &[("origin", "http://example.com")], None);
    assert_eq!(reply.headers["access-control-allow-origin"], "*");
    let asked = [
        ("origin", "http://example.com"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization"),
    ];
    let preflight = server.send("OPTIONS", "/indexes", &asked, None);
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.headers["access-control-allow-headers"], "authorization");
}

#[test]
fn a_folder_has_one_node_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions { data_dir: folder.path().to_owned(), ..NodeOptions::default() };
    let first = OpenNode::open(&options).unwrap();
    let error = OpenNode::open(&options).err().unwrap();
    assert_eq!(error.to_string(), format!("another node uses the data folder {}", folder.path().display()));
    drop(first);
}
