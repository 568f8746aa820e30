//! Sets of many short texts, the ids or the words of a body, as hashes of 64 bits: small, and cheap for texts that count upwards.
//!
//! Texts that differ in their last digit alone share an entry, so ids that count, years and numbers take a tenth of the room, and
//! ten of them one look at memory. An entry takes eight bytes, whatever it holds: the bin that it lies in is a part of its hash. Bins
//! grow one by one and by a quarter, so the set never takes twice its room while it grows, as one large table does.

use std::collections::HashMap;

use super::stable_hash::{ByHash, hash_bytes};

/// A text as a set looks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextKey {
    /// The hash of the text without its last digit, where it ends with one; else of all of it.
    stem: u64,
    /// One bit: the last digit, or [`WHOLE`].
    end: u16,
}

/// A set of texts. None is ever taken out.
#[derive(Debug, Clone)]
pub struct TextSet {
    len: usize,
    stems: Stems,
}

#[derive(Debug, Clone)]
enum Stems {
    /// Each with its ends.
    Few(HashMap<u64, u16, ByHash>),
    /// [`BINS`] of them; the first bits of a stem say which.
    Many(Box<[Bin]>),
}

/// Entries with the same first bits, each at or behind the place that its further bits say. An entry is what is left of the stem,
/// with the ends in the place of the first bits; none is zero, because none is without an end.
#[derive(Debug, Clone, Default)]
struct Bin {
    slots: Box<[u64]>,
    used: usize,
}

/// The end of a text that does not end with a digit.
const WHOLE: u16 = 1 << 10;
/// More stems than these are spread over bins.
const FEW: usize = 1 << 14;
const BIN_BITS: u32 = 12;
const BINS: usize = 1 << BIN_BITS;
/// Of an entry: what is no bit of the stem.
const ENDS: u64 = BINS as u64 - 1;

// === impl TextKey ===

impl TextKey {
    /// Of `text` by itself.
    pub fn of(text: &str) -> Self {
        Self::in_class(0, text)
    }

    /// Texts of different classes are different texts.
    pub fn in_class(class: u64, text: &str) -> Self {
        let (stem, end) = match text.as_bytes() {
            [stem @ .., last] if last.is_ascii_digit() => (stem, 1 << (last - b'0')),
            whole => (whole, WHOLE),
        };
        Self { stem: hash_bytes(stem) ^ class.wrapping_mul(0x9e37_79b9_7f4a_7c15), end }
    }

    /// The text as one number of 64 bits, for other tables than a set.
    pub fn number(self) -> u64 {
        self.stem.rotate_left(u16::BITS) ^ u64::from(self.end)
    }
}

// === impl TextSet ===

impl Default for TextSet {
    fn default() -> Self {
        Self { len: 0, stems: Stems::Few(HashMap::default()) }
    }
}

impl TextSet {
    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without a text.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// False if the text is there already.
    pub fn insert(&mut self, key: TextKey) -> bool {
        self.add(key.stem, key.end) > 0
    }

    /// True if the text is there.
    pub fn contains(&self, key: TextKey) -> bool {
        let ends = match &self.stems {
            Stems::Few(stems) => stems.get(&key.stem).copied().unwrap_or_default(),
            Stems::Many(bins) => bins[bin_of(key.stem)].ends(key.stem),
        };
        ends & key.end != 0
    }

    /// Takes over all texts of `other`.
    pub fn extend(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        match other.stems {
            Stems::Few(stems) => stems.into_iter().for_each(|(stem, ends)| _ = self.add(stem, ends)),
            Stems::Many(bins) => {
                for (at, bin) in bins.into_iter().enumerate() {
                    let first = (at as u64) << (u64::BITS - BIN_BITS);
                    for slot in bin.slots.iter().filter(|slot| **slot != 0) {
                        self.add(first | slot >> BIN_BITS, (slot & ENDS) as u16);
                    }
                }
            }
        }
    }

    /// How many of the texts were not there.
    fn add(&mut self, stem: u64, ends: u16) -> u32 {
        let before = match &mut self.stems {
            Stems::Few(stems) => {
                let held = stems.entry(stem).or_default();
                let before = *held;
                *held |= ends;
                if stems.len() > FEW {
                    self.spread();
                }
                before
            }
            Stems::Many(bins) => bins[bin_of(stem)].add(stem, ends),
        };
        let new = (ends & !before).count_ones();
        self.len += new as usize;
        new
    }

