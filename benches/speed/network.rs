//! Three nodes as the engine's own network, where `MIROIR_SPEED_NETWORK` names a program that has it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Client;
use crate::support::client::{eventually, within};
use crate::support::process::{Process, free_port};
use crate::turns::{settled, task_of};

/// Each member holds one shard; the first one leads.
pub struct Network {
    members: Vec<(Client, Process)>,
    _folder: tempfile::TempDir,
}

const NODES: usize = 3;

// === impl Network ===

impl Network {
    /// `None` where no program is named.
    pub fn start() -> Option<Self> {
        let program = std::env::var("MIROIR_SPEED_NETWORK").ok()?;
        let folder = tempfile::tempdir().expect("a folder");
        let members: Vec<(Client, Process)> = (0..NODES).map(|at| member(&program, folder.path(), at)).collect();
        let network = Self { members, _folder: folder };
        network.unite();
        Some(network)
    }

    /// Writes and searches go there.
    pub fn leader(&self) -> &Client {
        &self.members[0].0
    }

    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().map(|(_, process)| process.pid()).collect()
    }

    /// Waits until no member has anything to do.
    pub fn settle(&self) {
        settled(&self.members.iter().map(|(client, _)| client).collect::<Vec<_>>());
    }

    /// How many documents each member holds.
    pub fn documents(&self, uid: &str) -> Vec<u64> {
        let of = |client: &Client| client.get(&format!("/indexes/{uid}/stats")).ok()["numberOfDocuments"].as_u64();
        self.members.iter().map(|(client, _)| of(client).unwrap_or_default()).collect()
    }

    /// Tells the leader who belongs to it; it tells the others.
    fn unite(&self) {
        for (client, _) in &self.members {
            client.json("PATCH", "/experimental-features", &json!({"network": true})).ok();
        }
        let numbered = || self.members.iter().enumerate();
        let remotes: Value = numbered().map(|(at, (client, _))| (name(at), json!({"url": client.url}))).collect();
        let shards: Value = numbered().map(|(at, _)| (format!("shard-{at}"), json!({"remotes": [name(at)]}))).collect();
        let topology = json!({"self": name(0), "leader": name(0), "remotes": remotes, "shards": shards});
        let reply = self.leader().json("PATCH", "/network", &topology);
        assert!(reply.status < 300, "MIROIR_SPEED_NETWORK names a program that makes no network: {}", reply.text);
        if reply.status == 202 {
            self.leader().wait_id(&task_of(&reply));
        }
        for (client, _) in &self.members {
            eventually("each member knows the leader", || {
                (client.get("/network").ok()["leader"] == json!(name(0))).then_some(())
            });
        }
        self.settle();
    }
}

fn name(at: usize) -> String {
    format!("member-{at}")
}

fn member(program: &str, folder: &std::path::Path, at: usize) -> (Client, Process) {
    let port = free_port();
    let client = Client::new(&format!("http://127.0.0.1:{port}")).seeing_hidden();
    let address = format!("127.0.0.1:{port}");
    let data = folder.join(name(at)).to_string_lossy().into_owned();
    let dumps = folder.join(format!("{}.dumps", name(at))).to_string_lossy().into_owned();
    let mut arguments = vec!["--http-addr", &address, "--db-path", &data, "--dump-dir", &dumps, "--no-analytics"];
    arguments.extend(["--max-indexing-memory", "300MiB"]);
    let process = Process::start(&name(at), folder, program, &arguments);
    within(Duration::from_secs(60), "a member is healthy", || {
        client.try_send("GET", "/health", &[], b"").ok().filter(|reply| reply.status == 200).map(|_| ())
    });
    (client, process)
}
