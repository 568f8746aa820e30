//! Which shard a document belongs to.

use super::shard::ShardId;
use super::stable_hash::hash_bytes;

/// A document id as Meilisearch normalises it: the text of a string or of an integer, so that `1` and `"1"` are one
/// document. `None` for what cannot be an id.
pub fn normalize_id(id: &serde_json::Value) -> Option<String> {
    match id {
        serde_json::Value::String(text) => Some(text.trim().to_owned()),
        serde_json::Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_) => None,
    }
}

/// The shard of the document whose normalised id is `id`: `xxh3_64(id) mod shards`.
pub fn shard_of(id: &str, shards: u16) -> ShardId {
    ShardId((hash_bytes(id.as_bytes()) % u64::from(shards)) as u16)
}
