//! Facet counts and statistics of several nodes as one.
//!
//! The engine lists the numbers of a facet before its strings, each ordered by value or by count, and cuts the list at
//! `maxValuesPerFacet`. The nodes' lists are cut too, so what a node left out may be missing in a sum. [`Facets`] knows
//! when that can be, and then which [`Probe`]s would tell; whoever can ask nodes asks them.
//!
//! | module | what lives there |
//! |---|---|
//! | `documents` | the facet values of documents that are at hand, counted as the engine counts them |
//! | `listed` | documents that nodes list where their lists of values do not tell |
//! | `mixed` | facets of which some values are numbers and others the digits of numbers as texts |
//! | `number` | numbers among the values of a facet |
//! | `rest` | what a source may have of a facet beyond the values that it listed |
//! | `shared` | the most frequent values of a facet of which documents have several |
//! | `stats` | the least and the greatest number of each facet |
//! | `tally` | the values of one facet, summed over sources |

mod documents;
mod listed;
#[cfg(test)]
mod listed_tests;
mod mixed;
#[cfg(test)]
mod mixed_tests;
mod number;
mod rest;
mod shared;
mod stats;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::plan::facet_rules::FacetRules;
use crate::plan::index_info::FacetOrder;
use crate::plan::probe::{FacetValue, Lister, Probe};
use crate::split::document::RESERVED_PREFIX;

use super::error::MergeError;
use super::raw::{Members, ObjectWriter};
use crate::plan::values::Key;
use mixed::Twice;
use stats::Stats;
use tally::{Numbers, Tally};

/// Up to this many candidates the engine orders the numbers of a facet by their text, above it by their value.
const ORDERED_AS_TEXT: u64 = 3000;

/// What one node says of facets.
#[derive(Debug, Default)]
pub struct NodeFacets<'a> {
    pub distribution: Option<Members<'a>>,
    pub stats: Option<Members<'a>>,
    /// The node's total of hits, possibly capped.
    pub hits: u64,
    /// The hits that it listed.
    pub documents: Vec<&'a str>,
}

/// How many documents the facets of one source are counted over.
#[derive(Debug, Clone, Copy)]
struct Candidates {
    /// At least so many.
    hits: u64,
    known: Known,
}

/// How well a number of documents is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// There are just so many.
    Exactly,
    /// The node's total is capped. Example: `maxTotalHits` is 2. A node that says 2 may have found a and b, or c, too, and c's values
    /// are counted all the same.
    AtLeast,
    /// So is that of an eighth of its shards.
    AtLeastInAPart,
    /// The total of some shard is capped as well: nobody can list them.
    AtLeastInAShard,
}

/// Facets gathered from sources: nodes, and documents that Miroir counts itself.
#[derive(Debug)]
pub struct Facets {
    rules: FacetRules,
    tallies: BTreeMap<String, Tally>,
    stats: Stats,
    sources: Vec<Candidates>,
    /// True once something could not be found out: the values are written as far as they are known. Example: a node fails
    /// when it is asked whether c has a value that its list, which ends after those of a and b, does not name.
    given_up: bool,
    lister: Lister,
    rounds: usize,
    /// True if only some values are searched for, which nodes name in their lists. Example: nodes name red for `r`. A document that they
    /// list is red and blue: red is counted, and blue is kept apart until a node has said whether it is one that is searched for.
    only_named: bool,
    /// Values that documents of a source have and no list names.
    unnamed: Vec<(usize, FacetValue, u64)>,
}

// === impl Candidates ===

impl Candidates {
    fn exactly(hits: u64) -> Self {
        Self { hits, known: Known::Exactly }
    }

    fn are_known(&self) -> bool {
        self.known == Known::Exactly
    }
}

// === impl Facets ===

impl Facets {
    /// Nothing is counted yet; nodes are added one after the other.
    pub fn new(rules: &FacetRules) -> Self {
        Self {
            rules: rules.clone(),
            tallies: BTreeMap::new(),
            stats: Stats::default(),
            sources: Vec::new(),
            given_up: false,
            lister: Lister::Nobody,
            rounds: 0,
            only_named: false,
            unnamed: Vec::new(),
        }
    }

