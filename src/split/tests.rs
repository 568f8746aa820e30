//! The splitters against the engine's way of reading a whole body at once, which is written down here in small.

use std::fmt;

use proptest::prelude::*;
use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::*;
use crate::meili::error::ResponseError;

type Outcome = Result<Vec<String>, String>;

/// What the splitter makes of `body` in pieces of the given sizes, over and over.
fn split(format: PayloadFormat, body: &[u8], sizes: &[usize]) -> Outcome {
    split_within(format, body, sizes, 1 << 20)
}

fn split_within(format: PayloadFormat, body: &[u8], sizes: &[usize], max_document: usize) -> Outcome {
    let mut documents = Vec::new();
    let mut take = |document: &Document<'_>| -> Result<(), SplitError> {
        documents.push(document.without_repeated_keys());
        Ok(())
    };
    let mut splitter = Splitter::new(format, max_document);
    let mut rest = body;
    let mut sizes = sizes.iter().copied().cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(sizes.next().unwrap_or(rest.len()).clamp(1, rest.len()));
        splitter.push(piece, &mut take).map_err(|error| error.to_string())?;
        rest = after;
    }
    splitter.finish(&mut take).map_err(|error| error.to_string())?;
    Ok(documents)
}

fn json(body: &str) -> Outcome {
    split(PayloadFormat::Json, body.as_bytes(), &[])
}

fn ndjson(body: &str) -> Outcome {
    split(PayloadFormat::Ndjson, body.as_bytes(), &[])
}

fn csv(body: &str) -> Outcome {
    split(PayloadFormat::Csv { delimiter: b',' }, body.as_bytes(), &[])
}

// === The engine's way ===

struct Elements<'a>(&'a mut Vec<String>);

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = Result<(), serde_json::Error>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a nonempty sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while let Some(element) = elements.next_element::<&RawValue>()? {
            match Document::parse(element.get()) {
                Ok(document) => self.0.push(document.without_repeated_keys()),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }
}

fn refusal(format: PayloadFormat, error: &serde_json::Error) -> String {
    match error.is_data() {
        true => error.to_string(),
        false => SplitError::Json { format, message: error.to_string() }.to_string(),
    }
}

fn engine_json(body: &[u8]) -> Outcome {
    let format = PayloadFormat::Json;
    let mut documents = Vec::new();
    match serde_json::Deserializer::from_slice(body).deserialize_seq(Elements(&mut documents)) {
        Ok(Ok(())) => Ok(documents),
        Ok(Err(error)) => Err(refusal(format, &error)),
        Err(error) if !error.is_data() => Err(refusal(format, &error)),
        Err(_) => match serde_json::from_slice::<Map<String, Value>>(body) {
            Ok(object) => Ok(vec![serde_json::to_string(&object).unwrap()]),
            Err(error) => {
                let message = match error.is_data() {
                    true => "data are neither an object nor a list of objects".to_owned(),
                    false => error.to_string(),
                };
                Err(SplitError::Json { format, message }.to_string())
            }
        },
    }
}

fn engine_ndjson(body: &[u8]) -> Outcome {
    let format = PayloadFormat::Ndjson;
    let mut documents = Vec::new();
    for raw in serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>() {
        let raw = raw.map_err(|error| refusal(format, &error))?;
        let document = Document::parse(raw.get()).map_err(|error| refusal(format, &error))?;
        documents.push(document.without_repeated_keys());
    }
    Ok(documents)
}

