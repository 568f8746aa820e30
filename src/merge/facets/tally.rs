//! The values of one facet, summed over sources.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::mixed::{self, Kinds};
use super::number;
use super::rest::{Rest, Shared};
use crate::merge::error::MergeError;
use crate::merge::raw::Members;
use crate::plan::index_info::FacetOrder;
use crate::plan::probe::{FacetValue, Probe};
use crate::plan::values::Key;

/// How the numbers of a facet in alphabetical order stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    ByText,
    ByValue,
}

/// A value and how many documents have it.
pub type Counted = (FacetValue, u64);

/// The sums of one facet.
#[derive(Debug)]
pub struct Tally {
    pub(super) order: FacetOrder,
    pub(super) max: usize,
    pub(super) values: Vec<FacetValue>,
    pub(super) places: HashMap<Key, usize>,
    /// Places that nodes write in more than one way.
    respelled: HashSet<usize>,
    /// By source; a source that has not heard of the facet has no value for it.
    pub(super) lists: Vec<List>,
}

/// What one source says.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) counts: HashMap<usize, u64>,
    /// Places of the list that was read last, in its order: what a probe goes on from.
    pub(super) latest: Vec<usize>,
    /// Places whose documents have no other value of this facet, so that they can be left out of a probe.
    pub(super) apart: Vec<usize>,
    pub(super) rest: Rest,
    pub(super) kinds: Kinds,
    /// Up to this number there are more numbers than a list can have.
    cut_below: Option<f64>,
    pub(super) listed: Listed,
}

/// Whether a source was asked for the documents themselves.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    #[default]
    No,
    /// Of some group of shards there were more than a node lists.
    TooManyInAGroup,
    Yes,
}

/// Reads a list. `range` is that of its numbers, if it has any.
pub fn read(members: &Members<'_>, range: Option<(f64, f64)>) -> Result<Vec<Counted>, MergeError> {
    // Numbers come first; what looks like one after a string, or out of the range, is a string of digits.
    let mut numbers = range.is_some();
    let mut values = Vec::with_capacity(members.0.len());
    let within = |value: &f64| range.is_some_and(|(min, max)| (min..=max).contains(value));
    let is_number =
        |at: usize| members.0.get(at).and_then(|(next, _)| number::parse(next)).is_some_and(|next| within(&next));
    for (at, (shown, raw)) in members.0.iter().enumerate() {
        let count = serde_json::from_str(raw.get())?;
        let number = match number::parse(shown) {
            // A zero with its sign is a number where it begins the numbers, or another one follows.
            None if shown == "-0" && (at == 0 || is_number(at + 1)) => Some(-0.0),
            number => number,
        };
        let number = number.filter(|value| numbers && within(value));
        numbers = number.is_some();
        let value = match number {
            Some(number) => FacetValue::number(number),
            None => FacetValue::text(shown.to_string()),
        };
        values.push((value, count));
    }
    Ok(values)
}

/// Values that are all strings.
pub fn texts(values: Vec<(String, u64)>) -> Vec<Counted> {
    values.into_iter().map(|(shown, count)| (FacetValue::text(shown), count)).collect()
}

// === impl FacetValue ===

impl FacetValue {
    /// Numbers before strings; then as `numbers` says and as texts.
    fn compare(&self, other: &Self, numbers: Numbers) -> Ordering {
        match (self.number, other.number) {
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => match numbers {
                Numbers::ByValue => left.total_cmp(&right),
                Numbers::ByText => self.shown.cmp(&other.shown),
            },
            (None, None) => self.text.cmp(&other.text),
        }
    }
}

// === impl Tally ===

impl Tally {
    /// `max` values are shown; more are kept.
    pub fn new(order: FacetOrder, max: usize) -> Self {
        Self { order, max, values: Vec::new(), places: HashMap::new(), respelled: HashSet::new(), lists: Vec::new() }
    }

    /// Takes in the list of a node, which is cut if it is as long as lists get.
    pub fn list(&mut self, source: usize, values: Vec<Counted>) {
        let cut = values.len() >= self.max;
        let rest = self.rest_after(&values, cut);
        self.take(source, values, rest);
    }

    /// Takes in the list of a node that counts over `hits` documents.
    pub fn list_of_node(&mut self, source: usize, values: Vec<Counted>, hits: u64) {
        let kinds = mixed::doubt(self.order, self.max, &values, hits);
        self.list(source, values);
        self.list_of(source).kinds = kinds;
    }

    /// Takes in all values of a source, in no order.
    pub fn list_whole(&mut self, source: usize, values: Vec<Counted>) {
        self.take(source, values, Rest::Nothing);
        let list = self.list_of(source);
        list.latest.clear();
        list.kinds = Kinds::Known;
    }

