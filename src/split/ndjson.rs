//! Values one after the other, as a rule one a line.

use serde_json::value::RawValue;

use super::PayloadFormat;
use super::document::Document;
use super::error::SplitError;
use super::position::Position;
use super::scan::ValueScanner;

/// Cuts a stream of JSON values.
pub struct NdjsonSplitter {
    /// What is not yet handed over; starts with the value that `scanner` is in.
    pending: Vec<u8>,
    /// How much of `pending` the scanner has seen.
    scanned: usize,
    scanner: ValueScanner,
    /// Of the first byte of `pending`.
    position: Position,
    max_document: usize,
}

// === impl NdjsonSplitter ===

impl NdjsonSplitter {
    /// A value of more than `max_document` bytes is refused.
    pub fn new(max_document: usize) -> Self {
        Self {
            pending: Vec::new(),
            scanned: 0,
            scanner: ValueScanner::default(),
            position: Position::start(),
            max_document,
        }
    }

    /// Values need no line of their own: `{}{}` are two documents.
    pub fn push<E: From<SplitError>>(
        &mut self,
        chunk: &[u8],
        on_document: &mut impl FnMut(&Document<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(chunk);
        let mut ahead = Ahead::default();
        let mut start = 0;
        loop {
            if self.scanned == start {
                start += white_space(&pending[start..]);
                self.scanned = start;
                // As a rule a whole document follows, and is read in one pass.
                if let Some(document) = ahead.document(&pending, start) {
                    self.check_length(document.raw().len())?;
                    on_document(&document)?;
                    start += document.raw().len();
                    self.scanned = start;
                    continue;
                }
            }
            let end = self.scanner.scan(&pending, self.scanned);
            self.check_length(end.unwrap_or(pending.len()) - start)?;
            let Some(end) = end else { break };
            let document = match parse(&pending[start..end]) {
                Some(document) => document,
                None => return Err(self.explain(&pending, start).into()),
            };
            on_document(&document)?;
            start = end;
            self.scanned = end;
            self.scanner = ValueScanner::default();
        }
        self.position = self.position.after(&pending[..start]);
        pending.drain(..start);
        self.scanned = pending.len();
        self.pending = pending;
        Ok(())
    }

    /// What is left over is a value that was cut off.
    pub fn finish<E: From<SplitError>>(
        self,
        _on_document: &mut impl FnMut(&Document<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.pending.is_empty() {
            true => Ok(()),
            // Whole objects have been handed over, so what is left is cut off, or no object.
            false => Err(self.explain(&self.pending, 0).into()),
        }
    }

    fn check_length(&self, length: usize) -> Result<(), SplitError> {
        match length > self.max_document {
            true => Err(SplitError::DocumentTooLarge { limit: self.max_document }),
            false => Ok(()),
        }
    }

    /// Why the value at `start` of `pending` is no document.
    fn explain(&self, pending: &[u8], start: usize) -> SplitError {
        let position = self.position.after(&pending[..start]);
        let mut values = serde_json::Deserializer::from_slice(&pending[start..]).into_iter::<&RawValue>();
        match values.next() {
            Some(Ok(raw)) => not_a_document(PayloadFormat::Ndjson, raw),
            Some(Err(error)) => malformed(PayloadFormat::Ndjson, position.shift(&error)),
            None => malformed(PayloadFormat::Ndjson, position.at_end("EOF while parsing a value")),
        }
    }
}

/// What of the bytes at hand is text: found out once, where the first value begins that is read in one pass. A value that is still
/// to come as a whole is not looked at again with each of its pieces.
#[derive(Default)]
pub(super) struct Ahead<'a> {
    /// Where it begins among the bytes.
    text: Option<(usize, &'a str)>,
}

// === impl Ahead ===

impl<'a> Ahead<'a> {
    /// The document that begins at `start` of `bytes`, if it is one and all there; `start` is never less than before.
    pub(super) fn document(&mut self, bytes: &'a [u8], start: usize) -> Option<Document<'a>> {
        let (from, text) = *self.text.get_or_insert_with(|| (start, valid(&bytes[start..])));
        Document::first(text.get(start - from..)?)
    }
}

/// What of `bytes` is text, up to the first byte that is none.
fn valid(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes)
        .or_else(|error| std::str::from_utf8(&bytes[..error.valid_up_to()]))
        .expect("what comes before the first wrong byte is valid")
}

/// How many bytes of white space `bytes` starts with.
pub(super) fn white_space(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).unwrap_or(bytes.len())
}

/// The document that `value` is, if it is one.
pub(super) fn parse(value: &[u8]) -> Option<Document<'_>> {
    Document::parse(std::str::from_utf8(value).ok()?).ok()
}

/// `message` says line and column as serde_json counts them.
pub(super) fn malformed(format: PayloadFormat, message: String) -> SplitError {
    SplitError::Json { format, message }
}

/// Why a well-formed value is no document. The engine counts the place of this error from the value's own start.
pub(super) fn not_a_document(format: PayloadFormat, raw: &RawValue) -> SplitError {
    match Document::parse(raw.get()) {
        Err(error) if error.is_data() => SplitError::NotAnObject { message: error.to_string() },
        Err(error) => malformed(format, error.to_string()),
        Ok(_) => malformed(format, "expected value".to_owned()),
    }
}
