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
use super::listing::Listing;
use super::search::{Merged, SearchReply};
use super::similar::Near;
use super::walk::{self, Beyond, Stretch, Walk};
use super::{documents, federation, fields, search, sorted, stages, stats, strip};
use crate::meili::settings::Setting;
use crate::plan::broadcast::HiddenPart;
use crate::plan::by_frequency::ByFrequency;
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
    /// How many documents have each word of a search that leaves out words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    frequencies: Vec<u64>,
    /// Several groups where nodes are asked several things: the searches of each index, words and then the vector, each stage, or the
    /// page and then everything.
    replies: Vec<Vec<Box<RawValue>>>,
    merged: Box<RawValue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Relay,
    MultiSearch,
    Hybrid,
    /// Words are left out, the most frequent first.
    Stages,
    /// What counts follows from one node's walk.
    Walk,
    FacetSearch,
    Similar,
    Federation,
    Documents,
    SortedDocuments,
    /// One document.
    Document,
    Fields,
    Settings,
    /// One setting, which the request names.
    Setting,
    IndexStats,
    AllStats,
}

impl Kind {
    const ALL: [Kind; 16] = [
        Self::Relay,
        Self::MultiSearch,
        Self::Hybrid,
        Self::Stages,
        Self::Walk,
        Self::FacetSearch,
        Self::Similar,
        Self::Federation,
        Self::Documents,
        Self::SortedDocuments,
        Self::Document,
        Self::Fields,
        Self::Settings,
        Self::Setting,
        Self::IndexStats,
        Self::AllStats,
    ];
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
        Kind::Relay => {
            let reply = SearchReply::parse(first[0]).unwrap();
            search::relay(&SearchPlan::new(&info, request()).unwrap(), &reply, None).unwrap()
        }
        Kind::MultiSearch => search::results(first).unwrap(),
        Kind::Hybrid => {
            let plan = SearchPlan::new(&info, request()).unwrap();
            let hybrid = plan.hybrid().unwrap();
            let words = ByWords::new(&hybrid, first).unwrap();
            let vector = ByVector::new(&hybrid, &groups[1]).unwrap();
            let total = plan.window.total(&vector.totals());
            Mixed::new(&plan, &hybrid, &words, &vector).unwrap().write(None, total, None).unwrap()
        }
        Kind::Stages => staged(&SearchPlan::new(&info, request()).unwrap(), &case.frequencies, &groups),
        Kind::Walk => walked(&SearchPlan::new(&info, request()).unwrap(), first, &groups[1]),
        Kind::FacetSearch => {
            let plan = FacetSearchPlan::new(&info, request()).unwrap();
            FacetHits::new(&plan, first).unwrap().write().unwrap()
        }
        Kind::Similar => {
            let plan = SimilarPlan::new(&info, request(), 8).unwrap();
            Near::new(&plan, first).unwrap().write(&plan, true).unwrap().0
        }
        Kind::Federation => federated(case, &groups),
        Kind::Documents => {
            let plan = DocumentsPlan::new("movies", request(), 8).unwrap();
            let total = first.iter().map(|reply| documents::total(reply).unwrap()).sum();
            documents::page(first, plan.offset, plan.offset, plan.limit, total).unwrap()
        }
        Kind::SortedDocuments => sorted::page(&DocumentsPlan::new("movies", request(), 8).unwrap(), first).unwrap(),
        Kind::Document => {
            let mut document = Vec::new();
            strip::document(std::str::from_utf8(first[0]).unwrap(), &mut document).unwrap();
            document
        }
        Kind::Settings => stripped(&values[0], strip::settings),
        Kind::Setting => {
            let setting = Setting::ALL.iter().find(|setting| case.request["setting"] == setting.key()).unwrap();
            stripped(&values[0], strip::of_part(HiddenPart::of(*setting).unwrap()))
        }
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

fn stripped(answer: &Value, strip: fn(&mut Value)) -> Vec<u8> {
    let mut answer = answer.clone();
    strip(&mut answer);
    answer.to_string().into()
}

/// Each group of replies is of one stage; the last finds all that is found.
fn staged(plan: &SearchPlan, frequencies: &[u64], groups: &[Vec<&[u8]>]) -> Vec<u8> {
    let ByFrequency::Words(words) = &plan.by_frequency else { panic!("words are known") };
    let stages = plan.stages(words, frequencies);
    assert_eq!(stages.len(), groups.len());
    let lists: Vec<Vec<String>> =
        stages.iter().zip(groups).map(|(stage, group)| stages::of_stage(plan, stage, group).unwrap()).collect();
    let found = Merged::new(&stages.last().unwrap().plan, groups.last().unwrap()).unwrap();
    let total = plan.window.total(&found.totals());
    stages::merged(plan, &lists, &groups[0]).unwrap().write(None, total, None).unwrap()
}

/// The page, with total and facets of all that one node counts when it has walked to the end of the page.
fn walked(plan: &SearchPlan, page: &[&[u8]], everything: &[&[u8]]) -> Vec<u8> {
    assert!(plan.listing().is_some());
    let merged = Merged::new(plan, page).unwrap();
    let listing = Listing::of(everything, 100, plan.distinct.as_deref(), plan.scored_by).unwrap();
    let walk::Outcome::Left(left) = walk::left(&listing, &[], Walk::of(plan), &Stretch::default()) else {
        panic!("the listing is complete")
    };
    assert_eq!(left.beyond, Beyond::Nothing);
    let documents: Vec<Value> = left.documents.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let mut facets = Facets::new(plan.facets.as_ref().unwrap());
    facets.name("maker");
    facets.add_documents(&documents);
    merged.write(Some(&facets), plan.window.counted(documents.len()), None).unwrap()
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
    let kinds: BTreeSet<Kind> = cases.iter().map(|case| case.kind).collect();
    assert_eq!(kinds, BTreeSet::from(Kind::ALL), "each kind has its case");
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
