//! Hits of several searches in one order, by weighted scores.

use std::cmp::Ordering;
use std::collections::VecDeque;

use milli_core::score_details::{WeightedScoreValue, compare_sort_values};

/// A document that a query found, with what it is compared by.
pub struct Ranked<T> {
    pub item: T,
    pub values: Vec<WeightedScoreValue>,
    pub global: f64,
    pub position: usize,
}

// === impl Ranked ===

impl<T> Ranked<T> {
    /// What `change` makes of the item, in the same place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Ranked<U> {
        Ranked { item: change(self.item), values: self.values, global: self.global, position: self.position }
    }
}

/// Merges lists that are each in order; of equals, the earlier query's comes first.
pub fn merged<T>(lists: Vec<Vec<Ranked<T>>>, at_most: usize) -> Vec<Ranked<T>> {
    let mut lists: Vec<VecDeque<Ranked<T>>> = lists.into_iter().map(VecDeque::from).collect();
    let mut merged = Vec::new();
    while merged.len() < at_most {
        let mut best: Option<(usize, &Ranked<T>)> = None;
        for (number, list) in lists.iter().enumerate() {
            let Some(head) = list.front() else { continue };
            let before = match best {
                None => true,
                Some((_, leader)) => match compare(&head.values, head.global, &leader.values, leader.global) {
                    Ordering::Greater => true,
                    Ordering::Equal => head.position < leader.position,
                    Ordering::Less => false,
                },
            };
            if before {
                best = Some((number, head));
            }
        }
        let best = best.map(|(number, _)| number);
        match best.and_then(|best| lists[best].pop_front()) {
            Some(next) => merged.push(next),
            None => break,
        }
    }
    merged
}

/// `Greater` ranks first. Rules that do not compare leave the decision to the number of rules, then the whole score.
fn compare(left: &[WeightedScoreValue], left_global: f64, right: &[WeightedScoreValue], right_global: f64) -> Ordering {
    use WeightedScoreValue::{GeoSort, Sort, VectorSort, WeightedScore};
    let globals = || left_global.partial_cmp(&right_global).unwrap_or(Ordering::Equal);
    for (position, (left_value, right_value)) in left.iter().zip(right).enumerate() {
        match (left_value, right_value) {
            (WeightedScore(left) | VectorSort(left), WeightedScore(right) | VectorSort(right)) => {
                if (left - right).abs() > f64::EPSILON {
                    return left.partial_cmp(right).unwrap_or(Ordering::Equal);
                }
            }
            (Sort { asc: left_asc, value: left }, Sort { asc: right_asc, value: right }) => {
                if left_asc != right_asc {
                    return globals();
                }
                match compare_sort_values(*left_asc, left, right) {
                    Ordering::Equal => {}
                    order => return order,
                }
            }
            (GeoSort { asc: left_asc, distance: left }, GeoSort { asc: right_asc, distance: right }) => {
                if left_asc != right_asc {
                    continue;
                }
                match (left, right) {
                    (None, None) => {}
                    (None, Some(_)) => return Ordering::Less,
                    (Some(_), None) => return Ordering::Greater,
                    (Some(left), Some(right)) => {
                        if (left - right).abs() > f64::EPSILON {
                            return left.partial_cmp(right).unwrap_or(Ordering::Equal);
                        }
                    }
                }
            }
            (WeightedScore(_) | VectorSort(_), Sort { .. } | GeoSort { .. })
            | (Sort { .. } | GeoSort { .. }, WeightedScore(_) | VectorSort(_))
            | (GeoSort { .. }, Sort { .. })
            | (Sort { .. }, GeoSort { .. }) => {
                let remaining = (left.len() - position - 1).cmp(&(right.len() - position - 1));
                return remaining.then_with(globals);
            }
        }
    }
    left.len().cmp(&right.len())
}
