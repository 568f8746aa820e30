//! The facet values that several nodes found, as one list.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::plan::facet_search::FacetSearchPlan;
use crate::plan::index_info::FacetOrder;

use super::error::MergeError;
use super::raw::{Members, ObjectWriter};
use super::values::normalize;

#[derive(Debug, Deserialize)]
struct Hit {
    value: String,
    count: u64,
}

/// Sums the counts of equal values and orders and cuts them as the engine does.
pub fn merge(plan: &FacetSearchPlan, replies: &[&[u8]]) -> Result<Vec<u8>, MergeError> {
    let replies = replies
        .iter()
        .map(|body| Ok(serde_json::from_slice(body)?))
        .collect::<Result<Vec<Members<'_>>, MergeError>>()?;
    let mut hits: Vec<(String, Hit)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for reply in &replies {
        let found = reply.get("facetHits").ok_or(MergeError::Missing("facetHits"))?;
        for hit in serde_json::from_str::<Vec<Hit>>(found.get())? {
            let key = normalize(&hit.value);
            match places.get(&key) {
                Some(at) => hits[*at].1.count += hit.count,
                None => {
                    places.insert(key.clone(), hits.len());
                    hits.push((key, hit));
                }
            }
        }
    }
    match plan.order {
        FacetOrder::Count => {
            hits.sort_by(|(_, a), (_, b)| b.count.cmp(&a.count).then_with(|| b.value.cmp(&a.value)));
        }
        FacetOrder::Alpha if plan.searched => hits.sort_by_cached_key(|(key, _)| (without_marks(key), key.clone())),
        FacetOrder::Alpha => hits.sort_by(|(a, _), (b, _)| a.cmp(b)),
    }
    hits.truncate(plan.max_values);

    let first = replies.first().ok_or(MergeError::Missing("a reply"))?;
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    for (name, raw) in &first.0 {
        match name.as_ref() {
            "facetHits" => {
                let shown: Vec<_> =
                    hits.iter().map(|(_, hit)| json!({"value": hit.value, "count": hit.count})).collect();
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
        String::from_utf8(merge(&plan, &replies).unwrap()).unwrap()
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