    /// Adds a node. Probes name it by its place in the order of these calls.
    pub fn add_node(&mut self, node: &NodeFacets<'_>) -> Result<(), MergeError> {
        let source = self.sources.len();
        let known = if node.hits < self.rules.max_total_hits { Known::Exactly } else { Known::AtLeast };
        self.sources.push(Candidates { hits: node.hits, known });
        self.stats.add(node.stats.as_ref())?;
        for (facet, raw) in node.distribution.iter().flat_map(|members| &members.0) {
            if !facet.starts_with(RESERVED_PREFIX) {
                let range = stats::range_of(node.stats.as_ref(), facet)?;
                let values = tally::read(&Members::parse(raw.get())?, range)?;
                self.tally(facet).list_of_node(source, values, node.hits);
            }
        }
        Ok(())
    }

    /// Adds a node of which only one facet's values are known.
    pub fn add_values(&mut self, facet: &str, values: Vec<(String, u64)>) {
        let source = self.sources.len();
        self.sources.push(Candidates::exactly(0));
        self.only_named = true;
        self.tally(facet).list(source, tally::texts(values));
    }

    /// Takes in lists that answer a probe of a source added by [`Facets::add_values`].
    pub fn learn_values(
        &mut self,
        source: usize,
        probe: &Probe,
        lists: Vec<Vec<(String, u64)>>,
    ) -> Result<(), MergeError> {
        let facet = probe.facet().unwrap_or_default();
        self.learn_lists(source, facet, probe, &lists.into_iter().map(tally::texts).collect::<Vec<_>>())
    }

    /// The values of a facet and their sums.
    pub fn values(&self, facet: &str) -> Vec<(&str, u64)> {
        self.tallies.get(facet).map(Tally::sums).unwrap_or_default()
    }

    /// Counts `documents` as a source of their own, for the facets that the nodes name.
    pub fn add_documents(&mut self, documents: &[Value]) {
        let source = self.sources.len();
        self.sources.push(Candidates::exactly(documents.len() as u64));
        for (facet, tally) in &mut self.tallies {
            let values = documents::count(documents, facet);
            self.stats.add_numbers(facet, values.iter().filter_map(|(value, _)| value.number));
            tally.list_whole(source, values);
        }
    }

