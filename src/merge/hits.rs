//! The hits of one page out of the sorted lists of several nodes.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::error::MergeError;
use super::hit::Hit;
use super::order::Rank;
use super::raw::Members;
use crate::plan::shown::Rules;
use crate::plan::values::{Key, values_at, visit};

/// A page of hits.
#[derive(Debug, Default)]
pub struct Page<'a> {
    pub hits: Vec<Hit<'a>>,
    /// Hits that were left out before the page was full, because a better one has the same distinct value.
    pub duplicates: u64,
    /// True if one of them was left out for a hit that only stands before it, and is not better. Example: film a on node x and film b on
    /// node y are of one maker, and tie. a stays, because it was written first or has the lesser key, not for its rank.
    pub tied: bool,
    /// True if one that was left out has another value that no better hit has: its node may have left out hits for it. Example: film
    /// a of the makers A and B and film b of B are on node x, which leaves out b for a. Film c of A, on node y, is better than a: so
    /// a is left out here, and nobody shows B.
    pub hides: bool,
    /// Hits up to the end of the page, those before it included.
    pub passed: u64,
    /// How many hits of each list that took.
    pub used: Vec<u64>,
    /// The list of the last of them.
    pub last: Option<usize>,
}

/// One node's list, of which only the head is parsed.
struct List<'a> {
    rest: std::vec::IntoIter<Hit<'a>>,
    head: Option<Head<'a>>,
}

struct Head<'a> {
    hit: Hit<'a>,
    rank: Rank,
    /// Where it stands among hits of equal rank.
    place: Option<Cow<'a, str>>,
    /// Read when it is needed, which is for ties only.
    key: OnceCell<Option<PrimaryKey>>,
}

/// What tells documents apart. Numbers go before texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrimaryKey {
    Number(i128),
    Text(String),
}

/// Merges `lists`, each in its node's order, best first, and cuts out `take` hits after the first `skip`. Hits of equal
/// rank stand in the order in which they were written, which every replica knows; where ties are not broken so, the one
/// with the least primary key of those that head their lists goes first.
///
/// Only heads are compared, so a node's own order is never questioned, and no more hits are parsed than are passed.
pub fn merge<'a>(lists: Vec<Vec<Hit<'a>>>, rules: &Rules, skip: u64, take: u64) -> Result<Page<'a>, MergeError> {
    let mut page = Page::default();
    let mut lists = lists.into_iter().map(List::start).collect::<Result<Vec<_>, _>>()?;
    page.used = vec![0; lists.len()];
    // By value, the rank of the hit that has it.
    let mut seen: HashMap<Key, Rc<Rank>> = HashMap::new();
    while (page.hits.len() as u64) < take {
        let Some(best) = best_of(&lists, rules) else { break };
        let Some(head) = lists[best].pop()? else { break };
        page.used[best] += 1;
        page.last = Some(best);
        if let Some(field) = &rules.distinct {
            let values = values_at(&only(head.hit.text, field)?, field);
            if let Some(better) = values.iter().find_map(|value| seen.get(value)) {
                page.duplicates += 1;
                page.tied |= head.rank.compare(better) == Ordering::Equal;
                page.hides |= values.iter().any(|value| !seen.contains_key(value));
                continue;
            }
            let rank = Rc::new(head.rank);
            seen.extend(values.into_iter().map(|value| (value, Rc::clone(&rank))));
        }
        page.passed += 1;
        if page.passed > skip {
            page.hits.push(head.hit);
        }
    }
    Ok(page)
}

/// True if `hit` stands before `other` whichever lists they are in, by rank or by place; what no place tells is not sure.
pub fn is_surely_before(hit: &Hit<'_>, other: &Hit<'_>) -> Result<bool, MergeError> {
    let (hit, other) = (Head::parse(*hit)?, Head::parse(*other)?);
    Ok(match hit.rank.compare(&other.rank) {
        Ordering::Greater => true,
        Ordering::Less => false,
        Ordering::Equal => hit.place.is_some_and(|place| other.place.is_none_or(|other| place < other)),
    })
}

