//! `miroir check`: every problem of a configuration at once.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{Config, DEFAULT_FILE, Problems, rule_file};

/// Report every problem of a configuration; exit 1 if there is one.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// Files of rules, each looked at by itself, with the examples that its rules carry; then no configuration is.
    #[arg(long, num_args = 1..)]
    rules: Vec<PathBuf>,
}

/// Prints every problem and every doubt. Fails where there is a problem.
pub fn run(args: Args) -> ExitCode {
    if !args.rules.is_empty() {
        return check_rules(&args.rules);
    }
    let path = args.config.display();
    match Config::load(&args.config) {
        Ok((_, warnings)) => {
            for warning in &warnings {
                println!("warning: {warning}");
            }
            println!("{path}: good, {} warnings", warnings.len());
            ExitCode::SUCCESS
        }
        Err(problems) => {
            for problem in &problems.0 {
                println!("error: {problem}");
            }
            println!("{path}: {} problems", problems.0.len());
            ExitCode::FAILURE
        }
    }
}

fn check_rules(files: &[PathBuf]) -> ExitCode {
    let mut outcome = ExitCode::SUCCESS;
    for file in files {
        match rule_file::check(file) {
            Ok(count) => println!("{}: good, {count} rules", file.display()),
            Err(Problems(problems)) => {
                outcome = ExitCode::FAILURE;
                for problem in &problems {
                    println!("error: {}: {problem}", file.display());
                }
            }
        }
    }
    outcome
}
