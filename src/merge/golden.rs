//! Merged replies compared with the files in `tests/golden/merge`: a request, the nodes' replies, the one reply.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::facet_search::FacetHits;
use super::facets::Facets;
use super::federation::IndexReplies;
use super::hybrid::{ByVector, ByWords, Mixed};
use super::search::Merged;
use super::similar::Near;
use super::{documents, federation, fields, search, sorted, stats};
use crate::plan::documents::DocumentsPlan;
use crate::plan::facet_search::FacetSearchPlan;
use crate::plan::federation::FederationPlan;
use crate::plan::fields::FieldsPlan;
use crate::plan::index_info::IndexInfo;
use crate::plan::search::SearchPlan;
use crate::plan::similar::SimilarPlan;

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

/// One case of each way in which replies become one.
#[derive(Deserialize, Serialize)]
struct AnyCase {
    says: String,
    kind: Kind,
    #[serde(default)]
    settings: Value,
    request: Map<String, Value>,
    /// Several groups where nodes are asked several things: the searches of each index, or words and then the vector.
    replies: Vec<Vec<Box<RawValue>>>,
    merged: Box<RawValue>,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Relay,
    MultiSearch,
    Hybrid,
    FacetSearch,
    Similar,
    Federation,
    Documents,
    SortedDocuments,
    Fields,
    IndexStats,
    AllStats,
}

fn info(case: &AnyCase) -> IndexInfo {
    IndexInfo::from_settings("movies", Some("id".into()), &case.settings)
}

fn merged(case: &AnyCase) -> String {
    let replies: Vec<Vec<String>> =
        case.replies.iter().map(|group| group.iter().map(|reply| compact(reply.get())).collect()).collect();
    let groups: Vec<Vec<&[u8]>> =
        replies.iter().map(|group| group.iter().map(|reply| reply.as_bytes()).collect()).collect();
    let (info, first) = (info(case), groups[0].as_slice());
    let values: Vec<Value> = first.iter().map(|reply| serde_json::from_slice(reply).unwrap()).collect();
    let request = || case.request.clone();
    let bytes = match case.kind {
        Kind::Relay => search::relay(&SearchPlan::new(&info, request()).unwrap(), first[0], None).unwrap(),
        Kind::MultiSearch => search::results(first).unwrap(),
        Kind::Hybrid => {
            let plan = SearchPlan::new(&info, request()).unwrap();
            let hybrid = plan.hybrid().unwrap();
            let words = ByWords::new(&hybrid, first).unwrap();
            let vector = ByVector::new(&hybrid, &groups[1]).unwrap();
            let total = plan.window.total(&vector.totals());
            Mixed::new(&plan, &hybrid, &words, &vector).unwrap().write(None, total, None).unwrap()
        }
        Kind::FacetSearch => {
            let plan = FacetSearchPlan::new(&info, request()).unwrap();
            FacetHits::new(&plan, first).unwrap().write().unwrap()
        }
        Kind::Similar => {
            let plan = SimilarPlan::new(&info, request(), 8).unwrap();
            Near::new(&plan, first).unwrap().write(&plan, true).unwrap()
        }
        Kind::Federation => federated(case, &groups),
        Kind::Documents => {
            let plan = DocumentsPlan::new("movies", request(), 8).unwrap();
            let total = first.iter().map(|reply| documents::total(reply).unwrap()).sum();
            documents::page(first, plan.offset, plan.offset, plan.limit, total).unwrap()
        }
        Kind::SortedDocuments => sorted::page(&DocumentsPlan::new("movies", request(), 8).unwrap(), first).unwrap(),
        Kind::Fields => {
            let plan = FieldsPlan::new("movies", request()).unwrap();
            fields::merge(first, plan.offset, plan.limit).unwrap()
        }
        // Two replicas of each document.
        Kind::IndexStats => stats::index(&values, stats::replicas(&values) / 2, None).unwrap().to_string().into(),
        Kind::AllStats => {
            let index = |(name, nodes): (String, Vec<Value>)| {
                (name, stats::index(&nodes, stats::replicas(&nodes) / 2, None).unwrap())
            };
            let indexes: BTreeMap<String, Value> = stats::by_index(&values).into_iter().map(index).collect();
            stats::all(&values, indexes).to_string().into()
        }
    };
    String::from_utf8(bytes).unwrap()
}

/// Each group of replies is of one index, in the order of their names.
fn federated(case: &AnyCase, groups: &[Vec<&[u8]>]) -> Vec<u8> {
    let infos = ["books", "movies"]
        .map(|uid| (uid.to_owned(), Arc::new(IndexInfo { primary_key: Some("id".into()), ..IndexInfo::new(uid) })));
    let plan = FederationPlan::new(&case.request, &infos.into()).unwrap();
    let replies: Vec<IndexReplies<'_>> = groups
        .iter()
        .map(|group| IndexReplies { together: group.clone(), apart: Vec::new(), list_all: false })
        .collect();
    let merged = federation::Merged::new(&plan, &replies, false).unwrap();
    let facets: Vec<_> = (0..plan.indexes.len()).map(|at| merged.facets(at).unwrap()).collect();
    merged.write(&facets).unwrap().0
}

/// With `MIROIR_BLESS=1` the file is written anew; read the difference before it is committed.
#[test]
fn replies_of_each_kind_become_the_golden_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/merge/kinds.json");
    let mut cases: Vec<AnyCase> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let kinds: BTreeSet<String> = cases.iter().map(|case| format!("{:?}", case.kind)).collect();
    assert_eq!(kinds.len(), 11, "each kind has its case: {kinds:?}");
    if std::env::var_os("MIROIR_BLESS").is_some() {
        for case in &mut cases {
            case.merged = RawValue::from_string(merged(case)).unwrap();
        }
        std::fs::write(path, serde_json::to_string_pretty(&cases).unwrap() + "\n").unwrap();
        return;
    }
    for case in &cases {
        assert_eq!(merged(case), compact(case.merged.get()), "{}", case.says);
    }
}