    /// Takes in the values of each document of a source that has none of `apart`, in place of what it told before, which they
    /// must confirm.
    pub(super) fn list_documents(&mut self, source: usize, apart: &[FacetValue], values: Vec<Counted>) {
        let apart: Vec<usize> = apart.iter().map(|value| self.place(value.clone())).collect();
        let places: Vec<(usize, u64)> = values.into_iter().map(|(value, count)| (self.place(value), count)).collect();
        let mut counts: HashMap<usize, u64> = HashMap::new();
        for (place, count) in places {
            *counts.entry(place).or_default() += count;
        }
        let told = &self.lists[source].counts;
        let sure =
            self.lists[source].kinds == Kinds::Known || told.keys().all(|place| self.values[*place].number.is_none());
        let confirmed =
            |place: &usize, count: u64| apart.contains(place) || counts.get(place).copied().unwrap_or(0) == count;
        if sure && told.iter().any(|(place, count)| !confirmed(place, *count)) {
            return;
        }
        counts.extend(apart.iter().filter_map(|place| Some((*place, told.get(place).copied()?))));
        let list = self.list_of(source);
        list.counts = counts;
        list.latest.clear();
        list.kinds = Kinds::Known;
        list.rest = Rest::Nothing;
    }

    fn take(&mut self, source: usize, values: Vec<Counted>, rest: Rest) {
        let places: Vec<(usize, u64)> = values.into_iter().map(|(value, count)| (self.place(value), count)).collect();
        let list = self.list_of(source);
        list.latest = places.iter().map(|(place, _)| *place).collect();
        list.counts.extend(places);
        list.rest = rest;
    }

    fn rest_after(&self, values: &[Counted], cut: bool) -> Rest {
        if !cut {
            return Rest::Nothing;
        }
        let mixed = values.iter().any(|(value, _)| value.number.is_some())
            && values.iter().any(|(value, _)| value.number.is_none());
        match (self.order, values.last()) {
            (FacetOrder::Alpha, _) => Rest::Later,
            // Numbers and strings have counts of their own, of which only the strings' goes on.
            (FacetOrder::Count, Some((_, count))) if !mixed => Rest::Rarer(*count),
            (FacetOrder::Count, _) => Rest::Unknown,
        }
    }

    /// Where the value stands, a new one at the end. Two ways of writing one value have one place.
    pub(super) fn place(&mut self, value: FacetValue) -> usize {
        let place = *self.places.entry(value.key()).or_insert(self.values.len());
        match self.values.get(place) {
            None => self.values.push(value),
            Some(known) if known.shown != value.shown => {
                self.respelled.insert(place);
            }
            Some(_) => {}
        }
        place
    }

    /// The list of the node with that number, begun if there is none.
    pub(super) fn list_of(&mut self, source: usize) -> &mut List {
        if self.lists.len() <= source {
            self.lists.resize_with(source + 1, List::default);
        }
        &mut self.lists[source]
    }

    /// True if some value is a number; what would be one as a text is none.
    pub(super) fn has_numbers(&self) -> bool {
        self.values.iter().any(|value| value.number.is_some())
    }

    /// True if some value is a text, or was counted as one.
    pub(super) fn has_strings(&self) -> bool {
        self.values.iter().any(|value| value.number.is_none())
    }

    /// True if it shows whether numbers stand by their text or by their value. Example: of 2 and 10, 10 is the first by its text and 2
    /// by its value; 1 and 2 stand alike either way.
    pub fn minds_numbers(&self) -> bool {
        if self.order == FacetOrder::Count {
            return false;
        }
        if self.lists.iter().any(|list| list.rest == Rest::Later) && self.has_numbers() {
            return true;
        }
        let mut numbers: Vec<&FacetValue> = self.values.iter().filter(|value| value.number.is_some()).collect();
        numbers.sort_by(|left, right| left.compare(right, Numbers::ByText));
        !numbers.is_sorted_by(|left, right| left.compare(right, Numbers::ByValue).is_le())
    }

    /// True if some source's numbers stand in an order that only their values explain. Example: 2 before 10.
    pub fn is_by_value(&self) -> bool {
        self.order == FacetOrder::Alpha
            && self.lists.iter().any(|list| self.latest(list).any(|(left, right)| left.shown > right.shown))
    }