fn engine_csv(body: &[u8], delimiter: u8) -> Outcome {
    let refused = |message: String| format!("The `csv` payload provided is malformed: `{message}`.");
    let mut reader = ::csv::ReaderBuilder::new().delimiter(delimiter).from_reader(body);
    let headers = reader.headers().map_err(|error| refused(error.to_string()))?.clone();
    let typed: Vec<(&str, &str)> = headers
        .iter()
        .map(|header| match header.rsplit_once(':') {
            Some((name, kind @ ("string" | "boolean" | "number"))) => (name, kind),
            _ => (header, "string"),
        })
        .collect();
    let mut documents = Vec::new();
    let mut record = ::csv::StringRecord::new();
    let mut line = 0;
    while reader.read_record(&mut record).map_err(|error| refused(error.to_string()))? {
        line += 1;
        let mut object = Map::new();
        for (at, (name, kind)) in typed.iter().enumerate() {
            let text = &record[at];
            let value = match (*kind, text.trim()) {
                ("string", _) if text.is_empty() => Value::Null,
                ("string", _) => Value::from(text),
                (_, "") => Value::Null,
                ("boolean", trimmed) => match trimmed.parse::<bool>() {
                    Ok(boolean) => Value::from(boolean),
                    Err(error) => {
                        return Err(refused(format!("Error parsing boolean {text:?} at line {line}: {error}")));
                    }
                },
                (_, trimmed) => match (trimmed.parse::<i64>(), trimmed.parse::<f64>()) {
                    (Ok(integer), _) => Value::from(integer),
                    (Err(_), Ok(float)) => Value::from(float),
                    (Err(_), Err(error)) => {
                        return Err(refused(format!("Error parsing number {text:?} at line {line}: {error}")));
                    }
                },
            };
            object.insert((*name).to_owned(), value);
        }
        documents.push(serde_json::to_string(&object).unwrap());
    }
    Ok(documents)
}

// === Properties ===

fn bodies(tokens: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(tokens), 0..24).prop_map(|tokens| tokens.concat())
}

/// Well-formed and half-formed JSON, line breaks, escapes, bytes that are no UTF-8.
const JSON_TOKENS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\n",
    b"\t",
    b"\"",
    b"\\",
    b"1",
    b"-",
    b"1.",
    b"true",
    b"tru",
    b"null",
    b"{}",
    b"[]",
    b"{\"id\":1}",
    b"{\"id\":1}",
    b"{\"id\":\"a\\\"b\"}",
    b"{\"a\":{\"b\":[1,{}]},\"id\":2}",
    b"\"id\":",
    b"{\"id\":1,\"id\":2}",
    b"{ \"a\" : 1 ,\n \"b\" : [ ] }",
    b"{\"\\u00e9\":\"\xc3\xa9\"}",
    b"\xff",
    b"\x01",
    b"\"x\"",
    b"{\"\\ud800\":1}",
    b"{\"a\":\"\\ud800\"}",
    b"1e999",
    b"{\"n\":1e999}",
    b",{\"id\":3}",
    b"\xef\xbb\xbf",
];

const CSV_TOKENS: &[&[u8]] = &[
    b"id",
    b"name",
    b"a:number",
    b"b:boolean",
    b"c:string",
    b"d:what",
    b",",
    b",",
    b",",
    b"\n",
    b"\n",
    b"\r\n",
    b"\r",
    b"\"",
    b"\"\"",
    b"\"a,b\"",
    b"\"a\nb\"",
    b"1",
    b"2.5",
    b" 3 ",
    b"true",
    b"",
    b"x",
    b"\xc3\xa9",
    b"\xff",
    b";",
    b"\xef\xbb\xbf",
    b"NaN",
    b"id,name,a:number\n",
    b"1,x,2\n",
];

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1usize..12, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn json_in_any_pieces_is_read_as_the_engine_reads_it(body in bodies(JSON_TOKENS), sizes in sizes()) {
        prop_assert_eq!(split(PayloadFormat::Json, &body, &sizes), engine_json(&body));
    }

    #[test]
    fn a_json_array_in_any_pieces_is_read_as_the_engine_reads_it(inner in bodies(JSON_TOKENS), sizes in sizes()) {
        let body = [b"[{\"id\":0}", inner.as_slice()].concat();
        prop_assert_eq!(split(PayloadFormat::Json, &body, &sizes), engine_json(&body));
    }

    #[test]
    fn ndjson_in_any_pieces_is_read_as_the_engine_reads_it(body in bodies(JSON_TOKENS), sizes in sizes()) {
        // The engine sees repeated keys in NDJSON; both sides of this comparison drop them.
        prop_assert_eq!(split(PayloadFormat::Ndjson, &body, &sizes), engine_ndjson(&body));
    }

    #[test]
    fn csv_in_any_pieces_is_read_as_the_engine_reads_it(body in bodies(CSV_TOKENS), sizes in sizes()) {
        let format = PayloadFormat::Csv { delimiter: b',' };
        prop_assert_eq!(split(format, &body, &sizes), engine_csv(&body, b','));
    }

    #[test]
    fn csv_with_another_delimiter_too(body in bodies(CSV_TOKENS), sizes in sizes()) {
        let format = PayloadFormat::Csv { delimiter: b';' };
        prop_assert_eq!(split(format, &body, &sizes), engine_csv(&body, b';'));
    }
}

