//! `_rankingScoreDetails` as nodes write it: what each ranking rule says of a hit.

use std::borrow::Cow;

use crate::placement::written::WRITTEN_RULE;
use crate::plan::index_info::ScoredBy;
use crate::split::scanner::{Malformed, Scanner, string};

/// A rule's entry, the union of all shapes.
#[derive(Default)]
pub struct Detail<'a> {
    order: u32,
    pub score: Option<f64>,
    pub matching_words: Option<f64>,
    pub max_matching_words: Option<f64>,
    pub typo_count: Option<f64>,
    pub max_typo_count: Option<f64>,
    pub match_type: Option<Cow<'a, str>>,
    pub attribute_ranking_order_score: Option<f64>,
    pub query_word_distance_score: Option<f64>,
    /// `null` is kept apart from a member that is not there, as in the next two.
    pub similarity: Option<Option<f64>>,
    pub value: Option<&'a str>,
    pub distance: Option<&'a str>,
}

/// The rules in their order, each with its name, but for the one of Miroir's own.
pub struct Details<'a> {
    pub rules: Vec<(Cow<'a, str>, Detail<'a>)>,
    /// What the last rule of Miroir's own sorts by. A document of an older version has none.
    pub place: Option<Cow<'a, str>>,
}

/// One relevancy rule's word on a hit.
#[derive(Debug, Clone, Copy)]
pub struct Ranked {
    pub score: f64,
    /// How many ranks the rule tells apart; `None` if that cannot be known, so that the rules after it cannot be fitted in.
    pub ranks: Option<f64>,
}

/// How many ranks of proximity one more word adds: the engine tells four distances apart, and the greatest is all the rest.
const MOST_PLACES: f64 = 3.0;

/// The costs of a word's place in its attribute that the engine tells apart.
const MOST_COST_OF_PLACE: f64 = 10.0;

/// `exactness` first tells three kinds of attributes apart, then counts words.
pub const KINDS_OF_EXACTNESS: f64 = 3.0;

/// What neighbouring relevancy rules come to together: each divides the distance between two ranks of the one before it.
pub fn together(ranked: &[Ranked]) -> f64 {
    ranked.iter().rev().fold(1.0, |inner, rule| match rule.ranks {
        Some(ranks) => rule.score - (1.0 - inner) / ranks,
        None => rule.score,
    })
}

/// Finds how many ranks the one rule tells apart of which `ranked` does not say it, from what all come to: `score`.
fn complete(ranked: &mut [Ranked], score: f64) {
    let Some(at) = ranked.iter().position(|rule| rule.ranks.is_none()) else { return };
    let weight: f64 = ranked[..at].iter().filter_map(|rule| rule.ranks).product();
    let lost = (together(&ranked[..=at]) - score) * weight;
    let ranks = ((1.0 - together(&ranked[at + 1..])) / lost).round();
    // Without a loss behind it, the number does not matter.
    if ranks.is_normal() && ranks > 0.0 {
        ranked[at].ranks = Some(ranks);
    }
}

// === impl Details ===

impl<'a> Details<'a> {
    /// Of the JSON object under `_rankingScoreDetails`. What stands in it beside the rules is passed over.
    pub fn parse(details: &'a str) -> Result<Self, Malformed> {
        let mut scanner = Scanner::new(details);
        let mut rules = Vec::with_capacity(8);
        let mut place = None;
        let mut within = scanner.enter(b'{')?;
        while let Some(name) = scanner.member(&mut within)? {
            // Next to the rules' objects an engine may place plain figures about the search as a whole.
            if scanner.peek()? != b'{' {
                scanner.value()?;
                continue;
            }
            let detail = Detail::read(&mut scanner)?;
            if name == WRITTEN_RULE {
                place = detail.value.and_then(string);
            } else {
                rules.push((name, detail));
            }
        }
        scanner.end()?;
        rules.sort_by_key(|(_, detail)| detail.order);
        Ok(Self { rules, place })
    }

