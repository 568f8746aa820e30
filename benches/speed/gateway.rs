//! The built program in front of stub nodes, and a proxy that only passes on beside it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::stub::Stub;
use crate::support::Client;
use crate::support::client::{eventually, pause};
use crate::support::process::{Process, free_port};

/// Names the bench's own program when it is to be the plain proxy: `<listen> <upstream>`.
pub const ROLE: &str = "MIROIR_SPEED_PROXY";

/// A gateway and its stub nodes.
pub struct Gateway {
    /// `host:port`.
    pub address: String,
    pub stubs: Vec<Stub>,
    process: Process,
    _folder: tempfile::TempDir,
}

/// A plain proxy as a process of its own, so that its processor time is known.
pub struct Proxy {
    pub address: String,
    child: Child,
}

// === impl Gateway ===

impl Gateway {
    pub fn start(nodes: usize, replication_factor: usize) -> Self {
        Self::with_shards(nodes, replication_factor, 64)
    }

    /// `rules`: lines of the configuration.
    pub fn with_rules(nodes: usize, replication_factor: usize, rules: &str) -> Self {
        Self::made(nodes, replication_factor, 64, rules)
    }

    pub fn with_shards(nodes: usize, replication_factor: usize, shards: usize) -> Self {
        Self::made(nodes, replication_factor, shards, "")
    }

    fn made(nodes: usize, replication_factor: usize, shards: usize, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let stubs: Vec<Stub> = (0..nodes).map(Stub::start).collect();
        let state = format!("sqlite:{}", folder.path().join("miroir.db").display());
        let cluster = format!("  shards: {shards}\n  replication_factor: {replication_factor}\n");
        let (process, address) = spawn(folder.path(), "gateway", &stubs, &format!("state: {state}\n{more}"), &cluster);
        prepare(&address);
        Self { address, stubs, process, _folder: folder }
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How many searches its nodes have answered.
    pub fn asked(&self) -> u64 {
        self.stubs.iter().map(Stub::searches).sum()
    }
}

/// Starts a gateway before these nodes and waits until it is ready; with the address of its clients. `own`: lines of its own, its state among them.
pub fn spawn(folder: &Path, name: &str, stubs: &[Stub], own: &str, cluster: &str) -> (Process, String) {
    let (api, admin, metrics) = (free_port(), free_port(), free_port());
    let mut config = format!(
        "listen: 127.0.0.1:{api}\nadmin: 127.0.0.1:{admin}\nmetrics: 127.0.0.1:{metrics}\n{own}\
         cache: {{ size: 0 }}\ncluster:\n{cluster}  nodes:\n"
    );
    for (at, stub) in stubs.iter().enumerate() {
        config += &format!("    - {{ id: node-{at}, url: \"{}\" }}\n", stub.url());
    }
    let path = folder.join(format!("{name}.yaml"));
    std::fs::write(&path, config).expect("a configuration file");
    let path = path.to_string_lossy().into_owned();
    let process = Process::start(name, folder, &program(), &["serve", "--config", &path]);
    let ready = Client::new(&format!("http://127.0.0.1:{admin}"));
    eventually("the gateway is ready", || {
        ready.try_send("GET", "/ready", &[], b"").ok().filter(|reply| reply.status == 200).map(|_| ())
    });
    (process, format!("127.0.0.1:{api}"))
}

/// Makes the index that recorded replies are of.
pub fn prepare(address: &str) {
    let client = Client::new(&format!("http://{address}"));
    let index = serde_json::json!({"uid": "cities", "primaryKey": "id"});
    client.done(&client.post("/indexes", &index));
    let settings = serde_json::json!({
        "filterableAttributes": ["country", "feature"], "sortableAttributes": ["population"],
    });
    client.done(&client.json("PATCH", "/indexes/cities/settings", &settings));
    // Words of a new index are looked for once.
    pause(Duration::from_secs(2));
}

/// The program that was built with the bench, or the one that `MIROIR_SPEED_BIN` names: for figures of an older one.
fn program() -> String {
    std::env::var("MIROIR_SPEED_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_miroir").to_owned())
}

// === impl Proxy ===

impl Proxy {
    pub fn start(upstream: &str) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new(std::env::current_exe().expect("a program"))
            .env(ROLE, format!("{address} {upstream}"))
            .stdin(Stdio::null())
            .spawn()
            .expect("the bench's own program");
        let client = Client::new(&format!("http://{address}"));
        eventually("the plain proxy passes on", || client.try_send("GET", "/health", &[], b"").ok());
        Self { address, child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
