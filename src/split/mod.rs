//! A body cut into documents, without a DOM and without I/O: bytes are pushed in, documents come out.
//!
//! Whatever the pieces in which a body arrives, the documents are the same, and a body that Meilisearch refuses is
//! refused with the message that Meilisearch gives.
//!
//! | module | what lives there |
//! |---|---|
//! | `csv` | comma-separated values |
//! | `document` | one document |
//! | `embeddings` | vectors in JSON |
//! | `error` | why a body is refused, in Meilisearch's words |
//! | `function` | an edit by a function, tried before any node gets it |
//! | `geo` | checks `_geo` as the engine does when an index sorts or filters by it |
//! | `json` | a JSON array of objects, or a single object |
//! | `ndjson` | values one after the other, as a rule one a line |
//! | `position` | where in a body a byte stands, counted as serde_json counts |
//! | `primary_key` | the primary key |
//! | `rules` | what the engine refuses in a whole body for the sake of single documents, besides their ids |
//! | `scan` | finds where a JSON value ends, however many pieces it comes in |
//! | `scanner` | JSON in one pass, as slices |
//! | `seen` | the ids of a body, each with whether it came before |
//! | `slips` | names that may stand for another one by a slip of the pen |
//! | `texts` | the texts in a value |
//! | `vectors` | checks `_vectors` as the engine does |
//! | `words` | the words of a document, as far as they can be told without the engine's tokenizer |

pub mod csv;
pub mod document;
mod embeddings;
pub mod error;
pub mod function;
pub mod geo;
pub mod json;
pub mod ndjson;
mod position;
pub mod primary_key;
pub mod rules;
mod scan;
pub mod scanner;
mod seen;
pub mod slips;
mod texts;
pub mod vectors;
pub mod words;

pub use crate::meili::format::PayloadFormat;

use self::csv::CsvSplitter;
pub use self::document::Document;
pub use self::error::SplitError;
use self::json::JsonSplitter;
use self::ndjson::NdjsonSplitter;

/// Cuts one body into documents.
pub enum Splitter {
    Json(JsonSplitter),
    Ndjson(NdjsonSplitter),
    Csv(CsvSplitter),
}

// === impl Splitter ===

impl Splitter {
    /// A document of more than `max_document` bytes is refused, so that memory stays bounded.
    pub fn new(format: PayloadFormat, max_document: usize) -> Self {
        match format {
            PayloadFormat::Json => Self::Json(JsonSplitter::new(max_document)),
            PayloadFormat::Ndjson => Self::Ndjson(NdjsonSplitter::new(max_document)),
            PayloadFormat::Csv { delimiter } => Self::Csv(CsvSplitter::new(delimiter, max_document)),
        }
    }

    /// Takes the next piece of the body and hands over every document that it completes.
    pub fn push<E: From<SplitError>>(
        &mut self,
        chunk: &[u8],
        on_document: &mut impl FnMut(&Document<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Json(splitter) => splitter.push(chunk, on_document),
            Self::Ndjson(splitter) => splitter.push(chunk, on_document),
            Self::Csv(splitter) => splitter.push(chunk, on_document),
        }
    }

    /// The body has ended: hands over what it still holds, or says why that is no document.
    pub fn finish<E: From<SplitError>>(
        self,
        on_document: &mut impl FnMut(&Document<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Json(splitter) => splitter.finish(on_document),
            Self::Ndjson(splitter) => splitter.finish(on_document),
            Self::Csv(splitter) => splitter.finish(on_document),
        }
    }
}

#[cfg(test)]
mod tests;
