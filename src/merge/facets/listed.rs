//! Facets of documents that nodes list themselves, where their lists of values do not tell.
//!
//! Example: three nodes, of which each names the three values that most of its documents have. A fourth one may be on all of
//! them, and no question about values brings its name. The documents do.

use std::collections::HashMap;

use serde_json::Value;

use super::mixed::Kinds;
use super::rest::Rest;
use super::tally::{Counted, Listed, Numbers, Tally};
use super::{Candidates, Facets, Known, NodeFacets, documents};
use crate::merge::error::MergeError;
use crate::plan::index_info::FacetOrder;
use crate::plan::probe::{FacetValue, Lister, Listing, MOST_LISTED, Probe};
use crate::plan::values::Key;

/// Up to so many documents are found rather than their values counted one by one, which costs a search for each value.
const FEW: u64 = 5000;

/// So many documents a search lists at the cost of one more round of questions about values.
const FOUND_IN_A_ROUND: u64 = 200;

/// So many documents are fetched at that cost. Example: 40,000 documents of three nodes are fetched after three rounds, 6,000 at
/// once.
const FETCHED_FIRST: u64 = 2000;
const FETCHED_IN_A_ROUND: u64 = 4000;

/// After so many questions about values documents are listed.
pub(super) const PATIENCE: usize = 3;

/// The engine keeps only the beginning of a text that is longer, in bytes.
const LONGEST_TEXT: usize = 400;

// === impl Facets ===

impl Facets {
    /// Lets nodes be asked for the documents themselves.
    pub fn list_documents(&mut self, lister: Lister) {
        self.lister = lister;
        if lister == Lister::Fetch && self.only_named {
            // Lists of values alone do not tell how many documents there are.
            self.sources.iter_mut().for_each(|candidates| candidates.known = Known::AtLeast);
        }
    }

    /// All that was asked by [`Facets::probes`] is answered.
    pub fn next_round(&mut self) {
        self.rounds += 1;
    }

    /// True if it costs less to list documents than to ask on about values.
    pub(super) fn lists_at_once(&self, tally: &Tally) -> bool {
        let up_to = |most: u64| {
            tally.open().all(|source| self.sources[source].are_known() && self.sources[source].hits <= most)
        };
        let (rounds, by_count) = (self.rounds as u64, tally.order == FacetOrder::Count);
        let at_once = match self.lister {
            Lister::Nobody => false,
            Lister::Search if tally.is_shared() => tally.open().all(|source| self.may_be_few(source)),
            Lister::Search => by_count && up_to(FOUND_IN_A_ROUND * rounds),
            Lister::Fetch => tally.is_shared() || by_count && up_to(FETCHED_FIRST + FETCHED_IN_A_ROUND * rounds),
        };
        self.rounds >= PATIENCE || at_once
    }

    /// True until it is known that they are more. Example: `maxTotalHits` is 1,000, and a node says 1,000. It may have found 1,200; once
    /// a part of its shards says 1,000, too, it has found many more.
    fn may_be_few(&self, source: usize) -> bool {
        match self.sources[source].known {
            Known::Exactly => self.sources[source].hits <= FEW,
            Known::AtLeast => true,
            Known::AtLeastInAPart | Known::AtLeastInAShard => false,
        }
    }

    /// How many documents there are, where that tells when to fetch them.
    pub(super) fn probes_of_totals(&self, tally: &Tally) -> Vec<(usize, Probe)> {
        if self.lister != Lister::Fetch || tally.order != FacetOrder::Count {
            return Vec::new();
        }
        tally.open().filter(|source| !self.sources[*source].are_known()).map(|source| (source, Probe::Total)).collect()
    }

    /// Asks for the documents of each source whose list is cut; first, how many there are.
    pub(super) fn probes_of_documents(&self, facet: &str, tally: &Tally) -> Vec<(usize, Probe)> {
        // All that are cut tell, or none is asked.
        let too_many = |source: usize| match self.sources[source].known {
            Known::Exactly => self.sources[source].hits > MOST_LISTED,
            Known::AtLeast | Known::AtLeastInAPart => false,
            Known::AtLeastInAShard => true,
        };
        if self.lister == Lister::Nobody || tally.open().any(too_many) {
            return Vec::new();
        }
        let probe = |source: usize| {
            let asked = match (self.sources[source].known, self.lister) {
                (Known::Exactly, _) => {
                    Probe::Documents { facet: facet.to_owned(), listing: self.listing(tally, source) }
                }
                (_, Lister::Fetch) => Probe::Total,
                (Known::AtLeast, _) => Probe::Hits,
                (Known::AtLeastInAPart | Known::AtLeastInAShard, _) => Probe::Sizes,
            };
            (source, asked)
        };
        tally.open().filter(|source| tally.lists[*source].listed != Listed::Yes).map(probe).collect()
    }

