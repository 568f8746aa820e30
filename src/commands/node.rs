//! `miroir node add|remove|drain|set|maintenance`: what an operator does with nodes of a running cluster.

use std::process::ExitCode;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::client::{AdminArgs, cell, finish};
use super::rebalance::show;

/// Ids consist of characters that need no escape; anything else the gateway shall refuse, not mistake.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    /// Take a node into the cluster; shards move to it.
    Add(AddArgs),
    /// Take a node out of the cluster, once its shards are elsewhere.
    Remove(OneArgs),
    /// Move all shards away from a node that stays in the cluster.
    Drain(OneArgs),
    /// Change a node's url, zone or weight, or let a drained one hold shards again.
    Set(SetArgs),
    /// Take a node out of service before it is restarted, or let it return.
    Maintenance(MaintenanceArgs),
}

#[derive(Debug, Clone, clap::Args)]
pub struct AddArgs {
    id: String,
    /// `http://host:port`.
    url: String,
    #[arg(long)]
    zone: Option<String>,
    #[arg(long, default_value_t = 1.0)]
    weight: f64,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Clone, clap::Args)]
pub struct OneArgs {
    id: String,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Clone, clap::Args)]
pub struct SetArgs {
    id: String,
    #[arg(long)]
    url: Option<String>,
    /// An empty one takes the zone away.
    #[arg(long)]
    zone: Option<String>,
    #[arg(long)]
    weight: Option<f64>,
    /// `--drained false` lets a drained node hold shards again.
    #[arg(long)]
    drained: Option<bool>,
    #[command(flatten)]
    admin: AdminArgs,
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

/// Asks the admin API, and prints what it says. Fails with its error on standard error.
pub fn run(action: Action) -> ExitCode {
    match action {
        Action::Add(args) => {
            let node = json!({ "id": args.id, "url": args.url, "zone": args.zone, "weight": args.weight });
            finish(args.admin.json, args.admin.post("/nodes", &node), show)
        }
        Action::Remove(args) => finish(args.admin.json, args.admin.send("DELETE", &path(&args.id), None), show),
        Action::Drain(args) => {
            finish(args.admin.json, args.admin.post(&format!("{}/drain", path(&args.id)), &json!({})), show)
        }
        Action::Set(args) => {
            let patch = Value::Object(patch(&args));
            finish(args.admin.json, args.admin.send("PATCH", &path(&args.id), Some(&patch)), show)
        }
        Action::Maintenance(args) => maintenance(&args),
    }
}

/// Where the admin API has a node.
pub fn path(id: &str) -> String {
    format!("/nodes/{}", utf8_percent_encode(id, SEGMENT))
}

fn patch(args: &SetArgs) -> Map<String, Value> {
    let mut patch = Map::new();
    if let Some(url) = &args.url {
        patch.insert("url".to_owned(), json!(url));
    }
    if let Some(zone) = &args.zone {
        patch.insert("zone".to_owned(), if zone.is_empty() { Value::Null } else { json!(zone) });
    }
    if let Some(weight) = args.weight {
        patch.insert("weight".to_owned(), json!(weight));
    }
    if let Some(drained) = args.drained {
        patch.insert("drained".to_owned(), json!(drained));
    }
    patch
}

fn maintenance(args: &MaintenanceArgs) -> ExitCode {
    let path = format!("{}/maintenance", path(&args.node));
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
