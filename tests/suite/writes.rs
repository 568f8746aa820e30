//! Document writes in every form: the cluster ends with the documents that one node would hold.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::client::{eventually, holds_words};
use crate::support::corpus::{cities, ndjson};
use crate::support::parity::leaks;
use crate::support::{Client, Fleet, Single};

fn compressed(encoding: &str, body: &[u8]) -> Vec<u8> {
    use async_compression::tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
    use tokio::io::AsyncWriteExt as _;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        macro_rules! with {
            ($encoder:ident) => {{
                let mut encoder = $encoder::new(Vec::new());
                encoder.write_all(body).await.expect("memory");
                encoder.shutdown().await.expect("memory");
                encoder.into_inner()
            }};
        }
        match encoding {
            "gzip" => with!(GzipEncoder),
            "br" => with!(BrotliEncoder),
            "deflate" => with!(ZlibEncoder),
            "raw deflate" => with!(DeflateEncoder),
            "zstd" => with!(ZstdEncoder),
            other => panic!("no encoder for {other}"),
        }
    })
}

/// The task as a client sees it, without what differs from run to run.
fn stable(mut task: Value) -> Value {
    let map = task.as_object_mut().expect("a task");
    for key in ["uid", "taskUid", "batchUid", "duration", "enqueuedAt", "startedAt", "finishedAt"] {
        map.remove(key);
    }
    task
}

