//! Values of query parameters, refused in the engine's words.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, Time};

use super::filter::TaskRef;
use crate::meili::error::{Code, ResponseError};

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

/// From 0 to 2³² - 1; the complaint is in the engine's words.
pub fn integer(value: &str) -> Result<u32, Complaint> {
    value.parse().map_err(|_| format!("could not parse `{value}` as a positive integer"))
}

/// Either form of a task's id; refused as the engine refuses what is no integer.
pub fn task_ref(value: &str) -> Result<TaskRef, Complaint> {
    TaskRef::parse(value).ok_or_else(|| format!("could not parse `{value}` as a positive integer"))
}

/// In small letters alone; the complaint is in the engine's words.
pub fn boolean(value: &str) -> Result<bool, Complaint> {
    value.parse().map_err(|_| format!("could not parse `{value}` as a boolean, expected either `true` or `false`"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
