//! JSON objects as lists of raw members: the order and the bytes stay as they were.

use std::borrow::Cow;

use crate::split::scanner::{Malformed, Scanner};

/// A value's text, unparsed but checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

/// An object's members in their order, the values unparsed.
#[derive(Debug, Default)]
pub struct Members<'a>(pub Vec<(Cow<'a, str>, Raw<'a>)>);

// === impl Raw ===

impl<'a> Raw<'a> {
    /// The JSON text, without white space around it.
    pub fn get(self) -> &'a str {
        self.0
    }
}

// === impl Members ===

impl<'a> Members<'a> {
    /// Of one JSON object, of which only the members are told apart: values stay text.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        Self::read(Scanner::new(text))
    }

    /// An error, too, where the bytes are no UTF-8.
    pub fn of_bytes(body: &'a [u8]) -> Result<Self, Malformed> {
        Self::read(Scanner::of_bytes(body)?)
    }

    fn read(mut scanner: Scanner<'a>) -> Result<Self, Malformed> {
        let mut members = Vec::with_capacity(8);
        let mut within = scanner.enter(b'{')?;
        while let Some(name) = scanner.member(&mut within)? {
            members.push((name, Raw(scanner.value()?)));
        }
        scanner.end()?;
        Ok(Self(members))
    }

    /// The first of that name; `None` if there is none.
    pub fn get(&self, name: &str) -> Option<Raw<'a>> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// True if there is a member of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds a member whose value was read.
    pub fn push(&mut self, name: Cow<'a, str>, value: &'a str) {
        self.0.push((name, Raw(value)));
    }

    /// The member `name` as an unsigned integer.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.get(name)?.get().parse().ok()
    }
}

/// The elements of the array that `text` is.
pub fn elements(text: &str) -> Result<Vec<Raw<'_>>, Malformed> {
    let mut scanner = Scanner::new(text);
    let mut elements = Vec::new();
    let mut within = scanner.enter(b'[')?;
    while scanner.element(&mut within)? {
        elements.push(Raw(scanner.value()?));
    }
    scanner.end()?;
    Ok(elements)
}

/// Writes one JSON object, member by member.
#[derive(Debug)]
pub struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

// === impl ObjectWriter ===

impl<'a> ObjectWriter<'a> {
    /// Writes the opening brace; only `finish` writes the closing one.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Writes the key; the caller writes the value to what is returned.
    pub fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        serde_json::to_writer(&mut *self.out, key).expect("a string always serializes into memory");
        self.out.push(b':');
        self.out
    }

    /// `value` is JSON already, and is written as it is.
    pub fn raw(&mut self, key: &str, value: &str) {
        self.key(key).extend_from_slice(value.as_bytes());
    }

    /// Writes a member that is a whole number.
    pub fn number(&mut self, key: &str, value: u64) {
        self.raw(key, &value.to_string());
    }

    /// Without it the object has no end.
    pub fn finish(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_order_and_bytes() {
        let members = Members::parse(r#"{"b": 1.50, "a\n": {"x" : [1, 2]}, "c":null}"#).unwrap();
        let seen: Vec<_> = members.0.iter().map(|(key, value)| (key.as_ref(), value.get())).collect();
        assert_eq!(seen, [("b", "1.50"), ("a\n", r#"{"x" : [1, 2]}"#), ("c", "null")]);
    }

    #[test]
    fn an_array_is_no_object() {
        assert!(Members::parse("[1]").is_err());
        assert!(Members::parse(r#"{"a": 1"#).is_err());
        assert_eq!(elements(r#"[1, "]" ]"#).unwrap().iter().map(|raw| raw.get()).collect::<Vec<_>>(), ["1", "\"]\""]);
        assert!(elements("{}").is_err());
    }

    #[test]
    fn an_object_is_written_as_it_was_read() {
        let mut out = Vec::new();
        let mut object = ObjectWriter::new(&mut out);
        object.raw("a", "1");
        object.number("q\"", 2);
        object.finish();
        assert_eq!(out, br#"{"a":1,"q\"":2}"#);
    }
}
