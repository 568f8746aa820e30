//! Merged replies compared with the files in `tests/golden/merge`: a search, the nodes' replies, the one reply.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::facets::Facets;
use super::search::Merged;
use crate::plan::index_info::IndexInfo;
use crate::plan::search::SearchPlan;

#[derive(Deserialize)]
struct Case<'a> {
    says: String,
    settings: Value,
    search: Map<String, Value>,
    #[serde(borrow)]
    replies: Vec<&'a RawValue>,
    /// Compared byte by byte but for the white space between tokens.
    #[serde(borrow)]
    merged: &'a RawValue,
}

fn compact(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    let mut escaped = false;
    for c in text.chars() {
        if inside || !c.is_whitespace() {
            out.push(c);
        }
        inside ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    out
}

#[test]
fn replies_become_the_golden_one() {
    let text = include_str!("../../tests/golden/merge/searches.json");
    let cases: Vec<Case<'_>> = serde_json::from_str(text).unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let info = IndexInfo::from_settings("movies", Some("id".into()), &case.settings);
        let plan = SearchPlan::new(&info, case.search).unwrap();
        let replies: Vec<String> = case.replies.iter().map(|reply| compact(reply.get())).collect();
        let bodies: Vec<&[u8]> = replies.iter().map(|reply| reply.as_bytes()).collect();
        let merged = Merged::new(&plan, &bodies).unwrap();
        let facets = plan.facets.as_ref().map(|rules| {
            let mut facets = Facets::new(rules);
            merged.facets().unwrap().iter().for_each(|node| facets.add_node(node).unwrap());
            facets
        });
        let total = merged.total_of(&merged.totals());
        let merged = String::from_utf8(merged.write(facets.as_ref(), total, None).unwrap()).unwrap();
        assert_eq!(merged, compact(case.merged.get()), "{}", case.says);
    }
}