    /// What the first relevancy rules that stand together come to, if that is not the `score` of the hit.
    pub fn first_score(&self, scored_by: ScoredBy, score: Option<f64>) -> Option<f64> {
        let mut group: Vec<Ranked> = Vec::new();
        let mut is_closed = false;
        for ((_, detail), ranked) in self.rules.iter().zip(self.ranked(scored_by, score)) {
            match ranked {
                Some(_) if is_closed => return (scored_by == ScoredBy::All).then(|| together(&group)),
                Some(ranked) => group.push(ranked),
                None if group.is_empty() => {}
                None if detail.similarity.is_some() => return (scored_by == ScoredBy::All).then(|| together(&group)),
                None => is_closed = true,
            }
        }
        None
    }

    /// What each rule comes to, in their order; `None` for those that are no relevancy rules. `score` is that of the hit: where it is
    /// one of all rules, it tells how many ranks the one rule has that does not say it.
    pub fn ranked(&self, scored_by: ScoredBy, score: Option<f64>) -> Vec<Option<Ranked>> {
        let words = self.words();
        let ranked: Vec<Option<Ranked>> = self.rules.iter().map(|(name, detail)| detail.ranked(name, words)).collect();
        // Where there is a similarity, the score is that.
        let is_of_rules =
            scored_by == ScoredBy::All && self.rules.iter().all(|(_, detail)| detail.similarity.is_none());
        let Some(score) = score.filter(|_| is_of_rules) else { return ranked };
        let mut all: Vec<Ranked> = ranked.iter().flatten().copied().collect();
        complete(&mut all, score);
        let mut all = all.into_iter();
        ranked.into_iter().map(|ranked| ranked.and_then(|_| all.next())).collect()
    }

    /// How many words of the query the hit has. A search for all words has no rule that says it; `exactness` counts them, too.
    pub fn words(&self) -> Option<f64> {
        let of = |rule: &str| self.rules.iter().find(|(name, _)| name == rule).map(|(_, detail)| detail);
        of("words").map_or_else(|| of("exactness")?.max_matching_words, |words| words.matching_words)
    }
}

// === impl Detail ===

impl<'a> Detail<'a> {
    fn read(scanner: &mut Scanner<'a>) -> Result<Self, Malformed> {
        let mut detail = Self::default();
        let mut within = scanner.enter(b'{')?;
        while let Some(name) = scanner.member(&mut within)? {
            match name.as_ref() {
                "order" => detail.order = scanner.value()?.parse().map_err(|_| Malformed::Value)?,
                "score" => detail.score = scanner.number()?,
                "matchingWords" => detail.matching_words = scanner.number()?,
                "maxMatchingWords" => detail.max_matching_words = scanner.number()?,
                "typoCount" => detail.typo_count = scanner.number()?,
                "maxTypoCount" => detail.max_typo_count = scanner.number()?,
                "matchType" => {
                    detail.match_type = match scanner.value()? {
                        "null" => None,
                        value => Some(string(value).ok_or(Malformed::Value)?),
                    }
                }
                "attributeRankingOrderScore" => detail.attribute_ranking_order_score = scanner.number()?,
                "queryWordDistanceScore" => detail.query_word_distance_score = scanner.number()?,
                "similarity" => detail.similarity = Some(scanner.number()?),
                "value" => detail.value = Some(scanner.value()?),
                "distance" => detail.distance = Some(scanner.value()?),
                _ => {
                    scanner.value()?;
                }
            }
        }
        Ok(detail)
    }
}

