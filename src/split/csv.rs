//! Comma-separated values: a header names the fields and may type them, each record is a document.

use csv_core::ReadRecordResult;
use serde_json::Value;

use super::PayloadFormat;
use super::document::Document;
use super::error::SplitError;

const BYTE_ORDER_MARK: &[u8; 3] = b"\xef\xbb\xbf";

/// Cuts CSV into documents.
pub struct CsvSplitter {
    format: PayloadFormat,
    reader: csv_core::Reader,
    /// The body's first bytes, kept until it is plain whether they are a byte order mark: the reader can only tell
    /// when it sees them in one piece.
    head: Vec<u8>,
    started: bool,
    record: Record,
    /// Where the reader stands.
    here: Place,
    header: Option<Header>,
    /// The document in the making; kept for its memory.
    text: String,
    max_document: usize,
}

/// The fields of a record as the reader fills them in.
#[derive(Default)]
struct Record {
    bytes: Vec<u8>,
    filled: usize,
    ends: Vec<usize>,
    fields: usize,
    /// Where the reader stood before the record.
    start: Place,
}

/// A place as the csv crate counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    record: u64,
    line: u64,
    byte: u64,
}

struct Header {
    columns: Vec<Column>,
    /// The columns in the order of a document's fields. Of columns with one name the last one's value stays, in the
    /// place of the first.
    order: Vec<usize>,
}

struct Column {
    kind: ColumnKind,
    /// The name as JSON, with the colon after it.
    key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnKind {
    String,
    Boolean,
    Number,
}

// === impl CsvSplitter ===

impl CsvSplitter {
    /// `delimiter` is one ASCII byte; a record of more than `max_document` bytes is refused.
    pub fn new(delimiter: u8, max_document: usize) -> Self {
        Self {
            format: PayloadFormat::Csv { delimiter },
            reader: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            head: Vec::new(),
            started: false,
            record: Record::default(),
            here: Place::default(),
            header: None,
            text: String::new(),
            max_document,
        }
    }

