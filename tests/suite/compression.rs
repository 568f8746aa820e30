//! Answers are compressed for clients that accept it, and clients may send what is compressed.

use std::io::Cursor;
use std::pin::Pin;

use async_compression::tokio::bufread::{
    BrotliDecoder, BrotliEncoder, GzipDecoder, GzipEncoder, ZlibDecoder, ZlibEncoder, ZstdDecoder, ZstdEncoder,
};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::support::{Client, Fleet, FleetOptions, Single};

const ENCODINGS: [&str; 4] = ["gzip", "br", "deflate", "zstd"];

/// Those that every engine reads in requests.
const READ: [&str; 3] = ["gzip", "br", "deflate"];

fn packed(encoding: &str, body: &[u8]) -> Vec<u8> {
    let body = Cursor::new(body.to_vec());
    let reader: Pin<Box<dyn AsyncRead>> = match encoding {
        "gzip" => Box::pin(GzipEncoder::new(body)),
        "br" => Box::pin(BrotliEncoder::new(body)),
        "deflate" => Box::pin(ZlibEncoder::new(body)),
        "zstd" => Box::pin(ZstdEncoder::new(body)),
        other => panic!("{other} is no compression"),
    };
    whole(reader)
}

fn whole(mut reader: Pin<Box<dyn AsyncRead>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(reader.read_to_end(&mut bytes)).expect("a whole body");
    bytes
}

fn send(client: &Client, method: &str, path: &str, encoding: &str, body: &[u8]) -> (u16, Value) {
    let headers = [("Content-Type", "application/json"), ("Content-Encoding", encoding)];
    let reply = client.send(method, path, &headers, body);
    (reply.status, reply.value())
}

/// Routes that take a body, with bodies that are right.
fn bodies() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("POST", "/indexes/books/search", json!({"q": "book"})),
        ("POST", "/indexes/books/facet-search", json!({"facetName": "shelf"})),
        ("POST", "/indexes/books/documents/fetch", json!({"ids": [5], "fields": ["title"]})),
        ("POST", "/multi-search", json!({"queries": [{"indexUid": "books", "q": "book", "limit": 2}]})),
        ("PATCH", "/indexes/books/settings", json!({"stopWords": ["the"]})),
        ("PUT", "/indexes/books/settings/stop-words", json!(["a"])),
        ("POST", "/indexes", json!({"uid": "shelves"})),
        ("PATCH", "/indexes/shelves", json!({"primaryKey": "id"})),
        ("POST", "/indexes/books/documents", json!([{"id": 90, "shelf": 9}])),
        ("PUT", "/indexes/books/documents", json!([{"id": 90, "shelf": 8}])),
        ("POST", "/indexes/books/documents/delete-batch", json!([1, 2])),
        ("POST", "/indexes/books/documents/delete", json!({"filter": "shelf = 8"})),
        ("POST", "/swap-indexes", json!([{"indexes": ["books", "shelves"]}])),
        ("POST", "/swap-indexes", json!([{"indexes": ["books", "shelves"]}])),
        ("PATCH", "/experimental-features", json!({"metrics": true})),
    ]
}

fn load(client: &Client) {
    let books: Vec<Value> =
        (0..40).map(|id| json!({"id": id, "title": format!("Book {id}"), "shelf": id % 4})).collect();
    client.done(&client.json("PATCH", "/indexes/books/settings", &json!({"filterableAttributes": ["shelf"]})));
    client.add("books", &json!(books));
}

#[test]
fn compressed_bodies_are_read_on_every_route() {
    let single = Single::start();
    let fleet = Fleet::start();
    load(&single.client);
    load(&fleet.client);
    for (at, (method, path, body)) in bodies().into_iter().enumerate() {
        let plain = body.to_string().into_bytes();
        let encoding = READ[at % READ.len()];
        let [want, got] = [&single.client, &fleet.client].map(|client| {
            // Every compression where asking again changes nothing, else one after the other.
            let others = if at < 4 { &READ[..] } else { &[] };
            for encoding in others {
                let (status, answer) = send(client, method, path, encoding, &packed(encoding, &plain));
                assert_eq!(status, 200, "{path} {encoding}: {answer}");
            }
            let (status, mut answer) = send(client, method, path, encoding, &packed(encoding, &plain));
            if status == 202 {
                let id = answer["taskUid"].as_str().map_or_else(|| answer["taskUid"].to_string(), str::to_owned);
                let task = client.wait_id(&id);
                answer = json!([task["type"], task["status"], task["details"]["deletedDocuments"]]);
            }
            // What no two answers have alike.
            let results = answer.get_mut("results").and_then(Value::as_array_mut).map(std::mem::take);
            let mut results = results.unwrap_or_default();
            for value in results.iter_mut().chain([&mut answer]).filter_map(Value::as_object_mut) {
                value.retain(|name, _| !matches!(name.as_str(), "processingTimeMs" | "requestUid"));
            }
            let answer = json!([answer, results]);
            (status, answer)
        });
        assert!(matches!(want.0, 200 | 202), "{path}: {}", want.1);
        if path == "/experimental-features" {
            assert_eq!(want.0, got.0);
        } else {
            assert_eq!(want, got, "{method} {path} {encoding}");
        }
    }
}

