//! `miroir cluster set`: how many nodes hold each document.

use std::process::ExitCode;

use serde_json::json;

use super::client::{AdminArgs, finish};
use super::rebalance::show;

/// Change what concerns the whole cluster.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    /// Change the replication factor; copies are made or given up.
    Set {
        #[arg(long)]
        replication_factor: u8,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

/// Asks the admin API, and prints what it says. Fails with its error on standard error.
pub fn run(args: Args) -> ExitCode {
    let Action::Set { replication_factor, admin } = args.action;
    let patch = json!({ "replicationFactor": replication_factor });
    finish(admin.json, admin.send("PATCH", "/cluster", Some(&patch)), show)
}
