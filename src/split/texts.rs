//! The texts in a value: its strings, and its numbers and truths as they are written out.

use super::scanner::{Scanner, string};

/// An array or an object that lies in so many, itself one of them, is not looked into.
const DEEPEST: usize = 128;

/// The rest of a value cannot be read: it is too deep, or holds what is JSON but no text or number.
struct Stopped;

/// Hands over every text in `value`, which is valid JSON, with the path that it lies under: `path`, and the names of objects within.
pub(super) fn texts(value: &str, path: &mut String, on_text: &mut impl FnMut(&str, &str)) {
    // What was found before it stopped is found.
    let _ = walk(value, path, DEEPEST - 1, on_text);
}

/// `depth` more levels may follow.
fn walk(value: &str, path: &mut String, depth: usize, on_text: &mut impl FnMut(&str, &str)) -> Result<(), Stopped> {
    match value.as_bytes().first() {
        Some(b'"') => on_text(path, &string(value).ok_or(Stopped)?),
        Some(b'{') => {
            let depth = depth.checked_sub(1).ok_or(Stopped)?;
            let level = path.len();
            let mut scanner = Scanner::new(value);
            let mut within = scanner.enter(b'{').map_err(|_| Stopped)?;
            while let Some(name) = scanner.member(&mut within).map_err(|_| Stopped)? {
                path.push('.');
                path.push_str(&name);
                walk(scanner.value().map_err(|_| Stopped)?, path, depth, on_text)?;
                path.truncate(level);
            }
        }
        Some(b'[') => {
            let depth = depth.checked_sub(1).ok_or(Stopped)?;
            let mut scanner = Scanner::new(value);
            let mut within = scanner.enter(b'[').map_err(|_| Stopped)?;
            while scanner.element(&mut within).map_err(|_| Stopped)? {
                walk(scanner.value().map_err(|_| Stopped)?, path, depth, on_text)?;
            }
        }
        Some(b't') => on_text(path, "true"),
        Some(b'f') => on_text(path, "false"),
        Some(b'-' | b'0'..=b'9') if is_written_out(value) => on_text(path, value),
        Some(b'-' | b'0'..=b'9') => {
            let number: serde_json::Number = serde_json::from_str(value).map_err(|_| Stopped)?;
            on_text(path, &number.to_string());
        }
        Some(_) | None => {}
    }
    Ok(())
}

/// True if a number that is read and written again surely is as before: a whole one of up to 18 digits, or one of up to 15 whose
/// last is no zero, which a number of 64 bits can tell from all others. A zero may have a sign, or come before more of them: no.
fn is_written_out(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number).as_bytes();
    let all = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
    match digits.iter().position(|byte| *byte == b'.') {
        None => digits.len() <= 18 && digits != b"0" && all(digits) || number == "0",
        Some(point) => {
            let (whole, fraction) = (&digits[..point], &digits[point + 1..]);
            let is_small = whole == b"0" && fraction.first() == Some(&b'0');
            digits.len() <= 16 && !is_small && fraction.last() != Some(&b'0') && all(whole) && all(fraction)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;
    use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

    use super::*;

    type Found = Vec<(String, String)>;

    /// The same by `serde_json`, as long as that reads on.
    struct Walk<'a>(&'a mut String, &'a mut Found);

    impl Walk<'_> {
        fn take<E>(self, text: &str) -> Result<(), E> {
            self.1.push((self.0.clone(), text.to_owned()));
            Ok(())
        }
    }

    impl<'de> DeserializeSeed<'de> for Walk<'_> {
        type Value = ();

        fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_any(self)
        }
    }

    impl<'de> Visitor<'de> for Walk<'_> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a value")
        }

        fn visit_bool<E>(self, value: bool) -> Result<(), E> {
            self.take(if value { "true" } else { "false" })
        }

        fn visit_i64<E>(self, value: i64) -> Result<(), E> {
            self.take(&value.to_string())
        }

        fn visit_u64<E>(self, value: u64) -> Result<(), E> {
            self.take(&value.to_string())
        }

        fn visit_f64<E>(self, value: f64) -> Result<(), E> {
            self.take(&serde_json::Number::from_f64(value).map(|number| number.to_string()).unwrap_or_default())
        }

        fn visit_str<E>(self, value: &str) -> Result<(), E> {
            self.take(value)
        }

        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
            while items.next_element_seed(Walk(&mut *self.0, &mut *self.1))?.is_some() {}
            Ok(())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
            let level = self.0.len();
            while let Some(key) = fields.next_key::<Cow<'_, str>>()? {
                self.0.push('.');
                self.0.push_str(&key);
                fields.next_value_seed(Walk(&mut *self.0, &mut *self.1))?;
                self.0.truncate(level);
            }
            Ok(())
        }
    }

    fn check(value: &str) {
        let mut expected = Vec::new();
        let walk = Walk(&mut "a".to_owned(), &mut expected);
        let _ = walk.deserialize(&mut serde_json::Deserializer::from_str(value));
        let mut found = Vec::new();
        texts(value, &mut "a".to_owned(), &mut |path, text| found.push((path.to_owned(), text.to_owned())));
        assert_eq!(found, expected, "{value}");
    }

    #[test]
    fn numbers_are_as_they_are_read() {
        let numbers = [
            "0",
            "-0",
            "7",
            "-7",
            "0.5",
            "-0.5",
            "0.0",
            "1.0",
            "1.50",
            "0.05",
            "0.00001",
            "42.57952",
            "1e3",
            "1E-7",
            "999999999999999999",
            "1000000000000000000",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "0.1234567890123456789",
            "123456789012.345",
            "1234567890123.456",
            "12345678901234567.5",
            "900719925474099.3",
            "1e400",
        ];
        numbers.iter().for_each(|number| check(&format!("[\"a\",{number},\"b\"]")));
    }

    #[test]
    fn what_cannot_be_read_ends_a_value() {
        check(r#"["a", "\ud800", "b"]"#);
        check(r#"{"p": "a", "\ud800": "b", "c": "d"}"#);
        check(r#"{"p": {"q\u0041": ["x\n", null, true, {"r": false}]}, "": {"": "y"}}"#);
        for depth in 124..=132 {
            check(&format!("[\"a\",{}\"deep\"{},\"b\"]", "[".repeat(depth), "]".repeat(depth)));
            check(&format!("{}\"deep\"{}", "{\"o\":".repeat(depth), "}".repeat(depth)));
        }
    }

    proptest! {
        #[test]
        fn a_number_written_out_is_read_the_same(number in "-?(0|[1-9][0-9]{0,19})([.][0-9]{1,18})?(e-?[0-9]{1,3})?") {
            check(&number);
        }

        #[test]
        fn a_short_number_is_read_the_same(number in "-?(0|[1-9][0-9]{0,8})[.][0-9]{1,7}") {
            check(&number);
        }
    }
}
