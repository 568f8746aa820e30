//! Random searches, the same in every run.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::sets::Set;
use crate::support::random::Dice;

/// Where the sequence of random searches begins.
const SEED: u64 = 13;

/// The kinds are equally likely; of these each is made anew.
const KINDS: [fn(&Set, &mut Dice) -> Value; 9] =
    [words, prefix, several_words, filtered, sorted, faceted, deep, distinct, above_threshold];

/// `most` searches of `set`, no two alike; fewer where its documents do not give more.
pub fn searches(set: &Set, most: usize) -> Vec<Value> {
    let mut dice = Dice::new(SEED);
    let (mut seen, mut searches) = (BTreeSet::new(), Vec::new());
    for _ in 0..most * 20 {
        let search = KINDS[dice.roll(KINDS.len())](set, &mut dice);
        if seen.insert(search.to_string()) {
            searches.push(search);
        }
        if searches.len() == most {
            break;
        }
    }
    searches
}

/// Ranks from 0 up to `of`, of which the one at `n` comes up as often as 1 / (n + 1) says: Zipf's law with s = 1.
pub struct Zipf(Vec<f64>);

// === impl Zipf ===

impl Zipf {
    pub fn new(of: usize) -> Self {
        let mut sum = 0.0;
        let sums = (0..of).map(|rank| {
            sum += 1.0 / (rank + 1) as f64;
            sum
        });
        Self(sums.collect())
    }

    pub fn roll(&self, dice: &mut Dice) -> usize {
        const STEPS: usize = 1 << 30;
        let whole = self.0.last().copied().unwrap_or_default();
        let at = dice.roll(STEPS) as f64 / STEPS as f64 * whole;
        self.0.partition_point(|sum| *sum <= at).min(self.0.len() - 1)
    }
}

fn words(set: &Set, dice: &mut Dice) -> Value {
    json!({"q": (set.title)(document(set, dice))})
}

fn prefix(set: &Set, dice: &mut Dice) -> Value {
    let letters = 1 + dice.roll(4);
    json!({"q": start(set, dice, letters)})
}

/// Two to four words that stand in one document.
fn several_words(set: &Set, dice: &mut Dice) -> Value {
    let text = (set.text)(document(set, dice));
    let words: Vec<&str> = text.split_whitespace().collect();
    let most = 2 + dice.roll(3);
    json!({"q": dice.some(&words, most).join(" ")})
}

fn filtered(set: &Set, dice: &mut Dice) -> Value {
    let filters = (set.filters)(document(set, dice));
    let filter = dice.one(&filters).clone();
    json!({"q": start(set, dice, 3), "filter": filter})
}

fn sorted(set: &Set, dice: &mut Dice) -> Value {
    let sort = *dice.one(set.sorts);
    json!({"q": start(set, dice, 2), "sort": [sort]})
}

fn faceted(set: &Set, dice: &mut Dice) -> Value {
    let facets = *dice.one(set.facets);
    json!({"q": start(set, dice, 3), "facets": facets})
}

fn deep(set: &Set, dice: &mut Dice) -> Value {
    let offset = *dice.one(&[100, 200, 500]);
    json!({"q": start(set, dice, 1), "offset": offset})
}

fn distinct(set: &Set, dice: &mut Dice) -> Value {
    json!({"q": start(set, dice, 3), "distinct": set.distinct})
}

fn above_threshold(set: &Set, dice: &mut Dice) -> Value {
    let threshold = *dice.one(&[0.3, 0.5, 0.8]);
    json!({"q": (set.title)(document(set, dice)), "rankingScoreThreshold": threshold})
}

fn document<'a>(set: &'a Set, dice: &mut Dice) -> &'a Value {
    dice.one(&set.documents)
}

/// The first letters of a document's title.
fn start(set: &Set, dice: &mut Dice, letters: usize) -> String {
    (set.title)(document(set, dice)).chars().take(letters).collect()
}