#[test]
fn a_body_that_is_not_compressed_as_it_says_is_refused() {
    let single = Single::start();
    let fleet = Fleet::start();
    load(&single.client);
    load(&fleet.client);
    for (method, path, body) in bodies() {
        let plain = body.to_string().into_bytes();
        for encoding in READ {
            let [want, got] =
                [&single.client, &fleet.client].map(|client| send(client, method, path, encoding, &plain));
            assert_eq!((got.0, &got.1["code"]), (want.0, &want.1["code"]), "{path} {encoding}: {} {}", want.1, got.1);
            assert_eq!(got.0, 400, "{path} {encoding}: {}", got.1);
        }
    }
    // What is unknown counts as none.
    for encoding in ["identity", "snappy", "gzip, br"] {
        let search = br#"{"q": "book"}"#;
        let [want, got] = [&single.client, &fleet.client]
            .map(|client| send(client, "POST", "/indexes/books/search", encoding, search).0);
        assert_eq!((want, got), (200, 200), "{encoding}");
    }
}

#[test]
fn a_small_body_that_unpacks_to_a_big_one_is_refused() {
    let more = "limits: { body_size: 64KiB, document_payload_size: 64KiB }\n".to_owned();
    let fleet = Fleet::with(FleetOptions { more, ..Default::default() });
    load(&fleet.client);
    let long = " ".repeat(20_000_000);
    for (path, body) in [
        ("/indexes/books/search", format!("{{\"q\": {long}\"book\"}}")),
        ("/indexes/books/documents", format!("[{long}]")),
    ] {
        for encoding in ENCODINGS {
            let bomb = packed(encoding, body.as_bytes());
            assert!(bomb.len() < 64 << 10, "{encoding}: {}", bomb.len());
            let (status, error) = send(&fleet.client, "POST", path, encoding, &bomb);
            assert_eq!((status, &error["code"]), (413, &json!("payload_too_large")), "{path} {encoding}: {error}");
        }
    }
}

fn unpacked(encoding: &str, body: Vec<u8>) -> Value {
    let body = Cursor::new(body);
    let plain = whole(match encoding {
        "gzip" => Box::pin(GzipDecoder::new(body)),
        "br" => Box::pin(BrotliDecoder::new(body)),
        "deflate" => Box::pin(ZlibDecoder::new(body)),
        "zstd" => Box::pin(ZstdDecoder::new(body)),
        other => panic!("{other} was not asked for"),
    });
    serde_json::from_slice(&plain).expect("JSON")
}

#[test]
fn long_answers_are_compressed_for_clients_that_accept_it() {
    let fleet = Fleet::start();
    let books: Vec<Value> =
        (0..200).map(|id| json!({"id": id, "title": format!("The same long title, {id}")})).collect();
    fleet.client.done(&fleet.client.post("/indexes/books/documents", &json!(books)));
    let path = "/indexes/books/documents?limit=200";
    let (encoding, plain) = fleet.client.get_encoded(path, "identity");
    assert_eq!(encoding, None);
    let want: Value = serde_json::from_slice(&plain).expect("JSON");
    for accepted in ["gzip", "br", "zstd", "deflate"] {
        let (encoding, packed) = fleet.client.get_encoded(path, accepted);
        assert_eq!(encoding.as_deref(), Some(accepted));
        assert!(packed.len() < plain.len() / 3, "{} of {} bytes", packed.len(), plain.len());
        assert_eq!(unpacked(accepted, packed), want);
    }
}

#[test]
fn short_answers_are_not() {
    let fleet = Fleet::start();
    let (encoding, body) = fleet.client.get_encoded("/health", "gzip, br, zstd");
    assert_eq!((encoding, body.as_slice()), (None, br#"{"status":"available"}"#.as_slice()));
    // The second is answered by a node, and handed on as it comes.
    for path in ["/indexes/missing/documents", "/experimental-features"] {
        let (encoding, body) = fleet.client.get_encoded(path, "gzip");
        assert_eq!(encoding, None, "{path}");
        assert!(body.starts_with(b"{"), "{path}");
    }
}
