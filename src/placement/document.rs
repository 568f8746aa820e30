//! Which shard a document belongs to.

use super::shard::ShardId;
use super::stable_hash::hash_bytes;

/// A document id as Meilisearch normalises it: the text of a string or of an integer, so that `1` and `"1"` are one
/// document. `None` for what cannot be an id.
pub fn normalize_id(id: &serde_json::Value) -> Option<String> {
    match id {
        serde_json::Value::String(text) => Some(text.clone()),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers_and_their_texts_are_one_document() {
        assert_eq!(normalize_id(&json!(1)), normalize_id(&json!("1")));
        assert_eq!(normalize_id(&json!(-7)).as_deref(), Some("-7"));
        assert_eq!(normalize_id(&json!(u64::MAX)).as_deref(), Some("18446744073709551615"));
        assert_ne!(normalize_id(&json!("01")), normalize_id(&json!(1)));
    }

    #[test]
    fn nothing_else_is_an_id() {
        for id in [json!(null), json!(true), json!(1.0), json!(1e3), json!([1]), json!({"id": 1})] {
            assert_eq!(normalize_id(&id), None, "{id}");
        }
    }

    #[test]
    fn documents_spread_over_all_shards() {
        let mut counts = [0u32; 256];
        for id in 0..25_600 {
            counts[usize::from(shard_of(&id.to_string(), 256).0)] += 1;
        }
        assert!(counts.iter().all(|count| (50..150).contains(count)), "{counts:?}");
    }
}
