//! Values of query parameters, refused in the engine's words.

use std::collections::HashMap;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, Time};

use super::filter::TaskRef;
use crate::meili::error::{Code, ResponseError};
use crate::meili::task::{TaskKind, TaskStatus};

/// The kinds that version 1.15 of the engine names when it refuses one. Newer kinds are understood all the same.
const NAMED_KINDS: [TaskKind; 13] = [
    TaskKind::DocumentAdditionOrUpdate,
    TaskKind::DocumentEdition,
    TaskKind::DocumentDeletion,
    TaskKind::SettingsUpdate,
    TaskKind::IndexCreation,
    TaskKind::IndexDeletion,
    TaskKind::IndexUpdate,
    TaskKind::IndexSwap,
    TaskKind::TaskCancelation,
    TaskKind::TaskDeletion,
    TaskKind::DumpCreation,
    TaskKind::SnapshotCreation,
    TaskKind::UpgradeDatabase,
];

/// Which side of a bare date is meant: `after` a day begins when the day is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

/// What is wrong with one value; the parameter's name and position come to it on the way out.
pub type Complaint = String;

/// `could not parse ...`, put into the sentence that every parameter's error has.
pub fn invalid(parameter: &str, complaint: &str, code: Code) -> ResponseError {
    ResponseError::new(code, format!("Invalid value in parameter `{parameter}`: {complaint}"))
}

/// The refusal of a parameter that the route does not have.
pub fn unknown(parameter: &str, accepted: &[&str]) -> ResponseError {
    let names: Vec<String> = accepted.iter().map(|name| format!("`{name}`")).collect();
    let hint = did_you_mean(parameter, accepted).map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
    ResponseError::new(
        Code::BadRequest,
        format!("Unknown parameter `{parameter}`: {hint}expected one of {}", names.join(", ")),
    )
}

/// A comma-separated list, `None` if one of its members is `*`.
pub fn list<T>(
    parameter: &str,
    value: &str,
    code: Code,
    parse: impl Fn(&str) -> Result<T, Complaint>,
) -> Result<Option<Vec<T>>, ResponseError> {
    let members: Vec<&str> = value.split(',').filter(|member| !member.is_empty()).collect();
    let mut parsed = Vec::with_capacity(members.len());
    let mut star = false;
    for (at, member) in members.iter().enumerate() {
        if *member == "*" {
            star = true;
            continue;
        }
        let place = if members.len() > 1 { format!("{parameter}[{at}]") } else { parameter.to_owned() };
        parsed.push(parse(member).map_err(|complaint| invalid(&place, &complaint, code))?);
    }
    Ok(if star { None } else { Some(parsed) })
}

/// A date, `None` for `*`.
pub fn date(parameter: &str, value: &str, code: Code, side: Side) -> Result<Option<OffsetDateTime>, ResponseError> {
    if value == "*" {
        return Ok(None);
    }
    if let Ok(moment) = OffsetDateTime::parse(value, &Rfc3339) {
        return Ok(Some(moment));
    }
    let day = Date::parse(value, format_description!("[year repr:full base:calendar]-[month repr:numerical]-[day]"))
        .map_err(|_| {
            let complaint = format!(
                "`{value}` is an invalid date-time. It should follow the YYYY-MM-DD or RFC 3339 date-time format."
            );
            invalid(parameter, &complaint, code)
        })?;
    let midnight = day.with_time(Time::MIDNIGHT).assume_utc();
    Ok(Some(match side {
        Side::Before => midnight,
        Side::After => midnight.checked_add(Duration::days(1)).unwrap_or(midnight),
    }))
}

pub fn integer(value: &str) -> Result<u32, Complaint> {
    value.parse().map_err(|_| format!("could not parse `{value}` as a positive integer"))
}

/// Either form of a task's id; refused as the engine refuses what is no integer.
pub fn task_ref(value: &str) -> Result<TaskRef, Complaint> {
    TaskRef::parse(value).ok_or_else(|| format!("could not parse `{value}` as a positive integer"))
}

pub fn boolean(value: &str) -> Result<bool, Complaint> {
    value.parse().map_err(|_| format!("could not parse `{value}` as a boolean, expected either `true` or `false`"))
}

pub fn status(value: &str) -> Result<TaskStatus, Complaint> {
    TaskStatus::ALL.iter().find(|status| status.as_str().eq_ignore_ascii_case(value)).copied().ok_or_else(|| {
        let names: Vec<String> = TaskStatus::ALL.iter().map(|status| format!("`{}`", status.as_str())).collect();
        format!("`{value}` is not a valid task status. Available statuses are {}.", names.join(", "))
    })
}

pub fn kind(value: &str) -> Result<TaskKind, Complaint> {
    TaskKind::ALL.iter().find(|kind| kind.as_str().eq_ignore_ascii_case(value)).copied().ok_or_else(|| {
        let names: Vec<String> = NAMED_KINDS.iter().map(|kind| format!("`{}`", kind.as_str())).collect();
        format!("`{value}` is not a valid task type. Available types are {}.", names.join(", "))
    })
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
    fn short_names_get_no_hint() {
        assert_eq!(did_you_mean("uid", &["uids"]), None);
        assert_eq!(did_you_mean("status", &["uids", "statuses"]), None);
        assert_eq!(did_you_mean("statuse", &["uids", "statuses"]), Some("statuses"));
    }

    #[test]
    fn a_bare_date_after_means_after_that_day() {
        let at = |side| date("x", "2021-12-03", Code::BadRequest, side).unwrap().unwrap().to_string();
        assert_eq!(at(Side::After), "2021-12-04 0:00:00.0 +00:00:00");
        assert_eq!(at(Side::Before), "2021-12-03 0:00:00.0 +00:00:00");
        let moment = date("x", "1997-11-12T09:55:06.200000300-06:20", Code::BadRequest, Side::After);
        assert_eq!(moment.unwrap().unwrap().to_string(), "1997-11-12 9:55:06.2000003 -06:20:00");
        assert_eq!(date("x", "*", Code::BadRequest, Side::After).unwrap(), None);
    }
}
