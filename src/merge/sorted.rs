//! One page of documents out of the sorted lists of several nodes.

use std::cmp::Ordering;

use serde_json::Value;

use crate::placement::written::WRITTEN_FIELD;
use crate::plan::documents::{DocumentsPlan, SortBy};

use super::error::MergeError;
use super::order::{Rank, Score, SortValue};
use super::raw::{Members, ObjectWriter, Raw, elements};
use super::strip;
use crate::plan::shown::Shown;
use crate::plan::values::{Key, values_at};

/// One node's list, of which only the head is read.
struct List<'a> {
    rest: std::vec::IntoIter<Raw<'a>>,
    head: Option<(&'a str, Rank)>,
}

/// `replies` are those to [`DocumentsPlan::request_sorted`]. Documents that tie stand in the order in which they were
/// written, as far as each list has them so.
pub fn page(plan: &DocumentsPlan, replies: &[&[u8]]) -> Result<Vec<u8>, MergeError> {
    let mut total: u64 = 0;
    let mut lists = Vec::with_capacity(replies.len());
    for reply in replies {
        let members = Members::of_bytes(reply)?;
        total += members.count("total").ok_or(MergeError::Missing("a total of documents"))?;
        let documents = members.get("results").ok_or(MergeError::Missing("results"))?;
        let documents = elements(documents.get())?;
        let mut list = List { rest: documents.into_iter(), head: None };
        list.pop(&plan.sort)?;
        lists.push(list);
    }
    // What the document itself holds under these names is the client's own.
    let shown = Shown { score: true, details: true, helpers: plan.helpers.clone() };
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    let results = object.key("results");
    results.push(b'[');
    let mut passed = 0;
    while passed < plan.offset.saturating_add(plan.limit) {
        let Some(best) = best_of(&lists) else { break };
        let Some(document) = lists[best].pop(&plan.sort)? else { break };
        passed += 1;
        if passed <= plan.offset {
            continue;
        }
        if passed > plan.offset + 1 {
            results.push(b',');
        }
        if plan.helpers.is_empty() {
            strip::document(document, results)?;
        } else {
            strip::hit(document, &shown, None, results)?;
        }
    }
    results.push(b']');
    object.number("offset", plan.offset);
    object.number("limit", plan.limit);
    object.number("total", total);
    object.finish();
    Ok(out)
}

fn best_of(lists: &[List<'_>]) -> Option<usize> {
    let mut best: Option<(usize, &Rank)> = None;
    for (at, list) in lists.iter().enumerate() {
        let Some((_, rank)) = &list.head else { continue };
        if best.is_none_or(|(_, best)| rank.compare(best) == Ordering::Greater) {
            best = Some((at, rank));
        }
    }
    best.map(|(at, _)| at)
}

// === impl List ===

impl<'a> List<'a> {
    /// Returns the head and reads the next.
    fn pop(&mut self, sort: &[SortBy]) -> Result<Option<&'a str>, MergeError> {
        let next = self.rest.next().map(|raw| rank(raw.get(), sort).map(|rank| (raw.get(), rank))).transpose()?;
        Ok(std::mem::replace(&mut self.head, next).map(|(text, _)| text))
    }
}

fn rank(document: &str, sort: &[SortBy]) -> Result<Rank, MergeError> {
    let document: Value = serde_json::from_str(document)?;
    let scores = sort.iter().map(|by| {
        let values = by.field.as_deref().map(|field| values_at(&document, field)).unwrap_or_default();
        Score::Sort { ascending: by.ascending, value: first(values.into_iter(), by.ascending) }
    });
    let written = document.get(WRITTEN_FIELD).and_then(Value::as_str);
    let written = written.map_or(SortValue::Missing, |place| SortValue::Text(place.to_owned()));
    let last = Score::Sort { ascending: true, value: written };
    Ok(Rank(scores.chain(std::iter::once(last)).collect()))
}