impl Detail<'_> {
    /// `None` if this is no relevancy rule. `words` is how many words of the query the hit has.
    pub fn ranked(&self, name: &str, words: Option<f64>) -> Option<Ranked> {
        let score = self.score.unwrap_or(0.0);
        let ranks = match name {
            "words" => self.max_matching_words,
            "typo" => self.max_typo_count.map(|most| most + 1.0),
            "proximity" => words.map(|words| (words - 1.0) * MOST_PLACES + 1.0).filter(|ranks| fits(score, *ranks)),
            "attribute" => self.ranks_of_attribute(score, words),
            // A rule of its own in newer engines.
            "wordPosition" => words.map(|words| words * MOST_COST_OF_PLACE + 1.0).filter(|ranks| fits(score, *ranks)),
            // Only where no attribute matches as a whole are words counted.
            "exactness" => Some(self.max_matching_words.map_or(1.0, |most| most + 1.0) * KINDS_OF_EXACTNESS),
            "skipped" => Some(1.0),
            _ if self.value.is_some() || self.distance.is_some() || self.similarity.is_some() => return None,
            // A rule that this version does not know.
            _ => None,
        };
        Some(Ranked { score, ranks })
    }

    /// The first of the two steps in which `exactness` sorts; greater is better.
    pub fn kind_of_exactness(&self) -> f64 {
        match self.match_type.as_deref() {
            Some("exactMatch") => KINDS_OF_EXACTNESS,
            Some("matchesStart") => KINDS_OF_EXACTNESS - 1.0,
            Some(_) | None => KINDS_OF_EXACTNESS - 2.0,
        }
    }

    /// The ranks of the attribute times those of the place in it, of which the scores show the first.
    fn ranks_of_attribute(&self, score: f64, words: Option<f64>) -> Option<f64> {
        let attribute = self.attribute_ranking_order_score?;
        let place = self.query_word_distance_score?;
        let places = words? * MOST_COST_OF_PLACE + 1.0;
        let attributes = ((1.0 - place) / (attribute - score)).round();
        (attributes.is_normal() && fits(attribute, attributes) && fits(place, places)).then_some(attributes * places)
    }
}

/// True if `score` is one of `ranks` ranks.
fn fits(score: f64, ranks: f64) -> bool {
    let rank = score * ranks;
    (rank - rank.round()).abs() < 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As an engine of 1.50 scored a hit of a search for all words, which has no rule of words.
    #[test]
    fn where_all_words_are_asked_for_exactness_says_how_many_there_are() {
        let details = Details::parse(
            r#"{"typo":{"order":0,"typoCount":0,"maxTypoCount":1,"score":1.0},"proximity":{"order":1,"score":1.0},
            "attributeRank":{"order":2,"score":0.5},"population:desc":{"order":3,"value":12691836.0},
            "wordPosition":{"order":4,"score":0.8181818181818182},"exactness":{"order":5,"matchType":"noExactMatch",
                "matchingWords":1,"maxMatchingWords":1,"score":0.3333333333333333}}"#,
        )
        .unwrap();
        assert_eq!(details.words(), Some(1.0));
        let first = details.first_score(ScoredBy::All, Some(0.689_393_939_393_939_4)).unwrap();
        assert!((first - 0.75).abs() < 1e-9, "{first}");
        assert_eq!(details.first_score(ScoredBy::First, None), None);
    }

    #[test]
    fn the_first_rules_are_fitted_together_by_what_all_come_to() {
        let inner = 0.5 - (1.0 - 13.0 / 21.0) / 4.0;
        let details = Details::parse(
            r#"{"words":{"order":0,"matchingWords":2,"maxMatchingWords":2,"score":1.0},"attributeRank":{"order":1,"score":0.5},
            "wordPosition":{"order":2,"score":0.6190476190476191},"price:asc":{"order":3,"value":1.0},
            "exactness":{"order":4,"matchType":"exactMatch","matchingWords":2,"maxMatchingWords":2,"score":1.0}}"#,
        )
        .unwrap();
        let score = 1.0 - (1.0 - inner) / 2.0;
        let first = details.first_score(ScoredBy::All, Some(score)).unwrap();
        assert!((first - score).abs() < 1e-9, "{first} {score}");
    }
}
