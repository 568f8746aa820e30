//! Document payloads on disk: received whole, checked, and kept as one JSON object a line until their task has ended.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use miroir_words::format::PayloadFormat;
use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tempfile::NamedTempFile;
use uuid::Uuid;

use super::durable;
use super::element::with_each_key_once;
use crate::error::{Code, ResponseError};

/// The folder of payloads.
#[derive(Debug, Clone)]
pub struct PayloadStore {
    folder: PathBuf,
}

/// A payload that is on disk for good: its name in the store and how many documents it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPayload {
    pub name: String,
    pub documents: u64,
}

/// How the text of a CSV column is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnType {
    Text,
    Boolean,
    Number,
}

/// Hands each element of a JSON array to a function, so that the array is never in memory as a whole.
struct EachElement<'a, W: Write>(&'a mut Lines<W>, PhantomData<W>);

/// Writes objects one a line and counts them.
struct Lines<W: Write> {
    out: W,
    documents: u64,
    failure: Option<ResponseError>,
}

// === impl PayloadStore ===

impl PayloadStore {
    /// Opens the folder and removes every payload that no task in `needed` waits for.
    pub fn open(folder: PathBuf, needed: &HashSet<String>) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().to_str().is_none_or(|name| !needed.contains(name)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { folder })
    }

    /// A file to receive a request body in.
    pub fn receive(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Removes a payload whose task has ended. One that is gone already is fine.
    pub fn remove(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.path(name))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(payload = name, %error, "cannot remove a payload");
        }
    }

    /// Checks the received body and stores it as lines; durable when this is back. Blocks.
    #[allow(clippy::redundant_closure, reason = "a function's own name is bound to one lifetime, the closure is not")]
    pub fn store(&self, received: NamedTempFile, format: PayloadFormat) -> Result<StoredPayload, ResponseError> {
        let (file, documents) = match format {
            PayloadFormat::Ndjson => match count_lines(received.path())? {
                Some(documents) => (received, documents),
                None => self.rewrite(received.path(), |input, lines| spread_values(input, lines))?,
            },
            PayloadFormat::Json => self.rewrite(received.path(), |input, lines| spread_array(input, lines))?,
            PayloadFormat::Csv { delimiter } => {
                self.rewrite(received.path(), |input, lines| spread_csv(input, lines, delimiter))?
            }
        };
        let name = format!("{}.ndjson", Uuid::new_v4());
        file.as_file().sync_all().map_err(|error| io_failure(&error))?;
        file.persist(self.path(&name)).map_err(|error| io_failure(&error.error))?;
        durable::sync_folder(&self.folder).map_err(|error| io_failure(&error))?;
        Ok(StoredPayload { name, documents })
    }

    fn rewrite(
        &self,
        received: &Path,
        spread: impl FnOnce(File, &mut Lines<&mut BufWriter<&File>>) -> Result<(), ResponseError>,
    ) -> Result<(NamedTempFile, u64), ResponseError> {
        let input = File::open(received).map_err(|error| io_failure(&error))?;
        let output = self.receive().map_err(|error| io_failure(&error))?;
        let mut buffer = BufWriter::with_capacity(1 << 16, output.as_file());
        let mut lines = Lines { out: &mut buffer, documents: 0, failure: None };
        spread(input, &mut lines)?;
        let documents = lines.documents;
        buffer.flush().map_err(|error| io_failure(&error))?;
        drop(buffer);
        Ok((output, documents))
    }
}

// === impl Lines ===

impl<W: Write> Lines<W> {
    /// Writes one raw JSON value, which must be an object.
    fn push_raw(&mut self, raw: &str) -> Result<(), ResponseError> {
        check_object(raw)?;
        // A line break in valid JSON is never inside a string, so a space can take its place.
        for (position, piece) in raw.split(['\n', '\r']).enumerate() {
            if position > 0 {
                self.write(b" ")?;
            }
            self.write(piece.as_bytes())?;
        }
        self.end_line()
    }

