//! Numbers, and their digits as texts, in one facet: nodes that list and answer as the engine does, against one with all
//! documents.

use serde_json::{Value, json};

use super::*;

pub(super) type Document = Vec<Value>;

fn is_text(value: &Value, text: &str) -> bool {
    value.as_str() == Some(text)
}

fn is_number(value: &Value, number: &str) -> bool {
    let text = value.to_string();
    value.is_number() && text == number
}

/// How many documents have each value that `shows` takes in, in the order of values or of counts.
fn counted(documents: &[&Document], order: FacetOrder, shows: impl Fn(&Value) -> Option<String>) -> Vec<(String, u64)> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for document in documents {
        let values: std::collections::BTreeSet<String> = document.iter().filter_map(&shows).collect();
        values.into_iter().for_each(|value| *counts.entry(value).or_default() += 1);
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    if order == FacetOrder::Count {
        counts.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| right.0.cmp(&left.0)));
    }
    counts
}

/// The list of one node: its numbers, and then its strings in one map with them.
pub(super) fn listed(documents: &[&Document], order: FacetOrder, max: usize) -> String {
    let numbers = counted(documents, order, |value| value.is_number().then(|| value.to_string()));
    let texts = counted(documents, order, |value| value.as_str().map(str::to_owned));
    let mut shown: Vec<(String, u64)> = numbers.into_iter().take(max).collect();
    let room = if order == FacetOrder::Alpha { max - shown.len() } else { usize::MAX };
    for (text, count) in texts.into_iter().take(room) {
        match shown.iter_mut().find(|(known, _)| *known == text) {
            Some((_, known)) => *known = count,
            None => shown.push((text, count)),
        }
        if order == FacetOrder::Count && shown.len() == max {
            break;
        }
    }
    let shown: Vec<String> = shown.iter().map(|(value, count)| format!("{value:?}:{count}")).collect();
    format!(r#"{{"w":{{{}}}}}"#, shown.join(","))
}

pub(super) fn stats(documents: &[&Document]) -> String {
    let numbers: Vec<f64> = documents.iter().flat_map(|document| document.iter().filter_map(Value::as_f64)).collect();
    let (Some(min), Some(max)) = (numbers.iter().copied().reduce(f64::min), numbers.iter().copied().reduce(f64::max))
    else {
        return "{}".to_owned();
    };
    json!({"w": {"min": min, "max": max}}).to_string()
}

/// The replies of a node that holds `documents` to the filters of `probe`: list, range and total.
fn answers(documents: &[&Document], probe: &Probe, order: FacetOrder, max: usize) -> Vec<(String, String, u64)> {
    let having = |has: &dyn Fn(&Value) -> bool| -> Vec<&Document> {
        documents.iter().copied().filter(|document| document.iter().any(has)).collect()
    };
    let found = match probe {
        Probe::Digits { values, .. } => {
            vec![having(&|value| values.iter().any(|known| is_text(value, &known.shown)))]
        }
        Probe::Twice { values, .. } => values
            .iter()
            .flat_map(|known| {
                [having(&|value| is_text(value, &known.shown)), having(&|value| is_number(value, &known.shown))]
            })
            .collect(),
        other => panic!("{other:?}"),
    };
    found.into_iter().map(|found| (listed(&found, order, max), stats(&found), found.len() as u64)).collect()
}

fn node_of<'a>((list, stats, hits): &'a (String, String, u64)) -> NodeFacets<'a> {
    NodeFacets {
        distribution: Some(Members::parse(list).unwrap()),
        stats: Some(Members::parse(stats).unwrap()),
        hits: *hits,
        ..NodeFacets::default()
    }
}

/// What a cluster of nodes that hold these documents shows, and whether it calls that exact.
fn merged(nodes: &[Vec<&Document>], order: FacetOrder, max_values: usize) -> (String, bool) {
    let rules = FacetRules { max_values, order: [("*".to_owned(), order)].into(), max_total_hits: 1000 };
    let mut facets = Facets::new(&rules);
    for documents in nodes {
        let said = (listed(documents, order, max_values), stats(documents), documents.len() as u64);
        facets.add_node(&node_of(&said)).unwrap();
    }
    for _ in 0..3 {
        for (source, probe) in facets.probes() {
            let said = answers(&nodes[source], &probe, order, max_values);
            let replies: Vec<_> = said.iter().map(node_of).collect();
            facets.learn(source, &probe, &replies).unwrap();
        }
    }
    let mut out = Vec::new();
    facets.write_distribution(&mut out);
    (String::from_utf8(out).unwrap(), facets.is_exact())
}

