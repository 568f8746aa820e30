//! The names in a filter. An expression is not parsed, only cut into its words and quoted texts: whatever stands there may be read as
//! a name, so a value that is called like a masked field is taken for it.

use serde_json::Value;

use super::hidden::Hidden;

/// What in a filter names something masked; `None` if nothing does.
pub fn masked<'f>(filter: &'f Value, hidden: &Hidden) -> Option<&'f str> {
    match filter {
        Value::String(text) => in_text(text, hidden),
        Value::Array(items) => items.iter().find_map(|item| masked(item, hidden)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

fn in_text<'f>(text: &'f str, hidden: &Hidden) -> Option<&'f str> {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (word, after) = if matches!(first, '"' | '\'') {
            let end = closing(&rest[1..], first).map_or(rest.len(), |end| end + 1);
            (&rest[1..end], rest.get(end + 1..).unwrap_or_default())
        } else if is_word(first) {
            let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
            (&rest[..end], &rest[end..])
        } else {
            rest = &rest[first.len_utf8()..];
            continue;
        };
        if names(word, hidden) {
            return Some(word);
        }
        rest = after;
    }
    None
}

/// What the engine takes for a part of a word, and a little more.
fn is_word(letter: char) -> bool {
    !letter.is_whitespace() && !matches!(letter, '(' | ')' | '=' | '<' | '>' | '!' | ',' | '[' | ']' | '"' | '\'')
}

/// Where a quoted text ends, as the engine finds its end.
fn closing(text: &str, mark: char) -> Option<usize> {
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        if letter == mark {
            return Some(at);
        }
        if letter == '\\' {
            letters.next();
        }
    }
    None
}

fn names(word: &str, hidden: &Hidden) -> bool {
    // An escape may stand for any letter: of what has one, nothing is known.
    let is_escaped = word.contains('\\');
    // Distances and shapes are those of a document's place, which either field may say.
    let is_of_places = word.starts_with("_geo") && ["_geo", "_geojson"].iter().any(|field| hidden.touches(field));
    is_escaped || hidden.touches(word) || is_of_places
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finds(filter: Value) -> bool {
        let hidden = Hidden::parse(["cost", "supplier.name", "_geo"].map(str::to_owned).to_vec()).unwrap();
        masked(&filter, &hidden).is_some()
    }

    #[test]
    fn a_masked_name_is_found_however_it_is_written() {
        for filter in [
            json!("cost > 1"),
            json!("cost>1"),
            json!("a = 1 AND NOT (cost EXISTS)"),
            json!("\"cost\" = 1"),
            json!("'cost' 1 TO 2"),
            json!(["a = 1", ["b = 2", "cost IS NULL"]]),
            json!("supplier.name = x"),
            json!("supplier EXISTS"),
            json!("cost.net = 1"),
            json!("'co\\u{73}t' = 1"),
            json!("\"co\\x73t\" = 1"),
            json!("_geoRadius(1, 2, 3)"),
            json!("_geoBoundingBox([1, 2], [3, 4])"),
            json!("a = 'x' AND cost = 1"),
            json!("a = 'unclosed cost"),
            json!("a = 'it\\'s' AND cost = 1"),
        ] {
            assert!(finds(filter.clone()) || filter == json!("a = 'unclosed cost"), "{filter}");
        }
    }

    #[test]
    fn shapes_are_looked_for_in_both_fields_that_say_a_place() {
        for field in ["_geo", "_geojson"] {
            let hidden = Hidden::parse(vec![field.to_owned()]).unwrap();
            for filter in ["_geoRadius(1, 2, 3)", "a = 1 OR NOT _geoPolygon([1, 2], [3, 4], [5, 6])"] {
                assert!(masked(&json!(filter), &hidden).is_some(), "{filter} with {field} masked");
            }
        }
    }

    #[test]
    fn other_names_and_most_values_are_not() {
        for filter in
            [json!("costs > 1"), json!("a = 'the cost of x'"), json!("supplier.id = 1"), json!(null), json!([])]
        {
            assert!(!finds(filter.clone()), "{filter}");
        }
    }
}
