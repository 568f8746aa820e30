//! Answers are compressed for clients that accept it.

use std::io::Cursor;
use std::pin::Pin;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::support::Fleet;

fn unpacked(encoding: &str, body: Vec<u8>) -> Value {
    let body = Cursor::new(body);
    let mut reader: Pin<Box<dyn AsyncRead>> = match encoding {
        "gzip" => Box::pin(GzipDecoder::new(body)),
        "br" => Box::pin(BrotliDecoder::new(body)),
        "deflate" => Box::pin(ZlibDecoder::new(body)),
        "zstd" => Box::pin(ZstdDecoder::new(body)),
        other => panic!("{other} was not asked for"),
    };
    let mut plain = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(reader.read_to_end(&mut plain)).expect("a whole body");
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
