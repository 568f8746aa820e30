//! The configuration file: read, expanded, checked as a whole, and handed out as plain data.
//!
//! # Layout
//!
//! Keys and defaults stand with the rooms that they are about, as [`crate::settings`] says; here they are put together.
//!
//! | file | what |
//! |---|---|
//! | [`model`] | the file: the sections of all rooms, and the keys outside of sections |
//! | [`problem`] | why a file cannot be used |
//! | `pingora_conf` | the section of Pingora's own settings |
//! | `expand` | `${NAME}` and `${NAME:-default}` |
//! | `live` | what can be exchanged while the gateway runs |
//! | [`rule_file`] | rules in files of their own |
//! | `rules` | what no section can know alone |

pub mod model;
pub mod problem;

mod expand;
mod live;
mod pingora_conf;
pub mod rule_file;
mod rules;

use std::path::Path;

use serde_json::Value;

pub use model::{Config, DEFAULT_ADMIN, DEFAULT_FILE, DEFAULT_LISTEN};
pub use problem::Problems;

use crate::settings::{Report, Section, Warning};

/// Looks up an environment variable.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

// === impl Config ===

impl Config {
    /// Reads the file at `path`. Every problem is reported, not the first one. Paths of keys and certificates are
    /// relative to the folder of `path`.
    pub fn load(path: &Path) -> Result<(Self, Vec<Warning>), Problems> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Problems::of_file(format!("cannot read {}: {error}", path.display())))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder, &|name| std::env::var(name).ok())
    }

    /// [`Config::load`] without the file and the process's environment.
    pub fn parse(text: &str, folder: &Path, environment: Environment) -> Result<(Self, Vec<Warning>), Problems> {
        // No snippet: it would show the lines around an error, and a key may be among them.
        // YAML 1.2's truth values only, so that a zone may be called `y` and a node `no`.
        let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
        let mut file: Value = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| Problems::of_file(format!("not YAML: {error}")))?;
        if file.is_null() {
            file = Value::Object(serde_json::Map::new());
        }
        let Value::Object(_) = file else {
            return Err(Problems::of_file("expected a mapping of sections".to_owned()));
        };

        let report = Report::default();
        expand::expand(&mut file, "", environment, &report);
        let files = |name: &str| std::fs::read_to_string(folder.join(name));
        let mut config = model::read(Section::new("", file, &report), &files);
        config.tls.relative_to(folder);
        for name in &config.rule_files {
            match files(name) {
                Ok(text) => config.rules.append(&mut rule_file::read(name, &text, environment, &report)),
                Err(error) => report.problem("rule_files", format!("cannot read `{name}`: {error}")),
            }
        }
        rules::check(&config, &report);
        let (problems, mut warnings) = report.into_parts();
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        warnings.extend(rules::doubts(&config));
        Ok((config, warnings))
    }
}

#[cfg(test)]
mod docs_tests;
#[cfg(test)]
mod tests;
