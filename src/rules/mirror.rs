//! Searches that are asked a second time of another index, to see whether it finds the same. The client gets the first answer, and
//! never learns of the second.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::split::{WHOLE, percent};
use super::subject::Subject;
use super::template::{Missing, Template};
use crate::meili::uid::IndexUid;
use crate::merge::raw::{Members, elements};
use crate::settings::Section;
use crate::split::scanner::Malformed;

/// `mirror: { to: products_b, share: 1%, compare: [order, totals] }`.
pub struct Mirror {
    to: Template,
    /// How many of the searches that the rule is about, in parts of [`WHOLE`].
    share: u64,
    aspects: Vec<Aspect>,
    /// Moved on by `share` for each search.
    turns: AtomicU64,
}

/// What of two answers is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// Which hits, and in which order.
    Order,
    Totals,
}

/// A search that is to be asked again.
#[derive(Debug, Clone)]
pub struct Mirrored {
    /// The rule's place.
    pub rule: usize,
    /// Which of several searches; `None` for a search by itself.
    pub query: Option<usize>,
    /// The other index.
    pub to: String,
    pub mirror: Arc<Mirror>,
}

/// What two answers differ in; nothing of what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// How many hits each shows.
    pub hits: (usize, usize),
    /// The place of the first hit that is another one, from 0; `None` where the order is not compared, or is the same.
    pub first: Option<usize>,
    pub totals: (Option<u64>, Option<u64>),
}

const ASPECTS: [(&str, Aspect); 2] = [("order", Aspect::Order), ("totals", Aspect::Totals)];

// === impl Mirror ===

impl Mirror {
    /// Takes the key `mirror`.
    pub fn read(section: &mut Section) -> Option<Self> {
        let expected = "`{ to: other_index, share: 1%, compare: [order, totals] }`, a share over 0% and up to 100%";
        let (to, share, aspects) = section.parsed("mirror", None, expected, |value| {
            let known = ["to", "share", "compare"];
            let mirror = value.as_object().filter(|mirror| mirror.keys().all(|key| known.contains(&key.as_str())))?;
            let share = match mirror.get("share") {
                None => WHOLE,
                Some(share) => percent(share.as_str()?).filter(|share| *share > 0)?,
            };
            let named = match mirror.get("compare") {
                None => return Some(Some((mirror.get("to")?.as_str()?.to_owned(), share, vec![Aspect::Order]))),
                Some(Value::Array(names)) => names.iter().map(Value::as_str).collect::<Option<Vec<&str>>>()?,
                Some(one) => vec![one.as_str()?],
            };
            let aspect = |name: &str| ASPECTS.iter().find(|(known, _)| *known == name).map(|(_, aspect)| *aspect);
            let aspects: Vec<Aspect> = named.into_iter().map(aspect).collect::<Option<_>>()?;
            (!aspects.is_empty()).then_some(Some((mirror.get("to")?.as_str()?.to_owned(), share, aspects)))
        })?;
        let to = if !to.contains("${") && IndexUid::parse(&to).is_err() {
            Err(format!("expected the uid of an index, found `{to}`"))
        } else {
            Template::text(&to)
        };
        let to = to.map_err(|message| section.problem("mirror", message)).ok()?;
        Some(Self { to, share, aspects, turns: AtomicU64::new(0) })
    }

    /// The other index; `None` where the request makes none of it that can be.
    pub(super) fn to(&self, subject: &Subject<'_>) -> Result<Option<String>, Missing> {
        let to = self.to.render(subject)?;
        Ok(IndexUid::parse(&to).is_ok().then_some(to))
    }

    /// True for its share of the searches, evenly: of `1%` for each hundredth.
    pub fn is_its_turn(&self) -> bool {
        let before = self.turns.fetch_add(self.share, Ordering::Relaxed) % WHOLE;
        before + self.share >= WHOLE
    }

    /// What the answers `one` and `other` differ in; `None` where they are alike. Hits are told apart by `key`, or where it is not shown by
    /// all that is.
    pub fn compare(&self, one: &str, other: &str, key: Option<&str>) -> Result<Option<Difference>, Malformed> {
        let (one, other) = (Seen::of(one, key)?, Seen::of(other, key)?);
        let mut pairs = one.hits.iter().zip(&other.hits);
        let lengths = (one.hits.len(), other.hits.len());
        let differing = pairs.position(|(one, other)| one != other);
        let first = differing.or_else(|| (lengths.0 != lengths.1).then_some(lengths.0.min(lengths.1)));
        let first = first.filter(|_| self.aspects.contains(&Aspect::Order));
        let totals = (one.total, other.total);
        let alike = first.is_none() && (totals.0 == totals.1 || !self.aspects.contains(&Aspect::Totals));
        Ok((!alike).then_some(Difference { hits: lengths, first, totals }))
    }
}

/// Two that mean the same are shown as the same, however many searches there were.
impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, share, aspects, turns: _ } = self;
        f.debug_struct("Mirror").field("to", to).field("share", share).field("aspects", aspects).finish_non_exhaustive()
    }
}

