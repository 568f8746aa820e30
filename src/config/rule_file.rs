//! Rules in files of their own, each a mapping with one key, `rules`.

use std::path::Path;

use serde_json::Value;

use super::{Environment, expand};
use crate::config::Problems;
use crate::rules::book;
use crate::rules::rule::Rule;
use crate::rules::tested;
use crate::settings::{Report, Section};

/// The rules of the file `name` that says `text`. What is wrong is reported with the file's name.
pub(super) fn read(name: &str, text: &str, environment: Environment, report: &Report) -> Vec<Rule> {
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    let mut file: Value = match serde_saphyr::from_str_with_options(text, options) {
        Ok(file) => file,
        Err(error) => {
            report.problem(name, format!("not YAML: {error}"));
            return Vec::new();
        }
    };
    expand::expand(&mut file, "", environment, report);
    let mut section = Section::new(name, file, report);
    let rules = tested::read(&mut section);
    section.finish();
    rules
}

/// How many rules a file has, if all of them are right and do what their examples say.
///
/// # Errors
///
/// Every problem of the file.
pub fn check(path: &Path) -> Result<usize, Problems> {
    let text = std::fs::read_to_string(path).map_err(|error| Problems::of_file(format!("cannot be read: {error}")))?;
    let report = Report::default();
    let rules = read("", &text, &|name| std::env::var(name).ok(), &report);
    for name in book::repeated(&rules) {
        report.problem("rules", format!("two rules are called `{name}`"));
    }
    let (problems, _) = report.into_parts();
    if problems.is_empty() { Ok(rules.len()) } else { Err(Problems(problems)) }
}
