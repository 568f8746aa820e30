//! The order in which documents were written, as a hidden field: what one node breaks ties by, every replica has.
//!
//! One node leaves documents that tie on every ranking rule in the order of its internal ids. Those are nobody's but the
//! node's: replicas number the same documents differently. So each document carries its place in the order of writes, and
//! a last ranking rule sorts by it.

/// The hidden field that holds a document's place. No client ever sees it.
pub const WRITTEN_FIELD: &str = "_miroir_written";

/// The last ranking rule of every index, where ties are broken so.
pub const WRITTEN_RULE: &str = "_miroir_written:asc";

/// How many documents one batch number has places for.
const PLACES: u64 = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 20;
/// Two bits each, so that a value holds the 42 bits of a batch number and the 20 of a place.
const DIGITS: u32 = 31;

/// A number of 64 bits as digits.
const FOURS: usize = 8;
/// Each byte as four digits: a value is made for every document.
const DIGITS_OF: [[u8; 4]; 256] = {
    let mut all = [[0; 4]; 256];
    let mut byte = 0;
    while byte < all.len() {
        let mut digit = 0;
        while digit < 4 {
            all[byte][digit] = b"[]{}"[byte >> (6 - 2 * digit) & 3];
            digit += 1;
        }
        byte += 1;
    }
    all
};

/// Where a document stands among all that were ever written: the greater, the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Written(u64);

/// The places of one body's documents, one after the other.
#[derive(Debug)]
pub struct Places {
    next: u64,
    end: u64,
}

// === impl Places ===

impl Places {
    /// The places of batch number `batch`, which no other batch may have.
    pub fn of_batch(batch: u64) -> Self {
        let next = batch << PLACE_BITS;
        Self { next, end: next + PLACES }
    }

    /// The next place; `None` when another batch number is needed.
    pub fn take(&mut self) -> Option<Written> {
        let place = (self.next < self.end).then_some(Written(self.next))?;
        self.next += 1;
        Some(place)
    }
}

// === impl Written ===

impl Written {
    /// How many bytes a value of [`WRITTEN_FIELD`] has.
    pub const LENGTH: usize = DIGITS as usize;
    /// How many bits a place has.
    pub(super) const BITS: u32 = 2 * DIGITS;

    /// The bit of this weight.
    pub(super) fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }

    /// Appends the value of [`WRITTEN_FIELD`]: digits that order as bytes do, written with separators, so that it can be
    /// sorted by but never be found by a search.
    pub fn push_value(self, out: &mut Vec<u8>) {
        let mut value = [0; 4 * FOURS];
        for (four, byte) in value.chunks_exact_mut(4).zip(self.0.to_be_bytes()) {
            four.copy_from_slice(&DIGITS_OF[usize::from(byte)]);
        }
        // A place has no more bits than these.
        out.extend_from_slice(&value[value.len() - Self::LENGTH..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(written: Written) -> Vec<u8> {
        let mut out = Vec::new();
        written.push_value(&mut out);
        out
    }

    #[test]
    fn values_are_pinned() {
        let first = Places::of_batch(1_700_000_000_000).take().unwrap();
        assert_eq!(value(first), b"]{[{}}[}}}{]]]{{[[[[[[[[[[[[[[[");
        assert_eq!(value(Places::of_batch(0).take().unwrap()), b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[");
    }

    #[test]
    fn a_batch_has_only_so_many_places() {
        let mut places = Places::of_batch(7);
        let taken: Vec<Written> = std::iter::from_fn(|| places.take()).collect();
        assert_eq!(taken.len() as u64, PLACES);
        assert!(taken.is_sorted());
        assert!(Places::of_batch(8).take().unwrap() > *taken.last().unwrap());
    }

    proptest! {
        #[test]
        fn values_order_as_places_do(left in 0u64..1 << 62, right in 0u64..1 << 62) {
            prop_assert_eq!(value(Written(left)).cmp(&value(Written(right))), left.cmp(&right));
        }
    }
}
