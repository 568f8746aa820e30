//! Hits of several searches compared as the engine compares them: by scores that the weight of each search multiplies.
//!
//! The engine takes neighbouring relevancy rules together as one number, then compares number with number and sort value
//! with sort value. A node shows each rule by itself, and of the first such number what it comes to.

use std::cmp::Ordering;

use crate::merge::detail::{Detail, Details, Ranked, together};
use crate::merge::order::SortValue;
use crate::plan::federation::FederatedQuery;

/// What a hit of a federation is compared by.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighed {
    values: Vec<Value>,
    /// The score that the hit shows, weighted.
    score: f64,
    /// Of the search that found it.
    position: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    /// Of relevancy rules together, or of a vector; weighted.
    Score(f64),
    Sort {
        ascending: bool,
        value: SortValue,
    },
    Distance {
        ascending: bool,
        metres: Option<f64>,
    },
}

// === impl Weighed ===

impl Weighed {
    /// Of a hit that needs no comparison.
    pub fn unknown(position: u64) -> Self {
        Self { values: Vec::new(), score: 0.0, position }
    }

    /// Of a hit of `query`, whose `weightedRankingScore` is `score`.
    pub fn parse(details: &str, query: &FederatedQuery, score: f64) -> Result<Self, serde_json::Error> {
        let FederatedQuery { weight, position, ref search, .. } = *query;
        let details = Details::parse(details)?;
        let unweighed = Some(score / weight).filter(|score| score.is_finite());

        let mut values = Vec::with_capacity(details.rules.len());
        let mut group: Vec<Ranked> = Vec::new();
        // The first number is known as a whole, unless later ones have a part in it.
        let mut known = Some(details.first_score(search.scored_by, unweighed).map_or(score, |first| first * weight));
        for ((name, detail), ranked) in details.rules.iter().zip(details.ranked(search.scored_by, unweighed)) {
            if let Some(ranked) = ranked {
                group.push(ranked);
                continue;
            }
            values.extend(score_of(&mut group, weight, &mut known));
            values.push(detail.value(name, weight, &mut known)?);
        }
        values.extend(score_of(&mut group, weight, &mut known));
        Ok(Self { values, score, position })
    }

    /// True if this goes before `other`. Of equal hits, that of the search with the lower position does.
    pub fn goes_before(&self, other: &Self) -> bool {
        match self.compare(other) {
            Ordering::Greater => true,
            Ordering::Equal => self.position < other.position,
            Ordering::Less => false,
        }
    }

    /// Greater is better. Where two values do not compare, the hit with more left to compare is better, then the one
    /// with the greater score.
    fn compare(&self, other: &Self) -> Ordering {
        let scores = || self.score.total_cmp(&other.score);
        for (at, (left, right)) in self.values.iter().zip(&other.values).enumerate() {
            let order = match (left, right) {
                (Value::Score(left), Value::Score(right)) => compare_nearly(*left, *right),
                (Value::Sort { ascending, value: left }, Value::Sort { ascending: other, value: right }) => {
                    if ascending != other {
                        return scores();
                    }
                    left.compare(right, *ascending)
                }
                (Value::Distance { ascending, metres: left }, Value::Distance { ascending: other, metres: right }) => {
                    match (left, right) {
                        _ if ascending != other => Ordering::Equal,
                        // The engine takes the farther for the better here, also where the nearest was asked for.
                        (Some(left), Some(right)) => compare_nearly(*left, *right),
                        (left, right) => left.is_some().cmp(&right.is_some()),
                    }
                }
                (Value::Score(_), Value::Sort { .. } | Value::Distance { .. })
                | (Value::Sort { .. }, Value::Score(_) | Value::Distance { .. })
                | (Value::Distance { .. }, Value::Score(_) | Value::Sort { .. }) => {
                    let left = self.values.len() - at;
                    let right = other.values.len() - at;
                    return left.cmp(&right).then_with(scores);
                }
            };
            if order.is_ne() {
                return order;
            }
        }
        self.values.len().cmp(&other.values.len())
    }
}

