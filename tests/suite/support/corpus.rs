//! Real documents: the cities that come with the examples.

use std::path::Path;

use serde_json::Value;

/// The headers of a body of NDJSON.
pub const NDJSON: &[(&str, &str)] = &[("Content-Type", "application/x-ndjson")];

/// The first `most` of the example cities (0: all).
pub fn cities(most: usize) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/cities.ndjson");
    let text = std::fs::read_to_string(&path).expect("the example cities");
    let lines = text.lines().filter(|line| !line.is_empty());
    let documents: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("a city")).collect();
    if most == 0 { documents } else { documents.into_iter().take(most).collect() }
}

/// The documents as NDJSON.
pub fn ndjson(documents: &[Value]) -> Vec<u8> {
    documents.iter().map(|document| document.to_string() + "\n").collect::<String>().into_bytes()
}
