//! Facets of which some values are numbers and others the digits of numbers as texts.
//!
//! The engine puts the numbers of a facet into a map by their texts, and then its strings: a string takes the place, and
//! the count is that of the string, where a number has the same text. So a list does not tell which of the two an entry
//! counts. Where that is in doubt, nodes are asked in words that only one of the two understands.

use std::collections::HashMap;

use super::rest::Rest;
use super::tally::{Counted, Numbers, Tally};
use crate::merge::raw::ObjectWriter;
use crate::plan::index_info::FacetOrder;
use crate::plan::probe::FacetValue;
use crate::plan::probe::Probe;

/// What is known of the entries of a list that look like numbers.
#[derive(Debug, Default, Clone, PartialEq)]
pub enum Kinds {
    /// They are read as numbers, and nothing speaks against it.
    #[default]
    Read,
    /// Something in the list speaks against it.
    Doubted,
    /// Strings have the digits of those at these places, or of some of them.
    Some(Vec<usize>),
    Known,
}

/// How many documents have a number, and how many its digits as a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twice {
    /// Documents.
    pub text: u64,
    /// Documents.
    pub number: u64,
}

/// Whether something in the list of a node that counts over `hits` documents speaks against its numbers.
pub fn doubt(order: FacetOrder, max: usize, values: &[Counted], hits: u64) -> Kinds {
    let numbers: Vec<&Counted> = values.iter().filter(|(value, _)| value.number.is_some()).collect();
    if numbers.is_empty() {
        return Kinds::Known;
    }
    let stand = |ordered: &dyn Fn(&Counted, &Counted) -> bool| numbers.is_sorted_by(|left, right| ordered(left, right));
    let ordered = match order {
        FacetOrder::Alpha => {
            stand(&|left, right| left.0.shown < right.0.shown) || stand(&|left, right| left.0.number < right.0.number)
        }
        FacetOrder::Count => stand(&|left, right| left.1 >= right.1),
    };
    // A document that has one number is counted once, unless a string took the place of its number.
    let counted: u64 = values.iter().map(|(_, count)| count).sum();
    let lost = counted != hits && values.len() < max;
    if ordered && !lost { Kinds::Read } else { Kinds::Doubted }
}

// === impl Tally ===

impl Tally {
    /// The sources of which it is to be asked which of their values are numbers.
    pub fn in_doubt(&self) -> impl Iterator<Item = usize> {
        let suspect = self.has_numbers() && (self.has_strings() || self.lists.iter().any(|list| list.kinds.is_doubt()));
        let open = |source: &usize| self.lists[*source].kinds != Kinds::Known && !self.numbers_of(*source).is_empty();
        (0..self.lists.len()).filter(move |source| suspect && open(source))
    }

    /// The questions that tell.
    pub fn probes_of_kinds(&self, facet: &str) -> Vec<(usize, Probe)> {
        let values = |places: &[usize]| places.iter().map(|place| self.values[*place].clone()).collect();
        let probe = |source: usize| match &self.lists[source].kinds {
            Kinds::Some(places) => Probe::Twice { facet: facet.to_owned(), values: values(places) },
            Kinds::Read | Kinds::Doubted | Kinds::Known => {
                Probe::Digits { facet: facet.to_owned(), values: values(&self.numbers_of(source)) }
            }
        };
        self.in_doubt().map(|source| (source, probe(source))).collect()
    }

    fn numbers_of(&self, source: usize) -> Vec<usize> {
        let list = &self.lists[source];
        let mut places: Vec<usize> =
            list.counts.keys().copied().filter(|place| self.values[*place].number.is_some()).collect();
        places.sort_unstable();
        places
    }

    /// `list` are the values of the `hits` documents that have the digits of a number as a text.
    pub fn learn_digits(&mut self, source: usize, list: &[Counted], hits: u64) {
        let whole = list.len() < self.max;
        let mut places = self.numbers_of(source);
        places.retain(|place| !whole || list.iter().any(|(value, _)| value.shown == self.values[*place].shown));
        let kinds = if hits == 0 || places.is_empty() { Kinds::Known } else { Kinds::Some(places) };
        self.list_of(source).kinds = kinds;
    }

    /// How often the source has each of `values` as a number, and as a text.
    pub fn learn_twice(&mut self, source: usize, values: &[FacetValue], counts: &[Twice]) {
        for (value, count) in values.iter().zip(counts) {
            let number = self.place(value.clone());
            let text = FacetValue::text(value.shown.clone());
            let text = match self.places.get(&text.key()) {
                // However it is spelled there.
                Some(place) => *place,
                None => self.place(text),
            };
            let told = &mut self.list_of(source).counts;
            for (place, count) in [(number, count.number), (text, count.text)] {
                if count > 0 {
                    told.insert(place, count);
                } else {
                    told.remove(&place);
                }
            }
        }
        let (order, max) = (self.order, self.max);
        let list = self.list_of(source);
        list.kinds = Kinds::Known;
        list.latest.retain(|place| list.counts.contains_key(place));
        // What stands twice counts twice when the engine cuts its list.
        if list.rest != Rest::Nothing || list.counts.len() >= max {
            list.rest = if order == FacetOrder::Alpha { Rest::Later } else { Rest::Unknown };
        }
    }

    /// Writes the values as the engine does, which looks for the end of its list as it goes.
    pub fn write(&self, numbers: Numbers, out: &mut Vec<u8>) {
        // Only where numbers and texts stand together does what is not shown matter.
        let is_mixed = self.has_numbers() && self.has_strings();
        let ordered = if is_mixed { self.ordered(numbers) } else { self.first_ordered(numbers) };
        let count = ordered.iter().filter(|(place, _)| self.values[*place].number.is_some()).count();
        let (of_numbers, of_texts) = ordered.split_at(count);
        let mut shown: Vec<(&str, u64)> = Vec::new();
        let mut at: HashMap<&str, usize> = HashMap::new();
        let mut insert = |(place, count): &(usize, u64)| {
            let text = self.values[*place].shown.as_str();
            match at.get(text) {
                Some(at) => shown[*at].1 = *count,
                None => {
                    at.insert(text, shown.len());
                    shown.push((text, *count));
                }
            }
            shown.len()
        };
        of_numbers.iter().take(self.max).for_each(|number| _ = insert(number));
        if self.order == FacetOrder::Alpha && numbers == Numbers::ByText {
            of_texts.iter().take(self.max.saturating_sub(count)).for_each(|text| _ = insert(text));
        } else if self.max > 0 {
            // A list that is full already does not end when another string makes it longer.
            let _ = of_texts.iter().find(|text| insert(text) == self.max);
        }
        let mut object = ObjectWriter::new(out);
        for (text, count) in shown {
            object.number(text, count);
        }
        object.finish();
    }
}

// === impl Kinds ===

impl Kinds {
    fn is_doubt(&self) -> bool {
        matches!(self, Self::Doubted | Self::Some(_))
    }
}
