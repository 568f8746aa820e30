//! The facet values that several nodes found, as one list.

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
use crate::plan::values::normalize;

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
        let mut hits = self.sums.values(&self.plan.facet);
        match self.plan.order {
            FacetOrder::Count => hits.sort_by(|(a, count), (b, other)| other.cmp(count).then_with(|| b.cmp(a))),
            FacetOrder::Alpha if self.plan.searched => {
                hits.sort_by_cached_key(|(value, _)| (without_marks(&normalize(value)), normalize(value)));
            }
            FacetOrder::Alpha => hits.sort_by_cached_key(|(value, _)| normalize(value)),
        }
        hits.truncate(self.plan.max_values);

        let first = self.replies.first().ok_or(MergeError::Missing("a reply"))?;
        let mut out = Vec::new();
        let mut object = ObjectWriter::new(&mut out);
        for (name, raw) in &first.0 {
            match name.as_ref() {
                "facetHits" => {
                    let shown: Vec<_> =
                        hits.iter().map(|(value, count)| json!({"value": value, "count": count})).collect();
                    serde_json::to_writer(object.key(name), &shown)?;
                }
                "processingTimeMs" => {
                    let slowest = self.replies.iter().filter_map(|reply| reply.count("processingTimeMs")).max();
                    object.number(name, slowest.unwrap_or(0));
                }
                _ => object.raw(name, raw.get()),
            }
        }
        object.finish();
        Ok(out)
    }
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
}
