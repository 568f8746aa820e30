//! Facets of several indexes as one, as the engine puts them together.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::merge::error::MergeError;
use crate::merge::facets::{self, Facets, NodeFacets};
use crate::merge::raw::{Members, ObjectWriter};
use crate::merge::strip;
use crate::plan::facet_rules::FacetRules;
use crate::plan::federation::FacetUnion;
use crate::plan::index_info::FacetOrder;
use crate::plan::values::{normalize, visit};

/// The facets of one index, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFacets {
    pub distribution: String,
    pub stats: String,
}

#[derive(Default)]
struct Sum<'a> {
    values: Vec<(Cow<'a, str>, u64)>,
    places: HashMap<Cow<'a, str>, usize>,
}

// === impl IndexFacets ===

impl IndexFacets {
    /// Those of all nodes together.
    pub fn of_nodes(facets: &Facets) -> Self {
        let (mut distribution, mut stats) = (Vec::new(), Vec::new());
        facets.write_distribution(&mut distribution);
        facets.write_stats(&mut stats);
        Self { distribution: text(distribution), stats: text(stats) }
    }

    /// Those of the only node, whose order is the engine's own.
    pub fn of_one(node: &Members<'_>) -> Result<Self, MergeError> {
        let member = |name| node.get(name).ok_or(MergeError::Missing("facets"));
        let (mut distribution, mut stats) = (Vec::new(), Vec::new());
        strip::document(member("distribution")?.get(), &mut distribution)?;
        facets::relay_stats(&Members::parse(member("stats")?.get())?, &mut stats)?;
        Ok(Self { distribution: text(distribution), stats: text(stats) })
    }

    /// Without what `displaced` documents have; ranges stay as they are, as in the engine.
    pub fn without(self, displaced: &[Value]) -> Result<Self, MergeError> {
        if displaced.is_empty() {
            return Ok(self);
        }
        let mut out = Vec::new();
        let mut object = ObjectWriter::new(&mut out);
        for (facet, values) in Members::parse(&self.distribution)?.0 {
            let mut left = counts(values.get())?;
            leave_out(&mut left, &facet, displaced);
            write_counts(&left, object.key(&facet));
        }
        object.finish();
        Ok(Self { distribution: text(out), ..self })
    }
}

fn counts(values: &str) -> Result<Vec<(Cow<'_, str>, u64)>, MergeError> {
    let counts = Members::parse(values)?.0.into_iter();
    counts.map(|(value, count)| Ok((value, serde_json::from_str(count.get())?))).collect()
}

fn write_counts(values: &[(Cow<'_, str>, u64)], out: &mut Vec<u8>) {
    let mut object = ObjectWriter::new(out);
    for (value, count) in values {
        object.number(value, *count);
    }
    object.finish();
}

/// Takes out of the counts of `facet` what `displaced` documents have. The engine does so when it has ordered and cut the list, by the
/// text of a number as the document has it: `2.0` is not found in a list that says `2`.
fn leave_out(counts: &mut Vec<(Cow<'_, str>, u64)>, facet: &str, displaced: &[Value]) {
    let normal: HashMap<String, usize> = counts
        .iter()
        .enumerate()
        .map(|(at, (value, _))| (normalize(value), at))
        .filter(|(normal, at)| *normal != counts[*at].0)
        .collect();
    let places: HashMap<String, usize> =
        counts.iter().enumerate().map(|(at, (value, _))| (value.to_string(), at)).collect();
    for document in displaced {
        visit(document, facet, &mut |leaf| {
            let place = match leaf {
                Value::Bool(truth) => places.get(&truth.to_string()),
                Value::Number(number) => places.get(&number.to_string()),
                Value::String(text) => {
                    let text = normalize(text);
                    normal.get(&text).or_else(|| places.get(&text))
                }
                Value::Null | Value::Array(_) | Value::Object(_) => None,
            };
            if let Some((_, count)) = place.and_then(|at| counts.get_mut(*at)) {
                *count = count.saturating_sub(1);
            }
        });
    }
    counts.retain(|(_, count)| *count > 0);
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("written from strings")
}

/// Writes `facetsByIndex`.
pub fn write_by_index(all: &[(&str, IndexFacets)], out: &mut Vec<u8>) {
    let mut object = ObjectWriter::new(out);
    for (index, facets) in all {
        let mut inner = ObjectWriter::new(object.key(index));
        inner.raw("distribution", &facets.distribution);
        inner.raw("stats", &facets.stats);
        inner.finish();
    }
    object.finish();
}

/// Writes the `facetDistribution` of all indexes. Values are one if they are written alike. True if a list ends among
/// values with equal counts, which stand in the order in which their index lists them. `displaced` are the documents that hits of other
/// indexes displace.
pub fn write_distribution(
    all: &[(&str, IndexFacets)],
    union: &FacetUnion,
    displaced: &[Value],
    out: &mut Vec<u8>,
) -> Result<bool, MergeError> {
    let mut sums: BTreeMap<String, Sum<'_>> = BTreeMap::new();
    for (_, facets) in all {
        for (facet, values) in Members::parse(&facets.distribution)?.0 {
            let sum = sums.entry(facet.into_owned()).or_default();
            for (value, count) in counts(values.get())? {
                sum.add(value, count);
            }
        }
    }
    let most = union.max_values.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let mut object = ObjectWriter::new(out);
    let mut tied = false;
    for (facet, Sum { mut values, .. }) in sums {
        match union.order_of(&facet) {
            FacetOrder::Alpha => values.sort_by(|left, right| left.0.cmp(&right.0)),
            FacetOrder::Count => {
                values.sort_by_key(|(_, count)| Reverse(*count));
                let edge = most.checked_sub(1).and_then(|last| values.get(last..most.saturating_add(1)));
                tied |= edge.is_some_and(|edge| edge[0].1 == edge[1].1);
            }
        }
        values.truncate(most);
        if !displaced.is_empty() {
            leave_out(&mut values, &facet, displaced);
        }
        write_counts(&values, object.key(&facet));
    }
    object.finish();
    Ok(tied)
}

/// Writes the `facetStats` of all indexes, which are ranges whatever the `rules`.
pub fn write_stats(all: &[(&str, IndexFacets)], rules: &FacetRules, out: &mut Vec<u8>) -> Result<(), MergeError> {
    let mut ranges = Facets::new(rules);
    for (_, facets) in all {
        let stats = Some(Members::parse(&facets.stats)?);
        ranges.add_node(&NodeFacets { stats, ..NodeFacets::default() })?;
    }
    ranges.write_stats(out);
    Ok(())
}

// === impl Sum ===

impl<'a> Sum<'a> {
    fn add(&mut self, value: Cow<'a, str>, count: u64) {
        match self.places.get(&value) {
            Some(place) => self.values[*place].1 += count,
            None => {
                self.places.insert(value.clone(), self.values.len());
                self.values.push((value, count));
            }
        }
    }
}
