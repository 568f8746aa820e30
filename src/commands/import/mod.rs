//! `miroir import`: what another Meilisearch has, out of its dump or as it runs, loaded through the API of a gateway (or of any
//! Meilisearch), and compared in the end.
//!
//! | module | what lives there |
//! |---|---|
//! | `archive` | a dump as a source |
//! | `chats` | what is said of chats, and the switch that it needs |
//! | [`compare`] | whether source and target are alike |
//! | `error` | why an import stops |
//! | `joins` | keys to other indexes, as far as the target takes them |
//! | `load` | what is sent to the target, in which order |
//! | `node` | a running Meilisearch as a source |
//! | `outcome` | what came of a request to the target |
//! | `rules` | dynamic search rules, and the switch that they need |
//! | [`source`] | what can be imported from |
//! | `state` | what of an import is done, on disk, so that it can go on |

mod archive;
mod chats;
pub mod compare;
mod error;
mod joins;
mod load;
mod node;
mod outcome;
mod rules;
pub mod source;
mod state;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::client::url_of;
use crate::config::DEFAULT_LISTEN;
use crate::dumps::remote::Remote;
use crate::meili::versions;
use crate::settings::Secret;

use archive::FromDump;
use compare::Compare;
use error::{ImportError, during};
use load::Options;
use node::FromNode;
use source::Source;
use state::State;

/// How many differences are listed.
const SHOWN: usize = 100;

/// Load a Meilisearch dump, or what a running Meilisearch has, through the gateway, and compare.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The dump, a file of Meilisearch's format V6.
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    dump: Option<PathBuf>,
    /// A running Meilisearch, in the place of a dump. Nobody may write to it meanwhile.
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The key of the running Meilisearch; its master key if its API keys are to come along.
    #[arg(long, env = "MIROIR_FROM_KEY", hide_env_values = true, requires = "from")]
    from_key: Option<Secret>,
    #[command(flatten)]
    target: TargetArgs,
}

/// Where an import goes to, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct TargetArgs {
    /// The gateway's URL, or that of any Meilisearch.
    #[arg(long, env = "MIROIR_URL", default_value_t = url_of(DEFAULT_LISTEN))]
    pub url: String,
    /// Its master key, or another key that may do all of it.
    #[arg(long, env = "MIROIR_KEY", hide_env_values = true)]
    pub key: Option<Secret>,
    /// Load into indexes that are there already: their settings are changed and documents with the same ids replaced.
    #[arg(long)]
    pub overwrite: bool,
    /// Load what a newer Meilisearch than the target's nodes has; a setting that they do not know stops the import.
    #[arg(long)]
    pub accept_newer: bool,
    /// Which documents are compared in the end.
    #[arg(long, value_enum, default_value_t = Compare::All)]
    pub compare: Compare,
    /// The most bytes of documents in one request, before they are packed.
    #[arg(long, default_value_t = 8 << 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub batch_size: u64,
    /// The file that remembers what is done, so that an import that was stopped goes on; beside the dump by default. It is
    /// removed at the end.
    #[arg(long)]
    pub state: Option<PathBuf>,
}

/// Loads and compares; see [`finish`] for how it ends.
pub fn run(args: Args) -> ExitCode {
    match (args.dump, args.from) {
        (Some(dump), _) => finish(import_dump(&dump, &args.target)),
        (None, Some(url)) => finish(import_node(&url, args.from_key, &args.target)),
        // Refused by the arguments' own rules.
        (None, None) => ExitCode::FAILURE,
    }
}

/// Imports a dump; how many differences were found.
pub fn import_dump(dump: &Path, target: &TargetArgs) -> Result<usize, ImportError> {
    let mut source = FromDump::open(dump)?;
    let mut beside = dump.as_os_str().to_owned();
    beside.push(".import.json");
    import(&mut source, PathBuf::from(beside), target)
}

fn import_node(url: &str, key: Option<Secret>, target: &TargetArgs) -> Result<usize, ImportError> {
    let mut source = FromNode::open(url, key)?;
    import(&mut source, PathBuf::from("miroir-import.json"), target)
}

fn import(source: &mut dyn Source, beside: PathBuf, target: &TargetArgs) -> Result<usize, ImportError> {
    let remote = Remote::new(&target.url, target.key.clone());
    let version = during("the target's version", remote.send("GET", "/version", None))?;
    let version = version["pkgVersion"].as_str().unwrap_or_default();
    if versions::is_newer(source.version(), version) && !target.accept_newer {
        let (source_version, target_version) = (source.version().to_owned(), version.to_owned());
        return Err(ImportError::Newer { source_version, target_version });
    }
    let path = target.state.clone().unwrap_or(beside);
    let mut state = State::open(path, &source.identity(), &target.url)?;
    let batch = usize::try_from(target.batch_size).unwrap_or(usize::MAX);
    load::run(source, &remote, &mut state, &Options { overwrite: target.overwrite, batch })?;
    let differences = compare::run(source, &remote, target.compare)?;
    chats::close(&remote, &mut state)?;
    rules::close(&remote, &mut state)?;
    for difference in differences.iter().take(SHOWN) {
        println!("{difference}");
    }
    if differences.len() > SHOWN {
        println!("and {} more differences", differences.len() - SHOWN);
    }
    if differences.is_empty() {
        state.remove();
        println!("source and target are alike");
    }
    Ok(differences.len())
}

/// 0: loaded and alike. 1: stopped; the same command goes on. 2: loaded, and something differs.
pub fn finish(outcome: Result<usize, ImportError>) -> ExitCode {
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(2),
        Err(error) => {
            eprintln!("miroir: {error}");
            ExitCode::FAILURE
        }
    }
}
