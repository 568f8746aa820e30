//! Facet counts and statistics of several nodes as one.
//!
//! The engine lists the numbers of a facet before its strings, each ordered by value or by count, and cuts the list at
//! `maxValuesPerFacet`. The node's lists are cut too, so a sum can miss what a node left out: exact as long as no list
//! was cut or the order is by value.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::placement::shard::SHARD_FIELD;
use crate::plan::index_info::{FacetOrder, IndexInfo};

use super::error::MergeError;
use super::raw::{Members, ObjectWriter};
use super::values::{Key, normalize};

/// Up to this many hits the engine orders the numbers of a facet by their text, above it by their value.
const ORDERED_AS_TEXT: u64 = 3000;

/// How facets are ordered and cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FacetRules {
    pub max_values: usize,
    pub order: BTreeMap<String, FacetOrder>,
}

/// What one node says of facets.
#[derive(Debug, Default)]
pub struct NodeFacets<'a> {
    pub distribution: Option<Members<'a>>,
    pub stats: Option<Members<'a>>,
    /// The node's total of hits, possibly capped.
    pub hits: u64,
}

/// The values of one facet, summed.
#[derive(Debug, Default)]
struct Sum<'a> {
    values: Vec<Entry<'a>>,
    places: HashMap<Key, usize>,
    /// True once a node's numbers stood in an order that only their values explain.
    by_value: bool,
}

#[derive(Debug)]
struct Entry<'a> {
    /// As the first node that has it writes it.
    shown: std::borrow::Cow<'a, str>,
    /// `Some` for a number.
    number: Option<f64>,
    /// What strings are ordered by.
    text: String,
    count: u64,
}

// === impl FacetRules ===

impl FacetRules {
    pub fn of(info: &IndexInfo) -> Self {
        Self { max_values: info.max_values_per_facet, order: info.facet_order.clone() }
    }

    fn order_of(&self, facet: &str) -> FacetOrder {
        self.order.get(facet).or_else(|| self.order.get("*")).copied().unwrap_or_default()
    }
}

/// Writes the merged `facetDistribution`.
pub fn write_distribution(nodes: &[NodeFacets<'_>], rules: &FacetRules, out: &mut Vec<u8>) -> Result<(), MergeError> {
    let mut sums: BTreeMap<&str, Sum<'_>> = BTreeMap::new();
    for node in nodes {
        for (facet, raw) in node.distribution.iter().flat_map(|members| &members.0) {
            if facet != SHARD_FIELD {
                let range = node.range_of(facet)?;
                sums.entry(facet).or_default().add(Members::parse(raw.get())?, range)?;
            }
        }
    }
    let hits = nodes.iter().map(|node| node.hits).sum::<u64>();
    let most = sums.values().map(Sum::total).max().unwrap_or(0);
    let many = hits.max(most) > ORDERED_AS_TEXT;
    let mut object = ObjectWriter::new(out);
    for (facet, sum) in sums {
        sum.write(rules.order_of(facet), many, rules.max_values, object.key(facet));
    }
    object.finish();
    Ok(())
}

/// Writes the merged `facetStats`: the digits stay those of the node that has the least or the greatest number.
pub fn write_stats(nodes: &[NodeFacets<'_>], out: &mut Vec<u8>) -> Result<(), MergeError> {
    let mut ranges: BTreeMap<&str, [(f64, &str); 2]> = BTreeMap::new();
    for node in nodes {
        for (facet, raw) in node.stats.iter().flat_map(|members| &members.0) {
            if facet == SHARD_FIELD {
                continue;
            }
            let (min, max) = ends(raw.get())?;
            let range = ranges.entry(facet).or_insert([min, max]);
            if min.0 < range[0].0 {
                range[0] = min;
            }
            if max.0 > range[1].0 {
                range[1] = max;
            }
        }
    }
    let mut object = ObjectWriter::new(out);
    for (facet, [(_, min), (_, max)]) in ranges {
        object.raw(facet, &format!(r#"{{"min":{min},"max":{max}}}"#));
    }
    object.finish();
    Ok(())
}

type End<'a> = (f64, &'a str);

fn ends(text: &str) -> Result<(End<'_>, End<'_>), MergeError> {
    let stats = Members::parse(text)?;
    let end = |name| {
        let raw = stats.get(name).ok_or(MergeError::Missing("a facet's range"))?.get();
        Ok::<_, MergeError>((serde_json::from_str(raw)?, raw))
    };
    Ok((end("min")?, end("max")?))
}

/// A number as the engine writes one that is a facet value.
fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.to_string() == text)
}

// === impl NodeFacets ===

impl NodeFacets<'_> {
    /// The least and the greatest number of a facet; `None` if the node has no number for it.
    fn range_of(&self, facet: &str) -> Result<Option<(f64, f64)>, MergeError> {
        let Some(raw) = self.stats.as_ref().and_then(|stats| stats.get(facet)) else { return Ok(None) };
        let (min, max) = ends(raw.get())?;
        Ok(Some((min.0, max.0)))
    }
}