#[test]
fn every_format_and_method_ends_in_the_same_documents() {
    let single = Single::start();
    let fleet = Fleet::start();
    let csv = "id,name:string,score:number,live:boolean\n1,Ann,1.5,true\n2,\"Bo, the\"\"2nd\"\"\",2,false\n3,,,\n";
    let semicolons = "id;name\n11;x\n12;y\n";
    type Case<'a> = (&'a str, &'a str, &'a str, Vec<u8>);
    let cases: Vec<Case> = vec![
        (
            "POST",
            "/indexes/a/documents",
            "application/json",
            br#"[{"id":1,"t":"one","n":{"x":[1,2]}},{"id":"two","t":"\u00e9\ud83d\ude00"}]"#.to_vec(),
        ),
        ("POST", "/indexes/a/documents", "application/json", br#"{"id":3,"t":"alone"}"#.to_vec()),
        ("POST", "/indexes/a/documents", "application/json", br#"[{"id":"1","t":"again as text"}]"#.to_vec()),
        (
            "PUT",
            "/indexes/a/documents",
            "application/json",
            br#"[{"id":3,"extra":true},{"id":4,"t":"new by put"}]"#.to_vec(),
        ),
        (
            "POST",
            "/indexes/a/documents",
            "application/x-ndjson",
            b"{\"id\":5,\"t\":\"a\"}\n\n{\"id\":6,\"t\":\"b\"}".to_vec(),
        ),
        ("POST", "/indexes/a/documents", "application/json", b"[]".to_vec()),
        ("POST", "/indexes/b/documents", "text/csv", csv.as_bytes().to_vec()),
        ("PUT", "/indexes/b/documents?csvDelimiter=%3B", "text/csv", semicolons.as_bytes().to_vec()),
        (
            "POST",
            "/indexes/c/documents?primaryKey=key",
            "application/json",
            br#"[{"key":"k-1","id":7},{"key":"k_2","id":8}]"#.to_vec(),
        ),
        ("POST", "/indexes/d/documents", "application/json", br#"[{"bookId":1,"id":"x"}]"#.to_vec()),
        ("POST", "/indexes/e/documents", "application/json", br#"[{"name":"no id at all"}]"#.to_vec()),
        ("POST", "/indexes/f/documents", "application/json", br#"[{"id":1},{"id":"not valid!"},{"id":2}]"#.to_vec()),
        ("POST", "/indexes/f/documents", "application/json", br#"[{"id":1},{"name":"missing"}]"#.to_vec()),
        ("POST", "/indexes/f/documents", "application/json", br#"[{"id":1.5}]"#.to_vec()),
    ];
    for (method, path, content_type, body) in &cases {
        let headers = [("Content-Type", *content_type)];
        let want = single.client.wait(&single.client.send(method, path, &headers, body));
        let got = fleet.client.wait(&fleet.client.send(method, path, &headers, body));
        assert_eq!(stable(want), stable(got), "{method} {path} {}", String::from_utf8_lossy(body));
    }
    for index in ["a", "b"] {
        assert_eq!(single.client.documents(index), fleet.client.documents(index), "index {index}");
    }
    for index in ["a", "b", "c", "d", "e", "f"] {
        let path = format!("/indexes/{index}");
        assert_eq!(single.client.get(&path).ok()["primaryKey"], fleet.client.get(&path).ok()["primaryKey"], "{path}");
    }
    assert_eq!(fleet.client.documents("f").len(), 0, "a batch with one bad id is refused whole");
}

#[test]
fn compressed_bodies_are_read() {
    let fleet = Fleet::start();
    let sample = cities(300);
    let body = ndjson(&sample);
    for (n, encoding) in ["gzip", "br", "deflate", "zstd"].iter().enumerate() {
        let headers = [("Content-Type", "application/x-ndjson"), ("Content-Encoding", *encoding)];
        let index = format!("c{n}");
        let reply =
            fleet.client.send("POST", &format!("/indexes/{index}/documents"), &headers, &compressed(encoding, &body));
        let task = fleet.client.done(&reply);
        assert_eq!(task["details"]["indexedDocuments"], json!(300), "{encoding}");
        assert_eq!(fleet.client.documents(&index).len(), 300, "{encoding}");
    }
}

#[test]
fn deletes_by_id_ids_filter_and_all_are_the_same() {
    let single = Single::start();
    let fleet = Fleet::start();
    let sample = cities(600);
    let ids: Vec<Value> = sample.iter().take(40).map(|document| document["id"].clone()).collect();
    let mut texts: Vec<Value> =
        sample.iter().skip(40).take(5).map(|document| json!(document["id"].to_string())).collect();
    texts.push(json!(999_999_999));
    let steps: Vec<(&str, String, Value)> = vec![
        ("DELETE", format!("/indexes/cities/documents/{}", sample[100]["id"]), Value::Null),
        ("DELETE", "/indexes/cities/documents/424242424242".to_owned(), Value::Null),
        ("POST", "/indexes/cities/documents/delete-batch".to_owned(), json!(ids)),
        ("POST", "/indexes/cities/documents/delete-batch".to_owned(), json!(texts)),
        ("POST", "/indexes/cities/documents/delete".to_owned(), json!({"filter": "country = FR OR population < 100"})),
        (
            "POST",
            "/indexes/cities/documents/edit".to_owned(),
            json!({"filter": "country = US", "function": "doc.name = doc.name + `!`"}),
        ),
        ("DELETE", "/indexes/cities/documents".to_owned(), Value::Null),
    ];
    for client in [&single.client, &fleet.client] {
        crate::support::parity::load(client, "cities", &sample);
        client.json("PATCH", "/experimental-features", &json!({"editDocumentsByFunction": true})).ok();
    }
    for (method, path, body) in &steps {
        let send = |client: &Client| {
            let reply = if body.is_null() { client.delete(path) } else { client.json(method, path, body) };
            client.wait(&reply)
        };
        assert_eq!(stable(send(&single.client)), stable(send(&fleet.client)), "{method} {path} {body}");
        assert_eq!(single.client.documents("cities"), fleet.client.documents("cities"), "after {method} {path}");
    }
}

#[test]
fn each_replica_holds_its_documents_once_and_hidden_from_clients() {
    let fleet = Fleet::start();
    let sample = cities(900);
    crate::support::parity::load(&fleet.client, "cities", &sample);
    let mut copies = 0;
    for node in &fleet.nodes {
        let stats = node.client.get("/indexes/cities/stats").ok();
        let of_words = stats["fieldDistribution"]["_miroir_words"].as_u64().expect("documents of words");
        copies += stats["numberOfDocuments"].as_u64().expect("a count") - of_words;
        assert_eq!(stats["fieldDistribution"]["_miroir_shard"], stats["numberOfDocuments"], "{}", node.name);
    }
    assert_eq!(copies, 1800, "two replicas of 900 documents");
    for document in fleet.client.documents("cities").values() {
        assert!(!leaks(document), "{document}");
    }
    // A search for anything never finds the hidden field.
    for q in ["{", "}", "{{}}", "_miroir_shard", "miroir", "shard"] {
        let answer = fleet.client.search(
            "cities",
            &json!({"q": q, "showMatchesPosition": true, "attributesToHighlight": ["*"], "facets": ["*"]}),
        );
        assert!(!leaks(&answer["hits"]) && !leaks(&answer["facetDistribution"]), "{q}: {answer}");
    }
    for word in ["miroir", "shard"] {
        let answer = fleet.client.search("cities", &json!({"q": format!("\"{word}\"")}));
        assert_eq!(answer["estimatedTotalHits"], json!(0), "{word} is a word of the hidden field's name only");
    }
}

#[test]
fn later_writes_win_on_every_replica() {
    let fleet = Fleet::start();
    fleet.client.done(&fleet.client.post("/indexes", &json!({"uid": "race", "primaryKey": "id"})));
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let client = fleet.client.clone();
            scope.spawn(move || {
                for round in 0..12 {
                    let body: Vec<Value> = (0..20).map(|id| json!({"id": id, "by": writer, "round": round})).collect();
                    let reply = client.post("/indexes/race/documents", &json!(body));
                    assert_eq!(reply.status, 202, "{}", reply.text);
                    if round == 11 {
                        client.done(&reply);
                    }
                }
            });
        }
    });
    // Each task is polled on its own, so another writer's last one may be seen to end a little later.
    eventually("every task has ended", || {
        let open = fleet.client.get("/tasks?limit=1&statuses=enqueued,processing").ok();
        (open["total"] == json!(0)).then_some(())
    });
    // Whatever the order was, it was one order: all replicas of a document agree.
    let mut seen: BTreeMap<String, Value> = BTreeMap::new();
    for node in &fleet.nodes {
        for (id, document) in node.client.documents("race").into_iter().filter(|(_, document)| !holds_words(document)) {
            let first = seen.entry(id).or_insert_with(|| document.clone());
            assert_eq!(*first, document, "{}", node.name);
        }
    }
    assert_eq!(seen.len(), 20);
    // And every batch took its place whole: one writer's round stands in all documents.
    let winners: Vec<_> = seen.values().map(|document| (document["by"].clone(), document["round"].clone())).collect();
    assert!(winners.windows(2).all(|pair| pair[0] == pair[1]), "{winners:?}");
}

#[test]
fn a_stalled_client_delays_nobody() {
    let fleet = Fleet::start();
    fleet.client.add("calm", &json!([{"id": 0}]));
    let address = fleet.client.url.trim_start_matches("http://").to_owned();
    let mut stalled: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).expect("the gateway listens");
            stream
                .write_all(
                    b"POST /indexes/calm/documents HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n\
                      Content-Length: 1000000\r\n\r\n{\"id\":900,\"half\":true}\n{\"id\":",
                )
                .expect("a socket");
            stream
        })
        .collect();
    let in_flight = || fleet.metric("miroir_requests_in_flight");
    eventually("the stalled requests have come", || (in_flight() >= 8.0).then_some(()));
    for n in 1..=5 {
        fleet.client.add("calm", &json!([{"id": n}]));
    }
    assert!(in_flight() >= 8.0, "writes waited until a stalled client was given up");
    stalled.clear();
    eventually("the stalled requests are over", || (in_flight() == 0.0).then_some(()));
    assert_eq!(fleet.client.documents("calm").len(), 6, "half a body leaves nothing behind");
}

#[test]
fn a_large_body_passes_in_bounded_memory() {
    let fleet = Fleet::start();
    let address = fleet.client.url.trim_start_matches("http://").to_owned();
    let sample = cities(2000);
    let block = ndjson(&sample);
    // The same 2,000 documents again and again: 96 MB to split and spool, little to index in the end.
    let rounds = 96_000_000 / block.len();
    let mut stream = TcpStream::connect(address).expect("the gateway listens");
    let head = format!(
        "POST /indexes/large/documents HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        block.len() * rounds
    );
    stream.write_all(head.as_bytes()).expect("a socket");
    for _ in 0..rounds {
        stream.write_all(&block).expect("the gateway reads on");
    }
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
    let id = body["taskUid"].as_str().map_or_else(|| body["taskUid"].to_string(), str::to_owned);
    let peak = fleet.gateway().peak_memory();
    assert!(peak < 150 << 20, "the gateway's peak memory is {} MiB", peak >> 20);
    let task = fleet.client.wait_id(&id);
    assert_eq!(task["status"], "succeeded", "{task}");
    assert_eq!(fleet.client.documents("large").len(), 2000);
}
