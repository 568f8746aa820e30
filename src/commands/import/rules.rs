//! Dynamic search rules. A Meilisearch keeps them while their switch is off, but takes and shows them only while it is on. So it is on while
//! they are written and compared.

use serde_json::{Value, json};

use super::compare::Difference;
use super::error::{ImportError, during};
use super::outcome::{done, note};
use super::source::Source;
use super::state::State;
use crate::dumps::remote::{Remote, RemoteError};
use crate::nodes::dynamic_rules::written;

/// The switch.
const SWITCH: &str = "dynamicSearchRules";
const FEATURES: &str = "/experimental-features";
const RULES: &str = "/dynamic-search-rules";
/// So many are read of a running Meilisearch.
const MOST: u64 = 10_000;

/// All rules of a running Meilisearch whose switch is on: names, and the bodies that write them. The oldest first.
pub fn of(remote: &Remote) -> Result<Vec<(String, Value)>, ImportError> {
    let page = during("dynamic search rules", remote.send("POST", RULES, Some(&json!({ "limit": MOST }))))?;
    let rules = page["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = rules.iter().rev().map(|rule| (rule["uid"].as_str().unwrap_or_default().to_owned(), written(rule)));
    Ok(named.collect())
}

/// Writes the rules of the source, with their switch on. What the target does not take is said, and is no reason to stop.
pub fn load(source: &dyn Source, remote: &Remote, state: &mut State, overwrite: bool) -> Result<(), ImportError> {
    if source.rules().is_empty() {
        return Ok(());
    }
    let features = during("experimental features", remote.send("GET", FEATURES, None))?;
    if features[SWITCH] != true {
        // Should this be stopped in between, the next run knows that the switch is to go off again.
        state.done.rules_were_off = true;
        state.save()?;
        let switched = remote.send("PATCH", FEATURES, Some(&json!({ SWITCH: true })));
        // Without an answer it may have been done.
        if matches!(switched, Err(RemoteError::Refused(_))) {
            state.done.rules_were_off = false;
            state.save()?;
            return note("dynamic search rules", switched);
        }
        during("the switch for dynamic search rules", switched)?;
    }
    for (uid, rule) in source.rules() {
        let what = format!("dynamic search rule `{uid}`");
        match there(remote, uid)? {
            Some(held) if held == *rule => continue,
            Some(_) if !overwrite => println!("{what} is not taken along: there is another one of that name"),
            Some(_) | None => match remote.send("PATCH", &path(uid), Some(rule)) {
                Ok(accepted) => done(&what, remote, Ok(accepted))?,
                refused => note(&what, refused)?,
            },
        }
    }
    Ok(())
}

/// Switches them off if they were off before.
pub fn close(remote: &Remote, state: &mut State) -> Result<(), ImportError> {
    if state.done.rules_were_off {
        let off = remote.send("PATCH", FEATURES, Some(&json!({ SWITCH: false })));
        during("the switch for dynamic search rules", off)?;
        state.done.rules_were_off = false;
        state.save()?;
    }
    Ok(())
}

/// Which rules are others than those of the source.
pub fn compare(source: &dyn Source, remote: &Remote) -> Result<Vec<Difference>, ImportError> {
    let mut found = Vec::new();
    for (uid, rule) in source.rules() {
        if there(remote, uid)?.as_ref() != Some(rule) {
            found.push(Difference::Rule { rule: uid.clone() });
        }
    }
    Ok(found)
}

/// What the target's rule of that name was written as; `None` also where it shows none.
fn there(remote: &Remote, uid: &str) -> Result<Option<Value>, ImportError> {
    match remote.send("GET", &path(uid), None) {
        Ok(rule) => Ok(Some(written(&rule))),
        Err(RemoteError::Refused(error)) if error.code != "invalid_api_key" => Ok(None),
        other => during(format!("dynamic search rule `{uid}`"), other).map(Some),
    }
}

fn path(uid: &str) -> String {
    format!("{RULES}/{uid}")
}
