//! Conditions about documents of other indexes in a filter: `_foreign(author, born < 1900)` is true where `author` names a document of
//! which that is true. Nodes know only those of their own shards, so the ids are found first, and stand in its place:
//! `"author" IN ["a1", "a2"]`.
//!
//! The engine takes the conditions of one filter from its end and fills them in from its beginning. Where they stand side by side that
//! is the same; elsewhere one would stand for another, and what comes of it is no answer to what was asked.

use std::ops::Range;

use serde_json::Value;

use crate::placement::joins::KEPT;

/// How such a condition begins.
pub const NAME: &str = "_foreign";

/// So many documents of another index, and no more, may be meant by the conditions of one search.
pub const MOST: usize = 100;

/// A condition as it stands in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    at: Range<usize>,
    /// The field of the index itself.
    pub field: String,
    /// Where the field's name begins, behind a quotation mark.
    name_at: usize,
    /// What must be true of a document of the other index.
    pub inner: String,
}

/// A condition that the gateway cannot read: the engine says what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable;

/// A text's letters, as the engine tells words and quoted texts apart.
struct Reader<'t> {
    text: &'t str,
    at: usize,
}

/// Every expression of a filter, in order.
pub fn texts(filter: &mut Value) -> Vec<&mut String> {
    match filter {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter_mut().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

/// The conditions of an expression, in order. One inside another belongs to it.
pub fn conditions(text: &str) -> Result<Vec<Condition>, Unreadable> {
    let mut reader = Reader { text, at: 0 };
    let mut conditions = Vec::new();
    while let Some(letter) = reader.peek() {
        let begins = reader.at;
        if is_quote(letter) {
            reader.quoted()?;
        } else if reader.word() == NAME && reader.peek() == Some('(') {
            conditions.push(reader.condition(begins)?);
        } else if reader.at == begins {
            reader.at += letter.len_utf8();
        }
    }
    Ok(conditions)
}

/// True if the conditions of a filter stand side by side, so that it does not matter which comes first.
pub fn are_side_by_side(filter: &Value) -> Result<bool, Unreadable> {
    match filter {
        Value::String(text) => Ok(side_by_side(text, &conditions(text)?)),
        Value::Array(items) => {
            let mut with = Vec::new();
            for item in items {
                if counted(item)? > 0 {
                    with.push(item);
                }
            }
            // Items of one list stand side by side where each is a condition and no more.
            let is_one = |item: &&Value| item.as_str().is_some_and(is_whole);
            Ok(match with.as_slice() {
                [] => true,
                [only] => are_side_by_side(only)?,
                several => several.iter().all(is_one),
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Ok(true),
    }
}

/// The expression with ids in the place of its conditions.
pub fn with_ids(text: &str, conditions: &[Condition], ids: &[Vec<String>]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (condition, ids) in conditions.iter().zip(ids) {
        out.push_str(&text[from..condition.at.start]);
        let field = condition.field.replace('"', "\\\"");
        let ids: Vec<String> = ids.iter().map(|id| format!("\"{id}\"")).collect();
        out.push_str(&format!("\"{field}\" IN [{}]", ids.join(", ")));
        from = condition.at.end;
    }
    out.push_str(&text[from..]);
    out
}

/// The expression with the names that nodes have for the fields that `is_key`.
pub fn as_kept(text: &str, conditions: &[Condition], is_key: &dyn Fn(&str) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for condition in conditions.iter().filter(|condition| is_key(&condition.field)) {
        out.push_str(&text[from..condition.name_at]);
        out.push_str(KEPT);
        from = condition.name_at;
    }
    out.push_str(&text[from..]);
    out
}

/// True where a node says that it cannot filter by a field which it has under that name only.
pub fn is_about_a_kept_name(message: &str) -> bool {
    message.contains(&format!("ttribute `{KEPT}"))
}

/// A node's `message` about one of the expressions `kept`, as it would be about the client's own: a place in it is told by two columns,
/// and then by the text or the end of it.
pub fn as_written(message: &str, kept: &[String]) -> String {
    let plain = message.replace(KEPT, "");
    let Some((head, tail)) = message.rsplit_once('\n') else { return plain };
    let Some((columns, text)) = tail.split_once(' ') else { return plain };
    let Some((from, to)) = columns.split_once(':') else { return plain };
    let (Ok(from), Ok(to)) = (from.parse::<usize>(), to.parse::<usize>()) else { return plain };
    let Some(whole) = kept.iter().find(|kept| kept.contains(text)) else { return plain };
    let names: Vec<usize> = whole.match_indices(KEPT).map(|(at, _)| whole[..at].chars().count()).collect();
    // Columns are counted from one.
    let column = |column: usize| {
        let before = names.iter().filter(|name| **name + KEPT.len() < column).count();
        column - before * KEPT.len()
    };
    format!("{}\n{}:{} {}", head.replace(KEPT, ""), column(from), column(to), text.replace(KEPT, ""))
}

fn counted(filter: &Value) -> Result<usize, Unreadable> {
    match filter {
        Value::String(text) => Ok(conditions(text)?.len()),
        Value::Array(items) => items.iter().map(counted).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Ok(0),
    }
}

/// True for an expression that is one condition.
fn is_whole(text: &str) -> bool {
    conditions(text).is_ok_and(|conditions| match conditions.as_slice() {
        [only] => text[..only.at.start].trim().is_empty() && text[only.at.end..].trim().is_empty(),
        _ => false,
    })
}

fn side_by_side(text: &str, conditions: &[Condition]) -> bool {
    let [first, .., last] = conditions else { return true };
    let between: Vec<&str> = conditions.windows(2).map(|two| text[two[0].at.end..two[1].at.start].trim()).collect();
    let before = text[..first.at.start].trim_end().rsplit(|letter: char| !letter.is_alphanumeric()).next();
    let after = text[last.at.end..].trim_start().split(|letter: char| !letter.is_alphanumeric()).next();
    match between.first() {
        Some(&"AND") => between.iter().all(|word| *word == "AND") && before != Some("NOT"),
        Some(&"OR") => {
            // AND binds closer.
            between.iter().all(|word| *word == "OR") && !matches!(before, Some("NOT" | "AND")) && after != Some("AND")
        }
        Some(_) | None => false,
    }
}

fn is_quote(letter: char) -> bool {
    matches!(letter, '"' | '\'')
}

// === impl Reader ===

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn skip_blank(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Empty where no word begins.
    fn word(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        let is_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
        let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// What stands between two quotation marks, as it was written.
    fn quoted(&mut self) -> Result<&'t str, Unreadable> {
        let mark = self.peek().ok_or(Unreadable)?;
        let begins = self.at + mark.len_utf8();
        let mut letters = self.text[begins..].char_indices();
        while let Some((at, letter)) = letters.next() {
            if letter == mark {
                self.at = begins + at + mark.len_utf8();
                return Ok(&self.text[begins..begins + at]);
            }
            if letter == '\\' {
                letters.next();
            }
        }
        Err(Unreadable)
    }

    /// The opening parenthesis is next.
    fn condition(&mut self, begins: usize) -> Result<Condition, Unreadable> {
        self.at += 1;
        self.skip_blank();
        let quoted = self.peek().is_some_and(is_quote);
        let name_at = self.at + usize::from(quoted);
        let field = if quoted { self.quoted()? } else { self.word() }.to_owned();
        // An escape may stand for any letter.
        if field.is_empty() || field.contains('\\') {
            return Err(Unreadable);
        }
        self.skip_blank();
        if self.peek() != Some(',') {
            return Err(Unreadable);
        }
        self.at += 1;
        let inner = self.at;
        let mut open = 1;
        while let Some(letter) = self.peek() {
            if is_quote(letter) {
                self.quoted()?;
                continue;
            }
            self.at += letter.len_utf8();
            match letter {
                '(' => open += 1,
                ')' => open -= 1,
                _ => {}
            }
            if open == 0 {
                let inner = self.text[inner..self.at - 1].trim().to_owned();
                return Ok(Condition { at: begins..self.at, field, name_at, inner });
            }
        }
        Err(Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        conditions(text).unwrap().into_iter().map(|condition| (condition.field, condition.inner)).collect()
    }

    fn pair(field: &str, inner: &str) -> (String, String) {
        (field.to_owned(), inner.to_owned())
    }

    #[test]
    fn conditions_are_found_and_what_only_looks_like_one_is_not() {
        assert_eq!(
            read("a = 1 AND _foreign( author , born > 3 AND (x = ')' OR y = 2) )"),
            [pair("author", "born > 3 AND (x = ')' OR y = 2)")]
        );
        assert_eq!(
            read("_foreign('a b', _geoRadius(1, 2, 3)) OR NOT _foreign(c.d,e=\"f\\\")\")"),
            [pair("a b", "_geoRadius(1, 2, 3)"), pair("c.d", "e=\"f\\\")\"")]
        );
        for none in ["a = '_foreign(b, c)'", "_foreign = 1", "x_foreign(a, b)", "a = 1", "", "é = '_foreign'"] {
            assert_eq!(read(none), [], "{none}");
        }
        for wrong in
            ["_foreign(", "_foreign(a", "_foreign(a, b = 1", "_foreign(a, b = '", "_foreign('a\\'', b = 1)", "'"]
        {
            assert_eq!(conditions(wrong), Err(Unreadable), "{wrong}");
        }
        assert_eq!(read("_foreign(a, _foreign(b, c = 1))"), [pair("a", "_foreign(b, c = 1)")]);
    }

    #[test]
    fn ids_take_the_place_of_conditions() {
        let text = "a = 1 AND (_foreign(author, b = 1) OR _foreign('c d', e = 2)) AND f = 3";
        let ids = [vec!["a1".to_owned(), "a2".to_owned()], Vec::new()];
        assert_eq!(
            with_ids(text, &conditions(text).unwrap(), &ids),
            r#"a = 1 AND ("author" IN ["a1", "a2"] OR "c d" IN []) AND f = 3"#
        );
    }

    #[test]
    fn only_conditions_side_by_side_may_be_several() {
        for good in [
            json!("_foreign(a, b = 1)"),
            json!("x = 1 AND NOT _foreign(a, b = 1) OR y = 2"),
            json!("x = 1 AND (_foreign(a, b = 1) OR _foreign(c, d = 1) OR _foreign(c, d = 2))"),
            json!("x = 1 OR _foreign(a, b = 1) AND _foreign(c, d = 1)"),
            json!(["_foreign(a, b = 1)", "x = 1", " _foreign(c, d = 1) "]),
            json!(["x = 1", ["_foreign(a, b = 1)", "_foreign(c, d = 1)"]]),
            json!(null),
        ] {
            assert_eq!(are_side_by_side(&good), Ok(true), "{good}");
        }
        for bad in [
            json!("_foreign(a, b = 1) AND x = 1 OR _foreign(c, d = 1)"),
            json!("x = 1 AND _foreign(a, b = 1) OR _foreign(c, d = 1)"),
            json!("_foreign(a, b = 1) OR _foreign(c, d = 1) AND x = 1"),
            json!("NOT _foreign(a, b = 1) AND _foreign(c, d = 1)"),
            json!("_foreign(a, b = 1) AND NOT _foreign(c, d = 1)"),
            json!("_foreign(a, b = 1) OR _foreign(c, d = 1) AND _foreign(e, f = 1)"),
            json!(["_foreign(a, b = 1)", ["_foreign(c, d = 1)", "x = 1"]]),
            json!(["x = 1 AND _foreign(a, b = 1)", "_foreign(c, d = 1)"]),
        ] {
            assert_eq!(are_side_by_side(&bad), Ok(false), "{bad}");
        }
    }

    #[test]
    fn a_nodes_message_is_about_what_the_client_wrote() {
        let text = "é = 1 AND _foreign(author, born = 1) AND _foreign('other', x = 1)";
        let kept = as_kept(text, &conditions(text).unwrap(), &|field| field == "author");
        assert_eq!(kept, "é = 1 AND _foreign(_miroir_key_author, born = 1) AND _foreign('other', x = 1)");
        let told = |message: &str| as_written(message, std::slice::from_ref(&kept));
        assert_eq!(
            told(
                "Attribute `born` is not filterable.\n40:44 _foreign(_miroir_key_author, born = 1) AND _foreign('other', x = 1)"
            ),
            "Attribute `born` is not filterable.\n28:32 _foreign(author, born = 1) AND _foreign('other', x = 1)"
        );
        assert_eq!(told("x\n20:38 _foreign(_miroir_key_author, born = 1)"), "x\n20:26 _foreign(author, born = 1)");
        assert!(is_about_a_kept_name("Attribute `_miroir_key_author` is not filterable."));
        assert!(!is_about_a_kept_name("Field `_miroir_key_author` is not a foreign key"));
        assert_eq!(told("Field `_miroir_key_author` is none"), "Field `author` is none");
        assert_eq!(told("a\nb"), "a\nb");
    }
}
