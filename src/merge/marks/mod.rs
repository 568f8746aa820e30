//! Which words are marked, and how much of them, as one node that knows all words would mark them.
//!
//! The last word of a query may be the beginning of a longer one, and with a typo. A node looks up which of its own words
//! begin so, and marks as much of a word as the shortest of them has. Another node may know a shorter one: whoever knows
//! `mela` marks `Mela` in `Melano` for the query `mella`, whoever does not marks `Melan`.
//!
//! | module | what lives there |
//! |---|---|
//! | `missing` | words that begin as the query's last one and are not marked |

mod missing;

use std::collections::BTreeSet;

use serde_json::Value;
use unicode_normalization::char::is_combining_mark;

use super::error::MergeError;
use super::raw::{Members, ObjectWriter, Raw, elements};
use crate::plan::marking::{Marking, letters};

/// How many letters have to be left out, put in, replaced or swapped with their neighbour to make one word of the other.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (at, letter) in left.iter().enumerate() {
        let mut row = vec![at + 1];
        for (other, other_letter) in right.iter().enumerate() {
            let replaced = rows[at][other] + usize::from(letter != other_letter);
            let mut least = replaced.min(rows[at][other + 1] + 1).min(row[other] + 1);
            if at > 0 && other > 0 && *letter == right[other - 1] && left[at - 1] == *other_letter {
                least = least.min(rows[at - 1][other - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

// === impl Marking ===

impl Marking {
    /// Beginnings of the marked text `marked` that would be marked instead if they were words, the shortest first.
    fn shorter<'t>(&self, marked: &'t str) -> Vec<&'t str> {
        let all = letters(marked);
        let by_another = |other: &Vec<char>| all.starts_with(other) || distance(&all, other) <= 2;
        if all.len() > self.word.len() || all.starts_with(&self.word) || self.others.iter().any(by_another) {
            return Vec::new();
        }
        let mut shorter = Vec::new();
        for (end, _) in marked.char_indices().skip(1) {
            let begin = letters(&marked[..end]);
            let alike = begin.first() == self.word.first();
            let typos = distance(&begin, &self.word);
            // A typo in the first letter counts for two.
            let typos = if alike { typos } else { typos.max(1) + 1 };
            let is_mark = is_combining_mark(marked[end..].chars().next().unwrap_or_default());
            let is_word = !is_mark && !self.stop_words.contains(&begin);
            if is_word && begin.len() + self.typos >= self.word.len() && typos <= self.typos {
                shorter.push(&marked[..end]);
            }
        }
        shorter
    }

    fn shortest<'t>(&self, marked: &'t str, known: &BTreeSet<String>) -> Option<&'t str> {
        self.shorter(marked).into_iter().find(|begin| known.contains(*begin))
    }

    /// The words of which it matters to the marks in `body` whether some node knows them.
    pub fn questions(&self, body: &[u8]) -> Result<BTreeSet<String>, MergeError> {
        let mut questions = BTreeSet::new();
        for hit in hits(body)? {
            let hit: Value = serde_json::from_str(hit.get())?;
            if self.splits_words_plainly && self.misses(&hit) {
                questions.insert(self.written.clone());
            }
            let mut ask = |marked: &str| questions.extend(self.shorter(marked).into_iter().map(str::to_owned));
            visit_strings(&hit["_formatted"], &mut |text| self.marks_in(text).for_each(&mut ask));
            visit_positions(&hit, &mut |_, marked| ask(marked));
        }
        questions.retain(|word| !word.contains(['"', '\\']));
        Ok(questions)
    }

    /// The reply `body` as a node would mark it that knows the words of `known` in addition to its own.
    pub fn restate(&self, body: &[u8], known: &BTreeSet<String>) -> Result<Vec<u8>, MergeError> {
        let members = Members::of_bytes(body)?;
        let mut out = Vec::with_capacity(body.len());
        let mut object = ObjectWriter::new(&mut out);
        for (name, raw) in &members.0 {
            if name != "hits" {
                object.raw(name, raw.get());
                continue;
            }
            let out = object.key(name);
            out.push(b'[');
            for (at, hit) in hits(body)?.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                self.restate_hit(hit, known, out)?;
            }
            out.push(b']');
        }
        object.finish();
        Ok(out)
    }

    fn restate_hit(&self, hit: Raw<'_>, known: &BTreeSet<String>, out: &mut Vec<u8>) -> Result<(), MergeError> {
        let document: Value = serde_json::from_str(hit.get())?;
        let knows_word = known.contains(&self.written);
        let mut object = ObjectWriter::new(out);
        for (name, raw) in &Members::parse(hit.get())?.0 {
            match name.as_ref() {
                "_formatted" => {
                    let mut formatted = document[name.as_ref()].clone();
                    change_strings(&mut formatted, &mut |text| self.shorten_text(text, known));
                    for (attribute, value) in formatted.as_object_mut().into_iter().flatten().filter(|_| knows_word) {
                        if self.highlights(attribute) {
                            change_strings(value, &mut |text| self.with_all(text));
                        }
                    }
                    object.raw(name, &formatted.to_string());
                }
                "_matchesPosition" => {
                    let mut positions = document[name.as_ref()].clone();
                    visit_positions(&document, &mut |(attribute, at), marked| {
                        if let Some(shortest) = self.shortest(marked, known) {
                            positions[attribute][at]["length"] = shortest.len().into();
                        }
                    });
                    if knows_word {
                        self.add_positions(&document, &mut positions);
                    }
                    object.raw(name, &positions.to_string());
                }
                _ => object.raw(name, raw.get()),
            }
        }
        object.finish();
        Ok(())
    }

    /// What is marked in `text`.
    fn marks_in<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let after = self.after.clone();
        text.split(self.before.as_str()).skip(1).filter_map(move |rest| Some(rest.split_once(after.as_str())?.0))
    }

    fn shorten_text(&self, text: &str, known: &BTreeSet<String>) -> Option<String> {
        let mut parts = text.split(self.before.as_str());
        let mut changed = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            changed.push_str(&self.before);
            match part.split_once(self.after.as_str()) {
                Some((marked, rest)) => {
                    let kept = self.shortest(marked, known).unwrap_or(marked);
                    changed.extend([kept, &self.after, &marked[kept.len()..], rest]);
                }
                None => changed.push_str(part),
            }
        }
        (changed != text).then_some(changed)
    }
}

