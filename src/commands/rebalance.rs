//! `miroir rebalance`: what is moving, how far it is, and how to steer it.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::{AdminArgs, cell, finish, table};

/// Show or steer the moving of shards.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    /// What is moving, how far it is, what it waits for.
    Status(AdminArgs),
    /// Begin nothing new until resumed.
    Pause(AdminArgs),
    /// Go on; after a canceled plan, bring the shards to the nodes there are.
    Resume(AdminArgs),
    /// Give up what is arriving; what has arrived stays.
    Cancel(AdminArgs),
    /// Back to what the last plan left.
    Undo(AdminArgs),
    /// Read the configuration file of the gateway again.
    Reload(AdminArgs),
}

/// Asks the admin API, and prints what it says. Fails with its error on standard error.
pub fn run(args: Args) -> ExitCode {
    let (admin, path) = match args.action {
        Action::Status(admin) => return finish(admin.json, admin.get("/rebalance"), show),
        Action::Pause(admin) => (admin, "/rebalance/pause"),
        Action::Resume(admin) => (admin, "/rebalance/resume"),
        Action::Cancel(admin) => (admin, "/rebalance/cancel"),
        Action::Undo(admin) => (admin, "/rebalance/undo"),
        Action::Reload(admin) => (admin, "/reload"),
    };
    finish(admin.json, admin.post(path, &json!({})), show)
}

/// The answer of the admin API to everything about moves.
pub fn show(status: &Value) -> String {
    let mut out = format!("{}, layout {}\n", cell(&status["state"]), cell(&status["version"]));
    if status["changed"] == json!(false) {
        out += "nothing changes\n";
    }
    let of = |what: &Value, unit: &str| format!("{} of {} {unit}", cell(&what["done"]), cell(&what["total"]));
    if status["state"] != "idle" {
        out +=
            &format!("{}, {} arriving\n", of(&status["replicas"], "replicas"), cell(&status["replicas"]["arriving"]));
        let documents = &status["documents"];
        if documents.is_object() {
            out += &format!(
                "{}, {} a second, {} seconds left\n",
                of(documents, "documents"),
                cell(&documents["perSecond"]),
                cell(&documents["secondsLeft"])
            );
        }
    }
    for waiting in status["waiting"].as_array().into_iter().flatten() {
        out += &format!("waits: {}\n", cell(&waiting["reason"]));
    }
    let columns = ["id", "shards", "toArrive", "arriving", "toLeave", "toDelete", "drained"];
    let mut rows = vec![columns.map(str::to_owned).to_vec()];
    for node in status["nodes"].as_array().into_iter().flatten() {
        rows.push(columns.map(|key| cell(&node[key])).to_vec());
    }
    format!("{out}\n{}", table(&rows))
}
