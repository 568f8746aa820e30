//! A JSON array of objects, or a single object.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{Deserialize as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::PayloadFormat;
use super::document::Document;
use super::error::SplitError;
use super::ndjson::{Ahead, malformed, not_a_document, parse, white_space};
use super::position::Position;
use super::scan::ValueScanner;

/// What the engine says of a body that is JSON, but neither of the two things it takes.
const NEITHER: &str = "data are neither an object nor a list of objects";

/// Cuts a JSON body.
pub struct JsonSplitter {
    /// What is not yet handed over.
    pending: Vec<u8>,
    /// How much of `pending` the scanner has seen.
    scanned: usize,
    scanner: ValueScanner,
    /// Of the first byte of `pending`.
    position: Position,
    state: State,
    /// Why the last element is no document, although well-formed.
    refusal: Option<SplitError>,
    max_document: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// Not an array: taken as one document when the body has ended.
    Single,
    /// After `[`.
    FirstElement,
    AfterElement,
    AfterComma,
    /// Inside an element.
    Element,
    /// After an element that is no document. The engine looks at what follows it before it says so.
    Refused,
    /// After `]`. The engine reads no further, so neither is it an error if more comes.
    Done,
}

// === impl JsonSplitter ===

impl JsonSplitter {
    /// A value of more than `max_document` bytes is refused.
    pub fn new(max_document: usize) -> Self {
        Self {
            pending: Vec::new(),
            scanned: 0,
            scanner: ValueScanner::default(),
            position: Position::start(),
            state: State::Start,
            refusal: None,
            max_document,
        }
    }

