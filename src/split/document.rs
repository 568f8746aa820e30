//! One document: its raw bytes, and the keys and values of its first level.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::scanner::Scanner;
use crate::placement::shard::{SHARD_FIELD, ShardId, shard_value};
use crate::placement::written::{WRITTEN_FIELD, Written};

/// Every name that starts so is Miroir's own.
pub const RESERVED_PREFIX: &str = "_miroir";

/// A valid JSON object, its first level taken apart.
#[derive(Debug)]
pub struct Document<'a> {
    raw: &'a str,
    fields: Vec<(Cow<'a, str>, Raw<'a>)>,
}

/// A valid JSON value as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

// === impl Raw ===

impl<'a> Raw<'a> {
    /// The JSON text of the value.
    pub fn get(self) -> &'a str {
        self.0
    }
}

// === impl Document ===

impl<'a> Document<'a> {
    /// The document that `text` begins with, at its first byte; `None` where there is none, or not all of it. Where it ends is told by
    /// [`Document::raw`].
    pub fn first(text: &'a str) -> Option<Self> {
        if !text.starts_with('{') {
            return None;
        }
        let mut scanner = Scanner::new(text);
        let mut within = scanner.enter(b'{').ok()?;
        let mut fields = Vec::with_capacity(16);
        while let Some(key) = scanner.member(&mut within).ok()? {
            fields.push((key, Raw(scanner.value().ok()?)));
        }
        Some(Self { raw: scanner.since(0), fields })
    }

    /// Parses `raw`, which is one value without white space around it.
    pub fn parse(raw: &'a str) -> Result<Self, serde_json::Error> {
        if let Some(document) = Self::first(raw).filter(|document| document.raw.len() == raw.len()) {
            return Ok(document);
        }
        // This one says what is wrong.
        let mut deserializer = serde_json::Deserializer::from_str(raw);
        let fields = deserializer.deserialize_map(FieldsVisitor)?;
        deserializer.end()?;
        Ok(Self { raw, fields })
    }

    /// The object as it came.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// The keys and values of the first level, in order, repeated keys included.
    pub fn fields(&self) -> &[(Cow<'a, str>, Raw<'a>)] {
        &self.fields
    }

    /// The first key that only Miroir may write.
    pub fn reserved_field(&self) -> Option<&str> {
        self.fields.iter().map(|(key, _)| key.as_ref()).find(|key| key.starts_with(RESERVED_PREFIX))
    }

    /// True when a key of the first level comes more than once.
    pub fn repeats_a_key(&self) -> bool {
        // Short objects are the rule; for them comparing beats hashing.
        if self.fields.len() <= 16 {
            return self
                .fields
                .iter()
                .enumerate()
                .any(|(at, (key, _))| self.fields[..at].iter().any(|(earlier, _)| earlier == key));
        }
        let mut seen = std::collections::HashSet::with_capacity(self.fields.len());
        self.fields.iter().any(|(key, _)| !seen.insert(key.as_ref()))
    }

    /// The object with each key once: in the place of its first occurrence, with its last value.
    pub fn without_repeated_keys(&self) -> String {
        let mut order: Vec<(&str, Raw<'_>)> = Vec::with_capacity(self.fields.len());
        let mut places = std::collections::HashMap::with_capacity(self.fields.len());
        for (key, value) in &self.fields {
            match places.entry(key.as_ref()) {
                std::collections::hash_map::Entry::Occupied(place) => {
                    let place: usize = *place.get();
                    order[place].1 = *value;
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(order.len());
                    order.push((key, *value));
                }
            }
        }
        let mut out = String::with_capacity(self.raw.len());
        out.push('{');
        for (at, (key, value)) in order.into_iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(&serde_json::to_string(key).expect("a string always serializes"));
            out.push(':');
            out.push_str(value.get());
        }
        out.push('}');
        out
    }
}

/// The hidden fields as they are spliced into documents, as far as they are the same for all of a shard; made once.
#[derive(Debug)]
pub struct HiddenFields {
    of_shards: Vec<String>,
}

// === impl HiddenFields ===

impl HiddenFields {
    /// Of an index of so many shards; each shard's text is made once.
    pub fn new(shards: u16) -> Self {
        let fields = |shard| {
            let value = shard_value(ShardId(shard), shards);
            format!("\"{SHARD_FIELD}\":\"{value}\",\"{WRITTEN_FIELD}\":\"")
        };
        Self { of_shards: (0..shards).map(fields).collect() }
    }

    /// The same, made once for all bodies: to make them costs more than a small body does.
    pub fn shared(shards: u16) -> Arc<Self> {
        static MADE: Mutex<Vec<Arc<HiddenFields>>> = Mutex::new(Vec::new());
        let mut made = MADE.lock();
        if let Some(known) = made.iter().find(|fields| fields.of_shards.len() == usize::from(shards)) {
            return Arc::clone(known);
        }
        let fields = Arc::new(Self::new(shards));
        made.push(Arc::clone(&fields));
        fields
    }

    /// The shard of a line that [`HiddenFields::splice`] made.
    pub fn shard_of(&self, line: &[u8]) -> Option<ShardId> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let fields = line.len().checked_sub(Written::LENGTH + "\"}".len())?;
        let start = fields.checked_sub(self.of_shards.first()?.len())?;
        let text = std::str::from_utf8(line.get(start..fields)?).ok()?;
        // Fields of one cluster are equally long, and ascend with their shards.
        let position = self.of_shards.binary_search_by(|other| other.as_str().cmp(text)).ok()?;
        u16::try_from(position).ok().map(ShardId)
    }

    /// Appends `object`, a valid JSON object, to `line` with the hidden fields as its last and a newline at the end.
    /// The object's own line breaks, which can only be white space, become spaces: a document is a line.
    pub fn splice(&self, object: &str, shard: ShardId, written: Written, line: &mut Vec<u8>) {
        let open = object.strip_suffix('}').unwrap_or(object).trim_end_matches([' ', '\t', '\n', '\r']);
        let start = line.len();
        line.extend_from_slice(open.as_bytes());
        if memchr::memchr2(b'\n', b'\r', open.as_bytes()).is_some() {
            for byte in &mut line[start..] {
                if matches!(*byte, b'\n' | b'\r') {
                    *byte = b' ';
                }
            }
        }
        if open.len() > 1 {
            line.push(b',');
        }
        line.extend_from_slice(self.of_shards[usize::from(shard.0)].as_bytes());
        written.push_value(line);
        line.extend_from_slice(b"\"}\n");
    }
}

/// Reads the keys and raw values of a map; `expecting` is the engine's word.
struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Vec<(Cow<'de, str>, Raw<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(16);
        while let Some(key) = map.next_key_seed(KeySeed)? {
            let value: &RawValue = map.next_value()?;
            fields.push((key, Raw(value.get())));
        }
        Ok(fields)
    }
}

/// Reads a key, borrowed where it has no escapes.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