/// How many of the first of `hits` one node has met when it has filled a page up to `reach`: it takes hits by the
/// bucket, that is all that tie at once.
pub fn met(hits: &[Hit<'_>], reach: usize) -> Result<usize, MergeError> {
    let rank = |at: usize| -> Result<Rank, MergeError> {
        Ok(hits[at].details()?.map(Rank::parse).transpose()?.unwrap_or_default())
    };
    let Some(last) = reach.min(hits.len()).checked_sub(1) else { return Ok(0) };
    let edge = rank(last)?;
    let mut met = last + 1;
    // Without any rule there are no buckets.
    while !edge.0.is_empty() && met < hits.len() && rank(met)?.compare(&edge) == Ordering::Equal {
        met += 1;
    }
    Ok(met)
}

/// True if a rule tells `hit` from others, besides the order of writes.
pub fn is_ranked(hit: &Hit<'_>) -> Result<bool, MergeError> {
    Ok(hit.details()?.map(Rank::parse).transpose()?.is_some_and(|rank| !rank.0.is_empty()))
}

/// The document `text`, of which only what lies at the path `field` or on the way to it is built.
pub(super) fn only(text: &str, field: &str) -> Result<Value, MergeError> {
    let mut kept = Map::new();
    for (name, value) in Members::parse(text)?.0 {
        let rest = field.strip_prefix(name.as_ref());
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
            kept.insert(name.into_owned(), serde_json::from_str(value.get())?);
        }
    }
    Ok(Value::Object(kept))
}

fn best_of(lists: &[List<'_>], rules: &Rules) -> Option<usize> {
    let mut best: Option<(usize, &Head<'_>)> = None;
    for (at, list) in lists.iter().enumerate() {
        let Some(head) = &list.head else { continue };
        let is_better = best.is_none_or(|(_, best)| match head.rank.compare(&best.rank) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal => match (&head.place, &best.place) {
                (Some(place), Some(best_place)) if place != best_place => place < best_place,
                // What has no place yet goes last, as on a node.
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some(_), Some(_)) | (None, None) => head.key(rules) < best.key(rules),
            },
        });
        if is_better {
            best = Some((at, head));
        }
    }
    best.map(|(at, _)| at)
}

// === impl List ===

impl<'a> List<'a> {
    fn start(hits: Vec<Hit<'a>>) -> Result<Self, MergeError> {
        let mut list = Self { rest: hits.into_iter(), head: None };
        list.pop()?;
        Ok(list)
    }

    /// Returns the head and parses the next.
    fn pop(&mut self) -> Result<Option<Head<'a>>, MergeError> {
        let next = self.rest.next().map(Head::parse).transpose()?;
        Ok(std::mem::replace(&mut self.head, next))
    }
}

// === impl Head ===

impl<'a> Head<'a> {
    fn parse(hit: Hit<'a>) -> Result<Self, MergeError> {
        let (rank, place) = hit.details()?.map(Rank::parse_with_place).transpose()?.unwrap_or_default();
        Ok(Self { hit, rank, place, key: OnceCell::new() })
    }

    fn key(&self, rules: &Rules) -> Option<&PrimaryKey> {
        let read = || {
            let field = rules.primary_key.as_deref()?;
            PrimaryKey::of(&only(self.hit.text, field).ok()?, field)
        };
        self.key.get_or_init(read).as_ref()
    }
}

// === impl PrimaryKey ===

impl PrimaryKey {
    /// The key of `document`, as far as it shows the attribute `field`.
    pub fn of(document: &Value, field: &str) -> Option<Self> {
        let mut key = None;
        visit(document, field, &mut |leaf| {
            key = Some(leaf.as_str().map_or_else(|| Self::of_id(&leaf.to_string()), Self::of_id));
        });
        key
    }

