//! `miroir plan`: what a change would move. Of a running cluster, by its admin API; or from one configuration to another,
//! asking nobody.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::client::{AdminArgs, cell, finish, table};
use crate::config::Config;
use crate::placement::topology::{Node, NodeId, Topology};
use crate::placement::version::Placement;

/// Show what a change of the running cluster would move, without making it; with `--config`, where shards lie by that file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask nobody: the configuration as it is.
    #[arg(long, conflicts_with_all = ["add", "remove", "drain", "replication_factor", "placement"])]
    config: Option<PathBuf>,
    /// The configuration as it shall be.
    #[arg(long)]
    to: Option<PathBuf>,
    /// A node to add, `ID=URL`.
    #[arg(long, value_parser = id_and_url)]
    add: Vec<(String, String)>,
    /// A node to remove.
    #[arg(long)]
    remove: Vec<String>,
    /// A node to drain.
    #[arg(long)]
    drain: Vec<String>,
    /// How many nodes shall hold each document.
    #[arg(long)]
    replication_factor: Option<u8>,
    /// How shards shall be placed: `rendezvous` or `bounded`.
    #[arg(long)]
    placement: Option<Placement>,
    #[command(flatten)]
    admin: AdminArgs,
}

fn id_and_url(text: &str) -> Result<(String, String), String> {
    let (id, url) = text.split_once('=').ok_or("expected ID=URL")?;
    Ok((id.to_owned(), url.to_owned()))
}

/// Asks the admin API, and prints what would move. Fails with its error on standard error.
pub fn run(args: Args) -> ExitCode {
    match &args.config {
        Some(config) => compare(config, &args),
        None => ask(&args),
    }
}

fn ask(args: &Args) -> ExitCode {
    let mut asked = Map::new();
    if let Some(to) = &args.to {
        let Some(to) = load(to) else { return ExitCode::FAILURE };
        let node = |node: &Node| json!({ "id": node.id, "url": node.url, "zone": node.zone, "weight": node.weight });
        asked.insert("nodes".to_owned(), to.nodes().iter().map(node).collect());
        asked.insert("replicationFactor".to_owned(), to.cluster.replication_factor.into());
        asked.insert("placement".to_owned(), json!(to.cluster.placement));
    }
    asked.insert("add".to_owned(), args.add.iter().map(|(id, url)| json!({ "id": id, "url": url })).collect());
    asked.insert("remove".to_owned(), json!(args.remove));
    asked.insert("drain".to_owned(), json!(args.drain));
    if let Some(factor) = args.replication_factor {
        asked.insert("replicationFactor".to_owned(), factor.into());
    }
    if let Some(placement) = args.placement {
        asked.insert("placement".to_owned(), json!(placement));
    }
    finish(args.admin.json, args.admin.post("/rebalance/plan", &Value::Object(asked)), show_answer)
}

fn show_answer(plan: &Value) -> String {
    let mut out = format!(
        "{} of {} replicas move: {} documents, {} bytes, about {} seconds at {} documents a second\n",
        cell(&plan["replicas"]),
        cell(&plan["replicasInAll"]),
        cell(&plan["documents"]),
        cell(&plan["bytes"]),
        cell(&plan["seconds"]),
        cell(&plan["documentsPerSecond"])
    );
    if let Some(refusal) = plan["refusal"].as_str() {
        out += &format!("it would be refused: {refusal}\n");
    }
    let columns =
        ["id", "shards", "shardsAfter", "arrive", "leave", "documents", "bytes", "fairShare", "fairShareAfter"];
    let mut rows = vec![columns.map(str::to_owned).to_vec()];
    for node in plan["nodes"].as_array().into_iter().flatten() {
        rows.push(columns.map(|key| cell(&node[key])).to_vec());
    }
    format!("{out}\n{}", table(&rows))
}

fn compare(config: &std::path::Path, args: &Args) -> ExitCode {
    let Some(from) = load(config) else { return ExitCode::FAILURE };
    let to = match args.to.as_deref().map(load) {
        Some(None) => return ExitCode::FAILURE,
        Some(Some(to)) => Some(to),
        None => None,
    };
    let shards = from.cluster.shards_when_new();
    // What the second file does not say stays.
    let placement = from.cluster.placement_when_new();
    let goal = to.as_ref().unwrap_or(&from);
    if let Some(other) = goal.cluster.shards.filter(|other| *other != shards) {
        eprintln!("miroir: the number of shards is fixed when a cluster is made: {shards} is not {other}");
        return ExitCode::FAILURE;
    }
    let place = |config: &Config, placement: Placement| {
        Topology::placed(placement, config.nodes(), shards, config.cluster.replication_factor)
    };
    let then = goal.cluster.placement.unwrap_or(placement);
    println!("{shards} shards, placed by `{then}`");
    print!("{}", show(&place(&from, placement), &place(goal, then)));
    ExitCode::SUCCESS
}

fn load(path: &std::path::Path) -> Option<Config> {
    match Config::load(path) {
        Ok((config, _)) => Some(config),
        Err(problems) => {
            eprintln!("miroir: {}: {problems}", path.display());
            None
        }
    }
}

fn show(from: &Topology, to: &Topology) -> String {
    let mut rows = vec![["node", "zone", "weight", "replicas", "arrive", "leave"].map(str::to_owned).to_vec()];
    let mut moved = 0;
    let mut ids: Vec<&NodeId> = from.nodes.iter().chain(&to.nodes).map(|node| &node.id).collect();
    ids.sort();
    ids.dedup();
    for id in ids {
        let of = |topology: &Topology| {
            topology.find(id.as_str()).map(|node| topology.shards_of(node).clone()).unwrap_or_default()
        };
        let (before, after) = (of(from), of(to));
        let arrive = after.iter().filter(|shard| !before.contains(*shard)).count();
        let leave = before.iter().filter(|shard| !after.contains(*shard)).count();
        moved += arrive;
        let node = to.find(id.as_str()).map(|ix| to.node(ix)).or(from.find(id.as_str()).map(|ix| from.node(ix)));
        let Some(node) = node else { continue };
        rows.push(vec![
            id.to_string(),
            node.zone.clone().unwrap_or_else(|| "-".to_owned()),
            node.weight.to_string(),
            after.len().to_string(),
            arrive.to_string(),
            leave.to_string(),
        ]);
    }
    let all = usize::from(to.shards) * to.owners.first().map_or(0, Vec::len);
    format!("{moved} of {all} replicas move\n\n{}", table(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::topology::NodeState;

    fn topology(ids: &[&str]) -> Topology {
        let node = |id: &&str| Node {
            id: NodeId::new(id),
            url: format!("http://{id}"),
            zone: None,
            weight: 1.0,
            state: NodeState::Joining,
        };
        Topology::build(ids.iter().map(node).collect(), 256, 2)
    }

    #[test]
    fn a_new_node_takes_replicas_and_nobody_else_does() {
        let text = show(&topology(&["a", "b", "c"]), &topology(&["a", "b", "c", "d"]));
        let arrivals: Vec<usize> = text
            .lines()
            .skip(3)
            .map(|line| line.split_whitespace().nth(4).and_then(|n| n.parse().ok()).expect("a number"))
            .collect();
        assert_eq!(arrivals[..3], [0, 0, 0], "{text}");
        assert!(arrivals[3] > 80, "{text}");
        assert!(text.starts_with(&format!("{} of 512 replicas move", arrivals[3])), "{text}");
    }
}
