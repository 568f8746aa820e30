//! Words that begin as the query's last one and are not marked.
//!
//! A node that does not know the last word itself, but many that begin so, does not mark them. One node that knows it
//! marks them all.

use std::ops::Range;

use serde_json::{Map, Value, json};
use unicode_normalization::char::is_combining_mark;

use super::{Marking, letters};

/// A text of a hit: its attribute, its place in a list, and itself.
type Leaf<'a> = (String, Option<usize>, &'a str);

// === impl Marking ===

impl Marking {
    /// Where in `text` words begin so, if `before` stands before it.
    fn begun(&self, text: &str, before: Option<char>) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut before = before;
        for (start, letter) in text.char_indices() {
            let is_first = !before.is_some_and(|before| before.is_alphanumeric() || is_combining_mark(before));
            before = Some(letter);
            if is_first && letter.is_alphanumeric() {
                found.extend(self.length_of(&text[start..]).map(|length| start..start + length));
            }
        }
        found
    }

    /// How many bytes of `text` are the word.
    fn length_of(&self, text: &str) -> Option<usize> {
        let mut seen = Vec::new();
        for (at, letter) in text.char_indices() {
            if seen.len() >= self.word.len() && !is_combining_mark(letter) {
                return (seen == self.word).then_some(at);
            }
            seen.extend(letters(letter.encode_utf8(&mut [0; 4])));
        }
        (seen == self.word).then_some(text.len())
    }

    /// True if a word of `hit` should be marked if some node knows the last word itself.
    pub(super) fn misses(&self, hit: &Value) -> bool {
        let formatted = self.highlighted_of(&hit["_formatted"]);
        let in_formatted = formatted.into_iter().any(|(_, _, text)| self.with_all(text).is_some());
        let positions = &hit["_matchesPosition"];
        in_formatted
            || positions.is_object() && leaves_of(hit).iter().any(|leaf| !self.unmarked(leaf, positions).is_empty())
    }

    fn highlighted_of<'a>(&self, formatted: &'a Value) -> Vec<Leaf<'a>> {
        let mut leaves = leaves_of(formatted);
        leaves.retain(|(attribute, _, _)| self.highlights(attribute));
        leaves
    }

    /// True for every attribute where the client asked for `*`.
    pub(super) fn highlights(&self, attribute: &str) -> bool {
        self.highlighted.iter().any(|name| name == "*" || name == attribute)
    }

    /// `text` with a mark at each word that begins so; `None` if all have one.
    pub(super) fn with_all(&self, text: &str) -> Option<String> {
        let mut changed = String::with_capacity(text.len());
        let mut missed = false;
        let mut last = None;
        for (at, part) in text.split(self.before.as_str()).enumerate() {
            // All parts but the first begin with a mark.
            let (marked, rest) = if at == 0 { ("", part) } else { part.split_once(self.after.as_str())? };
            if at > 0 {
                changed.extend([&self.before, marked, &self.after]);
            }
            last = marked.chars().next_back().or(last);
            let mut end = 0;
            for found in self.begun(rest, last) {
                changed.extend([&rest[end..found.start], &self.before, &rest[found.clone()], &self.after]);
                end = found.end;
                missed = true;
            }
            changed.push_str(&rest[end..]);
            last = rest.chars().next_back().or(last);
        }
        missed.then_some(changed)
    }

    /// The words of a leaf that begin so and have no place in `positions`. Of a list the engine shows the places in the last
    /// text that has any, so that those in earlier ones are not missing.
    fn unmarked(&self, (attribute, index, text): &Leaf<'_>, positions: &Value) -> Vec<Range<usize>> {
        let places = || positions[attribute.as_str()].as_array().into_iter().flatten();
        let index = index.map(|index| index as u64);
        if places().any(|place| index_of(place) > index) {
            return Vec::new();
        }
        let own = places().filter(|place| index_of(place) == index);
        let marked: Vec<usize> = own.filter_map(|place| Some(place["start"].as_u64()? as usize)).collect();
        self.begun(text, None).into_iter().filter(|found| !marked.contains(&found.start)).collect()
    }

    /// Adds the places of words of `hit` that begin so.
    pub(super) fn add_positions(&self, hit: &Value, positions: &mut Value) {
        for leaf in leaves_of(hit) {
            let unmarked = self.unmarked(&leaf, positions);
            let (attribute, index, _) = leaf;
            if unmarked.is_empty() {
                continue;
            }
            let Some(all) = positions.as_object_mut() else { return };
            let Some(places) = all.entry(attribute).or_insert_with(|| json!([])).as_array_mut() else { continue };
            places.extend(unmarked.into_iter().map(|found| {
                let mut place = Map::from_iter([
                    ("start".to_owned(), found.start.into()),
                    ("length".to_owned(), found.len().into()),
                ]);
                place.extend(index.map(|index| ("indices".to_owned(), json!([index]))));
                Value::Object(place)
            }));
            let last = places.iter().map(index_of).max().flatten();
            places.retain(|place| index_of(place) == last);
            places.sort_by_key(|place| place["start"].as_u64());
        }
    }
}