fn hits(body: &[u8]) -> Result<Vec<Raw<'_>>, MergeError> {
    let members = Members::of_bytes(body)?;
    let hits = members.get("hits").ok_or(MergeError::Missing("hits"))?;
    Ok(elements(hits.get())?)
}

fn visit_strings(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter().for_each(|item| visit_strings(item, see)),
        Value::Object(members) => members.values().for_each(|member| visit_strings(member, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn change_strings(value: &mut Value, change: &mut impl FnMut(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(changed) = change(text) {
                *text = changed;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| change_strings(item, change)),
        Value::Object(members) => members.values_mut().for_each(|member| change_strings(member, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Shows each match of `hit` whose text the hit itself has: its attribute, its place in the list, and what is marked.
fn visit_positions(hit: &Value, see: &mut impl FnMut((&str, usize), &str)) {
    for (attribute, matches) in hit["_matchesPosition"].as_object().into_iter().flatten() {
        for (at, found) in matches.as_array().into_iter().flatten().enumerate() {
            let index = found["indices"].get(0).and_then(Value::as_u64);
            let value = index.map_or(&hit[attribute], |index| &hit[attribute][index as usize]);
            let (Some(text), Some(start), Some(length)) =
                (value.as_str(), found["start"].as_u64(), found["length"].as_u64())
            else {
                continue;
            };
            if let Some(marked) = text.get(start as usize..(start + length) as usize) {
                see((attribute, at), marked);
            }
        }
    }
}

#[cfg(test)]
pub(in crate::merge::marks) mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::marking::MarkRules;

    pub fn marking(query: &str) -> Option<Marking> {
        let typos = |letters: usize| usize::from(letters >= 5) + usize::from(letters >= 9);
        let (tags, highlighted) = (["<em>", "</em>"], vec!["*".to_owned()]);
        let stop_words = ["the".to_owned()];
        let rules = MarkRules { typos: &typos, stop_words: &stop_words, tags, highlighted, splits_words_plainly: true };
        Marking::new(query, rules)
    }

    fn shorter(query: &str, marked: &str) -> Vec<String> {
        marking(query).unwrap().shorter(marked).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_beginning_within_the_typos_would_be_marked_instead() {
        assert_eq!(shorter("Mella", "Melan"), ["Mela"]);
        assert_eq!(shorter("matze", "Mazèr"), ["Mazè"]);
        assert_eq!(shorter("southwestern", "southwesterl"), ["southweste", "southwester"]);
        // It begins with the word itself, is as short as it gets, is longer than any mark of a beginning, or may have been
        // found by another word.
        for (query, marked) in [("mella", "Mella"), ("mella", "Mela"), ("mella", "Melanos"), ("melan mella", "Melan")] {
            assert!(shorter(query, marked).is_empty(), "{query} {marked}");
        }
        // A typo in the first letter counts for two.
        assert!(shorter("mella", "Nella").is_empty());
    }

    #[test]
    fn only_a_last_word_is_looked_up_as_a_beginning() {
        for query in ["", "mella ", "\"mella", "a -mella", "the", "mella.", "\"star mella\""] {
            assert_eq!(marking(query), None, "{query}");
        }
        assert!(marking("\"star\" mella").is_some() && marking("mell").is_some_and(|marking| marking.typos == 0));
        // A word after a dash is known to be excluded only by what stands before the dash.
        assert_eq!(marking("well-known"), None);
    }

    #[test]
    fn marks_become_shorter_where_some_node_knows_a_shorter_word() {
        let marking = marking("mella").unwrap();
        let hit = json!({
            "id": 1.0, "name": "Melano é Melan", "tags": ["x", "Melanie"], "other": "Melano",
            "_formatted": {"name": "<em>Melan</em>o é <em>Melan</em>", "tags": ["x", "<em>Melan</em>ie"], "id": "1.0"},
            "_matchesPosition": {
                "name": [{"start": 0, "length": 5}, {"start": 10, "length": 5}],
                "tags": [{"start": 0, "length": 5, "indices": [1]}], "hidden": [{"start": 0, "length": 5}],
            },
        });
        let body = json!({"hits": [hit, {"id": 2, "name": "x"}], "query": "mella"}).to_string();
        let questions = marking.questions(body.as_bytes()).unwrap();
        assert_eq!(questions, BTreeSet::from(["Mela".to_owned()]));
        assert_eq!(marking.restate(body.as_bytes(), &BTreeSet::new()).unwrap(), body.as_bytes());
        let shortened: Value = serde_json::from_slice(&marking.restate(body.as_bytes(), &questions).unwrap()).unwrap();
        assert_eq!(
            shortened["hits"][0]["_formatted"],
            json!({"name": "<em>Mela</em>no é <em>Mela</em>n", "tags": ["x", "<em>Mela</em>nie"], "id": "1.0"})
        );
        assert_eq!(
            shortened["hits"][0]["_matchesPosition"],
            json!({
                "name": [{"start": 0, "length": 4}, {"start": 10, "length": 4}],
                "tags": [{"start": 0, "length": 4, "indices": [1]}], "hidden": [{"start": 0, "length": 5}],
            })
        );
        assert_eq!(shortened["hits"][1], json!({"id": 2, "name": "x"}));
    }

    #[test]
    fn words_that_begin_so_are_marked_where_some_node_knows_the_word_itself() {
        let marking = marking("ca").unwrap();
        let body =
            json!({"hits": [{"id": "cab", "name": "call", "_formatted": {"id": "cab", "name": "call"}}]}).to_string();
        let questions = marking.questions(body.as_bytes()).unwrap();
        assert_eq!(questions, BTreeSet::from(["ca".to_owned()]));
        let marked: Value = serde_json::from_slice(&marking.restate(body.as_bytes(), &questions).unwrap()).unwrap();
        assert_eq!(marked["hits"][0]["_formatted"], json!({"id": "<em>ca</em>b", "name": "<em>ca</em>ll"}));
        assert_eq!(marking.restate(body.as_bytes(), &BTreeSet::new()).unwrap(), body.as_bytes());
    }
}
