//! `miroir status`: nodes, their states, and what is stale or unavailable.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::{AdminArgs, cell, finish, table};
use super::leader;

/// Show the nodes and the state of the shards.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks the admin API, and prints how the cluster is. Fails with its error on standard error.
pub fn run(args: Args) -> ExitCode {
    let answer = args.admin.get("/topology").and_then(|topology| {
        let shards = &args.admin.get("/shards")?["shards"];
        let (resilver, leader) = (args.admin.get("/resilver")?, args.admin.get("/leader")?);
        Ok(json!({ "topology": topology, "shards": shards, "resilver": resilver, "leader": leader }))
    });
    finish(args.admin.json, answer, show)
}

fn show(answer: &Value) -> String {
    let topology = &answer["topology"];
    let empty = Vec::new();
    let nodes = topology["nodes"].as_array().unwrap_or(&empty);
    let shards = answer["shards"].as_array().unwrap_or(&empty);
    let mut rows = vec![["node", "state", "zone", "weight", "shards", "url"].map(str::to_owned).to_vec()];
    for node in nodes {
        rows.push(["id", "state", "zone", "weight", "shards", "url"].map(|key| cell(&node[key])).to_vec());
    }
    let stale = shards.iter().filter(|shard| shard["stale"].as_array().is_some_and(|list| !list.is_empty())).count();
    format!(
        "epoch {}, {} shards placed by `{}`, replication factor {}, {stale} with a stale replica\n{}\n{}{}{}{}",
        cell(&topology["epoch"]),
        cell(&topology["shards"]),
        cell(&topology["placement"]),
        cell(&topology["replicationFactor"]),
        leader::show(&answer["leader"]),
        table(&rows),
        copies(&answer["resilver"]),
        take_backs(topology),
        repairs(nodes)
    )
}

/// Indexes that are repaired on nodes that serve the others; nothing when there are none.
fn repairs(nodes: &[Value]) -> String {
    let mut shown = String::new();
    for node in nodes {
        for repair in node["repairs"].as_array().into_iter().flatten() {
            let refusal = repair["refusal"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
            let next = repair["nextTry"].as_str().map(|at| format!("; next try at {at}")).unwrap_or_default();
            shown += &format!(
                "\n\nindex {} on {} in repair since {} ({}, {} tries){refusal}{next}",
                cell(&repair["index"]),
                cell(&node["id"]),
                cell(&repair["since"]),
                cell(&repair["state"]),
                cell(&repair["tries"]),
            );
        }
    }
    shown
}

/// Settings that a node refused and that others still have; nothing when there are none.
fn take_backs(topology: &Value) -> String {
    let joined = |list: &Value| list.as_array().into_iter().flatten().map(cell).collect::<Vec<_>>().join(", ");
    let row = |entry: &Value| {
        let waits = entry["waitsFor"].as_str().map(|why| format!("; {why}")).unwrap_or_default();
        let (index, settings, nodes) = (cell(&entry["index"]), joined(&entry["settings"]), joined(&entry["asOn"]));
        format!("\n\nindex {index}: taking back {settings}, which {nodes} refused{waits}")
    };
    topology["takeBacks"].as_array().into_iter().flatten().map(row).collect()
}

/// The copies to stale replicas that are under way or stopped short; nothing when there are none.
fn copies(resilver: &Value) -> String {
    let list = |name: &str| resilver[name].as_array().cloned().unwrap_or_default();
    let mut shown = String::new();
    let columns = ["node", "index", "phase", "shards", "documentsDone", "documents", "copied", "bytes", "secondsLeft"];
    let running: Vec<Vec<String>> =
        list("running").iter().map(|copy| columns.map(|key| cell(&copy[key])).to_vec()).collect();
    if !running.is_empty() {
        let heads = ["resilvering", "index", "phase", "shards", "done", "of", "copied", "bytes", "seconds left"];
        let rows: Vec<Vec<String>> = std::iter::once(heads.map(str::to_owned).to_vec()).chain(running).collect();
        shown += &format!("\n\n{}", table(&rows));
    }
    for failed in list("failed") {
        shown += &format!(
            "\n\nindex {} on {} could not be resilvered yet ({} attempts): {}",
            cell(&failed["index"]),
            cell(&failed["node"]),
            cell(&failed["attempts"]),
            cell(&failed["message"])
        );
    }
    shown
}