/// Where in a list the text of `place` stands.
fn index_of(place: &Value) -> Option<u64> {
    place["indices"].get(0).and_then(Value::as_u64)
}

/// The texts of a hit's own attributes.
fn leaves_of(hit: &Value) -> Vec<Leaf<'_>> {
    let mut leaves = Vec::new();
    for (name, value) in hit.as_object().into_iter().flatten().filter(|(name, _)| !name.starts_with('_')) {
        collect(name, value, &mut leaves);
    }
    leaves
}

fn collect<'a>(path: &str, value: &'a Value, leaves: &mut Vec<Leaf<'a>>) {
    match value {
        Value::String(text) => leaves.push((path.to_owned(), None, text)),
        Value::Array(items) => {
            let texts = items.iter().enumerate().filter_map(|(at, item)| Some((at, item.as_str()?)));
            leaves.extend(texts.map(|(at, text)| (path.to_owned(), Some(at), text)));
        }
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| collect(&format!("{path}.{name}"), value, leaves));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::marking;
    use super::*;

    #[test]
    fn each_word_that_begins_so_gets_a_mark() {
        let marking = marking("to ca").unwrap();
        let marked = |text: &str| marking.with_all(text);
        assert_eq!(marked("Call the càlm cat's scab").unwrap(), "<em>Ca</em>ll the <em>cà</em>lm <em>ca</em>t's scab");
        assert_eq!(marked("well-called e\u{301}cal ca").unwrap(), "well-<em>ca</em>lled e\u{301}cal <em>ca</em>");
        // What is marked already stays so, and what goes on after a mark does not begin a word.
        assert_eq!(marked("<em>ca</em>lm, <em>s</em>cal"), None);
        assert_eq!(marked("<em>ca</em>lm call").unwrap(), "<em>ca</em>lm <em>ca</em>ll");
        assert_eq!(marked("nothing"), None);
        assert_eq!(marked("a tag <em>that the text has"), None);
    }

    #[test]
    fn places_are_added_where_they_are_missing() {
        let marking = marking("ca").unwrap();
        let hit = json!({
            "name": "call a cab", "tags": ["cap", "cat", "x"], "maker": {"name": "Carl"}, "size": 3,
            "list": ["car", "x y"], "_matchesPosition": {
                "name": [{"start": 7, "length": 2}], "list": [{"start": 0, "length": 1, "indices": [1]}],
            },
        });
        assert!(marking.misses(&hit));
        let mut positions = hit["_matchesPosition"].clone();
        marking.add_positions(&hit, &mut positions);
        assert_eq!(
            positions,
            json!({
                "name": [{"start": 0, "length": 2}, {"start": 7, "length": 2}],
                "tags": [{"start": 0, "length": 2, "indices": [1]}], "maker.name": [{"start": 0, "length": 2}],
                "list": [{"start": 0, "length": 1, "indices": [1]}],
            })
        );
        let whole = json!({"name": "call", "_matchesPosition": {"name": [{"start": 0, "length": 2}]}});
        assert!(!marking.misses(&whole));
        assert!(!marking.misses(&json!({"name": "call"})));
    }
}
