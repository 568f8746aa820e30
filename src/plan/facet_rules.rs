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

/// True if `name` stands for every facet that it fits.
pub fn is_pattern(name: &str) -> bool {
    name.contains('*')
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

    /// For those that a client names. Engines that take no other pattern put all facets in one order for `*`.
    pub fn of_named(info: &IndexInfo, names: &[String]) -> Self {
        let mut rules = Self::of(info);
        if !info.facets_by_pattern && names.iter().any(|name| name == "*") {
            rules.order.retain(|facet, _| facet == "*");
        }
        rules
    }

    /// Its own order, else that of `*`, else by value.
    pub fn order_of(&self, facet: &str) -> FacetOrder {
        self.order.get(facet).or_else(|| self.order.get("*")).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_leaves_each_facet_in_its_own_order_where_the_engine_knows_patterns() {
        let mut info = IndexInfo::new("movies");
        info.facet_order = [("*".to_owned(), FacetOrder::Alpha), ("genre".to_owned(), FacetOrder::Count)].into();
        let names = ["*".to_owned()];
        assert_eq!(FacetRules::of_named(&info, &names).order_of("genre"), FacetOrder::Alpha);
        info.facets_by_pattern = true;
        assert_eq!(FacetRules::of_named(&info, &names).order_of("genre"), FacetOrder::Count);
        assert_eq!(FacetRules::of_named(&info, &["gen*".to_owned()]).order_of("genre"), FacetOrder::Count);
    }
}
