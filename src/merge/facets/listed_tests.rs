//! Cut lists of nodes that answer each question as the engine does, against one node with all documents.

use serde_json::{Value, json};

use super::listed::PATIENCE;
use super::mixed_tests::{Document, listed, stats};
use super::*;
use crate::plan::probe::Listing;

/// How many shards a node has.
const SHARDS: usize = 4;

/// What a node says in one reply: the list, its range, the total, and documents.
struct Said {
    list: String,
    stats: String,
    hits: u64,
    documents: Vec<String>,
}

struct Case {
    order: FacetOrder,
    max: usize,
    max_total_hits: u64,
    lister: Lister,
}

// === impl Case ===

impl Case {
    /// Shows so many documents, and so many as a total, at most.
    fn said(&self, documents: &[&Document], most: usize, capped: bool) -> Said {
        let texts = documents.iter().map(|values| json!({"w": values}).to_string());
        let hits = documents.len() as u64;
        Said {
            list: listed(documents, self.order, self.max),
            stats: stats(documents),
            hits: if capped { hits.min(self.max_total_hits) } else { hits },
            documents: texts.take(most).collect(),
        }
    }

    fn answers(&self, documents: &[&Document], probe: &Probe) -> Vec<Said> {
        let with = |known: &[FacetValue], has: bool| -> Vec<&Document> {
            let is_known = |value: &Value| known.iter().any(|known| is(value, known));
            documents.iter().copied().filter(|document| document.iter().any(is_known) == has).collect()
        };
        let group = |of: usize| -> Vec<Vec<&Document>> {
            (0..of).map(|at| documents.iter().copied().skip(at).step_by(of).collect()).collect()
        };
        let found: Vec<Vec<&Document>> = match probe {
            Probe::Hits => group(2),
            Probe::Sizes => group(SHARDS),
            Probe::Total => vec![documents.to_vec()],
            Probe::Documents { listing, .. } => match listing {
                Listing::Found => vec![documents.to_vec()],
                Listing::FoundInGroups(count) => group((*count).min(SHARDS)),
                Listing::FoundByShard => group(SHARDS),
                Listing::Fetched { apart } => vec![with(apart, false)],
            },
            Probe::Rest { apart, known, .. } => {
                let all: Vec<FacetValue> = apart.iter().chain(known).cloned().collect();
                vec![with(known, true), with(&all, false)]
            }
            Probe::UpTo { bound, .. } => {
                let fits = |value: &Value| value.as_f64().is_some_and(|number| number <= *bound);
                vec![documents.iter().copied().filter(|document| document.iter().any(fits)).collect()]
            }
            Probe::Counts { values, .. } => {
                values.iter().map(|value| with(std::slice::from_ref(value), true)).collect()
            }
            // No text here is a number's digits.
            Probe::Digits { .. } => vec![Vec::new()],
            Probe::Twice { .. } => panic!("{probe:?}"),
        };
        let most = match probe {
            _ if probe.is_fetched() => usize::MAX,
            Probe::Documents { .. } => self.max_total_hits as usize,
            _ => 0,
        };
        found.iter().map(|found| self.said(found, most, !probe.is_fetched())).collect()
    }

    /// What a cluster of nodes that hold these documents shows, whether it calls that exact, and in how many rounds.
    fn merged(&self, nodes: &[Vec<&Document>]) -> (String, bool, usize) {
        let order = [("*".to_owned(), self.order)].into();
        let mut facets = Facets::new(&FacetRules { max_values: self.max, order, max_total_hits: self.max_total_hits });
        facets.list_documents(self.lister);
        for documents in nodes {
            facets.add_node(&node_of(&self.said(documents, 0, true))).unwrap();
        }
        let mut rounds = 0;
        for _ in 0..12 {
            let probes = facets.probes();
            if probes.is_empty() {
                break;
            }
            rounds += 1;
            for (source, probe) in probes {
                let said = self.answers(&nodes[source], &probe);
                let replies: Vec<_> = said.iter().map(node_of).collect();
                facets.learn(source, &probe, &replies).unwrap();
            }
            facets.next_round();
        }
        let mut out = Vec::new();
        facets.write_distribution(&mut out);
        (String::from_utf8(out).unwrap(), facets.is_exact(), rounds)
    }
}