/// Of two that wait, only what they are asked tells them apart.
impl PartialEq for Mirrored {
    fn eq(&self, other: &Self) -> bool {
        (self.rule, self.query, &self.to) == (other.rule, other.query, &other.to)
    }
}

/// What of an answer is compared.
struct Seen {
    hits: Vec<String>,
    total: Option<u64>,
}

// === impl Seen ===

impl Seen {
    fn of(answer: &str, key: Option<&str>) -> Result<Self, Malformed> {
        let answer = Members::parse(answer)?;
        let hits = match answer.get("hits") {
            Some(hits) => elements(hits.get())?,
            None => Vec::new(),
        };
        let hits = hits.iter().map(|hit| identity(hit.get(), key)).collect::<Result<_, _>>()?;
        Ok(Self { hits, total: answer.count("totalHits").or_else(|| answer.count("estimatedTotalHits")) })
    }
}

/// By what a hit is known.
fn identity(hit: &str, key: Option<&str>) -> Result<String, Malformed> {
    let hit = Members::parse(hit)?;
    if let Some(id) = key.and_then(|key| hit.get(key)) {
        // 1 and "1" are one id.
        return Ok(id.get().trim_matches('"').to_owned());
    }
    let mut fields: Vec<String> = hit
        .0
        .iter()
        .filter(|(name, _)| !name.starts_with('_'))
        .map(|(name, value)| format!("{name}\n{}", value.get()))
        .collect();
    fields.sort_unstable();
    Ok(fields.join("\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::Report;

    fn read(value: Value) -> (Option<Mirror>, usize) {
        let report = Report::default();
        let mut section = Section::new("rule", json!({ "mirror": value }), &report);
        let mirror = Mirror::read(&mut section);
        section.finish();
        (mirror, report.into_parts().0.len())
    }

    fn differ(compare: Value, one: Value, other: Value) -> Option<Difference> {
        let mirror = read(json!({"to": "b", "compare": compare})).0.unwrap();
        mirror.compare(&one.to_string(), &other.to_string(), Some("id")).unwrap()
    }

    fn answer(ids: &[u64], total: u64) -> Value {
        let hits: Vec<Value> = ids.iter().map(|id| json!({"id": id, "title": format!("title {id}")})).collect();
        json!({"hits": hits, "estimatedTotalHits": total})
    }

    #[test]
    fn what_is_compared_is_what_the_rule_says() {
        let order = json!("order");
        let both = json!(["order", "totals"]);
        assert_eq!(differ(order.clone(), answer(&[1, 2, 3], 9), answer(&[1, 2, 3], 8)), None);
        let swapped = Difference { hits: (3, 3), first: Some(1), totals: (Some(9), Some(9)) };
        assert_eq!(differ(order.clone(), answer(&[1, 2, 3], 9), answer(&[1, 3, 2], 9)), Some(swapped));
        assert_eq!(differ(json!("totals"), answer(&[1, 2, 3], 9), answer(&[1, 3, 2], 9)), None);
        let fewer = Difference { hits: (2, 1), first: Some(1), totals: (Some(9), Some(9)) };
        assert_eq!(differ(order, answer(&[1, 2], 9), answer(&[1], 9)), Some(fewer));
        let totals = Difference { hits: (1, 1), first: None, totals: (Some(9), Some(8)) };
        assert_eq!(differ(both, answer(&[1], 9), answer(&[1], 8)), Some(totals));
    }

    #[test]
    fn hits_without_their_key_are_told_apart_by_what_they_show() {
        let mirror = read(json!({"to": "b"})).0.unwrap();
        let compare = |one: &str, other: &str| mirror.compare(one, other, Some("id")).unwrap().is_none();
        assert!(compare(r#"{"hits":[{"a":1,"b":2,"_rankingScore":0.5}]}"#, r#"{"hits":[{"b":2,"a":1}]}"#));
        assert!(!compare(r#"{"hits":[{"a":1}]}"#, r#"{"hits":[{"a":2}]}"#));
        assert!(compare(r#"{"hits":[{"id":"1","b":2}]}"#, r#"{"hits":[{"id":1,"b":3}]}"#));
        assert!(mirror.compare("[]", "{}", None).is_err());
    }

    #[test]
    fn a_share_is_taken_evenly() {
        for (share, expected) in [("1%", 10), ("100%", 1000), ("33.5%", 335), ("0.1%", 1)] {
            let mirror = read(json!({"to": "b", "share": share})).0.unwrap();
            assert_eq!((0..1000).filter(|_| mirror.is_its_turn()).count(), expected, "{share}");
        }
    }

    #[test]
    fn what_is_no_mirror_is_a_problem() {
        for value in [
            json!({}),
            json!({"to": "a b"}),
            json!({"to": "${x"}),
            json!({"to": "b", "share": "0%"}),
            json!({"to": "b", "share": "101%"}),
            json!({"to": "b", "compare": []}),
            json!({"to": "b", "compare": "facets"}),
            json!({"to": "b", "and": 1}),
        ] {
            let (mirror, problems) = read(value.clone());
            assert!(mirror.is_none() && problems == 1, "{value}: {problems}");
        }
    }
}
