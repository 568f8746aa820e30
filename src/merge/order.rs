//! The total order of hits: by the score of each ranking rule in the order of the rules, as the engine itself sorts.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::detail::{Detail, Details};
use crate::split::scanner::{Malformed, number, string};

/// What one ranking rule says of one hit. Greater is better.
#[derive(Debug, Clone, PartialEq)]
pub enum Score {
    /// A rank or a similarity.
    Number(f64),
    /// The value a sort rule compared: numbers go before strings and both before what is missing, in both directions.
    Sort { ascending: bool, value: SortValue },
    /// The distance a `_geoPoint` rule compared; documents without a place go last.
    Distance { ascending: bool, metres: Option<f64> },
}

/// What a rule such as `price:asc` sorts by, as scores show it. A document may have none.
#[derive(Debug, Clone, PartialEq)]
pub enum SortValue {
    Missing,
    /// Normalised by the engine; compared byte by byte.
    Text(String),
    Number(f64),
}

/// The scores of one hit, in the order of the rules.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rank(pub Vec<Score>);

// === impl Rank ===

impl Rank {
    /// Reads `_rankingScoreDetails`.
    pub fn parse(details: &str) -> Result<Self, Malformed> {
        Ok(Self::parse_with_place(details)?.0)
    }

    /// Reads `_rankingScoreDetails`, and what the last rule of Miroir's own sorts by: not a rank, but the place of hits of
    /// equal rank.
    pub fn parse_with_place(details: &str) -> Result<(Self, Option<Cow<'_, str>>), Malformed> {
        let details = Details::parse(details)?;
        let mut scores = Vec::with_capacity(details.rules.len() + 1);
        for (name, detail) in &details.rules {
            detail.push_scores(name, &mut scores)?;
        }
        Ok((Self(scores), details.place))
    }

    /// Greater is better. A rule that only one of the two reached, because the other's node had nothing left to tell
    /// apart, says nothing.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.0
            .iter()
            .zip(&other.0)
            .map(|(left, right)| left.compare(right))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

// === impl Detail ===

impl Detail<'_> {
    /// Appends what hits are compared by.
    pub(super) fn push_scores(&self, name: &str, scores: &mut Vec<Score>) -> Result<(), Malformed> {
        let ascending = !name.ends_with(":desc");
        if let Some(distance) = self.distance {
            let metres = number(distance).ok_or(Malformed::Value)?;
            scores.push(Score::Distance { ascending, metres });
        } else if let Some(value) = self.value {
            scores.push(Score::Sort { ascending, value: SortValue::parse(value)? });
        } else if let Some(similarity) = self.similarity {
            // A hit without a vector is worse than one with the opposite vector, whose similarity is 0.
            scores.push(Score::Number(similarity.unwrap_or(-1.0)));
        } else if self.attribute_ranking_order_score.is_some() || self.query_word_distance_score.is_some() {
            scores.extend(self.attribute_ranking_order_score.map(Score::Number));
            scores.extend(self.query_word_distance_score.map(Score::Number));
        } else if let Some(count) = self.typo_count {
            // The score relates the count to the most that this node looked for, which others may not have.
            scores.push(Score::Number(-count));
        } else {
            // A rule that was skipped for lack of time has no score; the engine counts it as 0.
            scores.push(Score::Number(self.score.unwrap_or(0.0)));
        }
        Ok(())
    }
}

// === impl SortValue ===

impl SortValue {
    /// Of JSON as it stands in the scores; `null` and all that is neither text nor number is missing.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let parsed = match text.as_bytes().first() {
            Some(b'"') => string(text).map(|text| Self::Text(text.into_owned())),
            Some(b'0'..=b'9' | b'-') => number(text).flatten().map(Self::Number),
            _ => Some(Self::Missing),
        };
        parsed.ok_or(Malformed::Value)
    }

    /// The place among the kinds: missing, strings, numbers.
    fn kind(&self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::Text(_) => 1,
            Self::Number(_) => 2,
        }
    }

    /// Greater is better.
    pub fn compare(&self, other: &Self, ascending: bool) -> Ordering {
        let order = match (self, other) {
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::Number(left), Self::Number(right)) => left.total_cmp(right),
            (left, right) => return left.kind().cmp(&right.kind()),
        };
        if ascending { order.reverse() } else { order }
    }
}

// === impl Score ===

impl Score {
    /// Greater is better.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(left), Self::Number(right)) => left.total_cmp(right),
            (Self::Sort { ascending, value: left }, Self::Sort { value: right, .. }) => left.compare(right, *ascending),
            (Self::Distance { ascending, metres: left }, Self::Distance { metres: right, .. }) => match (left, right) {
                (Some(left), Some(right)) => {
                    let order = left.total_cmp(right);
                    if *ascending { order.reverse() } else { order }
                }
                (left, right) => left.is_some().cmp(&right.is_some()),
            },
            // Nodes with equal settings never get here, except for one whose settings are just being changed.
            (Self::Number(_) | Self::Sort { .. } | Self::Distance { .. }, _) => Ordering::Equal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(details: &str) -> Rank {
        Rank::parse(details).unwrap()
    }

