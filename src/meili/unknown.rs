//! Names that a request may not have, refused in the engine's words.

use std::collections::HashMap;

pub use super::error::listed;
use super::error::{Code, ResponseError};
use super::query::QueryMap;

/// A parameter of the query string that the route does not have.
pub fn parameter(name: &str, accepted: &[&str]) -> ResponseError {
    ResponseError::new(Code::BadRequest, format!("Unknown parameter `{name}`: {}", expected(name, accepted)))
}

/// The query string of routes that take but a note on their task.
pub fn only_custom_metadata(query: &str) -> Result<Option<String>, ResponseError> {
    let query = QueryMap::parse(query);
    match query.iter().find(|(name, _)| *name != "customMetadata") {
        Some((name, _)) => Err(parameter(name, &["customMetadata"])),
        None => Ok(query.get("customMetadata").map(str::to_owned)),
    }
}

/// A field that an object does not have.
pub fn field(name: &str, accepted: &[&str]) -> ResponseError {
    ResponseError::new(Code::BadRequest, format!("Unknown field `{name}`: {}", expected(name, accepted)))
}

/// A field that the object at `place` does not have.
pub fn field_inside(name: &str, place: &str, accepted: &[&str]) -> ResponseError {
    ResponseError::new(
        Code::BadRequest,
        format!("Unknown field `{name}` inside `{place}`: {}", expected(name, accepted)),
    )
}

/// A word at `place` that is none of those accepted there.
pub fn value(word: &str, place: &str, accepted: &[&str], code: Code) -> ResponseError {
    ResponseError::new(code, format!("Unknown value `{word}` at `{place}`: {}", expected(word, accepted)))
}

fn expected(received: &str, accepted: &[&str]) -> String {
    let hint = did_you_mean(received, accepted).map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
    format!("{hint}expected one of {}", listed(accepted))
}

/// The accepted name that is closest to `received`, if it is close enough to be a typing error.
fn did_you_mean<'a>(received: &str, accepted: &[&'a str]) -> Option<&'a str> {
    let allowed = match received.len() {
        0..=3 => return None,
        4..=7 => 1,
        8..=12 => 2,
        13..=17 => 3,
        18..=24 => 4,
        _ => 5,
    };
    accepted
        .iter()
        .map(|name| (*name, damerau_levenshtein(received, name)))
        .filter(|(_, distance)| *distance <= allowed)
        .min_by_key(|(_, distance)| *distance)
        .map(|(name, _)| name)
}

/// How many insertions, deletions, substitutions and transpositions make `right` of `left` (Damerau 1964, with the
/// alphabet table of Lowrance and Wagner 1975).
fn damerau_levenshtein(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let far = left.len() + right.len();
    let mut last_row_of: HashMap<char, usize> = HashMap::new();
    // Row and column 0 are a border of `far`; those with index 1 stand for the empty prefix.
    let mut cost = vec![vec![far; right.len() + 2]; left.len() + 2];
    for (row, costs) in cost.iter_mut().enumerate().skip(1) {
        costs[1] = row - 1;
    }
    for (column, cost) in cost[1].iter_mut().enumerate().skip(1) {
        *cost = column - 1;
    }
    for row in 1..=left.len() {
        let mut last_match = 0;
        for column in 1..=right.len() {
            let row_match = last_row_of.get(&right[column - 1]).copied().unwrap_or(0);
            let column_match = last_match;
            let substitution = usize::from(left[row - 1] != right[column - 1]);
            if substitution == 0 {
                last_match = column;
            }
            let transposition = cost[row_match][column_match] + (row - row_match - 1) + 1 + (column - column_match - 1);
            cost[row + 1][column + 1] = (cost[row][column] + substitution)
                .min(cost[row + 1][column] + 1)
                .min(cost[row][column + 1] + 1)
                .min(transposition);
        }
        last_row_of.insert(left[row - 1], row);
    }
    cost[left.len() + 1][right.len() + 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_swapped_neighbours_once() {
        assert_eq!(damerau_levenshtein("", ""), 0);
        assert_eq!(damerau_levenshtein("abc", ""), 3);
        assert_eq!(damerau_levenshtein("ca", "abc"), 2);
        assert_eq!(damerau_levenshtein("statsues", "statuses"), 1);
        assert_eq!(damerau_levenshtein("kitten", "sitting"), 3);
    }

    #[test]
    fn a_note_is_all_that_some_routes_take() {
        assert_eq!(only_custom_metadata("").unwrap(), None);
        assert_eq!(only_custom_metadata("customMetadata=a+b").unwrap().as_deref(), Some("a b"));
        assert_eq!(
            only_custom_metadata("nope=1").unwrap_err().message,
            "Unknown parameter `nope`: expected one of `customMetadata`"
        );
    }

    #[test]
    fn short_names_get_no_hint() {
        assert_eq!(did_you_mean("uid", &["uids"]), None);
        assert_eq!(did_you_mean("status", &["uids", "statuses"]), None);
        assert_eq!(did_you_mean("statuse", &["uids", "statuses"]), Some("statuses"));
    }
}
