//! The facet values that several nodes found, as one list.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::plan::facet_search::FacetSearchPlan;
use crate::plan::index_info::FacetOrder;

use super::error::MergeError;
use super::facets::Facets;
use super::raw::{Members, ObjectWriter};
use crate::plan::facet_rules::FacetRules;
use crate::plan::probe::FacetValue;
use crate::plan::values::{Key, normalize};

#[derive(Debug, Deserialize)]
struct Hit {
    value: String,
    count: u64,
}

/// What the nodes found, summed.
#[derive(Debug)]
pub struct FacetHits<'a> {
    plan: &'a FacetSearchPlan,
    replies: Vec<Members<'a>>,
    pub sums: Facets,
}

// === impl FacetHits ===

impl<'a> FacetHits<'a> {
    /// `replies` are the nodes' bodies, one for each part of the cover.
    pub fn new(plan: &'a FacetSearchPlan, replies: &[&'a [u8]]) -> Result<Self, MergeError> {
        let order = [(plan.facet.clone(), plan.order)].into();
        let mut sums =
            Facets::new(&FacetRules { max_values: plan.max_values, order, max_total_hits: plan.max_total_hits });
        let mut members = Vec::with_capacity(replies.len());
        for reply in replies {
            sums.add_values(&plan.facet, list(reply)?);
            members.push(Members::of_bytes(reply)?);
        }
        Ok(Self { plan, replies: members, sums })
    }

    /// Writes the reply, its values ordered and cut as the engine does it.
    pub fn write(&self) -> Result<Vec<u8>, MergeError> {
        write(self.plan, &self.replies, self.sums.values(&self.plan.facet))
    }
}

/// Writes what was found, `hits` ordered and cut as the engine does it.
fn write(plan: &FacetSearchPlan, replies: &[Members<'_>], mut hits: Vec<(&str, u64)>) -> Result<Vec<u8>, MergeError> {
    match plan.order {
        FacetOrder::Count => hits.sort_by(|(a, count), (b, other)| other.cmp(count).then_with(|| b.cmp(a))),
        FacetOrder::Alpha if plan.searched => {
            hits.sort_by_cached_key(|(value, _)| (without_marks(&normalize(value)), normalize(value)));
        }
        FacetOrder::Alpha => hits.sort_by_cached_key(|(value, _)| normalize(value)),
    }
    hits.truncate(plan.max_values);

    let first = replies.first().ok_or(MergeError::Missing("a reply"))?;
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    for (name, raw) in &first.0 {
        match name.as_ref() {
            "facetHits" => {
                let shown: Vec<_> = hits.iter().map(|(value, count)| json!({"value": value, "count": count})).collect();
                serde_json::to_writer(object.key(name), &shown)?;
            }
            "processingTimeMs" => {
                let slowest = replies.iter().filter_map(|reply| reply.count("processingTimeMs")).max();
                object.number(name, slowest.unwrap_or(0));
            }
            _ => object.raw(name, raw.get()),
        }
    }
    object.finish();
    Ok(out)
}

/// Values that a search counted over the documents that distinct values leave, and which of them the client means.
#[derive(Debug)]
pub struct Counted<'a> {
    plan: &'a FacetSearchPlan,
    replies: Vec<Members<'a>>,
    meant: Vec<(String, u64)>,
    /// Values that no node has named among those that the client means.
    pub unnamed: Vec<(FacetValue, u64)>,
    /// False if the list of values may be too short, or a count is that of nodes, each after its own distinct values.
    pub exact: bool,
}

// === impl Counted ===