fn is(value: &Value, known: &FacetValue) -> bool {
    match known.number {
        Some(number) => value.as_f64() == Some(number),
        None => value.as_str() == Some(known.shown.as_str()),
    }
}

fn node_of(said: &Said) -> NodeFacets<'_> {
    NodeFacets {
        distribution: Some(Members::parse(&said.list).unwrap()),
        stats: Some(Members::parse(&said.stats).unwrap()),
        hits: said.hits,
        documents: said.documents.iter().map(String::as_str).collect(),
    }
}

/// The values of a list with their counts.
fn counts(list: &str) -> Vec<(String, u64)> {
    let list: Value = serde_json::from_str(list).unwrap();
    list["w"].as_object().unwrap().iter().map(|(value, count)| (value.clone(), count.as_u64().unwrap())).collect()
}

fn dice(mut state: u64) -> impl FnMut(u64) -> u64 {
    move |sides| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    }
}

/// Fewer values first: `roll` twice and take the less.
fn value(roll: &mut impl FnMut(u64) -> u64, kinds: u64, values: u64) -> Value {
    let (one, other) = (roll(values), roll(values));
    let at = one.min(other);
    match kinds {
        0 => json!(format!("v{at}")),
        // All with two digits: in the order of texts as in that of numbers.
        1 => json!(at + 10),
        _ if at % 3 == 0 => json!(at + 10),
        _ => json!(format!("v{at}")),
    }
}

#[test]
fn counts_by_count_are_those_of_one_node_at_any_limit() {
    let mut roll = dice(11);
    let (mut exact, mut most_rounds, mut cautious) = (0, 0, 0);
    for at in 0..600 {
        let (kinds, values, several) = (roll(3), 2 + roll(40), roll(2) == 0);
        let all: Vec<Document> = (0..20 + roll(80))
            .map(|_| (0..if several { roll(5) } else { 1 }).map(|_| value(&mut roll, kinds, values)).collect())
            .collect();
        let whole: Vec<&Document> = all.iter().collect();
        let mut nodes = vec![Vec::new(); 1 + roll(4) as usize];
        let count = nodes.len() as u64;
        for document in &whole {
            nodes[roll(count) as usize].push(*document);
        }
        let max = [1, 2, 3, 7, 20][roll(5) as usize];
        let max_total_hits = [40, 1000][roll(2) as usize];
        let lister = [Lister::Search, Lister::Fetch][roll(2) as usize];
        let case = Case { order: FacetOrder::Count, max, max_total_hits, lister };
        let (shown, is_exact, rounds) = case.merged(&nodes);
        most_rounds = most_rounds.max(rounds);
        let want = listed(&whole, FacetOrder::Count, max);
        if is_exact {
            assert_eq!(shown, want, "case {at}: {nodes:?}");
            exact += 1;
            continue;
        }
        // Only which of equals end the list is left open.
        let (shown, want) = (counts(&shown), counts(&want));
        let sums = |list: &[(String, u64)]| {
            let mut sums: Vec<u64> = list.iter().map(|(_, count)| *count).collect();
            sums.sort_unstable();
            sums
        };
        assert_eq!(sums(&shown), sums(&want), "case {at}: {shown:?} {want:?} {nodes:?}");
        let all = counts(&listed(&whole, FacetOrder::Count, 1000));
        for one in &shown {
            assert!(all.contains(one), "case {at}: {one:?} {nodes:?}");
        }
        let with = |list: &[(String, u64)], of: u64| list.iter().filter(|(_, count)| *count == of).count();
        let left_open = shown.iter().any(|(_, count)| with(&all, *count) > with(&shown, *count));
        // Where a value that was not told may have as many as the last one, that is said without asking whether one has.
        cautious += u32::from(!left_open);
    }
    assert!(cautious < 20, "{cautious} of 600 are called open although nothing is");
    assert!(exact > 60 && most_rounds <= 7, "{exact} exact, {most_rounds} rounds");
}