    /// A byte order mark is left out; the first record is the header.
    pub fn push<E: From<SplitError>>(
        &mut self,
        chunk: &[u8],
        on_document: &mut impl FnMut(&Document<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.started {
            return self.feed(chunk, on_document);
        }
        self.head.extend_from_slice(chunk);
        if self.head.len() < BYTE_ORDER_MARK.len() {
            return Ok(());
        }
        self.started = true;
        let head = std::mem::take(&mut self.head);
        self.feed(&head, on_document)
    }

    /// Hands over the last record, which no line end need follow.
    pub fn finish<E: From<SplitError>>(
        mut self,
        on_document: &mut impl FnMut(&Document<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let head = std::mem::take(&mut self.head);
        self.feed(&head, on_document)?;
        // To the reader an empty piece is the end.
        loop {
            match self.step(&[])?.0 {
                ReadRecordResult::Record => self.take_record(on_document)?,
                ReadRecordResult::End => return Ok(()),
                ReadRecordResult::InputEmpty | ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
            }
        }
    }

    fn feed<E: From<SplitError>>(
        &mut self,
        mut chunk: &[u8],
        on_document: &mut impl FnMut(&Document<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !chunk.is_empty() {
            let (result, read) = self.step(chunk)?;
            chunk = &chunk[read..];
            match result {
                ReadRecordResult::Record => self.take_record(on_document)?,
                ReadRecordResult::InputEmpty
                | ReadRecordResult::OutputFull
                | ReadRecordResult::OutputEndsFull
                | ReadRecordResult::End => {}
            }
        }
        Ok(())
    }

    /// One call of the reader; makes room where it asks for it.
    fn step(&mut self, input: &[u8]) -> Result<(ReadRecordResult, usize), SplitError> {
        let record = &mut self.record;
        let (result, read, written, ended) =
            self.reader.read_record(input, &mut record.bytes[record.filled..], &mut record.ends[record.fields..]);
        record.filled += written;
        record.fields += ended;
        self.here.byte += read as u64;
        self.here.line = self.reader.line();
        if record.filled > self.max_document {
            return Err(SplitError::DocumentTooLarge { limit: self.max_document });
        }
        match result {
            ReadRecordResult::OutputFull => record.bytes.resize((record.bytes.len() * 2).max(1024), 0),
            ReadRecordResult::OutputEndsFull => record.ends.resize((record.ends.len() * 2).max(32), 0),
            ReadRecordResult::InputEmpty | ReadRecordResult::Record | ReadRecordResult::End => {}
        }
        Ok((result, read))
    }

    /// A record is complete: it is the header, or a document.
    fn take_record<E: From<SplitError>>(
        &mut self,
        on_document: &mut impl FnMut(&Document<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.here.record += 1;
        match &self.header {
            None => {
                let names: Vec<&str> = self.record.texts().map_err(|what| self.malformed(what))?;
                self.header = Some(Header::new(&names));
            }
            Some(header) => {
                let mut text = std::mem::take(&mut self.text);
                text.clear();
                header.write(&self.record, &mut text).map_err(|what| self.malformed(what))?;
                let document = Document::parse(&text).map_err(|error| self.malformed(error.to_string()))?;
                on_document(&document)?;
                self.text = text;
            }
        }
        self.record.filled = 0;
        self.record.fields = 0;
        self.record.start = self.here;
        Ok(())
    }

    fn malformed(&self, message: String) -> SplitError {
        SplitError::Csv { format: self.format, message }
    }
}

// === impl Record ===

impl Record {
    fn field(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }

    fn texts(&self) -> Result<Vec<&str>, String> {
        (0..self.fields).map(|at| self.text(at)).collect()
    }

    fn text(&self, at: usize) -> Result<&str, String> {
        std::str::from_utf8(self.field(at)).map_err(|error| {
            let Place { record, line, byte } = self.start;
            let place = error.valid_up_to();
            format!(
                "CSV parse error: record {record} (line {line}, field: {at}, byte: {byte}): \
                 invalid utf-8: invalid UTF-8 in field {at} near byte index {place}"
            )
        })
    }
}

// === impl Place ===

impl Default for Place {
    fn default() -> Self {
        Self { record: 0, line: 1, byte: 0 }
    }
}

// === impl Header ===

impl Header {
    fn new(names: &[&str]) -> Self {
        let typed: Vec<(&str, ColumnKind)> = names.iter().copied().map(typed_name).collect();
        let columns = typed
            .iter()
            .map(|(name, kind)| {
                let name = serde_json::to_string(name).expect("a string always serializes");
                Column { kind: *kind, key: format!("{name}:") }
            })
            .collect();
        let is_first = |at: &usize| !typed[..*at].iter().any(|(name, _)| *name == typed[*at].0);
        let last = |at: usize| typed.iter().rposition(|(name, _)| *name == typed[at].0).unwrap_or(at);
        let order = (0..typed.len()).filter(is_first).map(last).collect();
        Self { columns, order }
    }

    /// Writes `record` as a JSON object.
    fn write(&self, record: &Record, out: &mut String) -> Result<(), String> {
        if record.fields != self.columns.len() {
            let Place { record: number, line, byte } = record.start;
            return Err(format!(
                "CSV error: record {number} (line: {line}, byte: {byte}): found record with {} fields, \
                 but the previous record has {} fields",
                record.fields,
                self.columns.len()
            ));
        }
        let texts = record.texts()?;
        let mut values = Vec::with_capacity(texts.len());
        for (column, text) in self.columns.iter().zip(texts) {
            values.push(column.kind.value(text, record.start.record)?);
        }
        out.push('{');
        for (place, at) in self.order.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            out.push_str(&self.columns[*at].key);
            match &values[*at] {
                Cell::Null => out.push_str("null"),
                Cell::Value(value) => out.push_str(&value.to_string()),
                Cell::Text(text) => out.push_str(&serde_json::to_string(text).expect("a string always serializes")),
            }
        }
        out.push('}');
        Ok(())
    }
}

/// A field's value.
enum Cell<'a> {
    Null,
    Value(Value),
    Text(&'a str),
}

// === impl ColumnKind ===

impl ColumnKind {
    /// Reads `text`, which stands in the `line`-th record after the header.
    fn value(self, text: &str, line: u64) -> Result<Cell<'_>, String> {
        let trimmed = text.trim();
        match self {
            Self::String if text.is_empty() => Ok(Cell::Null),
            Self::String => Ok(Cell::Text(text)),
            Self::Boolean | Self::Number if trimmed.is_empty() => Ok(Cell::Null),
            Self::Boolean => match trimmed.parse::<bool>() {
                Ok(boolean) => Ok(Cell::Value(Value::from(boolean))),
                Err(error) => Err(format!("Error parsing boolean {text:?} at line {line}: {error}")),
            },
            Self::Number => {
                if let Ok(integer) = trimmed.parse::<i64>() {
                    return Ok(Cell::Value(Value::from(integer)));
                }
                match trimmed.parse::<f64>() {
                    Ok(float) => Ok(Cell::Value(Value::from(float))),
                    Err(error) => Err(format!("Error parsing number {text:?} at line {line}: {error}")),
                }
            }
        }
    }
}

/// `price:number` is the field `price` of numbers; a type nobody knows belongs to the name.
fn typed_name(name: &str) -> (&str, ColumnKind) {
    match name.rsplit_once(':') {
        Some((field, "string")) => (field, ColumnKind::String),
        Some((field, "boolean")) => (field, ColumnKind::Boolean),
        Some((field, "number")) => (field, ColumnKind::Number),
        Some(_) | None => (name, ColumnKind::String),
    }
}
