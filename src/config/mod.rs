//! The configuration file: read, expanded, checked as a whole, and handed out as plain data.
//!
//! # Layout
//!
//! | file | what |
//! |---|---|
//! | [`model`] | the settings, section by section |
//! | [`secret`] | a key that no log line can show |
//! | [`problem`] | everything that is wrong or doubtful, all at once |
//! | `expand` | `${NAME}` and `${NAME:-default}` |
//! | `unit` | `500ms`, `7d`, `64MiB` |
//! | `reader` | one section's keys, each taken once; what is left over is unknown |
//! | `sections` | the file's sections, with their defaults |
//! | `rules` | what no section can know alone |

pub mod model;
pub mod problem;
pub mod secret;

mod expand;
mod reader;
mod rules;
mod sections;
mod unit;

use std::path::Path;

use serde_json::Value;

pub use model::{
    ClusterConfig, CompressionConfig, Config, HealthConfig, LimitsConfig, LogConfig, LogFormat, NodeConfig,
    OnConfigChange, OverloadConfig, RebalanceConfig, ResilverConfig, ScrubConfig, SearchConfig, TasksConfig,
    TieBreakConfig, UidFormatConfig, UnavailableShards, WriteConfig,
};
pub use problem::{Problem, Problems, Warning};
pub use secret::Secret;

use reader::{Report, Section};

/// Looks up an environment variable.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

// === impl Config ===

impl Config {
    /// Reads the file at `path`. Every problem is reported, not the first one. Paths of key files are relative to the
    /// folder of `path`.
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
        let config = sections::read(Section::new("", file, folder, &report));
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
mod tests;
