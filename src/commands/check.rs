//! `miroir check`: every problem of a configuration at once.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::Config;

/// Report every problem of a configuration; exit 1 if there is one.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, default_value = "conf/miroir.yaml")]
    config: PathBuf,
}

pub fn run(args: Args) -> ExitCode {
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
