//! JSON read in one pass: every byte is looked at and checked once, and nothing is built of it but slices.
//!
//! What a text must be is what `serde_json` takes for one value; `merge/scan_tests.rs` holds the two against each other.

use std::borrow::Cow;

/// Why a text is not the JSON expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("it is not in UTF-8")]
    Encoding,
    #[error("it ends too soon")]
    Ends,
    #[error("the byte at {at} does not belong there")]
    Byte { at: usize },
    #[error("a value is not of the kind expected")]
    Value,
}

/// A text and how far it was read.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// The arrays and objects that are open within the value being stepped over, as their first bytes.
    open: Vec<u8>,
}

/// Where in an array or an object a scanner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    Begin,
    Middle,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Marks the bytes of `word` that end a run of plain text: quotes, backslashes, control characters. Marks above the lowest may be
/// wrong, because a subtraction borrows from the byte above.
fn special(word: u64) -> u64 {
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64)) | below_space
}

// === impl Malformed ===

impl From<Malformed> for serde_json::Error {
    fn from(malformed: Malformed) -> Self {
        serde::de::Error::custom(malformed)
    }
}

// === impl Scanner ===

impl<'a> Scanner<'a> {
    /// Nothing is checked before it is read.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, open: Vec::new() }
    }

    /// An error where the bytes are no UTF-8.
    pub fn of_bytes(bytes: &'a [u8]) -> Result<Self, Malformed> {
        std::str::from_utf8(bytes).map(Self::new).map_err(|_| Malformed::Encoding)
    }

    /// How many bytes were read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is no white space; it is not read yet.
    #[inline(always)]
    pub fn peek(&mut self) -> Result<u8, Malformed> {
        match self.byte() {
            // Engines write without white space.
            Some(byte) if byte > b' ' => Ok(byte),
            Some(_) | None => self.peek_behind_space(),
        }
    }

    #[cold]
    fn peek_behind_space(&mut self) -> Result<u8, Malformed> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(byte),
                None => return Err(Malformed::Ends),
            }
        }
    }

    /// Checks that nothing but white space follows.
    pub fn end(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Err(_) => Ok(()),
            Ok(_) => Err(self.unexpected()),
        }
    }

    /// The text from `from` to what was read last.
    pub fn since(&self, from: usize) -> &'a str {
        &self.text[from..self.at]
    }

    /// Reads the first byte of an array or an object.
    pub fn enter(&mut self, bracket: u8) -> Result<Within, Malformed> {
        self.expect(bracket)?;
        Ok(Within::Begin)
    }

    /// Goes to the next element; false behind the last one.
    pub fn element(&mut self, within: &mut Within) -> Result<bool, Malformed> {
        self.goes_on(within, b']')
    }

    /// Goes to the value of the next member and returns its name; `None` behind the last one.
    pub fn member(&mut self, within: &mut Within) -> Result<Option<Cow<'a, str>>, Malformed> {
        let Some((_, name)) = self.quoted_member(within)? else { return Ok(None) };
        string(name).map(Some).ok_or(Malformed::Value)
    }

    /// The same with the name as it is written, quotes and escapes too, and where it begins.
    pub fn quoted_member(&mut self, within: &mut Within) -> Result<Option<(usize, &'a str)>, Malformed> {
        if !self.goes_on(within, b'}')? {
            return Ok(None);
        }
        self.peek()?;
        let from = self.at;
        self.name()?;
        let name = self.since(from);
        self.expect(b':')?;
        Ok(Some((from, name)))
    }

    /// Reads a value, whatever it is.
    pub fn value(&mut self) -> Result<&'a str, Malformed> {
        self.peek()?;
        let from = self.at;
        self.step_over()?;
        Ok(self.since(from))
    }

    /// Reads a number; `None` where `null` stands in its place.
    pub fn number(&mut self) -> Result<Option<f64>, Malformed> {
        let value = self.value()?;
        number(value).ok_or(Malformed::Value)
    }

    #[inline(always)]
    fn goes_on(&mut self, within: &mut Within, end: u8) -> Result<bool, Malformed> {
        let byte = self.peek()?;
        if byte == end {
            self.at += 1;
            return Ok(false);
        }
        match within {
            Within::Begin => *within = Within::Middle,
            Within::Middle => self.expect(b',')?,
        }
        Ok(true)
    }

    /// Reads a member's name with its quotes.
    #[inline(always)]
    fn name(&mut self) -> Result<(), Malformed> {
        if self.peek()? != b'"' {
            return Err(self.unexpected());
        }
        self.string()
    }

    fn step_over(&mut self) -> Result<(), Malformed> {
        loop {
            match self.peek()? {
                b'"' => self.string()?,
                b'-' | b'0'..=b'9' => self.digits()?,
                bracket @ (b'{' | b'[') => {
                    self.at += 1;
                    if self.peek()? == closing(bracket) {
                        self.at += 1;
                    } else {
                        self.open.push(bracket);
                        if bracket == b'{' {
                            self.name()?;
                            self.expect(b':')?;
                        }
                        continue;
                    }
                }
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => return Err(self.unexpected()),
            }
            // A value has ended, and maybe what it was the last of.
            loop {
                let Some(bracket) = self.open.last().copied() else { return Ok(()) };
                let byte = self.peek()?;
                if byte == b',' {
                    self.at += 1;
                    if bracket == b'{' {
                        self.name()?;
                        self.expect(b':')?;
                    }
                    break;
                }
                if byte != closing(bracket) {
                    return Err(self.unexpected());
                }
                self.at += 1;
                self.open.pop();
            }
        }
    }

    /// Reads a string from its opening quote on.
    #[inline(always)]
    fn string(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        let bytes = self.text.as_bytes();
        loop {
            while let Some(chunk) = bytes[self.at..].first_chunk::<8>() {
                let marks = special(u64::from_le_bytes(*chunk));
                if marks != 0 {
                    self.at += marks.trailing_zeros() as usize / 8;
                    break;
                }
                self.at += 8;
            }
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0..=0x1f) => return Err(self.unexpected()),
                // Near the end of the text.
                Some(_) => self.at += 1,
                None => return Err(Malformed::Ends),
            }
        }
    }

    #[cold]
    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        match self.byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                for _ in 0..4 {
                    self.at += 1;
                    if !self.byte().ok_or(Malformed::Ends)?.is_ascii_hexdigit() {
                        return Err(self.unexpected());
                    }
                }
                self.at += 1;
            }
            Some(_) => return Err(self.unexpected()),
            None => return Err(Malformed::Ends),
        }
        Ok(())
    }

    /// Reads a number from its first byte on.
    fn digits(&mut self) -> Result<(), Malformed> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        // A zero stands alone.
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.some_digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        if matches!(self.byte(), Some(b'0'..=b'9')) {
            return Err(self.unexpected());
        }
        Ok(())
    }

    fn some_digits(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from { Err(self.unexpected()) } else { Ok(()) }
    }

    fn word(&mut self, word: &str) -> Result<(), Malformed> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.unexpected());
        }
        self.at += word.len();
        Ok(())
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek()? != byte {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    #[inline(always)]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[cold]
    fn unexpected(&self) -> Malformed {
        if self.at < self.text.len() { Malformed::Byte { at: self.at } } else { Malformed::Ends }
    }
}

/// The number that is written as the JSON value `value`: `Some(None)` for `null`, `None` for what is no number.
pub fn number(value: &str) -> Option<Option<f64>> {
    if value == "null" {
        return Some(None);
    }
    if !value.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    // Most scores are 0.0 or 1.0, and what is counted is small.
    let whole = value.strip_suffix(".0").unwrap_or(value).as_bytes();
    if whole.len() < 5 && whole.iter().all(u8::is_ascii_digit) {
        let whole = whole.iter().fold(0, |whole, digit| whole * 10 + u32::from(digit - b'0'));
        return Some(Some(f64::from(whole)));
    }
    value.parse().ok().filter(|number: &f64| number.is_finite()).map(Some)
}

/// The text that is written as the JSON value `value`, if it is one.
pub fn string(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    // Most are so short that a plain loop has seen them before a vector instruction is set up.
    if !inner.as_bytes().contains(&b'\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(value).ok().map(Cow::Owned)
}

fn closing(bracket: u8) -> u8 {
    if bracket == b'{' { b'}' } else { b']' }
}
