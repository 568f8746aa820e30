//! `miroir try`: what the rules of a configuration make of a request, without a gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use crate::config::{Config, DEFAULT_FILE};
use crate::rules::trial::Trial;
use crate::settings::{FromSection as _, Report, Section};

/// Show what the rules of a configuration make of a request: before and after, as JSON.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// The request as an example of a rule has it, in JSON or YAML: `request`, `body`, `claims`, `key`, `client`, `headers`; for masks
    /// `answer` and `searchable`, for documents `document`.
    #[arg(long)]
    file: PathBuf,
}

/// Prints what the rules make of the request. Fails where the configuration or the request cannot be used.
pub fn run(args: Args) -> ExitCode {
    match shown(&args) {
        Ok(shown) => {
            println!("{shown:#}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("miroir: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn shown(args: &Args) -> Result<Value, String> {
    let (config, _) =
        Config::load(&args.config).map_err(|problems| format!("{}:\n{problems}", args.config.display()))?;
    let file = args.file.display();
    let text = std::fs::read_to_string(&args.file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let request: Value = serde_saphyr::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
    let report = Report::default();
    let mut section = Section::new("", request, &report);
    let trial = Trial::read(&mut section);
    section.finish();
    let problems: Vec<String> = report.into_parts().0.iter().map(ToString::to_string).collect();
    if !problems.is_empty() {
        return Err(format!("{file}: {}", problems.join("\n")));
    }
    trial.shown(&config.rules)
}
