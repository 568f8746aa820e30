//! `miroir upgrade`: the nodes are replaced one by one, and no client notices.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::maintenance::under_traffic;
use crate::overload::{replicas_are_equal, settled};
use crate::support::client::{eventually, more};
use crate::support::corpus::cities;
use crate::support::parity::load;
use crate::support::{Fleet, FleetOptions};

/// `miroir upgrade ...`, as an operator says it.
fn upgrade(fleet: &Fleet, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_miroir"));
    command.args(["upgrade", "--admin", &fleet.admin.url]).args(arguments);
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A command that leaves word of the node that it is to replace, and waits for word that it was replaced.
fn asking(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "echo \"$MIROIR_NODE_URL $MIROIR_VERSION\" > {folder}/$MIROIR_NODE.asked; until [ -e {folder}/$MIROIR_NODE.done ]; do sleep 0.05; done"
    )
}

fn word(fleet: &Fleet, node: &str, word: &str) -> PathBuf {
    fleet.folder().join(format!("{node}.{word}"))
}

fn version_of(fleet: &Fleet, at: usize) -> String {
    let seen = fleet.admin.get(&format!("/nodes/node-{at}")).ok();
    assert_eq!(seen["unreachable"], Value::Null, "{seen}");
    seen["version"].as_str().expect("a version").to_owned()
}