// === impl Sum ===

impl<'a> Sum<'a> {
    fn add(&mut self, values: Members<'a>, range: Option<(f64, f64)>) -> Result<(), MergeError> {
        // Numbers come first; what looks like one after a string, or out of the range, is a string of digits.
        let mut numbers = range.is_some();
        let mut last: Option<(f64, String)> = None;
        for (shown, raw) in values.0 {
            let count = serde_json::from_str(raw.get())?;
            let value =
                number(&shown).filter(|value| numbers && range.is_some_and(|(min, max)| (min..=max).contains(value)));
            numbers = value.is_some();
            if let Some(value) = value {
                let here = (value, shown.to_string());
                self.by_value |= last.is_some_and(|last| last.0 < here.0 && last.1 > here.1);
                last = Some(here);
            }
            self.add_one(shown, value, count);
        }
        Ok(())
    }

    fn add_one(&mut self, shown: std::borrow::Cow<'a, str>, number: Option<f64>, count: u64) {
        let text = normalize(&shown);
        let key = number.map_or_else(|| Key::Text(text.clone()), |number| Key::Number(number.to_bits()));
        let at = *self.places.entry(key).or_insert(self.values.len());
        match self.values.get_mut(at) {
            Some(entry) => entry.count += count,
            None => self.values.push(Entry { shown, number, text, count }),
        }
    }

    fn total(&self) -> u64 {
        self.values.iter().map(|entry| entry.count).sum()
    }

    fn write(mut self, order: FacetOrder, many: bool, max_values: usize, out: &mut Vec<u8>) {
        let by_value = many || self.by_value;
        self.values.sort_by(|left, right| match (left.number, right.number) {
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => match order {
                FacetOrder::Count => right.count.cmp(&left.count).then_with(|| b.total_cmp(&a)),
                FacetOrder::Alpha if by_value => a.total_cmp(&b),
                FacetOrder::Alpha => left.shown.cmp(&right.shown),
            },
            (None, None) => match order {
                FacetOrder::Count => right.count.cmp(&left.count).then_with(|| right.text.cmp(&left.text)),
                FacetOrder::Alpha => left.text.cmp(&right.text),
            },
        });
        let mut object = ObjectWriter::new(out);
        for entry in self.values.iter().take(max_values) {
            object.number(&entry.shown, entry.count);
        }
        object.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node<'a>(distribution: &'a str, stats: &'a str, hits: u64) -> NodeFacets<'a> {
        NodeFacets {
            distribution: Some(Members::parse(distribution).unwrap()),
            stats: Some(Members::parse(stats).unwrap()),
            hits,
        }
    }

    fn merged(nodes: &[NodeFacets<'_>], order: FacetOrder, max_values: usize) -> String {
        let rules = FacetRules { max_values, order: [("*".to_owned(), order)].into() };
        let mut out = Vec::new();
        write_distribution(nodes, &rules, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn counts_are_summed_in_order_of_value() {
        let nodes = [
            node(r#"{"brand":{"acme":1,"Zeta":2},"size":{}}"#, "{}", 3),
            node(r#"{"brand":{"Beta":5,"zeta":1}}"#, "{}", 6),
        ];
        assert_eq!(merged(&nodes, FacetOrder::Alpha, 9), r#"{"brand":{"acme":1,"Beta":5,"Zeta":3},"size":{}}"#);
        assert_eq!(merged(&nodes, FacetOrder::Alpha, 2), r#"{"brand":{"acme":1,"Beta":5},"size":{}}"#);
    }

    #[test]
    fn counts_order_by_sum() {
        let nodes = [node(r#"{"brand":{"a":5,"b":4}}"#, "{}", 9), node(r#"{"brand":{"b":4,"a":1}}"#, "{}", 5)];
        assert_eq!(merged(&nodes, FacetOrder::Count, 9), r#"{"brand":{"b":8,"a":6}}"#);
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
        let mut out = Vec::new();
        write_stats(&nodes, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":{"min":-1.0,"max":2.0},"b":{"min":1.0,"max":1.0}}"#);
    }
}
