//! The cluster as its admin API shows it: who belongs to it, what moves, and what it lacks to be whole or at rest.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Client;
use crate::support::client::pause;

/// How long a cluster may take to become whole after its faults are over. Generous, because machines are busy.
pub const WHOLE: Duration = Duration::from_secs(120);
/// How long moves may take to end after that.
const REST: Duration = Duration::from_secs(300);

/// What moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moving {
    Nothing,
    Running,
    Paused,
    Canceling,
}

/// A node that the operator wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub id: String,
    pub weight: f64,
    pub drained: bool,
}

#[derive(Debug, Clone)]
pub struct View {
    /// The nodes of the cluster, those that leave among them.
    pub members: Vec<String>,
    pub wanted: Vec<Wanted>,
    pub replication_factor: u64,
    pub moving: Moving,
    /// How the moves of late ended, by when they began.
    pub ended: BTreeMap<String, String>,
}

// === impl View ===

impl View {
    pub fn of(admin: &Client) -> Result<Self, String> {
        let status = ask(admin, "/rebalance")?;
        let topology = ask(admin, "/topology")?;
        let moving = match status["state"].as_str() {
            Some("idle") => Moving::Nothing,
            Some("running") => Moving::Running,
            Some("paused") => Moving::Paused,
            Some("canceling") => Moving::Canceling,
            other => return Err(format!("a move is {other:?}")),
        };
        let wanted = |node: &Value| Wanted {
            id: text(&node["id"]),
            weight: node["weight"].as_f64().unwrap_or(1.0),
            drained: node["drained"] == true,
        };
        Ok(Self {
            members: rows(&topology["nodes"]).map(|node| text(&node["id"])).collect(),
            wanted: rows(&status["goal"]["nodes"]).map(wanted).collect(),
            replication_factor: status["goal"]["replicationFactor"].as_u64().unwrap_or_default(),
            moving,
            ended: rows(&status["finished"]).map(|plan| (text(&plan["beganAt"]), text(&plan["outcome"]))).collect(),
        })
    }

    /// The nodes that are to hold shards.
    pub fn holders(&self) -> impl Iterator<Item = &Wanted> {
        self.wanted.iter().filter(|node| !node.drained)
    }
}

/// The cluster as it is, once somebody tells: a gateway that was frozen may answer before it sees that another one leads, and end then.
pub fn at_once_or_soon(admin: &Client) -> Result<View, String> {
    let mut view = Err(String::new());
    until(WHOLE, || {
        view = View::of(admin);
        view.as_ref().map(|_| ()).map_err(Clone::clone)
    })?;
    view
}

/// Waits until all nodes serve and each shard has `replicas` in sync, whatever moves; the error says what is missing.
pub fn await_whole(admin: &Client, replicas: usize) -> Result<(), String> {
    until(WHOLE, || lacks_to_be_whole(admin, replicas))
}

/// Waits until nothing moves, nothing is left over and no replica is stale; the error says what is not so.
pub fn await_rest(admin: &Client) -> Result<(), String> {
    until(REST, || lacks_to_rest(admin))
}

fn until(limit: Duration, mut lacks: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let end = Instant::now() + limit;
    loop {
        match lacks() {
            Ok(()) => return Ok(()),
            Err(lacking) if Instant::now() > end => return Err(lacking),
            Err(_) => pause(Duration::from_millis(25)),
        }
    }
}

fn lacks_to_be_whole(admin: &Client, replicas: usize) -> Result<(), String> {
    let (topology, shards) = (ask(admin, "/topology")?, ask(admin, "/shards")?);
    all_up(&topology)?;
    let in_sync = |row: &Value| {
        let stale = |owner: &Value| rows(&row["stale"]).any(|stale| stale["node"] == *owner);
        rows(&row["owners"]).filter(|owner| !stale(owner)).count()
    };
    let thin = rows(&shards["shards"]).filter(|row| in_sync(row) < replicas).count();
    if thin > 0 { Err(format!("{thin} shards have fewer than {replicas} replicas in sync")) } else { Ok(()) }
}

fn lacks_to_rest(admin: &Client) -> Result<(), String> {
    let (status, topology) = (ask(admin, "/rebalance")?, ask(admin, "/topology")?);
    all_up(&topology)?;
    if status["state"] != "idle" {
        return Err(format!("a move is {}, waiting for {}", status["state"], status["waiting"]));
    }
    let left: Vec<&Value> = rows(&status["nodes"]).filter(|node| node["toDelete"] != 0).collect();
    if !left.is_empty() {
        return Err(format!("documents are left over on {left:?}, waiting for {}", status["waiting"]));
    }
    let resilver = ask(admin, "/resilver")?;
    match rows(&resilver["stale"]).count() {
        0 => Ok(()),
        _ => Err(format!("stale: {}, failed: {}", resilver["stale"], resilver["failed"])),
    }
}

fn all_up(topology: &Value) -> Result<(), String> {
    let away = rows(&topology["nodes"]).filter(|node| node["state"] != "up");
    let away: Vec<String> = away.map(|node| format!("{} is {}", node["id"], node["state"])).collect();
    if away.is_empty() { Ok(()) } else { Err(away.join(", ")) }
}

fn ask(admin: &Client, path: &str) -> Result<Value, String> {
    let reply = admin.try_send("GET", path, &[], b"")?;
    if reply.status == 200 {
        Ok(reply.value())
    } else {
        Err(format!("{path} answers {}: {}", reply.status, reply.text))
    }
}

fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