#[test]
fn what_is_not_listed_is_never_called_exact_unless_it_is() {
    let mut roll = dice(5);
    let mut exact = 0;
    for at in 0..400 {
        let (kinds, values, several) = (roll(3), 2 + roll(20), roll(2) == 0);
        let all: Vec<Document> = (0..30)
            .map(|_| (0..if several { roll(4) } else { 1 }).map(|_| value(&mut roll, kinds, values)).collect())
            .collect();
        let whole: Vec<&Document> = all.iter().collect();
        let mut nodes = vec![Vec::new(); 3];
        for document in &whole {
            nodes[roll(3) as usize].push(*document);
        }
        let max = [3, 7, 20][roll(3) as usize];
        let case = Case { order: FacetOrder::Count, max, max_total_hits: 1000, lister: Lister::Nobody };
        let (shown, is_exact, _) = case.merged(&nodes);
        let want = listed(&whole, FacetOrder::Count, max);
        assert!(shown == want || !is_exact, "case {at}: {want}\n{shown}\n{nodes:?}");
        exact += u32::from(is_exact);
    }
    assert!(exact > 40, "{exact}");
}

/// Five of thirteen values are in as many documents each, and no node names more than three.
#[test]
fn documents_are_listed_where_lists_of_values_do_not_tell() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];
    let all: Vec<Document> = (0..80)
        .map(|at| {
            let mut document = vec![json!(names[at % 5]), json!(names[5 + at % 8]), json!(names[5 + (at / 5) % 8])];
            document.dedup();
            document
        })
        .collect();
    let whole: Vec<&Document> = all.iter().collect();
    let mut nodes = vec![Vec::new(); 3];
    whole.iter().enumerate().for_each(|(at, document)| nodes[(at * 7 + at / 3) % 3].push(*document));
    let case = Case { order: FacetOrder::Count, max: 3, max_total_hits: 1000, lister: Lister::Search };
    let (shown, exact, rounds) = case.merged(&nodes);
    assert_eq!(counts(&shown).iter().map(|(_, count)| *count).collect::<Vec<_>>(), [18, 18, 18]);
    assert_eq!(shown, listed(&whole, FacetOrder::Count, 3));
    // The last of them is one of several with as many.
    assert!(!exact && rounds <= 3, "{rounds} rounds");
}

/// A source that has told its most frequent value only, of documents that a search with words found.
fn found(hits: u64) -> Facets {
    let order = [("*".to_owned(), FacetOrder::Count)].into();
    let mut facets = Facets::new(&FacetRules { max_values: 1, order, max_total_hits: 1000 });
    facets.list_documents(Lister::Search);
    let list = Members::parse(r#"{"w":{"a":900}}"#).unwrap();
    facets.add_node(&NodeFacets { distribution: Some(list), hits, ..NodeFacets::default() }).unwrap();
    (0..PATIENCE).for_each(|_| facets.next_round());
    facets
}

fn replies(hits: &[u64]) -> Vec<NodeFacets<'static>> {
    hits.iter().map(|hits| NodeFacets { hits: *hits, ..NodeFacets::default() }).collect()
}

#[test]
fn what_a_search_cannot_list_is_listed_in_groups_of_shards_and_else_by_shard() {
    let mut facets = found(1000);
    assert_eq!(facets.probes(), [(0, Probe::Hits)]);
    facets.learn(0, &Probe::Hits, &replies(&[500; 8])).unwrap();
    let listed = |listing| Probe::Documents { facet: "w".into(), listing };
    let in_groups = listed(Listing::FoundInGroups(5));
    assert_eq!(facets.probes(), [(0, in_groups.clone())]);
    facets.learn(0, &in_groups, &replies(&[1000, 750, 750, 750, 750])).unwrap();
    assert_eq!(facets.probes(), [(0, listed(Listing::FoundByShard))]);
}

