use proptest::prelude::*;

use super::*;

fn node<'a>(distribution: &'a str, stats: &'a str, hits: u64) -> NodeFacets<'a> {
    NodeFacets {
        distribution: Some(Members::parse(distribution).unwrap()),
        stats: Some(Members::parse(stats).unwrap()),
        hits,
        ..NodeFacets::default()
    }
}

fn gathered(nodes: &[NodeFacets<'_>], order: FacetOrder, max_values: usize) -> Facets {
    let order = [("*".to_owned(), order)].into();
    let mut facets = Facets::new(&FacetRules { max_values, order, max_total_hits: 10_000 });
    nodes.iter().for_each(|node| facets.add_node(node).unwrap());
    facets
}

fn shown(facets: &Facets) -> String {
    let mut out = Vec::new();
    facets.write_distribution(&mut out);
    String::from_utf8(out).unwrap()
}

fn merged(nodes: &[NodeFacets<'_>], order: FacetOrder, max_values: usize) -> String {
    shown(&gathered(nodes, order, max_values))
}

/// Answers probes as nodes would that hold `documents`, each the values of one facet, until nothing is asked.
fn until_certain(facets: &mut Facets, nodes: &[Vec<Vec<&str>>], max: usize) -> usize {
    let mut rounds = 0;
    loop {
        let probes = facets.probes();
        if probes.is_empty() {
            return rounds;
        }
        rounds += 1;
        for (source, probe) in probes {
            if let Probe::Counts { values, .. } = &probe {
                let with = |value: &FacetValue| -> Vec<&Vec<&str>> {
                    nodes[source].iter().filter(|document| document.contains(&value.shown.as_str())).collect()
                };
                let found: Vec<_> = values.iter().map(with).collect();
                let lists: Vec<_> = found.iter().map(|found| listed(found.iter().copied(), max)).collect();
                let replies: Vec<_> =
                    lists.iter().zip(&found).map(|(list, found)| node(list, "{}", found.len() as u64)).collect();
                facets.learn(source, &probe, &replies).unwrap();
                continue;
            }
            let Probe::Rest { apart, known, .. } = &probe else { panic!("{probe:?}") };
            let has = |document: &[&str], values: &[FacetValue]| {
                document.iter().any(|value| values.iter().any(|known| known.shown == *value))
            };
            let only = listed(nodes[source].iter().filter(|document| has(document, known)), max);
            let others =
                listed(nodes[source].iter().filter(|document| !has(document, known) && !has(document, apart)), max);
            facets.learn(source, &probe, &[node(&only, "{}", 1), node(&others, "{}", 1)]).unwrap();
        }
    }
}

/// A list as the engine makes it in the order of counts.
fn listed<'a>(documents: impl Iterator<Item = &'a Vec<&'a str>>, max: usize) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for value in documents.flatten() {
        *counts.entry(value).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| right.0.cmp(left.0)));
    let list: Vec<String> = counts.iter().take(max).map(|(value, count)| format!("\"{value}\":{count}")).collect();
    format!(r#"{{"brand":{{{}}}}}"#, list.join(","))
}