    /// Neighbours among the numbers of the list that was read last.
    fn latest<'a>(&'a self, list: &'a List) -> impl Iterator<Item = (&'a FacetValue, &'a FacetValue)> {
        let numbers = || list.latest.iter().map(|place| &self.values[*place]).filter(|value| value.number.is_some());
        numbers().zip(numbers().skip(1))
    }

    /// Sums, as far as they are known.
    pub(super) fn sum(&self, place: usize) -> u64 {
        self.lists.iter().filter_map(|list| list.counts.get(&place)).sum()
    }

    /// How often the source told the value.
    pub fn count_of(&self, source: usize, value: &FacetValue) -> u64 {
        let list = self.places.get(&value.key()).zip(self.lists.get(source));
        list.and_then(|(place, list)| list.counts.get(place)).copied().unwrap_or(0)
    }

    /// How many more documents may have the value than [`Tally::sum`] says.
    pub(super) fn slack(&self, place: usize) -> u64 {
        let open = self.lists.iter().filter(|list| !list.counts.contains_key(&place));
        open.map(|list| list.rest.most()).sum()
    }

    /// Places in the order in which they are listed.
    pub(super) fn ordered(&self, numbers: Numbers) -> Vec<(usize, u64)> {
        let mut places = self.counted();
        places.sort_by(|left, right| self.stand(left, right, numbers));
        places
    }

    /// As [`Tally::ordered`] for as many as are shown; what lies behind them stands in no order. Of 60,000 values, 100 are sorted.
    pub(super) fn first_ordered(&self, numbers: Numbers) -> Vec<(usize, u64)> {
        let mut places = self.counted();
        if self.max > 0 && self.max < places.len() {
            places.select_nth_unstable_by(self.max - 1, |left, right| self.stand(left, right, numbers));
        }
        let shown = self.max.min(places.len());
        places[..shown].sort_unstable_by(|left, right| self.stand(left, right, numbers));
        places
    }

    /// Places that some document has, in the order in which they were first told.
    fn counted(&self) -> Vec<(usize, u64)> {
        let places = (0..self.values.len()).map(|place| (place, self.sum(place)));
        places.filter(|(_, count)| *count > 0).collect()
    }

    fn stand(&self, left: &(usize, u64), right: &(usize, u64), numbers: Numbers) -> Ordering {
        match self.order {
            FacetOrder::Alpha => self.values[left.0].compare(&self.values[right.0], numbers),
            FacetOrder::Count => self.by_count(left, right),
        }
    }

    /// Numbers before strings, then the more frequent, then the greater.
    fn by_count(&self, (left, count): &(usize, u64), (right, other): &(usize, u64)) -> Ordering {
        let (left, right) = (&self.values[*left], &self.values[*right]);
        let kind = left.number.is_none().cmp(&right.number.is_none());
        kind.then_with(|| other.cmp(count)).then_with(|| right.compare(left, Numbers::ByValue))
    }

    /// True if no value that a node has cut off can change what is shown, neither its members nor their counts.
    pub fn is_certain(&self, numbers: Numbers) -> bool {
        let cut = || self.lists.iter().filter(|list| list.rest != Rest::Nothing);
        if cut().next().is_none() {
            return true;
        }
        if cut().any(|list| list.rest == Rest::Unknown) {
            return false;
        }
        match self.order {
            FacetOrder::Count => !(self.has_numbers() && self.has_strings()) && self.is_top_known(),
            // Every source is asked in the order of texts, as one node would be.
            FacetOrder::Alpha if numbers == Numbers::ByText || !self.has_numbers() => true,
            FacetOrder::Alpha => {
                let bound = self.bound();
                !self.has_strings() && cut().all(|list| self.reaches(list, bound))
            }
        }
    }

    /// True if the most frequent values are certain, with their counts: no other can be among them. Example: two are shown, red with 9
    /// documents and blue with 5, which all nodes name. The lists of two nodes are cut, each behind a value of 2 documents: what
    /// nobody has named has 4 at most.
    fn is_top_known(&self) -> bool {
        let ordered = self.first_ordered(Numbers::ByValue);
        let Some(last) = self.max.checked_sub(1).and_then(|at| ordered.get(at)) else { return false };
        let unseen: u64 = self.lists.iter().map(|list| list.rest.most()).sum();
        unseen < last.1
            && ordered[..self.max].iter().all(|(place, _)| self.slack(*place) == 0)
            && ordered[self.max..].iter().all(|(place, count)| count + self.slack(*place) <= last.1)
    }

    /// True if the list ends between values of equal counts. Which of them one node would list depends on how its
    /// database happens to group values, which no answer tells. Example: two are shown, red with 9 documents, blue and green with 5 each.
    pub fn is_cut_in_a_tie(&self) -> bool {
        if self.order == FacetOrder::Alpha {
            return false;
        }
        let ordered = self.first_ordered(Numbers::ByValue);
        let Some(last) = self.max.checked_sub(1).and_then(|at| ordered.get(at)) else { return false };
        let alike = |place: usize| self.values[place].number.is_some() == self.values[last.0].number.is_some();
        ordered[self.max..].iter().any(|(place, count)| alike(*place) && count + self.slack(*place) == last.1)
    }

    /// True if one node may write a value otherwise: it writes it as the first document that has it does, and which of
    /// several nodes' first documents came first no answer tells.
    pub fn is_respelled(&self) -> bool {
        let shown = || self.first_ordered(Numbers::ByValue).into_iter().take(self.max);
        !self.respelled.is_empty() && shown().any(|(place, _)| self.respelled.contains(&place))
    }

    /// The greatest number that can be shown, if numbers stand by value.
    fn bound(&self) -> f64 {
        let mut numbers: Vec<f64> = self.values.iter().filter_map(|value| value.number).collect();
        numbers.sort_by(f64::total_cmp);
        self.max.checked_sub(1).and_then(|at| numbers.get(at)).copied().unwrap_or(f64::INFINITY)
    }

    /// True if the source has told all its numbers up to `bound`.
    fn reaches(&self, list: &List, bound: f64) -> bool {
        match list.rest {
            Rest::Nothing => true,
            Rest::Above(told) => told >= bound,
            // A list that stands by value was cut after its least numbers.
            Rest::Later => self.latest(list).any(|(left, right)| left.shown > right.shown),
            Rest::Rarer(_) | Rest::Shared(_) | Rest::Unknown => false,
        }
    }

    /// `least` is the least number of all.
    pub fn probes(&self, facet: &str, numbers: Numbers, least: Option<f64>) -> Vec<(usize, Probe)> {
        if self.is_certain(numbers) || (self.has_numbers() && self.has_strings()) {
            return Vec::new();
        }
        let known = |places: &[usize]| places.iter().map(|place| self.values[*place].clone()).collect::<Vec<_>>();
        let bound = self.bound();
        let mut probes = Vec::new();
        for (source, list) in self.lists.iter().enumerate() {
            match (self.order, list.rest) {
                (FacetOrder::Count, Rest::Rarer(_)) if list.latest.len() > 1 => {
                    let (apart, known) = (known(&list.apart), known(&list.latest[..list.latest.len() - 1]));
                    probes.push((source, Probe::Rest { facet: facet.to_owned(), apart, known }));
                }
                (FacetOrder::Count, Rest::Shared(shared)) => {
                    let asked = self.probes_of_shared(facet, list, shared);
                    probes.extend(asked.into_iter().map(|probe| (source, probe)));
                }
                (FacetOrder::Alpha, Rest::Later | Rest::Above(_)) if !self.reaches(list, bound) => {
                    let told = if let Rest::Above(told) = list.rest { Some(told) } else { least };
                    // A list in the order of texts that is cut tells little of which numbers are the least: half of the
                    // way there may be few enough for one that is not.
                    let half = told.zip(list.cut_below).map(|(told, cut)| told + (cut - told) / 2.0);
                    let bound = half.map_or(bound, |half| half.min(bound));
                    probes.push((source, Probe::UpTo { facet: facet.to_owned(), bound }));
                }
                _ => {}
            }
        }
        probes
    }

    /// `only` are the values of the documents that have one of `known`, `others` those of the rest.
    pub fn learn_rest(&mut self, source: usize, known: &[FacetValue], only: &[Counted], others: &[Counted]) {
        if let Rest::Shared(_) = self.list_of(source).rest {
            self.find_shared(source, only, others);
            return;
        }
        let apart: Vec<usize> = known.iter().map(|value| self.place(value.clone())).collect();
        let is_known = |value: &FacetValue| known.iter().any(|known| known.key() == value.key());
        // A document with another value beside would be counted in neither list.
        if only.len() != known.len() || !only.iter().all(|(value, _)| is_known(value)) {
            let most = self.list_of(source).rest.most();
            self.list_of(source).rest = Rest::Shared(Shared { most, all_named: false });
            self.find_shared(source, only, others);
            return;
        }
        let rest = self.rest_after(others, others.len() >= self.max);
        self.take(source, others.to_vec(), rest);
        self.list_of(source).apart.extend(apart);
    }

    /// `list` are values of the documents that have a number up to `bound`.
    pub fn learn_up_to(&mut self, source: usize, bound: f64, list: &[Counted]) {
        let cut = list.len() >= self.max;
        let told: Vec<Counted> =
            list.iter().filter(|(value, _)| value.number.is_some_and(|number| number <= bound)).cloned().collect();
        let before = self.list_of(source).counts.len();
        let (rest, latest) = (self.list_of(source).rest, std::mem::take(&mut self.list_of(source).latest));
        self.take(source, told, if cut { rest } else { Rest::Above(bound) });
        let list = self.list_of(source);
        list.latest = latest;
        if cut {
            list.cut_below = Some(bound);
        }
        if cut && list.counts.len() == before {
            // The same numbers again: their documents have others too, which fill the list.
            list.rest = Rest::Unknown;
        }
    }

    /// All values with their sums, in no order.
    pub fn sums(&self) -> Vec<(&str, u64)> {
        (0..self.values.len()).map(|place| (self.values[place].shown.as_str(), self.sum(place))).collect()
    }
}