#[test]
fn shards_are_counted_one_by_one_only_where_eight_parts_are_too_many() {
    let mut facets = found(1000);
    facets.learn(0, &Probe::Hits, &replies(&[900, 900, 900, 900, 900, 900, 900, 1000])).unwrap();
    assert_eq!(facets.probes(), [(0, Probe::Sizes)]);
    facets.learn(0, &Probe::Sizes, &replies(&[700; 20])).unwrap();
    let in_groups = Probe::Documents { facet: "w".into(), listing: Listing::FoundInGroups(18) };
    assert_eq!(facets.probes(), [(0, in_groups)]);
    facets.learn(0, &Probe::Sizes, &replies(&[1000; 20])).unwrap();
    assert_eq!(facets.probes(), [], "a shard has more than are listed");
}

#[test]
fn documents_of_values_that_stand_alone_are_not_fetched() {
    let order = [("*".to_owned(), FacetOrder::Count)].into();
    let mut facets = Facets::new(&FacetRules { max_values: 2, order, max_total_hits: 10 });
    facets.list_documents(Lister::Fetch);
    let said = |list: &'static str, hits| NodeFacets {
        distribution: Some(Members::parse(list).unwrap()),
        hits,
        ..NodeFacets::default()
    };
    for _ in 0..2 {
        facets.add_node(&said(r#"{"w":{"a":5000,"b":700}}"#, 10)).unwrap();
    }
    let rest = Probe::Rest { facet: "w".into(), apart: Vec::new(), known: vec![FacetValue::text("a".into())] };
    let first = facets.probes();
    assert_eq!(first, [(0, rest.clone()), (1, rest.clone()), (0, Probe::Total), (1, Probe::Total)]);
    for source in 0..2 {
        let [only, others] = [r#"{"w":{"a":5000}}"#, r#"{"w":{"b":700,"c":650}}"#].map(|list| said(list, 10));
        facets.learn(source, &rest, &[only, others]).unwrap();
        facets.learn(source, &Probe::Total, &replies(&[6350])).unwrap();
    }
    assert!(facets.probes().is_empty() && facets.is_exact());
    // Of a third node it is not known whether it has many more of something else.
    facets.add_node(&said(r#"{"w":{"a":5000,"d":700}}"#, 10)).unwrap();
    (0..PATIENCE).for_each(|_| facets.next_round());
    facets.learn(2, &Probe::Total, &replies(&[7000])).unwrap();
    let fetched = |apart| Probe::Documents { facet: "w".into(), listing: Listing::Fetched { apart } };
    let apart = fetched(vec![FacetValue::text("a".into())]);
    let asked = facets.probes();
    assert_eq!(asked, [(0, apart.clone()), (1, apart.clone()), (2, fetched(Vec::new()))]);
    let documents = |of: &[(&'static str, usize)]| NodeFacets {
        hits: of.iter().map(|(_, count)| *count as u64).sum(),
        documents: of.iter().flat_map(|(text, count)| std::iter::repeat_n(*text, *count)).collect(),
        ..NodeFacets::default()
    };
    let (a, b, c, d) = (r#"{"w":"a"}"#, r#"{"w":"b"}"#, r#"{"w":["c"]}"#, r#"{"w":"d"}"#);
    for source in 0..2 {
        facets.learn(source, &apart, &[documents(&[(b, 700), (c, 650)])]).unwrap();
    }
    facets.learn(2, &fetched(Vec::new()), &[documents(&[(a, 5000), (d, 700), (c, 699)])]).unwrap();
    let mut out = Vec::new();
    facets.write_distribution(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), r#"{"w":{"a":15000,"c":1999}}"#);
    assert!(facets.is_exact());
}
