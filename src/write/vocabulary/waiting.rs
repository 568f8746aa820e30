//! Words of a body on their way to the tables of known words, which no cache of the processor holds.
//!
//! Most words of a text have come just before: a small table of the last ones keeps those from the large ones. The rest is looked for
//! many at a time, so that looks at memory do not wait for each other.

use crate::placement::text_set::TextKey;

/// Words that wait, and the last ones that did.
#[derive(Default)]
pub(super) struct Waiting {
    words: Vec<Word>,
    /// Their letters, one word behind the other.
    letters: String,
    /// A word at its place, or an older one of that place; empty until there are many words.
    last: Vec<u64>,
}

/// A word that waits.
#[derive(Clone, Copy)]
pub(super) struct Word {
    pub key: TextKey,
    /// What its home is called among those of the body.
    pub home: usize,
    /// Where its letters end.
    end: usize,
}

/// So many words are looked for at a time.
const AT_ONCE: usize = 256;
/// As many bits number the places of the last words: 32 KiB in all, which stay close to the processor.
const PLACE_BITS: u32 = 12;

// === impl Waiting ===

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// True once it is worth looking.
    pub(super) fn is_due(&self) -> bool {
        self.words.len() >= AT_ONCE
    }

    /// Takes a word, unless it was one of the last.
    pub(super) fn push(&mut self, key: TextKey, home: usize, word: &str) {
        let number = key.number();
        let place = (number >> (u64::BITS - PLACE_BITS)) as usize;
        if let Some(last) = self.last.get_mut(place) {
            if *last == number {
                return;
            }
            *last = number;
        }
        self.letters.push_str(word);
        self.words.push(Word { key, home, end: self.letters.len() });
    }

    /// Hands over the words that `is_new` says are, in the order in which they came; none waits any more.
    pub(super) fn look(&mut self, mut is_new: impl FnMut(TextKey) -> bool, mut on_new: impl FnMut(Word, &str)) {
        // All looks first: what is done with a new word would come between them.
        let mut from = 0;
        let mut new = Vec::new();
        for word in self.words.drain(..) {
            let start = std::mem::replace(&mut from, word.end);
            if is_new(word.key) {
                new.push((start, word));
            }
        }
        for (start, word) in new {
            on_new(word, &self.letters[start..word.end]);
        }
        self.letters.clear();
        if self.last.is_empty() {
            self.last = vec![0; 1 << PLACE_BITS];
        }
    }

    /// The last words may be new again.
    pub(super) fn forget_last(&mut self) {
        self.last.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_new_word_comes_once_in_the_order_of_the_text() {
        let words: Vec<String> =
            (0..20_000_u64).map(|at| format!("w{}", at.wrapping_mul(0x9e37_79b9) % (at / 3 + 1))).collect();
        let (mut waiting, mut known) = (Waiting::default(), HashSet::new());
        let (mut found, mut looks) = (Vec::new(), 0);
        for word in &words {
            waiting.push(TextKey::of(word), 7, word);
            if waiting.is_due() || word == words.last().unwrap() {
                let is_new = |key: TextKey| {
                    looks += 1;
                    known.insert(key.number())
                };
                waiting.look(is_new, |word, letters| {
                    assert!(word.key == TextKey::of(letters) && word.home == 7);
                    found.push(letters.to_owned());
                });
                assert_eq!(waiting.len(), 0);
            }
        }
        let mut once = HashSet::new();
        let expected: Vec<&String> = words.iter().filter(|word| once.insert(*word)).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
        assert!(looks < words.len(), "some were among the last");
    }

    #[test]
    fn a_word_that_is_forgotten_is_looked_for_again() {
        let mut waiting = Waiting::default();
        let looked_for = |waiting: &mut Waiting| {
            waiting.push(TextKey::of("plum"), 0, "plum");
            let mut count = 0;
            waiting.look(
                |_| {
                    count += 1;
                    false
                },
                |_, _| {},
            );
            count
        };
        assert_eq!([looked_for(&mut waiting), looked_for(&mut waiting), looked_for(&mut waiting)], [1, 1, 0]);
        waiting.forget_last();
        assert_eq!(looked_for(&mut waiting), 1);
    }
}
