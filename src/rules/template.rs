//! Texts with values of the request in them: `tenant_id = ${quote(claims.tenant)}`.
//!
//! Into a filter a value goes only as a quoted one, so that it is compared and never read as a part of the expression.

use serde_json::Value;

use super::subject::Subject;
use super::term::{Term, scalar};

/// A text that is put together for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Plain(Term),
    /// As a value of a filter.
    Quote(Term),
    /// A list as the values after `IN`.
    List(Term),
}

/// A value that is not there, or is none that could stand here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub template: String,
}

// === impl Template ===

impl Template {
    /// A text of any kind. The message says what is wrong with it.
    pub fn text(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (inner, after) = after.split_once('}').ok_or("`${` without a closing `}`")?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::parse(inner.trim())?);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self { text: text.to_owned(), parts })
    }

    /// A filter: its values are quoted, and stand where a value can stand.
    pub fn filter(text: &str) -> Result<Self, String> {
        let template = Self::text(text)?;
        let mut open: Option<char> = None;
        for part in &template.parts {
            match part {
                Part::Text(text) => open = quote_left_open(text, open),
                Part::Plain(_) => {
                    return Err("a value goes into a filter as `${quote(...)}` or `${list(...)}`".to_owned());
                }
                Part::Quote(_) | Part::List(_) if open.is_some() => {
                    return Err("`${quote(...)}` brings its own quotation marks: take those around it away".to_owned());
                }
                Part::Quote(_) | Part::List(_) => {}
            }
        }
        if open.is_some() {
            return Err("a quotation mark without its other".to_owned());
        }
        if text.trim().is_empty() {
            return Err("an empty filter".to_owned());
        }
        Ok(template)
    }

    /// The text for one request.
    pub fn render(&self, subject: &Subject<'_>) -> Result<String, Missing> {
        let mut out = String::new();
        for part in &self.parts {
            let text = match part {
                Part::Text(text) => Some(text.clone()),
                Part::Plain(term) => term.text(subject),
                Part::Quote(term) => term.text(subject).map(|text| quote(&text)),
                Part::List(term) => term.value(subject).and_then(|value| list(&value)),
            };
            out.push_str(&text.ok_or_else(|| Missing { template: self.text.clone() })?);
        }
        Ok(out)
    }

    /// The value itself where the text is nothing but one, of whatever kind; else the text.
    pub fn value(&self, subject: &Subject<'_>) -> Result<Value, Missing> {
        match &self.parts[..] {
            [Part::Plain(term)] => term.value(subject).ok_or_else(|| Missing { template: self.text.clone() }),
            _ => self.render(subject).map(Value::String),
        }
    }
}

// === impl Part ===

impl Part {
    fn parse(inner: &str) -> Result<Self, String> {
        let of = |function: &str| {
            let inner = inner.strip_prefix(function)?.trim_start().strip_prefix('(')?;
            inner.strip_suffix(')').map(str::trim)
        };
        if let Some(inner) = of("quote") {
            return Term::parse(inner).map(Self::Quote);
        }
        if let Some(inner) = of("list") {
            return Term::parse(inner).map(Self::List);
        }
        Term::parse(inner).map(Self::Plain)
    }
}

/// A value as the engine's filter language quotes it. The engine ends it at the first quotation mark without a backslash, takes the
/// backslash from before those that have one, and then reads what is left as an escaped text: so both are escaped, once.
/// Example: `a"b\` is written `"a\"b\\"`.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
    out
}

/// `["a", "b"]`; a single value is a list of one.
fn list(value: &Value) -> Option<String> {
    let items: Option<Vec<String>> = match value {
        Value::Array(items) => items.iter().map(|item| scalar(item).map(|text| quote(&text))).collect(),
        single => scalar(single).map(|text| vec![quote(&text)]),
    };
    items.map(|items| format!("[{}]", items.join(", ")))
}

/// The quotation mark that is open after `text`, if there was `open` before it.
fn quote_left_open(text: &str, mut open: Option<char>) -> Option<char> {
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (open, letter) {
            (Some(_), '\\') => {
                letters.next();
            }
            (Some(mark), letter) if mark == letter => open = None,
            (None, '"' | '\'') => open = Some(letter),
            (Some(_) | None, _) => {}
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::rules::subject::tests::caller;

    fn rendered(text: &str, claims: Value) -> Result<String, Missing> {
        let caller = caller(claims, "", &[]);
        Template::filter(text).unwrap().render(&Subject::of(&caller, "search", Some("a")))
    }

    #[test]
    fn values_are_quoted_and_lists_are_lists() {
        let one = rendered("tenant = ${quote(claims.tenant)} AND x = 1", json!({"tenant": "a\"b\\"}));
        assert_eq!(one.unwrap(), r#"tenant = "a\"b\\" AND x = 1"#);
        assert_eq!(rendered("t IN ${list(claims.all)}", json!({"all": ["a", 7]})).unwrap(), r#"t IN ["a", "7"]"#);
        assert_eq!(rendered("t = ${quote(claims.n)}", json!({"n": 7})).unwrap(), r#"t = "7""#);
        assert!(rendered("t = ${quote(claims.none)}", json!({})).is_err());
        assert!(rendered("t = ${quote(claims.list)}", json!({"list": ["a"]})).is_err(), "a list is no value");
    }

    #[test]
    fn a_filter_that_could_be_broken_out_of_is_refused() {
        for text in [
            "t = ${claims.tenant}",
            "t = \"${quote(claims.tenant)}\"",
            "t = 'x ${quote(claims.tenant)}'",
            "t = 'x",
            "t = ${quote(claims.tenant)",
            "t = ${quote(claim.tenant)}",
            " ",
        ] {
            assert!(Template::filter(text).is_err(), "{text}");
        }
        assert!(Template::filter(r"t = 'it\'s' AND u = ${quote(claims.u)}").is_ok());
    }

    /// What the engine makes of the value after `t = `, by its rules: to the first mark without a backslash; `\"` is a mark; then
    /// escapes are read. `None` if anything is left behind the value.
    fn as_the_engine_reads(filter: &str) -> Option<String> {
        let quoted = filter.strip_prefix("t = \"")?;
        let mut end = None;
        let mut letters = quoted.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    end = Some(at);
                    break;
                }
                '\\' => {
                    letters.next();
                }
                _ => {}
            }
        }
        let end = end?;
        if !quoted[end + 1..].is_empty() {
            return None;
        }
        let fragment = quoted[..end].replace("\\\"", "\"");
        let mut read = String::new();
        let mut letters = fragment.chars();
        while let Some(letter) = letters.next() {
            // No other escape can be left: a backslash is followed by its double.
            read.push(if letter == '\\' { letters.next().filter(|next| *next == '\\')? } else { letter });
        }
        Some(read)
    }

    proptest! {
        #[test]
        fn a_value_stays_one_value_whatever_is_in_it(value in r#"[a"'\\ ()=\n{}$x]{0,12}|.*"#) {
            let filter = rendered("t = ${quote(claims.t)}", json!({"t": value}));
            prop_assert_eq!(as_the_engine_reads(&filter.unwrap()), Some(value));
        }
    }
}