    /// The key that is written as `id`.
    pub fn of_id(id: &str) -> Self {
        id.parse().map_or_else(|_| Self::Text(id.to_owned()), Self::Number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hit(id: usize, words: f64, value: &str) -> String {
        format!(
            concat!(
                r#"{{"id":{},"brand":"{}","_rankingScoreDetails":{{"words":{{"order":0,"score":{}}},"#,
                r#""price:asc":{{"order":1,"value":{}}}}}}}"#
            ),
            id,
            id % 3,
            words,
            value
        )
    }

    fn raw(texts: &[String]) -> Vec<Hit<'_>> {
        texts.iter().map(|text| Hit::parse(text).unwrap()).collect()
    }

    fn ids(page: &Page<'_>) -> Vec<u64> {
        page.hits
            .iter()
            .map(|hit| serde_json::from_str::<serde_json::Value>(hit.text).unwrap()["id"].as_u64().unwrap())
            .collect()
    }

    #[test]
    fn ties_keep_the_order_of_the_lists() {
        let left = [hit(1, 1.0, "3.0"), hit(2, 0.5, "null")];
        let right = [hit(3, 1.0, "3.0"), hit(4, 0.5, "\"x\"")];
        let page = merge(vec![raw(&left), raw(&right)], &Rules::default(), 0, 10).unwrap();
        assert_eq!(ids(&page), [1, 3, 4, 2]);
        let second = merge(vec![raw(&left), raw(&right)], &Rules::default(), 1, 2).unwrap();
        assert_eq!(ids(&second), [3, 4]);
        let rules = Rules { primary_key: Some("id".into()), ..Rules::default() };
        let page = merge(vec![raw(&right), raw(&left)], &rules, 0, 10).unwrap();
        assert_eq!(ids(&page), [1, 3, 4, 2]);
    }

    #[test]
    fn distinct_keeps_the_best_of_each_value_over_all_lists() {
        let left = [hit(1, 1.0, "1.0"), hit(2, 0.9, "1.0")];
        let right = [hit(4, 0.95, "1.0"), hit(5, 0.8, "1.0"), hit(6, 0.1, "1.0")];
        let rules = Rules { distinct: Some("brand".into()), ..Rules::default() };
        let page = merge(vec![raw(&left), raw(&right)], &rules, 0, 10).unwrap();
        assert_eq!(ids(&page), [1, 2, 6]);
        assert_eq!(page.duplicates, 2);
    }

    #[test]
    fn a_hit_with_broken_details_is_an_error() {
        let list = [r#"{"id":1,"_rankingScoreDetails":7}"#.to_owned()];
        assert!(merge(vec![raw(&list)], &Rules::default(), 0, 1).is_err());
    }

    #[derive(Debug, Clone)]
    struct Doc {
        words: u8,
        value: Option<Result<i8, String>>,
    }

    fn doc() -> impl Strategy<Value = Doc> {
        let value = prop_oneof![
            Just(None),
            (-3i8..3).prop_map(|number| Some(Ok(number))),
            "[ab]{1,2}".prop_map(|text| Some(Err(text))),
        ];
        (0u8..3, value).prop_map(|(words, value)| Doc { words, value })
    }

    /// The order stated a second time, over plain values.
    fn key(doc: &Doc) -> (u8, u8, i8, String) {
        let (kind, number, text) = match &doc.value {
            Some(Ok(number)) => (0, *number, String::new()),
            Some(Err(text)) => (1, 0, text.clone()),
            None => (2, 0, String::new()),
        };
        (3 - doc.words, kind, number, text)
    }

    fn text(id: usize, doc: &Doc) -> String {
        let value = match &doc.value {
            Some(Ok(number)) => format!("{number}.0"),
            Some(Err(text)) => format!("\"{text}\""),
            None => "null".into(),
        };
        hit(id, f64::from(doc.words) / 3.0, &value)
    }

    proptest! {
        #[test]
        fn merging_sorted_parts_sorts_the_whole(
            docs in proptest::collection::vec((doc(), 0usize..4), 0..40), skip in 0u64..10, take in 0u64..30,
        ) {
            let mut parts: Vec<Vec<(usize, Doc)>> = vec![Vec::new(); 4];
            for (id, (doc, part)) in docs.iter().enumerate() {
                parts[*part].push((id, doc.clone()));
            }
            for part in &mut parts {
                part.sort_by_key(|(_, doc)| key(doc));
            }
            let mut whole: Vec<&(usize, Doc)> = parts.iter().flatten().collect();
            // Stable, so ties stay in the order of the parts.
            whole.sort_by_key(|(_, doc)| key(doc));
            let want: Vec<u64> =
                whole.iter().skip(skip as usize).take(take as usize).map(|(id, _)| *id as u64).collect();

            let texts: Vec<Vec<String>> =
                parts.iter().map(|part| part.iter().map(|(id, doc)| text(*id, doc)).collect()).collect();
            let lists = texts.iter().map(|part| raw(part)).collect();
            let page = merge(lists, &Rules::default(), skip, take).unwrap();
            prop_assert_eq!(ids(&page), want);
        }
    }
}
