//! Facets of documents that nodes list themselves, where their lists of values do not tell.
//!
//! Example: three nodes, of which each names the three values that most of its documents have. A fourth one may be on all of
//! them, and no question about values brings its name. The documents do.

use std::collections::HashMap;

use serde_json::Value;

use super::rest::Rest;
use super::tally::{Counted, Numbers, Tally};
use super::{Candidates, Facets, Known, NodeFacets, documents};
use crate::merge::error::MergeError;
use crate::plan::index_info::FacetOrder;
use crate::plan::probe::{FacetValue, Probe};
use crate::plan::values::Key;

/// How many documents a node is asked to list at most.
pub const MOST_LISTED: u64 = 50_000;

/// Up to so many documents are listed rather than their values counted one by one.
const FEW: u64 = 1000;

/// After so many questions about values documents are listed.
const PATIENCE: usize = 3;

/// The engine keeps only the beginning of a text that is longer, in bytes.
const LONGEST_TEXT: usize = 400;

// === impl Facets ===

impl Facets {
    /// Lets nodes be asked for the documents themselves, where `lists`.
    pub fn list_documents(&mut self, lists: bool) {
        self.lists_documents = lists;
    }

    /// All that was asked by [`Facets::probes`] is answered.
    pub fn next_round(&mut self) {
        self.rounds += 1;
    }

    /// True if it costs less to list documents than to ask on about values.
    pub(super) fn lists_at_once(&self, tally: &Tally) -> bool {
        let few = |source: usize| self.sources[source].are_known() && self.sources[source].hits <= FEW;
        let goes_slowly = tally.is_shared() || (self.rounds > 0 && tally.order == FacetOrder::Count);
        self.rounds >= PATIENCE || goes_slowly && tally.open().all(few)
    }

    /// Asks for the documents of each source whose list is cut; first, how many there are.
    pub(super) fn probes_of_documents(&self, facet: &str, tally: &Tally) -> Vec<(usize, Probe)> {
        // All that are cut tell, or none is asked.
        let too_many = |source: usize| match self.sources[source].known {
            Known::Exactly => self.sources[source].hits > MOST_LISTED,
            Known::AtLeast => false,
            Known::AtLeastInAShard => true,
        };
        if !self.lists_documents || tally.open().any(too_many) {
            return Vec::new();
        }
        let probe = |source: usize| {
            let candidates = &self.sources[source];
            let by_shard = candidates.hits >= self.rules.max_total_hits;
            let documents = Probe::Documents { facet: facet.to_owned(), by_shard };
            (source, if candidates.are_known() { documents } else { Probe::Sizes })
        };
        tally.open().filter(|source| !tally.is_listed(*source)).map(probe).collect()
    }

    /// How many documents each shard has.
    pub(super) fn learn_sizes(&mut self, source: usize, replies: &[NodeFacets<'_>]) {
        let hits = replies.iter().map(|reply| reply.hits).sum();
        let capped = replies.iter().any(|reply| reply.hits >= self.rules.max_total_hits);
        let known = if capped { Known::AtLeastInAShard } else { Known::Exactly };
        self.sources[source] = Candidates { hits, known };
    }

    /// Counts the values of `facet` in the documents that `source` lists.
    pub(super) fn learn_documents(
        &mut self,
        source: usize,
        facet: &str,
        replies: &[NodeFacets<'_>],
    ) -> Result<(), MergeError> {
        // A node that ran out of time lists fewer than it found.
        let whole = replies
            .iter()
            .all(|reply| reply.documents.len() as u64 == reply.hits && reply.hits < self.rules.max_total_hits);
        let mut values = Vec::new();
        for text in replies.iter().flat_map(|reply| &reply.documents) {
            let document: Value = serde_json::from_str(text)?;
            values.extend(documents::count(std::slice::from_ref(&document), facet));
        }
        let short = values.iter().all(|(value, _)| value.shown.len() <= LONGEST_TEXT);
        self.tally(facet).list_of(source).listed = true;
        if !whole || !short {
            return Ok(());
        }
        if self.only_named {
            let tally = self.tally(facet);
            let (named, others): (Vec<Counted>, Vec<Counted>) =
                values.into_iter().partition(|(value, _)| tally.places.contains_key(&value.key()));
            self.unnamed.extend(others.into_iter().map(|(value, count)| (source, value, count)));
            self.tally(facet).list_documents(source, named);
        } else {
            self.tally(facet).list_documents(source, values);
        }
        Ok(())
    }

    /// Values of documents that no list of a node has, and that would be shown if they are among those searched for: the
    /// most frequent first, each with the source that has it most often, and how often that has it.
    pub fn unnamed(&self, facet: &str) -> Vec<(usize, FacetValue, u64)> {
        let mut sums: HashMap<Key, (usize, u64, FacetValue, u64)> = HashMap::new();
        let mut by_source: HashMap<(usize, Key), (FacetValue, u64)> = HashMap::new();
        for (source, value, count) in &self.unnamed {
            by_source.entry((*source, value.key())).or_insert_with(|| (value.clone(), 0)).1 += count;
        }
        for ((source, key), (value, count)) in by_source {
            let (most, of, _, sum) = sums.entry(key).or_insert((source, 0, value, 0));
            *sum += count;
            if count > *of {
                (*most, *of) = (source, count);
            }
        }
        let least = self.tallies.get(facet).map_or(0, Tally::least_shown);
        let mut found: Vec<_> = sums.into_values().collect();
        found.retain(|(_, _, value, sum)| value.number.is_none() && *sum >= least);
        found.sort_by(|left, right| right.3.cmp(&left.3).then_with(|| left.2.shown.cmp(&right.2.shown)));
        found.into_iter().map(|(source, of, value, _)| (source, value, of)).collect()
    }

    /// Leaves out for good those whose text `is_meant` is false for.
    pub fn keep_unnamed(&mut self, is_meant: impl Fn(&str) -> bool) {
        self.unnamed.retain(|(_, value, _)| is_meant(&value.shown));
    }

    /// Takes `value`, one of [`Facets::unnamed`], among the values searched for; or leaves it out for good.
    pub fn name_value(&mut self, facet: &str, value: &FacetValue, searched: bool) {
        let (of_value, others) =
            std::mem::take(&mut self.unnamed).into_iter().partition(|(_, other, _)| other.key() == value.key());
        self.unnamed = others;
        if searched {
            let of_value: Vec<(usize, FacetValue, u64)> = of_value;
            for (source, value, count) in of_value {
                self.tally(facet).add(source, value, count);
            }
        }
    }
}

// === impl Tally ===

impl Tally {
    /// The sources whose lists are cut.
    pub(super) fn open(&self) -> impl Iterator<Item = usize> {
        (0..self.lists.len()).filter(|source| self.lists[*source].rest != Rest::Nothing)
    }

    /// How many documents have the last value that is shown; none where more can be.
    fn least_shown(&self) -> u64 {
        let last = self.max.checked_sub(1).and_then(|at| self.ordered(Numbers::ByValue).get(at).copied());
        last.map_or(0, |(_, count)| count)
    }

    fn add(&mut self, source: usize, value: FacetValue, count: u64) {
        let place = self.place(value);
        *self.list_of(source).counts.entry(place).or_default() += count;
    }

    pub(super) fn is_listed(&self, source: usize) -> bool {
        self.lists[source].listed
    }

    /// True if values of some source are to be counted one by one, or no question about them would tell.
    pub(super) fn is_shared(&self) -> bool {
        self.open().any(|source| matches!(self.lists[source].rest, Rest::Shared(_) | Rest::Unknown))
    }
}
