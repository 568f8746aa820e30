//! `miroir cluster set`: how many nodes hold each document, and how it is found which.

use std::process::ExitCode;

use serde_json::json;

use super::client::{AdminArgs, finish};
use super::rebalance::show;
use crate::placement::version::Placement;

/// Change what concerns the whole cluster.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    /// Change the replication factor, or how shards are placed; copies are made, moved or given up.
    Set {
        #[arg(long, required_unless_present = "placement")]
        replication_factor: Option<u8>,
        /// `rendezvous`, or `bounded`: no node holds more than its fair share.
        #[arg(long)]
        placement: Option<Placement>,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

/// Asks the admin API, and prints what it says. Fails with its error on standard error.
pub fn run(args: Args) -> ExitCode {
    let Action::Set { replication_factor, placement, admin } = args.action;
    let patch = json!({ "replicationFactor": replication_factor, "placement": placement });
    finish(admin.json, admin.send("PATCH", "/cluster", Some(&patch)), show)
}
