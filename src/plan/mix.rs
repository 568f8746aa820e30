//! Whether a search mixes words and vectors.

use serde::Serialize;
use serde_json::{Map, Value};

use super::index_info::IndexInfo;
use super::obstacle::Obstacle;

/// What a search finds its hits by. `ratio` is the share of the vector, above 0 and below 1, as the client wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Mix {
    /// By words alone or by a vector alone: there is one kind of scores.
    None,
    /// By both; see [`super::search::SearchPlan::hybrid`].
    Mixed { ratio: f64 },
    /// By both, but hits by words and hits by the vector cannot be told apart, or nobody knows which of them are of one document:
    /// only a node that has everything can answer.
    Unmixable { ratio: f64 },
    /// It is the half of a mixture that looks for words.
    WordsOfMixed,
}

// === impl Mix ===

impl Mix {
    /// As the engine reads `body`.
    pub fn of(info: &IndexInfo, body: &Map<String, Value>) -> Result<Self, Obstacle> {
        let Some(ratio) = semantic_ratio(body)? else { return Ok(Self::None) };
        let told = info.primary_key.as_deref().is_none_or(|key| info.shows(key)) && info.ranks_words();
        Ok(if told { Self::Mixed { ratio } } else { Self::Unmixable { ratio } })
    }

    /// The share of the vector; `None` unless the search finds hits by both.
    pub fn ratio(self) -> Option<f64> {
        match self {
            Self::Mixed { ratio } | Self::Unmixable { ratio } => Some(ratio),
            Self::None | Self::WordsOfMixed => None,
        }
    }

    /// True if the search finds hits by words and by a vector, whether they can be mixed here or not.
    pub fn is_of_both(self) -> bool {
        self.ratio().is_some()
    }
}

/// The share of the vector, where a search mixes hits by words with hits by a vector.
fn semantic_ratio(body: &Map<String, Value>) -> Result<Option<f64>, Obstacle> {
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
