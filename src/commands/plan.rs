//! `miroir plan`: where the shards of a configuration lie, and what would move from another one. Asks nobody.

use std::path::PathBuf;
use std::process::ExitCode;

use super::client::table;
use crate::config::Config;
use crate::placement::topology::{Node, NodeId, NodeState, Topology};

/// Show where shards lie by a configuration, and which replicas another configuration would move.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration as it is.
    #[arg(long, default_value = "conf/miroir.yaml")]
    config: PathBuf,
    /// The configuration as it shall be.
    #[arg(long)]
    to: Option<PathBuf>,
}

pub fn run(args: Args) -> ExitCode {
    let Some(from) = placement(&args.config) else { return ExitCode::FAILURE };
    let to = match args.to.as_deref().map(placement) {
        Some(None) => return ExitCode::FAILURE,
        Some(Some(to)) => to,
        None => from.clone(),
    };
    if from.shards != to.shards {
        eprintln!("miroir: the number of shards is fixed when a cluster is made: {} is not {}", from.shards, to.shards);
        return ExitCode::FAILURE;
    }
    print!("{}", show(&from, &to));
    ExitCode::SUCCESS
}

fn placement(path: &std::path::Path) -> Option<Topology> {
    match Config::load(path) {
        Ok((config, _)) => {
            let nodes = config.cluster.nodes.iter().map(|node| Node {
                id: NodeId::new(&node.id),
                url: node.url.clone(),
                zone: node.zone.clone(),
                weight: node.weight,
                state: NodeState::Joining,
            });
            Some(Topology::build(nodes.collect(), config.cluster.shards, config.cluster.replication_factor))
        }
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