fn compare_nearly(left: f64, right: f64) -> Ordering {
    if (left - right).abs() <= f64::EPSILON { Ordering::Equal } else { left.total_cmp(&right) }
}

/// Empties `group` into the number that its rules come to.
fn score_of(group: &mut Vec<Ranked>, weight: f64, known: &mut Option<f64>) -> Option<Value> {
    let ranked = std::mem::take(group);
    if ranked.is_empty() {
        return None;
    }
    Some(Value::Score(known.take().unwrap_or_else(|| together(&ranked) * weight)))
}

// === impl Detail ===

impl Detail<'_> {
    fn value(&self, name: &str, weight: f64, known: &mut Option<f64>) -> Result<Value, serde_json::Error> {
        let ascending = !name.ends_with(":desc");
        Ok(match (self.distance, self.value) {
            (Some(distance), _) => Value::Distance { ascending, metres: serde_json::from_str(distance)? },
            (None, Some(value)) => Value::Sort { ascending, value: SortValue::parse(value)? },
            (None, None) => {
                // In the engine's precision.
                let similarity = f64::from(self.similarity.flatten().unwrap_or(0.0) as f32);
                Value::Score(known.take().unwrap_or(similarity * weight))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::plan::index_info::IndexInfo;
    use crate::plan::index_info::ScoredBy;
    use crate::plan::search::SearchPlan;

    fn weighed_by(scored_by: ScoredBy, details: &Json, weight: f64, score: f64, position: u64) -> Weighed {
        let info = IndexInfo { scored_by, ..IndexInfo::new("films") };
        let search = SearchPlan::new(&info, serde_json::Map::new()).unwrap();
        let query = FederatedQuery { position, weight, search, at: 0, rules: 1 };
        Weighed::parse(&details.to_string(), &query, score).unwrap()
    }

    fn weighed(details: &Json, weight: f64, score: f64, position: u64) -> Weighed {
        weighed_by(ScoredBy::First, details, weight, score, position)
    }

    fn words(matching: u32, score: f64) -> Json {
        json!({"order": 0, "matchingWords": matching, "maxMatchingWords": 2, "score": score})
    }

    #[test]
    fn the_first_number_is_what_the_hit_shows() {
        let hit = weighed(
            &json!({"words": words(2, 1.0), "typo": {"order": 1, "typoCount": 1, "maxTypoCount": 2, "score": 0.66}}),
            2.0,
            1.7,
            0,
        );
        assert_eq!(hit.values, [Value::Score(1.7)]);
    }

    /// Two words of two, then one typo of at most two: the worst of the third part of the best half.
    #[test]
    fn a_later_number_is_put_together_from_its_rules() {
        let details = json!({
            "price:asc": {"order": 0, "value": 3.0},
            "words": {"order": 1, "matchingWords": 2, "maxMatchingWords": 2, "score": 1.0},
            "typo": {"order": 2, "typoCount": 1, "maxTypoCount": 2, "score": 0.666_666_666_666_666_6},
        });
        // The score shown is that of all rules, which no sort counts for.
        let hit = weighed(&details, 0.5, 9.0, 0);
        let [Value::Sort { ascending: true, value: SortValue::Number(3.0) }, Value::Score(score)] =
            hit.values.as_slice()
        else {
            panic!("{hit:?}")
        };
        assert_eq!(*score, 9.0);
        let between = json!({
            "words": words(2, 1.0), "price:desc": {"order": 1, "value": "x"},
            "typo": {"order": 2, "typoCount": 1, "maxTypoCount": 2, "score": 0.666_666_666_666_666_6},
            "exactness": {"order": 3, "matchType": "noExactMatch", "matchingWords": 1, "maxMatchingWords": 2, "score": 0.5},
        });
        let hit = weighed(&between, 0.5, 9.0, 0);
        let Some(Value::Score(score)) = hit.values.last() else { panic!("{hit:?}") };
        assert!((score - (0.666_666_666_666_666_6 - 0.5 / 3.0) * 0.5).abs() < 1e-9, "{score}");
    }

    /// Where a sort stands between, newer engines state what all rules come to.
    #[test]
    fn a_first_number_that_the_hit_does_not_show_is_put_together_too() {
        let details = json!({
            "words": words(1, 0.5), "attributeRank": {"order": 1, "score": 0.75}, "price:desc": {"order": 2, "value": 1.0},
            "wordPosition": {"order": 3, "score": 10.0 / 11.0},
            "exactness": {"order": 4, "matchType": "noExactMatch", "matchingWords": 1, "maxMatchingWords": 2, "score": 0.5},
        });
        let score = |hit: &Weighed, at: usize| match hit.values[at] {
            Value::Score(score) => score,
            Value::Sort { .. } | Value::Distance { .. } => panic!("{hit:?}"),
        };
        let hit = weighed_by(ScoredBy::All, &details, 2.0, 0.7, 0);
        assert!((score(&hit, 0) - (0.5 - 0.25 / 2.0) * 2.0).abs() < 1e-9, "{hit:?}");
        assert!((score(&hit, 2) - (10.0 / 11.0 - 0.5 / 11.0) * 2.0).abs() < 1e-9, "{hit:?}");
        assert_eq!(score(&weighed(&details, 2.0, 0.7, 0), 0), 0.7);
        let together = json!({"words": words(1, 0.5), "wordPosition": {"order": 1, "score": 1.0}});
        assert_eq!(score(&weighed_by(ScoredBy::All, &together, 2.0, 0.9, 0), 0), 0.9);
    }

    #[test]
    fn numbers_that_hardly_differ_leave_the_decision_to_the_position() {
        let at = |score: f64, position: u64| weighed(&json!({"words": words(1, 0.5)}), 1.0, score, position);
        assert!(at(0.5, 0).goes_before(&at(0.5 + f64::EPSILON / 4.0, 1)));
        assert!(!at(0.5, 1).goes_before(&at(0.5, 0)));
        assert!(at(0.6, 9).goes_before(&at(0.5, 0)));
    }

    #[test]
    fn sorts_in_opposite_directions_leave_the_decision_to_the_score() {
        let by = |direction: &str, value: f64, score: f64| {
            weighed(&json!({format!("price:{direction}"): {"order": 0, "value": value}}), 1.0, score, 0)
        };
        assert!(by("asc", 1.0, 1.0).goes_before(&by("asc", 2.0, 1.0)));
        assert!(by("desc", 2.0, 1.0).goes_before(&by("desc", 1.0, 1.0)));
        assert!(by("asc", 9.0, 0.9).goes_before(&by("desc", 9.0, 0.8)));
    }

    #[test]
    fn the_farther_goes_first_among_distances_and_no_place_last() {
        let at = |distance: Json| {
            weighed(&json!({"_geoPoint(1, 2):asc": {"order": 0, "value": {}, "distance": distance}}), 1.0, 1.0, 0)
        };
        assert!(at(json!(20.0)).goes_before(&at(json!(10.0))));
        assert!(at(json!(10.0)).goes_before(&at(Json::Null)));
        assert!(!at(Json::Null).goes_before(&at(json!(10.0))));
    }

    #[test]
    fn of_kinds_that_do_not_compare_the_hit_with_more_to_compare_goes_first() {
        let number = weighed(&json!({"words": words(1, 0.5)}), 1.0, 0.5, 0);
        let sort = json!({"price:asc": {"order": 0, "value": 1.0}, "name:asc": {"order": 1, "value": "a"}});
        let sort = weighed(&sort, 1.0, 0.1, 0);
        assert!(sort.goes_before(&number) && !number.goes_before(&sort));
    }

    #[test]
    fn a_vectors_similarity_is_weighted() {
        let hit = |order: u32| {
            json!({
                "price:asc": {"order": 0, "value": 1.0}, "words": {"order": 1, "matchingWords": 1, "maxMatchingWords": 1, "score": 1.0},
                "vectorSort": {"order": order, "similarity": 0.5},
            })
        };
        assert_eq!(weighed(&hit(2), 3.0, 7.0, 0).values[1..], [Value::Score(7.0), Value::Score(1.5)]);
    }
}
