//! A single node (the judge) and a fleet: n nodes with a gateway in front.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::client::{Client, eventually, holds_words, id_of, pause};
use super::fault_proxy::FaultProxy;
use super::process::{Process, free_port};
use super::small_disk::SmallDisk;

pub const MIROIR: &str = env!("CARGO_BIN_EXE_miroir");

/// One node as a process; it can be killed and started again on the same port and data.
pub struct Node {
    pub name: String,
    pub client: Client,
    pub folder: PathBuf,
    port: u16,
    pub key: Option<String>,
    /// The program of a real engine; the embedded one without.
    engine: Option<String>,
    process: Option<Process>,
    /// Between the gateway and this node, where the fleet was told to have proxies. `client` goes past it.
    pub proxy: Option<FaultProxy>,
}

/// The judge: one node alone.
pub struct Single {
    pub client: Client,
    pub node: Node,
    _folder: tempfile::TempDir,
}

pub struct FleetOptions {
    pub nodes: usize,
    /// Nodes that run besides, of which the gateway knows nothing.
    pub spare: usize,
    pub replication_factor: usize,
    /// Lines of the section `cluster`.
    pub placement: &'static str,
    pub master_key: Option<&'static str>,
    pub node_key: Option<&'static str>,
    /// Whether answers are kept. Most tests want to see what nodes answer, however often the same is asked.
    pub cache: bool,
    /// Where the gateway keeps its state; a file in the fleet's folder if not said.
    pub state: Option<String>,
    /// Lines of YAML appended to the gateway's configuration.
    pub more: String,
    /// Puts a [`FaultProxy`] between the gateway and each node.
    pub proxied: bool,
    /// Puts each node's data on a file system of so many MiB.
    pub disk: Option<u64>,
    /// Nodes of the embedded engine, even where `MIROIR_TEST_MEILISEARCH` names another.
    pub embedded: bool,
}

/// Nodes and the gateway in front of them.
pub struct Fleet {
    pub client: Client,
    pub admin: Client,
    pub metrics: Client,
    pub nodes: Vec<Node>,
    pub gateway: Option<Process>,
    pub config: PathBuf,
    /// One for each node, if they were asked for; an error says why there are none. Unmounted after the nodes ended.
    pub disks: Result<Vec<SmallDisk>, String>,
    folder: tempfile::TempDir,
}

/// The program of the engine that nodes are to be, if the environment names one.
fn real_engine() -> Option<String> {
    std::env::var("MIROIR_TEST_MEILISEARCH").ok()
}

/// Which shard a document belongs to, as docs and golden vectors say.
pub fn shard_of(id: &str, shards: usize) -> usize {
    (xxh3_64(id.as_bytes()) % shards as u64) as usize
}

// === impl FleetOptions ===

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            nodes: 3,
            spare: 0,
            replication_factor: 2,
            placement: "  shards: 256\n",
            master_key: None,
            node_key: None,
            cache: false,
            state: None,
            more: String::new(),
            proxied: false,
            disk: None,
            embedded: false,
        }
    }
}

// === impl Node ===

impl Node {
    pub fn start(name: &str, folder: &Path, key: Option<&str>) -> Self {
        Self::start_as(name, folder, key, real_engine())
    }

    /// As [`Node::start`], with an engine of the caller's choice.
    fn start_as(name: &str, folder: &Path, key: Option<&str>, engine: Option<String>) -> Self {
        let port = free_port();
        let client = Client::new(&format!("http://127.0.0.1:{port}")).seeing_hidden();
        let mut node = Self {
            name: name.to_owned(),
            client: key.map_or_else(|| client.clone(), |key| client.with_key(key)),
            folder: folder.to_owned(),
            port,
            key: key.map(str::to_owned),
            engine,
            process: None,
            proxy: None,
        };
        node.restart();
        node
    }

    /// The port that the gateway knows.
    fn public_port(&self) -> u16 {
        self.proxy.as_ref().map_or(self.port, |proxy| proxy.port)
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// True when the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.exited().is_some())
    }

