//! What a hit shows beside its document, and what it is told apart by.

use serde::Serialize;

/// An attribute that was asked for only to compare hits, to be taken out again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Helper {
    /// A path such as `maker.name`.
    pub field: String,
    /// Of `_formatted` too, where the client's own parameters would not have shown it. Example: `maker` is asked for to compare hits. With
    /// `attributesToHighlight: ["title"]` it goes out of `_formatted`; with `["*"]` one node would have shown it there, and it stays.
    pub formatted: bool,
}

/// What a hit shows beside its document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Whether a hit shows `_rankingScore`.
    pub score: bool,
    /// Whether a hit shows `_rankingScoreDetails`.
    pub details: bool,
    pub helpers: Vec<Helper>,
}

/// A primary key that nodes show before the fields behind which one node would show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyPlace {
    pub key: String,
    /// Those that stood before it in the document that it was guessed from.
    pub behind: Vec<String>,
}

/// How lists of hits are merged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// The attribute of whose values only the best hit is kept.
    pub distinct: Option<String>,
    /// The attribute that orders hits of equal rank.
    pub primary_key: Option<String>,
}