    fn spread(&mut self) {
        let Stems::Few(stems) = &mut self.stems else { return };
        let mut bins = vec![Bin::default(); BINS].into_boxed_slice();
        for (stem, ends) in std::mem::take(stems) {
            bins[bin_of(stem)].add(stem, ends);
        }
        self.stems = Stems::Many(bins);
    }
}

fn bin_of(stem: u64) -> usize {
    (stem >> (u64::BITS - BIN_BITS)) as usize
}

// === impl Bin ===

impl Bin {
    /// Where the entry of `stem` stands, or else may be put; the bin must have a free slot.
    fn find(&self, stem: u64) -> usize {
        let room = self.slots.len();
        let wanted = stem << BIN_BITS;
        // The bits behind those of the bin, as a fraction of the room.
        let mut at = (((wanted >> 32) * room as u64) >> 32) as usize;
        loop {
            let slot = self.slots[at];
            if slot == 0 || slot & !ENDS == wanted {
                return at;
            }
            at += 1;
            if at == room {
                at = 0;
            }
        }
    }

    fn ends(&self, stem: u64) -> u16 {
        if self.used == 0 {
            return 0;
        }
        (self.slots[self.find(stem)] & ENDS) as u16
    }

    /// What ends `stem` had before.
    fn add(&mut self, stem: u64, ends: u16) -> u16 {
        // At most five in six are in use: else entries stand far from their places.
        if (self.used + 1) * 6 > self.slots.len() * 5 {
            self.grow();
        }
        let at = self.find(stem);
        let slot = &mut self.slots[at];
        if *slot == 0 {
            *slot = stem << BIN_BITS;
            self.used += 1;
        }
        let before = (*slot & ENDS) as u16;
        *slot |= u64::from(ends);
        before
    }

    fn grow(&mut self) {
        let room = self.slots.len();
        let old = std::mem::replace(&mut self.slots, vec![0; room + (room / 4).max(4)].into_boxed_slice());
        for slot in old.into_iter().filter(|slot| *slot != 0) {
            // Only the bits behind those of the bin are looked at.
            let at = self.find(slot >> BIN_BITS);
            self.slots[at] = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Each text is looked for before and after it is put in.
    fn check(texts: impl Iterator<Item = String>) -> TextSet {
        let (mut set, mut known) = (TextSet::default(), HashSet::new());
        for text in texts {
            let key = TextKey::of(&text);
            assert_eq!(set.contains(key), known.contains(&text), "{text}");
            assert_eq!(set.insert(key), known.insert(text), "{set:?}");
            assert!(set.contains(key));
            assert_eq!(set.len(), known.len());
        }
        assert!(known.iter().all(|text| set.contains(TextKey::of(text))));
        set
    }

    #[test]
    fn many_texts_are_told_apart() {
        let scattered = |number: u64| format!("{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let texts = (0..150_000).flat_map(|number| [format!("n{number}"), scattered(number), scattered(number / 2)]);
        let set = check(texts);
        assert!(matches!(set.stems, Stems::Many(_)));
        assert!(!set.contains(TextKey::of("n150000")) && !set.contains(TextKey::of("")));
    }

    #[test]
    fn texts_that_count_share_entries() {
        let set = check((0..400_000).map(|number| format!("{number:07}")));
        let Stems::Many(bins) = &set.stems else { panic!("there are 40,000 stems") };
        assert_eq!(bins.iter().map(|bin| bin.used).sum::<usize>(), 40_000);
        assert!(bins.iter().map(|bin| bin.slots.len()).sum::<usize>() < 70_000);
    }

    #[test]
    fn a_set_takes_over_another_one_of_any_size() {
        for (first, second) in [(0, 9), (9, 0), (9, 12), (9, 40_000), (40_000, 9), (40_000, 60_000)] {
            let of = |count: usize| {
                (0..count).map(|number| format!("{number} words")).chain((0..count).map(|n| n.to_string()))
            };
            let (mut one, other) = (check(of(first)), check(of(second)));
            one.extend(other);
            assert_eq!(one.len(), 2 * first.max(second));
            assert!(of(first.max(second)).all(|text| one.contains(TextKey::of(&text))));
        }
    }

    #[test]
    fn a_text_of_another_class_is_another() {
        let [plain, other] = [0, 1].map(|class| TextKey::in_class(class, "paris"));
        assert_ne!(plain, other);
        assert_ne!(plain.number(), other.number());
        assert_eq!(plain, TextKey::of("paris"));
    }

    proptest! {
        #[test]
        fn short_texts_are_told_apart(texts in prop::collection::vec("[ab0-3]{0,3}", 0..200)) {
            check(texts.into_iter());
        }
    }
}
