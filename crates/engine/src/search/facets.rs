//! How often each facet value occurs among the candidates of a search.

use std::collections::BTreeMap;

use milli::heed::RoTxn;
use milli::{DEFAULT_VALUES_PER_FACET, Index, OrderBy, UserError};
use milli_core as milli;
use roaring::RoaringBitmap;
use serde_json::{Map, Value, json};

use super::params::MergeFacets;
use crate::error::{Code, ResponseError};

/// Counts by facet and value, and the least and greatest number of each facet.
#[derive(Debug, Clone, Default)]
pub struct Facets {
    pub distribution: BTreeMap<String, Vec<(String, u64)>>,
    pub stats: BTreeMap<String, (f64, f64)>,
}

/// Which order each facet was first asked in, and for which index.
pub type FacetOrders = BTreeMap<String, (String, OrderBy)>;

/// Counts `facets` (a star: all) among `candidates`.
pub fn count(
    facets: &[String],
    index: &Index,
    txn: &RoTxn<'_>,
    candidates: RoaringBitmap,
) -> Result<Facets, milli::Error> {
    let mut counter = index.facets_distribution(txn);
    let max = index.max_values_per_facet(txn)?.map_or(DEFAULT_VALUES_PER_FACET, |max| max as usize);
    counter.max_values_per_facet(max);
    let orders = index.sort_facet_values_by(txn)?;
    if !facets.iter().any(|facet| facet == "*") {
        counter.facets(facets.iter().map(|facet| (facet, orders.get(facet))));
    }
    let distribution = counter.candidates(candidates).default_order_by(orders.get("*")).execute()?;
    let stats = counter.compute_stats()?;
    Ok(Facets {
        distribution: distribution.into_iter().map(|(facet, counts)| (facet, counts.into_iter().collect())).collect(),
        stats,
    })
}

/// Facets of all indexes as one, each in the order that all its indexes agree on.
pub fn merged(counted: Vec<(String, Facets)>, merge: MergeFacets, orders: &FacetOrders) -> Facets {
    let mut all = Facets::default();
    for (_, facets) in counted {
        for (facet, counts) in facets.distribution {
            let values = all.distribution.entry(facet).or_default();
            for (value, count) in counts {
                match values.iter_mut().find(|(known, _)| *known == value) {
                    Some((_, sum)) => *sum += count,
                    None => values.push((value, count)),
                }
            }
        }
        for (facet, (min, max)) in facets.stats {
            let stats = all.stats.entry(facet).or_insert((min, max));
            *stats = (stats.0.min(min), stats.1.max(max));
        }
    }
    for (facet, values) in &mut all.distribution {
        match orders.get(facet).map(|(_, order)| *order).unwrap_or_default() {
            OrderBy::Lexicographic => values.sort_by(|left, right| left.0.cmp(&right.0)),
            OrderBy::Count => values.sort_by_key(|value| std::cmp::Reverse(value.1)),
        }
        if let Some(max) = merge.max_values_per_facet {
            values.truncate(max);
        }
    }
    all
}

/// The error of a federated search: the same text under another code.
pub fn federated_error(error: milli::Error) -> ResponseError {
    let code = match &error {
        milli::Error::UserError(UserError::InvalidFacetsDistribution { .. }) => Code::InvalidMultiSearchFacets,
        milli::Error::UserError(_) | milli::Error::InternalError(_) | milli::Error::IoError(_) => {
            return ResponseError::from(error);
        }
    };
    ResponseError::new(code, error.to_string())
}

// === impl Facets ===

impl Facets {
    pub fn distribution_json(&self) -> Value {
        let facets = self.distribution.iter().map(|(facet, counts)| {
            let counts: Map<String, Value> =
                counts.iter().map(|(value, count)| (value.clone(), json!(count))).collect();
            (facet.clone(), Value::Object(counts))
        });
        Value::Object(facets.collect())
    }

    pub fn stats_json(&self) -> Value {
        let stats = self.stats.iter().map(|(facet, (min, max))| (facet.clone(), json!({ "min": min, "max": max })));
        Value::Object(stats.collect())
    }
}