    /// Writes an element of an array, each key of its first level once: `{"a":1,"\u0061":2}` becomes `{"a":2}`. The engine does so
    /// with arrays, and leaves lines as they are.
    fn push_element(&mut self, raw: &str) -> Result<(), ResponseError> {
        self.push_raw(with_each_key_once(raw).as_deref().unwrap_or(raw))
    }

    fn push_object(&mut self, object: &Map<String, Value>) -> Result<(), ResponseError> {
        serde_json::to_writer(&mut self.out, object).map_err(|error| io_failure(&error.into()))?;
        self.end_line()
    }

    fn end_line(&mut self) -> Result<(), ResponseError> {
        self.documents += 1;
        self.write(b"\n")
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ResponseError> {
        self.out.write_all(bytes).map_err(|error| io_failure(&error))
    }
}

// === impl EachElement ===

impl<'de, W: Write> Visitor<'de> for EachElement<'_, W> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a nonempty sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<Box<RawValue>>()? {
            if let Err(refusal) = check_object(element.get()) {
                // What follows is still looked at, for it may be worse.
                self.0.failure = Some(refusal);
                return Ok(());
            }
            if let Err(failure) = self.0.push_element(element.get()) {
                self.0.failure = Some(failure);
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// Refuses a JSON value that is no object; the engine calls that an internal error.
fn check_object(raw: &str) -> Result<(), ResponseError> {
    if raw.starts_with('{') {
        return Ok(());
    }
    let error = serde_json::from_str::<Map<String, Value>>(raw).expect_err("only an object starts with a brace");
    Err(ResponseError::new(Code::Internal, error.to_string()))
}

/// The number of documents if each line is one object (or blank), `None` if the file is laid out otherwise or is wrong.
fn count_lines(path: &Path) -> Result<Option<u64>, ResponseError> {
    let file = File::open(path).map_err(|error| io_failure(&error))?;
    let mut input = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    let mut documents = 0;
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(|error| io_failure(&error))? == 0 {
            return Ok(Some(documents));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<&RawValue>(&line) {
            Ok(raw) if raw.get().starts_with('{') => documents += 1,
            Ok(_) | Err(_) => return Ok(None),
        }
    }
}

fn spread_values<W: Write>(input: File, lines: &mut Lines<W>) -> Result<(), ResponseError> {
    let reader = BufReader::with_capacity(1 << 16, input);
    for value in serde_json::Deserializer::from_reader(reader).into_iter::<Box<RawValue>>() {
        match value {
            Ok(raw) => lines.push_raw(raw.get())?,
            Err(error) => return Err(json_failure(PayloadFormat::Ndjson, &error)),
        }
    }
    Ok(())
}

fn spread_array<W: Write>(mut input: File, lines: &mut Lines<W>) -> Result<(), ResponseError> {
    let reader = BufReader::with_capacity(1 << 16, &input);
    let outcome = serde_json::Deserializer::from_reader(reader).deserialize_seq(EachElement(lines, PhantomData));
    if let Err(error) = &outcome
        && error.classify() != Category::Data
    {
        return Err(json_failure(PayloadFormat::Json, error));
    }
    match (lines.failure.take(), outcome) {
        (Some(failure), _) => Err(failure),
        (None, Ok(())) => Ok(()),
        (None, Err(_)) => {
            input.rewind().map_err(|error| io_failure(&error))?;
            let object = serde_json::from_reader::<_, Map<String, Value>>(BufReader::new(input))
                .map_err(|error| json_failure(PayloadFormat::Json, &error))?;
            lines.push_object(&object)
        }
    }
}

fn spread_csv<W: Write>(input: File, lines: &mut Lines<W>, delimiter: u8) -> Result<(), ResponseError> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(BufReader::new(input));
    let header = reader.headers().map_err(csv_failure)?.clone();
    let columns: Vec<(&str, ColumnType)> = header.iter().map(parse_column).collect();
    let mut record = csv::StringRecord::new();
    let mut line = 0_usize;
    while reader.read_record(&mut record).map_err(csv_failure)? {
        line += 1;
        let mut object: Map<String, Value> =
            columns.iter().map(|(name, _)| ((*name).to_owned(), Value::Null)).collect();
        for ((name, column_type), text) in columns.iter().zip(record.iter()) {
            object.insert((*name).to_owned(), parse_cell(text, *column_type, line)?);
        }
        lines.push_object(&object)?;
    }
    Ok(())
}

/// `name:type`; an unknown type belongs to the name.
fn parse_column(header: &str) -> (&str, ColumnType) {
    match header.rsplit_once(':') {
        Some((name, "string")) => (name, ColumnType::Text),
        Some((name, "boolean")) => (name, ColumnType::Boolean),
        Some((name, "number")) => (name, ColumnType::Number),
        Some(_) | None => (header, ColumnType::Text),
    }
}

fn parse_cell(text: &str, column_type: ColumnType, line: usize) -> Result<Value, ResponseError> {
    let trimmed = text.trim();
    match column_type {
        ColumnType::Text if text.is_empty() => Ok(Value::Null),
        ColumnType::Text => Ok(Value::from(text)),
        ColumnType::Boolean | ColumnType::Number if trimmed.is_empty() => Ok(Value::Null),
        ColumnType::Boolean => trimmed
            .parse::<bool>()
            .map(Value::from)
            .map_err(|error| malformed_csv(format!("Error parsing boolean {text:?} at line {line}: {error}"))),
        ColumnType::Number => match trimmed.parse::<i64>() {
            Ok(whole) => Ok(Value::from(whole)),
            Err(_) => trimmed
                .parse::<f64>()
                .map(Value::from)
                .map_err(|error| malformed_csv(format!("Error parsing number {text:?} at line {line}: {error}"))),
        },
    }
}

fn csv_failure(error: csv::Error) -> ResponseError {
    malformed_csv(error.to_string())
}

fn malformed_csv(message: String) -> ResponseError {
    // The delimiter is not part of the message.
    let format = PayloadFormat::Csv { delimiter: b',' };
    ResponseError::new(Code::MalformedPayload, format.malformed_record(&message))
}

fn json_failure(format: PayloadFormat, error: &serde_json::Error) -> ResponseError {
    let message = match error.classify() {
        Category::Data => "data are neither an object nor a list of objects".to_owned(),
        Category::Io | Category::Syntax | Category::Eof => error.to_string(),
    };
    ResponseError::new(Code::MalformedPayload, format.malformed_json(&message))
}

pub fn io_failure(error: &io::Error) -> ResponseError {
    let code = match error.raw_os_error() {
        Some(5) => Code::IoError,
        Some(24) => Code::TooManyOpenFiles,
        Some(28) => Code::NoSpaceLeftOnDevice,
        Some(_) | None => Code::Internal,
    };
    ResponseError::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(body: &str, format: PayloadFormat) -> Result<(u64, String), ResponseError> {
        let folder = tempfile::tempdir().unwrap();
        let store = PayloadStore::open(folder.path().join("payloads"), &HashSet::new()).unwrap();
        let mut received = store.receive().unwrap();
        received.write_all(body.as_bytes()).unwrap();
        let payload = store.store(received, format)?;
        let text = fs::read_to_string(store.path(&payload.name)).unwrap();
        assert_eq!(fs::read_dir(&store.folder).unwrap().count(), 1);
        Ok((payload.documents, text))
    }

    fn refusal(body: &str, format: PayloadFormat) -> (String, String) {
        let error = stored(body, format).unwrap_err();
        (error.code.clone(), error.message.clone())
    }

    #[test]
    fn an_array_becomes_lines_with_its_numbers_untouched() {
        let (documents, text) =
            stored("[\n {\"id\": 1.00,\n \"a\":\"x\\ny\"} , {\"id\":2}\n]", PayloadFormat::Json).unwrap();
        assert_eq!(documents, 2);
        assert_eq!(text, "{\"id\": 1.00,  \"a\":\"x\\ny\"}\n{\"id\":2}\n");
    }

    #[test]
    fn a_single_object_is_one_document_and_an_empty_array_none() {
        assert_eq!(stored("{\"id\":1}", PayloadFormat::Json).unwrap(), (1, "{\"id\":1}\n".to_owned()));
        assert_eq!(stored("[]", PayloadFormat::Json).unwrap(), (0, String::new()));
    }

    #[test]
    fn an_element_of_an_array_has_each_key_once_and_a_line_stays_as_it_is() {
        let twice = r#"{"id":1,"n":2,"\u0069d":3}"#;
        assert_eq!(stored(&format!("[{twice}]"), PayloadFormat::Json).unwrap(), (1, "{\"id\":3,\"n\":2}\n".to_owned()));
        let line = format!("{twice}\n");
        assert_eq!(stored(&line, PayloadFormat::Ndjson).unwrap(), (1, line));
    }

    #[test]
    fn ndjson_may_spread_an_object_over_lines() {
        let (documents, text) = stored("{\"id\":1}\n\n{\n\"id\":2}{\"id\":3}", PayloadFormat::Ndjson).unwrap();
        assert_eq!(documents, 3);
        assert_eq!(text, "{\"id\":1}\n{ \"id\":2}\n{\"id\":3}\n");
    }

    #[test]
    fn csv_columns_have_types_and_empty_cells_are_null() {
        let csv = "#id:number,a:boolean,b,c:thing\n1,true,,x\n2.5, ,y,\n";
        let (documents, text) = stored(csv, PayloadFormat::Csv { delimiter: b',' }).unwrap();
        assert_eq!(documents, 2);
        assert_eq!(
            text,
            "{\"#id\":1,\"a\":true,\"b\":null,\"c:thing\":\"x\"}\n{\"#id\":2.5,\"a\":null,\"b\":\"y\",\"c:thing\":null}\n"
        );
    }

    #[test]
    fn a_malformed_payload_is_told_in_the_engines_words() {
        let table = [
            (
                "[{\"id\": 1}, {id: 2}]",
                PayloadFormat::Json,
                "The `json` payload provided is malformed. `Couldn't serialize document value: key must be a string at line 1 column 14`.",
            ),
            (
                "[1,2]",
                PayloadFormat::Json,
                "The `json` payload provided is malformed. `Couldn't serialize document value: trailing characters at line 1 column 4`.",
            ),
            (
                "\"a text\"",
                PayloadFormat::Json,
                "The `json` payload provided is malformed. `Couldn't serialize document value: data are neither an object nor a list of objects`.",
            ),
            (
                "{\"id\": 1}\n{id: 2}",
                PayloadFormat::Ndjson,
                "The `ndjson` payload provided is malformed. `Couldn't serialize document value: key must be a string at line 2 column 2`.",
            ),
            (
                "id,content\n1234,hello, world\n",
                PayloadFormat::Csv { delimiter: b',' },
                "The `csv` payload provided is malformed: `CSV error: record 1 (line: 2, byte: 11): found record with 3 fields, but the previous record has 2 fields`.",
            ),
            (
                "#id:number,a:boolean,b:number\n11,doggo,1\n",
                PayloadFormat::Csv { delimiter: b',' },
                "The `csv` payload provided is malformed: `Error parsing boolean \"doggo\" at line 1: provided string was not `true` or `false``.",
            ),
            (
                "#id:number,a:boolean,b:number\n11,true,doggo\n",
                PayloadFormat::Csv { delimiter: b',' },
                "The `csv` payload provided is malformed: `Error parsing number \"doggo\" at line 1: invalid float literal`.",
            ),
        ];
        for (body, format, message) in table {
            assert_eq!(refusal(body, format), ("malformed_payload".to_owned(), message.to_owned()));
        }
    }

    #[test]
    fn payloads_without_a_task_are_swept_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("kept.ndjson"), "{}").unwrap();
        fs::write(folder.path().join("lost.ndjson"), "{}").unwrap();
        PayloadStore::open(folder.path().to_owned(), &HashSet::from(["kept.ndjson".to_owned()])).unwrap();
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["kept.ndjson"]);
    }
}
