//! `miroir node maintenance`: what an operator does with a node of a running cluster.

use std::process::ExitCode;

use serde_json::Value;

use super::client::{AdminArgs, cell, finish};

#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    /// Take a node out of service before it is restarted, or let it return.
    Maintenance(MaintenanceArgs),
}

#[derive(Debug, Clone, clap::Args)]
pub struct MaintenanceArgs {
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

pub fn run(action: Action) -> ExitCode {
    match action {
        Action::Maintenance(args) => maintenance(&args),
    }
}

fn maintenance(args: &MaintenanceArgs) -> ExitCode {
    let path = format!("/nodes/{}/maintenance", args.node);
    let answer = if args.end {
        args.admin.send("DELETE", &path, None)
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