#[test]
fn counts_are_summed_in_order_of_value() {
    let nodes = [
        node(r#"{"brand":{"acme":1,"Zeta":2},"size":{}}"#, "{}", 3),
        node(r#"{"brand":{"Beta":5,"zeta":1}}"#, "{}", 6),
    ];
    assert_eq!(merged(&nodes, FacetOrder::Alpha, 9), r#"{"brand":{"acme":1,"Beta":5,"Zeta":3},"size":{}}"#);
    assert_eq!(merged(&nodes, FacetOrder::Alpha, 2), r#"{"brand":{"acme":1,"Beta":5},"size":{}}"#);
    assert!(gathered(&nodes, FacetOrder::Alpha, 2).is_exact());
    // One node writes the value as its first document does, which may be either.
    assert!(!gathered(&nodes, FacetOrder::Alpha, 9).is_exact());
}

#[test]
fn counts_order_by_sum() {
    let nodes = [node(r#"{"brand":{"a":5,"b":4}}"#, "{}", 9), node(r#"{"brand":{"b":4,"a":1}}"#, "{}", 5)];
    assert_eq!(merged(&nodes, FacetOrder::Count, 9), r#"{"brand":{"b":8,"a":6}}"#);
    let tie = [node(r#"{"brand":{"b":2,"a":2}}"#, "{}", 9), node(r#"{"brand":{"c":2}}"#, "{}", 5)];
    assert_eq!(merged(&tie, FacetOrder::Count, 9), r#"{"brand":{"c":2,"b":2,"a":2}}"#);
}

#[test]
fn a_cut_list_is_certain_when_no_other_value_can_be_among_the_first() {
    // At most 1 + 1 documents have another value, and c at most 3 + 1.
    let nodes = [node(r#"{"brand":{"a":9,"b":8,"c":1}}"#, "{}", 9), node(r#"{"brand":{"a":7,"b":6,"d":1}}"#, "{}", 9)];
    let facets = gathered(&nodes, FacetOrder::Count, 3);
    assert!(!facets.is_exact(), "the third is either c or d or another");
    let nodes = [node(r#"{"brand":{"a":9,"b":8}}"#, "{}", 9), node(r#"{"brand":{"a":7,"b":6}}"#, "{}", 9)];
    let facets = gathered(&nodes, FacetOrder::Count, 2);
    assert!(!facets.is_exact(), "8 + 6 documents may have a value that neither names");
    let nodes = [node(r#"{"brand":{"a":9,"b":1}}"#, "{}", 9), node(r#"{"brand":{"a":7}}"#, "{}", 9)];
    assert!(!gathered(&nodes, FacetOrder::Count, 2).is_exact(), "a node that was cut at 1 may have b's equals");
    let nodes = [node(r#"{"brand":{"a":9,"b":5,"c":2}}"#, "{}", 9), node(r#"{"brand":{"a":7,"b":4,"c":2}}"#, "{}", 9)];
    let mut facets = gathered(&nodes, FacetOrder::Count, 3);
    facets.tallies.get_mut("brand").unwrap().list_whole(1, Vec::new());
    assert!(facets.is_exact(), "all three are certain, and no other has more than 2");
}

#[test]
fn a_list_that_ends_in_a_tie_is_not_called_exact() {
    let nodes = [node(r#"{"brand":{"a":5,"b":2,"c":2}}"#, "{}", 9), node(r#"{"brand":{"a":1}}"#, "{}", 9)];
    let facets = gathered(&nodes, FacetOrder::Count, 2);
    assert_eq!(shown(&facets), r#"{"brand":{"a":6,"c":2}}"#);
    assert!(!facets.is_exact());
    assert!(gathered(&nodes, FacetOrder::Count, 4).is_exact());
    assert!(gathered(&nodes, FacetOrder::Alpha, 4).is_exact());
}

#[test]
fn probes_bring_what_cut_lists_left_out() {
    // c is third on both nodes and first of all; each node shows two values.
    let left: Vec<Vec<&str>> = [vec![vec!["a"]; 5], vec![vec!["c"]; 3], vec![vec!["b"]; 4]].concat();
    let right: Vec<Vec<&str>> = [vec![vec!["d"]; 6], vec![vec!["c"]; 4], vec![vec!["e"]; 5]].concat();
    let nodes = [left, right];
    let lists = nodes.each_ref().map(|documents| listed(documents.iter(), 2));
    let replies = lists.each_ref().map(|list| node(list, "{}", 12));
    let mut facets = gathered(&replies, FacetOrder::Count, 2);
    assert_eq!(shown(&facets), r#"{"brand":{"d":6,"e":5}}"#);
    let rounds = until_certain(&mut facets, &nodes, 2);
    assert!(facets.is_exact(), "{rounds} rounds");
    assert_eq!(shown(&facets), r#"{"brand":{"c":7,"d":6}}"#);
}

#[test]
fn values_that_share_documents_are_counted_one_by_one() {
    // x is on no list, and half of its documents have b too.
    let left: Vec<Vec<&str>> =
        [vec![vec!["a"]; 6], vec![vec!["b"]; 4], vec![vec!["b", "x"]; 2], vec![vec!["c"]; 6], vec![vec!["x"]; 2]]
            .concat();
    let right: Vec<Vec<&str>> = [vec![vec!["d"]; 5], vec![vec!["x"]; 4], vec![vec!["e"]; 4]].concat();
    let nodes = [left, right];
    let lists = nodes.each_ref().map(|documents| listed(documents.iter(), 3));
    let replies = lists.each_ref().map(|list| node(list, "{}", 12));
    let mut facets = gathered(&replies, FacetOrder::Count, 3);
    until_certain(&mut facets, &nodes, 3);
    assert_eq!(shown(&facets), r#"{"brand":{"x":8,"c":6,"b":6}}"#);
    assert!(!facets.is_exact(), "a has as many as c and b");
}

/// Five of thirteen values are in as many documents each, and no node has seen more than three of its own.
#[test]
fn the_most_frequent_of_values_that_share_documents_are_found() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];
    let documents: Vec<Vec<&str>> =
        (0..80).map(|at| vec![names[at % 5], names[5 + at % 8], names[5 + (at / 5) % 8]]).collect();
    let mut nodes = [Vec::new(), Vec::new(), Vec::new()];
    for (at, mut document) in documents.into_iter().enumerate() {
        document.dedup();
        nodes[(at * 7 + at / 3) % 3].push(document);
    }
    let lists = nodes.each_ref().map(|documents| listed(documents.iter(), 3));
    let replies = lists.each_ref().map(|list| node(list, "{}", 27));
    let mut facets = gathered(&replies, FacetOrder::Count, 3);
    let before = shown(&facets);
    until_certain(&mut facets, &nodes, 3);
    let all: Vec<Vec<&str>> = nodes.concat();
    assert_eq!(shown(&facets), listed(all.iter(), 3), "was {before}");
}

#[test]
fn numbers_go_before_strings_and_digits_may_be_a_string() {
    let stats = r#"{"size":{"min":2.0,"max":10.0}}"#;
    let nodes = [
        node(r#"{"size":{"10":1,"2":1,"XL":1}}"#, stats, 3),
        node(r#"{"size":{"5":1,"7":1,"l":2}}"#, r#"{"size":{"min":5.0,"max":5.0}}"#, 3),
    ];
    assert_eq!(merged(&nodes, FacetOrder::Alpha, 9), r#"{"size":{"10":1,"2":1,"5":1,"7":1,"l":2,"XL":1}}"#);
    let many = [
        node(r#"{"size":{"2":1,"10":1,"XL":1}}"#, stats, 4000),
        node(r#"{"size":{"5":1}}"#, r#"{"size":{"min":5.0,"max":5.0}}"#, 1),
    ];
    assert_eq!(merged(&many, FacetOrder::Alpha, 9), r#"{"size":{"2":1,"5":1,"10":1,"XL":1}}"#);
}

#[test]
fn numbers_by_text_are_asked_again_when_one_node_would_order_them_by_value() {
    let stats = r#"{"size":{"min":3.0,"max":100.0}}"#;
    // Each node has up to 3000 documents, all together more: its list starts with 10 and 100 where 3 comes first.
    let nodes = [
        node(r#"{"size":{"10":1,"100":1}}"#, stats, 2000),
        node(r#"{"size":{"20":1,"30":1}}"#, r#"{"size":{"min":4.0,"max":30.0}}"#, 2000),
    ];
    let mut facets = gathered(&nodes, FacetOrder::Alpha, 2);
    assert!(!facets.is_exact());
    let probes = facets.probes();
    assert_eq!(probes.len(), 2);
    assert!(probes.iter().all(|(_, probe)| *probe == Probe::UpTo { facet: "size".into(), bound: 20.0 }));
    facets.learn(0, &probes[0].1, &[node(r#"{"size":{"10":1,"3":2}}"#, stats, 3)]).unwrap();
    let stats = r#"{"size":{"min":4.0,"max":4.0}}"#;
    facets.learn(1, &probes[1].1, &[node(r#"{"size":{"4":1}}"#, stats, 3)]).unwrap();
    // The first node's list was full again: it is asked for less.
    let probes = facets.probes();
    assert_eq!(probes, [(0, Probe::UpTo { facet: "size".into(), bound: 4.0 })]);
    facets.learn(0, &probes[0].1, &[node(r#"{"size":{"3":2}}"#, r#"{"size":{"min":3.0,"max":3.0}}"#, 2)]).unwrap();
    assert!(facets.is_exact());
    assert_eq!(shown(&facets), r#"{"size":{"3":2,"4":1}}"#);
}

/// The least numbers stand last in the order of texts: lists that are cut never get there.
#[test]
fn the_least_numbers_are_found_by_halves() {
    let all: Vec<f64> = (0..4000).map(|at| -100.0 - f64::from(at) / 40.0).collect();
    // What one of two nodes says of its numbers up to `bound`, in the order of texts and cut.
    let said = |node: usize, bound: f64| -> (String, u64) {
        let own = all.iter().skip(node).step_by(2).filter(|number| **number <= bound);
        let mut texts: Vec<String> = own.map(f64::to_string).collect();
        texts.sort();
        let listed: Vec<String> = texts.iter().take(40).map(|text| format!("{text:?}:1")).collect();
        (format!("{{\"lng\":{{{}}}}}", listed.join(",")), texts.len() as u64)
    };
    let stats = r#"{"lng":{"min":-199.975,"max":-100.0}}"#;
    let first = [said(0, 0.0), said(1, 0.0)];
    let nodes = first.each_ref().map(|(list, hits)| node(list, stats, *hits));
    let mut facets = gathered(&nodes, FacetOrder::Alpha, 40);
    let mut rounds = 0;
    loop {
        let probes = facets.probes();
        if probes.is_empty() {
            break;
        }
        for (source, probe) in probes {
            let Probe::UpTo { bound, .. } = probe else { panic!("{probe:?}") };
            let (list, hits) = said(source, bound);
            facets.learn(source, &probe, &[node(&list, stats, hits)]).unwrap();
        }
        rounds += 1;
        assert!(rounds < 10, "{rounds} rounds");
    }
    assert!(facets.is_exact());
    assert!(shown(&facets).starts_with(r#"{"lng":{"-199.975":1,"-199.95":1,"#), "{}", shown(&facets));
}

#[test]
fn capped_totals_are_counted_when_the_order_of_numbers_depends_on_them() {
    let stats = r#"{"size":{"min":2.0,"max":10.0}}"#;
    let capped = |hits| node(r#"{"size":{"10":1,"2":1}}"#, stats, hits);
    let mut facets = gathered(&[], FacetOrder::Alpha, 9);
    facets.rules.max_total_hits = 1000;
    facets.add_node(&capped(1000)).unwrap();
    facets.add_node(&capped(1000)).unwrap();
    // The numbers are those of two documents: digits as a text may have taken the place of others.
    for (source, probe) in facets.probes() {
        assert!(matches!(probe, Probe::Digits { .. }), "{probe:?}");
        facets.learn(source, &probe, &[node("{}", "{}", 0)]).unwrap();
    }
    assert_eq!(facets.probes(), [(0, Probe::Hits), (1, Probe::Hits)]);
    let part = |hits| node("{}", "{}", hits);
    facets.learn(0, &Probe::Hits, &[part(700), part(900)]).unwrap();
    facets.learn(1, &Probe::Hits, &[part(700), part(800)]).unwrap();
    assert!(facets.is_exact());
    assert_eq!(shown(&facets), r#"{"size":{"2":2,"10":2}}"#);
}

#[test]
fn a_full_list_of_numbers_lets_every_string_through_as_the_engine_does() {
    let stats = r#"{"size":{"min":1.0,"max":3.0}}"#;
    let nodes = [node(r#"{"size":{"3":3,"2":2,"x":1}}"#, stats, 9), node(r#"{"size":{"1":1,"y":1}}"#, stats, 9)];
    let facets = gathered(&nodes, FacetOrder::Count, 4);
    assert_eq!(shown(&facets), r#"{"size":{"3":3,"2":2,"1":1,"y":1}}"#);
    let facets = gathered(&nodes, FacetOrder::Count, 3);
    assert_eq!(shown(&facets), r#"{"size":{"3":3,"2":2,"1":1,"y":1,"x":1}}"#);
}

#[test]
fn documents_are_counted_as_a_node_counts_them() {
    let documents = [
        serde_json::json!({"brand": ["Acme", "ACME", "b", ""], "size": 2}),
        serde_json::json!({"brand": "acme", "size": [2.0, 3.5, true], "other": 1}),
    ];
    let nodes = [node(r#"{"brand":{"Acme":1},"size":{"1":1}}"#, r#"{"size":{"min":1.0,"max":1.0}}"#, 1)];
    let mut facets = gathered(&nodes, FacetOrder::Alpha, 9);
    facets.add_documents(&documents);
    assert_eq!(shown(&facets), r#"{"brand":{"Acme":3,"b":1},"size":{"1":1,"2":2,"3.5":1,"true":1}}"#);
    // Their order says nothing of how a node orders numbers.
    facets.add_documents(&[serde_json::json!({"size": 20}), serde_json::json!({"size": 3})]);
    let sizes = r#""size":{"1":1,"2":2,"20":1,"3":1,"3.5":1,"true":1}"#;
    assert!(shown(&facets).contains(sizes), "{}", shown(&facets));
    let mut out = Vec::new();
    facets.write_stats(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), r#"{"size":{"min":1.0,"max":20.0}}"#);
}

#[test]
fn the_hidden_field_is_no_facet() {
    let nodes = [node(r#"{"_miroir_shard":{"{{{{{{{{":1},"a":{"x":1}}"#, "{}", 1)];
    assert_eq!(merged(&nodes, FacetOrder::Alpha, 9), r#"{"a":{"x":1}}"#);
}

#[test]
fn stats_take_the_ends_with_their_digits() {
    let nodes = [
        node("{}", r#"{"a":{"min":1.5,"max":2.0},"b":{"min":1.0,"max":1.0}}"#, 1),
        node("{}", r#"{"a":{"min":-1.0,"max":1.75}}"#, 1),
    ];
    let facets = gathered(&nodes, FacetOrder::Alpha, 9);
    let mut out = Vec::new();
    facets.write_stats(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":{"min":-1.0,"max":2.0},"b":{"min":1.0,"max":1.0}}"#);
}

proptest! {
    /// What is cut of a list is what stands behind in the order of all.
    #[test]
    fn the_first_of_many_values_are_shown(
        counts in prop::collection::vec((0_u64..4, 0_u64..4), 0..40),
        max in 1_usize..45,
        by_count: bool,
        of_numbers: bool,
    ) {
        let name = |at: usize| if of_numbers { at.to_string() } else { format!("v{at}") };
        let list = |of: &dyn Fn(&(u64, u64)) -> u64| {
            let members = counts.iter().enumerate().filter(|(_, pair)| of(pair) > 0);
            let members: Vec<String> = members.map(|(at, pair)| format!("\"{}\":{}", name(at), of(pair))).collect();
            format!("{{{}}}", members.join(","))
        };
        let (first, second) = (list(&|pair| pair.0), list(&|pair| pair.1));
        let stats = if of_numbers { r#"{"f":{"min":0,"max":100}}"# } else { "{}" };
        let (order, hits) = if by_count { (FacetOrder::Count, 9000) } else { (FacetOrder::Alpha, 9000) };
        let (first, second) = (format!("{{\"f\":{first}}}"), format!("{{\"f\":{second}}}"));
        let shown = merged(&[node(&first, stats, hits), node(&second, stats, hits)], order, max);
        let mut expected: Vec<(usize, u64)> =
            counts.iter().map(|(one, other)| one + other).enumerate().filter(|(_, count)| *count > 0).collect();
        let as_text = |at: usize| if of_numbers { format!("{at:05}") } else { name(at) };
        match order {
            FacetOrder::Alpha => expected.sort_by_key(|(at, _)| as_text(*at)),
            FacetOrder::Count => expected.sort_by_key(|(at, count)| std::cmp::Reverse((*count, as_text(*at)))),
        }
        expected.truncate(max);
        let expected: Vec<String> = expected.into_iter().map(|(at, count)| format!("\"{}\":{count}", name(at))).collect();
        prop_assert_eq!(shown, format!("{{\"f\":{{{}}}}}", expected.join(",")));
    }
}
