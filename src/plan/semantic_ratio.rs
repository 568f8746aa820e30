//! The share of the vector in a search that mixes words and vectors.

use serde_json::{Map, Value};

use super::obstacle::Obstacle;

/// The share of the vector, where a search mixes hits by words with hits by a vector; a search by words alone or by a
/// vector alone has one kind of scores.
pub fn semantic_ratio(body: &Map<String, Value>) -> Result<Option<f64>, Obstacle> {
    let Some(hybrid) = body.get("hybrid").filter(|hybrid| !hybrid.is_null()) else { return Ok(None) };
    let hybrid = hybrid.as_object().ok_or(Obstacle::Judge)?;
    let ratio = match hybrid.get("semanticRatio") {
        None => 0.5,
        Some(ratio) => ratio.as_f64().ok_or(Obstacle::Judge)?,
    };
    let mixes = match body.get("q").filter(|q| !q.is_null()) {
        None => false,
        // Nothing can be embedded.
        Some(Value::String(words)) if words.trim().is_empty() => body.get("vector").is_some_and(|v| !v.is_null()),
        Some(_) => true,
    };
    // As the engine compares: what is nearer to an end than its precision is at the end.
    let narrow = ratio as f32;
    Ok((mixes && narrow > 0.0 && narrow < 1.0).then_some(ratio))
}