/// The value that puts a document first: of several the engine takes numbers, and of these the one nearest to the
/// beginning of the list.
fn first(values: impl Iterator<Item = Key>, ascending: bool) -> SortValue {
    let values = values.map(|key| match key {
        Key::Number(bits) => SortValue::Number(f64::from_bits(bits)),
        Key::Text(text) => SortValue::Text(text),
    });
    values.fold(
        SortValue::Missing,
        |best, value| {
            if value.compare(&best, ascending) == Ordering::Greater { value } else { best }
        },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(body: Value) -> DocumentsPlan {
        let Value::Object(body) = body else { panic!("a fetch is an object") };
        DocumentsPlan::new("movies", body, 16).unwrap()
    }

    fn merged(body: Value, lists: &[Value]) -> Value {
        let replies: Vec<String> = lists.iter().map(|list| json!({"results": list, "total": 10}).to_string()).collect();
        let replies: Vec<&[u8]> = replies.iter().map(|reply| reply.as_bytes()).collect();
        serde_json::from_slice(&page(&plan(body), &replies).unwrap()).unwrap()
    }

    fn ids(body: &Value) -> Vec<u64> {
        body["results"].as_array().unwrap().iter().map(|document| document["id"].as_u64().unwrap()).collect()
    }

    #[test]
    fn numbers_go_before_texts_and_missing_goes_last_in_both_directions() {
        let left = json!([{"id": 1, "a": 1}, {"id": 2, "a": "B"}, {"id": 3}]);
        let right = json!([{"id": 4, "a": 2.5}, {"id": 5, "a": "a"}, {"id": 6, "a": "c"}]);
        assert_eq!(ids(&merged(json!({"sort": ["a:asc"]}), &[left, right])), [1, 4, 5, 2, 6, 3]);
        let left = json!([{"id": 1, "a": 1}, {"id": 2, "a": "B"}, {"id": 3}]);
        let right = json!([{"id": 4, "a": 2.5}, {"id": 6, "a": "c"}, {"id": 5, "a": "a"}]);
        assert_eq!(ids(&merged(json!({"sort": ["a:desc"]}), &[left, right])), [4, 1, 6, 2, 5, 3]);
    }

    #[test]
    fn of_several_values_the_one_nearest_to_the_beginning_counts() {
        let left = json!([{"id": 1, "a": ["x", 4, 9]}]);
        let right = json!([{"id": 2, "a": [{"b": 1}, 5]}]);
        assert_eq!(ids(&merged(json!({"sort": ["a:asc"]}), &[right.clone(), left.clone()])), [1, 2]);
        assert_eq!(ids(&merged(json!({"sort": ["a:desc"]}), &[right, left])), [1, 2]);
    }

    #[test]
    fn later_criteria_break_ties_and_then_the_order_of_the_lists() {
        let left = json!([{"id": 1, "a": 1, "b": {"c": 1}}, {"id": 2, "a": 1, "b": {"c": 3}}]);
        let right = json!([{"id": 3, "a": 1, "b": {"c": 1}}, {"id": 4, "a": 1, "b": {"c": 2}}]);
        assert_eq!(ids(&merged(json!({"sort": ["a:asc", "b.c:asc"]}), &[left, right])), [1, 3, 4, 2]);
    }

    #[test]
    fn documents_that_tie_stand_in_the_order_of_their_writes() {
        let document = |id: u64, place: &str| json!({"id": id, "_miroir_written": place});
        let left = json!([document(2, "[]"), document(3, "]["), {"id": 5}]);
        let right = json!([document(1, "[["), document(4, "]]")]);
        let sorted = merged(json!({"sort": ["a:asc"]}), &[left, right]);
        assert_eq!(ids(&sorted), [1, 2, 3, 4, 5]);
        assert_eq!(sorted["results"][0], json!({"id": 1}));
    }

    #[test]
    fn a_page_shows_only_the_clients_fields_and_nothing_of_miroirs_own() {
        let left = json!([{"id": 1, "a": 1, "_miroir_shard": "{"}, {"id": 3, "a": 3}]);
        let right = json!([{"id": 2, "a": 2}, {"id": 4, "a": 4}]);
        assert_eq!(
            merged(
                json!({"sort": ["a:asc"], "fields": ["id"], "offset": 1, "limit": 2}),
                &[left.clone(), right.clone()]
            ),
            json!({"results": [{"id": 2}, {"id": 3}], "offset": 1, "limit": 2, "total": 20})
        );
        assert_eq!(
            merged(json!({"sort": ["a:asc"], "limit": 1}), &[left, right])["results"],
            json!([{"id": 1, "a": 1}])
        );
    }
}