    /// An error of `on_document` ends the body, too.
    pub fn push<E: From<SplitError>>(
        &mut self,
        chunk: &[u8],
        on_document: &mut impl FnMut(&Document<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.state == State::Done {
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(chunk);
        let mut ahead = Ahead::default();
        let mut start = 0;
        loop {
            match self.state {
                State::Start | State::FirstElement | State::AfterElement | State::AfterComma => {
                    start += white_space(&pending[start..]);
                    let Some(&byte) = pending.get(start) else { break };
                    start += self.punctuation(byte).map_err(|what| self.malformed_at(&pending, start, what))?;
                    self.scanned = start;
                }
                State::Single => {
                    self.check_length(pending.len() - start)?;
                    break;
                }
                State::Element => {
                    // As a rule a whole document follows, and is read in one pass.
                    if self.scanned == start
                        && let Some(document) = ahead.document(&pending, start)
                    {
                        self.check_length(document.raw().len())?;
                        hand_over(&document, on_document)?;
                        start += document.raw().len();
                        self.state = State::AfterElement;
                        continue;
                    }
                    let end = self.scanner.scan(&pending, self.scanned);
                    self.check_length(end.unwrap_or(pending.len()) - start)?;
                    let Some(end) = end else { break };
                    let Some(document) = parse(&pending[start..end]) else {
                        start += self.refuse(&pending, start)?;
                        continue;
                    };
                    hand_over(&document, on_document)?;
                    start = end;
                    self.scanner = ValueScanner::default();
                    self.state = State::AfterElement;
                }
                State::Refused => match self.verdict(&pending, start, false) {
                    Some(error) => return Err(error.into()),
                    None => break,
                },
                State::Done => {
                    start = pending.len();
                    break;
                }
            }
        }
        self.position = self.position.after(&pending[..start]);
        pending.drain(..start);
        self.scanned = pending.len();
        self.pending = pending;
        Ok(())
    }

    /// An array that is not closed, or a body of no value, is malformed.
    pub fn finish<E: From<SplitError>>(
        mut self,
        on_document: &mut impl FnMut(&Document<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let end = self.position.after(&self.pending);
        let cut_off = |what| Err(malformed(PayloadFormat::Json, end.at_end(what)).into());
        match self.state {
            State::Done => Ok(()),
            State::Start | State::AfterComma => cut_off("EOF while parsing a value"),
            State::FirstElement | State::AfterElement => cut_off("EOF while parsing a list"),
            State::Element => {
                let pending = std::mem::take(&mut self.pending);
                let value = self.refuse(&pending, 0)?;
                let verdict = self.verdict(&pending, value, true);
                Err(verdict.unwrap_or_else(|| self.malformed_at(&pending, value, "expected value")).into())
            }
            State::Refused => {
                let verdict = self.verdict(&self.pending, 0, true);
                Err(verdict.unwrap_or_else(|| self.malformed_at(&self.pending, 0, "expected value")).into())
            }
            State::Single => {
                let object = self.single()?;
                let document =
                    Document::parse(&object).map_err(|error| malformed(PayloadFormat::Json, error.to_string()))?;
                on_document(&document)
            }
        }
    }

    /// Moves on at `byte`, which stands between elements; how many bytes it takes up, or what is wrong with it.
    fn punctuation(&mut self, byte: u8) -> Result<usize, &'static str> {
        let (state, taken) = match (self.state, byte) {
            (State::Start, b'[') => (State::FirstElement, 1),
            (State::Start, _) => (State::Single, 0),
            (State::FirstElement | State::AfterElement, b']') => (State::Done, 1),
            (State::AfterElement, b',') => (State::AfterComma, 1),
            (State::AfterElement, _) => return Err("expected `,` or `]`"),
            (State::AfterComma, b']') => return Err("trailing comma"),
            (State::FirstElement | State::AfterComma, _) => (State::Element, 0),
            (state @ (State::Single | State::Element | State::Refused | State::Done), _) => (state, 0),
        };
        self.state = state;
        Ok(taken)
    }

    fn check_length(&self, length: usize) -> Result<(), SplitError> {
        match length > self.max_document {
            true => Err(SplitError::DocumentTooLarge { limit: self.max_document }),
            false => Ok(()),
        }
    }

    fn malformed_at(&self, pending: &[u8], at: usize, what: &str) -> SplitError {
        malformed(PayloadFormat::Json, self.position.after(&pending[..at]).at_byte(what))
    }

    /// The element at `start` of `pending` is no document: the error if it is no JSON either, else its length.
    fn refuse(&mut self, pending: &[u8], start: usize) -> Result<usize, SplitError> {
        let rest = &pending[start..];
        let mut deserializer = serde_json::Deserializer::from_slice(rest);
        match <&RawValue>::deserialize(&mut deserializer) {
            Ok(raw) => {
                self.refusal = Some(not_a_document(PayloadFormat::Json, raw));
                self.state = State::Refused;
                Ok(raw.get().len())
            }
            Err(error) => {
                let position = self.position.after(&pending[..start]);
                Err(malformed(PayloadFormat::Json, position.shift(&error)))
            }
        }
    }

    /// The error after a refused element, given what follows it from `start`; `None` if that is not yet known.
    fn verdict(&self, pending: &[u8], start: usize, ended: bool) -> Option<SplitError> {
        let next = start + white_space(&pending[start..]);
        let at_end = |what| {
            let end = self.position.after(pending);
            ended.then(|| malformed(PayloadFormat::Json, end.at_end(what)))
        };
        match pending.get(next) {
            None => at_end("EOF while parsing a list"),
            Some(b']') => self.refusal.clone(),
            Some(b',') => {
                let after = next + 1 + white_space(&pending[next + 1..]);
                match pending.get(after) {
                    None => at_end("trailing characters"),
                    Some(b']') => Some(self.malformed_at(pending, after, "trailing comma")),
                    Some(_) => Some(self.malformed_at(pending, after, "trailing characters")),
                }
            }
            Some(_) => Some(self.malformed_at(pending, next, "trailing characters")),
        }
    }

    /// The whole body as one object. The engine writes it anew, so numbers and repeated keys come out as there.
    fn single(&self) -> Result<String, SplitError> {
        let sequence = serde_json::Deserializer::from_slice(&self.pending).deserialize_seq(NoSequence);
        if let Err(error) = sequence
            && !error.is_data()
        {
            return Err(malformed(PayloadFormat::Json, self.position.shift(&error)));
        }
        match serde_json::from_slice::<Map<String, Value>>(&self.pending) {
            Ok(object) => Ok(serde_json::to_string(&object).expect("a parsed object always serializes")),
            Err(error) if error.is_data() => Err(malformed(PayloadFormat::Json, NEITHER.to_owned())),
            Err(error) => Err(malformed(PayloadFormat::Json, self.position.shift(&error))),
        }
    }
}

/// Hands an element over as the engine sees it: it writes elements anew with each key once.
fn hand_over<E>(
    document: &Document<'_>,
    on_document: &mut impl FnMut(&Document<'_>) -> Result<(), E>,
) -> Result<(), E> {
    if !document.repeats_a_key() {
        return on_document(document);
    }
    let rewritten = document.without_repeated_keys();
    on_document(&Document::parse(&rewritten).expect("made of the keys and values of a parsed object"))
}

/// Asks serde_json for a sequence only to learn how it refuses something else.
struct NoSequence;

impl<'de> Visitor<'de> for NoSequence {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a nonempty sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
