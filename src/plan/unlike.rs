//! Comparisons `field != value` in a filter, where nodes do not know the same fields.
//!
//! To an engine that has never seen a field, `colour != red` is true of no document; to one that knows the field from any document it is
//! true of all that are not red, those without a colour too. `NOT colour = red` is true of these on either. So where some nodes know a
//! field and others do not, nodes are sent that instead: one node with all documents knows what any of them knows.

use std::ops::Range;

use serde_json::Value;

use super::foreign_filter::texts;

/// What no document has.
const NOTHING: &str = "\"_miroir_nothing\"";

/// `field != value` as it stands in a text.
struct Comparison {
    at: Range<usize>,
    field: Range<usize>,
    value: Range<usize>,
}

/// A text's letters, as the engine tells words and quoted texts apart.
struct Letters<'t> {
    text: &'t str,
    at: usize,
}

/// The fields that a filter compares so, as it writes them, each once.
pub fn fields(filter: &Value) -> Vec<String> {
    let mut filter = filter.clone();
    let mut fields: Vec<String> = Vec::new();
    for text in texts(&mut filter) {
        for comparison in comparisons(text) {
            let field = text[comparison.field].to_owned();
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
    }
    fields
}

/// Finds no document on a node that does not know a field, and as good as all on one that does.
pub fn knows(field: &str) -> String {
    format!("{field} != {NOTHING}")
}

/// The filter where each such comparison of one of `fields` is one that all nodes understand alike.
pub fn alike(filter: &Value, fields: &[String]) -> Value {
    let mut filter = filter.clone();
    for text in texts(&mut filter) {
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        for Comparison { at, field, value } in comparisons(text) {
            if fields.iter().any(|known| *known == text[field.clone()]) {
                out.push_str(&text[from..at.start]);
                out.push_str(&format!("NOT {} = {}", &text[field], &text[value]));
                from = at.end;
            }
        }
        out.push_str(&text[from..]);
        *text = out;
    }
    filter
}

/// None in a text that the engine cannot read.
fn comparisons(text: &str) -> Vec<Comparison> {
    let mut letters = Letters { text, at: 0 };
    let mut found = Vec::new();
    let mut last: Option<Range<usize>> = None;
    while let Some(letter) = letters.peek() {
        if let Some(word) = letters.value() {
            last = Some(word);
        } else if text[letters.at..].starts_with("!=") {
            letters.at += 2;
            letters.skip_blank();
            if let (Some(field), Some(value)) = (last.take(), letters.value()) {
                found.push(Comparison { at: field.start..value.end, field, value });
            }
        } else if matches!(letter, '"' | '\'') {
            return Vec::new();
        } else {
            letters.at += letter.len_utf8();
            if !letter.is_whitespace() {
                last = None;
            }
        }
    }
    found
}

// === impl Letters ===

impl Letters<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn skip_blank(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    /// A word, or what stands between two quotation marks with these; `None` where neither begins, or does not end.
    fn value(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let rest = &self.text[start..];
        let mark = rest.chars().next()?;
        if matches!(mark, '"' | '\'') {
            let mut letters = rest.char_indices().skip(1);
            while let Some((at, letter)) = letters.next() {
                if letter == mark {
                    self.at = start + at + 1;
                    return Some(start..self.at);
                }
                if letter == '\\' {
                    letters.next();
                }
            }
            return None;
        }
        let is_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
        self.at = start + rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        (self.at > start).then_some(start..self.at)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_are_compared_so_are_found() {
        for (filter, named) in [
            (json!("a != 1"), vec!["a"]),
            (json!("a!=1 AND NOT (b.c  !=  'x y' OR a != \"2\")"), vec!["a", "b.c"]),
            (json!(["a = 1", ["\"d \\\" e\" != f", "'g' != h"]]), vec!["\"d \\\" e\"", "'g'"]),
            (json!("a = '!=' AND b = \"c != d\""), vec![]),
            (json!("a IN [b] != c"), vec![]),
            (json!("a != "), vec![]),
            (json!("a != 'b"), vec![]),
            (json!("é != ö"), vec!["é"]),
            (json!(null), vec![]),
        ] {
            assert_eq!(fields(&filter), named, "{filter}");
        }
    }

    #[test]
    fn they_are_compared_as_all_nodes_understand_it() {
        let filter = json!(["x = 1 AND NOT a!=1 OR (b  !=  'x y')", ["a != -1.5", "c != d"], "_miroir_shard != \"}\""]);
        assert_eq!(
            alike(&filter, &["a".to_owned(), "b".to_owned()]),
            json!(["x = 1 AND NOT NOT a = 1 OR (NOT b = 'x y')", ["NOT a = -1.5", "c != d"], "_miroir_shard != \"}\""])
        );
        assert_eq!(alike(&filter, &[]), filter);
    }
}
