//! The formats of a body of documents, and what is said of one that is malformed.

use serde::Serialize;

/// A message longer than the sum of these keeps its beginning and its end: it may quote what the client sent.
const KEPT_PREFIX: usize = 50;
const KEPT_SUFFIX: usize = 85;
const ELLIPSIS: &str = "...";

/// What a body is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PayloadFormat {
    /// An array of objects, or one object.
    Json,
    /// Objects one after the other.
    Ndjson,
    /// A header, then a document per record.
    Csv {
        /// One byte of ASCII between two fields.
        delimiter: u8,
    },
}

// === impl PayloadFormat ===

impl PayloadFormat {
    /// The word in error messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv { .. } => "csv",
        }
    }

    /// The message on a body whose JSON is none. `reason` is serde_json's, with the position in the body.
    pub fn malformed_json(self, reason: &str) -> String {
        let (format, reason) = (self.as_str(), shorten(reason));
        format!("The `{format}` payload provided is malformed. `Couldn't serialize document value: {reason}`.")
    }

    /// The message on a body with a record that does not fit its header.
    pub fn malformed_record(self, reason: &str) -> String {
        format!("The `{}` payload provided is malformed: `{reason}`.", self.as_str())
    }
}

fn shorten(message: &str) -> String {
    if message.len() <= KEPT_PREFIX + KEPT_SUFFIX + ELLIPSIS.len() {
        return message.to_owned();
    }
    let prefix = (0..=KEPT_PREFIX).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    let from = message.len() - KEPT_SUFFIX;
    let suffix = (from..=message.len()).find(|at| message.is_char_boundary(*at)).unwrap_or(message.len());
    format!("{}{ELLIPSIS}{}", &message[..prefix], &message[suffix..])
}
