//! The documents that a bench works on.

use async_compression::tokio::bufread::GzipDecoder;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::support::corpus;

/// The documents of the NDJSON file that `MIROIR_BENCH_DATA` names, gzip or plain; without it the example cities.
pub fn documents() -> Vec<Value> {
    std::env::var("MIROIR_BENCH_DATA").map_or_else(|_| corpus::cities(0), |path| of_file(&path))
}

/// Those of an NDJSON file, gzip or plain.
pub fn of_file(path: &str) -> Vec<Value> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let text = if path.ends_with(".gz") { unpacked(&bytes) } else { String::from_utf8(bytes).expect("UTF-8") };
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).expect("a document")).collect()
}

fn unpacked(bytes: &[u8]) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut text = String::new();
    let mut decoder = GzipDecoder::new(bytes);
    decoder.multiple_members(true);
    runtime.block_on(decoder.read_to_string(&mut text)).expect("gzip with UTF-8 in it");
    text
}
