//! `miroir tasks`: the newest tasks, or one with each node's part.

use std::process::ExitCode;

use serde_json::Value;

use super::client::{AdminArgs, cell, finish, table};

/// Show the newest tasks, or one task with each node's part.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A task's id, as an integer or `mtask-<uuid>`.
    id: Option<String>,
    /// How many tasks to list.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks the admin API, and prints the tasks. Fails with its error on standard error.
pub fn run(args: Args) -> ExitCode {
    match &args.id {
        Some(id) => finish(args.admin.json, args.admin.get(&format!("/tasks/{id}")), |task| format!("{task:#}")),
        None => finish(args.admin.json, args.admin.get(&format!("/tasks?limit={}", args.limit)), show),
    }
}

fn show(list: &Value) -> String {
    let columns = ["uid", "status", "type", "indexUid", "duration", "enqueuedAt"];
    let mut rows = vec![columns.map(str::to_owned).to_vec()];
    for task in list["results"].as_array().into_iter().flatten() {
        rows.push(columns.map(|key| cell(&task[key])).to_vec());
    }
    format!("{} tasks\n\n{}", cell(&list["total"]), table(&rows))
}