    /// What the process has printed since the node was first started.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Starts the process on the node's port and data.
    pub fn restart(&mut self) {
        let address = format!("127.0.0.1:{}", self.port);
        let data = self.folder.join(format!("{}.data", self.name)).to_string_lossy().into_owned();
        let dumps = self.folder.join(format!("{}.dumps", self.name)).to_string_lossy().into_owned();
        let mut arguments: Vec<&str> = Vec::new();
        match &self.engine {
            // For each task it fills with zeroes what it may use of memory: two thirds of the machine's, unless told otherwise.
            Some(_) => {
                arguments.extend(["--http-addr", &address, "--db-path", &data, "--dump-dir", &dumps]);
                arguments.extend("--no-analytics --max-indexing-memory 300MiB".split(' '));
            }
            None => arguments.extend(["node", "--listen", &address, "--data-dir", &data, "--exit-on-stdin-close"]),
        }
        if let Some(key) = &self.key {
            arguments.extend(["--master-key", key]);
        }
        self.process =
            Some(Process::start(&self.name, &self.folder, self.engine.as_deref().unwrap_or(MIROIR), &arguments));
        self.await_healthy();
    }

    /// Starts a killed node again as another engine, on an empty disk: a database is of one engine.
    pub fn restart_as(&mut self, engine: &str) {
        self.wipe();
        self.engine = Some(engine.to_owned());
        self.restart();
    }

    fn await_healthy(&mut self) {
        let client = self.client.clone();
        let name = self.name.clone();
        let process = self.process.as_mut();
        let mut process = process;
        eventually(&format!("{name} is healthy"), || {
            if let Some(status) = process.as_mut().and_then(|process| process.exited()) {
                panic!("{name} ended: {status}");
            }
            client.try_send("GET", "/health", &[], b"").ok().filter(|reply| reply.status == 200).map(|_| ())
        });
    }

    pub fn kill(&mut self) {
        self.process.take().expect("a running node").kill();
    }

    /// Of the process, whose time a bench counts.
    #[allow(dead_code, reason = "benches share this file")]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a running node").pid()
    }

    /// Where the gateway finds the node.
    pub fn public_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.public_port())
    }

    /// What a configuration says of the node.
    pub fn config_line(&self) -> String {
        format!("    - {{ id: {}, url: \"{}\" }}\n", self.name, self.public_url())
    }

    /// Takes the disk of a killed node away.
    pub fn wipe(&self) {
        assert!(self.process.is_none(), "{} runs", self.name);
        std::fs::remove_dir_all(self.folder.join(format!("{}.data", self.name))).expect("the node's data");
    }

    /// Puts a copy of the disk of `other` in the place of a killed node's.
    pub fn take_disk_of(&self, other: &Node) {
        self.wipe();
        let disk = |node: &Node| node.folder.join(format!("{}.data", node.name));
        let copied = std::process::Command::new("cp").arg("-r").arg(disk(other)).arg(disk(self)).status();
        assert!(copied.is_ok_and(|status| status.success()), "the disk of {} is copied", other.name);
    }

    pub fn signal(&self, signal: &str) {
        self.process.as_ref().expect("a running node").signal(signal);
    }
}

// === impl Single ===

impl Single {
    pub fn start() -> Self {
        Self::with_key(None)
    }

    pub fn with_key(key: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let node = Node::start("single", folder.path(), key);
        Self { client: node.client.clone(), node, _folder: folder }
    }

    /// As [`Node::pid`].
    #[allow(dead_code, reason = "benches share this file")]
    pub fn pid(&self) -> u32 {
        self.node.pid()
    }
}

// === impl Fleet ===

impl Fleet {
    pub fn start() -> Self {
        Self::with(FleetOptions::default())
    }

    pub fn with(options: FleetOptions) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let names = (0..options.nodes + options.spare).map(|n| format!("node-{n}"));
        let disks = names
            .clone()
            .filter_map(|name| Some(SmallDisk::mount(&folder.path().join(format!("{name}.data")), options.disk?)))
            .collect();
        let engine = if options.embedded { None } else { real_engine() };
        let mut nodes: Vec<Node> =
            names.map(|name| Node::start_as(&name, folder.path(), options.node_key, engine.clone())).collect();
        if options.proxied {
            for node in &mut nodes {
                node.proxy = Some(FaultProxy::start(node.port));
            }
        }
        let (api, admin, metrics) = (free_port(), free_port(), free_port());
        let mut config = format!(
            "listen: 127.0.0.1:{api}\nadmin: 127.0.0.1:{admin}\nmetrics: 127.0.0.1:{metrics}\n\
             state: {}\n",
            options.state.clone().unwrap_or_else(|| format!("sqlite:{}", folder.path().join("miroir.db").display()))
        );
        if let Some(key) = options.master_key {
            config += &format!("master_key: {key}\n");
        }
        if let Some(key) = options.node_key {
            config += &format!("node_key: {key}\n");
        }
        if !options.more.contains("dumps:") {
            config += &format!("dumps: {{ dir: \"{}\" }}\n", folder.path().join("dumps").display());
        }
        config += &format!("cluster:\n{}  replication_factor: ", options.placement);
        config += &format!("{}\n  nodes:\n", options.replication_factor);
        for node in &nodes[..options.nodes] {
            config += &node.config_line();
        }
        if !options.more.contains("health:") {
            config += "health: { interval: 100ms, timeout: 2s, rise: 1, fall: 3 }\n";
        }
        if !options.cache {
            config += "cache: { size: 0 }\n";
        }
        config += &options.more;
        let path = folder.path().join("miroir.yaml");
        std::fs::write(&path, config).expect("a configuration file");

