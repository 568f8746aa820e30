//! Vectors in JSON: how long they are, or what the engine says of what is none.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// The lengths of the vectors, if they are one or a list of them.
pub fn lengths(raw: &RawValue) -> Option<Vec<usize>> {
    if let Ok(length) = raw.deserialize_seq(Length) {
        // An empty list is one of no vectors.
        return Some(if length == 0 { Vec::new() } else { vec![length] });
    }
    raw.deserialize_seq(Lengths).ok()
}

/// Why `raw`, which lies at `at`, is neither a vector nor a list of vectors; `None` if that cannot be told.
pub fn complaint(raw: &RawValue, at: &str) -> Option<String> {
    let items = match serde_json::from_str(raw.get()).ok()? {
        Value::Array(items) => items,
        other => return Some(wrong(at, "null or an array", &other)),
    };
    let is_number = |item: &Value| item.is_number();
    match items.first()? {
        Value::Array(_) => items.iter().enumerate().find_map(|(place, item)| {
            let at = format!("{at}[{place}]");
            let Value::Array(numbers) = item else { return Some(wrong(&at, "an array", item)) };
            let bad = numbers.iter().position(|number| !is_number(number))?;
            Some(wrong(&format!("{at}[{bad}]"), "a number", &numbers[bad]))
        }),
        Value::Number(_) => {
            let bad = items.iter().position(|item| !is_number(item))?;
            Some(wrong(&format!("{at}[{bad}]"), "a number", &items[bad]))
        }
        first => Some(wrong(&format!("{at}[0]"), "a number or an array", first)),
    }
}

fn wrong(at: &str, expected: &str, found: &Value) -> String {
    let kind = match found {
        Value::Null => return format!("Invalid value type at `{at}`: expected {expected}, but found null"),
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_u64() => "a positive integer",
        Value::Number(number) if number.is_i64() => "a negative integer",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    format!("Invalid value type at `{at}`: expected {expected}, but found {kind}: `{found}`")
}

/// Counts the numbers of a vector.
struct Length;

impl<'de> Visitor<'de> for Length {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vector")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Self::Value, A::Error> {
        let mut length = 0;
        while numbers.next_element::<f32>()?.is_some() {
            length += 1;
        }
        Ok(length)
    }
}

impl<'de> DeserializeSeed<'de> for Length {
    type Value = usize;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

/// Counts the numbers of each vector of a list.
struct Lengths;

impl<'de> Visitor<'de> for Lengths {
    type Value = Vec<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("vectors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut vectors: A) -> Result<Self::Value, A::Error> {
        let mut lengths = Vec::new();
        while let Some(length) = vectors.next_element_seed(Length)? {
            lengths.push(length);
        }
        Ok(lengths)
    }
}