    fn sort(direction: &str, value: &str) -> Rank {
        rank(&format!(r#"{{"price:{direction}":{{"order":0,"value":{value}}}}}"#))
    }

    #[test]
    fn rules_compare_in_their_order_not_in_the_order_of_the_text() {
        let left = rank(r#"{"typo":{"order":1,"score":1.0},"words":{"order":0,"score":0.5}}"#);
        let right = rank(r#"{"words":{"order":0,"score":1.0},"typo":{"order":1,"score":0.5}}"#);
        assert_eq!(left.compare(&right), Ordering::Less);
    }

    #[test]
    fn attribute_compares_by_its_attribute_before_the_distance_of_words() {
        let left = rank(
            r#"{"attribute":{"order":0,"attributeRankingOrderScore":0.8,"queryWordDistanceScore":0.1,"score":0.5}}"#,
        );
        let right = rank(
            r#"{"attribute":{"order":0,"attributeRankingOrderScore":0.7,"queryWordDistanceScore":1.0,"score":0.9}}"#,
        );
        assert_eq!(left.compare(&right), Ordering::Greater);
    }

    #[test]
    fn numbers_go_before_strings_and_missing_goes_last_in_both_directions() {
        for direction in ["asc", "desc"] {
            assert_eq!(sort(direction, "3.0").compare(&sort(direction, "\"a\"")), Ordering::Greater);
            assert_eq!(sort(direction, "\"a\"").compare(&sort(direction, "null")), Ordering::Greater);
            assert_eq!(sort(direction, "-3.0").compare(&sort(direction, "null")), Ordering::Greater);
        }
        assert_eq!(sort("asc", "2.0").compare(&sort("asc", "10.0")), Ordering::Greater);
        assert_eq!(sort("desc", "2.0").compare(&sort("desc", "10.0")), Ordering::Less);
        assert_eq!(sort("asc", "\"a\"").compare(&sort("asc", "\"b\"")), Ordering::Greater);
        assert_eq!(sort("desc", "\"a\"").compare(&sort("desc", "\"b\"")), Ordering::Less);
    }

    #[test]
    fn typos_are_counted_whatever_a_node_relates_them_to() {
        let typos = |count: u32, most: u32, score: f64| {
            rank(&format!(r#"{{"typo":{{"order":0,"typoCount":{count},"maxTypoCount":{most},"score":{score}}}}}"#))
        };
        assert_eq!(typos(1, 2, 0.66).compare(&typos(1, 3, 0.75)), Ordering::Equal);
        assert_eq!(typos(1, 2, 0.66).compare(&typos(2, 6, 0.71)), Ordering::Greater);
    }

    #[test]
    fn nearer_is_better_ascending_and_no_place_is_last() {
        let at = |direction: &str, distance: &str| {
            let value = if distance == "null" { "null" } else { r#"{"lat":1.0,"lng":2.0}"# };
            rank(&format!(r#"{{"_geoPoint(1, 2):{direction}":{{"order":0,"value":{value},"distance":{distance}}}}}"#))
        };
        assert_eq!(at("asc", "10.5").compare(&at("asc", "11.0")), Ordering::Greater);
        assert_eq!(at("desc", "10.5").compare(&at("desc", "11.0")), Ordering::Less);
        assert_eq!(at("asc", "null").compare(&at("asc", "11.0")), Ordering::Less);
        assert_eq!(at("desc", "null").compare(&at("desc", "11.0")), Ordering::Less);
    }

    #[test]
    fn a_longer_rule_list_that_agrees_so_far_is_a_tie() {
        let short = rank(r#"{"words":{"order":0,"score":1.0}}"#);
        let long = rank(r#"{"words":{"order":0,"score":1.0},"typo":{"order":1,"score":0.25}}"#);
        assert_eq!(short.compare(&long), Ordering::Equal);
    }

    #[test]
    fn similarity_orders_vectors_and_none_is_last() {
        let at = |similarity: &str| rank(&format!(r#"{{"vectorSort":{{"order":0,"similarity":{similarity}}}}}"#));
        assert_eq!(at("0.9").compare(&at("0.5")), Ordering::Greater);
        assert_eq!(at("null").compare(&at("0.0")), Ordering::Less);
    }

    #[test]
    fn details_of_another_shape_are_an_error() {
        assert!(Rank::parse("[]").is_err());
        assert!(Rank::parse(r#"{"words":{"order":"x"}}"#).is_err());
    }
}
