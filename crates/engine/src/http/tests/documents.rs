//! Documents added, read and deleted.

use std::io::Write as _;

use serde_json::{Value, json};

use super::{Server, movies};
use crate::node::NodeOptions;

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
