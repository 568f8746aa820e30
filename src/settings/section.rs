//! One section's keys, each taken once by its reader. What is left over in the end is unknown.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use super::problem::Report;
use super::{FromSection, unit};

/// A mapping of the file. A key that is missing or null has its default; one that is wrong is reported and has its default
/// too, so that the checks after it can go on.
pub struct Section<'a> {
    path: String,
    fields: Map<String, Value>,
    /// The keys asked for so far, for hints.
    known: Vec<String>,
    report: &'a Report,
}

// === impl Section ===

impl<'a> Section<'a> {
    /// `value` must be a mapping; anything else is a problem and reads as an empty one.
    pub fn new(path: &str, value: Value, report: &'a Report) -> Self {
        let fields = match value {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                report.problem(path, format!("expected a mapping, found {}", kind(&other)));
                Map::new()
            }
        };
        Self { path: path.to_owned(), fields, known: Vec::new(), report }
    }

    /// The path of `key` in the file: `write.timeout`.
    pub fn path_of(&self, key: &str) -> String {
        child(&self.path, key)
    }

    /// Reports that the value of `key` is wrong.
    pub fn problem(&self, key: &str, message: impl Into<String>) {
        self.report.problem(&self.path_of(key), message);
    }

    /// The settings that the section at `key` holds; keys that they do not know are reported.
    pub fn read<T: FromSection>(&mut self, key: &str) -> T {
        let value = self.take(key).unwrap_or(Value::Null);
        self.whole(&self.path_of(key), value)
    }

    /// The same of each mapping in the list at `key`.
    pub fn read_list<T: FromSection>(&mut self, key: &str) -> Vec<T> {
        let path = self.path_of(key);
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                let items = items.into_iter().enumerate();
                items.map(|(position, value)| self.whole(&item(&path, position), value)).collect()
            }
            Some(other) => {
                self.problem(key, format!("expected a list, found {}", kind(&other)));
                Vec::new()
            }
        }
    }

    fn whole<T: FromSection>(&self, path: &str, value: Value) -> T {
        let mut section = Section::new(path, value, self.report);
        let read = T::read(&mut section);
        section.finish();
        read
    }

    /// A text, for which there is no default.
    pub fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other => {
                self.problem(key, format!("expected a text, found {}", kind(&other)));
                None
            }
        }
    }

    /// A text that must be there. Empty when it is missing or wrong, which is reported.
    pub fn required_text(&mut self, key: &str) -> String {
        if self.fields.get(key).is_none_or(Value::is_null) {
            self.problem(key, "missing");
        }
        self.text(key).unwrap_or_default()
    }

    /// A whole number in `range`.
    pub fn integer<T>(&mut self, key: &str, range: RangeInclusive<T>, default: T) -> T
    where
        T: TryFrom<u64> + PartialOrd + Display,
    {
        self.optional_integer(key, range).unwrap_or(default)
    }

    /// A whole number in `range`, for which there is no default.
    pub fn optional_integer<T>(&mut self, key: &str, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<u64> + PartialOrd + Display,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.parsed(key, None, &expected, |value| {
            let number: u64 = match value {
                Value::Number(number) => number.as_u64()?,
                Value::String(text) => text.trim().parse().ok()?,
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
            };
            T::try_from(number).ok().filter(|number| range.contains(number)).map(Some)
        })
    }

    /// A number over 0, whole or not.
    pub fn positive(&mut self, key: &str, default: f64) -> f64 {
        self.parsed(key, default, "a number over 0", |value| {
            let number = match value {
                Value::Number(number) => number.as_f64(),
                Value::String(text) => text.trim().parse().ok(),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
            };
            number.filter(|number| number.is_finite() && *number > 0.0)
        })
    }

    /// Over zero.
    pub fn duration(&mut self, key: &str, default: Duration) -> Duration {
        self.parsed(key, default, "a duration over 0 such as `500ms`, `30s`, `5m`, `2h` or `7d`", |value| {
            value.as_str().and_then(unit::duration).filter(|duration| !duration.is_zero())
        })
    }

    /// A number of bytes, at least `least`.
    pub fn size(&mut self, key: &str, least: u64, default: u64) -> u64 {
        let expected = format!("a size of at least {least} bytes such as `64MiB` or `500MB`");
        self.parsed(key, default, &expected, |value| {
            let size = match value {
                Value::String(text) => unit::size(text),
                Value::Number(number) => number.as_u64(),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
            };
            size.filter(|size| *size >= least)
        })
    }

    /// One of the words, as what it stands for.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)], default: T) -> T {
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
        self.parsed(key, default, &format!("one of {}", words.join(", ")), |value| {
            choices.iter().find(|(word, _)| value.as_str() == Some(*word)).map(|(_, choice)| *choice)
        })
    }

    /// All keys with their values, for a section whose keys somebody else knows.
    pub fn take_all(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.fields)
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self) {
        for key in self.fields.keys() {
            self.report.problem(&self.path_of(key), unknown_key(key, self.known.iter().map(String::as_str)));
        }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        self.report.asked_for(self.path_of(key));
        self.fields.shift_remove(key).filter(|value| !value.is_null())
    }

    /// What `parse` makes of the value; `expected` says what it understands.
    pub fn parsed<T>(&mut self, key: &str, default: T, expected: &str, parse: impl FnOnce(&Value) -> Option<T>) -> T {
        let Some(value) = self.take(key) else { return default };
        parse(&value).unwrap_or_else(|| {
            self.problem(key, format!("expected {expected}, found {}", shown(&value)));
            default
        })
    }
}

/// The path of `key` below `path`.
pub fn child(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The path of an item of a list, counted from 0: `nodes[2]`.
pub fn item(path: &str, position: usize) -> String {
    format!("{path}[{position}]")
}

/// What to say of a key that nobody knows, with the nearest known one if it is near.
pub fn unknown_key<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> String {
    let nearest = known.map(|name| (distance(key, name), name)).min();
    match nearest {
        Some((steps, name)) if steps <= 1 + key.chars().count() / 4 => {
            format!("unknown key, did you mean `{name}`?")
        }
        Some(_) | None => "unknown key".to_owned(),
    }
}

/// How many letters must be changed, added or taken away to make `to` of `from`.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number (quote it to make it a text)",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => format!("`{number}`"),
        Value::String(text) => format!("`{text}`"),
        Value::Bool(truth) => format!("`{truth}`"),
        Value::Null | Value::Array(_) | Value::Object(_) => kind(value).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_key_is_suggested() {
        let known = ["shards", "replication_factor", "nodes"];
        assert_eq!(unknown_key("shard", known.into_iter()), "unknown key, did you mean `shards`?");
        assert_eq!(
            unknown_key("replication_facter", known.into_iter()),
            "unknown key, did you mean `replication_factor`?"
        );
        assert_eq!(unknown_key("colour", known.into_iter()), "unknown key");
    }

    #[test]
    fn distance_counts_changes() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
