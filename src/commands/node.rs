//! `miroir node`: an embedded node as a process, or what an operator does with a node of the cluster.

use std::process::ExitCode;

use serde_json::Value;

use super::client::{AdminArgs, cell, finish};
#[cfg(feature = "embedded")]
use crate::embedded::node::{NodeOptions, run_node};

/// Run one embedded Meilisearch-compatible node (for trying, testing and small use), or operate on a node of the cluster.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[cfg_attr(not(feature = "embedded"), command(subcommand_required = true, arg_required_else_help = true))]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[cfg(feature = "embedded")]
    #[command(flatten)]
    options: NodeOptions,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Maintenance(MaintenanceArgs),
}

/// Take a node out of service before it is restarted, or let it return.
#[derive(Debug, clap::Args)]
struct MaintenanceArgs {
    /// The node's id.
    node: String,
    /// Let the node return.
    #[arg(long, conflicts_with = "force")]
    end: bool,
    /// Even if shards are left without a replica in sync.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub fn run(args: Args) -> ExitCode {
    match args.action {
        Some(Action::Maintenance(args)) => maintenance(&args),
        #[cfg(feature = "embedded")]
        None => match run_node(args.options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("miroir: {error}");
                ExitCode::FAILURE
            }
        },
        #[cfg(not(feature = "embedded"))]
        None => ExitCode::FAILURE,
    }
}

fn maintenance(args: &MaintenanceArgs) -> ExitCode {
    let path = format!("/nodes/{}/maintenance", args.node);
    let answer = if args.end {
        args.admin.delete(&path)
    } else {
        let force = if args.force { "?force=true" } else { "" };
        args.admin.post(&format!("{path}{force}"), &Value::Null)
    };
    finish(args.admin.json, answer, |answer| {
        let node = cell(&answer["node"]);
        match answer["idle"].as_bool() {
            Some(true) => format!("{node} is in maintenance and idle: it can be stopped"),
            Some(false) => format!("{node} is in maintenance, but requests to it are still under way"),
            None => format!("{node} returns: it is {} now", cell(&answer["state"])),
        }
    })
}
