//! How facets are ordered and cut.

use std::collections::BTreeMap;

use serde::Serialize;

use super::index_info::{FacetOrder, IndexInfo};

/// How facets are ordered and cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FacetRules {
    /// Of one facet; the rest is cut off.
    pub max_values: usize,
    pub order: BTreeMap<String, FacetOrder>,
    /// The most that the engine states as a total.
    pub max_total_hits: u64,
}

// === impl FacetRules ===

impl FacetRules {
    /// As the index's settings have them.
    pub fn of(info: &IndexInfo) -> Self {
        Self {
            max_values: info.max_values_per_facet,
            order: info.facet_order.clone(),
            max_total_hits: info.max_total_hits as u64,
        }
    }

    /// The same with the order for all facets in place of each facet's own.
    pub fn in_one_order(mut self) -> Self {
        self.order.retain(|facet, _| facet == "*");
        self
    }

    /// Its own order, else that of `*`, else by value.
    pub fn order_of(&self, facet: &str) -> FacetOrder {
        self.order.get(facet).or_else(|| self.order.get("*")).copied().unwrap_or_default()
    }
}