        let client = Client::new(&format!("http://127.0.0.1:{api}"));
        let admin = Client::new(&format!("http://127.0.0.1:{admin}")).seeing_hidden();
        let mut fleet = Self {
            client: options.master_key.map_or_else(|| client.clone(), |key| client.with_key(key)),
            admin: options.master_key.map_or_else(|| admin.clone(), |key| admin.with_key(key)),
            metrics: Client::new(&format!("http://127.0.0.1:{metrics}")),
            nodes,
            gateway: None,
            config: path,
            disks,
            folder,
        };
        fleet.start_gateway_without_waiting();
        fleet.await_up(options.nodes);
        fleet
    }

    pub fn start_gateway(&mut self) {
        self.start_gateway_without_waiting();
        self.await_up(self.nodes.len());
    }

    /// Waits until those of the first `nodes` that run are up.
    fn await_up(&self, nodes: usize) {
        for node in self.nodes[..nodes].iter().filter(|node| node.is_running()) {
            self.await_state(&node.name, "up");
        }
    }

    /// Starts the gateway's process and does not wait for it to serve.
    pub fn spawn_gateway(&mut self) {
        let config = self.config.to_string_lossy().into_owned();
        let gateway = Process::start("gateway", self.folder.path(), MIROIR, &["serve", "--config", &config]);
        self.gateway = Some(gateway);
    }

    /// As [`Fleet::start_gateway`], once it is ready: not all running nodes need be part of the cluster.
    pub fn start_gateway_without_waiting(&mut self) {
        self.spawn_gateway();
        let admin = self.admin.clone();
        let gateway = self.gateway.as_mut().expect("just started");
        eventually("the gateway is ready", || {
            if let Some(status) = gateway.exited() {
                panic!("the gateway ended: {status}\n{}", gateway.log());
            }
            admin.try_send("GET", "/ready", &[], b"").ok().filter(|reply| reply.status == 200).map(|_| ())
        });
    }

    /// Starts one more node; nobody tells the gateway.
    pub fn spawn_node(&mut self) -> usize {
        let key = self.nodes.first().and_then(|node| node.key.clone());
        let name = format!("node-{}", self.nodes.len());
        self.nodes.push(Node::start(&name, self.folder.path(), key.as_deref()));
        self.nodes.len() - 1
    }

    /// The file that the gateway keeps what must survive it in.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("miroir.db")
    }

    /// Where the nodes' data and the gateway's files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn kill_gateway(&mut self) {
        self.gateway.take().expect("a running gateway").kill();
    }

    /// The value of a metric of which every label is given, as in `name{node="node-1"}`; 0 when there is none.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.get("/metrics").text;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or_default()
    }

    /// Waits until a loop of the gateway (a label of `miroir_rounds_total`) has gone round so many times more, the first of
    /// which may have begun before: what it has not done by then it does not do.
    pub fn rounds(&self, of: &str, more: u32) {
        let series = format!("miroir_rounds_total{{loop=\"{of}\"}}");
        let before = self.metric(&series);
        eventually(&format!("{more} rounds of {of}"), || {
            (self.metric(&series) >= before + f64::from(more)).then_some(())
        });
    }

    /// What moves, and what is left over.
    pub fn rebalance(&self) -> Value {
        self.admin.get("/rebalance").ok()
    }

    /// Waits until nothing moves and nothing is left over.
    pub fn await_rest(&self, limit: Duration) -> Value {
        let until = Instant::now() + limit;
        loop {
            let status = self.rebalance();
            let nodes = status["nodes"].as_array().expect("nodes");
            if status["state"] == "idle" && nodes.iter().all(|node| node["toDelete"] == 0) {
                return status;
            }
            assert!(Instant::now() < until, "does not come to rest: {status:#}");
            pause(Duration::from_millis(50));
        }
    }

    /// Which nodes own each shard, by the admin API.
    pub fn owners(&self) -> Vec<BTreeSet<String>> {
        let shards = self.admin.get("/shards").ok();
        let names = |shard: &Value| {
            let owners = shard["owners"].as_array().expect("owners");
            owners.iter().map(|owner| owner.as_str().expect("an id").to_owned()).collect()
        };
        shards["shards"].as_array().expect("shards").iter().map(names).collect()
    }

    /// Waits until no replica is stale.
    pub fn await_in_sync(&self) {
        eventually("every replica is in sync", || {
            let resilver = self.admin.get("/resilver").ok();
            (resilver["stale"] == serde_json::json!([])).then_some(())
        });
    }

    /// The documents of every shard of `index`, which all its owners must hold alike.
    pub fn equal_replicas(&self, index: &str) -> BTreeMap<String, Value> {
        let shards = self.admin.get("/shards").ok();
        let shards = shards["shards"].as_array().expect("shards");
        let mut by_node: BTreeMap<&str, BTreeMap<usize, BTreeMap<String, Value>>> = BTreeMap::new();
        for node in &self.nodes {
            let held = by_node.entry(&node.name).or_default();
            let page = node.client.get(&format!("/indexes/{index}/documents?limit=1000000")).ok();
            for document in
                page["results"].as_array().expect("results").iter().filter(|document| !holds_words(document))
            {
                let id = id_of(document);
                held.entry(shard_of(&id, shards.len())).or_default().insert(id, document.clone());
            }
        }
        let none = BTreeMap::new();
        let mut documents = BTreeMap::new();
        for (number, shard) in shards.iter().enumerate() {
            let owners: Vec<&str> =
                shard["owners"].as_array().expect("owners").iter().filter_map(Value::as_str).collect();
            let of = |node: &str| by_node[node].get(&number).unwrap_or(&none);
            for other in &owners[1..] {
                assert_eq!(of(owners[0]), of(other), "shard {number} on {} and {other}", owners[0]);
            }
            documents.extend(of(owners[0]).clone());
        }
        documents
    }

    /// How many of the documents with these ids belong to `node`.
    pub fn owned(&self, node: &str, ids: impl Iterator<Item = String>) -> usize {
        let owners = self.owners();
        ids.filter(|id| owners[shard_of(id, owners.len())].contains(node)).count()
    }

    /// Starts another gateway of the same configuration, but for its ports and the lines that `own` says by their key. With the ports
    /// of its clients and its operators.
    #[allow(dead_code, reason = "benches share this file")]
    pub fn another_gateway(&self, name: &str, own: impl Fn(&str) -> Option<String>) -> (Process, u16, u16) {
        let text = std::fs::read_to_string(&self.config).expect("the first one's configuration");
        let (port, admin) = (free_port(), free_port());
        let mut config = String::new();
        for line in text.lines() {
            let key = line.split_once(": ").map_or("", |(key, _)| key);
            let said = match key {
                "listen" => Some(format!("listen: 127.0.0.1:{port}")),
                "admin" => Some(format!("admin: 127.0.0.1:{admin}")),
                "metrics" => Some(format!("metrics: 127.0.0.1:{}", free_port())),
                key => own(key),
            };
            config += said.as_deref().unwrap_or(line).trim_end();
            config.push('\n');
        }
        let path = self.folder().join(format!("{name}.yaml"));
        std::fs::write(&path, config).expect("a configuration");
        let process = Process::start(name, self.folder(), MIROIR, &["serve", "--config", &path.to_string_lossy()]);
        (process, port, admin)
    }

    pub fn gateway(&self) -> &Process {
        self.gateway.as_ref().expect("a running gateway")
    }

    /// Waits until the admin API shows `node` in `state`.
    pub fn await_state(&self, node: &str, state: &str) {
        eventually(&format!("{node} is {state}"), || {
            let topology = self.admin.get("/topology").ok();
            let nodes = topology["nodes"].as_array()?;
            nodes.iter().find(|entry| entry["id"] == node && entry["state"] == state).map(|_| ())
        });
    }
}

/// True when nodes are the embedded engine, which is of another age than those that users run.
pub fn is_embedded() -> bool {
    std::env::var_os("MIROIR_TEST_MEILISEARCH").is_none()
}
