//! Scores that depend on which words a node knows, as one node that knows them all would state them.
//!
//! The engine relates the typos of a hit to the most that it looked for. That is one more where some document has two
//! words of the query in one, so a node without such a document states less, and with it another score for the same
//! hit. Which hit has fewer typos is not touched by that, nor anything after this rule.

use std::collections::HashMap;

use serde_json::Value;

use crate::placement::written::WRITTEN_RULE;

const WORDS: &str = "words";
const TYPO: &str = "typo";

/// The most typos that any node looked for, by what hits were ranked by before.
#[derive(Debug, Default)]
pub struct MostTypos(HashMap<Vec<u64>, f64>);

/// A hit's scores as they are to be shown.
#[derive(Debug, PartialEq)]
pub struct Scores {
    pub score: Option<f64>,
    pub details: Value,
}

/// The members of `_rankingScoreDetails` that matter here.
struct Typos<'a> {
    /// What the hit was ranked by before.
    before: Vec<u64>,
    /// The rank by matching words, which the score counts first: this one of so many.
    words: Option<(f64, f64)>,
    count: f64,
    most: f64,
    rule: &'a Value,
}

// === impl MostTypos ===

impl MostTypos {
    /// Takes in the `_rankingScoreDetails` of a hit of any node.
    pub fn see(&mut self, details: &str) {
        let Ok(details) = serde_json::from_str::<Value>(details) else { return };
        if let Some(typos) = Typos::of(&details) {
            let most = self.0.entry(typos.before).or_default();
            *most = most.max(typos.most);
        }
    }

    /// The scores of a hit if they must be stated otherwise than its node did.
    pub fn restate(&self, score: Option<f64>, details: &str) -> Option<Scores> {
        let mut details: Value = serde_json::from_str(details).ok()?;
        let typos = Typos::of(&details)?;
        let most = *self.0.get(&typos.before)?;
        if most <= typos.most {
            return None;
        }
        let score = score.map(|score| typos.rescore(score, most));
        let mut rule = typos.rule.clone();
        rule["maxTypoCount"] = Value::from(most as u64);
        rule["score"] = Value::from((most - typos.count + 1.0) / (most + 1.0));
        details[TYPO] = rule;
        details.as_object_mut()?.shift_remove(WRITTEN_RULE);
        Some(Scores { score, details })
    }
}

/// The hits that a threshold divides: those with as many words of the query as the least that pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divided {
    /// The rank by matching words, of so many; the first of one where nothing is ranked by words.
    words: (f64, f64),
    /// How many typos the node looked for at most.
    pub typos: f64,
}

// === impl Divided ===

impl Divided {
    /// What the `details` of the hits of a node tell of those about as good as `least`; `None` where it lists none of them, or scores cannot
    /// be taken apart.
    pub fn of<'a>(details: impl Iterator<Item = &'a str>, least: f64) -> Option<Self> {
        let details = details.filter_map(|details| serde_json::from_str::<Value>(details).ok());
        let mut divided: Option<Self> = None;
        for details in details {
            let Some(typos) = Typos::of(&details) else { continue };
            let (rank, of) = typos.words.unwrap_or((1.0, 1.0));
            if (rank - 1.0) / of < least && least <= rank / of {
                let most = divided.map_or(0.0, |divided| divided.typos).max(typos.most);
                divided = Some(Self { words: (rank, of), typos: most });
            }
        }
        divided
    }

    /// The score that a node which looks for `typos` gives to what scores `least` where one looks for as many as here. Example without words
    /// of different ranks: a hit of one typo that is perfect else scores 3/4 where three are looked for, and 2/3 where it is two.
    pub fn least_of(&self, least: f64, typos: f64) -> f64 {
        let (rank, of) = self.words;
        let inner = least * of - (rank - 1.0);
        let inner = (inner * (self.typos + 1.0) - (self.typos - typos)) / (typos + 1.0);
        // Numbers have an end: what is exactly as good passes. Hits with fewer words do not.
        (rank - 1.0 + (inner - 1e-12).max(1e-9)) / of
    }
}

// === impl Typos ===