fn ended(child: Child) -> String {
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

/// From the embedded engine to a real one where the environment names one, each node with an empty disk; else restarts.
#[test]
fn the_nodes_are_walked_one_by_one_while_clients_work() {
    let engine = std::env::var("MIROIR_TEST_MEILISEARCH").ok();
    let documents = cities(800);
    let mut fleet = Fleet::with(FleetOptions { embedded: true, ..Default::default() });
    load(&fleet.client, "cities", &documents);
    settled(&fleet);
    let to = match &engine {
        Some(engine) => {
            let said = Command::new(engine).arg("--version").output().expect("the engine runs");
            said_version(&said)
        }
        None => version_of(&fleet, 0),
    };
    let command = asking(fleet.folder());
    let mut arguments = vec!["--to", &to, "--run", &command];
    if engine.is_none() {
        arguments.push("--all");
    }
    let client = fleet.client.clone();
    let written = under_traffic(&client, |searches| {
        let child = upgrade(&fleet, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a walk");
        for at in 0..fleet.nodes.len() {
            let name = fleet.nodes[at].name.clone();
            let asked = word(&fleet, &name, "asked");
            eventually(&format!("{name} is to be replaced"), || asked.exists().then_some(()));
            let told = std::fs::read_to_string(&asked).expect("a word");
            assert_eq!(told.trim(), format!("{} {to}", fleet.nodes[at].public_url()));
            fleet.await_state(&name, "maintenance");
            fleet.nodes[at].kill();
            more(searches, 40);
            match &engine {
                Some(engine) => fleet.nodes[at].restart_as(engine),
                None => fleet.nodes[at].restart(),
            }
            // Nothing is taken for granted: it returns when the command has ended, and says the version.
            more(searches, 20);
            fleet.await_state(&name, "maintenance");
            std::fs::write(word(&fleet, &name, "done"), "").expect("a file");
        }
        let told = ended(child);
        for node in &fleet.nodes {
            assert!(told.contains(&format!("{} runs {to}, is in sync and serves", node.name)), "{told}");
        }
    });
    for at in 0..fleet.nodes.len() {
        assert_eq!(version_of(&fleet, at), to);
    }
    assert_eq!(fleet.client.get("/version").ok()["pkgVersion"], json!(to));
    // After all that was written.
    fleet.client.done(&fleet.client.delete("/indexes/cities/documents/20000000"));
    settled(&fleet);
    replicas_are_equal(&fleet, "cities", 2, documents.len() + written - 1);
    // All is done, and said to be.
    let again = ended(upgrade(&fleet, &["--to", &to]).stdout(Stdio::piped()).spawn().expect("a walk"));
    assert_eq!(again.matches(&format!("runs {to} already")).count(), 3, "{again}");
}

/// `meilisearch 1.50.0`.
fn said_version(output: &Output) -> String {
    said(output).split_whitespace().last().expect("a version").to_owned()
}

#[test]
fn a_walk_that_was_stopped_goes_on() {
    let fleet = Fleet::with(FleetOptions { nodes: 3, ..Default::default() });
    fleet.client.add("kept", &json!([{"id": 1}]));
    settled(&fleet);
    let to = version_of(&fleet, 0);
    // A command that fails leaves the node as it is, and the walk ends.
    let failed = upgrade(&fleet, &["--to", &to, "--all", "--run", "exit 7"]).output().expect("a walk");
    assert!(!failed.status.success());
    assert!(said(&failed).contains("the command for node-0 ended with exit status: 7"), "{}", said(&failed));
    fleet.await_state("node-0", "maintenance");
    // It was replaced meanwhile, so the next walk only lets it return; the others are done already.
    let again = ended(upgrade(&fleet, &["--to", &to]).stdout(Stdio::piped()).spawn().expect("a walk"));
    assert!(again.contains("node-0 returns") && !again.contains("is replaced now"), "{again}");
    assert_eq!(again.matches("already").count(), 2, "{again}");
    settled(&fleet);
    // Somebody else took a node out of service: it is the first, whichever it is.
    fleet.admin.post("/nodes/node-2/maintenance", &Value::Null).ok();
    let output = upgrade(&fleet, &["--to", &to, "--all", "--run", "true", "--json"]).output().expect("a walk");
    assert!(output.status.success(), "{}", said(&output));
    let lines: Vec<Value> = said(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0], json!({"node": "node-2", "said": "returns"}), "{lines:?}");
    let replaced: Vec<&Value> =
        lines.iter().filter(|line| line["said"] == "is replaced now").map(|line| &line["node"]).collect();
    assert_eq!(replaced, ["node-0", "node-1"]);
}

#[test]
fn a_walk_that_cannot_end_well_is_not_begun() {
    let mut fleet = Fleet::with(FleetOptions { nodes: 2, ..Default::default() });
    let refused = |fleet: &Fleet, arguments: &[&str], reason: &str| {
        let output = upgrade(fleet, arguments).output().expect("a walk");
        assert!(!output.status.success() && said(&output).contains(reason), "{reason}: {}", said(&output));
        let topology = fleet.admin.get("/topology").ok();
        assert!(!topology.to_string().contains("maintenance"), "{topology}");
    };
    refused(&fleet, &["--to", "newest"], "`newest` is no version of the engine");
    refused(&fleet, &["--to", "1.2.3"], "node-0 runs ");
    refused(&fleet, &["--to", "99.0.0", "--all"], "--run");
    assert_eq!(fleet.admin.get("/nodes/node-7").status, 404);
    // A node that must not leave: the other has not all of its documents.
    fleet.nodes[1].kill();
    fleet.await_state("node-1", "down");
    refused(&fleet, &["--to", "99.0.0"], "node-1 does not answer");
    fleet.nodes[1].restart();
    settled(&fleet);
    // One that nobody replaces in time stays away, and the other stays.
    let late = upgrade(&fleet, &["--to", "99.0.0", "--limit", "2s"]).output().expect("a walk");
    assert!(!late.status.success(), "{}", said(&late));
    assert!(said(&late).contains("node-0 waited 2 s for it to say 99.0.0, in vain: it says "), "{}", said(&late));
    fleet.await_state("node-0", "maintenance");
    fleet.await_state("node-1", "up");
    fleet.admin.delete("/nodes/node-0/maintenance").ok();
    settled(&fleet);
}

#[test]
fn a_walk_waits_until_a_node_can_be_spared() {
    let fleet = Fleet::with(FleetOptions { nodes: 2, replication_factor: 1, ..Default::default() });
    fleet.client.add("kept", &json!([{"id": 1}]));
    let late = upgrade(&fleet, &["--to", "99.0.0", "--limit", "1s"]).output().expect("a walk");
    assert!(!late.status.success(), "{}", said(&late));
    assert!(said(&late).contains("would have fewer than 1 other replicas"), "{}", said(&late));
    fleet.await_state("node-0", "up");
}
