//! `miroir state move`: a state goes from a file to a PostgreSQL server, or back.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::settings::Secret;
use crate::store::moving::{MoveError, Moved, move_state};
use crate::store::open::Place;

/// Move what a gateway remembers to another place.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Move a state from a file to a PostgreSQL server, or back. No gateway may use either meanwhile; afterwards `state` in the
    /// configuration is to name the new place.
    Move {
        /// Where the state is: `sqlite:./data/miroir.db`, `postgres://user@host:5432/database`.
        #[arg(long)]
        from: String,
        /// Where it is to be. There must be none yet.
        #[arg(long)]
        to: String,
        /// A file that holds the password of the database; the environment variable PGPASSWORD otherwise.
        #[arg(long)]
        password_file: Option<PathBuf>,
    },
}

/// Why a state cannot be moved.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot read {}: {source}", path.display())]
    Password { path: PathBuf, source: std::io::Error },
    #[error("{state}: {problem}")]
    Place { state: String, problem: String },
    #[error("cannot start a runtime: {0}")]
    Runtime(std::io::Error),
    #[error(transparent)]
    Move(#[from] MoveError),
}

/// Moves the state, and prints what was moved. Fails with the reason on standard error.
pub fn run(args: Args) -> ExitCode {
    let Action::Move { from, to, password_file } = args.action;
    match moved(&from, &to, password_file) {
        Ok(moved) => {
            let counts = moved.summary.counts.iter().map(|(table, count)| format!("{table} {count}"));
            println!("moved from {from} to {to}");
            println!("rows: {}", counts.collect::<Vec<_>>().join(", "));
            println!("read and written are equal: sha256 {}", moved.summary.digest);
            println!("what was moved away is no state any more: {}", moved.left);
            println!("set `state: {to}` in the configuration before you start a gateway");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("miroir: {error}");
            ExitCode::FAILURE
        }
    }
}

fn moved(from: &str, to: &str, password_file: Option<PathBuf>) -> Result<Moved, Failure> {
    let password = match password_file {
        Some(path) => match std::fs::read_to_string(&path) {
            Ok(content) => Some(content.trim_end_matches(['\n', '\r']).to_owned()),
            Err(source) => return Err(Failure::Password { path, source }),
        },
        None => std::env::var("PGPASSWORD").ok(),
    };
    let password = password.map(Secret::new);
    let place = |state| Place { state, password: password.as_ref() };
    for state in [from, to] {
        // What is wrong with an address may name what belongs into no message, and `check` does not.
        place(state).check().map_err(|problem| Failure::Place { state: kind(state).to_owned(), problem })?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    Ok(runtime.block_on(move_state(place(from), place(to)))?)
}

/// The beginning of a state's name: the rest may have a password in it.
fn kind(state: &str) -> &str {
    state.split_once(':').map_or("state", |(kind, _)| kind)
}