impl<'a> Counted<'a> {
    /// `replies` are the nodes' own, which tell what the client means; `counts` are what the search states of the facet.
    pub fn new(
        plan: &'a FacetSearchPlan,
        replies: &[&'a [u8]],
        counts: Vec<(String, u64)>,
    ) -> Result<Self, MergeError> {
        let mut named: HashMap<Key, (String, u64)> = HashMap::new();
        let mut members = Vec::with_capacity(replies.len());
        for reply in replies {
            for (value, count) in list(reply)? {
                named.entry(FacetValue::text(value.clone()).key()).or_insert((value, 0)).1 += count;
            }
            members.push(Members::of_bytes(reply)?);
        }
        // A list that is cut does not tell of the values behind its end.
        let cut = counts.len() >= plan.max_values;
        let mut counted = Self { plan, replies: members, meant: Vec::new(), unnamed: Vec::new(), exact: !cut };
        for (value, count) in counts {
            let value = FacetValue::text(value);
            match named.remove(&value.key()) {
                Some((shown, _)) => counted.meant.push((shown, count)),
                None if plan.may_mean(&value.shown) => counted.unnamed.push((value, count)),
                None => {}
            }
        }
        if cut {
            counted.meant.extend(named.into_values());
        }
        Ok(counted)
    }

    /// The client means `value`, whose documents are so many.
    pub fn name(&mut self, value: &FacetValue, count: u64) {
        self.meant.push((value.shown.clone(), count));
    }

    /// Writes the reply.
    pub fn write(&self) -> Result<Vec<u8>, MergeError> {
        write(self.plan, &self.replies, self.meant.iter().map(|(value, count)| (value.as_str(), *count)).collect())
    }
}

/// What the answer to a search states of `facet`.
pub fn stated(answer: &[u8], facet: &str) -> Result<Vec<(String, u64)>, MergeError> {
    let answer = Members::of_bytes(answer)?;
    let all = Members::parse(answer.get("facetDistribution").ok_or(MergeError::Missing("facets"))?.get())?;
    let Some(values) = all.get(facet) else { return Ok(Vec::new()) };
    let counts = Members::parse(values.get())?.0.into_iter();
    counts.map(|(value, count)| Ok((value.into_owned(), serde_json::from_str(count.get())?))).collect()
}

/// The values and counts of one reply.
pub fn list(reply: &[u8]) -> Result<Vec<(String, u64)>, MergeError> {
    let reply = Members::of_bytes(reply)?;
    let found = reply.get("facetHits").ok_or(MergeError::Missing("facetHits"))?;
    let hits: Vec<Hit> = serde_json::from_str(found.get())?;
    Ok(hits.into_iter().map(|hit| (hit.value, hit.count)).collect())
}

/// The form under which the engine searches facet values.
fn without_marks(text: &str) -> String {
    text.nfkd().filter(|c| !is_combining_mark(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::index_info::IndexInfo;

    fn merged(order: FacetOrder, max_values: usize) -> String {
        let mut info = IndexInfo::new("movies");
        info.facet_order.insert("*".into(), order);
        info.max_values_per_facet = max_values;
        let body = json!({"facetName": "genre", "facetQuery": "a"}).as_object().unwrap().clone();
        let plan = FacetSearchPlan::new(&info, body).unwrap();
        let replies: [&[u8]; 2] = [
            br#"{"facetHits":[{"value":"Action","count":2},{"value":"Adventure","count":3}],"facetQuery":"a","processingTimeMs":1}"#,
            br#"{"facetHits":[{"value":"action","count":4},{"value":"Anime","count":1}],"facetQuery":"a","processingTimeMs":3}"#,
        ];
        String::from_utf8(FacetHits::new(&plan, &replies).unwrap().write().unwrap()).unwrap()
    }

    #[test]
    fn counts_are_summed_by_value_ordered_and_cut() {
        let rest = r#","facetQuery":"a","processingTimeMs":3}"#;
        let action = r#"{"value":"Action","count":6}"#;
        let adventure = r#"{"value":"Adventure","count":3}"#;
        let anime = r#"{"value":"Anime","count":1}"#;
        let all = format!(r#"{{"facetHits":[{action},{adventure},{anime}]{rest}"#);
        assert_eq!(merged(FacetOrder::Alpha, 10), all);
        assert_eq!(merged(FacetOrder::Count, 10), all);
        assert_eq!(merged(FacetOrder::Count, 1), format!(r#"{{"facetHits":[{action}]{rest}"#));
    }

    #[test]
    fn values_counted_by_a_search_are_those_that_the_client_means() {
        let info = IndexInfo { distinct: Some("maker".into()), max_values_per_facet: 4, ..IndexInfo::new("movies") };
        let body = json!({"facetName": "genre", "facetQuery": "acti"}).as_object().unwrap().clone();
        let plan = FacetSearchPlan::new(&info, body).unwrap();
        let replies: [&[u8]; 2] = [
            br#"{"facetHits":[{"value":"Action","count":2},{"value":"Acting","count":1}],"facetQuery":"acti","processingTimeMs":1}"#,
            br#"{"facetHits":[{"value":"action","count":4}],"facetQuery":"acti","processingTimeMs":3}"#,
        ];
        let search = br#"{"hits":[],"facetDistribution":{"genre":{"acid":1,"action":3,"romance":2},"year":{"1":1}}}"#;
        let mut counted = Counted::new(&plan, &replies, stated(search, "genre").unwrap()).unwrap();
        // Nobody has said whether these are meant, and one of them cannot be.
        let unnamed = std::mem::take(&mut counted.unnamed);
        assert_eq!(
            unnamed.iter().map(|(value, count)| (value.shown.as_str(), *count)).collect::<Vec<_>>(),
            [("acid", 1)]
        );
        assert!(counted.exact);
        counted.name(&unnamed[0].0, unnamed[0].1);
        let hits = |counted: &Counted<'_>| {
            let text = String::from_utf8(counted.write().unwrap()).unwrap();
            serde_json::from_str::<serde_json::Value>(&text).unwrap()["facetHits"].clone()
        };
        assert_eq!(hits(&counted), json!([{"value": "acid", "count": 1}, {"value": "Action", "count": 3}]));
        // A list that is full leaves what nodes say of the others.
        let full = vec![("action".to_owned(), 3), ("a".into(), 1), ("b".into(), 1), ("c".into(), 1)];
        let counted = Counted::new(&plan, &replies, full).unwrap();
        assert!(!counted.exact);
        assert_eq!(hits(&counted), json!([{"value": "Acting", "count": 1}, {"value": "Action", "count": 3}]));
    }
}