// === Facts ===

#[test]
fn an_array_an_object_and_lines_are_documents() {
    assert_eq!(json(r#" [ {"id":1} , {"id":2} ] "#), Ok(vec![r#"{"id":1}"#.into(), r#"{"id":2}"#.into()]));
    assert_eq!(json(r#"{"id": 1, "a": [1, 2]}"#), Ok(vec![r#"{"id":1,"a":[1,2]}"#.into()]));
    assert_eq!(json("[]"), Ok(vec![]));
    assert_eq!(
        ndjson("{\"id\":1}\n\n{\"id\":2}{\"id\":3}"),
        Ok(vec![r#"{"id":1}"#.into(), r#"{"id":2}"#.into(), r#"{"id":3}"#.into()])
    );
    assert_eq!(ndjson("\n"), Ok(vec![]));
}

#[test]
fn what_follows_an_array_is_not_read() {
    assert_eq!(json("[{\"id\":1}] and more"), Ok(vec![r#"{"id":1}"#.into()]));
}

#[test]
fn a_repeated_key_of_an_array_element_keeps_its_first_place_and_last_value() {
    assert_eq!(json(r#"[{"id":1,"a":2,"id":3}]"#), Ok(vec![r#"{"id":3,"a":2}"#.into()]));
}

#[test]
fn syntax_errors_name_their_place_in_the_whole_body() {
    let malformed = |what: &str| {
        Err(format!(
            "The `json` payload provided is malformed. `Couldn't serialize document value: {what}.`",
            what = what
        )
        .replace(".`", "`."))
    };
    assert_eq!(json("[{\"id\":1},\n{\"id\" 2}]"), malformed("expected `:` at line 2 column 7"));
    assert_eq!(json("[{\"id\":1},]"), malformed("trailing comma at line 1 column 11"));
    assert_eq!(json("[{\"id\":1} {\"id\":2}]"), malformed("expected `,` or `]` at line 1 column 11"));
    assert_eq!(json("[{\"id\":1}"), malformed("EOF while parsing a list at line 1 column 9"));
    assert_eq!(json("  \n "), malformed("EOF while parsing a value at line 2 column 1"));
    assert_eq!(json("\"text\""), malformed("data are neither an object nor a list of objects"));
    assert_eq!(json("{\"id\":1} x"), malformed("trailing characters at line 1 column 10"));
    assert_eq!(
        ndjson("{\"id\":1}\n{id:2}"),
        Err("The `ndjson` payload provided is malformed. `Couldn't serialize document value: key must be a string at line 2 column 2`.".into())
    );
}

#[test]
fn a_value_that_is_no_object_is_refused_as_the_engine_refuses_it() {
    assert!(
        json("[1,2]")
            .unwrap_err()
            .contains("`Couldn't serialize document value: trailing characters at line 1 column 4`")
    );
    let error = json("[1]").unwrap_err();
    assert_eq!(error, "invalid type: integer `1`, expected a map at line 1 column 1");
    let error: ResponseError = SplitError::NotAnObject { message: error }.into();
    assert_eq!((error.status, error.code.as_str()), (500, "internal"));
}

#[test]
fn records_that_do_not_fit_are_refused_with_their_line() {
    let malformed = |what: &str| Err(format!("The `csv` payload provided is malformed: `{what}`."));
    assert_eq!(
        csv("id,doggo\n1,2,3\n"),
        malformed(
            "CSV error: record 1 (line: 2, byte: 9): found record with 3 fields, but the previous record has 2 fields"
        )
    );
    assert_eq!(
        csv("id,doggo:number\n1,doggo\n"),
        malformed("Error parsing number \"doggo\" at line 1: invalid float literal")
    );
    assert_eq!(
        csv("id,doggo:boolean\n1,doggo\n"),
        malformed("Error parsing boolean \"doggo\" at line 1: provided string was not `true` or `false`")
    );
}

#[test]
fn csv_quotes_types_and_empty_fields_become_json() {
    assert_eq!(
        csv("id,name:string,score:number,live:boolean\n1,\"Bo, the \"\"2nd\"\"\",1.50,true\n2,,,\n"),
        Ok(vec![
            r#"{"id":"1","name":"Bo, the \"2nd\"","score":1.5,"live":true}"#.into(),
            r#"{"id":"2","name":null,"score":null,"live":null}"#.into(),
        ])
    );
}

#[test]
fn a_long_message_keeps_its_beginning_and_end() {
    let message = format!("{}{}", "a".repeat(100), "b".repeat(100));
    let text = SplitError::Json { format: PayloadFormat::Json, message }.to_string();
    assert!(text.contains(&format!("{}...{}", "a".repeat(50), "b".repeat(85))), "{text}");
    // A cut never divides a character.
    SplitError::Json { format: PayloadFormat::Json, message: "é".repeat(200) }.to_string();
}

#[test]
fn a_document_over_the_limit_is_refused_before_it_is_whole() {
    let long = "x".repeat(5000);
    let bodies = [
        (PayloadFormat::Json, format!("[{{\"id\":\"{long}")),
        (PayloadFormat::Json, format!("{{\"id\":\"{long}")),
        (PayloadFormat::Ndjson, format!("{{\"id\":\"{long}")),
        (PayloadFormat::Csv { delimiter: b',' }, format!("id\n{long}")),
    ];
    for (format, body) in bodies {
        let error = split_within(format, body.as_bytes(), &[100], 4096).unwrap_err();
        assert_eq!(error, "The provided payload reached the size limit. The maximum accepted payload size is 4 KiB.");
    }
}

#[test]
fn reserved_fields_are_found_even_when_escaped() {
    let reserved = |raw: &str| Document::parse(raw).unwrap().reserved_field().map(str::to_owned);
    assert_eq!(reserved(r#"{"id":1,"_miroir_shard":"x"}"#).as_deref(), Some("_miroir_shard"));
    assert_eq!(reserved(r#"{"id":1,"\u005fmiroir":"x"}"#).as_deref(), Some("_miroir"));
    assert_eq!(reserved(r#"{"id":1,"a":{"_miroir_shard":"x"},"b":"_miroir_shard"}"#), None);
}

#[test]
fn the_shard_is_the_last_field_of_one_line() {
    use crate::placement::shard::ShardId;
    let fields = super::document::HiddenFields::new(256);
    let written = crate::placement::written::Places::of_batch(0).take().unwrap();
    let splice = |raw: &str| {
        let mut line = Vec::new();
        fields.splice(raw, ShardId(5), written, &mut line);
        String::from_utf8(line).unwrap()
    };
    let shard = r#""_miroir_shard":"{{{{{}{}","_miroir_written":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[""#;
    assert_eq!(splice(r#"{"id":1}"#), format!("{{\"id\":1,{shard}}}\n"));
    assert_eq!(splice("{}"), format!("{{{shard}}}\n"));
    assert_eq!(splice("{ \n}"), format!("{{{shard}}}\n"));
    assert_eq!(splice("{\r\n \"id\": \"a\\nb\"\n}"), format!("{{   \"id\": \"a\\nb\",{shard}}}\n"));
}