#[test]
fn a_string_takes_the_place_of_a_number_with_its_digits() {
    let kinds = [json!(-1), json!("-1"), json!("-1"), json!(5), json!("5")];
    let all: Vec<Document> = (0..15).map(|at| vec![kinds[at % 5].clone(), json!((at % 2).to_string())]).collect();
    let whole: Vec<&Document> = all.iter().collect();
    // Six documents have the text -1, three the text 5.
    assert_eq!(listed(&whole, FacetOrder::Alpha, 100), r#"{"w":{"-1":6,"5":3,"0":8,"1":7}}"#);
    for order in [FacetOrder::Alpha, FacetOrder::Count] {
        for spread in 0..30 {
            let mut nodes = [Vec::new(), Vec::new(), Vec::new()];
            for (at, document) in whole.iter().enumerate() {
                nodes[(at * (spread + 1) + at / (1 + spread % 4)) % 3].push(*document);
            }
            let (shown, exact) = merged(&nodes, order, 100);
            assert_eq!(shown, listed(&whole, order, 100), "{order:?}, {spread}");
            assert!(exact, "{order:?}, {spread}");
        }
    }
}

#[test]
fn what_is_called_exact_is_what_one_node_lists() {
    let mut state: u64 = 7;
    let mut roll = |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    let mut exact = 0;
    for case in 0..400 {
        let arrays = case % 2 == 0;
        let all: Vec<Document> = (0..40)
            .map(|_| {
                let count = if arrays { roll(4) } else { 1 };
                let value = |digits: u64, text: bool| if text { json!(digits.to_string()) } else { json!(digits) };
                (0..count).map(|_| value(roll(9), roll(3) == 0)).collect()
            })
            .collect();
        let whole: Vec<&Document> = all.iter().collect();
        let mut nodes = [Vec::new(), Vec::new(), Vec::new()];
        for document in &whole {
            nodes[roll(3) as usize].push(*document);
        }
        let (order, max) = ([FacetOrder::Alpha, FacetOrder::Count][case / 2 % 2], if case % 7 == 0 { 12 } else { 100 });
        let (shown, is_exact) = merged(&nodes, order, max);
        let want = listed(&whole, order, max);
        assert!(shown == want || !is_exact, "case {case}: {want}\n{shown}\n{nodes:?}");
        exact += u32::from(is_exact);
    }
    assert!(exact > 300, "{exact}");
}

/// A newer engine keeps the sign of zero, which is a value of its own then.
#[test]
fn a_zero_with_its_sign_is_a_number_among_numbers() {
    let rules = FacetRules { max_values: 9, order: BTreeMap::new(), max_total_hits: 1000 };
    let mut facets = Facets::new(&rules);
    let said = |list: &str, hits| (list.to_owned(), r#"{"w":{"min":0.0,"max":0.5}}"#.to_owned(), hits);
    for (list, hits) in [(r#"{"w":{"-0":1,"0":1,"0.5":2}}"#, 4), (r#"{"w":{"0":2,"0.5":1}}"#, 3)] {
        facets.add_node(&node_of(&said(list, hits))).unwrap();
    }
    let mut out = Vec::new();
    facets.write_distribution(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), r#"{"w":{"-0":1,"0":3,"0.5":3}}"#);
    // Behind the numbers it is a text.
    let mut facets = Facets::new(&rules);
    facets.add_node(&node_of(&said(r#"{"w":{"0":1,"0.5":2,"-0":1,"a":1}}"#, 5))).unwrap();
    let mut out = Vec::new();
    facets.write_distribution(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), r#"{"w":{"0":1,"0.5":2,"-0":1,"a":1}}"#);
}