impl<'a> Typos<'a> {
    /// `None` where the rule of typos does not come first, or first after that of words: the score cannot be taken
    /// apart then.
    fn of(details: &'a Value) -> Option<Self> {
        let rule = details.get(TYPO)?;
        let order = rule.get("order")?.as_u64()?;
        let words = details.get(WORDS).filter(|words| words["order"].as_u64() < Some(order));
        if order > u64::from(words.is_some()) {
            return None;
        }
        let words = match words {
            None => None,
            Some(words) => Some((words.get("matchingWords")?.as_f64()?, words.get("maxMatchingWords")?.as_f64()?)),
        };
        let before = words.iter().flat_map(|(rank, of)| [rank.to_bits(), of.to_bits()]).collect();
        Some(Self {
            before,
            words,
            count: rule.get("typoCount")?.as_f64()?,
            most: rule.get("maxTypoCount")?.as_f64()?,
            rule,
        })
    }

    /// A score is nested: the rank of a rule, of its ranks, and within that what the rules after it say.
    fn rescore(&self, score: f64, most: f64) -> f64 {
        let inner = self.words.map_or(score, |(rank, of)| score * of - (rank - 1.0));
        let rest = inner * (self.most + 1.0) - (self.most - self.count);
        let inner = (most - self.count + rest) / (most + 1.0);
        self.words.map_or(inner, |(rank, of)| (rank - 1.0 + inner) / of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(words: u32, count: u32, most: u32) -> String {
        let score = f64::from(most - count + 1) / f64::from(most + 1);
        format!(
            concat!(
                r#"{{"words":{{"order":0,"matchingWords":{},"maxMatchingWords":2,"score":{}}},"#,
                r#""typo":{{"order":1,"typoCount":{},"maxTypoCount":{},"score":{}}},"proximity":{{"order":2,"score":0.5}}}}"#
            ),
            words,
            f64::from(words) / 2.0,
            count,
            most,
            score
        )
    }

    #[test]
    fn a_hit_is_scored_by_the_most_typos_that_any_node_looked_for() {
        let mut most = MostTypos::default();
        most.see(&details(2, 0, 3));
        most.see(&details(2, 1, 2));
        most.see(&details(1, 0, 2));
        // ((2 - 1) + ((2 - 1) + 0.5) / 3) / 2 by the node that looked for two, by four parts instead of three:
        let restated = most.restate(Some(0.75), &details(2, 1, 2)).unwrap();
        assert_eq!(restated.score, Some((1.0 + (2.0 + 0.5) / 4.0) / 2.0));
        assert_eq!(restated.details, serde_json::from_str::<Value>(&details(2, 1, 3)).unwrap());
        assert_eq!(most.restate(Some(0.9), &details(2, 0, 3)), None);
        assert_eq!(most.restate(Some(0.4), &details(1, 1, 2)), None, "the other bucket has its own most");
    }

    #[test]
    fn a_threshold_divides_the_hits_with_as_many_words() {
        let of = |details: &str, least| Divided::of(std::iter::once(details), least);
        let both = of(&details(2, 1, 3), 0.7).unwrap();
        assert_eq!(both.typos, 3.0);
        assert_eq!(of(&details(2, 1, 3), 0.5), None, "whoever has both words scores more than a half");
        assert!(of(&details(1, 0, 2), 0.5).is_some());
        // One typo of two words, perfect else: (1 + 3/4) / 2 by three typos, (1 + 2/3) / 2 by two.
        let least = both.least_of(1.75 / 2.0, 2.0);
        assert!((least - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-9 && least < (1.0 + 2.0 / 3.0) / 2.0, "{least}");
        assert!((both.least_of(0.8, 3.0) - 0.8).abs() < 1e-9);
        // Below what two typos can bring down, all with both words pass, and nobody with one.
        let all = both.least_of(0.52, 1.0);
        assert!(all > 0.5 && all < 0.500_001, "{all}");
    }

    #[test]
    fn a_score_that_cannot_be_taken_apart_stays() {
        let late = |most: u32| {
            format!(
                concat!(
                    r#"{{"proximity":{{"order":0,"score":0.5}},"#,
                    r#""typo":{{"order":1,"typoCount":0,"maxTypoCount":{},"score":1.0}}}}"#
                ),
                most
            )
        };
        let mut most = MostTypos::default();
        most.see(&late(3));
        assert_eq!(most.restate(Some(0.5), &late(2)), None);
        assert_eq!(most.restate(Some(0.5), r#"{"price:asc":{"order":0,"value":1.0}}"#), None);
    }
}
