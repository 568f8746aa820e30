//! The most frequent values of a facet of which documents have several: a node's list cannot be continued by leaving out
//! the documents of what it told, so that values are counted one by one.

use super::rest::{Rest, Shared};
use super::tally::{Counted, List, Numbers, Tally};
use crate::plan::probe::{FacetValue, Probe};

/// How many values a node is asked to count at once.
const MOST_COUNTED: usize = 200;

// === impl Tally ===

impl Tally {
    /// Counts of what may be among the first, and names of what else there is.
    pub fn probes_of_shared(&self, facet: &str, list: &List, shared: Shared) -> Vec<Probe> {
        let value = |place: &usize| self.values[*place].clone();
        let ordered = self.first_ordered(Numbers::ByValue);
        let least = self.max.checked_sub(1).and_then(|at| ordered.get(at)).map_or(0, |(_, count)| *count);
        let may_be_shown = |place: usize| self.sum(place) + self.slack(place) >= least;
        let matters = |place: &usize| !list.counts.contains_key(place) && may_be_shown(*place);
        let uncounted: Vec<FacetValue> =
            (0..self.values.len()).filter(matters).take(MOST_COUNTED).map(|place| value(&place)).collect();
        let mut probes = Vec::new();
        if !uncounted.is_empty() {
            probes.push(Probe::Counts { facet: facet.to_owned(), values: uncounted });
        }
        if !shared.all_named && self.values.len() < MOST_COUNTED {
            let known = (0..self.values.len()).map(|place| value(&place)).collect();
            probes.push(Probe::Rest { facet: facet.to_owned(), apart: Vec::new(), known });
        }
        probes
    }

    /// Remembers the values in either list, whose counts say little.
    pub fn find_shared(&mut self, source: usize, only: &[Counted], others: &[Counted]) {
        let before = self.values.len();
        for (value, _) in only.iter().chain(others) {
            if !self.places.contains_key(&value.key()) {
                self.place(value.clone());
            }
        }
        let found = self.values.len() > before;
        if let Rest::Shared(shared) = &mut self.list_of(source).rest {
            shared.all_named = !found && others.is_empty();
        }
    }

    /// How many documents of the source have each of `values`; `None` where that does not come out.
    pub fn learn_counts(&mut self, source: usize, values: &[FacetValue], counts: &[Option<u64>]) {
        for (value, count) in values.iter().zip(counts) {
            let place = self.place(value.clone());
            let list = self.list_of(source);
            match count {
                Some(count) => _ = list.counts.insert(place, *count),
                None => list.rest = Rest::Unknown,
            }
        }
    }
}