    /// Adds documents of which each of `said` describes one, as a source of their own.
    pub fn add_described(&mut self, said: &[NodeFacets<'_>]) -> Result<(), MergeError> {
        let source = self.sources.len();
        self.sources.push(Candidates::exactly(said.len() as u64));
        let mut lists: BTreeMap<&str, Vec<tally::Counted>> = BTreeMap::new();
        for one in said {
            self.stats.add(one.stats.as_ref())?;
            for (facet, _) in one.distribution.iter().flat_map(|members| &members.0) {
                if !facet.starts_with(RESERVED_PREFIX) {
                    let values = one.list(facet)?;
                    // A document with more values than are shown.
                    self.given_up |= values.len() >= self.rules.max_values;
                    lists.entry(facet).or_default().extend(values);
                }
            }
        }
        for (facet, values) in lists {
            self.tally(facet).list_whole(source, documents::sum_up(values));
        }
        Ok(())
    }

    /// Makes sure that a facet is listed even if no node has a value for it.
    pub fn name(&mut self, facet: &str) {
        if !facet.starts_with(RESERVED_PREFIX) {
            self.tally(facet);
        }
    }

    fn tally(&mut self, facet: &str) -> &mut Tally {
        let (order, max) = (self.rules.order_of(facet), self.rules.max_values);
        self.tallies.entry(facet.to_owned()).or_insert_with(|| Tally::new(order, max))
    }

    /// What is still to be asked, with the sources to ask. Empty when all is known, or as far as it ever will be.
    pub fn probes(&self) -> Vec<(usize, Probe)> {
        if self.given_up {
            return Vec::new();
        }
        // Which values are numbers decides about all that follows.
        let kinds: Vec<_> = self.tallies.iter().flat_map(|(facet, tally)| tally.probes_of_kinds(facet)).collect();
        if !kinds.is_empty() {
            return kinds;
        }
        let Some(numbers) = self.numbers() else {
            let open = self.sources.iter().enumerate().filter(|(_, candidates)| !candidates.are_known());
            return open.map(|(source, _)| (source, Probe::Hits)).collect();
        };
        let mut probes = Vec::new();
        for (facet, tally) in self.tallies.iter().filter(|(_, tally)| !tally.is_certain(numbers)) {
            let listed = || self.probes_of_documents(facet, tally);
            let asked = if self.lists_at_once(tally) { listed() } else { Vec::new() };
            let asked = if asked.is_empty() { tally.probes(facet, numbers, self.stats.least(facet)) } else { asked };
            let asked = if asked.is_empty() { listed() } else { asked };
            let asked = asked.into_iter().chain(self.probes_of_totals(tally));
            for probe in asked {
                if !probes.contains(&probe) {
                    probes.push(probe);
                }
            }
        }
        probes
    }

    /// Takes in what `source` answered to `probe`: a reply for each of its filters, in their order.
    pub fn learn(&mut self, source: usize, probe: &Probe, replies: &[NodeFacets<'_>]) -> Result<(), MergeError> {
        match probe {
            Probe::Hits => {
                let capped = replies.iter().any(|reply| reply.hits >= self.rules.max_total_hits);
                let hits = replies.iter().map(|reply| reply.hits).sum();
                let known = if capped { Known::AtLeastInAPart } else { Known::Exactly };
                self.sources[source] = Candidates { hits, known };
                // Asking again would not bring more.
                self.given_up |= capped && self.numbers().is_none();
            }
            Probe::Sizes => self.learn_sizes(source, replies),
            Probe::Total => {
                let total = replies.first().ok_or(MergeError::Missing("a total of documents"))?;
                self.sources[source] = Candidates::exactly(total.hits);
            }
            Probe::Documents { facet, listing } => self.learn_documents(source, facet, listing, replies)?,
            Probe::Rest { facet, .. } | Probe::UpTo { facet, .. } => {
                let lists = replies.iter().map(|reply| reply.list(facet)).collect::<Result<Vec<_>, _>>()?;
                self.learn_lists(source, facet, probe, &lists)?;
            }
            Probe::Counts { facet, values } => {
                let lists = replies.iter().map(|reply| reply.list(facet)).collect::<Result<Vec<_>, _>>()?;
                let told = values.iter().zip(lists.iter().zip(replies));
                let counts: Vec<_> = told
                    .map(|(value, (list, reply))| self.count_in(value, list).or(self.is_total(reply.hits)))
                    .collect();
                self.tally(facet).learn_counts(source, values, &counts);
            }
            Probe::Digits { facet, .. } => {
                let reply = replies.first().ok_or(MergeError::Missing("an answer to each question about facets"))?;
                let list = reply.list(facet)?;
                self.tally(facet).learn_digits(source, &list, reply.hits);
            }
            Probe::Twice { facet, values } => self.learn_twice(source, facet, values, replies),
        }
        Ok(())
    }

    fn learn_twice(&mut self, source: usize, facet: &str, values: &[FacetValue], replies: &[NodeFacets<'_>]) {
        let mut counts = Vec::with_capacity(values.len());
        for (value, pair) in values.iter().zip(replies.chunks(2)) {
            let [text, number] = pair else { continue };
            let listed = self.tally(facet).count_of(source, value);
            let count = Twice {
                text: self.is_total(text.hits).unwrap_or(listed),
                // Where no string hides it, the number was told before.
                number: if text.hits == 0 && number.hits > 0 { listed } else { number.hits },
            };
            // A total that is capped only tells that there is the number, not where it stands.
            let capped = text.hits > 0 && self.is_total(number.hits).is_none();
            self.given_up |= capped && self.rules.order_of(facet) == FacetOrder::Count;
            counts.push(count);
        }
        self.tally(facet).learn_twice(source, values, &counts);
    }

    /// `hits` of a node, unless the engine may have cut it there.
    fn is_total(&self, hits: u64) -> Option<u64> {
        (hits != self.rules.max_total_hits).then_some(hits)
    }

    /// How often a list has `value`; `None` where it may have been cut before.
    fn count_in(&self, value: &FacetValue, list: &[tally::Counted]) -> Option<u64> {
        let listed = list.iter().find(|(known, _)| known.key() == value.key()).map(|(_, count)| *count);
        listed.or((list.len() < self.rules.max_values).then_some(0))
    }

    fn learn_lists(
        &mut self,
        source: usize,
        facet: &str,
        probe: &Probe,
        lists: &[Vec<tally::Counted>],
    ) -> Result<(), MergeError> {
        match (probe, lists) {
            (Probe::Rest { known, .. }, [only, others]) => self.tally(facet).learn_rest(source, known, only, others),
            (Probe::UpTo { bound, .. }, [list]) => self.tally(facet).learn_up_to(source, *bound, list),
            (Probe::Counts { values, .. }, lists) if lists.len() == values.len() => {
                let told = values.iter().zip(lists);
                let counts: Vec<_> = told.map(|(value, list)| self.count_in(value, list)).collect();
                self.tally(facet).learn_counts(source, values, &counts);
            }
            _ => return Err(MergeError::Missing("an answer to each question about facets")),
        }
        Ok(())
    }

    /// Stops asking: what is known by now is what there will be.
    pub fn give_up(&mut self) {
        self.given_up = true;
    }

    /// True when everything is as one node with all documents would say it.
    pub fn is_exact(&self) -> bool {
        !self.given_up
            && !self.tallies.values().any(|tally| tally.is_cut_in_a_tie() || tally.is_respelled())
            && self.tallies.values().all(|tally| tally.in_doubt().next().is_none())
            && self.numbers().is_some_and(|numbers| self.tallies.values().all(|tally| tally.is_certain(numbers)))
    }

    /// How one node with all documents would order numbers; `None` while that is unknown and matters.
    fn numbers(&self) -> Option<Numbers> {
        let least: u64 = self.sources.iter().map(|candidates| candidates.hits).sum();
        if least > ORDERED_AS_TEXT || self.tallies.values().any(Tally::is_by_value) {
            return Some(Numbers::ByValue);
        }
        let known = self.sources.iter().all(Candidates::are_known);
        (known || !self.tallies.values().any(Tally::minds_numbers)).then_some(Numbers::ByText)
    }

    /// Writes `facetDistribution`.
    pub fn write_distribution(&self, out: &mut Vec<u8>) {
        let numbers = self.numbers().unwrap_or(Numbers::ByText);
        let mut object = ObjectWriter::new(out);
        for (facet, tally) in &self.tallies {
            tally.write(numbers, object.key(facet));
        }
        object.finish();
    }

    /// Writes `facetStats`.
    pub fn write_stats(&self, out: &mut Vec<u8>) {
        self.stats.write(out);
    }
}

// === impl NodeFacets ===

impl<'a> NodeFacets<'a> {
    /// The facets that the node lists, with values or without.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.distribution.iter().flat_map(|members| &members.0).map(|(facet, _)| facet.as_ref())
    }

    /// Out of a search's reply.
    pub fn of(reply: &Members<'a>, hits: u64) -> Result<Self, MergeError> {
        let member = |name| reply.get(name).map(|raw| Members::parse(raw.get())).transpose();
        Ok(Self {
            distribution: member("facetDistribution")?,
            stats: member("facetStats")?,
            hits,
            documents: Vec::new(),
        })
    }

    /// Every facet with each of its values.
    pub fn values(&self) -> Result<Vec<(String, Key)>, MergeError> {
        let mut values = Vec::new();
        for (facet, _) in self.distribution.iter().flat_map(|members| &members.0) {
            values.extend(self.list(facet)?.into_iter().map(|(value, _)| (facet.to_string(), value.key())));
        }
        Ok(values)
    }

    fn list(&self, facet: &str) -> Result<Vec<tally::Counted>, MergeError> {
        let Some(raw) = self.distribution.as_ref().and_then(|members| members.get(facet)) else {
            return Ok(Vec::new());
        };
        tally::read(&Members::parse(raw.get())?, stats::range_of(self.stats.as_ref(), facet)?)
    }
}

/// Writes `stats` of the only node asked, without the hidden field.
pub fn relay_stats(stats: &Members<'_>, out: &mut Vec<u8>) -> Result<(), MergeError> {
    let mut relayed = Stats::default();
    relayed.add(Some(stats))?;
    relayed.write(out);
    Ok(())
}