    fn listing(&self, tally: &Tally, source: usize) -> Listing {
        if self.lister == Lister::Fetch {
            return Listing::Fetched { apart: tally.told_apart(source) };
        }
        let (hits, most) = (self.sources[source].hits, self.rules.max_total_hits);
        match tally.lists[source].listed {
            _ if hits < most => Listing::Found,
            Listed::No => {
                Listing::FoundInGroups(usize::try_from(hits.div_ceil(in_a_group(most))).unwrap_or(usize::MAX))
            }
            Listed::TooManyInAGroup | Listed::Yes => Listing::FoundByShard,
        }
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
        listing: &Listing,
        replies: &[NodeFacets<'_>],
    ) -> Result<(), MergeError> {
        let (most, apart) = match listing {
            Listing::Found | Listing::FoundInGroups(_) | Listing::FoundByShard => (self.rules.max_total_hits, &[][..]),
            Listing::Fetched { apart } => (u64::MAX, apart.as_slice()),
        };
        let capped = replies.iter().any(|reply| reply.hits >= most);
        // A node that ran out of time lists fewer than it found.
        let whole = !capped && replies.iter().all(|reply| reply.documents.len() as u64 == reply.hits);
        let again = capped && matches!(listing, Listing::FoundInGroups(_));
        self.tally(facet).list_of(source).listed = if again { Listed::TooManyInAGroup } else { Listed::Yes };
        if !whole {
            return Ok(());
        }
        let values = values_in(replies.iter().flat_map(|reply| reply.documents.iter().copied()), facet)?;
        if values.iter().any(|(value, _)| value.shown.len() > LONGEST_TEXT) {
            return Ok(());
        }
        if self.only_named {
            let tally = self.tally(facet);
            let (named, others): (Vec<Counted>, Vec<Counted>) =
                values.into_iter().partition(|(value, _)| tally.places.contains_key(&value.key()));
            self.unnamed.extend(others.into_iter().map(|(value, count)| (source, value, count)));
            self.tally(facet).list_documents(source, apart, named);
        } else {
            self.tally(facet).list_documents(source, apart, values);
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

/// So many documents in a group of shards on average that in all likelihood no group has `most`. Their numbers have a binomial
/// distribution, of which this is six deviations below `most`: of 1,000 it is 821, and of 60 it is 24.
fn in_a_group(most: u64) -> u64 {
    let root = (3.0 + most as f64).sqrt() - 3.0;
    if root > 1.0 { (root * root) as u64 } else { 1 }
}

/// The values of `facet` in `documents`. Most documents say the same as others, so that each text is read once.
fn values_in<'a>(documents: impl Iterator<Item = &'a str>, facet: &str) -> Result<Vec<Counted>, MergeError> {
    let mut texts: HashMap<&str, u64> = HashMap::new();
    for text in documents {
        *texts.entry(text).or_default() += 1;
    }
    let mut values = Vec::with_capacity(texts.len());
    for (text, count) in texts {
        let document: Value = serde_json::from_str(text)?;
        let of_one = documents::count(std::slice::from_ref(&document), facet);
        values.extend(of_one.into_iter().map(|(value, _)| (value, count)));
    }
    Ok(values)
}

// === impl Tally ===

impl Tally {
    /// The sources whose lists are cut.
    pub(super) fn open(&self) -> impl Iterator<Item = usize> {
        (0..self.lists.len()).filter(|source| self.lists[*source].rest != Rest::Nothing)
    }

    /// How many documents have the last value that is shown; none where more can be.
    fn least_shown(&self) -> u64 {
        let last = self.max.checked_sub(1).and_then(|at| self.first_ordered(Numbers::ByValue).get(at).copied());
        last.map_or(0, |(_, count)| count)
    }

    fn add(&mut self, source: usize, value: FacetValue, count: u64) {
        let place = self.place(value);
        *self.list_of(source).counts.entry(place).or_default() += count;
    }

    /// Values whose documents need not be listed: these have no other one.
    fn told_apart(&self, source: usize) -> Vec<FacetValue> {
        let list = &self.lists[source];
        if list.kinds != Kinds::Known || !matches!(list.rest, Rest::Rarer(_)) {
            return Vec::new();
        }
        let values = list.apart.iter().map(|place| self.values[*place].clone());
        values.filter(|value| value.in_filter().is_some()).collect()
    }

    /// True if values of some source are to be counted one by one, or no question about them would tell. Example: documents that are red
    /// and blue. What has neither colour can be asked for, but does not tell how often a third one stands beside these.
    pub(super) fn is_shared(&self) -> bool {
        self.open().any(|source| matches!(self.lists[source].rest, Rest::Shared(_) | Rest::Unknown))
    }
}
