//! A body cut into documents, without a DOM and without I/O: bytes are pushed in, raw JSON objects come out.

/// What a body is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadFormat {
    Json,
    Ndjson,
    Csv { delimiter: u8 },
}
